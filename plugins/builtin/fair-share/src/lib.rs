//! Teams share the drives: who used more than its share of the recent past waits longer
//! than others of the same priority, and nobody waits for ever.
//!
//! The rules of `priority-deadline` decide who is refused, superseded or merged. The line
//! is another:
//!
//! - A request belongs to the team of its label `team`, else of the first part of its
//!   service's name: `payments` for `payments/api`.
//! - What a team *used* is the bytes of its requests that went ahead in the history window
//!   (at most 64 outcomes of the pool). Each team that contends or has used anything has the
//!   same share. Weights would come in the set's labels; there are none yet.
//! - A team *pays* nothing up to its share, one hour up to one and a half of it, two hours
//!   up to the double, else three.
//! - Within a priority the line goes by `min(deadline, submitted + 1 hour)` plus what the
//!   team pays. A group goes by its member that comes first.
//!
//! So a request is due at most [`BOUND_MS`] (four hours) after it was submitted, whatever
//! its team used: nothing of the same priority that is submitted after that goes before
//! it. Priorities stay what they are: a higher one goes first. Who does not fit is
//! deferred by 15 seconds, and stands further ahead each time.

use std::collections::{BTreeMap, BTreeSet};

use tapemark_resolver::{
    Action, ConflictSet, Decision, Group, Groups, LATEST, PastOutcome, Plan, Request,
    ResolverError, standard_order,
};

const HOUR_MS: u64 = 60 * 60 * 1000;

/// By when, after it was submitted, a request is due at the latest.
pub const BOUND_MS: u64 = 4 * HOUR_MS;

/// Decides a set.
///
/// # Errors
/// None: it decides every set.
pub fn decide(set: &ConflictSet) -> Result<Decision, ResolverError> {
    let groups = Groups::of(set);
    let shares = Shares::of(set);
    let order = |group: &Group<'_>| {
        let orders = group.members.iter().map(|c| shares.order(c));
        orders.min().unwrap_or(LATEST)
    };
    let mut plan = Plan::new(&groups);
    plan.proceed_settled(order, "it is under way");
    plan.reject_late();
    plan.reject_forks_of_settled();
    plan.supersede_older();
    plan.merge_duplicates();
    plan.fit(order, "by priority, then by what the teams have used");
    for (request, verdict) in plan.verdicts_mut() {
        if matches!(verdict.action, Action::Proceed(_) | Action::Defer(_))
            && let Some(why) = shares.why(request)
        {
            verdict.explain(&why);
        }
    }
    plan.finish(&shares.summary())
}

/// The team of a label, else of the first part of a service's name.
fn team<'a>(label: Option<&'a str>, service: &'a str) -> &'a str {
    let first = service.split('/').next().unwrap_or(service);
    label.filter(|team| !team.is_empty()).unwrap_or(first)
}

fn team_of(c: &Request) -> &str {
    team(c.label("team"), &c.service)
}

fn past_team(past: &PastOutcome) -> &str {
    team(past.label("team"), &past.service)
}

/// What each team used.
struct Shares<'a> {
    used: BTreeMap<&'a str, u128>,
    total: u128,
    teams: u128,
}

impl<'a> Shares<'a> {
    fn of(set: &'a ConflictSet) -> Self {
        let mut used: BTreeMap<&str, u128> = BTreeMap::new();
        for past in set.history.iter().filter(|past| past.outcome == "proceed") {
            *used.entry(past_team(past)).or_default() += u128::from(past.bytes);
        }
        let contending: BTreeSet<&str> = set.requests.iter().map(team_of).collect();
        for team in contending {
            used.entry(team).or_default();
        }
        Self {
            total: used.values().sum(),
            teams: used.len() as u128,
            used,
        }
    }

    /// Hours.
    fn pays(&self, team: &str) -> u64 {
        let used = self.used.get(team).copied().unwrap_or_default();
        // Against the share, total / teams, without a division.
        match used * self.teams {
            parts if parts <= self.total => 0,
            parts if 2 * parts <= 3 * self.total => 1,
            parts if parts <= 2 * self.total => 2,
            _ => 3,
        }
    }

    fn order(&self, c: &Request) -> u64 {
        let soon = c.submitted_at.saturating_add(HOUR_MS);
        let due = c.deadline.map_or(soon, |deadline| deadline.min(soon));
        let due = due.saturating_add(self.pays(team_of(c)) * HOUR_MS);
        standard_order(c.priority, Some(due))
    }

    fn percent(&self, team: &str) -> u128 {
        let used = self.used.get(team).copied().unwrap_or_default();
        (used * 100).checked_div(self.total).unwrap_or(0)
    }

    /// What a team that pays is told.
    fn why(&self, c: &Request) -> Option<String> {
        let team = team_of(c);
        let hours = self.pays(team);
        (hours > 0).then(|| {
            format!(
                "{team} used {} % of what went ahead lately, its share is {} %: {hours} h later",
                self.percent(team),
                100 / self.teams.max(1)
            )
        })
    }

    fn summary(&self) -> String {
        if self.total == 0 {
            return "no team has used anything lately: by priority, deadline and age".to_owned();
        }
        let teams = self
            .used
            .keys()
            .map(|team| format!("{team} {} %", self.percent(team)));
        format!(
            "each of {} teams has the same share; used lately: {}",
            self.teams,
            teams.collect::<Vec<_>>().join(", ")
        )
    }
}

tapemark_resolver::resolver! {
    name: "fair-share",
    version: env!("CARGO_PKG_VERSION"),
    summary: "Within a priority, teams that used more than their share wait up to 3 hours longer",
    resolve: decide,
}

#[cfg(test)]
mod tests {
    use super::{BOUND_MS, Shares, decide};
    use tapemark_resolver::{MAX_REASON_BYTES, check_decision, testing};

    #[track_caller]
    fn check(lines: &str, expected: &str) {
        let set = testing::set(1000, lines);
        assert_eq!(testing::text(&decide(&set)), expected, "{lines}");
    }

    #[test]
    fn the_team_that_used_most_goes_last_within_a_priority() {
        let past = "past proceed greedy/x 900\npast proceed modest/x 100\n";
        check(
            &format!("{past}1@10 greedy/a x\n2@20 modest/a y"),
            "1 proceeds as 2\n2 proceeds as 1\n",
        );
        check(
            &format!("{past}1@10 greedy/a x priority=6\n2@20 modest/a y"),
            "1 proceeds as 1\n2 proceeds as 2\n",
        );
        check(
            "1@10 greedy/a x\n2@20 modest/a y",
            "1 proceeds as 1\n2 proceeds as 2\n",
        );
    }

    #[test]
    fn a_label_names_the_team_and_only_what_went_ahead_counts() {
        check(
            "past proceed a/x 900 team=greedy\npast proceed c/x 1\n1@10 b/y x team=greedy\n2@20 c/y y",
            "1 proceeds as 2\n2 proceeds as 1\n",
        );
        check(
            "past defer greedy/x 900\npast proceed modest/x 1\n1@10 greedy/y x\n2@20 modest/y y",
            "1 proceeds as 1\n2 proceeds as 2\n",
        );
    }

    #[test]
    fn a_near_deadline_does_not_buy_a_greedy_team_its_way() {
        check(
            "past proceed greedy/x 900\npast proceed modest/x 100\n\
             1@10 greedy/a x deadline=1300\n2@990 modest/a y",
            "1 proceeds as 2\n2 proceeds as 1\n",
        );
    }

    #[test]
    fn nothing_submitted_four_hours_later_goes_before_it() {
        let bound = BOUND_MS / 1000;
        let past = "past proceed greedy/x 900\npast proceed a/x 1\npast proceed b/x 1\n\
                    past proceed c/x 1\n";
        // The rival is as well off as can be: its share unused, its deadline next.
        for (later, first) in [(bound - 2, 2), (bound, 1)] {
            let (at, deadline) = (10 + later, 10 + later + 1);
            let set = testing::set(
                at,
                &format!("{past}1@10 greedy/a x\n2@{at} modest/a y deadline={deadline}"),
            );
            let expected = match first {
                1 => "1 proceeds as 1\n2 proceeds as 2\n",
                _ => "1 proceeds as 2\n2 proceeds as 1\n",
            };
            assert_eq!(testing::text(&decide(&set)), expected, "{later} s later");
        }
    }

    #[test]
    fn hours_rise_with_what_was_used() {
        for (used, hours) in [
            (33, 0),
            (100, 0),
            (101, 1),
            (200, 1),
            (201, 2),
            (400, 2),
            (401, 3),
        ] {
            // Of three teams, two of which used 100 each: a share is (200 + used) / 3.
            let set = testing::set(
                1000,
                &format!("past proceed a/x {used}\npast proceed b/x 100\npast proceed c/x 100"),
            );
            assert_eq!(Shares::of(&set).pays("a"), hours, "{used}");
        }
    }

    #[test]
    fn the_reason_names_the_share_and_what_was_used() {
        let set = testing::set(
            1000,
            "past proceed greedy/x 900\npast proceed modest/x 100\n1@10 greedy/a x\n2@20 modest/a y",
        );
        let decision = decide(&set).unwrap();
        assert_eq!(
            decision.verdicts[0].reason,
            "by priority, then by what the teams have used; greedy used 90 % of what went ahead \
             lately, its share is 50 %: 2 h later"
        );
        assert_eq!(
            decision.reason,
            "each of 2 teams has the same share; used lately: greedy 90 %, modest 10 %"
        );
    }

    #[test]
    fn many_teams_with_long_names_do_not_break_the_contract() {
        let lines: String = (1..60)
            .map(|n| format!("{n}@10 {}{n}/a x bytes=1\n", "team".repeat(25)))
            .collect();
        let mut set = testing::set(1000, &format!("past proceed other/x 5\n{lines}"));
        set.volumes[0].free = 1000;
        let decision = decide(&set).unwrap();
        assert_eq!(check_decision(&set, &decision), Ok(()));
        assert!(decision.reason.len() <= MAX_REASON_BYTES);
    }

    #[test]
    fn it_holds_on_random_sets() {
        testing::check(decide);
    }
}
