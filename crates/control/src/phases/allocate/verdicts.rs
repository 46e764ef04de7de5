//! Applying verdicts other than to go ahead.

use model::{Action, Code, Deferred, LifecycleEvent, Refusal, Verdict};
use serde_json::json;

use super::{Plan, later, merged};
use crate::books::Accounts;
use crate::catalogue::{self, Answer, Seen};
use crate::decide::{Ruling, may_follow, whole_millis};
use crate::ports::{Condition, MAX_WRITES};
use crate::records::{GroupRecord, StepKind, UnpinRecord};
use crate::{Control, keys};

/// How long a group waits for a younger one that is to stand for it to begin.
const FOLLOW_AGAIN_SECONDS: i64 = 60;

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
        accounts: &mut Accounts,
        plan: &mut Plan,
    ) -> Answer<()> {
        let mine = &own.group.checkpoints;
        for (id, other) in &ruling.groups {
            if ruling.asking.contains(id) {
                continue;
            }
            let by = ruling
                .verdicts(&other.seen.value)
                .into_iter()
                .find_map(|verdict| match &verdict.action {
                    Action::Supersede { by } => Some(*by),
                    _ => None,
                });
            let Some(by) = by.filter(|by| mine.contains(by)) else {
                continue;
            };
            let size = 4 + other.seen.value.members.len() + other.work.len();
            if plan.tx.len() + size > MAX_WRITES / 2 {
                // Too much for one transaction: its own run will find itself superseded.
                continue;
            }
            self.add_accounts(accounts, other.seen.value.volumes())
                .await?;
            for work in &other.work {
                plan.tx.delete(
                    keys::work(&work.value.key),
                    Condition::Version(work.version),
                );
            }
            let refusal = Refusal::new(Code::Superseded, format!("checkpoint {by} took its place"));
            let mut seen = other.seen.clone();
            seen.value.group.decision = Some(ruling.id);
            self.finish(
                &mut plan.tx,
                accounts,
                &seen,
                LifecycleEvent::Supersede(by),
                Some(&refusal),
            )?;
            plan.unpin.push(UnpinRecord::of(&other.seen.value.group));
            tracing::info!(group = %id, %by, "superseded");
        }
        Ok(())
    }

    /// Applies a verdict other than to go ahead.
    pub(super) fn handed_on(
        &self,
        ruling: &Ruling,
        own: &Seen<GroupRecord>,
        verdicts: &[&Verdict],
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
            Action::Defer { until } => self.defer(own, *until, &first.reason, plan),
            Action::Supersede { by } => {
                if let Some(other) = ruling.group_of(*by) {
                    // Whoever takes the place must still be there to take it.
                    plan.tx
                        .check(keys::group(other.seen.value.group.id), other.seen.version);
                }
                end(plan, own, LifecycleEvent::Supersede(*by))?;
                plan.answer = Err(Refusal::new(
                    Code::Superseded,
                    format!("checkpoint {by} took its place"),
                ));
            }
            Action::Merge { into } => {
                let open = verdicts.iter().find_map(|verdict| match verdict.action {
                    Action::Merge { into } => ruling.group_of(into),
                    _ => None,
                });
                match open {
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
                        let until =
                            catalogue::later(whole_millis(self.now()), FOLLOW_AGAIN_SECONDS);
                        let reason = format!("waits for {into} to begin: {}", first.reason);
                        self.defer(own, until, &reason, plan);
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

    /// The run asks again later; until then nobody decides.
    fn defer(
        &self,
        own: &Seen<GroupRecord>,
        until: jiff::Timestamp,
        reason: &str,
        plan: &mut Plan,
    ) {
        let mut record = own.value.clone();
        let before = record.group.deferred.as_ref();
        let times = before.map_or(1, |before| before.times.saturating_add(1));
        let soonest = catalogue::later(whole_millis(self.now()), shortest_wait(times));
        let deferred = Deferred {
            until: until.max(soonest),
            reason: reason.to_owned(),
            times,
        };
        plan.answer = Ok(later(deferred.until));
        record.group.deferred = Some(deferred);
        plan.tx.replace(&record, own.version);
    }
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
fn final_refusal(refusal: &Refusal) -> Refusal {
    match refusal.code {
        Code::LineageFork | Code::DeadlineMissed | Code::PolicyRefused | Code::ResolverFailed => {
            refusal.clone()
        }
        code => Refusal::new(Code::PolicyRefused, format!("{code}: {}", refusal.message)),
    }
}
