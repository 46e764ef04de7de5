//! Sense data (SPC-5 clause "Sense data"): fixed format 70h/71h and descriptor format 72h/73h.

mod names;

use crate::wire::{be, u8_at};
use std::fmt;

/// Sense key (SPC-5 table "Sense key descriptions").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SenseKey {
    /// 0h: nothing wrong, or a filemark, early warning, or wrong length.
    NoSense = 0x0,
    /// 1h: done, after the device recovered an error.
    RecoveredError = 0x1,
    /// 2h: not ready.
    NotReady = 0x2,
    /// 3h: the medium is at fault.
    MediumError = 0x3,
    /// 4h: the device is at fault.
    HardwareError = 0x4,
    /// 5h: the command is at fault.
    IllegalRequest = 0x5,
    /// 6h: something changed behind the caller's back; the command was not done.
    UnitAttention = 0x6,
    /// 7h: write protected or otherwise forbidden.
    DataProtect = 0x7,
    /// 8h: end of data, or blank medium.
    BlankCheck = 0x8,
    /// 9h: vendor specific.
    VendorSpecific = 0x9,
    /// Ah: copy aborted.
    CopyAborted = 0xa,
    /// Bh: aborted; perhaps worth another try.
    AbortedCommand = 0xb,
    /// Ch: reserved.
    Reserved = 0xc,
    /// Dh: the volume is full and data did not get there.
    VolumeOverflow = 0xd,
    /// Eh: compare failed.
    Miscompare = 0xe,
    /// Fh: completed.
    Completed = 0xf,
}

impl SenseKey {
    /// From the low four bits of `byte`.
    pub fn from_byte(byte: u8) -> Self {
        match byte & 0x0f {
            0x0 => Self::NoSense,
            0x1 => Self::RecoveredError,
            0x2 => Self::NotReady,
            0x3 => Self::MediumError,
            0x4 => Self::HardwareError,
            0x5 => Self::IllegalRequest,
            0x6 => Self::UnitAttention,
            0x7 => Self::DataProtect,
            0x8 => Self::BlankCheck,
            0x9 => Self::VendorSpecific,
            0xa => Self::CopyAborted,
            0xb => Self::AbortedCommand,
            0xc => Self::Reserved,
            0xd => Self::VolumeOverflow,
            0xe => Self::Miscompare,
            _ => Self::Completed,
        }
    }
}

/// Additional sense code and qualifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code {
    /// ASC.
    pub asc: u8,
    /// ASCQ.
    pub ascq: u8,
}

impl Code {
    /// ASC and ASCQ.
    pub const fn new(asc: u8, ascq: u8) -> Self {
        Self { asc, ascq }
    }

    /// What SPC-5 annex "Additional sense codes" (or, for vendor codes, the maker) calls it;
    /// `None` for codes this crate does not know.
    pub fn name(self) -> Option<&'static str> {
        names::name(self)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}/{:02X}", self.asc, self.ascq)
    }
}

/// Sense data, from either format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sense {
    /// Sense key.
    pub key: SenseKey,
    /// Additional sense code and qualifier.
    pub code: Code,
    /// The error belongs to an earlier command whose status was already GOOD; the command that
    /// brought this sense was **not** executed (response codes 71h and 73h).
    pub deferred: bool,
    /// FM: a filemark was met.
    pub filemark: bool,
    /// EOM: at or past early warning, or at beginning of partition on reverse motion.
    pub eom: bool,
    /// ILI: the record's length is not what was asked.
    pub ili: bool,
    /// INFORMATION where VALID, sign-extended. Tape: asked minus done, so negative for a record
    /// longer than asked.
    pub information: Option<i64>,
    /// COMMAND-SPECIFIC INFORMATION, zero where absent.
    pub command_specific: u64,
    /// SENSE KEY SPECIFIC bytes where SKSV is set.
    pub key_specific: Option<[u8; 3]>,
    /// FIELD REPLACEABLE UNIT CODE, zero where absent.
    pub fru: u8,
}

impl Sense {
    /// A current error with this key and code, no flags, no information.
    pub const fn new(key: SenseKey, asc: u8, ascq: u8) -> Self {
        Self {
            key,
            code: Code::new(asc, ascq),
            deferred: false,
            filemark: false,
            eom: false,
            ili: false,
            information: None,
            command_specific: 0,
            key_specific: None,
            fru: 0,
        }
    }

    /// Reads sense bytes of either format; `None` where they are too short or the response code
    /// is none of 70h–73h. Bytes beyond the announced length are not looked at.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match u8_at(bytes, 0)? & 0x7f {
            code @ (0x70 | 0x71) => parse_fixed(bytes, code == 0x71),
            code @ (0x72 | 0x73) => parse_descriptor(bytes, code == 0x73),
            _ => None,
        }
    }

    /// The 18 bytes of the fixed format (SPC-5 table "Fixed format sense data"). INFORMATION
    /// keeps its low 32 bits.
    pub fn to_fixed(&self) -> [u8; 18] {
        let mut b = [0u8; 18];
        b[0] = 0x70 | u8::from(self.deferred);
        b[2] = self.key as u8
            | (u8::from(self.filemark) << 7)
            | (u8::from(self.eom) << 6)
            | (u8::from(self.ili) << 5);
        if let Some(information) = self.information {
            b[0] |= 0x80;
            b[3..7].copy_from_slice(&(information as u32).to_be_bytes());
        }
        b[7] = 10;
        b[8..12].copy_from_slice(&(self.command_specific as u32).to_be_bytes());
        b[12] = self.code.asc;
        b[13] = self.code.ascq;
        b[14] = self.fru;
        if let Some(specific) = self.key_specific {
            b[15..18].copy_from_slice(&specific);
        }
        b
    }

    /// The descriptor format (SPC-5 table "Descriptor format sense data") with an information
    /// descriptor where there is information and a stream commands descriptor (SSC-5) where a
    /// stream flag is set.
    pub fn to_descriptor(&self) -> Vec<u8> {
        let mut b = vec![
            0x72 | u8::from(self.deferred),
            self.key as u8,
            self.code.asc,
            self.code.ascq,
            0,
            0,
            0,
            0,
        ];
        if let Some(information) = self.information {
            b.extend_from_slice(&[0x00, 0x0a, 0x80, 0]);
            b.extend_from_slice(&information.to_be_bytes());
        }
        if self.command_specific != 0 {
            b.extend_from_slice(&[0x01, 0x0a, 0, 0]);
            b.extend_from_slice(&self.command_specific.to_be_bytes());
        }
        if let Some([a, c, d]) = self.key_specific {
            b.extend_from_slice(&[0x02, 0x06, 0, 0, a, c, d, 0]);
        }
        if self.fru != 0 {
            b.extend_from_slice(&[0x03, 0x02, 0, self.fru]);
        }
        if self.filemark || self.eom || self.ili {
            let flags =
                u8::from(self.filemark) << 7 | u8::from(self.eom) << 6 | u8::from(self.ili) << 5;
            b.extend_from_slice(&[0x04, 0x02, 0, flags]);
        }
        b[7] = (b.len() - 8) as u8;
        b
    }
}

fn parse_fixed(bytes: &[u8], deferred: bool) -> Option<Sense> {
    let flags = u8_at(bytes, 2)?;
    // The announced length counts from byte 8; a device that announces nothing has no code.
    let end = bytes
        .len()
        .min(8 + usize::from(u8_at(bytes, 7).unwrap_or(0)));
    let within = bytes.get(..end).unwrap_or(bytes);
    let valid = u8_at(bytes, 0)? & 0x80 != 0;
    let information = be(bytes, 3, 4)
        .filter(|_| valid)
        .map(|raw| i64::from(raw as u32 as i32));
    let specific = within
        .get(15..18)
        .map(|s| [s[0], s[1], s[2]])
        .filter(|s| s[0] & 0x80 != 0);
    Some(Sense {
        key: SenseKey::from_byte(flags),
        code: Code::new(
            u8_at(within, 12).unwrap_or(0),
            u8_at(within, 13).unwrap_or(0),
        ),
        deferred,
        filemark: flags & 0x80 != 0,
        eom: flags & 0x40 != 0,
        ili: flags & 0x20 != 0,
        information,
        command_specific: be(within, 8, 4).unwrap_or(0),
        key_specific: specific,
        fru: u8_at(within, 14).unwrap_or(0),
    })
}

fn parse_descriptor(bytes: &[u8], deferred: bool) -> Option<Sense> {
    let mut sense = Sense::new(
        SenseKey::from_byte(u8_at(bytes, 1)?),
        u8_at(bytes, 2)?,
        u8_at(bytes, 3)?,
    );
    sense.deferred = deferred;
    let announced = usize::from(u8_at(bytes, 7).unwrap_or(0));
    let mut rest = crate::wire::clamp(bytes, 8, announced);
    while let (Some(kind), Some(length)) = (u8_at(rest, 0), u8_at(rest, 1)) {
        let next = 2 + usize::from(length);
        let descriptor = rest.get(..next).unwrap_or(rest);
        match kind {
            0x00 if u8_at(descriptor, 2).is_some_and(|flags| flags & 0x80 != 0) => {
                sense.information = be(descriptor, 4, 8).map(|raw| raw as i64);
            }
            0x01 => sense.command_specific = be(descriptor, 4, 8).unwrap_or(0),
            0x02 => {
                let specific = descriptor.get(4..7).map(|s| [s[0], s[1], s[2]]);
                sense.key_specific = specific.filter(|s| s[0] & 0x80 != 0);
            }
            0x03 => sense.fru = u8_at(descriptor, 3).unwrap_or(0),
            0x04 => {
                let flags = u8_at(descriptor, 3).unwrap_or(0);
                sense.filemark = flags & 0x80 != 0;
                sense.eom = flags & 0x40 != 0;
                sense.ili = flags & 0x20 != 0;
            }
            _ => {}
        }
        rest = rest.get(next..).unwrap_or(&[]);
    }
    Some(sense)
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:?}", self.key as u8, self.code)?;
        write!(f, " ({})", self.code.name().unwrap_or("no name known"))?;
        for (set, name) in [
            (self.deferred, "deferred"),
            (self.filemark, "filemark"),
            (self.eom, "end of medium"),
            (self.ili, "wrong length"),
        ] {
            if set {
                write!(f, ", {name}")?;
            }
        }
        match self.information {
            Some(information) => write!(f, ", information {information}"),
            None => Ok(()),
        }
    }
}
