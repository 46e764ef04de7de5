//! What holds for every sampled conflict set, and what the samples must contain to be
//! worth testing with.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    Action, Bytes, ConflictKind, ConflictSet, MAX_CONTENDERS, MAX_HISTORY, MAX_INPUT_BYTES,
};
use policy::{
    canonical_set, check_decision, decide_by_fallback, find_conflicts, is_settled,
    priority_deadline, sample, sort_set,
};
use proptest::prelude::*;

fn assert_valid(set: &ConflictSet) {
    let whole = |time: Timestamp| time.subsec_nanosecond() % 1_000_000 == 0;
    assert!(whole(set.now));
    let ids: BTreeSet<_> = set.contenders.iter().map(|c| c.id).collect();
    assert_eq!(ids.len(), set.contenders.len(), "ids are unique");
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for c in &set.contenders {
        groups.entry(c.group).or_default().push(c);
        assert!(whole(c.submitted_at) && c.deadline.is_none_or(whole));
        assert!(c.submitted_at <= set.now);
        assert!(c.bytes > Bytes::ZERO && c.bytes.0 < 1 << 53 && c.artifacts > 0);
    }
    for members in groups.values() {
        let services: BTreeSet<_> = members.iter().map(|c| &c.service).collect();
        assert_eq!(services.len(), members.len(), "one member a service");
        for c in members {
            assert_eq!(
                (c.submitted_at, c.priority, c.deadline, c.attempt),
                (
                    members[0].submitted_at,
                    members[0].priority,
                    members[0].deadline,
                    members[0].attempt
                )
            );
        }
    }
    for past in &set.history {
        assert!(past.decided_at < set.now && past.submitted_at <= past.decided_at);
        assert!(whole(past.decided_at) && whole(past.submitted_at));
    }
    assert!(set.history.len() <= MAX_HISTORY);
    for volume in &set.volumes {
        assert!(volume.free.0 < 1 << 53);
        let holders = set.drives.iter();
        let holders = holders.filter(|d| d.volume.as_ref() == Some(&volume.volume));
        assert_eq!(holders.count(), usize::from(volume.mounted));
    }
    assert_eq!(set.conflicts, find_conflicts(set));
    let mut sorted = set.clone();
    sort_set(&mut sorted);
    assert_eq!(sorted, *set, "samples are in canonical order");
    assert!(canonical_set(set).len() <= MAX_INPUT_BYTES);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_sample_is_valid_and_the_policy_keeps_the_invariants_on_it(
        seed in any::<u64>(),
        size in 0..=MAX_CONTENDERS,
    ) {
        let set = sample(seed, size);
        prop_assert_eq!(set.contenders.len(), size);
        assert_valid(&set);
        prop_assert_eq!(check_decision(&set, &priority_deadline(&set)), Ok(()));
        for fallback in [model::Fallback::Defer, model::Fallback::Reject] {
            let decision = decide_by_fallback(&set, fallback, "it trapped");
            prop_assert_eq!(check_decision(&set, &decision), Ok(()));
        }
    }
}

#[test]
fn the_extreme_sizes_are_valid_too() {
    for seed in 0..20 {
        for size in [0, 1, 2, MAX_CONTENDERS] {
            let set = sample(seed, size);
            assert_eq!(set.contenders.len(), size);
            assert_valid(&set);
        }
    }
    assert_eq!(sample(1, 100_000).contenders.len(), MAX_CONTENDERS);
}

#[test]
fn a_seed_gives_the_same_set_and_another_seed_another() {
    assert_eq!(sample(5, 40), sample(5, 40));
    assert_ne!(sample(5, 40), sample(6, 40));
    assert_ne!(sample(5, 40).now, sample(5, 41).now);
}

/// A generator that stopped making one kind of trouble would make every test that uses it
/// weaker without a sound.
#[test]
fn a_hundred_samples_hold_every_kind_of_trouble() {
    let sets: Vec<_> = (0..100).map(|seed| sample(seed, 32)).collect();
    for kind in [
        ConflictKind::Duplicate,
        ConflictKind::LineageFork,
        ConflictKind::Superseded,
        ConflictKind::GroupOverlap,
        ConflictKind::Capacity,
        ConflictKind::Deadline,
        ConflictKind::Retention,
    ] {
        let with = sets
            .iter()
            .filter(|set| set.conflicts.iter().any(|c| c.kind == kind))
            .count();
        assert!(with >= 10, "{kind:?}: {with} of 100");
    }
    let mut actions: BTreeMap<&str, usize> = BTreeMap::new();
    for set in &sets {
        for verdict in priority_deadline(set).verdicts {
            *actions.entry(verdict.action.name()).or_default() += 1;
        }
    }
    for name in ["proceed", "supersede", "merge", "defer", "reject"] {
        assert!(actions.get(name).is_some_and(|n| *n > 20), "{actions:?}");
    }
    let contenders = || sets.iter().flat_map(|set| &set.contenders);
    assert!(contenders().any(|c| c.branch.is_some()));
    assert!(contenders().any(|c| !c.labels.contains_key("team")));
    assert!(contenders().any(|c| c.labels.values().any(|v| !v.is_ascii())));
    assert!(sets.iter().any(|set| {
        let partly = |c: &model::Contender| !c.settled && is_settled(set, c.group);
        set.contenders.iter().any(partly)
    }));
    assert!(sets.iter().any(|set| set.history.len() > 40));
    let follows = |set: &ConflictSet| {
        let settled = |id| set.contenders.iter().any(|c| c.id == id && c.settled);
        set.contenders.iter().any(|c| c.parent.is_some_and(settled))
    };
    assert!(sets.iter().any(follows));
    assert!(sets.iter().any(|set| {
        let late = |v: &model::Verdict| matches!(&v.action, Action::Reject { refusal } if refusal.code == model::Code::DeadlineMissed);
        priority_deadline(set).verdicts.iter().any(late)
    }));
}
