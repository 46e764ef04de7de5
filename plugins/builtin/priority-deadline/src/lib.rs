//! The default resolver: by priority, then deadline, then age.
//!
//! 1. Who is settled goes on.
//! 2. Who is past the deadline is refused.
//! 3. Who names a parent that has another settled successor is refused as a fork, unless
//!    that very content is settled already.
//! 4. A newer request supersedes an older one of the same lineage with other content,
//!    unless the older one is settled. A group is superseded only if each member is; one
//!    that is not, and shares a parent with a newer one, is refused as a fork.
//! 5. Of requests with the same content in one lineage a settled one, else the oldest,
//!    stands for all. A group is merged only if each member is.
//! 6. The others go on by priority, then deadline, then age, as long as they fit; who does
//!    not fit is deferred by 15 seconds.
//!
//! It decides exactly, reasons included, as the host's native fallback does: a test of the
//! host holds it to that on thousands of sets.

use tapemark_resolver::{ConflictSet, Decision, Group, Groups, Plan, ResolverError};

const REASON: &str = "by priority, deadline and age";

/// Decides a set.
///
/// # Errors
/// None: it decides every set.
pub fn decide(set: &ConflictSet) -> Result<Decision, ResolverError> {
    let groups = Groups::of(set);
    let mut plan = Plan::new(&groups);
    plan.proceed_settled(Group::standard_order, REASON);
    plan.reject_late();
    plan.reject_forks_of_settled();
    plan.supersede_older();
    plan.merge_duplicates();
    plan.fit(Group::standard_order, REASON);
    plan.finish(REASON)
}

tapemark_resolver::resolver! {
    name: "priority-deadline",
    version: env!("CARGO_PKG_VERSION"),
    summary: "The default: by priority, then deadline, then age",
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
    fn newer_requests_supersede_and_duplicates_merge() {
        check(
            "1@10 pay x\n2@20 pay y",
            "1 superseded by 2\n2 proceeds as 1\n",
        );
        check(
            "1@10 pay x settled\n2@20 pay y",
            "1 proceeds as 1\n2 proceeds as 2\n",
        );
        check(
            "1@10 pay x\n2@20 pay x\n3@30 pay x",
            "1 proceeds as 1\n2 merged into 1\n3 merged into 1\n",
        );
        check(
            "1@10 pay x\n2@20 pay x settled",
            "1 merged into 2\n2 proceeds as 1\n",
        );
        check(
            "1@10 pay x\n2@20 pay y branch=b",
            "1 proceeds as 1\n2 proceeds as 2\n",
        );
    }

    #[test]
    fn priority_goes_before_deadline_and_deadline_before_none() {
        check(
            "1@10 a x\n2@20 b x deadline=2000\n3@30 c x priority=9\n4@40 d x priority=2 deadline=1001",
            "1 proceeds as 3\n2 proceeds as 2\n3 proceeds as 1\n4 proceeds as 4\n",
        );
    }

    #[test]
    fn late_ones_and_forks_of_what_is_settled_are_refused() {
        check(
            "1@10 pay x deadline=1000\n2@20 shop y deadline=1001",
            "1 refused: Tapemark.DeadlineMissed\n2 proceeds as 1\n",
        );
        check(
            "1@10 pay x parent=9 settled\n2@20 pay y parent=9",
            "1 proceeds as 1\n2 refused: Tapemark.LineageFork\n",
        );
    }

    #[test]
    fn groups_are_decided_whole() {
        check(
            "1@10 pay x group=7\n2@10 shop y group=7\n3@20 pay z",
            "1 proceeds as 1\n2 proceeds as 2\n3 proceeds as 3\n",
        );
        check(
            "1@10 pay x group=7\n2@10 shop y group=7\n3@20 pay z\n4@30 shop w",
            "1 superseded by 3\n2 superseded by 4\n3 proceeds as 1\n4 proceeds as 2\n",
        );
    }

    #[test]
    fn who_does_not_fit_waits_a_quarter_of_a_minute() {
        check(
            "1@10 pay x bytes=60\n2@20 shop y bytes=60\n3@30 log z bytes=40",
            "1 proceeds as 1\n2 deferred until 1970-01-01T00:16:55Z\n3 proceeds as 2\n",
        );
    }

    #[test]
    fn it_holds_on_random_sets() {
        testing::check(decide);
    }
}
