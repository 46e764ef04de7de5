//! Whatever stands on a tape, reading it ends in an answer.

use model::{Code, RecordNo, Sha256};
use proptest::prelude::*;
use volume::{
    Manifest, MemoryTape, Object, PlacementReader, Problem, ScanOptions, VolumeError, read_label,
    scan, tar,
};

use crate::support::*;

/// A tape with one checkpoint, and the text of its manifest.
fn tape_and_manifest() -> (MemoryTape, model::Placement, String) {
    let (tape, _, mut placements) = with_checkpoints(1);
    let placement = placements.remove(0);
    let Object::Record(bytes) = &tape.objects()[placement.segments[2].first.0 as usize] else {
        panic!("a manifest record");
    };
    let size = tar::parse(bytes).unwrap().size as usize;
    let json = String::from_utf8(bytes[512..512 + size].to_vec()).unwrap();
    (tape, placement, json)
}

/// The tape with another manifest in place of its own.
fn with_manifest(tape: &MemoryTape, placement: &model::Placement, json: &str) -> MemoryTape {
    let at = placement.segments[2].first.0 as usize;
    let mut record = Vec::new();
    for (name, content) in [("MANIFEST.json", json), (volume::SEALED_NAME, "sealed")] {
        let size = content.len() as u64;
        record.extend_from_slice(&tar::header(name, size, now()));
        record.extend_from_slice(content.as_bytes());
        record.resize(record.len() + tar::padding(size), 0);
    }
    record.resize(record.len() + tar::END, 0);
    let mut objects = tape.objects().to_vec();
    objects[at] = Object::Record(record);
    MemoryTape::of(objects)
}

/// Places of numbers in a JSON text.
fn numbers(json: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in json.match_indices("\":") {
        let start = at + 2;
        let length = json[start..]
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(0);
        if length > 0 {
            found.push((start, start + length));
        }
    }
    found
}

#[test]
fn every_number_of_a_manifest_at_its_extremes() {
    let (tape, placement, json) = tape_and_manifest();
    assert_eq!(Manifest::parse(json.as_bytes()).unwrap().members.len(), 2);
    let places = numbers(&json);
    assert!(places.len() > 20);
    for (start, end) in places {
        for value in [
            "0",
            "1",
            "511",
            "512",
            "524288",
            "4294967295",
            "18446744073709551615",
        ] {
            let changed = format!("{}{value}{}", &json[..start], &json[end..]);
            let mut tape = with_manifest(&tape, &placement, &changed);
            let report = scan(&mut tape, None, ScanOptions { read_data: true }).unwrap();
            assert!(report.placements.len() <= 1);
            match append(tape, 9, &labelled().1) {
                Ok((_, tail)) => assert!(tail.found.len() <= 1, "{changed}"),
                Err(error) => assert_eq!(error.code(), Code::FenceLost, "{changed}"),
            }
        }
    }
}

#[test]
fn a_placement_that_lies_about_itself_is_refused() {
    let (mut tape, placement, _) = tape_and_manifest();
    let lies: [fn(&mut model::Placement); 6] = [
        |p| p.segments.clear(),
        |p| p.segments[0].records = u64::MAX,
        |p| p.segments[0].first = RecordNo(u64::MAX),
        |p| p.segments[2].first = RecordNo(0),
        |p| p.segments[1].bytes = model::Bytes(7),
        |p| p.part = 9,
    ];
    for lie in lies {
        let mut placement = placement.clone();
        lie(&mut placement);
        PlacementReader::open(&mut tape, &placement).unwrap_err();
    }
}

#[test]
fn a_manifest_with_another_digest_is_not_the_one() {
    let (mut tape, mut placement, _) = tape_and_manifest();
    placement.manifest = Sha256::EMPTY;
    let error = PlacementReader::open(&mut tape, &placement).unwrap_err();
    assert!(
        matches!(error, VolumeError::ManifestMismatch { .. }),
        "{error}"
    );
}

/// Damage that CRCs do not show, because the manifest was made for other bytes.
#[test]
fn every_digest_in_a_manifest_is_compared() {
    let (tape, _, json) = tape_and_manifest();
    let (_, placement, _) = tape_and_manifest();
    let manifest = Manifest::parse(json.as_bytes()).unwrap();
    let damage = |digest: Sha256| {
        let changed = json.replacen(&digest.to_hex(), &Sha256::EMPTY.to_hex(), 1);
        assert_ne!(changed, json);
        let mut tape = with_manifest(&tape, &placement, &changed);
        let report = scan(&mut tape, None, ScanOptions { read_data: true }).unwrap();
        report
            .placements
            .into_iter()
            .flat_map(|p| p.damage)
            .collect::<Vec<_>>()
    };
    assert!(damage(manifest.members[1].sha256)[0].starts_with("member b: stored bytes: expected"));
    let segment = damage(manifest.segments[1].extent.sha256);
    assert!(
        segment[0].starts_with("segment 1: expected digest"),
        "{segment:?}"
    );
    let changed = json.replace(&manifest.sealed.sha256.to_hex(), &Sha256::EMPTY.to_hex());
    let mut tape = with_manifest(&tape, &placement, &changed);
    let report = scan(&mut tape, None, ScanOptions::default()).unwrap();
    assert_eq!(report.placements.len(), 0);
    assert!(matches!(report.problems[..], [Problem::BadManifest { .. }]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_objects_at_all(
        records in prop::collection::vec(
            prop_oneof![
                Just(None),
                prop::collection::vec(any::<u8>(), 0..2000).prop_map(Some),
            ],
            0..12,
        ),
        behind_a_label in any::<bool>(),
    ) {
        let mut objects = if behind_a_label { labelled().0.objects().to_vec() } else { vec![] };
        objects.extend(records.into_iter().map(|r| r.map_or(Object::Filemark, Object::Record)));
        let mut tape = MemoryTape::of(objects);
        read_label(&mut tape).unwrap();
        let report = scan(&mut tape, None, ScanOptions { read_data: true });
        prop_assert_eq!(report.is_ok(), behind_a_label);
        if behind_a_label {
            let (writer, tail) = append(tape, 1, &labelled().1).unwrap();
            prop_assert!(tail.found.is_empty());
            prop_assert!(!writer.into_device().overwritten());
        }
    }

    #[test]
    fn any_byte_of_a_manifest_changed(at in 0..1000_usize, byte in any::<u8>()) {
        let (_, _, json) = tape_and_manifest();
        let mut bytes = json.into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = Manifest::parse(&bytes);
    }
}
