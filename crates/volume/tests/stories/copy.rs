//! A second copy is read from the first: the same bytes, no key.

use model::{CopyNo, RecordNo};
use volume::{ScanOptions, copy_placement, scan};

use crate::support::*;

#[test]
fn a_copy_has_the_same_segments_and_a_manifest_of_its_own_chain() {
    let (mut first, _, placements) = with_checkpoints(2);
    let (tape, position) = labelled();
    let (mut second, _) = append(tape, 5, &position).unwrap();
    place(&mut second, head(7), &[("x", 9)]);
    let work = "run-1/execute/p1/1/0".parse().unwrap();
    for original in &placements {
        let copy =
            copy_placement(&mut first, original, &mut second, CopyNo(2), &work, now()).unwrap();
        let (data, copied) = (&original.segments[..2], &copy.segments[..2]);
        for (one, other) in data.iter().zip(copied) {
            assert_eq!(
                (one.sha256, one.bytes, one.no),
                (other.sha256, other.bytes, other.no)
            );
        }
        assert_eq!(
            (copy.copy, copy.checkpoint),
            (CopyNo(2), original.checkpoint)
        );
        assert_ne!(copy.manifest, original.manifest);
    }
    second.sync().unwrap();
    let report = scan(
        &mut second.into_device(),
        None,
        ScanOptions { read_data: true },
    )
    .unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(report.placements.len(), 3);
    assert!(report.placements.iter().all(|p| p.damage.is_empty()));
}

#[test]
fn damage_is_never_copied() {
    let (mut first, _, placements) = with_checkpoints(1);
    first.corrupt(RecordNo(placements[0].segments[1].first.0), 900);
    let (tape, position) = labelled();
    let (mut second, _) = append(tape, 5, &position).unwrap();
    let work = "run-1/execute/p1/1/0".parse().unwrap();
    let error = copy_placement(
        &mut first,
        &placements[0],
        &mut second,
        CopyNo(2),
        &work,
        now(),
    )
    .unwrap_err();
    assert!(error.to_string().starts_with("member b: record"), "{error}");
    place(&mut second, head(7), &[("x", 9)]);
    second.sync().unwrap();
    let report = scan(
        &mut second.into_device(),
        None,
        ScanOptions { read_data: true },
    )
    .unwrap();
    assert_eq!(report.placements.len(), 1);
    assert_eq!(report.unclaimed.len(), 1);
}
