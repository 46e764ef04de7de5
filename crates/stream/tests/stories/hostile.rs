//! A sealed part that lies ends in an error, never in a panic and never in wrong bytes.

use model::Bytes;
use stream::{ReadOptions, read_placement};
use volume::{MemberKind, PlacementHead, Sealed, SealedArtifact};

use crate::support::*;

/// A placement of a bundle (`a` and `b`) and two pieces (`c`), with its true sealed part; then
/// with `lie` applied to it.
fn read_with(lie: &dyn Fn(&mut Vec<SealedArtifact>)) -> Result<stream::ReadBack, String> {
    let keys = keys();
    let contents = [
        ("a", prose(700)),
        ("b", prose(900)),
        ("c", noise(1, 100_000)),
    ];
    let files = shelf(&contents);
    let order = order(1, &files);
    // Once as it should be, to see the true parts.
    let mut writer = open(&keys);
    let written = stream::write_placement(
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
    let mut honest = volume::PlacementReader::open(&mut tape, &written.placement).unwrap();
    let json = volume::Unseal::unseal(&keys.opener, honest.sealed(), Bytes::mib(1)).unwrap();
    let mut sealed = Sealed::parse(&json, honest.manifest()).unwrap();
    lie(&mut sealed.artifacts);
    // And once more with the lie.
    let mut writer = open(&keys);
    let mut placement = writer
        .begin_placement(PlacementHead::of(&order, &work(1)))
        .unwrap();
    let mut stored = Vec::new();
    for index in 0..honest.manifest().members.len() {
        honest.member(index, &mut stored).unwrap().unwrap();
        let member = &honest.manifest().members[index];
        assert_eq!(member.kind == MemberKind::Bundle, index == 0);
        placement
            .add_member(&member.name, member.kind, &stored)
            .unwrap();
    }
    let sealed_bytes = keys.sealer.seal(&sealed.to_json().unwrap()).unwrap();
    let count = sealed.artifacts.len() as u32;
    let lying = placement
        .finish(sealed.part_content(), count, Bytes(1), &sealed_bytes, now())
        .unwrap();
    let mut tape = writer.into_device();
    let mut result = Err(String::new());
    for keep_going in [true, false] {
        let mut basket = Basket::default();
        let options = ReadOptions {
            only: vec![],
            keep_going,
        };
        let read = read_placement(&lying, &mut tape, &keys.opener, &mut basket, &options);
        for (name, bytes) in &basket.files {
            // What is delivered under a name has the digest that goes with it.
            let row = sealed
                .artifacts
                .iter()
                .find(|a| a.name.as_str() == name)
                .unwrap();
            assert_eq!(sha(bytes), row.range_sha256, "{name}");
        }
        result = read.map_err(|error| error.to_string());
    }
    result
}

#[test]
fn the_truth_is_read() {
    assert_eq!(read_with(&|_| {}).unwrap().artifacts, 3);
}

#[test]
fn every_field_at_its_extremes() {
    type Set = fn(&mut SealedArtifact, u64);
    let fields: [Set; 7] = [
        |a, v| a.index = v as u32,
        |a, v| a.size = Bytes(v),
        |a, v| a.offset = Bytes(v),
        |a, v| a.length = Bytes(v),
        |a, v| a.member = v as u32,
        |a, v| a.members = v as u32,
        |a, v| a.at = Bytes(v),
    ];
    for row in 0..3 {
        for set in fields {
            for value in [
                0,
                1,
                2,
                511,
                512,
                700,
                100_000,
                u64::from(u32::MAX),
                u64::MAX,
            ] {
                let _ = read_with(&|rows: &mut Vec<SealedArtifact>| set(&mut rows[row], value));
            }
        }
    }
}

#[test]
fn lies_that_must_not_pass() {
    type Lie = fn(&mut Vec<SealedArtifact>);
    let lies: [(&str, Lie); 6] = [
        ("other digest", |rows| rows[0].sha256 = sha(b"other")),
        ("other range digest", |rows| {
            rows[2].range_sha256 = sha(b"other")
        }),
        ("one in another", |rows| rows[1].at = rows[0].at),
        ("swapped", |rows| {
            let at = rows[0].at;
            rows[0].at = rows[1].at;
            rows[1].at = at;
        }),
        ("a piece missing", |rows| rows[2].members -= 1),
        ("longer", |rows| {
            rows[2].length.0 += 1;
            rows[2].size.0 += 1;
        }),
    ];
    for (name, lie) in lies {
        read_with(&lie).expect_err(name);
    }
}
