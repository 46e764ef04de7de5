//! The robot, the shelves, and the operator's hand.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

#[path = "common/lab.rs"]
mod common;

use common::*;
use scsi::{Drive, ElementAddress, ElementProblem, Readiness, ScsiError};
use simlib::{Config, Effect, Fault};

fn problem(result: Result<(), ScsiError>) -> ElementProblem {
    match result {
        Err(ScsiError::Element { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_inventory_tells_everything() {
    let lab = Lab::new(small());
    let inventory = lab.changer().inventory().unwrap();
    assert_eq!(inventory.transports.len(), 1);
    assert_eq!(inventory.slots.len(), 24);
    assert_eq!(inventory.mail_slots.len(), 4);
    assert_eq!(inventory.drives.len(), 2);
    let tags: Vec<_> = inventory
        .slots
        .iter()
        .filter_map(|slot| slot.tag.clone())
        .collect();
    assert_eq!(
        tags,
        ["TM0001L9", "TM0002L9", "TM0003L9", "TM0004L9"].map(tag)
    );
    assert_eq!(inventory.slots.iter().filter(|slot| slot.full).count(), 4);
    assert_eq!(inventory.empty_slot().unwrap().address, lab.library.slot(4));
    for number in 0..2 {
        let serial = Drive::new(lab.library.drive(number).unwrap())
            .serial()
            .unwrap();
        let element = inventory.drive_by_serial(&serial).unwrap();
        assert_eq!(element.address, lab.library.bay(number as u16));
    }
    assert!(inventory.drive_by_serial("SIMDRV").is_none());
}

#[test]
fn a_cartridge_goes_from_slot_to_drive_to_mail_slot_and_back() {
    let lab = Lab::new(small());
    let library = &lab.library;
    let mut drive = lab.mount(0, 1);
    write(&mut drive, "A!", 10);
    let loaded = lab.changer().inventory().unwrap().drives[1].clone();
    assert!(loaded.full && !loaded.accessible);
    assert_eq!(loaded.source, Some(library.slot(0)));
    drive.unload().unwrap();
    assert_eq!(drive.readiness().unwrap(), Readiness::NoMedium);
    let mut changer = lab.changer();
    assert!(changer.inventory().unwrap().drives[1].accessible);
    changer
        .move_medium(library.bay(1), library.mail_slot(2))
        .unwrap();
    let inventory = changer.inventory().unwrap();
    assert_eq!(
        inventory.find(&tag("TM0001L9")).unwrap().address,
        library.mail_slot(2)
    );
    assert!(!inventory.drives[1].full);
    // The robot put it there, not an operator.
    assert!(!inventory.mail_slots[2].imported);
    changer
        .move_medium(library.mail_slot(2), library.slot(20))
        .unwrap();
    assert_eq!(read_all(&mut lab.mount(20, 0)), "A|");
}

#[test]
fn moves_that_cannot_be_done() {
    let lab = Lab::new(small());
    let library = &lab.library;
    let mut changer = lab.changer();
    changer.inventory().unwrap();
    let (full, other, empty) = (library.slot(0), library.slot(1), library.slot(9));
    assert_eq!(
        problem(changer.move_medium(empty, library.bay(0))),
        ElementProblem::SourceEmpty
    );
    assert_eq!(
        problem(changer.move_medium(full, other)),
        ElementProblem::DestinationFull
    );
    let nowhere = ElementAddress(5000);
    assert_eq!(
        problem(changer.move_medium(full, nowhere)),
        ElementProblem::NoSuchElement
    );
    assert_eq!(
        problem(changer.move_medium(nowhere, full)),
        ElementProblem::NoSuchElement
    );
    changer.move_medium(full, library.bay(0)).unwrap();
    assert_eq!(
        problem(changer.move_medium(other, library.bay(0))),
        ElementProblem::DestinationFull
    );
    // Threaded: the picker cannot have it.
    assert_eq!(
        problem(changer.move_medium(library.bay(0), full)),
        ElementProblem::RemovalPrevented
    );
    // None of this moved anything.
    let inventory = changer.inventory().unwrap();
    assert_eq!(
        inventory.find(&tag("TM0001L9")).unwrap().address,
        library.bay(0)
    );
    assert_eq!(inventory.find(&tag("TM0002L9")).unwrap().address, other);
}

#[test]
fn prevented_removal_keeps_the_cartridge_even_from_unload() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    drive.prevent_removal(true).unwrap();
    let refused = drive.unload().unwrap_err();
    assert_eq!(refused.action(), scsi::Action::AllowRemoval);
    drive.prevent_removal(false).unwrap();
    drive.unload().unwrap();
    drive.prevent_removal(true).unwrap();
    let mut changer = lab.changer();
    changer.inventory().unwrap();
    let moved = changer.move_medium(lab.library.bay(0), lab.library.slot(0));
    assert_eq!(problem(moved), ElementProblem::RemovalPrevented);
}

#[test]
fn some_libraries_unload_by_themselves() {
    let lab = Lab::new(Config {
        implicit_unload: true,
        ..small()
    });
    let mut drive = lab.mount(0, 0);
    // In the buffer only: the robot's unload flushes it.
    write(&mut drive, "AB|", 100);
    let mut changer = lab.changer();
    changer.inventory().unwrap();
    changer
        .move_medium(lab.library.bay(0), lab.library.slot(0))
        .unwrap();
    assert_eq!(drive.readiness().unwrap(), Readiness::NoMedium);
    assert_eq!(read_all(&mut lab.mount(0, 1)), "AB|");
}

#[test]
fn a_jam_leaves_the_cartridge_where_it_was_or_in_the_gripper() {
    let lab = Lab::new(small());
    let library = &lab.library;
    let mut changer = lab.changer();
    changer.inventory().unwrap();
    library.arm(Fault::on("MOVE MEDIUM").effect(Effect::Jam { dropped: false }));
    let jammed = changer.move_medium(library.slot(0), library.bay(0));
    assert_eq!(problem(jammed), ElementProblem::Jammed);
    assert_eq!(
        changer
            .inventory()
            .unwrap()
            .find(&tag("TM0001L9"))
            .unwrap()
            .address,
        library.slot(0)
    );

    library.arm(
        Fault::on("MOVE MEDIUM")
            .volume("TM0002L9")
            .effect(Effect::Jam { dropped: true }),
    );
    changer
        .move_medium(library.slot(0), library.bay(0))
        .unwrap();
    let jammed = changer.move_medium(library.slot(1), library.bay(1));
    assert_eq!(problem(jammed), ElementProblem::Jammed);
    let inventory = changer.inventory().unwrap();
    assert!(inventory.transports[0].full);
    assert!(!inventory.slots[1].full && !inventory.drives[1].full);
    // An operator takes it out of the gripper.
    library.put_back(library.slot(1), &tag("TM0002L9")).unwrap();
    let inventory = changer.inventory().unwrap();
    assert_eq!(
        inventory.find(&tag("TM0002L9")).unwrap().address,
        library.slot(1)
    );
    let attentions = changer.take_attentions();
    assert_eq!(
        (
            attentions.last().unwrap().code.asc,
            attentions.last().unwrap().code.ascq
        ),
        (0x28, 0x01)
    );
}

#[test]
fn an_operator_exchanges_two_cartridges() {
    let lab = Lab::new(small());
    let library = &lab.library;
    let mut changer = lab.changer();
    changer.inventory().unwrap();
    library
        .swap_by_hand(library.slot(0), library.slot(7))
        .unwrap();
    // The next command tells, and a move is not done on old knowledge.
    let refused = changer
        .move_medium(library.slot(0), library.bay(0))
        .unwrap_err();
    assert!(matches!(refused, ScsiError::Attention { sense, .. } if sense.code.ascq == 0x01));
    let inventory = changer.inventory().unwrap();
    assert_eq!(inventory.slots[7].tag, Some(tag("TM0001L9")));
    assert!(!inventory.slots[0].full);
    // A locked door keeps hands out; drives always do.
    changer.prevent_removal(true).unwrap();
    let error = library
        .swap_by_hand(library.slot(0), library.slot(7))
        .unwrap_err();
    assert_eq!(error.to_string(), "element 1024: is behind a locked door");
    changer.prevent_removal(false).unwrap();
    let error = library
        .swap_by_hand(library.slot(0), library.bay(0))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "element 257: is no place for an operator's hand"
    );
}

#[test]
fn cartridges_come_and_go_through_the_mail_slot() {
    let lab = Lab::new(small());
    let library = &lab.library;
    let mut changer = lab.changer();
    library
        .insert_blank(library.mail_slot(0), &tag("NEW001L9"))
        .unwrap();
    let inventory = changer.inventory().unwrap();
    let new = inventory.find(&tag("NEW001L9")).unwrap();
    assert!(new.imported && new.address == library.mail_slot(0));
    changer.move_medium(new.address, library.slot(9)).unwrap();
    assert_eq!(read_all(&mut lab.mount(9, 0)), "");

    let files = vec![
        vec![b"VOL1FOREIGN".to_vec()],
        vec![vec![b'x'; 700], vec![b'y'; 300]],
    ];
    library
        .insert_foreign(library.mail_slot(1), &tag("ELSE01L9"), &files)
        .unwrap();
    changer.inventory().unwrap();
    changer
        .move_medium(library.mail_slot(1), library.slot(10))
        .unwrap();
    assert_eq!(read_all(&mut lab.mount(10, 1)), "#|xy|");

    let twice = library.insert_blank(library.mail_slot(2), &tag("NEW001L9"));
    assert!(twice.is_err());
    let filled = library.insert_blank(library.slot(1), &tag("NEW002L9"));
    assert!(matches!(filled, Err(simlib::SimError::Place { .. })));

    library.take_out(&tag("TM0004L9")).unwrap();
    assert!(
        changer
            .inventory()
            .unwrap()
            .find(&tag("TM0004L9"))
            .is_none()
    );
    drop(changer);
    let lab = lab.kill();
    lab.library
        .put_back(lab.library.mail_slot(3), &tag("TM0004L9"))
        .unwrap();
    assert!(lab.changer().inventory().unwrap().mail_slots[3].imported);
}

#[test]
fn a_configuration_that_does_not_fit_the_library_is_refused() {
    let lab = Lab::new(small());
    drop(lab.mount(3, 1));
    let Lab { dir, library, .. } = lab;
    drop(library);
    let fewer = Config {
        drives: 1,
        ..small()
    };
    let error = simlib::SimLibrary::open(dir.path(), fewer).err().unwrap();
    assert_eq!(
        error.to_string(),
        "configuration: TM0004L9 lies in element 258, which is gone"
    );
    assert!(simlib::SimLibrary::create(dir.path(), small(), 1).is_err());
    let none = Config {
        drives: 0,
        ..small()
    };
    assert!(simlib::SimLibrary::open(dir.path(), none).is_err());
}

#[test]
fn a_barcode_is_no_path() {
    let lab = Lab::new(small());
    for barcode in ["../escape", "a/b", "a.b", "TM 01"] {
        let Some(tag) = scsi::VolumeTag::new(barcode) else {
            continue;
        };
        let slot = lab.library.mail_slot(0);
        let error = lab.library.insert_blank(slot, &tag).unwrap_err();
        assert!(matches!(error, simlib::SimError::Config(_)), "{error}");
        assert!(
            lab.library
                .corrupt(&tag, 0, simlib::Damage::Silent)
                .is_err()
        );
    }
    assert!(!lab.changer().inventory().unwrap().mail_slots[0].full);
}

#[test]
fn a_changer_that_lost_power_tells_so_and_keeps_its_shelves() {
    let lab = Lab::new(small());
    let mut changer = lab.changer();
    let before = changer.inventory().unwrap();
    lab.library
        .arm(Fault::on("MOVE MEDIUM").effect(Effect::Offline));
    let (slot, bay) = (lab.library.slot(0), lab.library.bay(0));
    for _ in 0..2 {
        let silent = changer.move_medium(slot, bay).unwrap_err();
        assert!(matches!(silent, ScsiError::Transport { .. }), "{silent}");
    }
    lab.library.power_cycle_changer();
    let told = changer.move_medium(slot, bay).unwrap_err();
    assert_eq!(told.action(), scsi::Action::PoisonSession);
    assert_eq!(changer.inventory().unwrap(), before);
}

/// Two shells with each other's tape inside: barcodes are right, contents are not, and only what
/// is on the tape and in its memory can tell.
#[test]
fn the_wrong_tape_behind_the_right_barcode() {
    let lab = Lab::new(small());
    write(&mut lab.mount(0, 0), "AAA!", 100);
    write(&mut lab.mount(1, 1), "B!", 100);
    let in_drives = (tag("TM0001L9"), tag("TM0002L9"));
    let refused = lab
        .library
        .swap_tapes_behind_barcodes(&in_drives.0, &in_drives.1);
    assert!(matches!(refused, Err(simlib::SimError::Place { .. })));
    lab.dismount(0, 0);
    // One of them has a saved index, the other has none.
    lab.dismount(1, 1);
    std::fs::remove_file(lab.file("TM0002L9.index")).unwrap();
    let (one, two) = in_drives;
    lab.library.swap_tapes_behind_barcodes(&one, &two).unwrap();
    let inventory = lab.changer().inventory().unwrap();
    assert_eq!(inventory.slots[0].tag, Some(one));
    let serial = |drive: &mut Drive<_>| {
        let medium = drive
            .attribute(scsi::mam::id::MEDIUM_SERIAL)
            .unwrap()
            .unwrap();
        medium.as_text()
    };
    let mut drive = lab.mount(0, 0);
    assert_eq!(read_all(&mut drive), "B|");
    assert_eq!(serial(&mut drive), "SIMTM0002L9");
    let mut drive = lab.mount(1, 1);
    assert_eq!(read_all(&mut drive), "AAA|");
    assert_eq!(serial(&mut drive), "SIMTM0001L9");
    assert!(lab.library.take_out(&two).is_err(), "it is in a drive");
}

#[test]
fn a_library_that_syncs_the_hosts_disk_works_the_same() {
    let lab = Lab::new(Config {
        fsync: true,
        ..small()
    });
    write(&mut lab.mount(0, 0), "AB|C!", 100);
    assert_eq!(read_all(&mut lab.kill().drive(0)), "AB|C|");
}
