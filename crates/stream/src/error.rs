//! What can go wrong on the data path.

use std::io;

use model::{ArtifactName, Bytes, Code, Refusal, Sha256};
use volume::{Damage, VolumeError};

use crate::seal::SealError;

/// What can go wrong on the data path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A write order that cannot be carried out as it stands.
    #[error("artifact {artifact}: {why}")]
    Order {
        /// The artifact.
        artifact: ArtifactName,
        /// What is wrong.
        why: String,
    },
    /// An artifact cannot be opened or read.
    #[error("artifact {artifact}: {source}")]
    Source {
        /// The artifact.
        artifact: ArtifactName,
        /// What the source said.
        source: io::Error,
    },
    /// An artifact has another size than declared.
    #[error("artifact {artifact}: expected {expected} bytes, found {}{found}", if *.more { "more than " } else { "" })]
    Size {
        /// The artifact.
        artifact: ArtifactName,
        /// What was declared of the range.
        expected: Bytes,
        /// What came, up to the first byte too many.
        found: Bytes,
        /// True where more came than declared.
        more: bool,
    },
    /// An artifact's bytes do not have the declared digest.
    #[error("artifact {artifact}: expected sha256 {expected}, found {found}")]
    Checksum {
        /// The artifact.
        artifact: ArtifactName,
        /// What was declared.
        expected: Sha256,
        /// What came.
        found: Sha256,
    },
    /// The volume.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Bytes on the tape are damaged.
    #[error("artifact {artifact}, member {member}: {damage}")]
    Damaged {
        /// The first artifact that is hit.
        artifact: ArtifactName,
        /// The member.
        member: String,
        /// The damage.
        damage: Damage,
    },
    /// The tape gave back well-formed bytes that are not the artifact's.
    #[error("artifact {artifact}: read back {found}, expected {expected}")]
    Mismatch {
        /// The artifact.
        artifact: ArtifactName,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A segment's digest differs although every member's is right.
    #[error("{0}")]
    Segment(Damage),
    /// A sink did not take an artifact.
    #[error("artifact {artifact}: cannot be delivered: {source}")]
    Sink {
        /// The artifact.
        artifact: ArtifactName,
        /// What the sink said.
        source: io::Error,
    },
    /// Asked for an artifact that the placement does not hold.
    #[error("artifact {0} is not in this placement")]
    NotHere(ArtifactName),
    /// Not begun, because an earlier failure ended the writing.
    #[error("not begun: {0}")]
    NotBegun(String),
}

impl StreamError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Order { .. } => Code::InvalidRequest,
            Self::Source { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Code::ArtifactMissing
            }
            Self::Source { .. } | Self::NotBegun(_) => Code::Transient,
            Self::Size { .. } => Code::SizeMismatch,
            Self::Checksum { .. } => Code::ChecksumMismatch,
            Self::Volume(error) => error.code(),
            Self::Seal(_) | Self::Sink { .. } => Code::Internal,
            Self::Damaged { damage, .. } | Self::Segment(damage) => match damage {
                Damage::Unreadable { .. } => Code::MediaError,
                _ => Code::VerifyMismatch,
            },
            Self::Mismatch { .. } => Code::VerifyMismatch,
            Self::NotHere(_) => Code::NotFound,
        }
    }

    /// The error as a refusal: code and message.
    pub fn refusal(&self) -> Refusal {
        Refusal::new(self.code(), self.to_string())
    }

    /// True where the session must not append to the volume any more.
    pub const fn ends_writing(&self) -> bool {
        match self {
            Self::Volume(error) => error.ends_writing(),
            _ => false,
        }
    }
}
