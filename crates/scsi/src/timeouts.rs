//! How long to wait for each command.
//!
//! A drive that recovers an error may work for many minutes; whoever aborts it in the middle
//! loses the position. So there is no flat timeout: the figures are the drive maker's, by
//! generation (LTFS reference implementation, `ibm_tape.c`, command timeout tables).

use crate::cdb::op;
use std::time::Duration;

/// LTO generation of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Generation {
    /// LTO-7 (Ultrium 7). No table at hand: waits as LTO-8.
    Lto7,
    /// LTO-8.
    Lto8,
    /// LTO-9.
    Lto9,
    /// LTO-10.
    Lto10,
}

impl Generation {
    /// From the product identification of INQUIRY: `ULT3580-TD9`, `ULTRIUM-HH9`, `Ultrium 9-SCSI`.
    pub fn from_product(product: &str) -> Option<Self> {
        let upper = product.to_ascii_uppercase();
        let digits = ["TD", "HH", "ULTRIUM "]
            .iter()
            .find_map(|mark| upper.find(mark).map(|at| &upper[at + mark.len()..]))?;
        let end = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        match digits[..end].parse().ok()? {
            7u8 => Some(Self::Lto7),
            8 => Some(Self::Lto8),
            9 => Some(Self::Lto9),
            10 => Some(Self::Lto10),
            _ => None,
        }
    }
}

/// Build of a drive: the mechanisms differ in speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FormFactor {
    /// Full height.
    FullHeight,
    /// Half height.
    HalfHeight,
}

/// The timeout table of one drive or changer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    erase_long: u64,
    format: u64,
    load: u64,
    locate: u64,
    read: u64,
    rewind: u64,
    write: u64,
    write_filemarks: u64,
    verify: u64,
}

const LTO8: Timeouts = Timeouts {
    erase_long: 54_896,
    format: 3000,
    load: 960,
    locate: 2880,
    read: 2280,
    rewind: 600,
    write: 1500,
    write_filemarks: 1620,
    verify: 47_700,
};
const LTO9: Timeouts = Timeouts {
    erase_long: 74_341,
    locate: 2940,
    read: 2340,
    verify: 63_300,
    ..LTO8
};
const LTO9_HALF: Timeouts = Timeouts {
    erase_long: 166_370,
    format: 3240,
    write: 1560,
    write_filemarks: 1680,
    ..LTO9
};
const LTO10: Timeouts = Timeouts {
    erase_long: 16_320,
    format: 3180,
    load: 780,
    verify: 104_880,
    ..LTO9
};

impl Timeouts {
    /// The table of a drive. Only LTO-9 has figures of its own for half height.
    pub fn of_drive(generation: Generation, form: FormFactor) -> Self {
        match (generation, form) {
            (Generation::Lto7 | Generation::Lto8, _) => LTO8,
            (Generation::Lto9, FormFactor::FullHeight) => LTO9,
            (Generation::Lto9, FormFactor::HalfHeight) => LTO9_HALF,
            (Generation::Lto10, _) => LTO10,
        }
    }

    /// For a drive not yet identified: the longest figure of every table.
    pub fn longest() -> Self {
        let tables = [LTO8, LTO9, LTO9_HALF, LTO10];
        let longest = |field: fn(&Self) -> u64| tables.iter().map(field).max().unwrap_or(60);
        Self {
            erase_long: longest(|t| t.erase_long),
            format: longest(|t| t.format),
            load: longest(|t| t.load),
            locate: longest(|t| t.locate),
            read: longest(|t| t.read),
            rewind: longest(|t| t.rewind),
            write: longest(|t| t.write),
            write_filemarks: longest(|t| t.write_filemarks),
            verify: longest(|t| t.verify),
        }
    }

    /// How long to wait for this command block.
    ///
    /// Changer commands: INITIALIZE ELEMENT STATUS may scan a whole library (30 minutes); MOVE
    /// MEDIUM gets 10 minutes, as a library may first make the drive unload (LTO-9 half height:
    /// up to 186 s rewind and 56 s unload). Everything else: 60 s.
    pub fn of(&self, cdb: &[u8]) -> Duration {
        let byte = |at: usize| cdb.get(at).copied().unwrap_or(0);
        Duration::from_secs(match byte(0) {
            op::ERASE_6 if byte(1) & 0x01 != 0 => self.erase_long,
            op::FORMAT_MEDIUM => self.format,
            op::LOAD_UNLOAD => self.load,
            op::LOCATE_10 | op::LOCATE_16 | op::SPACE_6 | op::SPACE_16 => self.locate,
            op::READ_6 => self.read,
            op::REWIND => self.rewind,
            op::WRITE_6 => self.write,
            op::WRITE_FILEMARKS_6 => self.write_filemarks,
            op::VERIFY_6 => self.verify,
            op::INITIALIZE_ELEMENT_STATUS | op::INITIALIZE_ELEMENT_STATUS_WITH_RANGE => 1800,
            op::MOVE_MEDIUM => 600,
            _ => 60,
        })
    }
}
