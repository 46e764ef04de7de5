//! The cartridge's memory, the dump for stock tools, and loading large tapes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

#[path = "common/lab.rs"]
mod common;

use common::*;
use scsi::mam::{Attribute, id};
use scsi::{Action, ObjectNumber};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn host_attributes_stay_with_the_cartridge() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    let attributes = [
        Attribute::text(id::APPLICATION_VENDOR, 8, "TAPEMARK"),
        Attribute::text(id::BARCODE, 32, "TM0001L9"),
        Attribute::binary(id::VOLUME_COHERENCY, vec![1; 70]),
    ];
    drive.set_attributes(&attributes).unwrap();
    drop(drive);
    let lab = lab.kill();
    lab.dismount(0, 5);
    let mut drive = lab.mount(5, 1);
    let read = drive.attributes(id::APPLICATION_VENDOR).unwrap();
    assert_eq!(read, attributes);
    assert_eq!(drive.attribute(id::MEDIA_POOL), Ok(None));
    // Deleted by an empty value.
    drive
        .set_attributes(&[Attribute::binary(id::VOLUME_COHERENCY, vec![])])
        .unwrap();
    assert_eq!(drive.attribute(id::VOLUME_COHERENCY), Ok(None));
    // Other cartridges have none of it.
    assert_eq!(lab.mount(1, 0).attribute(id::BARCODE), Ok(None));
}

#[test]
fn a_host_writes_no_attribute_of_the_drive_and_none_that_is_too_long() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    for attribute in [
        Attribute::binary(id::LOAD_COUNT, vec![0; 8]),
        Attribute::binary(id::MEDIUM_SERIAL, vec![b'x'; 32]),
        Attribute::text(id::BARCODE, 33, "too long"),
        Attribute::binary(0x1623, vec![1]),
    ] {
        let good = Attribute::text(id::USER_LABEL, 160, "not written either");
        let error = drive.set_attributes(&[good, attribute]).unwrap_err();
        assert_eq!(error.action(), Action::FailJob);
        assert_eq!(drive.attribute(id::USER_LABEL), Ok(None));
    }
}

/// The volume change reference is what proves that nobody wrote since: it stays while nothing is
/// written, and changes with the first write after it was looked at.
#[test]
fn the_volume_change_reference_tells_of_every_write_since_it_was_read() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    let mut reference = {
        let mut last = 0;
        move |drive: &mut scsi::Drive<_>, changed: bool| {
            let attribute = drive
                .attribute(id::VOLUME_CHANGE_REFERENCE)
                .unwrap()
                .unwrap();
            let now = attribute.number().unwrap();
            assert_eq!(now != last, changed, "{last} → {now}");
            last = now;
        }
    };
    reference(&mut drive, true);
    reference(&mut drive, false);
    write(&mut drive, "AB!", 10);
    reference(&mut drive, true);
    assert_eq!(read_all(&mut drive), "AB|");
    reference(&mut drive, false);
    write(&mut drive, "C", 10);
    // Not on the medium yet.
    reference(&mut drive, false);
    drive.write_filemarks(0, SYNC).unwrap();
    reference(&mut drive, true);
    drop(drive);
    lab.dismount(0, 0);
    let mut drive = lab.mount(0, 1);
    reference(&mut drive, false);
    // Written by somebody else in between, on another drive, and killed.
    locate(&mut drive, 1);
    write(&mut drive, "X!", 10);
    drop(drive);
    let lab = lab.kill();
    reference(&mut lab.drive(1), true);
}

#[test]
fn loads_are_counted_and_the_drive_is_remembered() {
    let lab = Lab::new(small());
    for (loads, drive) in [(1, 0), (2, 1), (3, 0)] {
        let mut handle = lab.mount(0, drive);
        let count = handle.attribute(id::LOAD_COUNT).unwrap().unwrap();
        assert_eq!(count.number(), Some(loads));
        let last = handle.attribute(id::DRIVE_AT_LAST_LOAD).unwrap().unwrap();
        assert_eq!(last.as_text(), format!("IBM     SIMDRV{:04}", drive + 1));
        assert_eq!(handle.volume_statistics().unwrap().mounts, Some(loads));
        lab.dismount(drive, 0);
    }
}

/// Files on tape written by GNU tar in 512-byte records come back through the dump and are read
/// by GNU tar.
#[test]
fn a_dumped_tape_file_is_a_tar_file() {
    let lab = Lab::new(small());
    let work = tempfile::tempdir().unwrap();
    let text = "what is written is read\n".repeat(500);
    std::fs::write(work.path().join("a.txt"), &text).unwrap();
    let tar = Command::new("tar")
        .args(["-cf", "-", "-b", "20", "a.txt"])
        .current_dir(work.path())
        .output()
        .expect("tar is part of every system this runs on");
    assert!(tar.status.success());
    let mut drive = lab.mount(0, 0);
    drive.write_record(b"VOL1TM0001").unwrap();
    drive.write_filemarks(1, IMMED).unwrap();
    for record in tar.stdout.chunks(10_240) {
        drive.write_record(record).unwrap();
    }
    drive.write_filemarks(2, SYNC).unwrap();

    let out = tempfile::tempdir().unwrap();
    let path = lab.library.cartridge_path(&tag("TM0001L9"));
    let files = simlib::dump_files(&path, out.path()).unwrap();
    let shapes: Vec<_> = files
        .iter()
        .map(|f| (f.first_record, f.records, f.bytes))
        .collect();
    let records = tar.stdout.len().div_ceil(10_240) as u64;
    let bytes = tar.stdout.len() as u64;
    assert_eq!(
        shapes,
        [(0, 1, 10), (2, records, bytes), (3 + records, 0, 0)]
    );
    let listed = Command::new("tar")
        .arg("-xOf")
        .arg(&files[1].path)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), text);

    lab.library
        .corrupt(&tag("TM0001L9"), 2, simlib::Damage::Unreadable)
        .unwrap();
    let files = simlib::dump_files(&path, out.path()).unwrap();
    assert_eq!(files[1].damaged, 1);
    assert_eq!(std::fs::metadata(&files[1].path).unwrap().len(), bytes);
}

/// 100,000 records load in a moment, with the saved index and without, and LOCATE does not walk.
#[test]
fn a_long_tape_loads_and_locates_without_walking() {
    let lab = Lab::new(simlib::Config {
        capacity: 1 << 40,
        ..small()
    });
    let mut drive = lab.mount(0, 0);
    const FILES: u64 = 100;
    const RECORDS: u64 = 1000;
    for file in 0..FILES {
        for record in 0..RECORDS {
            // Every other tape file has records of changing length, which defeats the runs.
            let length = if file % 2 == 0 {
                64
            } else {
                64 + (record % 7) as usize
            };
            drive.write_record(&vec![file as u8; length]).unwrap();
        }
        drive.write_filemarks(1, IMMED).unwrap();
    }
    drive.write_filemarks(0, SYNC).unwrap();
    drop(drive);
    let objects = FILES * (RECORDS + 1);
    std::fs::remove_file(lab.file("TM0001L9.index")).unwrap();
    let started = Instant::now();
    let lab = lab.kill();
    let without_index = started.elapsed();
    let mut drive = lab.drive(0);
    drive.space_to_eod().unwrap();
    assert_eq!(drive.position().unwrap().record, ObjectNumber(objects));
    let started = Instant::now();
    let mut buffer = [0; 128];
    for step in 0..2000u64 {
        let file = step * 37 % FILES;
        locate(&mut drive, file * (RECORDS + 1) + step * 91 % RECORDS);
        drive.read_record(&mut buffer).unwrap();
        assert_eq!(u64::from(buffer[0]), file);
    }
    let locating = started.elapsed();
    // Generous by far: walking would take minutes.
    assert!(without_index < Duration::from_secs(20), "{without_index:?}");
    assert!(locating < Duration::from_secs(20), "{locating:?}");
}
