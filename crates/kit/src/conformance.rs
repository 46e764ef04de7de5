//! The conformance kit: whether a resolver keeps the contract, check by check.
//!
//! Every check is named and says what it tried and what it found. A failed check is a
//! broken contract; a warning is allowed, and will hurt one day. What is *not* checked:
//! whether the policy is a good one (golden cases and replay tell that), what the same
//! source gives when built again, and whether decisions depend on the bits of a NaN:
//! compiled code has only one.

mod cases;
mod checks;
mod report;
mod sets;

use std::time::Instant;

use jiff::SignedDuration;
use model::{EngineId, Limits, Refusal, ResolverInfo, Sha256};
use resolver::Inspection;
use serde::Serialize;

pub use cases::{Case, CaseError, Expected, bless, load};

use crate::subject::Subject;
use checks::Trial;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As the contract has it.
    Pass,
    /// Not made: what it needs failed, or was not given.
    Skip,
    /// Allowed, and doubtful.
    Warn,
    /// The contract is broken.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: stable.
    pub name: &'static str,
    /// How it ended.
    pub status: Status,
    /// What was tried.
    pub tried: String,
    /// What was found, at most [`Check::FINDINGS`] of it, each with what to do where that
    /// is not plain.
    pub found: Vec<String>,
    /// How many more findings there are.
    pub more: usize,
    /// How long it took, in microseconds.
    pub wall_us: u64,
}

impl Check {
    /// How many findings a check keeps.
    pub const FINDINGS: usize = 10;
}

/// How much of something one decision used, over all calls of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Usage {
    /// The median.
    pub p50: u64,
    /// All but one in a hundred use less.
    pub p99: u64,
    /// The most.
    pub max: u64,
    /// What is allowed.
    pub budget: u64,
}

impl Usage {
    /// The most as a share of what is allowed, in percent.
    pub fn percent(&self) -> f64 {
        self.max as f64 * 100.0 / self.budget.max(1) as f64
    }
}

/// What the kit found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// SHA-256 of the component; none for a native policy.
    pub component: Option<Sha256>,
    /// What it says of itself, where it could be asked.
    pub info: Option<ResolverInfo>,
    /// What ran it.
    pub engine: EngineId,
    /// Under which limits.
    pub limits: Limits,
    /// How many decisions were asked for.
    pub calls: u64,
    /// Fuel of a decision.
    pub fuel: Option<Usage>,
    /// Wall time of a decision in microseconds.
    pub wall_us: Option<Usage>,
    /// The checks, in the order they were made.
    pub checks: Vec<Check>,
}

impl Report {
    /// The worst of all checks, skipped ones left out.
    pub fn status(&self) -> Status {
        let each = self.checks.iter().map(|check| check.status);
        each.filter(|status| *status != Status::Skip)
            .max()
            .unwrap_or(Status::Pass)
    }

    /// How many checks ended so.
    pub fn count(&self, status: Status) -> usize {
        let each = self.checks.iter();
        each.filter(|check| check.status == status).count()
    }

    /// The check of this name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}

/// What to try.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Under which limits.
    pub limits: Limits,
    /// How many sampled sets are decided.
    pub samples: u64,
    /// How many fresh instances decide each set of the determinism check.
    pub instances: usize,
    /// Where the sampled sets start.
    pub seed: u64,
    /// Golden cases.
    pub cases: Vec<Case>,
}

impl Settings {
    /// Everything: a second for Rust, half a minute for Python.
    pub fn full() -> Self {
        Self {
            limits: Limits::DEFAULT,
            samples: 200,
            instances: 5,
            seed: 1,
            cases: Vec::new(),
        }
    }

    /// A tenth of it, for the inner loop of an author.
    pub fn quick() -> Self {
        Self {
            samples: 20,
            instances: 2,
            ..Self::full()
        }
    }
}

/// A component as it was found, for [`conform`].
pub struct Candidate<'a> {
    /// What was seen without running it; none for a native policy.
    pub inspection: Option<&'a Inspection>,
    /// It, loaded; or why it could not be.
    pub subject: Result<&'a dyn Subject, Refusal>,
    /// It, loaded by another engine with another allocator, where that was done: the
    /// decisions must be the same.
    pub twin: Option<&'a dyn Subject>,
}

/// Runs all checks.
pub fn conform(candidate: &Candidate<'_>, settings: &Settings) -> Report {
    let mut checks = Vec::new();
    let mut run = |name, check: &mut dyn FnMut() -> checks::Outcome| {
        let begun = Instant::now();
        let outcome = check();
        let mut found = outcome.found;
        let more = found.len().saturating_sub(Check::FINDINGS);
        found.truncate(Check::FINDINGS);
        checks.push(Check {
            name,
            status: outcome.status,
            tried: outcome.tried,
            found,
            more,
            wall_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
    };
    if let Some(inspection) = candidate.inspection {
        run("contract", &mut || checks::contract(inspection));
        run("frozen", &mut || checks::frozen(inspection));
    }
    let subject = match &candidate.subject {
        Ok(subject) => *subject,
        Err(refusal) => {
            run("load", &mut || checks::not_loaded(refusal));
            return Report {
                component: candidate.inspection.map(|inspection| inspection.component),
                info: None,
                engine: EngineId {
                    version: String::new(),
                    compatibility: String::new(),
                },
                limits: settings.limits,
                calls: 0,
                fuel: None,
                wall_us: None,
                checks,
            };
        }
    };
    let trial = Trial::new(subject, candidate.twin, settings);
    for (name, check) in checks::ALL {
        run(name, &mut || check(&trial));
    }
    Report {
        component: subject.component(),
        info: trial.info(),
        engine: subject.engine(),
        limits: settings.limits,
        calls: trial.calls(),
        fuel: trial.fuel(),
        wall_us: trial.wall(),
        checks,
    }
}

/// As `1.5 ms`.
fn duration(microseconds: u64) -> String {
    let duration = SignedDuration::from_micros(i64::try_from(microseconds).unwrap_or(i64::MAX));
    if microseconds < 1_000 {
        format!("{microseconds} µs")
    } else if microseconds < 1_000_000 {
        format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
