//! Log pages (SPC-5 clause "Log parameters", SSC-5 clause "Log parameters"): the generic
//! parameter list, and the pages a tape agent keeps a snapshot of.

use crate::wire::{be, clamp, u8_at, u16_at};

/// Page codes.
pub mod page {
    /// TapeAlert response: the flags, reading does not clear them.
    pub const TAPE_ALERT_RESPONSE: u8 = 0x12;
    /// Volume statistics.
    pub const VOLUME_STATISTICS: u8 = 0x17;
    /// TapeAlert: the flags, reading **clears** them.
    pub const TAPE_ALERT: u8 = 0x2e;
    /// Tape capacity.
    pub const TAPE_CAPACITY: u8 = 0x31;
}

/// One log parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Parameter code.
    pub code: u16,
    /// Its value.
    pub value: Vec<u8>,
}

impl Parameter {
    /// The value as a big-endian number, where it is 1 to 8 bytes long.
    pub fn number(&self) -> Option<u64> {
        (1..=8)
            .contains(&self.value.len())
            .then(|| be(&self.value, 0, self.value.len()))?
    }
}

/// The parameters of log page `wanted`; `None` where the answer is another page or has no
/// header. A parameter cut short ends the list.
pub fn parse(bytes: &[u8], wanted: u8) -> Option<Vec<Parameter>> {
    if u8_at(bytes, 0)? & 0x3f != wanted {
        return None;
    }
    let announced = usize::from(u16_at(bytes, 2)?);
    let mut rest = clamp(bytes, 4, announced);
    let mut found = Vec::new();
    while let (Some(code), Some(length)) = (u16_at(rest, 0), u8_at(rest, 3)) {
        let end = 4 + usize::from(length);
        let Some(value) = rest.get(4..end) else { break };
        found.push(Parameter {
            code,
            value: value.to_vec(),
        });
        rest = rest.get(end..).unwrap_or(&[]);
    }
    Some(found)
}

/// Writes a log page of these parameters, binary list format.
pub fn encode(page: u8, parameters: &[Parameter]) -> Vec<u8> {
    let mut out = vec![page & 0x3f, 0, 0, 0];
    for parameter in parameters {
        let value = parameter.value.get(..255).unwrap_or(&parameter.value);
        out.extend_from_slice(&parameter.code.to_be_bytes());
        out.extend_from_slice(&[0x03, value.len() as u8]);
        out.extend_from_slice(value);
    }
    let length = (out.len() - 4) as u16;
    out[2..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// TapeAlert flags 1 to 64 (SSC-5 annex "TapeAlert").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TapeAlerts(pub u64);

impl TapeAlerts {
    /// Flags named critical for the medium or the drive: 03 to 06, 09, 0E, 0F, 10, 16, 17, 1E,
    /// 1F, 21, 26, 29, 2D, 33 to 3A (hexadecimal).
    pub const CRITICAL: [u8; 24] = [
        0x03, 0x04, 0x05, 0x06, 0x09, 0x0e, 0x0f, 0x10, 0x16, 0x17, 0x1e, 0x1f, 0x21, 0x26, 0x29,
        0x2d, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a,
    ];

    /// Flag `number` (1 to 64) is set.
    pub fn is_set(self, number: u8) -> bool {
        (1..=64).contains(&number) && self.0 >> (number - 1) & 1 == 1
    }

    /// The set flags, ascending.
    pub fn flags(self) -> impl Iterator<Item = u8> {
        (1..=64).filter(move |number| self.is_set(*number))
    }

    /// Some critical flag is set.
    pub fn critical(self) -> bool {
        Self::CRITICAL.iter().any(|number| self.is_set(*number))
    }

    /// The drive asks for cleaning, now (14h) or periodically (15h).
    pub fn cleaning(self) -> bool {
        self.is_set(0x14) || self.is_set(0x15)
    }

    /// From page 12h: one parameter 0000h of 8 bytes, flag 1 in the highest bit.
    pub fn from_response_page(bytes: &[u8]) -> Option<Self> {
        let parameters = parse(bytes, page::TAPE_ALERT_RESPONSE)?;
        let all = parameters.iter().find(|p| p.code == 0)?.number()?;
        Some(Self(all.reverse_bits()))
    }

    /// From page 2Eh: parameters 0001h to 0040h of one byte each.
    pub fn from_alert_page(bytes: &[u8]) -> Option<Self> {
        let set = parse(bytes, page::TAPE_ALERT)?
            .into_iter()
            .filter(|p| (1..=64).contains(&p.code) && p.value.first().is_some_and(|v| v & 1 == 1));
        Some(Self(set.fold(0, |all, p| all | 1 << (p.code - 1))))
    }
}

/// Volume statistics (SSC-5 log page 17h). A counter the drive does not report is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VolumeStatistics {
    /// 0001h: loads in the volume's life.
    pub mounts: Option<u64>,
    /// 0002h: data sets written in the volume's life.
    pub data_sets_written: Option<u64>,
    /// 0003h: write retries.
    pub write_retries: Option<u64>,
    /// 0004h: write errors not recovered.
    pub unrecovered_write_errors: Option<u64>,
    /// 0007h: data sets read in the volume's life.
    pub data_sets_read: Option<u64>,
    /// 0008h: read retries.
    pub read_retries: Option<u64>,
    /// 0009h: read errors not recovered.
    pub unrecovered_read_errors: Option<u64>,
    /// 0010h: megabytes written in the volume's life.
    pub megabytes_written: Option<u64>,
    /// 0011h: megabytes read in the volume's life.
    pub megabytes_read: Option<u64>,
    /// 0016h: native capacity, megabytes.
    pub total_native_capacity_mb: Option<u64>,
    /// 0017h: native capacity used, megabytes.
    pub used_native_capacity_mb: Option<u64>,
    /// 0080h: the volume is write protected.
    pub write_protected: Option<bool>,
    /// 0081h: the volume is WORM.
    pub worm: Option<bool>,
}

impl VolumeStatistics {
    /// Reads page 17h.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let parameters = parse(bytes, page::VOLUME_STATISTICS)?;
        let number = |code| {
            parameters
                .iter()
                .find(|p| p.code == code)
                .and_then(Parameter::number)
        };
        Some(Self {
            mounts: number(0x0001),
            data_sets_written: number(0x0002),
            write_retries: number(0x0003),
            unrecovered_write_errors: number(0x0004),
            data_sets_read: number(0x0007),
            read_retries: number(0x0008),
            unrecovered_read_errors: number(0x0009),
            megabytes_written: number(0x0010),
            megabytes_read: number(0x0011),
            total_native_capacity_mb: number(0x0016),
            used_native_capacity_mb: number(0x0017),
            write_protected: number(0x0080).map(|v| v != 0),
            worm: number(0x0081).map(|v| v != 0),
        })
    }
}

/// Tape capacity (SSC-5 log page 31h as LTO drives report it), in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapeCapacity {
    /// 0001h: left in partition 0.
    pub remaining_mib: u64,
    /// 0003h: all of partition 0.
    pub maximum_mib: u64,
}

impl TapeCapacity {
    /// Reads page 31h.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let parameters = parse(bytes, page::TAPE_CAPACITY)?;
        let number = |code| parameters.iter().find(|p| p.code == code)?.number();
        Some(Self {
            remaining_mib: number(0x0001)?,
            maximum_mib: number(0x0003)?,
        })
    }
}
