//! Why the library could not be made, opened or handled by its operator.

use std::path::PathBuf;

/// What the operator's side of the library (not its SCSI side) can fail with.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A file could not be read or written.
    #[error("{what} {path:?}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The directory is in use by another process (or another library in this one).
    #[error("library {0:?} is in use")]
    InUse(PathBuf),
    /// A file is not what it should be.
    #[error("{path:?} is not {expected}: {found}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// The configuration cannot be built.
    #[error("configuration: {0}")]
    Config(String),
    /// No cartridge of this barcode, or not where it must be for this operation.
    #[error("no cartridge {barcode} {place}")]
    NoCartridge {
        /// The barcode.
        barcode: String,
        /// Where it was looked for.
        place: &'static str,
    },
    /// The place is not free, not there, or not for an operator's hand.
    #[error("element {address}: {problem}")]
    Place {
        /// Address of the element.
        address: u16,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No such record on the medium.
    #[error("no record {record} on {barcode}: the medium holds {objects} objects")]
    NoRecord {
        /// The barcode.
        barcode: String,
        /// The object number asked for.
        record: u64,
        /// Objects on the medium.
        objects: u64,
    },
}

impl SimError {
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
