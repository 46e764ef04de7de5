//! Records as examples: what can be ordered, and what each order would cost.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{DecisionId, Sha256};
use schedule::{Candidate, Cost, FEATURES, Round, line_by_score};
use sha2::Digest as _;

use super::{MAX_RECORDS, MIN_SETS, TrainError};
use crate::records::{Recorded, RecordsError};
use crate::score;

/// Of a hundred sets so many are trained on; the later ones are for the test.
const TRAIN_PERCENT: usize = 70;

/// One conflict set with something to order.
pub(super) struct Example {
    pub(super) at: Timestamp,
    pub(super) input: Sha256,
    pub(super) round: Round,
    /// The jobs that ask for a place, in the standard order.
    pub(super) jobs: Vec<usize>,
    candidates: Vec<Candidate>,
    /// What the standard order costs.
    pub(super) standard: Cost,
}

/// All examples, in order of time.
pub(super) struct Data {
    pub(super) examples: Vec<Example>,
    pub(super) records: usize,
    pub(super) digest: Sha256,
}

impl Example {
    /// Who may go ahead is decided as the default policy does, whoever decided when it was
    /// recorded. None where there is nothing to order.
    fn of(recorded: &Recorded) -> Option<Self> {
        let set = &recorded.input;
        let facts = score::facts(set, &policy::priority_deadline(set));
        let round = Round::new(&facts);
        let (jobs, candidates): (Vec<_>, Vec<_>) = round.candidates(&facts).into_iter().unzip();
        if jobs.len() < 2 {
            return None;
        }
        let standard = round.problem.evaluate(&round.plan(jobs.clone())).cost;
        Some(Self {
            at: recorded.record.at,
            input: recorded.record.input,
            round,
            jobs,
            candidates,
            standard,
        })
    }

    /// What an order of the candidates costs.
    pub(super) fn cost(&self, line: &[usize]) -> Cost {
        let jobs = line.iter().map(|at| self.jobs[*at]).collect();
        self.round.problem.evaluate(&self.round.plan(jobs)).cost
    }

    /// What the order by these weights costs.
    pub(super) fn learned(&self, weights: &[i32; FEATURES]) -> Cost {
        self.cost(&line_by_score(weights, &self.candidates))
    }

    /// What an order gains over the standard one: from -1 to 1, 0 where they cost the same.
    pub(super) fn reward(&self, cost: &Cost) -> f64 {
        let (standard, price) = (self.standard.price() as f64, cost.price() as f64);
        (standard - price) / (standard + price + 1.0)
    }
}

impl Data {
    /// The earlier part and the later.
    pub(super) fn split(&self) -> (&[Example], &[Example]) {
        split(&self.examples)
    }
}

/// The earlier part and the later.
pub(super) fn split(examples: &[Example]) -> (&[Example], &[Example]) {
    examples.split_at(examples.len() * TRAIN_PERCENT / 100)
}

/// Reads records. A set that was recorded several times counts once, the first time: so
/// the test never holds what was trained on.
pub(super) fn read(
    records: impl IntoIterator<Item = Result<Recorded, RecordsError>>,
) -> Result<Data, TrainError> {
    let mut by_input: BTreeMap<Sha256, ((Timestamp, DecisionId), Option<Example>)> =
        BTreeMap::new();
    let mut count = 0;
    for recorded in records {
        let recorded = recorded?;
        count += 1;
        if count > MAX_RECORDS {
            return Err(TrainError::TooMany);
        }
        let at = (recorded.record.at, recorded.record.id);
        let earlier = by_input.get(&recorded.record.input);
        if earlier.is_none_or(|(other, _)| at < *other) {
            let example = Example::of(&recorded);
            by_input.insert(recorded.record.input, (at, example));
        }
    }
    let mut found: Vec<_> = by_input
        .into_values()
        .filter_map(|(at, example)| Some((at, example?)))
        .collect();
    if found.len() < MIN_SETS {
        return Err(TrainError::TooFew {
            records: count,
            found: found.len(),
        });
    }
    found.sort_by_key(|(at, example)| (*at, example.input));
    let mut digest = sha2::Sha256::new();
    for (_, example) in &found {
        digest.update(example.input.0);
    }
    Ok(Data {
        examples: found.into_iter().map(|(_, example)| example).collect(),
        records: count,
        digest: Sha256(digest.finalize().into()),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use model::ConflictSet;

    use super::*;

    /// A record of the default policy's decision.
    pub(crate) fn recorded(n: u64, set: ConflictSet) -> Recorded {
        Recorded {
            input: set,
            ..crate::generate::record(n, 0, 1)
        }
        .with_digest()
    }

    impl Recorded {
        fn with_digest(mut self) -> Self {
            self.record.at = self.input.now;
            self.record.input = policy::digest(policy::canonical_set(&self.input));
            self
        }
    }

    #[test]
    fn examples_stand_in_order_of_time_and_no_set_is_in_both_parts() {
        let records = (0..200).map(|n| Ok(recorded(n, policy::sample(n, 24))));
        let data = read(records).unwrap();
        assert!(data.examples.is_sorted_by_key(|example| example.at));
        let (train, test) = data.split();
        assert!(
            train
                .iter()
                .all(|a| test.iter().all(|b| a.input != b.input))
        );
        assert!(test.len() * 2 < train.len());
    }

    #[test]
    fn the_standard_order_earns_nothing_and_is_what_the_score_says() {
        for n in 0..50 {
            let set = policy::sample(n, 48);
            let score = score::score(&set, &policy::priority_deadline(&set));
            let Some(example) = Example::of(&recorded(n, set)) else {
                continue;
            };
            assert_eq!(example.standard.tardiness, score.weighted_tardiness);
            assert_eq!(example.standard.mounts, score.mounts);
            assert!(example.reward(&example.standard).abs() < f64::EPSILON);
        }
    }
}
