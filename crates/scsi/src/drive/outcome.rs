//! What drive commands return.

use crate::position::Position;
use crate::sense::{Code, Sense};
use crate::transport::TransportError;
use crate::wire::{be, u8_at, u16_at};
use std::fmt;

/// How WRITE FILEMARKS ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilemarkMode {
    /// IMMED = 1: the marks go to the buffer, nothing is flushed.
    Immediate,
    /// IMMED = 0: returns when everything written so far is on the medium.
    Synchronous,
}

/// A write that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// The end is near (0/00/02): write the trailer, then take the next volume. An ordinary
    /// outcome: the data was accepted.
    pub early_warning: bool,
    /// The end is nearer than the configured distance before early warning (0/00/07); reported
    /// once on entering that zone.
    pub programmable_early_warning: bool,
    /// The drive recovered an error on the way.
    pub recovered: Option<Code>,
    /// The drive wants to be cleaned.
    pub cleaning_requested: bool,
}

/// What a read met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOutcome {
    /// A record of `len` bytes, whole, at the front of the buffer.
    Record {
        /// Its length in bytes.
        len: usize,
    },
    /// A record longer than the buffer: the buffer is full of its beginning, the rest is passed
    /// over.
    Overlength {
        /// The record's true length in bytes.
        record: u64,
    },
    /// A filemark; the tape now stands behind it.
    Filemark,
    /// End of data; the tape stands at it.
    EndOfData,
}

/// How far spacing got. `missing` counts what was asked and not spaced over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spaced {
    /// All the way.
    All,
    /// A filemark stopped the spacing over records.
    Filemark {
        /// Records not spaced over.
        missing: u64,
    },
    /// End of data.
    EndOfData {
        /// Records or filemarks not spaced over.
        missing: u64,
    },
    /// Beginning of partition.
    BeginningOfPartition {
        /// Records or filemarks not spaced over.
        missing: u64,
    },
}

/// What TEST UNIT READY says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// A medium is loaded and can be used.
    Ready,
    /// Loading or initialising; ask again (an LTO-9 cartridge may initialise for two hours).
    BecomingReady(Sense),
    /// No cartridge.
    NoMedium,
    /// Not ready for a reason that waiting does not cure.
    NotReady(Sense),
    /// Something changed; the drive is poisoned. Ask again for the state behind it.
    Attention(Sense),
}

/// What [`crate::Drive::requalify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requalified {
    /// All attentions since the last requalification, oldest first.
    pub attentions: Vec<Sense>,
    /// The drive's state; never [`Readiness::Attention`].
    pub readiness: Readiness,
    /// Where the tape is, where one is ready.
    pub position: Option<Position>,
}

/// Why a drive is poisoned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoisonCause {
    /// A unit attention: something changed.
    Attention(Sense),
    /// A command got no answer.
    Transport(TransportError),
    /// Data already answered GOOD did not get to the medium.
    Deferred(Sense),
}

impl fmt::Display for PoisonCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attention(sense) => write!(f, "unit attention {sense}"),
            Self::Transport(error) => error.fmt(f),
            Self::Deferred(sense) => write!(f, "deferred error {sense}"),
        }
    }
}

/// READ BLOCK LIMITS data (SSC-5 table of that name).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLimits {
    /// Longest record, bytes; 0 is no limit.
    pub max: u32,
    /// Shortest record, bytes.
    pub min: u16,
    /// Record lengths are multiples of 2 to this power.
    pub granularity: u8,
}

impl BlockLimits {
    /// Reads the 6 bytes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            granularity: u8_at(bytes, 0)? & 0x1f,
            max: be(bytes, 1, 3)? as u32,
            min: u16_at(bytes, 4)?,
        })
    }
}
