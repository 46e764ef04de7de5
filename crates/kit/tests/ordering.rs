//! The two built-in resolvers that order by cost, as components in the host, judged by the
//! score that replay summaries show.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use kit::conformance::{Candidate, Settings, Status, conform};
use kit::score::{Score, score};
use kit::subject::Component;
use model::{CallOutcome, ConflictSet, Decision, Limits, MAX_CONTENDERS, MAX_INPUT_BYTES};
use policy::{canonical_set, priority_deadline, same_actions, sample};
use resolver::{Allocation, Host, Loaded, inspect};

static HOST: LazyLock<Host> = LazyLock::new(|| Host::new(Allocation::OnDemand).unwrap());
static GENETIC: LazyLock<Loaded> = LazyLock::new(|| loaded("genetic"));
static LEARNED: LazyLock<Loaded> = LazyLock::new(|| loaded("learned"));

fn component(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/fixtures");
    fs::read(fixtures.join(format!("{name}.wasm"))).unwrap()
}

fn loaded(name: &str) -> Loaded {
    HOST.load_component(&component(name)).unwrap()
}

/// The default fuel, with wall time enough for a busy machine.
const LIMITS: Limits = Limits {
    wall_ms: Limits::CAP.wall_ms,
    ..Limits::DEFAULT
};

fn decide(loaded: &Loaded, set: &ConflictSet) -> (Decision, u64) {
    let call = HOST.call(loaded, set, &LIMITS);
    assert_eq!(call.outcome, CallOutcome::Decided);
    (call.decision.unwrap(), call.fuel.unwrap())
}

fn objective(set: &ConflictSet, decision: &Decision) -> (u64, u32) {
    let score = score(set, decision);
    (score.weighted_tardiness, score.mounts)
}

/// Samples of the most requests, without the few whose labels and names make them larger
/// than an input may be.
fn large(seeds: u64) -> impl Iterator<Item = ConflictSet> {
    let sets = (0..seeds).map(|seed| sample(seed, MAX_CONTENDERS));
    sets.filter(|set| canonical_set(set).len() <= MAX_INPUT_BYTES)
}

#[test]
fn genetic_is_never_worse_than_the_default_and_changes_nothing_without_gain() {
    let (mut asked, mut found, mut better) = (Score::default(), Score::default(), 0);
    let small = (0..2000).map(|seed| sample(seed, (seed % 48) as usize));
    let mut count = 0;
    for set in small.chain(large(40)) {
        count += 1;
        let default = priority_deadline(&set);
        let (decision, _) = decide(&GENETIC, &set);
        let gained = objective(&set, &decision) < objective(&set, &default);
        assert!(
            objective(&set, &decision) <= objective(&set, &default),
            "{set:?}"
        );
        assert_eq!(gained, !same_actions(&decision, &default), "{set:?}");
        better += u32::from(gained);
        asked = asked.plus(score(&set, &default));
        found = found.plus(score(&set, &decision));
    }
    println!("better in {better} of {count}\ndefault {asked:?}\ngenetic {found:?}");
    assert!(better > 100);
    assert!(found.weighted_tardiness < asked.weighted_tardiness / 10 * 9);
    assert!(found.mounts < asked.mounts);
    assert_eq!(found.refused, asked.refused);
}

#[test]
fn learned_costs_less_than_the_default_over_many_sets() {
    let (mut asked, mut found) = (Score::default(), Score::default());
    // Seeds that the training never saw: its stream begins at 2^32.
    for seed in 0..100 {
        let set = sample(seed, 200);
        asked = asked.plus(score(&set, &priority_deadline(&set)));
        found = found.plus(score(&set, &decide(&LEARNED, &set).0));
    }
    println!("default {asked:?}\nlearned {found:?}");
    assert!(found.weighted_tardiness < asked.weighted_tardiness);
    assert!(found.mounts < asked.mounts);
    assert_eq!(found.refused, asked.refused);
}

/// All of the kit's checks, corner sets with the largest integers among them.
#[test]
fn both_pass_the_conformance_kit() {
    let settings = Settings {
        limits: LIMITS,
        ..Settings::full()
    };
    for name in ["genetic", "learned"] {
        let component = component(name);
        let twins = Component::twins(&component).unwrap();
        let inspection = inspect(&component).unwrap();
        let candidate = Candidate {
            inspection: Some(&inspection),
            subject: Ok(&twins[0]),
            twin: Some(&twins[1]),
        };
        let report = conform(&candidate, &settings);
        let bad = report
            .checks
            .iter()
            .filter(|check| matches!(check.status, Status::Warn | Status::Fail));
        assert_eq!(bad.count(), 0, "{name}: {:#?}", report.checks);
    }
}

/// The search is bounded in steps: the largest sets stay below half of the default fuel.
#[test]
fn the_search_leaves_half_of_the_fuel_and_the_score_nearly_all() {
    let check = |sets: &mut dyn Iterator<Item = ConflictSet>, searched, scored| {
        let (mut most_searched, mut most_scored) = (0, 0);
        for set in sets {
            most_searched = decide(&GENETIC, &set).1.max(most_searched);
            most_scored = decide(&LEARNED, &set).1.max(most_scored);
        }
        println!("at most: genetic {most_searched}, learned {most_scored}");
        assert!(most_searched < searched, "{most_searched}");
        assert!(most_scored < scored, "{most_scored}");
    };
    check(
        &mut (0..60).map(|seed| sample(seed, 32)),
        20_000_000,
        3_000_000,
    );
    check(&mut large(40), 50_000_000, 20_000_000);
}
