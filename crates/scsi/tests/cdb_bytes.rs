//! Command blocks, byte by byte, as the standards lay them out.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use scsi::cdb::{Cdb, U24, smc, spc, ssc};

fn check(cdb: Cdb, expected: &str) {
    let bytes: Vec<String> = cdb.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(bytes.join(" "), expected, "{}", cdb.name());
}

fn u24(value: usize) -> U24 {
    U24::new(value).unwrap()
}

#[test]
fn primary_commands() {
    check(spc::test_unit_ready(), "00 00 00 00 00 00");
    check(spc::request_sense(false, 252), "03 00 00 00 fc 00");
    check(spc::request_sense(true, 252), "03 01 00 00 fc 00");
    check(spc::inquiry(0x1234), "12 00 00 12 34 00");
    check(spc::inquiry_vpd(0x83, 255), "12 01 83 00 ff 00");
    check(spc::mode_sense_6(0x1d, 0, 255), "1a 00 1d 00 ff 00");
    check(
        spc::mode_sense_10(0x10, 0x01, 0x0200),
        "5a 00 10 01 00 00 00 02 00 00",
    );
    check(spc::mode_select_6(28), "15 10 00 00 1c 00");
    check(spc::mode_select_10(0x0130), "55 10 00 00 00 00 00 01 30 00");
    check(
        spc::log_sense(0x17, 0, 0x8000),
        "4d 00 57 00 00 00 00 80 00 00",
    );
    check(spc::prevent_allow(true), "1e 00 00 00 01 00");
    check(
        spc::read_attribute(0, 0x0806, 0x0102_0304),
        "8c 00 00 00 00 00 00 00 08 06 01 02 03 04 00 00",
    );
    check(
        spc::write_attribute(0, 0x0000_0029),
        "8d 01 00 00 00 00 00 00 00 00 00 00 00 29 00 00",
    );
}

#[test]
fn stream_commands() {
    check(ssc::rewind(), "01 00 00 00 00 00");
    check(ssc::read_block_limits(), "05 00 00 00 00 00");
    check(ssc::read_6(u24(512 * 1024), false), "08 00 08 00 00 00");
    check(ssc::read_6(u24(0xff_ffff), true), "08 02 ff ff ff 00");
    check(ssc::write_6(u24(80)), "0a 00 00 00 50 00");
    check(ssc::write_filemarks_6(u24(1), true), "10 01 00 00 01 00");
    check(ssc::write_filemarks_6(u24(0), false), "10 00 00 00 00 00");
    check(
        ssc::space_6(ssc::SpaceCode::Filemarks, -2),
        "11 01 ff ff fe 00",
    );
    check(
        ssc::space_6(ssc::SpaceCode::EndOfData, 0),
        "11 03 00 00 00 00",
    );
    check(
        ssc::space_16(ssc::SpaceCode::Records, -0x1_0000_0001),
        "91 00 00 00 ff ff ff fe ff ff ff ff 00 00 00 00",
    );
    check(
        ssc::locate_16(0x0102_0304_0506_0708),
        "92 00 00 00 01 02 03 04 05 06 07 08 00 00 00 00",
    );
    check(ssc::read_position_short(), "34 00 00 00 00 00 00 00 00 00");
    check(ssc::read_position_long(), "34 06 00 00 00 00 00 00 00 00");
    check(ssc::load_unload(true), "1b 00 00 00 01 00");
    check(ssc::load_unload(false), "1b 00 00 00 00 00");
}

#[test]
fn changer_commands_use_all_three_allocation_bytes() {
    check(smc::initialize_element_status(), "07 00 00 00 00 00");
    check(
        smc::move_medium(1, 0x0400, 0x0101),
        "a5 00 00 01 04 00 01 01 00 00 00 00",
    );
    let wish = smc::StatusWish {
        voltag: true,
        dvcid: true,
        curdata: true,
    };
    check(
        smc::read_element_status(4, 0x0101, 2, wish, u24(0x01_0203)),
        "b8 14 01 01 00 02 03 01 02 03 00 00",
    );
    check(
        smc::read_element_status(2, 0x0400, 24, smc::StatusWish::default(), u24(0xff_ffff)),
        "b8 02 04 00 00 18 00 ff ff ff 00 00",
    );
}

#[test]
fn twenty_four_bits_are_the_limit_of_a_record() {
    assert!(U24::new(U24::MAX).is_some());
    assert!(U24::new(U24::MAX + 1).is_none());
}
