//! Oldest deadline first, duplicates merged: the example policy of `../README.md`, whose
//! rules are numbered as in the comments here.

use tapemark_resolver::{
    ConflictSet, Decision, Group, Groups, LATEST, Plan, Request, ResolverError, codes,
};

const REASON: &str = "oldest deadline first";

/// Decides a set.
///
/// # Errors
/// None: it decides every set.
pub fn decide(set: &ConflictSet) -> Result<Decision, ResolverError> {
    let groups = Groups::of(set);
    let mut plan = Plan::new(&groups);
    plan.proceed_settled(order, REASON); // 1
    plan.reject_late(); // 2
    plan.reject_forks_of_settled(); // 3
    newest_of_forks(&mut plan); // 4
    merge_singles(&mut plan); // 5
    plan.fit(order, REASON); // 6, 7
    plan.finish(REASON)
}

/// The earliest deadline of the group's members.
fn order(group: &Group<'_>) -> u64 {
    let deadlines = group.members.iter().map(|c| c.deadline.unwrap_or(LATEST));
    deadlines.min().unwrap_or(LATEST).min(LATEST)
}

/// Of open successors of one parent the newest stays.
fn newest_of_forks(plan: &mut Plan<'_, '_>) {
    let mut standing: Vec<&str> = Vec::new();
    for group in plan.open().into_iter().rev() {
        let groups = plan.groups();
        let newer: Vec<&Request> = group
            .members
            .iter()
            .filter(|c| !groups.is_held(c))
            .flat_map(|c| groups.forks(c))
            .filter(|(_, of)| standing.contains(&of.id))
            .map(|(o, _)| o)
            .collect();
        match newer.iter().max_by_key(|o| (o.age(), o.id.as_str())) {
            None => standing.push(group.id),
            Some(by) if group.members.len() == 1 => plan.supersede(group, &[*by]),
            Some(by) => {
                let reason = format!("{} follows the same parent and is newer", by.id);
                plan.reject(group, codes::LINEAGE_FORK, &reason);
            }
        }
    }
}

/// Single requests are merged into one that has their content.
fn merge_singles(plan: &mut Plan<'_, '_>) {
    let mut standing: Vec<&str> = Vec::new();
    for group in plan.open() {
        let into = match group.members[..] {
            [c] => plan
                .groups()
                .twins(c)
                .filter(|(_, of)| of.is_settled() || standing.contains(&of.id))
                .min_by_key(|(o, of)| (!of.is_settled(), o.age(), o.id.as_str())),
            _ => None,
        };
        match into {
            Some((o, _)) => plan.merge(group, &[o]),
            None => standing.push(group.id),
        }
    }
}

tapemark_resolver::resolver! {
    name: "deadline-first",
    version: env!("CARGO_PKG_VERSION"),
    summary: "The oldest deadline first, duplicates merged",
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
    fn the_oldest_deadline_goes_first_whatever_the_priority() {
        check(
            "1@10 a x priority=9\n2@20 b x deadline=2000\n3@30 c x deadline=1500",
            "1 proceeds as 3\n2 proceeds as 2\n3 proceeds as 1\n",
        );
    }

    #[test]
    fn single_duplicates_merge_and_groups_stay_whole() {
        check(
            "1@10 pay x\n2@20 pay x\n3@30 pay x group=8\n4@30 shop y group=8",
            "1 proceeds as 1\n2 merged into 1\n3 proceeds as 2\n4 proceeds as 3\n",
        );
    }

    #[test]
    fn of_forks_the_newest_goes_on() {
        check(
            "1@10 pay x parent=9\n2@20 pay y parent=9\n3@30 pay z",
            "1 superseded by 2\n2 proceeds as 1\n3 proceeds as 2\n",
        );
        check(
            "1@10 pay x parent=9 group=8\n4@10 shop w group=8\n2@20 pay y parent=9",
            "1 refused: Tapemark.LineageFork\n2 proceeds as 1\n4 refused: Tapemark.LineageFork\n",
        );
    }

    #[test]
    fn it_holds_on_random_sets() {
        testing::check(decide);
    }
}
