//! What `genetic` and `learned` share: all the default's rules for conflicts, and another
//! order of those that go ahead.
//!
//! It never decides who is refused or superseded otherwise than `priority-deadline` does,
//! and never reads anything but the set.
//!
//! ```
//! use ordering::Ordering;
//! use tapemark_resolver::{Groups, testing};
//!
//! let set = testing::set(1000, "1@10 pay x\n2@20 shop y\n3@30 log z");
//! let groups = Groups::of(&set);
//! let ordering = Ordering::of(&groups)?;
//! // The jobs stand in the default's order; here the last goes first.
//! let plan = ordering.round.plan(vec![2, 0, 1]);
//! let decision = ordering.decide(&plan, "the last first", |_, _| "as asked".to_owned())?;
//! assert_eq!(
//!     testing::text(&Ok(decision)),
//!     "1 proceeds as 2\n2 proceeds as 3\n3 proceeds as 1\n"
//! );
//! # Ok::<(), tapemark_resolver::ResolverError>(())
//! ```

use std::collections::BTreeMap;

use schedule::{Facts, Fate, PastFacts, Round, VolumeFacts};
use tapemark_resolver::{
    Action, ConflictSet, Decision, Group, Groups, Label, Plan, RETRY_AFTER_MS, ResolverError,
};

const STANDARD: &str = "by priority, deadline and age";

/// A set with all conflicts decided, and the order open.
pub struct Ordering<'g, 'a> {
    /// What can be ordered; its jobs in the default's order.
    pub round: Round,
    /// What is known of the set.
    pub facts: Facts,
    /// What the default decides.
    pub standard: Decision,
    plan: Plan<'g, 'a>,
    /// For each job its group.
    groups: Vec<&'g Group<'a>>,
}

impl<'g, 'a> Ordering<'g, 'a> {
    /// Decides conflicts by the steps of `priority-deadline`.
    ///
    /// # Errors
    /// None: they decide every set.
    pub fn of(groups: &'g Groups<'a>) -> Result<Self, ResolverError> {
        let mut plan = Plan::new(groups);
        plan.proceed_settled(Group::standard_order, STANDARD);
        plan.reject_late();
        plan.reject_forks_of_settled();
        plan.supersede_older();
        plan.merge_duplicates();
        let mut whole = plan.clone();
        whole.fit(Group::standard_order, STANDARD);
        let standard = whole.finish(STANDARD)?;
        let facts = facts(groups.set(), &standard);
        let round = Round::new(&facts);
        let by_id: BTreeMap<&str, &Group<'a>> = groups.iter().map(|g| (g.id, g)).collect();
        let group_of = |job: usize| {
            let member = *round.members.get(job)?.first()?;
            let id = &facts.requests.get(member)?.group;
            by_id.get(id.as_str()).copied()
        };
        let jobs: Option<Vec<_>> = (0..round.members.len()).map(group_of).collect();
        let groups = jobs.ok_or_else(|| {
            ResolverError::new(
                "internal",
                "expected a group for each job, found none for one",
            )
        })?;
        Ok(Self {
            round,
            facts,
            standard,
            plan,
            groups,
        })
    }

    /// The decision where the jobs go ahead by `plan`: orders of the standard scale, dealt
    /// out anew. `why` gives the reason of a job at a place in line, counted from 0 among
    /// those that go ahead.
    ///
    /// # Errors
    /// `undecided` where the plan leaves out a job that neither rides nor is settled.
    pub fn decide(
        mut self,
        plan: &schedule::Plan,
        reason: &str,
        why: impl Fn(usize, usize) -> String,
    ) -> Result<Decision, ResolverError> {
        let outcome = self.round.problem.evaluate(plan);
        let ahead: Vec<usize> = plan
            .line
            .iter()
            .copied()
            .filter(|job| !plan.rides[*job] && !outcome.deferred.contains(job))
            .collect();
        let orders = self.round.dealt(&ahead);
        for (place, (job, order)) in ahead.iter().zip(orders).enumerate() {
            self.plan
                .proceed(self.groups[*job], order, &why(*job, place));
        }
        let again = self.facts.now.saturating_add(RETRY_AFTER_MS);
        for job in outcome.deferred {
            self.plan
                .defer(self.groups[job], again, "no volume has room now");
        }
        self.plan.finish(reason)
    }
}

/// A set and a decision, as `schedule` takes them.
pub fn facts(set: &ConflictSet, decision: &Decision) -> Facts {
    let place: BTreeMap<&str, usize> = set
        .requests
        .iter()
        .enumerate()
        .map(|(at, request)| (request.id.as_str(), at))
        .collect();
    let mut fates = vec![Fate::Rejected; set.requests.len()];
    for verdict in &decision.verdicts {
        let at = |id: &String| place.get(id.as_str()).copied();
        let fate = match &verdict.action {
            Action::Proceed(order) => Fate::Proceeds(*order),
            Action::Supersede(by) => at(by).map_or(Fate::Rejected, Fate::Superseded),
            Action::Merge(into) => at(into).map_or(Fate::Rejected, Fate::Merged),
            Action::Defer(until) => Fate::Deferred(*until),
            Action::Reject(_) => Fate::Rejected,
        };
        if let Some(at) = at(&verdict.id) {
            fates[at] = fate;
        }
    }
    Facts {
        now: set.now,
        requests: set
            .requests
            .iter()
            .zip(fates)
            .map(|(request, fate)| schedule::Request {
                group: request.group.clone(),
                team: team(&request.labels, &request.service),
                bytes: request.bytes,
                priority: request.priority,
                submitted_at: request.submitted_at,
                deadline: request.deadline,
                attempt: request.attempt,
                settled: request.settled,
                fate,
            })
            .collect(),
        volumes: set
            .volumes
            .iter()
            .map(|volume| VolumeFacts {
                barcode: volume.barcode.clone(),
                free: volume.free,
                begun: volume.state != "scratch",
            })
            .collect(),
        drives: set
            .drives
            .iter()
            .filter(|drive| drive.state != "down")
            .map(|drive| drive.volume.clone())
            .collect(),
        history: set
            .history
            .iter()
            .filter(|past| past.outcome == "proceed")
            .map(|past| PastFacts {
                team: team(&past.labels, &past.service),
                bytes: past.bytes,
            })
            .collect(),
    }
}

/// The label `team`, else the service.
fn team(labels: &[Label], service: &str) -> String {
    let label = labels.iter().find(|(name, _)| name == "team");
    label.map_or(service, |(_, team)| team).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapemark_resolver::{check_decision, testing};

    #[test]
    fn the_standard_plan_decides_as_the_default_does() {
        for seed in 0..300 {
            let set = testing::random(seed);
            let groups = Groups::of(&set);
            let ordering = Ordering::of(&groups).unwrap();
            let standard = ordering.standard.clone();
            let plan = schedule::Plan::standard(&ordering.round.problem);
            let decision = ordering
                .decide(&plan, STANDARD, |_, _| STANDARD.to_owned())
                .unwrap();
            assert_eq!(decision, standard, "seed {seed}");
        }
    }

    #[test]
    fn any_order_and_any_merge_undone_keeps_the_invariants() {
        let mut undone = 0;
        for seed in 0..300 {
            let set = testing::random(seed);
            let groups = Groups::of(&set);
            let ordering = Ordering::of(&groups).unwrap();
            let mut plan = schedule::Plan::standard(&ordering.round.problem);
            plan.line.reverse();
            for (at, rides) in plan.rides.iter_mut().enumerate() {
                if *rides && (seed + at as u64).is_multiple_of(2) {
                    *rides = false;
                    undone += 1;
                }
            }
            let decision = ordering
                .decide(&plan, "reversed", |_, _| String::new())
                .unwrap();
            assert_eq!(check_decision(&set, &decision), Ok(()), "seed {seed}");
        }
        assert!(undone > 50, "{undone}");
    }
}
