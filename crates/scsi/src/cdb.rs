//! Command descriptor blocks, one function a command.
//!
//! Every function cites the table of the standard its layout comes from. Fields that this
//! project never sets are left zero and not offered.

pub mod smc;
pub mod spc;
pub mod ssc;

use std::fmt;
use std::ops::Deref;

/// Operation codes (SPC-5 annex "Operation codes", SSC-5 table "Commands for sequential-access
/// devices", SMC-3 table "Commands for media changer devices").
pub mod op {
    #![expect(
        missing_docs,
        reason = "each constant is the standard's own command name"
    )]
    pub const TEST_UNIT_READY: u8 = 0x00;
    pub const REWIND: u8 = 0x01;
    pub const REQUEST_SENSE: u8 = 0x03;
    pub const READ_BLOCK_LIMITS: u8 = 0x05;
    pub const INITIALIZE_ELEMENT_STATUS: u8 = 0x07;
    pub const READ_6: u8 = 0x08;
    pub const WRITE_6: u8 = 0x0a;
    pub const WRITE_FILEMARKS_6: u8 = 0x10;
    pub const SPACE_6: u8 = 0x11;
    pub const INQUIRY: u8 = 0x12;
    pub const MODE_SELECT_6: u8 = 0x15;
    pub const ERASE_6: u8 = 0x19;
    pub const VERIFY_6: u8 = 0x13;
    pub const FORMAT_MEDIUM: u8 = 0x04;
    pub const MODE_SENSE_6: u8 = 0x1a;
    pub const LOAD_UNLOAD: u8 = 0x1b;
    pub const PREVENT_ALLOW: u8 = 0x1e;
    pub const LOCATE_10: u8 = 0x2b;
    pub const READ_POSITION: u8 = 0x34;
    pub const INITIALIZE_ELEMENT_STATUS_WITH_RANGE: u8 = 0x37;
    pub const LOG_SENSE: u8 = 0x4d;
    pub const MODE_SELECT_10: u8 = 0x55;
    pub const MODE_SENSE_10: u8 = 0x5a;
    pub const READ_ATTRIBUTE: u8 = 0x8c;
    pub const WRITE_ATTRIBUTE: u8 = 0x8d;
    pub const SPACE_16: u8 = 0x91;
    pub const LOCATE_16: u8 = 0x92;
    pub const MOVE_MEDIUM: u8 = 0xa5;
    pub const READ_ELEMENT_STATUS: u8 = 0xb8;
}

/// A command block of 6, 10, 12 or 16 bytes. Dereferences to its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cdb {
    bytes: [u8; 16],
    len: u8,
}

impl Cdb {
    /// A block of `N` bytes; `N` is 6, 10, 12 or 16.
    pub(crate) const fn new<const N: usize>(block: [u8; N]) -> Self {
        const { assert!(N == 6 || N == 10 || N == 12 || N == 16) }
        let mut bytes = [0; 16];
        let mut i = 0;
        while i < N {
            bytes[i] = block[i];
            i += 1;
        }
        Self {
            bytes,
            len: N as u8,
        }
    }

    /// The command's name as the standards print it, for messages.
    pub fn name(&self) -> &'static str {
        name_of(self.bytes[0])
    }
}

/// The command name of an operation code, as the standards print it.
pub fn name_of(opcode: u8) -> &'static str {
    match opcode {
        op::TEST_UNIT_READY => "TEST UNIT READY",
        op::REWIND => "REWIND",
        op::REQUEST_SENSE => "REQUEST SENSE",
        op::READ_BLOCK_LIMITS => "READ BLOCK LIMITS",
        op::INITIALIZE_ELEMENT_STATUS => "INITIALIZE ELEMENT STATUS",
        op::READ_6 => "READ(6)",
        op::WRITE_6 => "WRITE(6)",
        op::WRITE_FILEMARKS_6 => "WRITE FILEMARKS(6)",
        op::SPACE_6 => "SPACE(6)",
        op::INQUIRY => "INQUIRY",
        op::MODE_SELECT_6 => "MODE SELECT(6)",
        op::ERASE_6 => "ERASE(6)",
        op::VERIFY_6 => "VERIFY(6)",
        op::FORMAT_MEDIUM => "FORMAT MEDIUM",
        op::MODE_SENSE_6 => "MODE SENSE(6)",
        op::LOAD_UNLOAD => "LOAD UNLOAD",
        op::PREVENT_ALLOW => "PREVENT ALLOW MEDIUM REMOVAL",
        op::LOCATE_10 => "LOCATE(10)",
        op::READ_POSITION => "READ POSITION",
        op::INITIALIZE_ELEMENT_STATUS_WITH_RANGE => "INITIALIZE ELEMENT STATUS WITH RANGE",
        op::LOG_SENSE => "LOG SENSE",
        op::MODE_SELECT_10 => "MODE SELECT(10)",
        op::MODE_SENSE_10 => "MODE SENSE(10)",
        op::READ_ATTRIBUTE => "READ ATTRIBUTE",
        op::WRITE_ATTRIBUTE => "WRITE ATTRIBUTE",
        op::SPACE_16 => "SPACE(16)",
        op::LOCATE_16 => "LOCATE(16)",
        op::MOVE_MEDIUM => "MOVE MEDIUM",
        op::READ_ELEMENT_STATUS => "READ ELEMENT STATUS",
        _ => "unknown command",
    }
}

impl Deref for Cdb {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Cdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        self.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
    }
}

/// A 24-bit number, as lengths and counts of the 6-byte commands are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct U24(u32);

impl U24 {
    /// The largest value, 16,777,215.
    pub const MAX: usize = 0xff_ffff;

    /// `value`, or `None` above [`U24::MAX`].
    pub fn new(value: usize) -> Option<Self> {
        (value <= Self::MAX).then_some(Self(value as u32))
    }

    /// Its three bytes, big end first.
    pub(crate) const fn bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }
}
