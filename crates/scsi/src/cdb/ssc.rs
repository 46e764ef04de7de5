//! Stream commands (SSC-5), for a tape drive.

use super::{Cdb, U24, op};

/// REWIND, waiting for completion (SSC-5 table "REWIND command").
pub const fn rewind() -> Cdb {
    Cdb::new([op::REWIND, 0, 0, 0, 0, 0])
}

/// READ BLOCK LIMITS (SSC-5 table of that name).
pub const fn read_block_limits() -> Cdb {
    Cdb::new([op::READ_BLOCK_LIMITS, 0, 0, 0, 0, 0])
}

/// READ(6) of one variable-length record of at most `length` bytes (SSC-5 table "READ(6)").
/// With `sili` a record shorter than `length` is no exception.
pub const fn read_6(length: U24, sili: bool) -> Cdb {
    let [a, b, c] = length.bytes();
    Cdb::new([op::READ_6, (sili as u8) << 1, a, b, c, 0])
}

/// WRITE(6) of one variable-length record (SSC-5 table "WRITE(6)").
pub const fn write_6(length: U24) -> Cdb {
    let [a, b, c] = length.bytes();
    Cdb::new([op::WRITE_6, 0, a, b, c, 0])
}

/// WRITE FILEMARKS(6) (SSC-5 table of that name). `count` 0 with `immediate` false flushes the
/// drive's buffer and writes nothing.
pub const fn write_filemarks_6(count: U24, immediate: bool) -> Cdb {
    let [a, b, c] = count.bytes();
    Cdb::new([op::WRITE_FILEMARKS_6, immediate as u8, a, b, c, 0])
}

/// What SPACE counts (SSC-5 table "CODE field").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SpaceCode {
    /// Records.
    Records = 0,
    /// Filemarks.
    Filemarks = 1,
    /// To end of data; the count is ignored.
    EndOfData = 3,
}

/// SPACE(6) (SSC-5 table of that name). `count` is clamped to 24 bits, two's complement.
pub const fn space_6(code: SpaceCode, count: i32) -> Cdb {
    let count = if count > 0x7f_ffff {
        0x7f_ffff
    } else if count < -0x80_0000 {
        -0x80_0000
    } else {
        count
    };
    let [_, a, b, c] = count.to_be_bytes();
    Cdb::new([op::SPACE_6, code as u8, a, b, c, 0])
}

/// SPACE(16) (SSC-5 table of that name).
pub const fn space_16(code: SpaceCode, count: i64) -> Cdb {
    let c = count.to_be_bytes();
    Cdb::new([
        op::SPACE_16,
        code as u8,
        0,
        0,
        c[0],
        c[1],
        c[2],
        c[3],
        c[4],
        c[5],
        c[6],
        c[7],
        0,
        0,
        0,
        0,
    ])
}

/// LOCATE(16) to a logical object of the current partition, DEST_TYPE 000b, CP = 0 (SSC-5 table
/// "LOCATE(16)"). By object only: LOCATE by file differs between makers.
pub const fn locate_16(object: u64) -> Cdb {
    let o = object.to_be_bytes();
    Cdb::new([
        op::LOCATE_16,
        0,
        0,
        0,
        o[0],
        o[1],
        o[2],
        o[3],
        o[4],
        o[5],
        o[6],
        o[7],
        0,
        0,
        0,
        0,
    ])
}

/// READ POSITION, short form (service action 00h).
pub const fn read_position_short() -> Cdb {
    Cdb::new([op::READ_POSITION, 0x00, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// READ POSITION, long form (service action 06h).
pub const fn read_position_long() -> Cdb {
    Cdb::new([op::READ_POSITION, 0x06, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// LOAD UNLOAD (SSC-5 table of that name), waiting for completion.
pub const fn load_unload(load: bool) -> Cdb {
    Cdb::new([op::LOAD_UNLOAD, 0, 0, 0, load as u8, 0])
}
