//! What goes onto a tape comes back from it, whatever its size.

use crate::support::*;
use model::Bytes;
use proptest::prelude::*;
use stream::{NullSink, ReadOptions, StreamOptions, read_placement, write_placement};
use volume::{VolumeWriter, WriterOptions};

fn there_and_back(files: &Shelf, options: &StreamOptions, cut: WriterOptions) {
    let keys = keys();
    let mut writer = open_on(volume::MemoryTape::new(), &keys, cut);
    let order = order(1, files);
    let written = write_placement(
        &mut writer,
        &work(1),
        &order,
        files,
        &keys.sealer,
        options,
        now(),
    )
    .unwrap();
    let position = writer.sync().unwrap();
    assert_eq!(position.last_manifest, Some(written.placement.manifest));
    let mut tape = writer.into_device();
    let mut basket = Basket::default();
    let back = read_placement(
        &written.placement,
        &mut tape,
        &keys.opener,
        &mut basket,
        &ReadOptions::default(),
    )
    .unwrap();
    assert_eq!(back.content, expected(&order));
    assert_eq!(back.artifacts as usize, files.0.len());
    assert_eq!(back.bytes, order.artifacts.iter().map(|a| a.size).sum());
    assert_eq!(basket.files, files.0);
    // The catalogue's position opens the volume again.
    let (writer, tail) =
        VolumeWriter::append(tape, &expect(&keys, 2, position.clone()), cut).unwrap();
    assert_eq!(tail, volume::Tail::default());
    assert_eq!(writer.position(), position);
    assert!(!writer.into_device().overwritten());
}

#[test]
fn a_service_with_files_of_all_kinds() {
    let files = shelf(&[
        ("empty", vec![]),
        ("bin/app", noise(1, 3_000_000)),
        ("etc/größe/漢字.conf", prose(700)),
        ("share/text", prose(5_000_000)),
        (
            &format!("deep/{}", "x/".repeat(200) + "leaf"),
            noise(2, 512),
        ),
    ]);
    there_and_back(&files, &StreamOptions::default(), WriterOptions::default());
    there_and_back(&files, &small(), small_segments());
}

#[test]
fn a_placement_larger_than_one_forward_pass_is_read_manifest_first() {
    let files = shelf(&[("big", noise(3, 20_000_000)), ("small", prose(10))]);
    there_and_back(&files, &StreamOptions::default(), WriterOptions::default());
}

#[test]
fn ten_thousand_artifacts() {
    let files = Shelf(
        (0..10_000)
            .map(|n| (format!("lib/file{n:05}"), prose(n % 700)))
            .collect(),
    );
    there_and_back(&files, &StreamOptions::default(), WriterOptions::default());
}

#[test]
fn a_checkpoint_without_artifacts_is_a_manifest_alone() {
    there_and_back(
        &shelf(&[]),
        &StreamOptions::default(),
        WriterOptions::default(),
    );
}

#[test]
fn only_what_is_asked_for_is_read() {
    let keys = keys();
    let files = shelf(&[
        ("a", noise(1, 200_000)),
        ("b", noise(2, 200_000)),
        ("c", prose(100)),
    ]);
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
    let mut basket = Basket::default();
    let options = ReadOptions {
        only: vec!["b".parse().unwrap()],
        keep_going: false,
    };
    let mut tape = writer.into_device();
    read_placement(
        &written.placement,
        &mut tape,
        &keys.opener,
        &mut basket,
        &options,
    )
    .unwrap();
    assert_eq!(basket.files.keys().collect::<Vec<_>>(), ["b"]);
    let options = ReadOptions {
        only: vec!["nope".parse().unwrap()],
        keep_going: true,
    };
    let error = read_placement(
        &written.placement,
        &mut tape,
        &keys.opener,
        &mut NullSink,
        &options,
    )
    .unwrap_err();
    assert_eq!(error.code(), model::Code::NotFound);
}

#[test]
fn compression_is_skipped_where_it_does_not_help() {
    let keys = keys();
    let files = shelf(&[("noise", noise(1, 2 << 20)), ("text", prose(2 << 20))]);
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
    let (manifest, _) =
        volume::read_manifest(&mut writer.into_device(), &written.placement).unwrap();
    let names: Vec<_> = manifest.members.iter().map(|m| m.name.clone()).collect();
    let name = |index: usize, suffix: &str| {
        format!("{index:05}-{}{suffix}", order.artifacts[index].sha256)
    };
    assert_eq!(names, [name(0, ".age"), name(1, ".zst.age")]);
    assert!(manifest.members[0].size.0 < (2 << 20) + 2000);
    assert!(manifest.members[1].size.0 < 10_000);
}

#[test]
fn members_are_cut_to_fit_small_segments() {
    let files = shelf(&[
        ("a", noise(1, 3_000_000)),
        ("b", noise(2, 900_000)),
        ("c", prose(9)),
    ]);
    for kib in [16, 100, 600] {
        let cut = WriterOptions {
            segment_limit: Bytes::kib(kib),
        };
        there_and_back(&files, &StreamOptions::default(), cut);
    }
}

#[test]
fn keys_that_are_none_are_refused_and_secrets_not_repeated() {
    let none: [&str; 0] = [];
    assert!(stream::Sealer::new(none).is_err());
    let error = stream::Sealer::new(["age1nonsense"])
        .unwrap_err()
        .to_string();
    assert!(error.contains("age1nonsense"), "{error}");
    assert!(stream::Opener::parse("# only a comment\n\n").is_err());
    let error = stream::Opener::parse("# one\nAGE-SECRET-KEY-1HALF").unwrap_err();
    assert!(!error.to_string().contains("HALF"));
    assert!(error.to_string().starts_with("line 2: "));
    let keys = keys();
    assert_eq!(keys.opener.recipients(), keys.sealer.recipients());
    assert_eq!(format!("{:?}", keys.opener), "Opener(1 identities)");
}

/// Sizes around everything that cuts: tar blocks, bundles, parts, records, segments.
fn edges() -> impl Strategy<Value = usize> {
    let around = prop::sample::select(vec![
        0_usize,
        512,
        8 << 10,
        32 << 10,
        64 << 10,
        128 << 10,
        512 << 10,
        1100 << 10,
    ]);
    (around, 0..5_usize).prop_map(|(at, off)| (at + off).saturating_sub(2))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_size_around_every_edge(
        sizes in prop::collection::vec((edges(), any::<bool>()), 0..6),
        segment in 200_u64..1200,
    ) {
        let files = Shelf(
            sizes
                .into_iter()
                .enumerate()
                .map(|(n, (size, text))| {
                    let bytes = if text { prose(size) } else { noise(n as u64, size) };
                    (format!("dir{}/file{n}", n % 2), bytes)
                })
                .collect(),
        );
        let cut = WriterOptions { segment_limit: Bytes::kib(segment) };
        there_and_back(&files, &small(), cut);
    }
}
