//! Fault scripts: when they strike, and what they do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

#[path = "common/lab.rs"]
mod common;

use common::*;
use scsi::{Action, ObjectNumber, ScsiError, Status};
use simlib::{Config, Effect, Fault, FaultScript};

#[test]
fn the_nth_write_of_one_drive_on_one_volume_at_one_record() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    let mut other = lab.mount(1, 1);
    let write_error = Effect::sense(3, 0x0c, 0x00);
    lab.library.arm(
        Fault::on("WRITE(6)")
            .drive(0)
            .nth(3)
            .effect(write_error.clone()),
    );
    write(&mut other, "XXXX", 10);
    write(&mut drive, "AB", 10);
    assert_eq!(
        drive.write_record(b"C").unwrap_err().action(),
        Action::AbortSegment
    );
    assert_eq!(lab.library.pending_faults(), 0);
    write(&mut drive, "D", 10);

    lab.library.arm(
        Fault::on("WRITE(6)")
            .volume("TM0002L9")
            .effect(write_error.clone()),
    );
    write(&mut drive, "E", 10);
    other.write_record(b"Y").unwrap_err();

    lab.library
        .arm(Fault::on("WRITE(6)").record(6).times(2).effect(write_error));
    write(&mut drive, "F!", 10);
    assert_eq!(drive.position().unwrap().record, ObjectNumber(6));
    for _ in 0..2 {
        drive.write_record(b"H").unwrap_err();
    }
    write(&mut drive, "H!", 10);
    assert_eq!(read_all(&mut drive), "ABDEF|H|");
}

#[test]
fn a_script_in_json_is_the_script_of_the_builder() {
    let json = r#"[
        {"command": "WRITE FILEMARKS(6)", "nth": 2, "effect": {"sense": {"key": 3, "asc": 12, "ascq": 0}}},
        {"drive": 1, "effect": "offline"},
        {"command": "MOVE MEDIUM", "volume": "TM0001L9", "effect": {"jam": {"dropped": true}}},
        {"command": "WRITE(6)", "record": 7, "times": 2, "effect": {"power_loss": {"kept": 3}}}
    ]"#;
    let built = FaultScript::none()
        .with(
            Fault::on("WRITE FILEMARKS(6)")
                .nth(2)
                .effect(Effect::sense(3, 0x0c, 0)),
        )
        .with(Fault::on_any().drive(1).effect(Effect::Offline))
        .with(
            Fault::on("MOVE MEDIUM")
                .volume("TM0001L9")
                .effect(Effect::Jam { dropped: true }),
        )
        .with(
            Fault::on("WRITE(6)")
                .record(7)
                .times(2)
                .effect(Effect::PowerLoss {
                    kept: 3,
                    torn: false,
                }),
        );
    assert_eq!(serde_json::from_str::<FaultScript>(json).unwrap(), built);
    let unknown = r#"[{"comand": "READ(6)", "effect": "busy"}]"#;
    assert!(serde_json::from_str::<FaultScript>(unknown).is_err());
    // From the start, by configuration.
    let faults = FaultScript::none().with(Fault::on("WRITE(6)").effect(Effect::sense(4, 0x44, 0)));
    let lab = Lab::new(Config { faults, ..small() });
    let mut drive = lab.mount(0, 0);
    assert_eq!(
        drive.write_record(b"A").unwrap_err().action(),
        Action::DrainDrive
    );
}

#[test]
fn busy_is_not_executed() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    lab.library.arm(Fault::on("WRITE(6)").effect(Effect::Busy));
    let busy = ScsiError::Status {
        command: "WRITE(6)",
        status: Status::Busy,
    };
    assert_eq!(drive.write_record(b"A"), Err(busy));
    write(&mut drive, "B!", 10);
    assert_eq!(read_all(&mut drive), "B|");
}

#[test]
fn a_recovered_error_is_a_success_that_is_counted() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    lab.library
        .arm(Fault::on("WRITE(6)").effect(Effect::with_sense(1, 0x0c, 0x00)));
    let written = drive.write_record(&[b'A'; 10]).unwrap();
    assert!(written.recovered.is_some());
    assert_eq!(drive.recovered_errors(), 1);
    lab.library
        .arm(Fault::on("WRITE(6)").effect(Effect::with_sense(0, 0x00, 0x17)));
    assert!(drive.write_record(&[b'B'; 10]).unwrap().cleaning_requested);
    assert_eq!(read_all(&mut drive), "AB");
}

/// The host only sees a time-out: the record was written all the same. READ POSITION tells.
#[test]
fn a_lost_answer_leaves_the_command_done() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "A", 10);
    lab.library
        .arm(Fault::on("WRITE(6)").effect(Effect::LostAnswer));
    let error = drive.write_record(&[b'B'; 10]).unwrap_err();
    assert_eq!(error.action(), Action::ProveByPosition);
    let found = drive.requalify().unwrap();
    assert_eq!(found.position.unwrap().record, ObjectNumber(2));
    assert_eq!(read_all(&mut drive), "AB");
}

/// A deferred error: the record was answered GOOD, and the failure comes with a later command,
/// which itself was not executed.
#[test]
fn a_deferred_error_comes_with_the_next_command() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "A!B", 10);
    lab.library
        .arm(Fault::on("WRITE(6)").effect(Effect::deferred_later(3, 0x0c, 0x00)));
    drive.write_record(&[b'C'; 10]).unwrap();
    let error = drive.write_filemarks(1, SYNC).unwrap_err();
    assert!(matches!(
        error,
        ScsiError::Deferred {
            command: "WRITE FILEMARKS(6)",
            ..
        }
    ));
    assert!(matches!(
        drive.write_filemarks(1, SYNC),
        Err(ScsiError::Poisoned(_))
    ));
    drive.requalify().unwrap();
    // B and C are lost, and so is the filemark that was not executed.
    assert_eq!(read_all(&mut drive), "A|");
    assert_eq!(
        lab.drive(0)
            .volume_statistics()
            .unwrap()
            .unrecovered_write_errors,
        Some(1)
    );
}

#[test]
fn a_record_goes_bad_just_before_it_is_read() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "ABC!", 100);
    lab.library.arm(
        Fault::on("READ(6)")
            .record(1)
            .effect(Effect::Corrupt { silent: false }),
    );
    lab.library.arm(
        Fault::on("READ(6)")
            .record(2)
            .effect(Effect::Corrupt { silent: true }),
    );
    assert_eq!(read_all(&mut drive), "A?#|");
    // The medium itself is damaged: it stays so.
    assert_eq!(lab.library.pending_faults(), 0);
    assert_eq!(read_all(&mut drive), "A?#|");
}

#[test]
fn tape_alerts_are_kept_until_page_2e_is_read() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    lab.library.set_tape_alert(0, 0x14);
    lab.library.set_tape_alert(0, 0x04);
    for _ in 0..2 {
        let alerts = drive.tape_alerts().unwrap();
        assert_eq!(alerts.flags().collect::<Vec<_>>(), [0x04, 0x14]);
        assert!(alerts.cleaning() && alerts.critical());
    }
    let page = drive.log_page(scsi::log::page::TAPE_ALERT).unwrap();
    let cleared = scsi::log::TapeAlerts::from_alert_page(&page).unwrap();
    assert_eq!(cleared.flags().collect::<Vec<_>>(), [0x04, 0x14]);
    assert_eq!(drive.tape_alerts().unwrap().flags().count(), 0);
}

#[test]
fn failures_raise_tape_alerts() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AB!", 10);
    lab.library
        .corrupt(&tag("TM0001L9"), 1, simlib::Damage::Unreadable)
        .unwrap();
    assert_eq!(read_all(&mut drive), "A?|");
    let flags =
        |drive: &mut scsi::Drive<_>| -> Vec<u8> { drive.tape_alerts().unwrap().flags().collect() };
    assert_eq!(flags(&mut drive), [0x03, 0x05]);
    lab.library
        .arm(Fault::on("WRITE(6)").effect(Effect::sense(3, 0x0c, 0)));
    drive.write_record(b"C").unwrap_err();
    assert_eq!(flags(&mut drive), [0x03, 0x05, 0x06]);
    // The next load starts afresh.
    drop(drive);
    lab.dismount(0, 0);
    assert!(flags(&mut lab.mount(0, 0)).is_empty());
}
