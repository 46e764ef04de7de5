//! What is left when the process, the power or the bus fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

#[path = "common/lab.rs"]
mod common;

use common::*;
use scsi::{Action, ObjectNumber, PoisonCause, ScsiError};
use simlib::{Effect, Fault};

#[test]
fn a_kill_loses_the_buffer_and_nothing_else() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AB!CD|", 1000);
    drop(drive);
    let lab = lab.kill();
    let mut drive = lab.drive(0);
    assert_eq!(drive.position().unwrap().record, ObjectNumber(0));
    assert_eq!(read_all(&mut drive), "AB|");
}

#[test]
fn a_kill_leaves_cartridges_where_they_are() {
    let lab = Lab::new(small());
    drop(lab.mount(2, 1));
    let lab = lab.kill();
    let inventory = lab.changer().inventory().unwrap();
    let drive = &inventory.drives[1];
    assert_eq!(drive.tag, Some(tag("TM0003L9")));
    assert_eq!(drive.source, Some(lab.library.slot(2)));
    assert!(!inventory.slots[2].full);
}

/// A flush cut anywhere: the tape ends behind the last whole record, and can be written on.
#[test]
fn a_flush_cut_at_any_byte_ends_behind_the_last_whole_record() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AB!", 50);
    drop(drive);
    let path = lab.file("TM0001L9.tape");
    let before = std::fs::metadata(&path).unwrap().len();
    let mut drive = lab.drive(0);
    drive.space_to_eod().unwrap();
    write(&mut drive, "CD|E!", 50);
    drop(drive);
    let whole = std::fs::read(&path).unwrap();
    let mut lab = lab;
    for cut in before..=whole.len() as u64 {
        std::fs::write(&path, &whole[..cut as usize]).unwrap();
        lab = lab.kill();
        let mut drive = lab.drive(0);
        let tape = read_on(&mut drive);
        // Frames are 32 bytes and the record.
        let objects = [(82, 'C'), (82, 'D'), (32, '|'), (82, 'E'), (32, '|')];
        let mut left = cut - before;
        let survivors: String = objects
            .iter()
            .map_while(|(size, letter)| {
                left = left.checked_sub(*size)?;
                Some(*letter)
            })
            .collect();
        assert_eq!(tape, format!("AB|{survivors}"), "cut at {cut}");
        write(&mut drive, "Z!", 9);
        assert_eq!(read_all(&mut drive), format!("AB|{survivors}Z|"));
    }
}

#[test]
fn bytes_of_rubble_behind_the_end_are_not_tape() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "ABC!", 500);
    drop(drive);
    let path = lab.file("TM0001L9.tape");
    let mut bytes = std::fs::read(&path).unwrap();
    // A frame of an older, longer life of the tape: whole, but not of this place.
    let old_frame = bytes[4096..4096 + 532].to_vec();
    bytes.extend_from_slice(&old_frame);
    std::fs::write(&path, bytes).unwrap();
    let lab = lab.kill();
    assert_eq!(read_all(&mut lab.drive(0)), "ABC|");
}

/// The saved index is a shortcut only: gone, stale or damaged, the tape is the same.
#[test]
fn the_saved_index_may_be_anything() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AABB|C!", 300);
    drop(drive);
    lab.dismount(0, 0);
    let index = lab.file("TM0001L9.index");
    let saved = std::fs::read(&index).unwrap();
    // Written on behind the saved index, and killed before it is saved again.
    let mut drive = lab.mount(0, 0);
    drive.space_to_eod().unwrap();
    write(&mut drive, "D!", 300);
    drop(drive);
    let lab = lab.kill();
    assert_eq!(read_all(&mut lab.drive(0)), "AABB|C|D|");
    // Overwritten in the middle: the shortcut is removed before the tape is cut.
    let mut drive = lab.drive(0);
    locate(&mut drive, 2);
    write(&mut drive, "XX|Y!", 300);
    assert!(!index.exists());
    drop(drive);
    let lab = lab.kill();
    assert_eq!(read_all(&mut lab.drive(0)), "AAXX|Y|");
    // Somebody puts the old one back, damaged or as it was: same lengths, other bytes.
    for damage in [None, Some(3), Some(saved.len() - 1), Some(20)] {
        let mut bytes = saved.clone();
        if let Some(at) = damage {
            bytes[at] ^= 1;
        }
        std::fs::write(&index, &bytes).unwrap();
        let out = tempfile::tempdir().unwrap();
        let files = simlib::dump_files(&lab.file("TM0001L9.tape"), out.path()).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(std::fs::read(&files[0].path).unwrap()[600..601], *b"X");
    }
}

#[test]
fn a_tape_file_that_is_none_fails_to_load_and_names_no_reason_to_write() {
    let lab = Lab::new(small());
    std::fs::write(lab.file("TM0001L9.tape"), b"not a cartridge").unwrap();
    let mut changer = lab.changer();
    changer.inventory().unwrap();
    changer
        .move_medium(lab.library.slot(0), lab.library.bay(0))
        .unwrap();
    let mut drive = lab.drive(0);
    let error = drive.write_record(b"x").unwrap_err();
    assert_eq!(error.action(), Action::Reconcile);
    // It can be taken out again.
    changer
        .move_medium(lab.library.bay(0), lab.library.slot(0))
        .unwrap();
}

#[test]
fn two_processes_cannot_open_one_library() {
    let lab = Lab::new(small());
    let error = simlib::SimLibrary::open(lab.dir.path(), small())
        .err()
        .unwrap();
    assert!(matches!(error, simlib::SimError::InUse(_)), "{error}");
    let held = lab.library.drive(0).unwrap();
    let Lab {
        dir,
        config,
        library,
    } = lab;
    drop(library);
    // A handle keeps it open as well.
    assert!(simlib::SimLibrary::open(dir.path(), config.clone()).is_err());
    drop(held);
    assert!(simlib::SimLibrary::open(dir.path(), config).is_ok());
}

#[test]
fn power_loss_in_the_middle_of_a_write_session() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AB!", 100);
    lab.library
        .arm(Fault::on("WRITE(6)").nth(3).effect(Effect::PowerLoss {
            kept: 1,
            torn: false,
        }));
    write(&mut drive, "CD", 100);
    let error = drive.write_record(&[b'E'; 100]).unwrap_err();
    assert!(matches!(error, ScsiError::Transport { .. }), "{error}");
    assert!(matches!(
        drive.write_record(b"F"),
        Err(ScsiError::Poisoned(_))
    ));
    let found = drive.requalify().unwrap();
    let codes: Vec<_> = found
        .attentions
        .iter()
        .map(|s| (s.code.asc, s.code.ascq))
        .collect();
    assert_eq!(codes, [(0x29, 0x01), (0x28, 0x00)]);
    assert!(found.position.unwrap().bop);
    // C was under way to the medium, D was not.
    assert_eq!(read_all(&mut drive), "AB|C");
}

#[test]
fn a_torn_end_is_found_by_reading_and_by_spacing() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AB!", 100);
    lab.library
        .arm(Fault::on("WRITE(6)").effect(Effect::PowerLoss {
            kept: 0,
            torn: true,
        }));
    drive.write_record(b"C").unwrap_err();
    drive.requalify().unwrap();
    assert_eq!(drive.space_to_eod().unwrap_err().action(), Action::TornEnd);
    locate(&mut drive, 3);
    assert_eq!(
        drive.read_record(&mut [0; 8]).unwrap_err().action(),
        Action::TornEnd
    );
    // It survives the process, as the tape does.
    drop(drive);
    let lab = lab.kill();
    assert_eq!(
        lab.drive(0).space_to_eod().unwrap_err().action(),
        Action::TornEnd
    );
}

#[test]
fn a_reset_rewinds_and_forgets() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    drive.set_up_for_writing().unwrap();
    drive.set_programmable_early_warning(3).unwrap();
    write(&mut drive, "AB!C", 100);
    lab.library.reset(0);
    let error = drive.write_filemarks(1, SYNC).unwrap_err();
    assert_eq!(error.action(), Action::PoisonSession);
    assert!(matches!(error, ScsiError::Poisoned(PoisonCause::Attention(s)) if s.code.asc == 0x29));
    assert_eq!(
        drive.requalify().unwrap().position.unwrap().record,
        ObjectNumber(0)
    );
    assert_eq!(read_all(&mut drive), "AB|");
    // Modes are at their defaults again.
    let page = drive.mode_page(0x10, 0x01).unwrap().page;
    assert_eq!(scsi::mode::programmable_early_warning(&page), Some(0));
    let page = drive.mode_page(0x0f, 0).unwrap().page;
    assert_eq!(scsi::mode::compression_enabled(&page), Some(true));
}

#[test]
fn a_drive_that_goes_offline_stays_so_until_its_power_is_cycled() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "A!B", 100);
    lab.library
        .arm(Fault::on("WRITE(6)").drive(0).effect(Effect::Offline));
    drive.write_record(b"C").unwrap_err();
    for _ in 0..3 {
        assert!(matches!(
            drive.requalify(),
            Err(ScsiError::Transport { .. })
        ));
        assert!(drive.poisoned().is_some());
    }
    // The other drive works.
    write(&mut lab.mount(1, 1), "X!", 100);
    lab.library.power_cycle(0);
    drive.requalify().unwrap();
    assert_eq!(read_all(&mut drive), "A|");
}

#[test]
fn host_disk_full_is_a_write_error_and_the_tape_ends_before_it() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "A!", 100);
    // A tape file that cannot be written stands for a host disk that is full: replace the
    // cartridge's memory file by a directory, so that the commit cannot be completed.
    let memory = lab.file("TM0001L9.new");
    std::fs::create_dir(&memory).unwrap();
    let seen = drive
        .attribute(scsi::mam::id::VOLUME_CHANGE_REFERENCE)
        .unwrap();
    assert!(seen.is_some());
    write(&mut drive, "B", 100);
    let error = drive.write_filemarks(1, SYNC).unwrap_err();
    assert_eq!(error.action(), Action::AbortSegment);
    // What could not be written is gone, and the head stands where the medium ends.
    assert_eq!(drive.position().unwrap().record, ObjectNumber(2));
    assert_eq!(lab.library.standing(0).unwrap().buffered_objects, 0);
    std::fs::remove_dir(&memory).unwrap();
}

/// A saved index that reaches behind a file cut in the middle of its last record.
#[test]
fn a_saved_index_longer_than_the_tape_is_not_believed() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "ABC", 200);
    drop(drive);
    lab.dismount(0, 0);
    assert!(lab.file("TM0001L9.index").exists());
    let path = lab.file("TM0001L9.tape");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(read_all(&mut lab.mount(0, 0)), "AB");
}

/// Two records of one length in each other's place: whole, but not what the tape says is there.
#[test]
fn a_record_in_the_wrong_place_is_unreadable() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "ABC!", 100);
    let path = lab.file("TM0001L9.tape");
    let mut bytes = std::fs::read(&path).unwrap();
    let (first, second) = bytes[4096..4096 + 264].split_at_mut(132);
    first.swap_with_slice(second);
    std::fs::write(&path, bytes).unwrap();
    // `write` has made a new file of it: the drive must open it anew.
    drop(drive);
    lab.dismount(0, 0);
    assert_eq!(read_all(&mut lab.mount(0, 0)), "??C|");
}
