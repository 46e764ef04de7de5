//! Orders by a linear score whose weights were learned offline from decision records.
//!
//! Conflicts, merges and who fits are decided as `priority-deadline` does; each group that
//! waits for tape gets a score out of thirteen features (`schedule::FEATURE_NAMES`), and the
//! highest goes first. The weights are data: `model.json`, frozen in when it is built. Its
//! card (`card.md`) says on what it was trained, how well it does, and when not to use it.
//! `tapemark resolver train RECORDS --out DIR` makes both anew out of an installation's own
//! records.
//!
//! Deciding costs one pass over the set, in integers; nothing is learned while it decides.

use ordering::Ordering;
use schedule::{FEATURE_NAMES, FEATURES, Features, features, line_by_score, score};
use tapemark_resolver::{ConflictSet, Decision, Groups, ResolverError};

mod model {
    include!(concat!(env!("OUT_DIR"), "/model.rs"));
}

/// Decides a set.
///
/// # Errors
/// None: it decides every set.
pub fn decide(set: &ConflictSet) -> Result<Decision, ResolverError> {
    by_weights(set, &model::WEIGHTS)
}

fn by_weights(set: &ConflictSet, weights: &[i32; FEATURES]) -> Result<Decision, ResolverError> {
    let groups = Groups::of(set);
    let ordering = Ordering::of(&groups)?;
    let (jobs, candidates): (Vec<_>, Vec<_>) = ordering
        .round
        .candidates(&ordering.facts)
        .into_iter()
        .unzip();
    let line = line_by_score(weights, &candidates);
    let mut whys = vec![String::new(); ordering.round.members.len()];
    for (job, features) in jobs.iter().zip(features(&candidates)) {
        whys[*job] = why(weights, &features);
    }
    let plan = ordering
        .round
        .plan(line.iter().map(|at| jobs[*at]).collect());
    let reason = format!(
        "by the learned score; model trained on records {}",
        model::DATA.get(..12).unwrap_or(model::DATA)
    );
    ordering.decide(&plan, &reason, |job, place| {
        format!("place {} in line: {}", place + 1, whys[job])
    })
}

/// The score, and the two features that make most of it.
fn why(weights: &[i32; FEATURES], features: &Features) -> String {
    let mut parts: Vec<_> = weights
        .iter()
        .zip(features)
        .map(|(weight, feature)| i64::from(*weight) * i64::from(*feature))
        .zip(FEATURE_NAMES)
        .filter(|(part, _)| *part != 0)
        .collect();
    parts.sort_by_key(|(part, _)| std::cmp::Reverse(part.abs()));
    let of: Vec<_> = parts
        .iter()
        .take(2)
        .map(|(part, name)| format!("{name} {}", thousandths(*part)))
        .collect();
    format!(
        "score {} ({})",
        thousandths(score(weights, features)),
        of.join(", ")
    )
}

/// Millionths as a number with three decimals.
fn thousandths(millionths: i64) -> String {
    let sign = if millionths < 0 { "-" } else { "" };
    let rounded = (millionths.unsigned_abs() + 500) / 1000;
    format!("{sign}{}.{:03}", rounded / 1000, rounded % 1000)
}

tapemark_resolver::resolver! {
    name: "learned",
    version: env!("CARGO_PKG_VERSION"),
    summary: "Orders by a linear score whose weights were learned from decision records",
    resolve: decide,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapemark_resolver::testing;

    /// The weights for the place in the standard order only.
    fn standard() -> [i32; FEATURES] {
        let mut weights = [0; FEATURES];
        weights[FEATURES - 1] = 1000;
        weights
    }

    #[test]
    fn with_weight_on_the_standard_place_alone_it_decides_as_the_default() {
        for seed in 0..200 {
            let set = testing::random(seed);
            let groups = Groups::of(&set);
            let default = Ordering::of(&groups).unwrap().standard;
            assert_eq!(
                testing::text(&by_weights(&set, &standard())),
                testing::text(&Ok(default)),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn the_frozen_weights_say_something_and_stay_in_range() {
        assert!(model::WEIGHTS.iter().any(|weight| *weight != 0));
        assert!(model::WEIGHTS.iter().all(|weight| weight.abs() <= 1000));
        assert_ne!(model::WEIGHTS, standard(), "not trained");
        assert_eq!(model::DATA.len(), 64);
    }

    #[test]
    fn a_reason_names_the_features_that_count_most() {
        let mut weights = standard();
        weights[0] = -500;
        let mut features = [0; FEATURES];
        (features[0], features[FEATURES - 1]) = (1000, 250);
        assert_eq!(
            why(&weights, &features),
            "score -0.250 (priority -0.500, standard place 0.250)"
        );
    }

    #[test]
    fn a_small_urgent_job_goes_before_a_large_one() {
        let set = testing::set(
            1000,
            "1@10 pay x bytes=100000000000\n2@20 shop y bytes=1000000000 deadline=1300\n\
             free=200000000000",
        );
        assert_eq!(
            testing::text(&decide(&set)),
            "1 proceeds as 2\n2 proceeds as 1\n"
        );
    }

    #[test]
    fn it_holds_on_random_sets() {
        testing::check(decide);
    }
}
