//! Primary commands (SPC-5), common to drives and changers.

use super::{Cdb, U24, op};

/// TEST UNIT READY (SPC-5 table "TEST UNIT READY command").
pub const fn test_unit_ready() -> Cdb {
    Cdb::new([op::TEST_UNIT_READY, 0, 0, 0, 0, 0])
}

/// REQUEST SENSE (SPC-5 table "REQUEST SENSE command"); `descriptor` asks for descriptor format.
pub const fn request_sense(descriptor: bool, allocation: u8) -> Cdb {
    Cdb::new([op::REQUEST_SENSE, descriptor as u8, 0, 0, allocation, 0])
}

/// INQUIRY, standard data (SPC-5 table "INQUIRY command").
pub const fn inquiry(allocation: u16) -> Cdb {
    let [hi, lo] = allocation.to_be_bytes();
    Cdb::new([op::INQUIRY, 0, 0, hi, lo, 0])
}

/// INQUIRY, one vital product data page (EVPD = 1).
pub const fn inquiry_vpd(page: u8, allocation: u16) -> Cdb {
    let [hi, lo] = allocation.to_be_bytes();
    Cdb::new([op::INQUIRY, 1, page, hi, lo, 0])
}

/// MODE SENSE(6), current values (SPC-5 table "MODE SENSE(6) command").
pub const fn mode_sense_6(page: u8, subpage: u8, allocation: u8) -> Cdb {
    Cdb::new([op::MODE_SENSE_6, 0, page & 0x3f, subpage, allocation, 0])
}

/// MODE SENSE(10), current values (SPC-5 table "MODE SENSE(10) command").
pub const fn mode_sense_10(page: u8, subpage: u8, allocation: u16) -> Cdb {
    let [hi, lo] = allocation.to_be_bytes();
    Cdb::new([
        op::MODE_SENSE_10,
        0,
        page & 0x3f,
        subpage,
        0,
        0,
        0,
        hi,
        lo,
        0,
    ])
}

/// MODE SELECT(6) with PF = 1, SP = 0 (SPC-5 table "MODE SELECT(6) command").
pub const fn mode_select_6(parameters: u8) -> Cdb {
    Cdb::new([op::MODE_SELECT_6, 0x10, 0, 0, parameters, 0])
}

/// MODE SELECT(10) with PF = 1, SP = 0 (SPC-5 table "MODE SELECT(10) command").
pub const fn mode_select_10(parameters: u16) -> Cdb {
    let [hi, lo] = parameters.to_be_bytes();
    Cdb::new([op::MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, hi, lo, 0])
}

/// LOG SENSE, cumulative values from the first parameter (SPC-5 table "LOG SENSE command").
pub const fn log_sense(page: u8, subpage: u8, allocation: u16) -> Cdb {
    let [hi, lo] = allocation.to_be_bytes();
    Cdb::new([
        op::LOG_SENSE,
        0,
        0x40 | (page & 0x3f),
        subpage,
        0,
        0,
        0,
        hi,
        lo,
        0,
    ])
}

/// PREVENT ALLOW MEDIUM REMOVAL (SPC-5 table of that name).
pub const fn prevent_allow(prevent: bool) -> Cdb {
    Cdb::new([op::PREVENT_ALLOW, 0, 0, 0, prevent as u8, 0])
}

/// READ ATTRIBUTE, service action ATTRIBUTE VALUES (SPC-5 table "READ ATTRIBUTE command").
pub const fn read_attribute(partition: u8, first: u16, allocation: u32) -> Cdb {
    let [f1, f0] = first.to_be_bytes();
    let [a3, a2, a1, a0] = allocation.to_be_bytes();
    Cdb::new([
        op::READ_ATTRIBUTE,
        0,
        0,
        0,
        0,
        0,
        0,
        partition,
        f1,
        f0,
        a3,
        a2,
        a1,
        a0,
        0,
        0,
    ])
}

/// WRITE ATTRIBUTE with WTC = 1, through to the medium (SPC-5 table "WRITE ATTRIBUTE command").
pub const fn write_attribute(partition: u8, parameters: u32) -> Cdb {
    let [a3, a2, a1, a0] = parameters.to_be_bytes();
    Cdb::new([
        op::WRITE_ATTRIBUTE,
        1,
        0,
        0,
        0,
        0,
        0,
        partition,
        0,
        0,
        a3,
        a2,
        a1,
        a0,
        0,
        0,
    ])
}

/// The largest allocation the 24-bit fields can ask for; see [`U24`].
pub const MAX_ALLOCATION_24: usize = U24::MAX;
