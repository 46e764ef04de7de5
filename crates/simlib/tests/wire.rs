//! The bytes on the wire, without the handles of `scsi`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

#[path = "common/lab.rs"]
mod common;

use common::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use scsi::{Data, Transport};

/// Hexadecimal, 16 bytes a line, trailing zeros of the buffer cut off.
fn hex(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    bytes[..end]
        .chunks(16)
        .map(|line| {
            line.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn ask(unit: &mut impl Transport, cdb: &[u8], expected: Expect) {
    let mut buffer = [0; 256];
    let (completion, sense) = raw(unit, cdb, Data::In(&mut buffer));
    let mut text = format!("{} bytes", buffer.len() - completion.residual);
    if let Some(sense) = sense {
        text = format!("{sense}");
    }
    expected.assert_eq(&format!("{text}\n{}\n", hex(&buffer)));
}

#[test]
fn a_drive_says_who_it_is() {
    let lab = Lab::new(small());
    let mut drive = lab.library.drive(0).unwrap();
    // INQUIRY is answered even with an attention pending.
    ask(
        &mut drive,
        &[0x12, 0, 0, 0, 96, 0],
        expect![[r#"
            96 bytes
            01 80 06 02 5b 00 00 00 49 42 4d 20 20 20 20 20
            55 4c 54 33 35 38 30 2d 54 44 39 20 20 20 20 20
            54 4d 53 31
        "#]],
    );
    ask(
        &mut drive,
        &[0x12, 1, 0x00, 0, 96, 0],
        expect![[r#"
            7 bytes
            01 00 00 03 00 80 83
        "#]],
    );
    ask(
        &mut drive,
        &[0x12, 1, 0x80, 0, 96, 0],
        expect![[r#"
            14 bytes
            01 80 00 0a 53 49 4d 44 52 56 30 30 30 31
        "#]],
    );
    ask(
        &mut drive,
        &[0x12, 1, 0x83, 0, 96, 0],
        expect![[r#"
            42 bytes
            01 83 00 26 02 01 00 22 49 42 4d 20 20 20 20 20
            55 4c 54 33 35 38 30 2d 54 44 39 20 20 20 20 20
            53 49 4d 44 52 56 30 30 30 31
        "#]],
    );
    ask(
        &mut drive,
        &[0x12, 1, 0xb7, 0, 96, 0],
        expect![[r#"
            5/24/00 (invalid field in command block)

        "#]],
    );
}

#[test]
fn attentions_come_first_and_one_at_a_time() {
    let lab = Lab::new(small());
    let mut drive = lab.library.drive(0).unwrap();
    let mut codes = Vec::new();
    lab.changer().inventory().unwrap();
    let mut changer = lab.changer();
    changer
        .move_medium(lab.library.slot(0), lab.library.bay(0))
        .unwrap();
    for _ in 0..4 {
        let (_, sense) = raw(&mut drive, &[0; 6], Data::None);
        codes.push(sense.map(|sense| (sense.code.asc, sense.code.ascq)));
    }
    assert_eq!(codes, [Some((0x29, 0)), Some((0x28, 0)), None, None]);
    // REQUEST SENSE takes one as data, with GOOD status.
    lab.library.reset(0);
    ask(
        &mut drive,
        &[0x03, 0, 0, 0, 18, 0],
        expect![[r#"
            18 bytes
            70 00 06 00 00 00 00 0a 00 00 00 00 29 02
        "#]],
    );
    ask(
        &mut drive,
        &[0x03, 1, 0, 0, 18, 0],
        expect![[r#"
            8 bytes
            72
        "#]],
    );
}

#[test]
fn an_empty_drive() {
    let lab = Lab::new(small());
    let mut drive = lab.library.drive(0).unwrap();
    settle(&mut drive);
    ask(
        &mut drive,
        &[0; 6],
        expect![[r#"
            2/3A/00 (medium not present)

        "#]],
    );
    ask(
        &mut drive,
        &[0x05, 0, 0, 0, 0, 0],
        expect![[r#"
            6 bytes
            00 80 00 00 00 01
        "#]],
    );
}

#[test]
fn what_is_not_supported_is_refused() {
    let lab = Lab::new(small());
    drop(lab.mount(0, 0));
    let mut drive = lab.library.drive(0).unwrap();
    let no_command = "5/20/00 (invalid command operation code)";
    let bad_field = "5/24/00 (invalid field in command block)";
    let cases: [(&[u8], &str); 12] = [
        (&[0x19, 1, 0, 0, 0, 0], no_command),
        (&[0x04, 0, 0, 0, 0, 0], no_command),
        (&[0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], no_command),
        (&[0xff; 16], no_command),
        // Fixed-block mode.
        (&[0x0a, 1, 0, 0, 1, 0], bad_field),
        (&[0x08, 1, 0, 0, 1, 0], bad_field),
        // Setmarks, sequential filemarks, LOCATE by file, another partition.
        (&[0x10, 2, 0, 0, 1, 0], bad_field),
        (&[0x11, 2, 0, 0, 1, 0], bad_field),
        (
            &[0x92, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
            bad_field,
        ),
        (
            &[0x92, 0x02, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
            bad_field,
        ),
        // A block shorter than its command.
        (&[0x92, 0, 0, 0, 0, 0], bad_field),
        (&[], bad_field),
    ];
    for (cdb, expected) in cases {
        let (_, sense) = raw(&mut drive, cdb, Data::None);
        assert_eq!(sense.unwrap().to_string(), expected, "{cdb:02x?}");
    }
}

#[test]
fn positions_in_both_forms() {
    let lab = Lab::new(small());
    let mut handle = lab.mount(0, 0);
    write(&mut handle, "AB!C", 100);
    let mut drive = lab.library.drive(0).unwrap();
    ask(
        &mut drive,
        &[0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        expect![[r#"
            20 bytes
            00 00 00 00 00 00 00 04 00 00 00 03 00 00 00 01
            00 00 00 64
        "#]],
    );
    ask(
        &mut drive,
        &[0x34, 6, 0, 0, 0, 0, 0, 0, 0, 0],
        expect![[r#"
            32 bytes
            00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 04
            00 00 00 00 00 00 00 01
        "#]],
    );
    handle.rewind().unwrap();
    ask(
        &mut drive,
        &[0x34, 6, 0, 0, 0, 0, 0, 0, 0, 0],
        expect![[r#"
            32 bytes
            80
        "#]],
    );
}

#[test]
fn element_status_in_bytes() {
    let config = simlib::Config {
        slots: 2,
        mail_slots: 1,
        drives: 1,
        ..small()
    };
    let dir = tempfile::tempdir().unwrap();
    let library = simlib::SimLibrary::create(dir.path(), config, 1).unwrap();
    let mut changer = library.changer();
    settle(&mut changer);
    ask(
        &mut changer,
        &[0xb8, 0x14, 0, 0, 0xff, 0xff, 1, 0, 1, 0, 0, 0],
        expect![[r#"
            102 bytes
            01 01 00 01 00 00 00 5e 04 80 00 56 00 00 00 56
            01 01 08 00 00 00 00 00 00 00 00 00 20 20 20 20
            20 20 20 20 20 20 20 20 20 20 20 20 20 20 20 20
            20 20 20 20 20 20 20 20 20 20 20 20 00 00 00 00
            02 01 00 22 49 42 4d 20 20 20 20 20 55 4c 54 33
            35 38 30 2d 54 44 39 20 20 20 20 20 53 49 4d 44
            52 56 30 30 30 31
        "#]],
    );
    ask(
        &mut changer,
        &[0xb8, 0x12, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0],
        expect![[r#"
            120 bytes
            04 00 00 02 00 00 00 70 02 80 00 34 00 00 00 68
            04 00 09 00 00 00 00 00 00 00 00 00 54 4d 30 30
            30 31 4c 39 20 20 20 20 20 20 20 20 20 20 20 20
            20 20 20 20 20 20 20 20 20 20 20 20 00 00 00 00
            00 00 00 00 04 01 08 00 00 00 00 00 00 00 00 00
            20 20 20 20 20 20 20 20 20 20 20 20 20 20 20 20
            20 20 20 20 20 20 20 20 20 20 20 20 20 20 20 20
        "#]],
    );
    // A short allocation is filled and no more: GOOD, as hardware does.
    let mut short = [0u8; 12];
    let cdb = [0xb8, 0x12, 0, 0, 0xff, 0xff, 0, 0, 0, 12, 0, 0];
    let (completion, sense) = raw(&mut changer, &cdb, Data::In(&mut short));
    assert_eq!((completion.residual, sense), (0, None));
    assert_eq!(short[..8], [4, 0, 0, 2, 0, 0, 0, 0x70]);
    // All kinds in one answer: four pages that parse.
    let mut all = [0u8; 1024];
    let cdb = [0xb8, 0x10, 0, 0, 0xff, 0xff, 0, 0, 4, 0, 0, 0];
    raw(&mut changer, &cdb, Data::In(&mut all));
    assert_eq!(scsi::element::parse_status(&all).len(), 1 + 2 + 1 + 1);
}

#[test]
fn mode_select_changes_nothing_where_it_refuses_anything() {
    let lab = Lab::new(small());
    let mut handle = lab.mount(0, 0);
    handle.set_programmable_early_warning(7).unwrap();
    let mut drive = lab.library.drive(0).unwrap();
    let mut list = vec![0, 0, 0, 0x10, 0, 0, 0, 0];
    list.extend_from_slice(&[0x50, 0x01, 0x00, 0x1c, 0, 0, 0, 9]);
    list.extend_from_slice(&[0; 24]);
    let mut refused = |list: &[u8]| {
        let cdb = [0x55, 0x10, 0, 0, 0, 0, 0, 0, list.len() as u8, 0];
        let (_, sense) = raw(&mut drive, &cdb, Data::Out(list));
        sense.map(|sense| sense.to_string())
    };
    let unknown = [&list[..], &[0x3d, 0x02, 0, 0]].concat();
    let bad = Some("5/26/00 (invalid field in parameter list)".to_owned());
    assert_eq!(refused(&unknown), bad);
    // Fixed blocks of 512 bytes.
    let mut fixed = vec![0, 0, 0, 0x10, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0];
    fixed.extend_from_slice(&list[8..]);
    assert_eq!(refused(&fixed), bad);
    assert_eq!(
        refused(&list[..20]),
        Some("5/1A/00 (parameter list length error)".to_owned())
    );
    let page = handle.mode_page(0x10, 0x01).unwrap().page;
    assert_eq!(scsi::mode::programmable_early_warning(&page), Some(7));
    assert_eq!(refused(&list), None);
    let page = handle.mode_page(0x10, 0x01).unwrap().page;
    assert_eq!(scsi::mode::programmable_early_warning(&page), Some(9));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever bytes come, drive and changer answer something, and both still work.
    #[test]
    fn random_command_blocks_never_panic(
        blocks in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..17), proptest::collection::vec(any::<u8>(), 0..64), 0u8..3),
            1..60,
        ),
    ) {
        let lab = Lab::new(simlib::Config { slots: 4, ..small() });
        drop(lab.mount(0, 0));
        let mut units: [Box<dyn Transport>; 2] =
            [Box::new(lab.library.drive(0).unwrap()), Box::new(lab.library.changer())];
        for (mut cdb, bytes, direction) in blocks {
            if let [0x10, _, high, ..] = &mut cdb[..] {
                // Sixteen million filemarks are legal and tedious.
                *high = 0;
            }
            for unit in &mut units {
                let mut buffer = bytes.clone();
                let data = match direction {
                    0 => Data::None,
                    1 => Data::In(&mut buffer),
                    _ => Data::Out(&bytes),
                };
                let length = data.len();
                let completion = unit.exec(&cdb, data, HOUR).unwrap();
                prop_assert!(completion.residual <= length.max(0xff_ffff));
                let failed = completion.status == scsi::Status::CheckCondition;
                prop_assert_eq!(scsi::Sense::parse(&completion.sense).is_some(), failed);
            }
        }
        lab.changer().inventory().unwrap();
        let _ = scsi::Drive::new(lab.library.drive(0).unwrap()).requalify();
    }

    /// The opcodes a drive knows, with random fields.
    #[test]
    fn known_commands_with_random_fields_never_panic(
        commands in proptest::collection::vec((0usize..22, any::<[u8; 15]>()), 1..60),
    ) {
        const KNOWN: [u8; 22] = [
            0x00, 0x01, 0x03, 0x05, 0x08, 0x0a, 0x10, 0x11, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x2b,
            0x34, 0x4d, 0x55, 0x5a, 0x8c, 0x8d, 0x91, 0x92,
        ];
        let lab = Lab::new(small());
        drop(lab.mount(0, 0));
        let mut drive = lab.library.drive(0).unwrap();
        let payload = vec![0x5a; 0x1_0000];
        let mut buffer = vec![0; 0x1_0000];
        for (which, mut fields) in commands {
            let opcode = KNOWN[which];
            if opcode == 0x10 {
                // Sixteen million filemarks are legal and tedious.
                fields[1] = 0;
            }
            let cdb = [&[opcode][..], &fields].concat();
            let data = match opcode {
                0x0a | 0x15 | 0x55 | 0x8d => Data::Out(&payload),
                _ => Data::In(&mut buffer),
            };
            let completion = drive.exec(&cdb, data, HOUR).unwrap();
            let failed = completion.status == scsi::Status::CheckCondition;
            prop_assert_eq!(scsi::Sense::parse(&completion.sense).is_some(), failed);
        }
    }
}
