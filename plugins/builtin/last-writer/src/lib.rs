//! The newest request of a lineage wins, whatever the priorities are.
//!
//! 1. Who is settled goes on; who is past the deadline is refused; who forks what is settled
//!    is refused.
//! 2. A newer request supersedes every older one of its lineage that is not settled, also
//!    one with the same content. A group is superseded only if each member is; one that is
//!    not, and shares a parent with a newer one, is refused as a fork.
//! 3. A request whose content is settled, or goes ahead in an older group that stays, is
//!    merged into it: the content of the last writer is on tape once, and not twice.
//! 4. The others go on by priority, then deadline, then age, as long as they fit; who does
//!    not fit is deferred by 15 seconds.
//!
//! For services that deploy from one trunk: what was built last is what counts, and the
//! tape time goes to nothing older.

use tapemark_resolver::{ConflictSet, Decision, Group, Groups, Plan, ResolverError};

const REASON: &str = "the last writer of its lineage";

/// Decides a set.
///
/// # Errors
/// None: it decides every set.
pub fn decide(set: &ConflictSet) -> Result<Decision, ResolverError> {
    let groups = Groups::of(set);
    let mut plan = Plan::new(&groups);
    plan.proceed_settled(Group::standard_order, "it is under way");
    plan.reject_late();
    plan.reject_forks_of_settled();
    plan.supersede_all_older();
    plan.merge_duplicates();
    plan.fit(Group::standard_order, REASON);
    plan.finish("the last writer of each lineage wins")
}

tapemark_resolver::resolver! {
    name: "last-writer",
    version: env!("CARGO_PKG_VERSION"),
    summary: "The newest request of a lineage wins, whatever its priority",
    resolve: decide,
}

#[cfg(test)]
mod tests {
    use super::decide;
    use tapemark_resolver::testing;

    #[track_caller]
    fn check(lines: &str, expected: &str) {
        let set = testing::set(1000, lines);
        assert_eq!(testing::text(&decide(&set)), expected, "{lines}");
    }

    #[test]
    fn the_newest_wins_over_priority_and_over_the_same_content() {
        check(
            "1@10 pay x priority=9\n2@20 pay y priority=0",
            "1 superseded by 2\n2 proceeds as 1\n",
        );
        check(
            "1@10 pay x\n2@20 pay y\n3@30 pay x",
            "1 superseded by 3\n2 superseded by 3\n3 proceeds as 1\n",
        );
    }

    #[test]
    fn of_forks_the_last_wins_unless_the_first_is_settled() {
        check(
            "1@10 pay x parent=9\n2@20 pay y parent=9",
            "1 superseded by 2\n2 proceeds as 1\n",
        );
        check(
            "1@10 pay x parent=9 settled\n2@20 pay y parent=9",
            "1 proceeds as 1\n2 refused: Tapemark.LineageFork\n",
        );
    }

    #[test]
    fn a_group_is_superseded_whole_or_not_at_all() {
        check(
            "1@10 pay x group=7\n2@10 shop y group=7\n3@20 pay z",
            "1 proceeds as 1\n2 proceeds as 2\n3 proceeds as 3\n",
        );
        check(
            "1@10 pay x parent=9 group=7\n2@10 shop y group=7\n3@20 pay z parent=9",
            "1 refused: Tapemark.LineageFork\n2 refused: Tapemark.LineageFork\n3 proceeds as 1\n",
        );
        // 3 and 1 hold the same: once on tape is enough.
        check(
            "1@10 pay x group=7\n2@10 shop y group=7\n3@20 pay x",
            "1 proceeds as 1\n2 proceeds as 2\n3 merged into 1\n",
        );
    }

    #[test]
    fn what_is_settled_stays_and_a_late_last_writer_does_not_win() {
        check(
            "1@10 pay x settled\n2@20 pay y",
            "1 proceeds as 1\n2 proceeds as 2\n",
        );
        check(
            "1@10 pay x\n2@20 pay y deadline=900",
            "1 proceeds as 1\n2 refused: Tapemark.DeadlineMissed\n",
        );
    }

    #[test]
    fn branches_are_lineages_of_their_own() {
        check(
            "1@10 pay x\n2@20 pay y branch=hotfix",
            "1 proceeds as 1\n2 proceeds as 2\n",
        );
    }

    #[test]
    fn it_holds_on_random_sets() {
        testing::check(decide);
    }
}
