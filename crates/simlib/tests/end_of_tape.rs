//! Early warning, programmable early warning and the hard end, at every block ±1.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

#[path = "common/lab.rs"]
mod common;

use common::*;
use scsi::{Drive, ObjectNumber, ScsiError, Written};
use simlib::{Config, DriveHandle};

/// 16 records of 1000 bytes fit, early warning behind the 12th.
fn config() -> Config {
    Config {
        capacity: 16_000,
        early_warning: 4_000,
        ..small()
    }
}

fn fill(drive: &mut Drive<DriveHandle>, records: usize, size: usize) {
    for _ in 0..records {
        drive.write_record(&vec![b'A'; size]).unwrap();
    }
}

#[test]
fn early_warning_starts_behind_its_threshold_and_lasts_to_the_end() {
    let lab = Lab::new(config());
    let mut drive = lab.mount(0, 0);
    let warned: Vec<bool> = (0..16)
        .map(|_| drive.write_record(&[b'A'; 1000]).unwrap().early_warning)
        .collect();
    let expected: Vec<bool> = (1..=16).map(|records| records > 12).collect();
    assert_eq!(warned, expected);
    assert!(drive.position().unwrap().eop);
    // At early warning the drive empties its buffer.
    assert_eq!(lab.library.standing(0).unwrap().buffered_objects, 0);
    locate(&mut drive, 12);
    assert!(!drive.position().unwrap().eop);
    locate(&mut drive, 13);
    assert!(drive.position().unwrap().eop);
}

/// The first byte behind the threshold warns; the last one before does not.
#[test]
fn early_warning_to_the_byte() {
    for (last, expected) in [(999, false), (1000, false), (1001, true)] {
        let lab = Lab::new(config());
        let mut drive = lab.mount(0, 0);
        fill(&mut drive, 11, 1000);
        let written = drive.write_record(&vec![b'A'; last]).unwrap();
        assert_eq!(written.early_warning, expected, "{last}");
        assert_eq!(drive.position().unwrap().eop, expected, "{last}");
    }
}

/// A record that ends at the last byte is written; one byte more is not, not even in part.
#[test]
fn the_hard_end_to_the_byte() {
    for last in [999usize, 1000, 1001] {
        let lab = Lab::new(config());
        let mut drive = lab.mount(0, 0);
        for _ in 0..15 {
            let _ = drive.write_record(&[b'A'; 1000]).unwrap();
        }
        let outcome = drive.write_record(&vec![b'Z'; last]);
        let fits = last <= 1000;
        match outcome {
            Ok(written) => assert!(fits && written.early_warning),
            Err(error) => {
                assert!(!fits);
                assert_eq!(
                    error,
                    ScsiError::VolumeOverflow {
                        residual: last as u64
                    }
                );
            }
        }
        assert!(drive.poisoned().is_none());
        // A mark still goes, so that the tape ends tidily.
        assert!(drive.write_filemarks(1, SYNC).unwrap().early_warning);
        let end = drive.position().unwrap();
        assert_eq!(end.record, ObjectNumber(if fits { 17 } else { 16 }));
        let expected = format!("{}{}|", "A".repeat(15), if fits { "Z" } else { "" });
        assert_eq!(read_all(&mut drive), expected);
    }
}

/// Refused once is refused always, and what fits less is still taken.
#[test]
fn behind_the_hard_end_small_records_still_fit() {
    let lab = Lab::new(config());
    let mut drive = lab.mount(0, 0);
    for _ in 0..15 {
        drive.write_record(&[b'A'; 1000]).unwrap();
    }
    for _ in 0..3 {
        let refused = drive.write_record(&[b'B'; 1001]);
        assert_eq!(refused, Err(ScsiError::VolumeOverflow { residual: 1001 }));
    }
    assert!(drive.write_record(&[b'T'; 80]).unwrap().early_warning);
    assert_eq!(read_all(&mut drive), format!("{}T", "A".repeat(15)));
}

/// At the hard end everything accepted before is on the medium: the refusal has flushed it.
#[test]
fn the_hard_end_loses_nothing_that_was_accepted() {
    let lab = Lab::new(config());
    let mut drive = lab.mount(0, 0);
    for _ in 0..16 {
        drive.write_record(&[b'A'; 1000]).unwrap();
    }
    drive.write_record(&[b'B'; 1]).unwrap_err();
    drop(drive);
    let lab = lab.kill();
    assert_eq!(read_all(&mut lab.drive(0)), "A".repeat(16));
}

/// The same on a tape that gives no early warning: nothing else has flushed before.
#[test]
fn the_hard_end_flushes_even_without_a_warning_before_it() {
    let lab = Lab::new(Config {
        early_warning: 0,
        ..config()
    });
    let mut drive = lab.mount(0, 0);
    for _ in 0..16 {
        assert_eq!(drive.write_record(&[b'A'; 1000]), Ok(Written::default()));
    }
    assert_eq!(lab.library.standing(0).unwrap().buffered_objects, 16);
    drive.write_record(&[b'B'; 1]).unwrap_err();
    drop(drive);
    let lab = lab.kill();
    assert_eq!(read_all(&mut lab.drive(0)), "A".repeat(16));
}

/// Programmable early warning: once on entering its zone, with BPEW from there on.
#[test]
fn programmable_early_warning_is_told_once() {
    const MB: usize = 1_000_000;
    // Early warning behind 6 MB, programmable 2 MB before.
    let config = Config {
        capacity: 8_000_000,
        early_warning: 2_000_000,
        ..small()
    };
    let lab = Lab::new(config);
    let mut drive = lab.mount(0, 0);
    drive.set_programmable_early_warning(2).unwrap();
    let told: Vec<(bool, bool)> = (0..8)
        .map(|_| drive.write_record(&vec![b'A'; MB]).unwrap())
        .map(|w: Written| (w.programmable_early_warning, w.early_warning))
        .collect();
    let none = (false, false);
    let expected = [
        none,
        none,
        none,
        none,
        (true, false),
        none,
        (false, true),
        (false, true),
    ];
    assert_eq!(told, expected);
    let beyond: Vec<bool> = (0..=8)
        .map(|record| {
            locate(&mut drive, record);
            drive.position().unwrap().beyond_programmable_early_warning
        })
        .collect();
    let expected: Vec<bool> = (0..=8).map(|records| records > 4).collect();
    assert_eq!(beyond, expected);
    // Written again from before the zone, it is told again.
    locate(&mut drive, 4);
    assert!(
        drive
            .write_record(&vec![b'B'; MB])
            .unwrap()
            .programmable_early_warning
    );
}

#[test]
fn programmable_early_warning_to_the_byte() {
    let config = Config {
        capacity: 8_000_000,
        early_warning: 2_000_000,
        ..small()
    };
    for (first, expected) in [(3_999_999, false), (4_000_000, false), (4_000_001, true)] {
        let lab = Lab::new(config.clone());
        let mut drive = lab.mount(0, 0);
        drive.set_programmable_early_warning(2).unwrap();
        let written = drive.write_record(&vec![b'A'; first]).unwrap();
        assert_eq!(written.programmable_early_warning, expected, "{first}");
        let next = drive.write_record(&[b'A'; 2]).unwrap();
        // The second record crosses where the first did not quite.
        let crosses = !expected && first + 2 > 4_000_000;
        assert_eq!(next.programmable_early_warning, crosses, "{first}");
    }
}

#[test]
fn a_mark_in_the_early_warning_zone_warns_too() {
    let lab = Lab::new(config());
    let mut drive = lab.mount(0, 0);
    fill(&mut drive, 12, 1000);
    assert!(!drive.write_filemarks(1, IMMED).unwrap().early_warning);
    drive.write_record(&[b'A'; 1]).unwrap();
    assert!(drive.write_filemarks(1, IMMED).unwrap().early_warning);
    // A flush is no write.
    assert!(!drive.write_filemarks(0, SYNC).unwrap().early_warning);
}

#[test]
fn what_is_left_is_told_by_log_page_and_by_the_cartridge() {
    let lab = Lab::new(Config {
        capacity: 8 << 20,
        early_warning: 1 << 20,
        ..small()
    });
    let mut drive = lab.mount(0, 0);
    fill(&mut drive, 3, 1 << 20);
    let capacity = drive.tape_capacity().unwrap();
    assert_eq!((capacity.remaining_mib, capacity.maximum_mib), (5, 8));
    let statistics = drive.volume_statistics().unwrap();
    assert_eq!(statistics.used_native_capacity_mb, Some(3));
    assert_eq!(statistics.total_native_capacity_mb, Some(8));
    let remaining = drive
        .attribute(scsi::mam::id::REMAINING_CAPACITY)
        .unwrap()
        .unwrap();
    assert_eq!(remaining.number(), Some(5));
}
