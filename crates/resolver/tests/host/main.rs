//! What the host promises: whatever a resolver does, a call ends within its limits, says
//! how, and the next one works.
#![allow(clippy::unwrap_used, clippy::panic)]

mod attacks;
mod keep;
mod lies;
mod nesting;
mod noise;
mod raw;
mod sets;

use std::sync::OnceLock;

use model::{Call, CallOutcome, ConflictSet, Limits};
use resolver::{Allocation, Host, Loaded};

/// A component with all the attacks, made of `plugins/hostile`.
pub(crate) const HOSTILE: &[u8] = include_bytes!("../../../../plugins/fixtures/hostile.wasm");

/// One host for all tests: they run at once, as calls in a process do.
pub(crate) fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host::new(Allocation::OnDemand).unwrap())
}

/// The hostile component, compiled once.
pub(crate) fn hostile() -> &'static Loaded {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    LOADED.get_or_init(|| host().load_component(HOSTILE).unwrap())
}

/// Has the hostile component do what `what` names, under `limits`.
pub(crate) fn provoke_under(what: &str, limits: &Limits) -> Call {
    host().call(hostile(), &set(what), limits)
}

/// The same under the default limits, with wall time enough for a busy machine: what is
/// tested here is not the clock.
pub(crate) fn provoke(what: &str) -> Call {
    provoke_under(what, &patient())
}

/// The default limits, with wall time enough for a busy machine.
pub(crate) fn patient() -> Limits {
    Limits {
        wall_ms: Limits::CAP.wall_ms,
        ..Limits::DEFAULT
    }
}

/// Two groups of two and four of one, in a pool of this name.
pub(crate) fn set(pool: &str) -> ConflictSet {
    sets::set(pool, &[2, 2, 1, 1, 1, 1])
}

/// The kind of a trap, or the name of whatever else it was.
pub(crate) fn kind(outcome: &CallOutcome) -> &str {
    match outcome {
        CallOutcome::Trap { kind, .. } => kind,
        other => other.name(),
    }
}
