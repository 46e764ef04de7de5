//! Applying verdicts other than to go ahead.

use model::{Action, Code, Decision, LifecycleEvent, Refusal, Verdict};
use serde_json::json;

use super::{Plan, merged};
use crate::books::Accounts;
use crate::catalogue::{Answer, Seen};
use crate::conflict::Gathered;
use crate::ports::{Condition, MAX_WRITES};
use crate::records::{GroupRecord, UnpinRecord};
use crate::{Control, keys};

impl Control {
    /// Others that this group supersedes. What has been claimed meanwhile fails the
    /// condition on its work item, and all is decided anew.
    pub(super) async fn supersede_others(
        &self,
        gathered: &Gathered,
        decision: &Decision,
        accounts: &mut Accounts,
        plan: &mut Plan,
    ) -> Answer<()> {
        let mine = &gathered.own.value.group.checkpoints;
        for (id, other) in &gathered.others {
            let by = decision
                .verdicts
                .iter()
                .find_map(|verdict| match &verdict.action {
                    Action::Supersede { by }
                        if other.seen.value.group.checkpoints.contains(&verdict.id) =>
                    {
                        Some(*by)
                    }
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
            self.finish(
                &mut plan.tx,
                accounts,
                &other.seen,
                LifecycleEvent::Supersede(by),
                Some(&refusal),
            )?;
            plan.unpin.push(UnpinRecord::of(&other.seen.value.group));
            tracing::info!(group = %id, %by, "superseded");
        }
        Ok(())
    }

    /// Applies a verdict other than to go on. True where there was one.
    pub(super) fn handed_on(
        &self,
        gathered: &Gathered,
        verdicts: &[&Verdict],
        accounts: &mut Accounts,
        plan: &mut Plan,
    ) -> Answer<bool> {
        let own = &gathered.own;
        let Some(first) = verdicts.first() else {
            return Ok(false);
        };
        let mut end = |plan: &mut Plan, seen: &Seen<GroupRecord>, event| {
            plan.unpin.push(UnpinRecord::of(&seen.value.group));
            self.finish(&mut plan.tx, accounts, seen, event, None)
        };
        match &first.action {
            Action::Reject { refusal } => {
                let mut seen = own.clone();
                seen.value.group.refusals = vec![refusal.clone()];
                end(plan, &seen, LifecycleEvent::Reject(refusal.clone()))?;
                plan.answer = Err(refusal.clone());
            }
            Action::Defer { until } => {
                return Err(Refusal::new(
                    Code::NoCapacity,
                    format!("{}; deferred until {until}", first.reason),
                ));
            }
            Action::Supersede { by } => {
                if let Some(other) = gathered
                    .others
                    .values()
                    .find(|other| other.seen.value.group.checkpoints.contains(by))
                {
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
                let waits_for = verdicts.iter().find_map(|verdict| match verdict.action {
                    Action::Merge { into } => gathered
                        .others
                        .values()
                        .find(|other| other.seen.value.group.checkpoints.contains(&into)),
                    _ => None,
                });
                if let Some(other) = waits_for {
                    // It stands for both once it is committed; until then this one keeps
                    // what it pinned, and goes its own way should the other one fail.
                    plan.answer = Ok(json!({
                        "outcome": "wait",
                        "for": other.seen.value.group.id,
                    }));
                    return Ok(true);
                }
                let mut seen = own.clone();
                for member in &mut seen.value.members {
                    member.merged_into = verdicts.iter().find_map(|verdict| match verdict.action {
                        Action::Merge { into } if verdict.id == member.checkpoint.id => Some(into),
                        _ => None,
                    });
                }
                end(plan, &seen, LifecycleEvent::Merge(*into))?;
                plan.answer = Ok(merged());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
