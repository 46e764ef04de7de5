//! What is tried and replayed: a component in its host, or the native policy.

use std::time::Instant;

use model::{Call, CallOutcome, ConflictSet, Decision, EngineId, Limits, ResolverInfo, Sha256};
use resolver::{Host, Loaded};

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
            output: Some(policy::digest(&policy::canonical_decision(&decision))),
            decision: Some(decision),
        }
    }
}
