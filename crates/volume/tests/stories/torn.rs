//! Power loss at every point: nothing written before is lost, nothing is half visible, and the
//! next session goes on behind what is there.

use model::RecordNo;
use volume::{Object, ScanOptions, scan};

use crate::support::*;

#[test]
fn torn_at_every_object() {
    let (whole, _, placements) = with_checkpoints(3);
    let (_, start) = labelled();
    let ends: Vec<u64> = placements
        .iter()
        .map(|p| {
            let own = p.segments.last().unwrap();
            // With its last record a manifest counts; the filemark adds nothing.
            own.first.0 + own.records
        })
        .collect();
    for cut in start.next.0..=whole.objects().len() as u64 {
        let mut tape = whole.clone();
        tape.cut(RecordNo(cut));
        let torn = matches!(tape.objects().last(), Some(Object::Record(_)));
        let complete = ends.iter().filter(|end| **end <= cut).count();

        let report = scan(&mut tape, None, ScanOptions { read_data: true }).unwrap();
        assert_eq!(report.placements.len(), complete, "scan, cut at {cut}");
        assert_eq!(report.problems.len(), usize::from(torn), "cut at {cut}");

        let (mut writer, tail) = append(tape, 2, &start).unwrap();
        assert_eq!(tail.found, placements[..complete], "cut at {cut}");
        assert_eq!(tail.closed_torn_end, torn);
        assert_eq!(writer.position().next.0, cut + u64::from(torn));
        place(&mut writer, head(9), &[("a", 9)]);
        let position = writer.sync().unwrap();
        assert_eq!(position.manifests, complete as u64 + 1);
        let mut tape = writer.into_device();
        assert!(!tape.overwritten());
        assert_eq!(
            tape.objects()[..cut as usize],
            whole.objects()[..cut as usize]
        );
        let report = scan(&mut tape, None, ScanOptions { read_data: true }).unwrap();
        assert_eq!(report.placements.len(), complete + 1);
        assert_eq!(report.problems, []);
        assert_eq!(report.position, position);
    }
}

#[test]
fn torn_within_the_manifest_at_every_block() {
    // A drive writes records whole; a shorter record stands for one whose rest is lost.
    let (whole, _, placements) = with_checkpoints(1);
    let (_, start) = labelled();
    let own = placements[0].segments.last().unwrap();
    let Object::Record(bytes) = whole.objects()[own.first.0 as usize].clone() else {
        panic!("a manifest record");
    };
    let content_end = bytes.len() - 1024 - 512 + "sealed".len();
    for length in (1..bytes.len()).step_by(97) {
        let mut objects = whole.objects()[..own.first.0 as usize].to_vec();
        objects.push(Object::Record(bytes[..length].to_vec()));
        let mut tape = volume::MemoryTape::of(objects);
        let report = scan(&mut tape, None, ScanOptions::default()).unwrap();
        // Whole is whole, with or without the zeros behind it.
        let counts = length >= content_end;
        assert_eq!(report.placements.len(), usize::from(counts), "{length}");
        let (writer, tail) = append(tape, 2, &start).unwrap();
        assert_eq!(tail.found.len(), usize::from(counts), "{length}");
        assert!(tail.closed_torn_end);
        assert!(!writer.into_device().overwritten());
    }
}

#[test]
fn what_was_not_synchronised_is_lost_with_the_power_and_nothing_else() {
    let (tape, position, placements) = with_checkpoints(2);
    let (mut writer, _) = append(tape, 2, &position).unwrap();
    place(&mut writer, head(3), &[("a", 700_000)]);
    let mut tape = writer.into_device();
    tape.lose_power();
    assert!(
        append(tape.clone(), 3, &position).is_err(),
        "still poisoned"
    );
    tape.requalify();
    let (writer, tail) = append(tape, 3, &position).unwrap();
    assert_eq!(tail, volume::Tail::default());
    let report = scan(&mut writer.into_device(), None, ScanOptions::default()).unwrap();
    let found: Vec<_> = report.placements.into_iter().map(|p| p.placement).collect();
    assert_eq!(found, placements);
}
