//! What a decision would cost on tape, by the cost model of `schedule`: the same that
//! `genetic` searches with and `learned` is trained on.
//!
//! It is a model (`schedule` says what it leaves out): good for comparing decisions on the
//! same set, not for promising times. Compare all fields together: who refuses everything
//! is never late.

use std::collections::BTreeMap;

use model::{Action, ConflictSet, Decision, DriveState, VolumeState};
use schedule::{Facts, Fate, Outcome, PastFacts, Request, Round, VolumeFacts};
use serde::{Deserialize, Serialize};

/// What a decision would cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Milliseconds late, times 2 to the power of the priority, over all requests with a
    /// deadline that go ahead, wait, or are merged into one that does.
    pub weighted_tardiness: u64,
    /// How many of those are late.
    pub late: u32,
    /// How many times a volume is put into a drive.
    pub mounts: u32,
    /// Requests refused.
    pub refused: u32,
    /// Requests deferred.
    pub deferred: u32,
    /// Requests merged into others.
    pub merged: u32,
    /// Requests superseded by others.
    pub superseded: u32,
}

impl Score {
    /// Both together, stopping at the ends.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            weighted_tardiness: self
                .weighted_tardiness
                .saturating_add(other.weighted_tardiness),
            late: self.late.saturating_add(other.late),
            mounts: self.mounts.saturating_add(other.mounts),
            refused: self.refused.saturating_add(other.refused),
            deferred: self.deferred.saturating_add(other.deferred),
            merged: self.merged.saturating_add(other.merged),
            superseded: self.superseded.saturating_add(other.superseded),
        }
    }
}

/// What `decision` would cost on `set`. A request without a verdict counts as refused,
/// though [`policy::check_decision`] lets none such through.
///
/// ```
/// let set = policy::sample(7, 32);
/// let score = kit::score::score(&set, &policy::priority_deadline(&set));
/// assert_eq!(score, kit::score::score(&set, &policy::priority_deadline(&set)));
/// ```
pub fn score(set: &ConflictSet, decision: &Decision) -> Score {
    let facts = facts(set, decision);
    let round = Round::new(&facts);
    of_outcome(
        &facts,
        &round.problem.run(&round.ahead, &round.later, &round.rides),
    )
}

fn of_outcome(facts: &Facts, outcome: &Outcome) -> Score {
    let mut score = Score {
        weighted_tardiness: outcome.cost.tardiness,
        late: outcome.late,
        mounts: outcome.cost.mounts,
        ..Score::default()
    };
    for request in &facts.requests {
        match request.fate {
            Fate::Proceeds(_) => {}
            Fate::Merged(_) => score.merged += 1,
            Fate::Superseded(_) => score.superseded += 1,
            Fate::Deferred(_) => score.deferred += 1,
            Fate::Rejected => score.refused += 1,
        }
    }
    score
}

/// A set and what was decided of it, as `schedule` takes it.
pub(crate) fn facts(set: &ConflictSet, decision: &Decision) -> Facts {
    let place: BTreeMap<_, _> = set.contenders.iter().map(|c| c.id).zip(0..).collect();
    let verdicts: BTreeMap<_, _> = decision
        .verdicts
        .iter()
        .map(|verdict| (verdict.id, &verdict.action))
        .collect();
    let fate = |id| match verdicts.get(&id) {
        Some(Action::Proceed { order }) => Fate::Proceeds(*order),
        Some(Action::Supersede { by }) => place
            .get(by)
            .map_or(Fate::Rejected, |at| Fate::Superseded(*at)),
        Some(Action::Merge { into }) => place
            .get(into)
            .map_or(Fate::Rejected, |at| Fate::Merged(*at)),
        Some(Action::Defer { until }) => Fate::Deferred(millis(*until)),
        _ => Fate::Rejected,
    };
    let drives = set.drives.iter();
    Facts {
        now: millis(set.now),
        requests: set
            .contenders
            .iter()
            .map(|c| Request {
                group: c.group.to_string(),
                team: team(&c.labels, c.service.as_str()),
                bytes: c.bytes.0,
                priority: c.priority.get(),
                submitted_at: millis(c.submitted_at),
                deadline: c.deadline.map(millis),
                attempt: c.attempt,
                settled: c.settled,
                fate: fate(c.id),
            })
            .collect(),
        volumes: set
            .volumes
            .iter()
            .map(|v| VolumeFacts {
                barcode: v.volume.to_string(),
                free: v.free.0,
                begun: v.state != VolumeState::Scratch,
            })
            .collect(),
        drives: drives
            .filter(|drive| drive.state != DriveState::Down)
            .map(|drive| drive.volume.as_ref().map(ToString::to_string))
            .collect(),
        history: set
            .history
            .iter()
            .filter(|past| past.outcome == "proceed")
            .map(|past| PastFacts {
                team: team(&past.labels, past.service.as_str()),
                bytes: past.bytes.0,
            })
            .collect(),
    }
}

/// The label `team`, else the service.
fn team(labels: &BTreeMap<String, String>, service: &str) -> String {
    labels
        .get("team")
        .map_or(service, String::as_str)
        .to_owned()
}

/// As the contract has it: an instant before 1970 is 1970.
fn millis(at: jiff::Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use model::{Code, Refusal};

    use super::*;

    #[test]
    fn each_verdict_is_counted_once() {
        for seed in 0..50 {
            let set = policy::sample(seed, 48);
            let decision = policy::priority_deadline(&set);
            let score = score(&set, &decision);
            let of = |name| {
                let named = decision.verdicts.iter();
                named.filter(|v| v.action.name() == name).count() as u32
            };
            assert_eq!(score.refused, of("reject"));
            assert_eq!(score.deferred, of("defer"));
            assert_eq!(score.merged, of("merge"));
            assert_eq!(score.superseded, of("supersede"));
        }
    }

    #[test]
    fn who_refuses_everything_is_never_late_and_the_score_says_why() {
        let mut set = policy::sample(3, 16);
        for c in &mut set.contenders {
            c.settled = false;
        }
        let mut decision = policy::priority_deadline(&set);
        for verdict in &mut decision.verdicts {
            verdict.action = Action::Reject {
                refusal: Refusal::new(Code::ResolverFailed, "no"),
            };
        }
        let score = score(&set, &decision);
        assert_eq!((score.weighted_tardiness, score.refused), (0, 16));
    }

    /// Now and then the reverse is better; over many sets it is much worse.
    #[test]
    fn sending_the_urgent_to_the_end_of_the_line_costs_more() {
        let (mut asked, mut reversed) = (Score::default(), Score::default());
        for seed in 0..30 {
            let set = policy::sample(seed, 256);
            let decision = policy::priority_deadline(&set);
            asked = asked.plus(score(&set, &decision));
            let mut bad = decision.clone();
            for verdict in &mut bad.verdicts {
                if let Action::Proceed { order } = &mut verdict.action {
                    *order = (1 << 52) - *order;
                }
            }
            reversed = reversed.plus(score(&set, &bad));
        }
        assert!(reversed.weighted_tardiness > asked.weighted_tardiness);
        assert_eq!(reversed.refused, asked.refused);
    }
}
