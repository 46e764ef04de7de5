//! Why a command failed.

use crate::action::{Action, classify};
use crate::drive::PoisonCause;
use crate::sense::Sense;
use crate::transport::{Status, TransportError};

/// A command that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScsiError {
    /// Nobody knows whether the command was executed.
    #[error("{command}: {source}")]
    Transport {
        /// The command.
        command: &'static str,
        /// What the path said.
        source: TransportError,
    },
    /// CHECK CONDITION that is no ordinary outcome of the command.
    #[error("{command} failed: {sense}")]
    Check {
        /// The command.
        command: &'static str,
        /// What the device said.
        sense: Sense,
        /// Bytes of the data phase not moved.
        residual: usize,
    },
    /// CHECK CONDITION whose sense cannot be read.
    #[error("{command} failed, and its sense data cannot be read: {sense:02x?}")]
    UnreadableSense {
        /// The command.
        command: &'static str,
        /// The bytes that came.
        sense: Vec<u8>,
    },
    /// An earlier command, already answered GOOD, has failed since; this one was not executed.
    /// What was written since the last synchronous filemark is unproven.
    #[error("{command} was not executed: an earlier command failed: {sense}")]
    Deferred {
        /// The command that was not executed.
        command: &'static str,
        /// What the device said about the earlier one.
        sense: Sense,
    },
    /// A status other than GOOD and CHECK CONDITION; the command was not executed.
    #[error("{command} was not executed: status {status:?}")]
    Status {
        /// The command.
        command: &'static str,
        /// The status.
        status: Status,
    },
    /// The volume is full: the record did not get to the medium, or not whole.
    #[error("volume is full: {residual} bytes of the record were not written")]
    VolumeOverflow {
        /// Bytes (of a write) or filemarks (of a write filemarks) not written.
        residual: u64,
    },
    /// The drive changed behind our back; call [`crate::Drive::requalify`], then prove where the
    /// tape is, before positioning, reading or writing.
    #[error("drive must be requalified before it moves or writes: {0}")]
    Poisoned(PoisonCause),
    /// A unit attention on a changer: the command was not executed. Take a fresh inventory.
    #[error("{command} was not executed: {sense}")]
    Attention {
        /// The command.
        command: &'static str,
        /// What changed.
        sense: Sense,
    },
    /// A move could not be done.
    #[error("medium was not moved: {problem} ({sense})")]
    Element {
        /// Why.
        problem: ElementProblem,
        /// What the changer said.
        sense: Sense,
    },
    /// The drive does not know where the tape is.
    #[error("drive says that it does not know its position")]
    PositionUnknown,
    /// An answer that cannot be what it should be.
    #[error("{what} cannot be read: expected {expected}, found {found} bytes")]
    Malformed {
        /// What was asked for.
        what: &'static str,
        /// What it should have been.
        expected: &'static str,
        /// Bytes that came.
        found: usize,
    },
    /// More than the command can carry.
    #[error("{what} is {asked}, at most {limit} fits the command")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// What was asked.
        asked: usize,
        /// The limit.
        limit: usize,
    },
}

impl ScsiError {
    /// The sense behind the error, where there is one.
    pub fn sense(&self) -> Option<&Sense> {
        match self {
            Self::Check { sense, .. }
            | Self::Deferred { sense, .. }
            | Self::Attention { sense, .. }
            | Self::Element { sense, .. }
            | Self::Poisoned(PoisonCause::Attention(sense)) => Some(sense),
            _ => None,
        }
    }

    /// True where the device was busy for longer than it was waited for: nothing was done, and
    /// nothing is known to be wrong.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Status { status, .. } if status.is_busy())
    }

    /// What to do about it: [`classify`] of the sense, or the nearest action where the error
    /// carries none.
    pub fn action(&self) -> Action {
        match self {
            Self::VolumeOverflow { .. } => Action::VolumeFull,
            Self::Transport { .. } | Self::Status { .. } => Action::ProveByPosition,
            Self::Poisoned(PoisonCause::Transport(_) | PoisonCause::Deferred(_)) => {
                Action::PoisonSession
            }
            Self::PositionUnknown => Action::Reposition,
            Self::Malformed { .. } | Self::TooLarge { .. } => Action::FailJob,
            Self::UnreadableSense { .. } => Action::Operator,
            _ => self.sense().map_or(Action::Operator, classify),
        }
    }
}

/// Why a changer refused or failed a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ElementProblem {
    /// 5/3B/0E.
    #[error("there is nothing at the source")]
    SourceEmpty,
    /// 5/3B/0D.
    #[error("the destination is full")]
    DestinationFull,
    /// 5/21/01.
    #[error("no such element")]
    NoSuchElement,
    /// 5/53/02.
    #[error("the drive prevents removal")]
    RemovalPrevented,
    /// 4/15/01 and other hardware errors: the medium may be anywhere, take an inventory.
    #[error("the robot failed, the medium may be in its gripper")]
    Jammed,
    /// 4/53/xx, 2/53/00: the drive would not give or take the cartridge.
    #[error("the drive would not load or eject")]
    LoadFailed,
}
