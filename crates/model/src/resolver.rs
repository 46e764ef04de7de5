//! What decides conflicts, under which limits, and what was recorded of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Bytes, Decision, DecisionId, GroupId, LibraryId, PoolName, ServiceName, Sha256};

/// The longest reason or message that a resolver may give, in bytes.
pub const MAX_REASON_BYTES: usize = 1024;

/// The largest canonical conflict set, in bytes.
pub const MAX_INPUT_BYTES: usize = 256 * 1024;

/// The largest resolver component, in bytes: Python's runtime takes 18 MB of it.
pub const MAX_COMPONENT_BYTES: usize = 24 * 1024 * 1024;

/// What one decision may use. The defaults are measured (`docs/resolvers.md`): 260 times
/// what a policy in Rust needs, 25 times one in JavaScript, 31 times one in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Instructions, about. The contract: the same on each run.
    pub fuel: u64,
    /// Wall time in milliseconds. The seat belt: a decision it ends cannot be replayed.
    pub wall_ms: u32,
    /// Linear memory.
    pub memory: Bytes,
    /// Elements of all tables.
    pub table_elements: u32,
    /// Bytes that may pass between host and guest in one call.
    pub hostcall_fuel: u64,
}

impl Limits {
    /// What a resolver gets that asks for nothing.
    pub const DEFAULT: Self = Self {
        fuel: 100_000_000,
        wall_ms: 250,
        memory: Bytes::mib(64),
        table_elements: 20_000,
        hostcall_fuel: 1 << 20,
    };

    /// What no resolver gets more of: a phase has ten seconds in all, and a function's
    /// memory is a gigabyte.
    pub const CAP: Self = Self {
        fuel: 2_000_000_000,
        wall_ms: 2_000,
        memory: Bytes::mib(256),
        table_elements: 100_000,
        hostcall_fuel: 4 << 20,
    };

    /// The first field that is zero or above [`Limits::CAP`], with its cap.
    pub fn beyond_cap(&self) -> Option<(&'static str, u64)> {
        let cap = Self::CAP;
        [
            ("fuel", self.fuel, cap.fuel),
            ("wall_ms", self.wall_ms.into(), cap.wall_ms.into()),
            ("memory", self.memory.0, cap.memory.0),
            (
                "table_elements",
                self.table_elements.into(),
                cap.table_elements.into(),
            ),
            ("hostcall_fuel", self.hostcall_fuel, cap.hostcall_fuel),
        ]
        .into_iter()
        .find(|(_, asked, cap)| *asked == 0 || asked > cap)
        .map(|(name, _, cap)| (name, cap))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a resolver says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolverInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line for a human.
    pub summary: String,
    /// Free labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A published resolver, by the name and version it was published under. Its identity is
/// the digest of its component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReleaseRef {
    /// Lower-case letters, digits and hyphens, at most 64.
    pub name: String,
    /// As Semantic Versioning 2.0 has it.
    pub version: String,
    /// SHA-256 of the component.
    pub component: Sha256,
}

impl ReleaseRef {
    /// The longest name, and the longest version, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// 1 to [`ReleaseRef::MAX_BYTES`] lower-case letters, digits and hyphens.
    pub fn is_name(text: &str) -> bool {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(plain)
    }

    /// A version of Semantic Versioning 2.0 within [`ReleaseRef::MAX_BYTES`].
    pub fn is_version(text: &str) -> bool {
        text.len() <= Self::MAX_BYTES && semver::Version::parse(text).is_ok()
    }
}

impl fmt::Display for ReleaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// What ran a component: together with its digest enough to run it again the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineId {
    /// Name and version, as in `wasmtime 48.0.8`; `native` for the built-in policy.
    pub version: String,
    /// What compiled code must have been compiled for.
    pub compatibility: String,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallOutcome {
    /// With a decision that keeps the invariants.
    Decided,
    /// With an error of the resolver's own.
    Error {
        /// Its code.
        code: String,
        /// Its message.
        message: String,
    },
    /// With a decision that breaks an invariant or a limit of the contract.
    Invalid {
        /// Which.
        violation: String,
    },
    /// With a trap.
    Trap {
        /// Which: `unreachable`, `stack_overflow`, `memory_out_of_bounds`, `memory_limit`,
        /// `table_limit`, `hostcall_limit`, or wasmtime's own name.
        kind: String,
        /// What the engine said.
        message: String,
    },
    /// Out of fuel.
    OutOfFuel,
    /// Out of wall time.
    TimedOut,
    /// It could not be called at all: not loaded, quarantined, input too large, no place to
    /// run it in time. Says nothing of the resolver, and never counts against its health.
    Unavailable {
        /// Why.
        why: String,
    },
}

impl CallOutcome {
    /// True where the same call ends the same way, on any machine.
    pub const fn is_replayable(&self) -> bool {
        !matches!(self, Self::TimedOut | Self::Unavailable { .. })
    }

    /// Its name: `decided`, `error`, `invalid`, `trap`, `out_of_fuel`, `timed_out` or
    /// `unavailable`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Error { .. } => "error",
            Self::Invalid { .. } => "invalid",
            Self::Trap { .. } => "trap",
            Self::OutOfFuel => "out_of_fuel",
            Self::TimedOut => "timed_out",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

/// One call of a resolver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// What ran it.
    pub engine: EngineId,
    /// Under which limits.
    pub limits: Limits,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: CallOutcome,
    /// Fuel used by the call itself, without instantiation; none for native policies.
    pub fuel: Option<u64>,
    /// Wall time in microseconds.
    pub wall_us: u64,
    /// What it decided, where it decided anything, valid or not.
    pub decision: Option<Decision>,
    /// SHA-256 of the canonical decision.
    pub output: Option<Sha256>,
}

/// What decides where a resolver does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// The native `priority-deadline`.
    #[default]
    BuiltIn,
    /// All that is not settled is asked again after a minute.
    Defer,
    /// All that is not settled is refused.
    Reject,
}

/// For what a resolver decides. The narrowest binding decides: service, then pool, then
/// library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "scope", content = "name", rename_all = "snake_case")]
pub enum Scope {
    /// Conflicts whose asking group is of this service alone.
    Service(ServiceName),
    /// All of a pool.
    Pool(PoolName),
    /// All of a library.
    Library(LibraryId),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "service:{name}"),
            Self::Pool(name) => write!(f, "pool:{name}"),
            Self::Library(name) => write!(f, "library:{name}"),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("expected service:NAME, pool:NAME or library:NAME, found {text:?}");
        let (kind, name) = text.split_once(':').ok_or_else(bad)?;
        match kind {
            "service" => name.parse().map(Self::Service).map_err(|e| e.to_string()),
            "pool" => name.parse().map(Self::Pool).map_err(|e| e.to_string()),
            "library" => name.parse().map(Self::Library).map_err(|e| e.to_string()),
            _ => Err(bad()),
        }
    }
}

/// A resolver that runs beside the live one and never affects what is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// Which.
    pub release: ReleaseRef,
    /// Since when.
    pub since: Timestamp,
    /// Of a hundred decisions it sees so many (1 to 100), chosen by the input's digest.
    pub percent: u8,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// How many decisions it made.
    pub decided: u64,
    /// How many of them differ from what the live one decided.
    pub differing: u64,
    /// How many of its calls failed.
    pub failed: u64,
}

/// What decides for a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// For what.
    pub scope: Scope,
    /// The live resolver.
    pub live: ReleaseRef,
    /// Since when.
    pub since: Timestamp,
    /// The one before, where rollback leads.
    pub previous: Option<ReleaseRef>,
    /// The one that is tried out.
    pub shadow: Option<Shadow>,
    /// How the latest calls of the live one ended, newest first: true is a decision. Those
    /// that were [`CallOutcome::Unavailable`] are left out. At most [`Binding::WINDOW`].
    pub recent: Vec<bool>,
    /// Set once too many of them failed: the fallback decides until somebody binds,
    /// promotes or rolls back.
    pub quarantined: Option<Timestamp>,
}

impl Binding {
    /// How many calls back the health of a resolver is judged.
    pub const WINDOW: usize = 20;
    /// How many failures among them put it into quarantine: one in four is more than bad
    /// luck, and a resolver that always fails is out after five rounds.
    pub const FAILURES: usize = 5;
}

/// A resolver as it was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Name, version, identity.
    #[serde(flatten)]
    pub id: ReleaseRef,
    /// What it says of itself.
    pub info: ResolverInfo,
    /// Its size.
    pub bytes: Bytes,
    /// Under which limits it is called.
    pub limits: Limits,
    /// What compiled it.
    pub engine: EngineId,
    /// When.
    pub published_at: Timestamp,
    /// Set once it may not be bound any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<Timestamp>,
}

/// How a shadow's decision differs from the live one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowCall {
    /// Which resolver.
    pub release: ReleaseRef,
    /// Its call.
    pub call: Call,
    /// Whether actions (not reasons) differ from what was applied.
    pub differs: bool,
}

/// Everything needed to explain a decision, and to make it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// Its id.
    pub id: DecisionId,
    /// When.
    pub at: Timestamp,
    /// The pool.
    pub pool: PoolName,
    /// The library.
    pub library: LibraryId,
    /// Whose asking led to it.
    pub groups: Vec<GroupId>,
    /// How many contended.
    pub contenders: u32,
    /// SHA-256 of the canonical conflict set.
    pub input: Sha256,
    /// The binding that applied; none: the native policy of an installation without any.
    pub scope: Option<Scope>,
    /// The resolver that was to decide.
    pub resolver: Option<ReleaseRef>,
    /// What became of the call.
    pub call: Call,
    /// What decided instead, where it failed.
    pub fallback: Option<Fallback>,
    /// What was decided in the end.
    pub decision: Decision,
    /// What the shadow would have decided.
    pub shadow: Option<ShadowCall>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_short() {
        for good in ["a", "fair-share", "2", &"x".repeat(64)] {
            assert!(ReleaseRef::is_name(good), "{good}");
        }
        for bad in ["", "Fair", "a_b", "a b", "\u{e4}", &"x".repeat(65)] {
            assert!(!ReleaseRef::is_name(bad), "{bad}");
        }
    }

    #[test]
    fn versions_are_semantic() {
        for good in [
            "0.0.0",
            "1.2.3",
            "1.0.0-rc.1",
            "1.0.0-0a+b.01",
            "10.20.30+x-y",
        ] {
            assert!(ReleaseRef::is_version(good), "{good}");
        }
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.x",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3+",
            "v1.2.3",
            "1.2.3 ",
            "1.2.3-a..b",
            "1.2.+3",
            &format!("1.2.3-{}", "x".repeat(59)),
        ] {
            assert!(!ReleaseRef::is_version(bad), "{bad}");
        }
    }
}
