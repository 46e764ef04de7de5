//! When something fails on the way to tape: the order fails with a code, the volume stays
//! consistent, and the next order follows.

use model::{Bytes, Code, Fence, RecordNo};
use stream::{
    Flow, NullSink, ReadOptions, StreamError, StreamOptions, Written, read_placement, write_batch,
    write_placement,
};
use volume::{
    DeviceErrorKind, Fault, MemoryTape, Problem, RECORD_BYTES, ScanOptions, VolumeWriter,
    WriterOptions, scan,
};

use crate::support::*;

/// Writes a good order, the given one, and a good one; returns what became of the middle one
/// and what a scan then finds.
fn between_good_ones(
    order: &model::work::WriteOrder,
    files: &Shelf,
) -> (StreamError, volume::ScanReport) {
    let keys = keys();
    let mut writer = open(&keys);
    let good = shelf(&[("good", noise(1, 300_000))]);
    let mut all = files.clone();
    all.0.extend(good.0.clone());
    let orders = [super::support::order(1, &good), order.clone(), {
        super::support::order(3, &good)
    }];
    let works = [work(1), work(2), work(3)];
    let mut results = Vec::new();
    write_batch(
        &mut writer,
        works.iter().zip(&orders),
        &all,
        &keys.sealer,
        &small(),
        &mut now,
        &mut |_, result| {
            results.push(result);
            Flow::Continue
        },
    );
    writer.sync().unwrap();
    let mut tape = writer.into_device();
    assert_eq!(results.len(), 3);
    let third = results.pop().unwrap().unwrap();
    let failed = results.pop().unwrap().unwrap_err();
    let first = results.pop().unwrap().unwrap();
    for written in [first, third] {
        let options = ReadOptions::default();
        read_placement(
            &written.placement,
            &mut tape,
            &keys.opener,
            &mut NullSink,
            &options,
        )
        .unwrap();
    }
    let report = scan(
        &mut tape,
        Some(&keys.opener),
        ScanOptions { read_data: true },
    )
    .unwrap();
    assert_eq!(report.placements.len(), 2);
    assert_eq!(report.problems, []);
    (failed, report)
}

#[test]
fn an_artifact_that_changed_after_it_was_declared() {
    let files = shelf(&[("a", noise(1, 200_000)), ("b", noise(2, 200_000))]);
    let mut order = order(2, &files);
    order.artifacts[1].sha256 = sha(b"something else");
    let (error, report) = between_good_ones(&order, &files);
    assert_eq!(error.code(), Code::ChecksumMismatch);
    assert!(error.to_string().starts_with("artifact b: expected sha256"));
    // What was written of it stays, and is told apart.
    assert_eq!(report.unclaimed.len(), 1);
    assert_eq!(report.unclaimed[0].why, "data without a manifest");
}

#[test]
fn an_artifact_that_is_shorter_longer_or_gone() {
    let files = shelf(&[("a", noise(1, 200_000))]);
    let mut longer = order(2, &files);
    longer.artifacts[0].size = Bytes(200_001);
    longer.artifacts[0].range.length = Bytes(200_001);
    let (error, _) = between_good_ones(&longer, &files);
    assert_eq!(
        error.to_string(),
        "artifact a: expected 200001 bytes, found 200000"
    );
    let mut shorter = order(2, &files);
    shorter.artifacts[0].size = Bytes(199_999);
    shorter.artifacts[0].range.length = Bytes(199_999);
    let (error, _) = between_good_ones(&shorter, &files);
    assert_eq!(error.code(), Code::SizeMismatch);
    assert_eq!(
        error.to_string(),
        "artifact a: expected 199999 bytes, found more than 199999"
    );
    let mut gone = order(2, &files);
    gone.artifacts[0].fetch = "mem:nowhere".into();
    let (error, report) = between_good_ones(&gone, &files);
    assert_eq!(error.code(), Code::ArtifactMissing);
    assert_eq!(report.unclaimed, []);
    let mut outside = order(2, &files);
    outside.artifacts[0].range.offset = Bytes(1);
    let (error, _) = between_good_ones(&outside, &files);
    assert_eq!(error.code(), Code::InvalidRequest);
}

/// Writes orders of about 1 MiB until something happens; returns the results.
fn fill(
    tape: MemoryTape,
    count: u8,
) -> (VolumeWriter<MemoryTape>, Vec<Result<Written, StreamError>>) {
    let keys = keys();
    let files = shelf(&[("a", noise(1, 1 << 20))]);
    let mut writer = open_on(tape, &keys, WriterOptions::default());
    let orders: Vec<_> = (0..count).map(|n| (work(n), order(n, &files))).collect();
    let mut results = Vec::new();
    write_batch(
        &mut writer,
        orders.iter().map(|(work, order)| (work, order)),
        &files,
        &keys.sealer,
        &StreamOptions::default(),
        &mut now,
        &mut |_, result| {
            let flow = match &result {
                Ok(written) if written.early_warning => Flow::Stop,
                _ => Flow::Continue,
            };
            results.push(result);
            flow
        },
    );
    (writer, results)
}

#[test]
fn early_warning_in_the_middle_of_a_segment_is_an_ordinary_outcome() {
    // The warning comes inside the third placement; it is finished, no fourth is begun.
    let (mut writer, results) = fill(MemoryTape::with_capacity(3 << 20, 100 << 20), 9);
    assert_eq!(results.len(), 3);
    assert!(results[2].as_ref().unwrap().early_warning);
    assert!(!results[1].as_ref().unwrap().early_warning);
    let position = writer.sync().unwrap();
    assert_eq!(position.manifests, 3);
    // The index still fits behind it.
    let closed = writer.write_index(now()).unwrap();
    assert_eq!(closed.last_manifest, position.last_manifest);
    let mut tape = writer.into_device();
    let report = scan(&mut tape, None, ScanOptions::default()).unwrap();
    assert_eq!(report.placements.len(), 3);
    assert_eq!(report.indexes, [position.next]);
    assert_eq!(report.problems, []);
}

#[test]
fn overflow_in_the_middle_of_a_segment_ends_the_volume() {
    let (mut writer, results) = fill(MemoryTape::with_capacity(u64::MAX, 3 << 20), 9);
    let error = results.last().unwrap().as_ref().unwrap_err();
    assert_eq!(error.code(), Code::VolumeFull);
    assert!(error.ends_writing());
    assert!(results.len() < 9, "nothing is tried behind an overflow");
    assert!(writer.sync().is_err(), "and nothing is claimed durable");
}

#[test]
fn a_write_error_or_a_reset_in_the_middle_of_a_segment_ends_the_session() {
    for (kind, code) in [
        (DeviceErrorKind::Medium, Code::MediaError),
        (DeviceErrorKind::Poisoned, Code::DriveFault),
        (DeviceErrorKind::Drive, Code::DriveFault),
    ] {
        let mut tape = MemoryTape::new();
        tape.inject(Fault::Write {
            at: RecordNo(10),
            kind,
        });
        let (mut writer, results) = fill(tape, 9);
        let error = results.last().unwrap().as_ref().unwrap_err();
        assert_eq!(error.code(), code);
        assert!(results.len() < 9);
        // Also where the drive would now take a filemark at the beginning of the tape.
        assert!(writer.broken().is_some());
        writer.device().requalify();
        let head = model::work::WriteOrder::clone(&order(1, &shelf(&[])));
        let head = volume::PlacementHead::of(&head, &work(1));
        assert!(writer.begin_placement(head).is_err());
        assert_eq!(writer.sync().unwrap_err().code(), code);
        assert!(!writer.into_device().overwritten());
    }
}

#[test]
fn one_corrupt_record_costs_one_member() {
    let keys = keys();
    let files = shelf(&[
        ("a", noise(1, 2_000_000)),
        ("b", noise(2, 2_000_000)),
        ("c", noise(3, 2_000_000)),
    ]);
    let mut writer = open(&keys);
    let order = order(1, &files);
    let options = StreamOptions::default();
    let written = write_placement(
        &mut writer,
        &work(1),
        &order,
        &files,
        &keys.sealer,
        &options,
        now(),
    )
    .unwrap();
    let first = written.placement.segments[0].first;
    // Record 5 of 12: well inside `b`.
    let at = RecordNo(first.0 + 5);
    let tape = writer.into_device();
    let strict = ReadOptions::default();
    let lenient = ReadOptions {
        keep_going: true,
        ..ReadOptions::default()
    };
    let mut corrupt = tape.clone();
    assert!(corrupt.corrupt(at, 1000));
    let mut unreadable = tape;
    unreadable.inject(Fault::Read { at });
    for (mut tape, code) in [
        (corrupt, Code::VerifyMismatch),
        (unreadable, Code::MediaError),
    ] {
        let error = read_placement(
            &written.placement,
            &mut tape,
            &keys.opener,
            &mut NullSink,
            &strict,
        )
        .unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().starts_with("artifact b, member 00001-"));
        let mut basket = Basket::default();
        let back = read_placement(
            &written.placement,
            &mut tape,
            &keys.opener,
            &mut basket,
            &lenient,
        )
        .unwrap();
        assert_eq!(back.artifacts, 2);
        assert_eq!(back.lost.len(), 1);
        assert_eq!(back.lost[0].artifact.as_str(), "b");
        assert_eq!(back.lost[0].refusal.code, code);
        assert_eq!(basket.files.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(basket.files["c"], files.0["c"]);
    }
}

#[test]
fn every_flipped_bit_of_a_placement_is_noticed() {
    let keys = keys();
    let files = shelf(&[("a", noise(1, 20_000)), ("b", prose(100))]);
    let mut writer = open(&keys);
    let order = order(1, &files);
    let written = write_placement(
        &mut writer,
        &work(1),
        &order,
        &files,
        &keys.sealer,
        &small(),
        now(),
    )
    .unwrap();
    let tape = writer.into_device();
    for segment in &written.placement.segments {
        for byte in (0..segment.bytes.0 as usize).step_by(37) {
            let mut tape = tape.clone();
            assert!(tape.corrupt(segment.first, byte % RECORD_BYTES));
            let options = ReadOptions::default();
            let read = read_placement(
                &written.placement,
                &mut tape,
                &keys.opener,
                &mut NullSink,
                &options,
            );
            // The manifest segment's padding and headers carry nothing that is not compared.
            if segment.no.0 == 0 {
                assert!(read.is_err(), "byte {byte} of the data");
            } else if let Ok(back) = read {
                assert_eq!(
                    back.content,
                    expected(&order),
                    "byte {byte} of the manifest"
                );
            }
        }
    }
}

#[test]
fn the_wrong_key_is_named_as_such() {
    let mine = keys();
    let files = shelf(&[("a", prose(10))]);
    let mut writer = open(&mine);
    let order = order(1, &files);
    let written = write_placement(
        &mut writer,
        &work(1),
        &order,
        &files,
        &mine.sealer,
        &small(),
        now(),
    )
    .unwrap();
    let mut tape = writer.into_device();
    let other = keys();
    let options = ReadOptions::default();
    let error = read_placement(
        &written.placement,
        &mut tape,
        &other.opener,
        &mut NullSink,
        &options,
    )
    .unwrap_err();
    assert_eq!(error.code(), Code::KeyMissing);
    // Without any key the ciphertext can still be compared.
    let back = stream::check_ciphertext(&written.placement, &mut tape).unwrap();
    assert_eq!(back.content, expected(&order));
    let report = scan(&mut tape, Some(&other.opener), ScanOptions::default()).unwrap();
    assert!(matches!(report.problems[..], [Problem::Sealed { .. }]));
    assert_eq!(report.placements[0].placement.fence, Fence(1));
}
