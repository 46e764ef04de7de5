//! What would have changed, in numbers.

use std::collections::BTreeMap;

use model::{ConflictSet, Decision};
use serde::Serialize;

use super::{Cause, Diff, Replayed};
use crate::score::{Score, score};

/// How many requests got which action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Actions {
    /// Went ahead.
    pub proceed: u64,
    /// Were superseded.
    pub supersede: u64,
    /// Were merged.
    pub merge: u64,
    /// Were deferred.
    pub defer: u64,
    /// Were refused.
    pub reject: u64,
}

impl Actions {
    fn count(&mut self, decision: &Decision) {
        for verdict in &decision.verdicts {
            let field = match verdict.action.name() {
                "proceed" => &mut self.proceed,
                "supersede" => &mut self.supersede,
                "merge" => &mut self.merge,
                "defer" => &mut self.defer,
                _ => &mut self.reject,
            };
            *field += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        self.proceed += other.proceed;
        self.supersede += other.supersede;
        self.merge += other.merge;
        self.defer += other.defer;
        self.reject += other.reject;
    }
}

/// What a replay found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// How many records were decided again.
    pub records: u64,
    /// How many of them came to what. Causes that nothing came to are left out.
    pub causes: BTreeMap<Cause, u64>,
    /// How many recorded calls cannot be replayed: out of wall time, or not made.
    pub not_replayable: u64,
    /// How many calls ended now as what: `decided`, `trap` and so on.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// How many requests changed from which action to which, as in `proceed to defer`.
    pub transitions: BTreeMap<String, u64>,
    /// What became of the requests.
    pub was: Actions,
    /// What would become of them.
    pub now: Actions,
    /// What the decisions that changed cost on tape, by the model of [`crate::score`].
    pub score_was: Score,
    /// What they would cost.
    pub score_now: Score,
    /// Fuel of the calls: none for native policies.
    pub fuel: Option<u64>,
    /// The first differences, in the order of the file.
    pub diffs: Vec<Diff>,
    /// How many more differences there are.
    pub more_diffs: u64,
    /// Wall time of the whole replay in seconds.
    pub seconds: f64,
    /// Records a second, all threads together.
    pub per_second: f64,
    /// How many threads decided.
    pub threads: usize,
}

impl Summary {
    /// How many records came to this.
    pub fn of(&self, cause: Cause) -> u64 {
        self.causes.get(&cause).copied().unwrap_or(0)
    }

    /// How many records something else would have become of: another sequence, another
    /// action, another outcome.
    pub fn changed(&self) -> u64 {
        self.of(Cause::Order) + self.of(Cause::Action) + self.of(Cause::Outcome)
    }

    /// Counts one record.
    pub(super) fn count(&mut self, replayed: Replayed, keep: usize) {
        let Replayed {
            input,
            was,
            diff,
            effective,
            call,
        } = replayed;
        self.records += 1;
        *self.causes.entry(diff.cause).or_default() += 1;
        *self.outcomes.entry(call.outcome.name()).or_default() += 1;
        self.not_replayable += u64::from(diff.not_replayable);
        self.was.count(&was);
        self.now.count(&effective);
        self.transitions(&input, &was, &effective, &diff);
        // Scoring is not free, and where nothing changed it tells nothing new.
        if matches!(diff.cause, Cause::Order | Cause::Action | Cause::Outcome) {
            self.score_was = self.score_was.plus(score(&input, &was));
            self.score_now = self.score_now.plus(score(&input, &effective));
        }
        if let Some(fuel) = call.fuel {
            self.fuel = Some(self.fuel.unwrap_or(0) + fuel);
        }
        if diff.cause != Cause::Same && diff.cause != Cause::Reason {
            if self.diffs.len() < keep {
                self.diffs.push(diff);
            } else {
                self.more_diffs += 1;
            }
        }
    }

    fn transitions(&mut self, set: &ConflictSet, was: &Decision, now: &Decision, diff: &Diff) {
        if diff.changes.is_empty() {
            return;
        }
        let action = |decision: &Decision, id| {
            let verdict = decision.verdicts.iter().find(|v| v.id == id);
            verdict.map_or("nothing", |v| v.action.name())
        };
        for c in &set.contenders {
            let [a, b] = [was, now].map(|decision| action(decision, c.id));
            if a != b {
                *self.transitions.entry(format!("{a} to {b}")).or_default() += 1;
            }
        }
    }

    /// Takes in what was counted of later records.
    pub(super) fn add(&mut self, later: Self, keep: usize) {
        self.records += later.records;
        self.not_replayable += later.not_replayable;
        for (cause, count) in later.causes {
            *self.causes.entry(cause).or_default() += count;
        }
        for (outcome, count) in later.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        for (transition, count) in later.transitions {
            *self.transitions.entry(transition).or_default() += count;
        }
        self.was.add(&later.was);
        self.now.add(&later.now);
        self.score_was = self.score_was.plus(later.score_was);
        self.score_now = self.score_now.plus(later.score_now);
        self.fuel = match (self.fuel, later.fuel) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
        };
        self.more_diffs += later.more_diffs;
        for diff in later.diffs {
            if self.diffs.len() < keep {
                self.diffs.push(diff);
            } else {
                self.more_diffs += 1;
            }
        }
    }
}
