//! Restoring into a directory: the right bytes under the right names, and nowhere else.

use std::fs;
use std::os::unix::fs::symlink;

use model::{ArtifactRange, Bytes, Code};
use stream::{DirectorySink, ReadOptions, Sink, read_placement, write_placement};
use volume::{MemoryTape, WriterOptions};

use crate::support::*;

fn tape_with(files: &Shelf) -> (MemoryTape, Keys, model::Placement) {
    let keys = keys();
    let mut writer = open(&keys);
    let order = order(1, files);
    let written = write_placement(
        &mut writer,
        &work(1),
        &order,
        files,
        &keys.sealer,
        &small(),
        now(),
    )
    .unwrap();
    (writer.into_device(), keys, written.placement)
}

#[test]
fn files_come_back_and_replace_what_was_there() {
    let files = shelf(&[
        ("a/b/c", noise(1, 100_000)),
        ("empty", vec![]),
        ("top", prose(9)),
    ]);
    let (mut tape, keys, placement) = tape_with(&files);
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("new/out");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("top"), "older and longer than the new one").unwrap();
    let mut sink = DirectorySink::create(&root).unwrap();
    let options = ReadOptions::default();
    read_placement(&placement, &mut tape, &keys.opener, &mut sink, &options).unwrap();
    for (name, bytes) in &files.0 {
        assert_eq!(&fs::read(root.join(name)).unwrap(), bytes, "{name}");
    }
    assert_eq!(
        fs::read_dir(&root).unwrap().count(),
        3,
        "no temporary file is left"
    );
}

#[test]
fn no_symbolic_link_leads_outside() {
    let files = shelf(&[("dir/file", prose(9))]);
    let (mut tape, keys, placement) = tape_with(&files);
    let home = tempfile::tempdir().unwrap();
    let outside = home.path().join("outside");
    let root = home.path().join("out");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&root).unwrap();
    symlink(&outside, root.join("dir")).unwrap();
    let mut sink = DirectorySink::create(&root).unwrap();
    let options = ReadOptions::default();
    let error =
        read_placement(&placement, &mut tape, &keys.opener, &mut sink, &options).unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(error.to_string().contains("dir/file"));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // A link in the file's own place is replaced, not followed.
    fs::remove_file(root.join("dir")).unwrap();
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(outside.join("victim"), "untouched").unwrap();
    symlink(outside.join("victim"), root.join("dir/file")).unwrap();
    read_placement(&placement, &mut tape, &keys.opener, &mut sink, &options).unwrap();
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"untouched");
    assert_eq!(fs::read(root.join("dir/file")).unwrap(), prose(9));
}

#[test]
fn a_damaged_artifact_leaves_no_file() {
    let files = shelf(&[("a", noise(1, 100_000)), ("b", noise(2, 100_000))]);
    let (mut tape, keys, placement) = tape_with(&files);
    tape.corrupt(placement.segments[0].first, 1000);
    let home = tempfile::tempdir().unwrap();
    let mut sink = DirectorySink::create(home.path()).unwrap();
    let options = ReadOptions {
        keep_going: true,
        ..ReadOptions::default()
    };
    let back = read_placement(&placement, &mut tape, &keys.opener, &mut sink, &options).unwrap();
    // One record of 512 KiB holds both.
    assert_eq!(back.lost.len(), 2);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn an_artifact_larger_than_a_volume_comes_together_from_its_parts() {
    let whole = noise(7, 1_000_003);
    let files = shelf(&[("big", whole.clone()), ("small", prose(5))]);
    let keys = keys();
    let home = tempfile::tempdir().unwrap();
    let mut sink = DirectorySink::create(home.path()).unwrap();
    // Three volumes; the parts come back in another order than they were written.
    let cuts = [(700_000, 300_003), (0, 300_000), (300_000, 400_000)];
    for (part, (offset, length)) in cuts.into_iter().enumerate() {
        let mut writer = open_on(MemoryTape::new(), &keys, WriterOptions::default());
        let mut order = order(1, &files);
        order.part = part as u32;
        order.parts = 3;
        order.artifacts[0].range = ArtifactRange {
            artifact: 0,
            offset: Bytes(offset),
            length: Bytes(length),
        };
        if part != 0 {
            order.artifacts.truncate(1);
        }
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
        let mut tape = writer.into_device();
        let options = ReadOptions::default();
        let back = read_placement(
            &written.placement,
            &mut tape,
            &keys.opener,
            &mut sink,
            &options,
        )
        .unwrap();
        assert_eq!(back.content, expected(&order));
    }
    assert_eq!(fs::read(home.path().join("big")).unwrap(), whole);
    assert_eq!(fs::read(home.path().join("small")).unwrap(), prose(5));
}

#[test]
fn a_sink_dropped_in_the_middle_cleans_up() {
    let home = tempfile::tempdir().unwrap();
    let artifact = volume::SealedArtifact {
        index: 0,
        name: "x".parse().unwrap(),
        source: "file:///x".parse().unwrap(),
        size: Bytes(4),
        sha256: sha(b"abcd"),
        offset: Bytes::ZERO,
        length: Bytes(4),
        range_sha256: sha(b"abcd"),
        member: 0,
        members: 1,
        at: Bytes::ZERO,
    };
    let mut sink = DirectorySink::create(home.path()).unwrap();
    sink.begin(&artifact).unwrap();
    sink.write(b"ab").unwrap();
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    drop(sink);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn strange_names_that_are_allowed_come_back_as_files_inside_and_nothing_else() {
    let deep = vec!["d"; 200].join("/");
    let long = "n".repeat(255);
    let names = [
        "CON",
        "aux.txt",
        "a:b",
        "trailing. ",
        "-rf",
        "~/x",
        "$(touch owned)",
        "..a/b..",
        "\u{ff0e}\u{ff0e}/x",
        "b\u{430}r",
        "bar",
        "größe/漢字.tar",
        ".tapemark-0-0000000000000000.partial",
        deep.as_str(),
        long.as_str(),
    ];
    let contents: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(n, name)| (*name, noise(n as u64, 100)))
        .collect();
    let files = shelf(&contents);
    let (mut tape, keys, placement) = tape_with(&files);
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("out");
    let mut sink = DirectorySink::create(&root).unwrap();
    let options = ReadOptions::default();
    read_placement(&placement, &mut tape, &keys.opener, &mut sink, &options).unwrap();
    for (name, bytes) in &files.0 {
        assert_eq!(&fs::read(root.join(name)).unwrap(), bytes, "{name:?}");
    }
    let mut found = 0;
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
                found += 1;
            }
        }
    }
    assert_eq!(found, names.len());
    let beside: Vec<_> = fs::read_dir(home.path()).unwrap().collect();
    assert_eq!(beside.len(), 1, "nothing beside the directory");
}
