//! Things that happened to other systems. Each story first shows that the simulator lets it
//! happen, then that the handles of `scsi` do not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

#[path = "common/lab.rs"]
mod common;

use common::*;
use scsi::{Action, Data, Drive, ElementProblem, ObjectNumber, ReadOutcome, ScsiError, SenseKey};
use simlib::Config;

/// Incident 1 (Linux commit 9604eea5bd3a): a reset unseen by the driver rewound the tape; the
/// next filemark landed at beginning of tape and the whole tape was blank. Twice in production.
#[test]
fn incident_1_a_reset_behind_the_drivers_back_blanks_no_tape() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "ABCDEF!", 100);
    lab.library.reset(0);

    // With the handle: nothing is written, the tape is intact.
    let refused = drive.write_filemarks(1, SYNC).unwrap_err();
    assert_eq!(refused.action(), Action::PoisonSession);
    for _ in 0..3 {
        assert!(matches!(
            drive.write_filemarks(1, SYNC),
            Err(ScsiError::Poisoned(_))
        ));
    }
    assert_eq!(
        lab.dump("TM0001L9"),
        [b"ABCDEF".map(|letter| [letter; 100]).concat()]
    );

    // Without: a driver that swallows the attention and goes on, as `st` did.
    lab.library.reset(0);
    let mut unit = lab.library.drive(0).unwrap();
    let filemark = [0x10, 0, 0, 0, 1, 0];
    let (_, sense) = raw(&mut unit, &filemark, Data::None);
    assert_eq!(sense.unwrap().key, SenseKey::UnitAttention);
    let (_, sense) = raw(&mut unit, &filemark, Data::None);
    assert_eq!(sense, None);
    assert_eq!(
        lab.dump("TM0001L9"),
        [b""],
        "the tape is blank but for one filemark"
    );
}

/// Incident 2 (ltfs #552): the position a program counted was not the drive's, and the wrong
/// block number went into the index.
#[test]
fn incident_2_a_counted_position_is_proved_by_the_drive() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "ABC!", 100);
    let counted = ObjectNumber(4);
    assert_eq!(drive.position().unwrap().record, counted);
    // Another path to the same drive moves the tape; nothing tells us.
    let mut other = Drive::new(lab.library.drive(0).unwrap());
    other.requalify().unwrap();
    other.rewind().unwrap();
    let proved = drive.position().unwrap();
    assert_ne!(proved.record, counted);
    assert!(proved.bop);
}

/// Incident 5 (bareos #2002, #2001): the second tape of a fill test was unreadable past its first
/// block. Fill a tape with every record size around the end, go on with the next tape, and read
/// both back: all that was accepted, in order, nothing twice.
#[test]
fn incident_5_a_job_that_spans_two_tapes_is_readable_at_every_size() {
    // Early warning at 6000 and the hard end at 8000, in records of sizes that end before, at
    // and behind either.
    for size in (990..=1010).chain([1, 3, 499, 500, 501, 1999, 2000, 2001, 7999, 8000]) {
        let lab = Lab::new(Config {
            capacity: 8000,
            early_warning: 2000,
            ..small()
        });
        let mut first = lab.mount(0, 0);
        let mut second = lab.mount(1, 1);
        let mut sent = Vec::new();
        let mut accepted = Vec::new();
        let mut on_second = false;
        let limit = if size < 10 { 9000 } else { 12 };
        for number in 0..limit {
            let record = vec![number as u8; size];
            sent.push(record.clone());
            if !on_second {
                match first.write_record(&record) {
                    Ok(written) => {
                        accepted.push(record);
                        on_second = written.early_warning;
                        continue;
                    }
                    Err(ScsiError::VolumeOverflow { residual }) => {
                        assert_eq!(residual, size as u64);
                        on_second = true;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            match second.write_record(&record) {
                Ok(_) => accepted.push(record),
                Err(ScsiError::VolumeOverflow { .. }) => {
                    sent.pop();
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        first.write_filemarks(1, SYNC).unwrap();
        second.write_filemarks(1, SYNC).unwrap();
        assert_eq!(accepted, sent, "size {size}");
        let mut back = Vec::new();
        let mut buffer = vec![0; 8000];
        for drive in [&mut first, &mut second] {
            drive.rewind().unwrap();
            while let ReadOutcome::Record { len } = drive.read_record(&mut buffer).unwrap() {
                back.push(buffer[..len].to_vec());
            }
            assert_eq!(drive.read_record(&mut buffer), Ok(ReadOutcome::EndOfData));
        }
        assert_eq!(back, accepted, "size {size}");
    }
}

/// Incident 6 (bareos AutochangerSupport): a label read with another block size failed, the tape
/// looked blank and was relabelled. A record of any length is told from a blank tape.
#[test]
fn incident_6_a_label_of_another_size_is_not_a_blank_tape() {
    for (label, buffer) in [(80, 80), (80, 64), (80, 512), (300_000, 80), (1, 80)] {
        let lab = Lab::new(small());
        let mut drive = lab.mount(0, 0);
        drive.write_record(&vec![b'V'; label]).unwrap();
        drive.write_filemarks(1, SYNC).unwrap();
        drive.rewind().unwrap();
        let outcome = drive.read_record(&mut vec![0; buffer]).unwrap();
        let expected = if label <= buffer {
            ReadOutcome::Record { len: label }
        } else {
            ReadOutcome::Overlength {
                record: label as u64,
            }
        };
        assert_eq!(outcome, expected);
    }
    // Blank is end of data at beginning of partition, on a cartridge no host has marked.
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    assert_eq!(drive.read_record(&mut [0; 80]), Ok(ReadOutcome::EndOfData));
    assert!(drive.position().unwrap().bop);
    assert_eq!(drive.attribute(scsi::mam::id::BARCODE), Ok(None));
}

/// Incident 7 (bareos #1866): a restore started on a tape that was being unloaded, and the robot
/// failed with "media removal prevented".
#[test]
fn incident_7_the_robot_takes_no_tape_from_a_drive_at_work() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AB!", 100);
    drive.prevent_removal(true).unwrap();
    let mut robot = lab.changer();
    robot.inventory().unwrap();
    let (bay, slot) = (lab.library.bay(0), lab.library.slot(0));
    let refused = robot.move_medium(bay, slot).unwrap_err();
    assert_eq!(refused.action(), Action::AllowRemoval);
    assert!(matches!(
        refused,
        ScsiError::Element {
            problem: ElementProblem::RemovalPrevented,
            ..
        }
    ));
    // The reader is not disturbed.
    assert_eq!(read_all(&mut drive), "AB|");
    drive.prevent_removal(false).unwrap();
    drive.unload().unwrap();
    robot.move_medium(bay, slot).unwrap();
    // Whoever still believes in the tape is told otherwise, whichever way it asks.
    let mut buffer = [0; 100];
    assert_eq!(
        drive.read_record(&mut buffer).unwrap_err().action(),
        Action::Reconcile
    );
    robot.move_medium(lab.library.slot(1), bay).unwrap();
    let changed = drive.read_record(&mut buffer).unwrap_err();
    assert_eq!(changed.action(), Action::Reidentify);
    assert!(matches!(
        drive.write_record(b"for the old tape"),
        Err(ScsiError::Poisoned(_))
    ));
    assert!(lab.dump("TM0002L9").is_empty());
}

/// Incident 9 (mt-st #22) in small: a cartridge says what it holds, by memory and by log page.
#[test]
fn incident_9_capacity_is_told_at_load() {
    let lab = Lab::new(Config::default());
    let mut drive = lab.mount(0, 0);
    let maximum = drive
        .attribute(scsi::mam::id::MAXIMUM_CAPACITY)
        .unwrap()
        .unwrap();
    assert_eq!(maximum.number(), Some(18_000_000_000_000 >> 20));
    assert_eq!(
        drive.tape_capacity().unwrap().maximum_mib,
        18_000_000_000_000 >> 20
    );
    assert_eq!(
        drive.volume_statistics().unwrap().total_native_capacity_mb,
        Some(18_000_000)
    );
}
