//! The host of WASM conflict resolvers.
//!
//! It loads a component, calls it under limits, and says in a [`Call`] how that ended. It
//! gives a resolver no capability at all: no clock, no files, no randomness, no host
//! function. A call never fails because of a plugin, and never changes anything but the
//! [`Call`] it returns.

use std::path::{Path, PathBuf};

use model::{
    Bytes, Call, CallOutcome, ConflictSet, EngineId, Limits, Refusal, ResolverInfo, Sha256,
};

/// How instances get their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Mapped for each decision: cheap to start, for one decision at a time.
    OnDemand,
    /// From a pool made beforehand: cheap a decision, for bulk replay.
    Pooling {
        /// How many instances at once.
        instances: u32,
    },
}

/// What compiled code runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// `x86_64-unknown-linux-gnu`.
    X86_64,
    /// `aarch64-unknown-linux-gnu`.
    Aarch64,
}

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

/// An engine with its settings, its watchdog and its linker. Cheap to clone.
#[derive(Clone)]
pub struct Host;

/// A component, ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Loaded;

impl Host {
    /// A host.
    ///
    /// # Errors
    /// [`HostError::Engine`].
    pub fn new(allocation: Allocation) -> Result<Self, HostError> {
        let _ = allocation;
        todo!()
    }

    /// What runs components here.
    pub fn engine_id(&self) -> EngineId {
        todo!()
    }

    /// Maps compiled code whose digest is `expected`.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn load(&self, compiled: &Path, expected: Sha256) -> Result<Loaded, HostError> {
        let _ = (compiled, expected);
        todo!()
    }

    /// What the component says of itself.
    ///
    /// # Errors
    /// How the call ended.
    pub fn describe(&self, loaded: &Loaded, limits: &Limits) -> Result<ResolverInfo, CallOutcome> {
        let _ = (loaded, limits);
        todo!()
    }

    /// Has the component decide, in a fresh instance, and checks what it decided.
    pub fn call(&self, loaded: &Loaded, set: &ConflictSet, limits: &Limits) -> Call {
        let _ = (loaded, set, limits);
        todo!()
    }
}

/// What a component is, without running it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Inspection {
    /// SHA-256 of the component: its identity.
    pub component: Sha256,
    /// Its size.
    pub bytes: Bytes,
    /// The interface it exports that this host serves, as in
    /// `tapemark:resolver/policy@1.0.0`.
    pub interface: Option<String>,
    /// Everything it imports.
    pub imports: Vec<String>,
    /// Everything it exports.
    pub exports: Vec<String>,
    /// What breaks the contract, each with what to do. Empty: it may be published.
    pub findings: Vec<Refusal>,
}

/// Looks at a component without compiling or running it.
///
/// # Errors
/// `ResolverInvalid` where it is no component at all.
pub fn inspect(component: &[u8]) -> Result<Inspection, Refusal> {
    let _ = component;
    todo!()
}
