//! From the tape alone: what is on it, what is lost, and what may be restored.

use model::{Fence, GroupId, RecordNo};
use volume::{Fault, Problem, ScanOptions, ScanReport, restorable_groups, scan};

use crate::support::*;

const DEEP: ScanOptions = ScanOptions { read_data: true };

fn checkpoints(report: &ScanReport) -> Vec<u8> {
    let number = |p: &volume::ScannedPlacement| p.content.0[0];
    report.placements.iter().map(number).collect()
}

#[test]
fn a_sound_tape() {
    let (mut tape, position, placements) = with_checkpoints(3);
    let report = scan(&mut tape, None, DEEP).unwrap();
    let found: Vec<_> = report
        .placements
        .iter()
        .map(|p| p.placement.clone())
        .collect();
    assert_eq!(found, placements);
    assert_eq!(report.position, position);
    assert_eq!(report.label, label());
    assert_eq!((report.problems.len(), report.unclaimed.len()), (0, 0));
    assert!(report.groups.iter().all(|g| g.restorable));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<ScanReport>(&json).unwrap(), report);
}

#[test]
fn a_corrupt_record_costs_a_member_of_one_placement() {
    let (mut tape, _, placements) = with_checkpoints(3);
    tape.corrupt(RecordNo(placements[1].segments[0].first.0 + 1), 9);
    let report = scan(&mut tape, None, DEEP).unwrap();
    assert_eq!(checkpoints(&report), [1, 2, 3]);
    let damage: Vec<_> = report.placements.iter().map(|p| p.damage.len()).collect();
    assert_eq!(damage[0] + damage[2], 0);
    assert!(report.placements[1].damage[0].starts_with("member a: record"));
    let restorable: Vec<_> = report.groups.iter().map(|g| g.restorable).collect();
    assert_eq!(restorable, [true, false, true]);
}

#[test]
fn an_unreadable_segment_is_passed_over() {
    let (mut tape, _, placements) = with_checkpoints(3);
    tape.inject(Fault::Read {
        at: placements[1].segments[0].first,
    });
    let report = scan(&mut tape, None, DEEP).unwrap();
    assert_eq!(checkpoints(&report), [1, 2, 3]);
    assert!(matches!(report.problems[..], [Problem::Unreadable { .. }]));
    assert!(report.placements[1].damage[0].contains("unrecovered read error"));
}

#[test]
fn a_lost_manifest_breaks_the_chain_and_costs_its_own_placement() {
    let (tape, position, placements) = with_checkpoints(3);
    let at = placements[1].segments[2].first;
    let mut corrupt = tape.clone();
    corrupt.corrupt(at, 700);
    let mut unreadable = tape;
    unreadable.inject(Fault::Read { at });
    for mut tape in [corrupt, unreadable] {
        let report = scan(&mut tape, None, ScanOptions::default()).unwrap();
        assert_eq!(checkpoints(&report), [1, 3]);
        let gap = Problem::ChainBreak {
            at: placements[2].segments[2].first,
            ordinal: 2,
            expected_ordinal: 1,
        };
        assert_eq!(report.problems.len(), 2);
        assert_eq!(report.problems[1], gap);
        // Its two data segments and its own.
        assert_eq!(report.unclaimed.len(), 3);
        assert_eq!(report.position, position);
    }
}

#[test]
fn a_stale_writer_is_told_by_its_fence() {
    // Two sessions with the same catalogue position: only a device that lost its guard, such as
    // a tape image put together by hand, ever shows this.
    let (tape, position) = labelled();
    let (mut high, _) = append(tape.clone(), 8, &position).unwrap();
    place(&mut high, head(1), &[]);
    high.sync().unwrap();
    let (mut low, _) = append(tape, 7, &position).unwrap();
    place(&mut low, head(2), &[]);
    low.sync().unwrap();
    let mut objects = high.into_device().objects().to_vec();
    let low = low.into_device();
    objects.extend_from_slice(&low.objects()[position.next.0 as usize..]);
    let mut tape = volume::MemoryTape::of(objects);
    let report = scan(&mut tape, None, ScanOptions::default()).unwrap();
    assert_eq!(checkpoints(&report), [1]);
    assert!(matches!(
        report.problems[..],
        [Problem::FenceRegression {
            fence: Fence(7),
            highest: Fence(8),
            ..
        }]
    ));
}

#[test]
fn what_a_later_session_passed_over_does_not_count() {
    let (tape, position) = labelled();
    let (mut writer, _) = append(tape, 1, &position).unwrap();
    place(&mut writer, head(1), &[]);
    let two = place(&mut writer, head(2), &[("a", 9)]);
    place(&mut writer, head(3), &[("a", 9)]);
    writer.sync().unwrap();
    let sound = writer.into_device();
    let mut damaged = sound.clone();
    damaged.corrupt(two.segments[1].first, 600);
    // The session that met the damage adopts 1, abandons 2 and 3, and goes on with 4.
    let (mut writer, _) = append(damaged, 2, &position).unwrap();
    place(&mut writer, head(4), &[("a", 9)]);
    writer.sync().unwrap();
    let mut tape = writer.into_device();
    // Later the damage does not show any more (another drive reads it).
    tape.corrupt(two.segments[1].first, 600);
    let report = scan(&mut tape, None, DEEP).unwrap();
    assert_eq!(checkpoints(&report), [1, 4]);
    assert!(matches!(
        report.problems[..],
        [Problem::Disowned { .. }, Problem::Disowned { .. }]
    ));
    assert_eq!(report.unclaimed.len(), 4);
}

#[test]
fn an_incomplete_group_is_not_restorable_and_volumes_add_up() {
    let group = GroupId::from_parts(1, &[1; 10]);
    let member = |number: u8, index, part, parts| {
        let mut head = head(number);
        head.group = group;
        (head.group_index, head.group_size) = (index, 2);
        (head.part, head.parts) = (part, parts);
        head
    };
    let volume = |heads: Vec<volume::PlacementHead>| {
        let (tape, position) = labelled();
        let (mut writer, _) = append(tape, 1, &position).unwrap();
        for head in heads {
            place(&mut writer, head, &[("a", 9)]);
        }
        scan(&mut writer.into_device(), None, DEEP).unwrap()
    };
    // Member 0 whole and the first part of member 1; then its second part elsewhere.
    let first = volume(vec![member(1, 0, 0, 1), member(2, 1, 0, 2)]);
    let second = volume(vec![member(2, 1, 1, 2)]);
    assert!(!first.groups[0].restorable);
    assert_eq!(first.groups[0].complete.len(), 1);
    assert!(!second.groups[0].restorable);
    let both = restorable_groups([&first, &second]);
    assert_eq!(both.len(), 1);
    assert!(both[0].restorable);
    assert_eq!(both[0].complete.len(), 2);
}

#[test]
fn a_manifest_of_another_volume_does_not_count() {
    let (mine, position) = labelled();
    let mut other_label = label();
    other_label.uuid = model::VolumeUuid::from_parts(77, &[0; 10]);
    let mut other = volume::MemoryTape::new();
    let start = volume::write_label(&mut other, &other_label).unwrap();
    let expected = volume::Expected {
        uuid: other_label.uuid,
        ..expect(1, &start)
    };
    let (mut writer, _) =
        volume::VolumeWriter::append(other, &expected, Default::default()).unwrap();
    place(&mut writer, head(1), &[]);
    let other = writer.into_device();
    let mut objects = mine.objects().to_vec();
    objects.extend_from_slice(&other.objects()[start.next.0 as usize..]);
    let mut tape = volume::MemoryTape::of(objects);
    let report = scan(&mut tape, None, ScanOptions::default()).unwrap();
    assert_eq!(report.placements.len(), 0);
    assert!(matches!(report.problems[..], [Problem::Misplaced { .. }]));
    let (_, tail) = append(tape, 2, &position).unwrap();
    assert_eq!(tail.found.len(), 0);
    assert!(tail.refused[0].contains("of another volume"));
}
