//! Applying verdicts other than to go ahead.

use std::collections::{BTreeMap, BTreeSet};

use model::{Action, CheckpointId, Code, Deferred, GroupId, LifecycleEvent, Refusal, Verdict};
use serde_json::json;

use super::{Plan, later, merged};
use crate::books::Accounts;
use crate::catalogue::{self, Answer, Seen};
use crate::conflict::Other;
use crate::decide::{Ruling, may_follow, whole_millis};
use crate::phases::follow::is_full;
use crate::ports::{Condition, MAX_WRITES};
use crate::records::{GroupRecord, StepKind, UnpinRecord};
use crate::{Control, keys};

/// How long a group waits for another one: one that is to stand for it or to take its
/// place, or that has the place that it needs.
const ASK_AGAIN_SECONDS: i64 = 60;

/// No group waits for longer than this after it was submitted: its execution ends after
/// 90 days, whatever it waits for, and what is left of them is for taking it to tape.
const LONGEST_WAIT_DAYS: i64 = 85;

/// What became of a verdict.
pub(super) enum Handed {
    /// It says to go ahead, at this place in line.
    Ahead(u64),
    /// The plan says what happens instead.
    On,
}

/// The shortest wait after so many deferrals in a row. A run may wait for 90 days, and a
/// history has room for 25,000 events, ten a deferral: this leaves half of them.
const fn shortest_wait(times: u32) -> i64 {
    match times {
        0..=30 => 0,
        31..=300 => 600,
        _ => 7200,
    }
}

impl Control {
    /// Others that this group supersedes. What has been claimed meanwhile fails the
    /// condition on its work item, and all is decided anew. Those that ask in the same
    /// round apply their own verdicts.
    pub(super) async fn supersede_others(
        &self,
        ruling: &Ruling,
        own: &GroupRecord,
        placed: &BTreeSet<GroupId>,
        accounts: &mut Accounts,
        plan: &mut Plan,
    ) -> Answer<()> {
        for (id, other) in &ruling.groups {
            if ruling.asking.contains(id) || plan.ends(*id) {
                continue;
            }
            let verdicts = ruling.verdicts(&other.seen.value);
            let Some(by) = superseder(&verdicts, own) else {
                continue;
            };
            let Some(others) = standing(ruling, &verdicts, own, placed) else {
                // Whoever takes the place of its other members does it.
                continue;
            };
            let record = &other.seen.value;
            let size = 4
                + record.members.len()
                + record.followers.len()
                + record.volumes().len()
                + other.work.len();
            if plan.tx.len() + size > MAX_WRITES / 2 {
                // Too much for one transaction: its own run will find itself superseded.
                continue;
            }
            for (group, version) in others {
                plan.check(group, version);
            }
            let event = LifecycleEvent::Supersede(by);
            self.end_other(ruling, other, event, &took_its_place(by), accounts, plan)
                .await?;
        }
        Ok(())
    }

    /// Ends a group that no agent has yet, together with its work, and tells its run.
    pub(super) async fn end_other(
        &self,
        ruling: &Ruling,
        other: &Other,
        event: LifecycleEvent,
        refusal: &Refusal,
        accounts: &mut Accounts,
        plan: &mut Plan,
    ) -> Answer<()> {
        let record = &other.seen.value;
        self.add_accounts(accounts, record.volumes()).await?;
        for work in &other.work {
            plan.tx.delete(
                keys::work(&work.value.volume, &work.value.key),
                Condition::Version(work.version),
            );
        }
        let mut seen = other.seen.clone();
        seen.value.group.decision = Some(ruling.id);
        if !matches!(event, LifecycleEvent::Supersede(_)) {
            seen.value.group.refusals = vec![refusal.clone()];
        }
        tracing::info!(group = %record.group.id, %refusal, "ended by a decision on another one");
        plan.unpin.push(UnpinRecord::of(&record.group));
        plan.volumes.extend(record.volumes());
        self.finish(&mut plan.tx, accounts, &seen, event, Some(refusal))
    }

    /// A plan that refuses the group that asks.
    pub(super) fn refused(
        &self,
        own: &Seen<GroupRecord>,
        refusal: Refusal,
        accounts: &mut Accounts,
    ) -> Answer<Plan> {
        let mut plan = Plan::new();
        let mut seen = own.clone();
        seen.value.group.refusals = vec![refusal.clone()];
        plan.unpin.push(UnpinRecord::of(&seen.value.group));
        let event = LifecycleEvent::Reject(refusal.clone());
        self.finish(&mut plan.tx, accounts, &seen, event, None)?;
        plan.answer = Err(refusal);
        Ok(plan)
    }

    /// A plan that has the group ask again in a minute.
    pub(super) fn postponed(
        &self,
        own: &Seen<GroupRecord>,
        reason: &str,
        accounts: &mut Accounts,
    ) -> Answer<Plan> {
        let until = catalogue::later(whole_millis(self.now()), ASK_AGAIN_SECONDS);
        self.defer(own, until, reason, accounts)
    }

    /// Applies a verdict other than to go ahead.
    pub(super) fn handed_on(
        &self,
        ruling: &Ruling,
        own: &Seen<GroupRecord>,
        verdicts: &[&Verdict],
        placed: &BTreeSet<GroupId>,
        accounts: &mut Accounts,
        plan: &mut Plan,
    ) -> Answer<Handed> {
        let Some(first) = verdicts.first() else {
            return Err(Refusal::new(
                Code::Internal,
                format!(
                    "decision {} has no verdict on {}",
                    ruling.id, own.value.group.id
                ),
            ));
        };
        let mut end = |plan: &mut Plan, seen: &Seen<GroupRecord>, event| {
            plan.unpin.push(UnpinRecord::of(&seen.value.group));
            self.finish(&mut plan.tx, accounts, seen, event, None)
        };
        match &first.action {
            Action::Proceed { order } => return Ok(Handed::Ahead(*order)),
            Action::Reject { refusal } => {
                let refusal = final_refusal(refusal);
                let mut seen = own.clone();
                seen.value.group.refusals = vec![refusal.clone()];
                end(plan, &seen, LifecycleEvent::Reject(refusal.clone()))?;
                plan.answer = Err(refusal);
            }
            Action::Defer { until } => {
                *plan = self.defer(own, *until, &first.reason, accounts)?;
            }
            Action::Supersede { by } => {
                let Some(others) = standing(ruling, verdicts, &own.value, placed) else {
                    // It may yet be refused or called off, and nothing newer would be there.
                    let reason = format!("waits for {by} to go ahead: {}", first.reason);
                    *plan = self.postponed(own, &reason, accounts)?;
                    return Ok(Handed::On);
                };
                // Whoever takes the place must still be there to take it.
                for (group, version) in others {
                    plan.check(group, version);
                }
                end(plan, own, LifecycleEvent::Supersede(*by))?;
                plan.answer = Err(took_its_place(*by));
            }
            Action::Merge { into } => {
                let open = verdicts.iter().find_map(|verdict| match verdict.action {
                    Action::Merge { into } => ruling.group_of(into),
                    _ => None,
                });
                match open {
                    // Its run asks again; a place may be free by then, or the other one
                    // at its end.
                    Some(other)
                        if may_follow(&own.value, other)
                            && is_full(&other.seen.value, &own.value) =>
                    {
                        let reason = format!("waits for a place behind {into}: {}", first.reason);
                        *plan = self.postponed(own, &reason, accounts)?;
                    }
                    // It stands for both once it is committed; until then this one keeps
                    // what it pinned, and goes its own way should the other one fail.
                    Some(other) if may_follow(&own.value, other) => {
                        plan.answer = Ok(json!({
                            "outcome": "wait",
                            "for": other.seen.value.group.id,
                        }));
                    }
                    // A younger one that follows somebody itself, perhaps this one.
                    Some(other)
                        if other
                            .seen
                            .value
                            .step
                            .as_ref()
                            .is_some_and(|step| step.kind == StepKind::Follow) =>
                    {
                        return Ok(Handed::Ahead(native_order(&own.value)));
                    }
                    // A younger one is followed once an agent has it.
                    Some(_) => {
                        let reason = format!("waits for {into} to begin: {}", first.reason);
                        *plan = self.postponed(own, &reason, accounts)?;
                    }
                    None => {
                        let mut seen = own.clone();
                        for member in &mut seen.value.members {
                            member.merged_into = verdicts.iter().find_map(|verdict| match verdict
                                .action
                            {
                                Action::Merge { into } if verdict.id == member.checkpoint.id => {
                                    Some(into)
                                }
                                _ => None,
                            });
                        }
                        end(plan, &seen, LifecycleEvent::Merge(*into))?;
                        plan.answer = Ok(merged());
                    }
                }
            }
            action => {
                return Err(Refusal::new(
                    Code::Internal,
                    format!("no way to apply the action {}", action.name()),
                ));
            }
        }
        Ok(Handed::On)
    }

    /// A plan that has the run ask again later; until then nobody decides. Where its
    /// execution would be over by then, it is refused while somebody still can: nobody else
    /// lets go of what is pinned for it.
    fn defer(
        &self,
        own: &Seen<GroupRecord>,
        until: jiff::Timestamp,
        reason: &str,
        accounts: &mut Accounts,
    ) -> Answer<Plan> {
        let mut record = own.value.clone();
        let before = record.group.deferred.as_ref();
        let times = before.map_or(1, |before| before.times.saturating_add(1));
        let soonest = catalogue::later(whole_millis(self.now()), shortest_wait(times));
        let deferred = Deferred {
            until: until.max(soonest),
            reason: reason.to_owned(),
            times,
        };
        let last = catalogue::later(record.group.submitted_at, LONGEST_WAIT_DAYS * 86_400);
        if deferred.until > last {
            let message =
                format!("deferred for {LONGEST_WAIT_DAYS} days, {times} times, lastly: {reason}");
            return self.refused(own, Refusal::new(Code::ResolverFailed, message), accounts);
        }
        let mut plan = Plan::new();
        plan.answer = Ok(later(deferred.until));
        record.group.deferred = Some(deferred);
        plan.tx.replace(&record, own.version);
        Ok(plan)
    }
}

/// Which checkpoint of `own` takes the place of the group that these verdicts are on.
pub(super) fn superseder(verdicts: &[&Verdict], own: &GroupRecord) -> Option<CheckpointId> {
    verdicts.iter().find_map(|verdict| match &verdict.action {
        Action::Supersede { by } if own.group.checkpoints.contains(by) => Some(*by),
        _ => None,
    })
}

/// Whether all who take the place of the group that these verdicts are on have gone ahead,
/// or do so in this transaction, as `own` and those in `placed` do. None where one has not.
/// The versions of those who had gone ahead before and are not final.
pub(super) fn standing(
    ruling: &Ruling,
    verdicts: &[&Verdict],
    own: &GroupRecord,
    placed: &BTreeSet<GroupId>,
) -> Option<BTreeMap<GroupId, u64>> {
    let mut before = BTreeMap::new();
    for verdict in verdicts {
        let Action::Supersede { by } = &verdict.action else {
            continue;
        };
        let mut at = *by;
        // Whoever takes a place may be handed on too; a decision has no circles.
        for _ in 0..ruling.decision.verdicts.len() {
            // What is committed is in the set, and no group that is not final.
            let Some(other) = ruling.group_of(at) else {
                break;
            };
            let record = &other.seen.value;
            if record.group.id == own.group.id || placed.contains(&record.group.id) {
                break;
            }
            if other.was_placed() {
                before.insert(record.group.id, other.seen.version);
                break;
            }
            let mut all = ruling.decision.verdicts.iter();
            at = match all.find(|verdict| verdict.id == at).map(|v| &v.action) {
                Some(Action::Supersede { by: next } | Action::Merge { into: next }) => *next,
                _ => return None,
            };
        }
    }
    Some(before)
}

/// What the run of a superseded group is told.
pub(super) fn took_its_place(by: CheckpointId) -> Refusal {
    Refusal::new(Code::Superseded, format!("checkpoint {by} took its place"))
}

/// The place in line that the native policy gives.
fn native_order(record: &GroupRecord) -> u64 {
    let members = record.members.iter();
    members
        .map(|member| policy::order(&record.contender(member, false)))
        .min()
        .unwrap_or((1 << 53) - 1)
}

/// The state machine would try again on some codes, and take others for something else: a
/// policy's refusal is one of those that end a run.
pub(super) fn final_refusal(refusal: &Refusal) -> Refusal {
    match refusal.code {
        Code::LineageFork | Code::DeadlineMissed | Code::PolicyRefused | Code::ResolverFailed => {
            refusal.clone()
        }
        code => Refusal::new(Code::PolicyRefused, format!("{code}: {}", refusal.message)),
    }
}
