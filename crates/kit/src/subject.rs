//! What is tried and replayed: a component in its host, or the native policy.

#[cfg(feature = "compiler")]
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use model::{Call, CallOutcome, ConflictSet, Decision, EngineId, Limits, ResolverInfo, Sha256};
use resolver::{Allocation, Host, HostError, Loaded, Prepared};

/// Something that decides conflict sets, each call as if it were the first.
pub trait Subject: Sync {
    /// What runs it.
    fn engine(&self) -> EngineId;

    /// SHA-256 of its component; none where there is no component.
    fn component(&self) -> Option<Sha256>;

    /// What it says of itself.
    ///
    /// # Errors
    /// How the call ended.
    fn describe(&self, limits: &Limits) -> Result<ResolverInfo, CallOutcome>;

    /// Decides, and says how that went.
    fn call(&self, set: &ConflictSet, limits: &Limits) -> Call;

    /// As [`Subject::call`], where the digest of the set's canonical form is known.
    fn call_known(&self, set: &Arc<ConflictSet>, digest: Sha256, limits: &Limits) -> Call {
        let _ = digest;
        self.call(set, limits)
    }
}

/// A component, loaded into a host.
#[derive(Clone)]
pub struct Component {
    /// The host.
    pub host: Host,
    /// The component in it.
    pub loaded: Loaded,
    /// SHA-256 of the component.
    pub digest: Sha256,
}

impl Component {
    /// Maps code that this project's compiler made of `component`, and whose digest is
    /// `expected`.
    ///
    /// # Errors
    /// As [`Host::load`].
    pub fn load(
        compiled: &Path,
        expected: Sha256,
        component: Sha256,
        allocation: Allocation,
    ) -> Result<Self, HostError> {
        let host = Host::new(allocation)?;
        let loaded = host.load(compiled, expected)?;
        Ok(Self {
            host,
            loaded,
            digest: component,
        })
    }
}

#[cfg(feature = "compiler")]
impl Component {
    /// Compiles a component for a host of its own.
    ///
    /// # Errors
    /// As [`Host::load_component`].
    pub fn compile(component: &[u8], allocation: Allocation) -> Result<Self, HostError> {
        let host = Host::new(allocation)?;
        let loaded = host.load_component(component)?;
        let digest = policy::digest(component);
        Ok(Self {
            host,
            loaded,
            digest,
        })
    }

    /// Compiles a component once, for two hosts: one that maps memory for each decision,
    /// and one that takes it from a pool.
    ///
    /// # Errors
    /// As [`resolver::compile`] and [`Host::load`].
    pub fn twins(component: &[u8]) -> Result<[Self; 2], HostError> {
        let compiled = Compiled::new(component)?;
        Ok([
            compiled.load(Allocation::OnDemand)?,
            compiled.load(Allocation::Pooling { instances: 4 })?,
        ])
    }

    /// How long it takes to load a component into a new host, in microseconds, `runs`
    /// times. It is compiled once, before.
    ///
    /// # Errors
    /// As [`Component::twins`].
    pub fn load_times(
        component: &[u8],
        allocation: Allocation,
        runs: usize,
    ) -> Result<Vec<f64>, HostError> {
        let compiled = Compiled::new(component)?;
        (0..runs)
            .map(|_| {
                let begun = Instant::now();
                compiled.load(allocation)?;
                Ok(begun.elapsed().as_secs_f64() * 1e6)
            })
            .collect()
    }
}

/// A component, compiled for this machine.
#[cfg(feature = "compiler")]
struct Compiled {
    file: tempfile::NamedTempFile,
    code: Sha256,
    component: Sha256,
}

#[cfg(feature = "compiler")]
impl Compiled {
    fn new(component: &[u8]) -> Result<Self, HostError> {
        let arch = resolver::Arch::native()
            .ok_or_else(|| HostError::Engine("expected x86_64 or aarch64".to_owned()))?;
        let code = resolver::compile(component, arch)?;
        let file = tempfile::NamedTempFile::new();
        let written = file.and_then(|mut file| file.write_all(&code).map(|()| file));
        let file = written.map_err(|source| HostError::Io {
            path: std::env::temp_dir(),
            source,
        })?;
        Ok(Self {
            file,
            code: policy::digest(&code),
            component: policy::digest(component),
        })
    }

    /// Into a host of its own. The code is mapped: it stays after the file is gone.
    fn load(&self, allocation: Allocation) -> Result<Component, HostError> {
        Component::load(self.file.path(), self.code, self.component, allocation)
    }
}

impl Subject for Component {
    fn engine(&self) -> EngineId {
        self.host.engine_id()
    }

    fn component(&self) -> Option<Sha256> {
        Some(self.digest)
    }

    fn describe(&self, limits: &Limits) -> Result<ResolverInfo, CallOutcome> {
        self.host.describe(&self.loaded, limits)
    }

    fn call(&self, set: &ConflictSet, limits: &Limits) -> Call {
        self.host.call(&self.loaded, set, limits)
    }

    fn call_known(&self, set: &Arc<ConflictSet>, digest: Sha256, limits: &Limits) -> Call {
        let input = Prepared::recorded(Arc::clone(set), digest);
        self.host.call_prepared(&self.loaded, &input, limits)
    }
}

/// A policy that is compiled into the program: it uses no fuel and knows no limits.
#[derive(Clone, Copy, Debug)]
pub struct Native {
    /// How it decides.
    pub policy: fn(&ConflictSet) -> Decision,
}

impl Native {
    /// The default policy.
    pub const PRIORITY_DEADLINE: Self = Self {
        policy: policy::priority_deadline,
    };
}

impl Subject for Native {
    fn engine(&self) -> EngineId {
        EngineId {
            version: "native".to_owned(),
            compatibility: "native".to_owned(),
        }
    }

    fn component(&self) -> Option<Sha256> {
        None
    }

    fn describe(&self, _: &Limits) -> Result<ResolverInfo, CallOutcome> {
        Ok(ResolverInfo {
            name: "native".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "The default policy, compiled into this program".to_owned(),
            labels: Default::default(),
        })
    }

    fn call(&self, set: &ConflictSet, limits: &Limits) -> Call {
        let begun = Instant::now();
        let decision = (self.policy)(set);
        let wall_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let outcome = match policy::check_decision(set, &decision) {
            Ok(()) => CallOutcome::Decided,
            Err(violation) => CallOutcome::Invalid {
                violation: violation.to_string(),
            },
        };
        Call {
            engine: self.engine(),
            limits: *limits,
            outcome,
            fuel: None,
            wall_us,
            output: Some(policy::digest(policy::canonical_decision(&decision))),
            decision: Some(decision),
        }
    }
}
