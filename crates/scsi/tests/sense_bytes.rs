//! Sense data in both formats, from bytes to meaning and back.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use expect_test::{Expect, expect};
use proptest::prelude::*;
use scsi::{Sense, SenseKey};

fn check(hex: &str, expected: Expect) {
    let bytes: Vec<u8> = hex
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let text = Sense::parse(&bytes).map_or("unreadable".to_owned(), |sense| sense.to_string());
    expected.assert_eq(&text);
}

#[test]
fn fixed_format() {
    check(
        "f0 00 80 00 08 00 00 0a 00 00 00 00 00 01 00 00 00 00",
        expect!["0/00/01 (filemark detected), filemark, information 524288"],
    );
    check(
        "f0 00 20 ff ff ff f6 0a 00 00 00 00 00 00 00 00 00 00",
        expect!["0/00/00 (no additional sense information), wrong length, information -10"],
    );
    check(
        "70 00 40 00 00 00 00 0a 00 00 00 00 00 02 00 00 00 00",
        expect!["0/00/02 (end of partition or medium detected), end of medium"],
    );
    check(
        "f0 00 4d 00 08 00 00 0a 00 00 00 00 00 02 00 00 00 00",
        expect!["D/00/02 (end of partition or medium detected), end of medium, information 524288"],
    );
    check(
        "71 00 03 00 00 00 00 0a 00 00 00 00 0c 00 00 00 00 00",
        expect!["3/0C/00 (write error), deferred"],
    );
    check(
        "70 00 06 00 00 00 00 0a 00 00 00 00 29 00 00 00 00 00",
        expect!["6/29/00 (power on, reset, or bus device reset occurred)"],
    );
}

#[test]
fn descriptor_format() {
    check(
        "72 02 3a 00 00 00 00 00",
        expect!["2/3A/00 (medium not present)"],
    );
    check(
        "72 00 00 00 00 00 00 10 00 0a 80 00 ff ff ff ff ff ff ff f6 04 02 00 20",
        expect!["0/00/00 (no additional sense information), wrong length, information -10"],
    );
    check(
        "73 03 0c 00 00 00 00 04 04 02 00 40",
        expect!["3/0C/00 (write error), deferred, end of medium"],
    );
    // VALID is zero: the bytes there mean nothing.
    check(
        "72 00 00 01 00 00 00 10 00 0a 00 00 00 00 00 00 00 08 00 00 04 02 00 80",
        expect!["0/00/01 (filemark detected), filemark"],
    );
}

#[test]
fn short_and_foreign_bytes() {
    check("", expect!["unreadable"]);
    check("00 00 00 00", expect!["unreadable"]);
    check(
        "7f 00 06 00 00 00 00 0a 00 00 00 00 29 00",
        expect!["unreadable"],
    );
    // Cut behind the key: the key is still worth having.
    check(
        "70 00 06",
        expect!["6/00/00 (no additional sense information)"],
    );
    // ADDITIONAL SENSE LENGTH zero: the code bytes are not part of the answer.
    check(
        "70 00 06 00 00 00 00 00 00 00 00 00 29 00",
        expect!["6/00/00 (no additional sense information)"],
    );
    // A descriptor that claims to be longer than what came.
    check(
        "72 06 29 00 00 00 00 40 00 ff 80",
        expect!["6/29/00 (power on, reset, or bus device reset occurred)"],
    );
}

fn any_sense() -> impl Strategy<Value = Sense> {
    (
        (0u8..16, any::<u8>(), any::<u8>()),
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        proptest::option::of(any::<i32>()),
        (
            any::<u32>(),
            proptest::option::of(any::<[u8; 3]>()),
            any::<u8>(),
        ),
    )
        .prop_map(
            |((key, asc, ascq), (deferred, filemark, eom, ili), info, (specific, sks, fru))| {
                Sense {
                    deferred,
                    filemark,
                    eom,
                    ili,
                    information: info.map(i64::from),
                    command_specific: u64::from(specific),
                    key_specific: sks.map(|[a, b, c]| [a | 0x80, b, c]),
                    fru,
                    ..Sense::new(SenseKey::from_byte(key), asc, ascq)
                }
            },
        )
}

proptest! {
    #[test]
    fn both_formats_carry_everything(sense in any_sense()) {
        prop_assert_eq!(Sense::parse(&sense.to_fixed()), Some(sense));
        prop_assert_eq!(Sense::parse(&sense.to_descriptor()), Some(sense));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(sense) = Sense::parse(&bytes) {
            let _ = (sense.to_string(), scsi::classify(&sense));
        }
    }

    #[test]
    fn random_descriptors_never_panic(
        code in 0x70u8..0x74,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [vec![code], bytes].concat();
        let _ = Sense::parse(&bytes).map(|sense| sense.to_string());
    }
}
