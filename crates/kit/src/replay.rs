//! Deciding recorded conflicts again, in bulk, and saying what would have changed.
//!
//! A record is compared with what was decided *in the end*. Where a subject is the very
//! component that decided, its call must end as it did: anything else is a fault of
//! determinism and is reported as one.

mod diff;
mod run;
mod summary;

use std::num::NonZeroUsize;
use std::sync::Arc;

use jiff::Timestamp;
use model::{CallOutcome, Decision, DecisionId, Fallback, Limits};
use serde::Serialize;

pub use diff::{Change, Degree, Difference, compare};
pub use run::{Source, replay};
pub use summary::{Actions, Summary};

use crate::records::{Recorded, check_digest};
use crate::subject::Subject;

/// How to replay.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Under which limits; none: those of each record.
    pub limits: Option<Limits>,
    /// How many threads decide.
    pub threads: NonZeroUsize,
    /// How many differences are kept for the report; all are counted.
    pub keep: usize,
    /// Whether the digest of each input that is decided otherwise is compared with its
    /// record's. Without it, a file that was edited looks like a resolver that changed.
    pub check_inputs: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: None,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            keep: 20,
            check_inputs: true,
        }
    }
}

/// What a replay of one record came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The same in every byte.
    Same,
    /// Other words.
    Reason,
    /// Other numbers, the same sequence.
    Number,
    /// Another sequence.
    Order,
    /// Another action for somebody.
    Action,
    /// The call ends in another way: where the old one failed and the new one decides, or
    /// the other way round.
    Outcome,
    /// The same component ended in another way, or decided otherwise, on the same input:
    /// it is not deterministic, or the host is not.
    Fault,
}

/// One record that is decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Its line, counted from 1.
    pub line: u64,
    /// The decision.
    pub record: DecisionId,
    /// When it was made.
    pub at: Timestamp,
    /// How many contended.
    pub contenders: u32,
    /// What kind of difference it is.
    pub cause: Cause,
    /// How the recorded call ended.
    pub was: String,
    /// How it ends now.
    pub now: String,
    /// True where the recorded call ran out of wall time or was not made: how it would
    /// have ended nobody knows.
    pub not_replayable: bool,
    /// Who is decided otherwise, at most [`Diff::CHANGES`] of them.
    pub changes: Vec<Change>,
    /// How many more are decided otherwise.
    pub more: usize,
}

impl Diff {
    /// How many changes of one record are kept.
    pub const CHANGES: usize = 10;
}

/// One record, replayed.
struct Replayed {
    input: Arc<model::ConflictSet>,
    was: Decision,
    diff: Diff,
    effective: Decision,
    call: model::Call,
}

/// Decides one record again.
fn again(
    line: u64,
    recorded: Recorded,
    subject: &dyn Subject,
    component: Option<model::Sha256>,
    settings: &Settings,
) -> Result<Replayed, crate::records::RecordsError> {
    let Recorded { record, input } = recorded;
    let input = Arc::new(input);
    let limits = settings.limits.unwrap_or(record.call.limits);
    let call = subject.call_known(&input, record.input, &limits);
    let decided = call.outcome == CallOutcome::Decided;
    // What would be applied: where the call fails, what the fallback decides.
    let effective = match (&call.decision, decided) {
        (Some(decision), true) => decision.clone(),
        _ => {
            let fallback = record.fallback.unwrap_or(Fallback::BuiltIn);
            policy::decide_by_fallback(&input, fallback, call.outcome.name())
        }
    };
    let recorded_by = record.resolver.as_ref().map(|release| release.component);
    let native = record.call.engine.version == "native";
    let same_subject = match component {
        Some(component) => recorded_by == Some(component) && limits == record.call.limits,
        None => native && record.resolver.is_none(),
    };
    let replayable = record.call.outcome.is_replayable();
    let difference = compare(&input, &record.decision, &effective);
    let as_before = record.call.outcome == call.outcome && record.call.output == call.output;
    let cause = if same_subject && replayable && call.outcome.is_replayable() && !as_before {
        Cause::Fault
    } else if record.call.outcome.name() != call.outcome.name() {
        Cause::Outcome
    } else {
        match difference.degree {
            Degree::Same => Cause::Same,
            Degree::Reason => Cause::Reason,
            Degree::Number => Cause::Number,
            Degree::Order => Cause::Order,
            Degree::Action => Cause::Action,
        }
    };
    // A digest takes longer than a decision. What is decided as before needs none.
    if settings.check_inputs && cause != Cause::Same {
        check_digest(line, &record, &input)?;
    }
    let mut changes = difference.changes;
    let more = changes.len().saturating_sub(Diff::CHANGES);
    changes.truncate(Diff::CHANGES);
    let diff = Diff {
        line,
        record: record.id,
        at: record.at,
        contenders: record.contenders,
        cause,
        was: outcome(&record.call.outcome),
        now: outcome(&call.outcome),
        not_replayable: !replayable,
        changes,
        more,
    };
    Ok(Replayed {
        input,
        was: record.decision,
        diff,
        effective,
        call,
    })
}

/// How a call ended, with what a human needs to act on it.
pub fn outcome(outcome: &CallOutcome) -> String {
    let name = outcome.name();
    match outcome {
        CallOutcome::Error { code, message } => format!("{name}: {code}: {message}"),
        CallOutcome::Invalid { violation } => format!("{name}: {violation}"),
        CallOutcome::Trap { kind, message } => format!("{name}: {kind}: {message}"),
        CallOutcome::Unavailable { why } => format!("{name}: {why}"),
        _ => name.to_owned(),
    }
}
