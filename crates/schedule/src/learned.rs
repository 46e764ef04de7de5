//! The learned order: each job gets a score, linear in a few features, and the highest goes
//! first. Features and score exist here only, so that what was trained is what decides.

use crate::bytes_to_ms;

/// How many features a candidate has.
pub const FEATURES: usize = 13;

/// Their names, in order: what a model file is checked against.
pub const FEATURE_NAMES: [&str; FEATURES] = [
    "priority",
    "has deadline",
    "urgent within minutes",
    "urgent within hours",
    "priority and urgent within minutes",
    "short",
    "priority and short",
    "short and urgent within hours",
    "age",
    "requests and attempts",
    "team's share lately",
    "room without a mount",
    "standard place",
];

/// One candidate's features, each in thousandths from 0 to 1,000.
pub type Features = [i32; FEATURES];

/// What is known of a job that asks for its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its bytes.
    pub bytes: u64,
    /// The highest priority among its requests, 0 to 9.
    pub priority: u8,
    /// Milliseconds from now to its first deadline, where it has one.
    pub due: Option<u64>,
    /// Milliseconds since it was submitted.
    pub age: u64,
    /// How many requests it is, those that ride with it included.
    pub requests: usize,
    /// How often it was placed before.
    pub attempt: u32,
    /// Its team's bytes among those that went ahead lately, in thousandths.
    pub team_share: u32,
    /// True where a volume in a drive has room for it.
    pub mounted: bool,
}

/// Ten minutes: slack of this size counts half in the short view.
const SHORT_MS: u64 = 10 * 60_000;
/// Two hours: the same for the long view.
const LONG_MS: u64 = 2 * 3_600_000;
/// An hour: age of this size counts half.
const AGE_MS: u64 = 3_600_000;
/// Work of this size (9 GB) counts half.
const WORK_MS: u64 = 60_000;

/// The features of all candidates of one set, who must be given in the standard order; by
/// [`FEATURE_NAMES`].
pub fn features(candidates: &[Candidate]) -> Vec<Features> {
    let both = |a: i32, b: i32| a * b / 1000;
    candidates
        .iter()
        .enumerate()
        .map(|(place, candidate)| {
            let work = bytes_to_ms(candidate.bytes);
            let slack = candidate.due.map(|due| due.saturating_sub(work));
            let urgent = |view| slack.map_or(0, |slack| half_at(view, slack));
            let priority = i32::from(candidate.priority.min(9)) * 1000 / 9;
            let (short, long) = (urgent(SHORT_MS), urgent(LONG_MS));
            let quick = half_at(WORK_MS, work);
            let many = candidate.requests.saturating_sub(1).min(4) as i32 * 125;
            let again = candidate.attempt.min(4) as i32 * 125;
            [
                priority,
                if slack.is_some() { 1000 } else { 0 },
                short,
                long,
                both(priority, short),
                quick,
                both(priority, quick),
                both(quick, long),
                1000 - half_at(AGE_MS, candidate.age),
                many + again,
                candidate.team_share.min(1000) as i32,
                if candidate.mounted { 1000 } else { 0 },
                ((candidates.len() - place) * 1000 / candidates.len()) as i32,
            ]
        })
        .collect()
}

/// 1,000 at zero, 500 at `view`, towards 0 beyond.
fn half_at(view: u64, value: u64) -> i32 {
    (1000 * view / view.saturating_add(value)) as i32
}

/// A candidate's score. Weights are in thousandths; the score in millionths.
pub fn score(weights: &[i32; FEATURES], features: &Features) -> i64 {
    weights
        .iter()
        .zip(features)
        .map(|(weight, feature)| i64::from(*weight) * i64::from(*feature))
        .sum()
}

/// Places in `candidates`, the highest score first; ties by the standard order.
pub fn line_by_score(weights: &[i32; FEATURES], candidates: &[Candidate]) -> Vec<usize> {
    let features = features(candidates);
    let mut line: Vec<_> = (0..candidates.len()).collect();
    line.sort_by_cached_key(|at| std::cmp::Reverse(score(weights, &features[*at])));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate() -> Candidate {
        Candidate {
            requests: 1,
            ..Candidate::default()
        }
    }

    #[test]
    fn features_stay_between_nothing_and_a_thousand() {
        let extreme = Candidate {
            bytes: u64::MAX,
            priority: 255,
            due: Some(u64::MAX),
            age: u64::MAX,
            requests: usize::MAX,
            attempt: u32::MAX,
            team_share: u32::MAX,
            mounted: true,
        };
        for features in features(&[extreme, candidate()]) {
            assert!(
                features.iter().all(|f| (0..=1000).contains(f)),
                "{features:?}"
            );
        }
    }

    #[test]
    fn a_deadline_that_comes_near_is_more_urgent() {
        let due = |due| Candidate {
            due: Some(due),
            ..candidate()
        };
        let found = features(&[due(1_000), due(SHORT_MS), due(LONG_MS), candidate()]);
        assert_eq!(found[1][2], 500);
        assert_eq!(found[2][3], 500);
        assert!(found[0][2] > found[1][2] && found[1][2] > found[2][2] && found[3][2] == 0);
    }

    #[test]
    fn without_weights_the_standard_order_stays() {
        let mut place = [0; FEATURES];
        place[12] = 1000;
        let candidates = [candidate(), candidate(), candidate()];
        assert_eq!(line_by_score(&[0; FEATURES], &candidates), [0, 1, 2]);
        assert_eq!(line_by_score(&place, &candidates), [0, 1, 2]);
    }

    #[test]
    fn a_weight_on_priority_puts_the_urgent_first() {
        let mut weights = [0; FEATURES];
        weights[0] = 1;
        let candidates = [
            candidate(),
            Candidate {
                priority: 9,
                ..candidate()
            },
        ];
        assert_eq!(line_by_score(&weights, &candidates), [1, 0]);
    }
}
