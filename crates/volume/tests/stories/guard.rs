//! Before a volume is written: is it the one, and does it end where the catalogue says?

use model::{Code, RecordNo, Sha256, VolumePosition, VolumeUuid};
use volume::{
    Fault, Label, LabelState, MemoryTape, Object, RecordDevice, Tail, VolumeError, read_label,
    write_label,
};

use crate::support::*;

fn refused(tape: MemoryTape, position: &VolumePosition) -> (Code, String, MemoryTape) {
    let mut tape = tape;
    let before = tape.objects().to_vec();
    let error = volume::VolumeWriter::append(&mut tape, &expect(1, position), Default::default())
        .unwrap_err();
    assert_eq!(tape.objects(), before, "nothing was written");
    (error.code(), error.to_string(), tape)
}

#[test]
fn the_wrong_tape_in_the_slot() {
    let (_, position) = labelled();
    let (code, message, _) = refused(MemoryTape::new(), &position);
    assert_eq!(code, Code::BlankVolume);
    assert_eq!(message, "expected volume TM0001L9, found a blank tape");

    let foreign = MemoryTape::of(vec![
        Object::Record([b"VOL1LTFS12", [b' '; 70].as_slice()].concat()),
        Object::Filemark,
    ]);
    let (code, message, _) = refused(foreign, &position);
    assert_eq!(code, Code::ForeignVolume);
    assert!(message.contains("VOL1LTFS12"), "{message}");

    let other = |label: Label| {
        let mut tape = MemoryTape::new();
        write_label(&mut tape, &label).unwrap();
        tape
    };
    let barcode = other(Label {
        barcode: "TM0002L9".parse().unwrap(),
        ..label()
    });
    let (code, message, _) = refused(barcode, &position);
    assert_eq!(code, Code::WrongVolume);
    assert_eq!(
        message,
        "expected volume TM0001L9, found a label of volume TM0002L9"
    );

    let uuid = other(Label {
        uuid: VolumeUuid::from_parts(5, &[0; 10]),
        ..label()
    });
    let (code, ..) = refused(uuid, &position);
    assert_eq!(code, Code::LabelMismatch);
}

#[test]
fn a_tape_is_blank_only_where_there_is_nothing() {
    let state = |objects: Vec<Object>| read_label(&mut MemoryTape::of(objects)).unwrap();
    assert_eq!(state(vec![]), LabelState::Blank);
    // Another block size, a filemark, an empty-looking record: all foreign.
    for first in [
        Object::Filemark,
        Object::Record(vec![0; 80]),
        Object::Record(vec![0; 1]),
        Object::Record(vec![0; 300_000]),
        Object::Record(vec![0; 2 << 20]),
    ] {
        let LabelState::Foreign { .. } = state(vec![first.clone()]) else {
            panic!("{first:?} is foreign");
        };
        let mut tape = MemoryTape::of(vec![first]);
        assert_eq!(
            write_label(&mut tape, &label()).unwrap_err().code(),
            Code::ForeignVolume
        );
        assert!(!tape.overwritten());
    }
    // A read error says nothing about what is there.
    let (mut tape, _) = labelled();
    tape.inject(Fault::Read { at: RecordNo(0) });
    assert_eq!(read_label(&mut tape).unwrap_err().code(), Code::MediaError);
    assert_eq!(
        write_label(&mut tape, &label()).unwrap_err().code(),
        Code::MediaError
    );
}

#[test]
fn a_label_is_written_once() {
    let (mut tape, position) = labelled();
    let error = write_label(&mut tape, &label()).unwrap_err();
    assert_eq!(error.code(), Code::WrongVolume);
    let LabelState::Ours(found) = read_label(&mut tape).unwrap() else {
        panic!("labelled");
    };
    assert_eq!(found.label, label());
    assert_eq!(found.position(), position);
}

#[test]
fn a_label_that_a_crash_cut_off_is_finished_for_the_same_cartridge_only() {
    let (whole, position) = labelled();
    for cut in 1..position.next.0 {
        let mut tape = whole.clone();
        tape.cut(RecordNo(cut));
        assert!(matches!(
            read_label(&mut tape).unwrap(),
            LabelState::Torn { .. }
        ));
        let other = Label {
            barcode: "XX0001L9".parse().unwrap(),
            ..label()
        };
        assert_eq!(
            write_label(&mut tape, &other).unwrap_err().code(),
            Code::WrongVolume
        );
        assert_eq!(tape.objects().len() as u64, cut);
        assert_eq!(write_label(&mut tape, &label()).unwrap(), position);
        assert!(matches!(
            read_label(&mut tape).unwrap(),
            LabelState::Ours(_)
        ));
    }
}

#[test]
fn end_of_data_before_the_catalogued_one() {
    let (mut tape, position, placements) = with_checkpoints(2);
    // The last checkpoint is gone.
    tape.cut(placements[1].first_record().unwrap());
    let (code, message, _) = refused(tape, &position);
    assert_eq!(code, Code::PositionMismatch);
    assert_eq!(message, "end of data: expected 20, found 12");
}

#[test]
fn the_last_manifest_is_another_one() {
    let (tape, position, _) = with_checkpoints(2);
    let lie = VolumePosition {
        last_manifest: Some(Sha256::EMPTY),
        ..position.clone()
    };
    let (code, message, tape) = refused(tape, &lie);
    assert_eq!(code, Code::PositionMismatch);
    assert!(message.contains(&format!("expected manifest {}, number 2", Sha256::EMPTY)));
    let lie = VolumePosition {
        manifests: 3,
        ..position.clone()
    };
    let (code, _, tape) = refused(tape, &lie);
    assert_eq!(code, Code::PositionMismatch);
    // A position in the middle of a segment, or right behind its records.
    for next in [position.next.0 - 1, position.next.0 - 3] {
        let lie = VolumePosition {
            next: RecordNo(next),
            ..position.clone()
        };
        let (code, ..) = refused(tape.clone(), &lie);
        assert_eq!(code, Code::PositionMismatch);
    }
    // A blank catalogue entry for a tape with data.
    let (code, ..) = refused(
        tape,
        &VolumePosition {
            last_manifest: None,
            manifests: 0,
            ..position
        },
    );
    assert_eq!(code, Code::PositionMismatch);
}

#[test]
fn an_unreadable_last_manifest_is_no_proof() {
    let (mut tape, position, placements) = with_checkpoints(2);
    tape.inject(Fault::Read {
        at: placements[1].segments[2].first,
    });
    let (code, ..) = refused(tape, &position);
    assert_eq!(code, Code::FormatInvalid);
}

#[test]
fn a_lower_fence_never_writes_after_a_higher_one() {
    let (tape, position) = labelled();
    let (mut writer, _) = append(tape, 8, &position).unwrap();
    place(&mut writer, head(1), &[("a", 9)]);
    let after = writer.sync().unwrap();
    let tape = writer.into_device();
    // The stale session knows of the placement, or does not.
    for known in [&after, &position] {
        let error = append(tape.clone(), 7, known).unwrap_err();
        assert_eq!(error.code(), Code::FenceLost);
        assert_eq!(
            error.to_string(),
            "expected no fence above 7, found fence 8 on the volume"
        );
    }
    // Its torn end is not closed by a stale session either.
    let mut torn = tape;
    torn.space_to_end_of_data().unwrap();
    torn.write_record(&[1; 512]).unwrap();
    let objects = torn.objects().len();
    let mut stale = torn;
    volume::VolumeWriter::append(&mut stale, &expect(7, &position), Default::default())
        .unwrap_err();
    assert_eq!(stale.objects().len(), objects);
}

#[test]
fn what_was_written_and_not_reported_is_found_in_order() {
    let (tape, position, placements) = with_checkpoints(1);
    let (mut writer, _) = append(tape, 2, &position).unwrap();
    let two = place(&mut writer, head(2), &[("a", 9)]);
    let mut open = writer.begin_placement(head(3)).unwrap();
    open.add_member("x", volume::MemberKind::Artifact, &[3; 600_000])
        .unwrap();
    open.abandon().unwrap();
    let four = place(&mut writer, head(4), &[("a", 9), ("b", 9)]);
    let reported = writer.sync().unwrap();
    let used = writer.used();
    let (writer, tail) = append(writer.into_device(), 3, &position).unwrap();
    assert_eq!(tail.found, [two, four.clone()]);
    assert_eq!(tail.found[1].work.as_str(), "run-4/execute/p0/1/0");
    // Two records of the abandoned span, counted as full ones.
    assert_eq!(
        tail.abandoned,
        model::Bytes(2 * volume::RECORD_BYTES as u64)
    );
    assert_eq!((tail.refused, tail.closed_torn_end), (vec![], false));
    assert_eq!(writer.position(), reported);
    assert!(writer.used() >= used);
    // What was found is part of the catalogue's position from now on.
    let (mut writer, tail) = append(writer.into_device(), 4, &reported).unwrap();
    assert_eq!(tail, Tail::default());
    let five = place(&mut writer, head(5), &[]);
    assert_ne!(five.manifest, four.manifest);
    assert_ne!(five.manifest, placements[0].manifest);
    assert!(!writer.into_device().overwritten());
}

#[test]
fn a_damaged_manifest_in_the_tail_takes_what_follows_it_along() {
    let (tape, position) = labelled();
    let (mut writer, _) = append(tape, 1, &position).unwrap();
    place(&mut writer, head(1), &[("a", 9)]);
    let two = place(&mut writer, head(2), &[("a", 9)]);
    place(&mut writer, head(3), &[("a", 9)]);
    writer.sync().unwrap();
    let mut tape = writer.into_device();
    tape.corrupt(two.segments[1].first, 600);
    let (mut writer, tail) = append(tape, 2, &position).unwrap();
    assert_eq!(tail.found.len(), 1);
    assert_eq!(tail.refused.len(), 2, "{:?}", tail.refused);
    // The next one continues from the last that counts.
    place(&mut writer, head(4), &[("a", 9)]);
    let position = writer.sync().unwrap();
    assert_eq!(position.manifests, 2);
    append(writer.into_device(), 3, &position).unwrap();
}

#[test]
fn a_tail_of_another_history_is_not_taken() {
    // The right volume, the right ordinal, the right places: and another predecessor.
    let history = |first: u8| {
        let (tape, position) = labelled();
        let (mut writer, _) = append(tape, 1, &position).unwrap();
        place(&mut writer, head(first), &[("a", 9)]);
        let position = writer.sync().unwrap();
        place(&mut writer, head(2), &[("a", 9)]);
        (writer.into_device(), position)
    };
    let ((mine, position), (other, _)) = (history(1), history(9));
    let mut objects = mine.objects()[..position.next.0 as usize].to_vec();
    objects.extend_from_slice(&other.objects()[position.next.0 as usize..]);
    let (_, tail) = append(MemoryTape::of(objects), 2, &position).unwrap();
    assert_eq!(tail.found, []);
    assert!(
        tail.refused[0].contains("predecessor"),
        "{:?}",
        tail.refused
    );
    let (_, tail) = append(mine, 2, &position).unwrap();
    assert_eq!(tail.found.len(), 1);
}

#[test]
fn a_writer_that_was_moved_proves_its_place_again() {
    let (tape, position, _) = with_checkpoints(1);
    let (mut writer, _) = append(tape, 2, &position).unwrap();
    writer.device().rewind().unwrap();
    writer.resume().unwrap();
    place(&mut writer, head(2), &[("a", 9)]);
    writer.sync().unwrap();
    // Somebody else made the tape shorter in between.
    writer.device().cut(RecordNo(4));
    let error = writer.resume().unwrap_err();
    assert!(matches!(error, VolumeError::Position { .. }));
    assert!(writer.begin_placement(head(3)).is_err());
}

#[test]
fn a_rewind_behind_our_back_is_never_written_over() {
    // Linux commit 9604eea5bd3a: after an unseen reset a filemark landed at the beginning.
    let (tape, position, _) = with_checkpoints(1);
    let (mut writer, _) = append(tape, 2, &position).unwrap();
    writer.device().reset();
    let error = writer.begin_placement(head(2)).unwrap_err();
    assert_eq!(error.code(), Code::DriveFault);
    writer.device().requalify();
    assert!(writer.sync().is_err());
    assert!(!writer.into_device().overwritten());
}

#[test]
fn synchronising_proves_the_position() {
    let (tape, position, _) = with_checkpoints(1);
    let (mut writer, _) = append(tape, 2, &position).unwrap();
    place(&mut writer, head(2), &[("a", 9)]);
    // The drive stands elsewhere than we counted.
    writer.device().rewind().unwrap();
    let error = writer.sync().unwrap_err();
    assert_eq!(error.code(), Code::PositionMismatch);
    assert!(
        error
            .to_string()
            .starts_with("position after synchronising: expected")
    );
    assert!(writer.broken().is_some());
}
