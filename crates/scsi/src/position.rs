//! READ POSITION data (SSC-5 tables "READ POSITION data, short form" and "… long form").

use crate::wire::{be, u8_at, u32_at};
use std::fmt;

/// A logical object number: records and filemarks counted from 0 at beginning of partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectNumber(pub u64);

impl fmt::Display for ObjectNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for ObjectNumber {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

/// Where the tape is, as the drive says in the long form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Partition number.
    pub partition: u32,
    /// The object (record or filemark) that the next read or write meets.
    pub record: ObjectNumber,
    /// Filemarks between beginning of partition and here.
    pub filemarks: u64,
    /// BOP: at beginning of partition.
    pub bop: bool,
    /// EOP: between early warning and end of partition.
    pub eop: bool,
    /// BPEW: at or past programmable early warning.
    pub beyond_programmable_early_warning: bool,
}

impl Position {
    /// Reads the long form (32 bytes). `None` where the bytes are too few or the drive says that
    /// it does not know (LONU or MPU set): an unknown position is never a number.
    pub fn parse_long(bytes: &[u8]) -> Option<Self> {
        let flags = u8_at(bytes, 0)?;
        const MPU: u8 = 0x08;
        const LONU: u8 = 0x04;
        if flags & (MPU | LONU) != 0 {
            return None;
        }
        Some(Self {
            partition: u32_at(bytes, 4)?,
            record: ObjectNumber(be(bytes, 8, 8)?),
            filemarks: be(bytes, 16, 8)?,
            bop: flags & 0x80 != 0,
            eop: flags & 0x40 != 0,
            beyond_programmable_early_warning: flags & 0x01 != 0,
        })
    }
}

/// Where the tape is, as the drive says in the short form: it also tells what is still in the
/// drive's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortPosition {
    /// Partition number.
    pub partition: u8,
    /// The object the next read or write meets.
    pub first: ObjectNumber,
    /// The object the next transfer between buffer and medium meets: less than `first` while
    /// written objects wait in the buffer.
    pub on_medium: ObjectNumber,
    /// Objects in the buffer, where the drive knows.
    pub buffered_objects: Option<u32>,
    /// Bytes in the buffer, where the drive knows.
    pub buffered_bytes: Option<u32>,
    /// BOP.
    pub bop: bool,
    /// EOP.
    pub eop: bool,
    /// BPEW.
    pub beyond_programmable_early_warning: bool,
}

impl ShortPosition {
    /// Reads the short form (20 bytes). `None` where the bytes are too few, the drive does not
    /// know (LOLU), or the position does not fit the form's 32 bits (PERR).
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let flags = u8_at(bytes, 0)?;
        const LOLU: u8 = 0x04;
        const PERR: u8 = 0x02;
        if flags & (LOLU | PERR) != 0 {
            return None;
        }
        let objects_known = flags & 0x20 == 0;
        let bytes_known = flags & 0x10 == 0;
        Some(Self {
            partition: u8_at(bytes, 1)?,
            first: ObjectNumber(be(bytes, 4, 4)?),
            on_medium: ObjectNumber(be(bytes, 8, 4)?),
            buffered_objects: Some(be(bytes, 13, 3)? as u32).filter(|_| objects_known),
            buffered_bytes: Some(u32_at(bytes, 16)?).filter(|_| bytes_known),
            bop: flags & 0x80 != 0,
            eop: flags & 0x40 != 0,
            beyond_programmable_early_warning: flags & 0x01 != 0,
        })
    }
}
