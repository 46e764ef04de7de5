//! Mechanics on a virtual clock and in scaled real time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

#[path = "common/lab.rs"]
mod common;

use common::*;
use scsi::{Data, Drive, FormFactor, ObjectNumber, Readiness, Transport, TransportError};
use simlib::{Config, Timing, VirtualClock};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn lab() -> (Arc<VirtualClock>, Lab) {
    let clock = VirtualClock::new();
    let timing = Timing::Virtual(Arc::clone(&clock));
    let lab = Lab::new(Config {
        timing,
        form: FormFactor::FullHeight,
        ..Config::default()
    });
    (clock, lab)
}

/// Polls until ready, as a host would.
fn wait(drive: &mut Drive<simlib::DriveHandle>) -> usize {
    for polls in 0..1000 {
        match drive.readiness().unwrap() {
            Readiness::Ready => return polls,
            Readiness::BecomingReady(_) | Readiness::Attention(_) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("never ready")
}

#[test]
fn a_mount_takes_robot_and_load() {
    let (clock, lab) = lab();
    let mut changer = lab.changer();
    changer.inventory().unwrap();
    assert_eq!(clock.now(), Duration::ZERO);
    changer
        .move_medium(lab.library.slot(0), lab.library.bay(0))
        .unwrap();
    assert_eq!(clock.now(), Duration::from_secs(15));
    let mut drive = Drive::new(lab.library.drive(0).unwrap());
    let polls = wait(&mut drive);
    assert!((17..=20).contains(&polls), "{polls}");
    assert_eq!(clock.now(), Duration::from_secs(15 + 17));
    drive.requalify().unwrap();
    // LOAD on a cartridge that is loading waits instead of polling.
    changer
        .move_medium(lab.library.slot(1), lab.library.bay(1))
        .unwrap();
    let mut other = Drive::new(lab.library.drive(1).unwrap());
    other.load().unwrap();
    assert_eq!(other.readiness().unwrap(), Readiness::Ready);
}

#[test]
fn writing_costs_the_tapes_time_and_a_sync_three_seconds() {
    let (clock, lab) = lab();
    let mut drive = {
        let mut changer = lab.changer();
        changer.inventory().unwrap();
        changer
            .move_medium(lab.library.slot(0), lab.library.bay(0))
            .unwrap();
        let mut drive = Drive::new(lab.library.drive(0).unwrap());
        wait(&mut drive);
        drive.requalify().unwrap();
        drive
    };
    let start = clock.now();
    // 40 MB at 400 MB/s.
    for _ in 0..40 {
        drive.write_record(&vec![0; 1_000_000]).unwrap();
    }
    let written = clock.now() - start;
    assert_eq!(written.as_millis(), 100);
    drive.write_filemarks(1, IMMED).unwrap();
    assert_eq!(clock.now() - start, written);
    drive.write_filemarks(1, SYNC).unwrap();
    assert_eq!(clock.now() - start, written + Duration::from_secs(3));
    // LTO-9 archive unthread, less than 5 GB moved, and the eject.
    let before = clock.now();
    drive.unload().unwrap();
    assert_eq!((clock.now() - before).as_secs(), 55 + 30);
}

#[test]
fn drives_work_side_by_side_on_the_clock() {
    let (clock, lab) = lab();
    let mut drives: Vec<_> = (0..2u16)
        .map(|number| {
            let mut changer = lab.changer();
            changer.inventory().unwrap();
            changer
                .move_medium(lab.library.slot(number), lab.library.bay(number))
                .unwrap();
            let mut drive = Drive::new(lab.library.drive(usize::from(number)).unwrap());
            drive.load().unwrap();
            drive.requalify().unwrap();
            drive
        })
        .collect();
    // Robot 15 s, load 17 s; robot again 15 s, load 17 s behind it.
    assert_eq!(clock.now(), Duration::from_secs(15 + 15 + 17));
    let start = clock.now();
    for drive in &mut drives {
        for _ in 0..10 {
            drive.write_filemarks(1, SYNC).unwrap();
        }
    }
    // Drive 0 was ready 15 s earlier, so it finishes within drive 1's 30 s.
    assert_eq!(clock.now() - start, Duration::from_secs(30));
}

/// A command that takes longer than the host waits is executed, and the host does not know.
#[test]
fn a_flat_timeout_loses_the_position() {
    let (_, lab) = lab();
    let mut changer = lab.changer();
    changer.inventory().unwrap();
    changer
        .move_medium(lab.library.slot(0), lab.library.bay(0))
        .unwrap();
    let mut drive = Drive::new(lab.library.drive(0).unwrap());
    drive.load().unwrap();
    drive.requalify().unwrap();
    let mut unit = lab.library.drive(0).unwrap();
    let cdb = [0x10, 0, 0, 0, 1, 0];
    let result = unit.exec(&cdb, Data::None, Duration::from_secs(2));
    let expected = TransportError::Timeout {
        opcode: 0x10,
        after: Duration::from_secs(2),
    };
    assert_eq!(result, Err(expected));
    assert_eq!(drive.position().unwrap().record, ObjectNumber(1));
}

#[test]
fn scaled_time_passes_in_reality() {
    // A thousand times faster: 15 s of robot are 15 ms, 17 s of load 17 ms.
    let lab = Lab::new(Config {
        timing: Timing::Scaled(1000.0),
        ..small()
    });
    let started = Instant::now();
    let mut changer = lab.changer();
    changer.inventory().unwrap();
    changer
        .move_medium(lab.library.slot(0), lab.library.bay(0))
        .unwrap();
    assert!(started.elapsed() >= Duration::from_millis(15));
    let mut drive = Drive::new(lab.library.drive(0).unwrap());
    // The robot is free while the drive loads.
    assert_eq!(
        changer.inventory().unwrap().drives[0].tag,
        Some(tag("TM0001L9"))
    );
    drive.load().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(15 + 17));
    drive.requalify().unwrap();
    drive.write_record(b"A").unwrap();
}

#[test]
fn the_same_commands_take_the_same_time() {
    let run = || {
        let (clock, lab) = lab();
        let mut changer = lab.changer();
        changer.inventory().unwrap();
        changer
            .move_medium(lab.library.slot(0), lab.library.bay(0))
            .unwrap();
        let mut drive = Drive::new(lab.library.drive(0).unwrap());
        drive.load().unwrap();
        drive.requalify().unwrap();
        write(&mut drive, "AB|CD!", 500_000);
        for record in [3, 0, 5, 1] {
            locate(&mut drive, record);
        }
        drive.rewind().unwrap();
        drive.unload().unwrap();
        clock.now()
    };
    let once = run();
    assert!(once > Duration::from_secs(100), "{once:?}");
    assert_eq!(once, run());
}

/// Without a clock nothing takes long, whatever the mechanics would.
#[test]
fn without_timing_no_command_is_too_long() {
    let lab = Lab::new(small());
    drop(lab.mount(0, 0));
    let mut unit = lab.library.drive(0).unwrap();
    for cdb in [
        [0x10, 0, 0, 0, 1, 0],
        [0x1b, 0, 0, 0, 0, 0],
        [0x1b, 0, 0, 0, 1, 0],
    ] {
        let completion = unit
            .exec(&cdb, Data::None, Duration::from_nanos(1))
            .unwrap();
        assert_eq!(completion.status, scsi::Status::Good);
    }
}

/// A library that makes the drive unload first: the move takes all of that.
#[test]
fn a_move_out_of_a_loaded_drive_takes_the_unload_as_well() {
    let clock = VirtualClock::new();
    let timing = Timing::Virtual(Arc::clone(&clock));
    let lab = Lab::new(Config {
        timing,
        implicit_unload: true,
        ..Config::default()
    });
    let mut changer = lab.changer();
    changer.inventory().unwrap();
    let (slot, bay) = (lab.library.slot(0), lab.library.bay(0));
    changer.move_medium(slot, bay).unwrap();
    let before = clock.now();
    changer.move_medium(bay, slot).unwrap();
    // The rest of the load, archive unthread, eject, robot.
    assert_eq!((clock.now() - before).as_secs(), 17 + 55 + 30 + 15);
    // A changer driver with a flat minute would have lost it.
    changer.move_medium(slot, bay).unwrap();
    let cdb = [0xa5, 0, 0, 0, 1, 1, 4, 0, 0, 0, 0, 0];
    let mut unit = lab.library.changer();
    let result = unit.exec(&cdb, Data::None, Duration::from_secs(60));
    assert!(
        matches!(result, Err(TransportError::Timeout { opcode: 0xa5, .. })),
        "{result:?}"
    );
    assert!(changer.inventory().unwrap().slots[0].full);
}
