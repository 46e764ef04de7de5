//! The host of WASM conflict resolvers.
//!
//! It looks at a component ([`inspect()`]), compiles it ahead of time (`compile`, with the
//! feature `compiler`), keeps it with a signed record ([`Store`]), and calls it under
//! limits ([`Host`]), saying in a [`Call`](model::Call) how that ended.
//!
//! It gives a resolver no capability at all: no clock, no files, no randomness, no host
//! function. A call never fails because of a plugin, and never changes anything but the
//! `Call` it returns. It loads no compiled code that it cannot trace to a record of its
//! own. `docs/resolvers.md` gives every limit with its reason.
//!
//! ```
//! use model::Code;
//! use resolver::{Allocation, Host, inspect};
//!
//! // A host costs 50 us; one serves any number of components and calls at once.
//! let host = Host::new(Allocation::OnDemand).unwrap();
//! assert_eq!(host.engine_id(), resolver::engine_id());
//!
//! // Whatever is no component is refused with what to do.
//! let refusal = inspect(b"\0asm\x01\0\0\0").unwrap_err();
//! assert_eq!(refusal.code, Code::ResolverInvalid);
//! assert!(refusal.message.contains("wasm-component-ld"));
//! ```

mod calls;
#[cfg(feature = "compiler")]
mod compile;
mod engine;
mod host;
mod inspect;
mod loader;
mod meter;
mod nesting;
mod outcome;
mod output;
mod places;
mod prepared;
mod record;
mod store;
mod v1;
mod version;
mod watchdog;

use std::path::PathBuf;

use model::{Code, Refusal, Sha256};

pub use calls::Calls;
#[cfg(feature = "compiler")]
pub use compile::compile;
pub use engine::{Allocation, Arch, engine_id};
pub use host::{Host, Loaded};
pub use inspect::{Inspection, inspect};
pub use prepared::Prepared;
pub use record::{MAX_RECORD_BYTES, Record};
pub use store::{Compiled, Store};

/// Why the host itself cannot do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The engine cannot be made on this machine.
    #[error("engine: {0}")]
    Engine(String),
    /// What was to be loaded is not what was published.
    #[error("{path}: expected SHA-256 {expected}, found {found}", path = .path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// As in the release record.
        expected: Sha256,
        /// As on disk.
        found: Sha256,
    },
    /// The release record does not say what was signed, or somebody else signed it.
    #[error("{path}: expected a release record signed by this installation, found {found}", path = .path.display())]
    Signature {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// No such component was ever published here.
    #[error("{0}: expected a release record, found none")]
    Unpublished(Sha256),
    /// Compiled for another engine or other settings: it needs to be compiled anew.
    #[error("needs recompiling: {0}")]
    Recompile(String),
    /// A file could not be used.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What came of it.
        source: std::io::Error,
    },
    /// The component breaks the contract.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl HostError {
    /// The same as an answer to whoever asked: `ResolverInvalid` with its own words for
    /// what breaks the contract, `NotFound` for what was never published, `Transient` for
    /// files that cannot be used just now, and `Internal` for everything that somebody has
    /// to look at.
    pub fn refusal(self) -> Refusal {
        let code = match self {
            Self::Refused(refusal) => return refusal,
            Self::Unpublished(_) => Code::NotFound,
            Self::Io { .. } => Code::Transient,
            Self::Engine(_) | Self::Digest { .. } | Self::Signature { .. } | Self::Recompile(_) => {
                Code::Internal
            }
        };
        Refusal::new(code, self.to_string())
    }
}
