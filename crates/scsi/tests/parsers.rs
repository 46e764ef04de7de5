//! Answers of devices, whole, cut short and random.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use proptest::prelude::*;
use scsi::element::{Assignment, parse_status};
use scsi::inquiry::{self, Designator};
use scsi::log::{self, TapeAlerts, TapeCapacity, VolumeStatistics};
use scsi::mode::{self, ModeData};
use scsi::position::ShortPosition;
use scsi::{BlockLimits, ElementAddress, ElementKind, Generation, Inquiry, ObjectNumber, Position};
use scsi::{mam, mam::Attribute};

#[test]
fn inquiry_and_serial_lose_their_padding() {
    let mut bytes = vec![0x01, 0x80, 0x06, 0x02, 91, 0, 0, 0];
    bytes.extend_from_slice(b"IBM     ULT3580-TD9     Q3A0");
    let inquiry = Inquiry::parse(&bytes).unwrap();
    assert_eq!(inquiry.product, "ULT3580-TD9");
    assert_eq!(
        Generation::from_product(&inquiry.product),
        Some(Generation::Lto9)
    );
    assert_eq!(inquiry.device_type, Inquiry::TAPE);
    assert!(inquiry.removable);
    // Left-padded with blanks, as one target does it.
    let page = [&[0x01, 0x80, 0x00, 0x0c][..], b"    TGTDRV01"].concat();
    assert_eq!(inquiry::serial(&page).as_deref(), Some("TGTDRV01"));
    assert_eq!(
        inquiry::supported_pages(&[1, 0, 0, 3, 0x00, 0x80, 0x83, 0x77]),
        [0x00, 0x80, 0x83]
    );
    assert!(inquiry::supported_pages(&[1, 0x80, 0, 3, 0x00, 0x80, 0x83]).is_empty());
    // Stale data of another page, as another target answers.
    assert_eq!(
        inquiry::serial(&[0x01, 0x83, 0x00, 0x04, b'A', b'B', b'C', b'D']),
        None
    );
}

#[test]
fn generations_by_product() {
    for (product, generation) in [
        ("ULT3580-TD8", Some(Generation::Lto8)),
        ("ULTRIUM-HH9", Some(Generation::Lto9)),
        ("Ultrium 9-SCSI", Some(Generation::Lto9)),
        ("ULT3580-TD10", Some(Generation::Lto10)),
        ("ULT3580-TD6", None),
        ("VIRTUAL TAPE", None),
    ] {
        assert_eq!(Generation::from_product(product), generation, "{product}");
    }
}

#[test]
fn a_position_the_drive_does_not_know_is_no_number() {
    let mut long = [0u8; 32];
    long[8..16].copy_from_slice(&77u64.to_be_bytes());
    long[16..24].copy_from_slice(&3u64.to_be_bytes());
    let known = Position::parse_long(&long).unwrap();
    assert_eq!(
        (known.record, known.filemarks, known.bop),
        (ObjectNumber(77), 3, false)
    );
    long[0] = 0x04;
    assert_eq!(Position::parse_long(&long), None);
    long[0] = 0xc1;
    let end = Position::parse_long(&long).unwrap();
    assert!(end.bop && end.eop && end.beyond_programmable_early_warning);

    let mut short = [0u8; 20];
    short[4..8].copy_from_slice(&9u32.to_be_bytes());
    short[8..12].copy_from_slice(&5u32.to_be_bytes());
    short[13..16].copy_from_slice(&[0, 0, 4]);
    let known = ShortPosition::parse(&short).unwrap();
    assert_eq!(
        (known.first.0, known.on_medium.0, known.buffered_objects),
        (9, 5, Some(4))
    );
    // "14 00 …": one target's way to say that it does not know.
    short[0] = 0x14;
    assert_eq!(ShortPosition::parse(&short), None);
}

/// Two drives with barcodes and identifiers, as a library answers.
fn drives_status() -> Vec<u8> {
    let mut body = Vec::new();
    for (address, tag, serial) in [(257u16, "TM0001L9", "DRVA"), (258, "", "DRVB")] {
        let mut d = address.to_be_bytes().to_vec();
        d.push(if tag.is_empty() { 0x08 } else { 0x01 });
        d.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0x80, 0x04, 0x05]);
        d.extend_from_slice(format!("{tag:32}").as_bytes());
        d.extend_from_slice(&[0; 4]);
        d.extend_from_slice(&[0x02, 0x01, 0x00, 28]);
        d.extend_from_slice(format!("{:8}{:16}{serial}", "IBM", "ULT3580-TD9").as_bytes());
        body.extend_from_slice(&d);
    }
    let one = (body.len() / 2) as u16;
    let page = [
        &[4, 0x80][..],
        &one.to_be_bytes(),
        &(body.len() as u32).to_be_bytes(),
        &body,
    ]
    .concat();
    let header = [&[1, 1, 0, 2][..], &(page.len() as u32).to_be_bytes()].concat();
    [header, page].concat()
}

#[test]
fn element_status_of_drives() {
    let drives = parse_status(&drives_status());
    assert_eq!(drives.len(), 2);
    assert_eq!(drives[0].kind, ElementKind::Drive);
    assert!(drives[0].full && !drives[0].accessible);
    assert_eq!(drives[0].tag.as_ref().unwrap().as_str(), "TM0001L9");
    assert_eq!(drives[0].source, Some(ElementAddress(0x0405)));
    assert_eq!(drives[0].drive_serial.as_deref(), Some("DRVA"));
    assert!(!drives[1].full && drives[1].tag.is_none());
    assert_eq!(drives[1].drive_serial.as_deref(), Some("DRVB"));
}

/// One target announces 8 bytes too few and cuts the last identifier: a cut serial must not pass
/// for a serial (`DRV` would pair with the wrong drive).
#[test]
fn a_cut_serial_is_no_serial() {
    let whole = drives_status();
    let cut = &whole[..whole.len() - 1];
    let drives = parse_status(cut);
    assert_eq!(drives.len(), 2);
    assert_eq!(drives[0].drive_serial.as_deref(), Some("DRVA"));
    assert_eq!(drives[1].drive_serial, None);
    // The byte count announces 8 fewer than sent: still read in full.
    let mut understated = whole.clone();
    let count = (whole.len() - 16) as u32;
    understated[5..8].copy_from_slice(&count.to_be_bytes()[1..]);
    assert_eq!(parse_status(&understated), parse_status(&whole));
    // And one that announces far more than it sends.
    let mut overstated = whole.clone();
    overstated[5..8].copy_from_slice(&[0xff, 0xff, 0xff]);
    assert_eq!(parse_status(&overstated), parse_status(&whole));
}

#[test]
fn attributes_go_there_and_back() {
    let attributes = vec![
        Attribute::text(mam::id::BARCODE, 32, "TM0001L9"),
        Attribute::binary(mam::id::VOLUME_COHERENCY, vec![1, 2, 3]),
    ];
    let bytes = mam::encode(&attributes);
    assert_eq!(bytes[..9], [0, 0, 0, 45, 0x08, 0x06, 0x01, 0, 32]);
    let back = mam::parse(&bytes);
    assert_eq!(back, attributes);
    assert_eq!(back[0].as_text(), "TM0001L9");
    assert_eq!(back[1].number(), Some(0x01_02_03));
    // Cut in the middle of the second: the first is still there.
    assert_eq!(mam::parse(&bytes[..bytes.len() - 1]), attributes[..1]);
}

#[test]
fn mode_parameters_go_back_with_one_change() {
    // Header (10), block descriptor of LTO-9, page 10h/01h with PEWS 0 and PS set.
    let mut bytes = vec![0, 46, 0x98, 0x10, 0, 0, 0, 8, 0x60, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&[0xd0, 0x01, 0x00, 0x1c]);
    bytes.extend_from_slice(&[0; 28]);
    let data = ModeData::parse_10(&bytes).unwrap();
    assert_eq!(
        (data.density, data.block_length, data.buffered),
        (Some(0x60), Some(0), 1)
    );
    assert_eq!(mode::programmable_early_warning(&data.page), Some(0));
    let page = mode::with_programmable_early_warning(&data.page, 0x1234).unwrap();
    let out = ModeData { page, ..data }.select_10();
    assert_eq!(out[..8], [0, 0, 0x98, 0x10, 0, 0, 0, 8]);
    assert_eq!(out[16..24], [0x50, 0x01, 0x00, 0x1c, 0, 0, 0x12, 0x34]);
}

#[test]
fn tape_alert_flag_one_is_the_highest_bit_of_the_response_page() {
    let mut bytes = vec![0x12, 0, 0, 12, 0, 0, 0x03, 8];
    bytes.extend_from_slice(&[0x80, 0, 0x18, 0, 0, 0, 0, 0x01]);
    let alerts = TapeAlerts::from_response_page(&bytes).unwrap();
    assert_eq!(alerts.flags().collect::<Vec<_>>(), [0x01, 0x14, 0x15, 0x40]);
    assert!(alerts.cleaning());
    assert!(!alerts.critical());
    assert!(TapeAlerts(1 << 3).critical());
}

proptest! {
    /// No parser panics, whatever a device answers.
    #[test]
    fn random_answers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        let _ = Inquiry::parse(&bytes);
        let _ = inquiry::serial(&bytes);
        let _ = (inquiry::designators(&bytes), inquiry::supported_pages(&bytes));
        let _ = Designator::parse(&bytes).map(|(d, _)| d.serial());
        let _ = Position::parse_long(&bytes);
        let _ = ShortPosition::parse(&bytes);
        let _ = BlockLimits::parse(&bytes);
        let _ = parse_status(&bytes);
        let _ = Assignment::parse(&bytes);
        for attribute in mam::parse(&bytes) {
            let _ = (attribute.number(), attribute.as_text());
        }
        for data in [ModeData::parse_6(&bytes), ModeData::parse_10(&bytes)].into_iter().flatten() {
            let _ = data.select_10();
            let _ = mode::compression_off(&data.page);
        }
        let _ = mode::with_programmable_early_warning(&bytes, 1);
        let _ = bytes.first().map(|page| log::parse(&bytes, page & 0x3f));
        let _ = (VolumeStatistics::parse(&bytes), TapeCapacity::parse(&bytes));
        let _ = TapeAlerts::from_alert_page(&bytes);
    }

    /// A changer's answer with random damage: no panic, no element twice.
    #[test]
    fn damaged_element_status_never_panics(at in 0usize..200, value: u8, keep in 0usize..220) {
        let mut bytes = drives_status();
        bytes.truncate(keep);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        let _ = parse_status(&bytes);
    }

    #[test]
    fn log_pages_go_there_and_back(
        page in 0u8..0x40,
        values in proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..20),
    ) {
        let parameters: Vec<_> =
            values.into_iter().map(|(code, value)| log::Parameter { code, value }).collect();
        prop_assert_eq!(log::parse(&log::encode(page, &parameters), page), Some(parameters));
    }
}
