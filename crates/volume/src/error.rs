//! What can be wrong with a volume, and the stable code of each.

use model::{Barcode, Bytes, Code, Fence, RecordNo, Refusal, Sha256, VolumeUuid};

use crate::device::{DeviceError, DeviceErrorKind};

/// What can be wrong with a volume or with what is asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Nothing at all is on the tape.
    #[error("expected volume {expected}, found a blank tape")]
    Blank {
        /// The barcode asked for.
        expected: Barcode,
    },
    /// The tape was written by other software.
    #[error("expected volume {expected}, found foreign data: {found}")]
    Foreign {
        /// The barcode asked for.
        expected: Barcode,
        /// What stands at its beginning.
        found: String,
    },
    /// The label names another cartridge.
    #[error("expected volume {expected}, found a label of volume {found}")]
    WrongVolume {
        /// The barcode asked for.
        expected: Barcode,
        /// What the label says.
        found: String,
    },
    /// The label has the right barcode and another identity.
    #[error("volume {barcode}: expected label {expected}, found label {found}")]
    LabelMismatch {
        /// The barcode.
        barcode: Barcode,
        /// What the catalogue says.
        expected: VolumeUuid,
        /// What the label says.
        found: VolumeUuid,
    },
    /// End of data, or the last manifest before it, is not what the catalogue says; or the
    /// drive does not stand where it must after what was written.
    #[error("{what}: expected {expected}, found {found}")]
    Position {
        /// What was compared.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The volume was written under a higher fence than this session's.
    #[error("expected no fence above {ours}, found fence {found} on the volume")]
    Fenced {
        /// The fence of this session.
        ours: Fence,
        /// The fence on the volume.
        found: Fence,
    },
    /// What stands on the tape is not in the format, or is damaged.
    #[error("record {at}: expected {expected}, found {found}")]
    Format {
        /// Near which object.
        at: RecordNo,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The manifest on the tape is not the one the placement names.
    #[error("manifest at record {at}: expected digest {expected}, found {found}")]
    ManifestMismatch {
        /// Its segment's first record.
        at: RecordNo,
        /// What the catalogue says.
        expected: Sha256,
        /// What is there.
        found: Sha256,
    },
    /// An earlier failure left the end of the volume unknown: nothing may be written any more.
    #[error("nothing may be appended after: {cause}")]
    Unusable {
        /// The code of the earlier failure.
        code: Code,
        /// The earlier failure.
        cause: String,
    },
    /// What is to be written breaks a limit of the format.
    #[error("{what}: expected at most {limit} bytes, found {found}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: Bytes,
        /// The size asked for.
        found: Bytes,
    },
    /// No identity opens a sealed part.
    #[error("no identity opens the sealed part: {0}")]
    KeyMissing(String),
    /// A sealed part cannot be opened although the key fits, or a text has not its form.
    #[error("{0}")]
    Damaged(String),
}

impl VolumeError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Device(error) => match error.kind {
                DeviceErrorKind::Medium => Code::MediaError,
                DeviceErrorKind::Overflow => Code::VolumeFull,
                DeviceErrorKind::Poisoned | DeviceErrorKind::Drive => Code::DriveFault,
            },
            Self::Blank { .. } => Code::BlankVolume,
            Self::Foreign { .. } => Code::ForeignVolume,
            Self::WrongVolume { .. } => Code::WrongVolume,
            Self::LabelMismatch { .. } => Code::LabelMismatch,
            Self::Position { .. } => Code::PositionMismatch,
            Self::Fenced { .. } => Code::FenceLost,
            Self::Format { .. } | Self::ManifestMismatch { .. } | Self::Damaged(_) => {
                Code::FormatInvalid
            }
            Self::Unusable { code, .. } => *code,
            Self::Limit { .. } => Code::InvalidRequest,
            Self::KeyMissing(_) => Code::KeyMissing,
        }
    }

    /// The error as a refusal: code and message.
    pub fn refusal(&self) -> Refusal {
        Refusal::new(self.code(), self.to_string())
    }

    /// True where the volume's end is known no more (or the volume is full) and this session
    /// must not append to it.
    pub const fn ends_writing(&self) -> bool {
        matches!(
            self,
            Self::Device(_) | Self::Unusable { .. } | Self::Position { .. } | Self::Fenced { .. }
        )
    }
}
