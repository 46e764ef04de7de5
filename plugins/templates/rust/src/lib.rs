//! {{name}}: decides which of the requests that contend for a pool's tapes go ahead.
//!
//! A pure function of the conflict set. `wit/resolver.wit` says what each field means, and
//! `cargo doc --open` what the crate `tapemark_resolver` offers: steps such as
//! `plan.supersede_older()` and `plan.merge_duplicates()` are one line each.

use std::collections::BTreeSet;

use tapemark_resolver::{
    ConflictSet, Decision, Group, Groups, Plan, RETRY_AFTER_MS, ResolverError, codes,
};

const REASON: &str = "by priority, deadline and age";

fn decide(set: &ConflictSet) -> Result<Decision, ResolverError> {
    // A group is decided as one: all of its members the same way.
    let groups = Groups::of(set);
    let mut plan = Plan::new(&groups);
    plan.proceed_settled(Group::standard_order, "settled already");
    plan.reject_late();

    let settled = groups.iter().filter(|group| group.is_settled());
    let mut ahead: BTreeSet<_> = settled.map(|group| group.id).collect();
    let mut room = groups.room();
    let mut line = plan.open();
    line.sort_by_key(|group| (group.standard_order(), group.age()));
    for group in line {
        let mut forks = group.members.iter().flat_map(|c| groups.forks(c));
        if forks.any(|(_, other)| ahead.contains(other.id)) {
            let why = "another request with the same parent goes ahead";
            plan.reject(group, codes::LINEAGE_FORK, why);
        } else if let Some(left) = room.checked_sub(group.bytes()) {
            room = left;
            ahead.insert(group.id);
            plan.proceed(group, group.standard_order(), REASON);
        } else {
            plan.defer(group, set.now + RETRY_AFTER_MS, "no volume has room now");
        }
    }
    plan.finish(REASON)
}

tapemark_resolver::resolver! {
    name: "{{name}}",
    version: env!("CARGO_PKG_VERSION"),
    summary: "By priority, then deadline, then age; forks are refused",
    resolve: decide,
}

/// Tests of the policy as a native program: `cargo test`. What is published is the
/// component: `tapemark resolver test` tests that.
#[cfg(test)]
mod tests {
    use super::decide;
    use tapemark_resolver::testing;

    /// `testing::set` says how a request is written on one line.
    #[track_caller]
    fn check(lines: &str, expected: &str) {
        let set = testing::set(1000, lines);
        assert_eq!(testing::text(&decide(&set)), expected, "{lines}");
    }

    #[test]
    fn the_more_urgent_one_goes_ahead_where_not_both_fit() {
        check(
            "free=15\n1@10 pay x bytes=10 priority=1\n2@20 shop y bytes=10 priority=9",
            "1 deferred until 1970-01-01T00:16:55Z\n2 proceeds as 1\n",
        );
    }

    #[test]
    fn what_is_too_late_is_refused() {
        check(
            "1@10 pay x deadline=1000\n2@20 shop y deadline=1001",
            "1 refused: Tapemark.DeadlineMissed\n2 proceeds as 1\n",
        );
    }

    #[test]
    fn of_two_successors_of_one_parent_the_second_is_refused() {
        check(
            "1@10 pay x parent=9\n2@20 pay y parent=9",
            "1 proceeds as 1\n2 refused: Tapemark.LineageFork\n",
        );
    }

    #[test]
    fn a_group_is_decided_as_one() {
        check(
            "1@10 pay x group=7\n2@10 shop y group=7 deadline=1000",
            "1 refused: Tapemark.DeadlineMissed\n2 refused: Tapemark.DeadlineMissed\n",
        );
    }

    #[test]
    fn it_keeps_the_invariants_on_random_sets() {
        testing::check(decide);
    }
}
