//! Media changer commands (SMC-3).

use super::{Cdb, U24, op};

/// INITIALIZE ELEMENT STATUS (SMC-3 table of that name).
pub const fn initialize_element_status() -> Cdb {
    Cdb::new([op::INITIALIZE_ELEMENT_STATUS, 0, 0, 0, 0, 0])
}

/// MOVE MEDIUM (SMC-3 table of that name), without inversion.
pub const fn move_medium(transport: u16, source: u16, destination: u16) -> Cdb {
    let [t1, t0] = transport.to_be_bytes();
    let [s1, s0] = source.to_be_bytes();
    let [d1, d0] = destination.to_be_bytes();
    Cdb::new([op::MOVE_MEDIUM, 0, t1, t0, s1, s0, d1, d0, 0, 0, 0, 0])
}

/// What READ ELEMENT STATUS asks beside the element state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusWish {
    /// Volume tags (barcodes).
    pub voltag: bool,
    /// Device identifiers of drives.
    pub dvcid: bool,
    /// Do not move the robot to find out.
    pub curdata: bool,
}

/// READ ELEMENT STATUS for one element type (SMC-3 table of that name). The allocation length is
/// all three bytes 7–9.
pub const fn read_element_status(
    kind: u8,
    start: u16,
    count: u16,
    wish: StatusWish,
    allocation: U24,
) -> Cdb {
    let [s1, s0] = start.to_be_bytes();
    let [c1, c0] = count.to_be_bytes();
    let [a2, a1, a0] = allocation.bytes();
    Cdb::new([
        op::READ_ELEMENT_STATUS,
        (wish.voltag as u8) << 4 | (kind & 0x0f),
        s1,
        s0,
        c1,
        c0,
        (wish.curdata as u8) << 1 | wish.dvcid as u8,
        a2,
        a1,
        a0,
        0,
        0,
    ])
}
