//! Searches orders and merges for the least weighted lateness and the fewest mounts.
//!
//! Conflicts are decided as `priority-deadline` does. Then a population of orders is bred,
//! from the default's and from rules known to be good, and each is judged by a model of
//! drives in parallel and mounts that take minutes (`crates/schedule`, with the source of
//! each figure). A request's lateness counts 2 to the power of its priority. Where merging
//! is possible the search may have a group written itself instead.
//!
//! The search is seeded with the set's digest, in integers, and bounded in steps, not in
//! time: the same set gives the same decision. It is never worse than the default's by
//! lateness, then mounts; where it finds nothing better the default's order stays as it is.

use ordering::Ordering;
use schedule::{Cost, Found, Plan};
use tapemark_resolver::{ConflictSet, Decision, Groups, ResolverError};

/// Decides a set.
///
/// # Errors
/// None: it decides every set.
pub fn decide(set: &ConflictSet) -> Result<Decision, ResolverError> {
    let groups = Groups::of(set);
    let ordering = Ordering::of(&groups)?;
    let round = &ordering.round;
    let found = schedule::search(&round.problem, schedule::seed(&set.digest));
    if found.plan == Plan::standard(&round.problem) {
        let mut decision = ordering.standard;
        decision.reason = kept(&found);
        return Ok(decision);
    }
    // For each job that goes ahead in the default's order its place there.
    let mut stood = vec![None; round.members.len()];
    for (place, job) in round.ahead.iter().enumerate() {
        stood[*job] = Some(place);
    }
    let rode = round.rides.clone();
    ordering.decide(&found.plan, &gained(&found), |job, place| {
        let now = place + 1;
        match stood[job] {
            Some(was) if was == place => {
                format!("place {now} in line, as by priority and deadline")
            }
            Some(was) => format!("place {now} in line instead of {}", was + 1),
            None if rode[job] => format!("place {now} in line: merged, it would be late"),
            None => format!("place {now} in line: there is room for it in this order"),
        }
    })
}

/// Why the default's order stays.
fn kept(found: &Found) -> String {
    let none = match found.evaluated {
        1 => "so nothing is to be gained by another order".to_owned(),
        n => format!("and none of {n} orders tried has less"),
    };
    format!(
        "by priority, deadline and age: {}, {none}",
        told(found.cost)
    )
}

/// What the order that was found gains.
fn gained(found: &Found) -> String {
    format!(
        "{} instead of {} by priority, deadline and age; the best of {} orders tried",
        told(found.cost),
        told(found.standard),
        found.evaluated
    )
}

/// Lateness and mounts in words.
fn told(cost: Cost) -> String {
    let late = match cost.tardiness / 1000 {
        0 if cost.tardiness == 0 => "nothing late".to_owned(),
        seconds @ 0..120 => format!("{seconds} s of weighted lateness"),
        seconds @ 120..7200 => format!("{} min of weighted lateness", seconds / 60),
        seconds => format!("{} h of weighted lateness", seconds / 3600),
    };
    let mounts = match cost.mounts {
        1 => "1 mount".to_owned(),
        n => format!("{n} mounts"),
    };
    format!("{late} and {mounts}")
}

tapemark_resolver::resolver! {
    name: "genetic",
    version: env!("CARGO_PKG_VERSION"),
    summary: "Searches orders and merges for the least weighted lateness, then the fewest mounts",
    resolve: decide,
}

#[cfg(test)]
mod tests {
    use super::*;
    use schedule::Round;
    use tapemark_resolver::{Request, check_decision, testing};

    #[track_caller]
    fn check(lines: &str, expected: &str) -> Decision {
        let set = testing::set(1000, lines);
        let decision = decide(&set).unwrap();
        assert_eq!(testing::text(&Ok(decision.clone())), expected, "{lines}");
        decision
    }

    /// 100 GB take eleven minutes; the second has five.
    const LATE: &str = "1@10 pay x bytes=100000000000\n\
                        2@20 shop y bytes=1000000000 priority=4 deadline=1300\n\
                        free=200000000000";

    #[test]
    fn a_small_job_that_would_be_late_goes_before_a_large_one_that_is_not() {
        let decision = check(LATE, "1 proceeds as 2\n2 proceeds as 1\n");
        assert_eq!(
            decision.reason,
            "nothing late and 1 mount instead of 107 min of weighted lateness and 1 mount by \
             priority, deadline and age; the best of 37 orders tried"
        );
    }

    #[test]
    fn orders_stay_among_those_of_the_standard_scale() {
        let set = testing::set(1000, LATE);
        let mut orders: Vec<_> = decide(&set)
            .unwrap()
            .verdicts
            .iter()
            .filter_map(|v| match v.action {
                tapemark_resolver::Action::Proceed(order) => Some(order),
                _ => None,
            })
            .collect();
        orders.sort_unstable();
        let mut own: Vec<_> = set.requests.iter().map(Request::standard_order).collect();
        own.sort_unstable();
        assert_eq!(orders, own);
    }

    #[test]
    fn where_nothing_is_to_be_gained_it_decides_as_the_default() {
        let decision = check(
            "1@10 pay x\n2@20 shop y priority=9\n3@30 pay x",
            "1 proceeds as 2\n2 proceeds as 1\n3 merged into 1\n",
        );
        assert!(decision.reason.contains("none of"), "{}", decision.reason);
    }

    #[test]
    fn it_holds_on_random_sets() {
        testing::check(decide);
    }

    /// As decided, not as searched: what comes of the verdicts themselves.
    fn cost(set: &ConflictSet, decision: &Decision) -> (u64, u32) {
        let round = Round::new(&ordering::facts(set, decision));
        let outcome = round.problem.run(&round.ahead, &round.later, &round.rides);
        (outcome.cost.tardiness, outcome.cost.mounts)
    }

    #[test]
    fn it_is_never_worse_than_the_default_and_often_better() {
        let (mut better, mut changed) = (0, 0);
        for seed in 0..400 {
            let mut set = testing::random(seed);
            // Gigabytes, on two volumes and two drives: now the order matters.
            for request in &mut set.requests {
                request.bytes = request.bytes * 1_000_000_000 + request.submitted_at;
            }
            let mut half = set.volumes[0].clone();
            half.barcode += "H";
            set.volumes.push(half);
            for volume in &mut set.volumes {
                volume.free *= 500_000_000;
            }
            let decision = decide(&set).unwrap();
            assert_eq!(check_decision(&set, &decision), Ok(()), "seed {seed}");
            assert_eq!(decide(&set).unwrap(), decision, "seed {seed}");
            let groups = Groups::of(&set);
            let standard = Ordering::of(&groups).unwrap().standard;
            let (found, asked) = (cost(&set, &decision), cost(&set, &standard));
            assert!(found <= asked, "seed {seed}: {found:?} after {asked:?}");
            better += i32::from(found < asked);
            changed += i32::from(testing::text(&Ok(decision)) != testing::text(&Ok(standard)));
        }
        assert!(better > 150, "{better} of 400");
        assert_eq!(better, changed, "who changes an order gains by it");
    }
}
