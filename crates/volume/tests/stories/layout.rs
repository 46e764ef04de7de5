//! The bytes on the tape, as docs/tape-format.md says them.

use expect_test::{Expect, expect};
use model::{Bytes, RecordNo};
use volume::{MemberKind, Object, RECORD_BYTES, VolumeError, tar};

use crate::support::*;

fn check(found: &str, expected: &Expect) {
    expected.assert_eq(found);
}

#[test]
fn vol1_to_the_byte() {
    let (tape, _) = labelled();
    let Object::Record(vol1) = &tape.objects()[0] else {
        panic!("the first object is a record");
    };
    let expected = format!("VOL1TM0001{:14}TAPEMARK     {:42}4", "", "");
    assert_eq!(vol1.len(), 80);
    assert_eq!(String::from_utf8_lossy(vol1), expected);
    assert_eq!(tape.objects()[1], Object::Filemark);
}

/// One line an object; of a tar's record the headers in it.
fn map(objects: &[Object]) -> String {
    let mut text = String::new();
    let mut left = 0_usize;
    for (at, object) in objects.iter().enumerate() {
        let Object::Record(bytes) = object else {
            text.push_str(&format!("{at}: filemark\n"));
            left = 0;
            continue;
        };
        text.push_str(&format!("{at}: {} bytes\n", bytes.len()));
        let mut byte = left;
        while let Some(header) = bytes.get(byte..).and_then(tar::parse) {
            text.push_str(&format!(
                "    at {byte}: {} ({})\n",
                header.name, header.size
            ));
            byte += 512 + header.size as usize + tar::padding(header.size);
        }
        left = byte.saturating_sub(bytes.len());
    }
    text
}

#[test]
fn a_small_tape_object_by_object() {
    let (tape, position) = labelled();
    let (mut writer, _) = append(tape, 7, &position).unwrap();
    // `a` and `b` share a segment, `c` does not fit any more.
    place(
        &mut writer,
        head(1),
        &[("a", 5), ("b", 700_000), ("c", 400_000)],
    );
    place(&mut writer, head(2), &[]);
    let mut open = writer.begin_placement(head(3)).unwrap();
    open.add_member("given-up", MemberKind::Bundle, b"x")
        .unwrap();
    assert_eq!(open.abandon().unwrap(), Bytes(2048));
    let position = writer.write_index(now()).unwrap();
    assert_eq!(position.next, RecordNo(17));
    let tape = writer.into_device();
    // README.txt changes length with its text; the rest of the map does not.
    check(
        &map(&tape.objects()[3..]),
        &expect![[r#"
        0: filemark
        1: 524288 bytes
            at 0: a (5)
            at 1024: b (700000)
        2: 178688 bytes
        3: filemark
        4: 401920 bytes
            at 0: c (400000)
        5: filemark
        6: 4608 bytes
            at 0: MANIFEST.json (1561)
            at 2560: MANIFEST.sealed.json.zst.age (6)
        7: filemark
        8: 3584 bytes
            at 0: MANIFEST.json (889)
            at 1536: MANIFEST.sealed.json.zst.age (6)
        9: filemark
        10: 2048 bytes
            at 0: given-up (1)
        11: filemark
        12: 2560 bytes
            at 0: INDEX.json (704)
        13: filemark
    "#]],
    );
    // A record is full or the last of its segment, and a multiple of 512.
    for pair in tape.objects()[2..].windows(2) {
        if let Object::Record(bytes) = &pair[0] {
            assert!(bytes.len() == RECORD_BYTES || pair[1] == Object::Filemark);
            assert_eq!(bytes.len() % 512, 0);
        }
    }
}

#[test]
fn manifest_json_to_the_byte() {
    let (tape, position) = labelled();
    let (mut writer, _) = append(tape, 7, &position).unwrap();
    let placement = place(&mut writer, head(1), &[("a", 5)]);
    let tape = writer.into_device();
    let Object::Record(bytes) = &tape.objects()[placement.segments[1].first.0 as usize] else {
        panic!("a manifest segment");
    };
    let size = tar::parse(bytes).unwrap().size as usize;
    check(
        std::str::from_utf8(&bytes[512..512 + size]).unwrap(),
        &expect![[
            r#"{"format":"tapemark/manifest","version":1,"volume_uuid":"019a7afd-1e00-7909-8909-090909090909","barcode":"TM0001L9","fence":7,"ordinal":0,"previous":null,"used_before":21584,"written_at":"2026-11-22T16:00:00Z","work":"run-1/execute/p0/1/0","checkpoint":"019a7afd-1e00-7101-8101-010101010101","group":"019a7afd-1e00-7101-8101-010101010101","group_index":0,"group_size":1,"run":"run-1","copy":1,"part":0,"parts":1,"content":"0101010101010101010101010101010101010101010101010101010101010101","submitted_at":"2026-11-22T15:00:00Z","part_content":"0000000000000000000000000000000000000000000000000000000000000000","artifacts":1,"content_bytes":5,"segments":[{"no":0,"first":4,"records":1,"bytes":2048,"sha256":"9182cc874a000f0feae013f65544b00b82ae0fd9e3cf6ab6320be301c31c284f","crc32c":"96fd7fec"}],"members":[{"name":"a","kind":"artifact","segment":0,"record":0,"offset":0,"size":5,"sha256":"377a23f52c6b357696238c3318f677a082dd3430bb6691042bd550a5cda28ebb"}],"sealed":{"name":"MANIFEST.sealed.json.zst.age","size":6,"sha256":"c9d0036bed6744bcdf692fc980d8717d7e5f5a4f4e8266b4a84982602fb1cd09"}}"#
        ]],
    );
}

#[test]
fn data_do_not_depend_on_volume_fence_or_time() {
    let written = |fence, before: u8| {
        let (tape, position) = labelled();
        let (mut writer, _) = append(tape, fence, &position).unwrap();
        for n in 0..before {
            place(&mut writer, head(100 + n), &[("x", 9)]);
        }
        place(&mut writer, head(1), &[("a", 700_000), ("b", 600_000)])
    };
    let (first, second) = (written(1, 0), written(9, 3));
    for (one, other) in first.segments[..2].iter().zip(&second.segments[..2]) {
        assert_eq!((one.sha256, one.bytes), (other.sha256, other.bytes));
        assert_ne!(one.first, other.first);
    }
    assert_ne!(first.manifest, second.manifest);
}

#[test]
fn what_breaks_a_limit_is_refused_and_the_volume_goes_on() {
    let (tape, position) = labelled();
    let (mut writer, _) = append(tape, 1, &position).unwrap();
    for (name, length) in [
        ("", 1),
        ("../x", 1),
        (".hidden", 1),
        ("größe", 1),
        (&"x".repeat(100), 1),
        // One tar block more than the segment limit of 1 MiB leaves.
        ("big", (1 << 20) - 1536 + 1),
    ] {
        let mut open = writer.begin_placement(head(1)).unwrap();
        let stored = vec![0; length];
        let error = open
            .add_member(name, MemberKind::Artifact, &stored)
            .unwrap_err();
        assert!(
            matches!(error, VolumeError::Limit { .. } | VolumeError::Damaged(_)),
            "{error}"
        );
        assert!(!error.ends_writing());
        assert_eq!(open.abandon().unwrap(), Bytes::ZERO);
    }
    place(&mut writer, head(2), &[(&"x".repeat(99), (1 << 20) - 1536)]);
    writer.sync().unwrap();
}

#[test]
fn a_placement_dropped_halfway_ends_the_writing() {
    let (tape, position) = labelled();
    let (mut writer, _) = append(tape, 1, &position).unwrap();
    let mut open = writer.begin_placement(head(1)).unwrap();
    open.add_member("a", MemberKind::Artifact, b"x").unwrap();
    drop(open);
    let error = writer.begin_placement(head(2)).unwrap_err();
    assert!(matches!(error, VolumeError::Unusable { .. }));
    assert!(writer.sync().is_err());
}
