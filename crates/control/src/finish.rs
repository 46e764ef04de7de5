//! The end of a group: what has to happen together whenever one becomes final.

use model::{Code, LifecycleEvent, Refusal};
use serde_json::json;

use crate::books::Accounts;
use crate::catalogue::{Answer, Seen, Tx};
use crate::outbox::Effect;
use crate::phases::illegal;
use crate::ports::Condition;
use crate::records::{GroupRecord, UnpinRecord};
use crate::{Control, keys};

impl Control {
    /// Adds to `tx` what ends a group other than by commit: its state, its promises let
    /// go, what was written counted as abandoned, its place in the lineage given up, its
    /// duplicates woken; and `tell`, where the run waits at a token and has to hear why.
    ///
    /// `accounts` must hold the group's volumes; the caller writes them.
    pub(crate) fn finish(
        &self,
        tx: &mut Tx,
        accounts: &mut Accounts,
        seen: &Seen<GroupRecord>,
        event: LifecycleEvent,
        tell: Option<&Refusal>,
    ) -> Answer<()> {
        let mut record = seen.value.clone();
        record.group.lifecycle = record.group.lifecycle.apply(event).map_err(illegal)?;
        record.group.finished_at = Some(self.now());
        for part in record.parts_mut() {
            accounts.abandon(part);
        }
        for member in &record.members {
            let c = &member.checkpoint;
            tx.delete(
                keys::lineage(&c.service, c.branch.as_ref(), c.id),
                Condition::None,
            );
        }
        if let (Some(step), Some(refusal)) = (record.step.take(), tell) {
            tx.tell(&self.effect(Effect::failed(step.token, refusal)));
        }
        self.wake_followers(tx, &mut record);
        // Nobody may be left to unpin: the one who wrote this may not hear that it did.
        tx.put(&UnpinRecord::of(&record.group));
        tx.replace(&record, seen.version);
        Ok(())
    }

    /// Duplicates that waited decide anew, now that this group is final.
    pub(crate) fn wake_followers(&self, tx: &mut Tx, record: &mut GroupRecord) {
        for follower in std::mem::take(&mut record.followers) {
            tx.tell(&self.effect(Effect::TaskSucceeded {
                token: follower.token,
                output: json!({"ended": record.group.id}),
            }));
        }
    }

    /// Lets go of what was pinned for a group that is final. What cannot be let go now is
    /// noted, and swept later.
    pub(crate) async fn unpin(&self, group: &UnpinRecord) {
        if self.try_unpin(group).await {
            return;
        }
        let mut tx = Tx::new();
        tx.put(group);
        if let Err(error) = self.transact(tx).await {
            tracing::error!(group = %group.group, %error, "the note to unpin was not taken");
        }
    }

    /// True where nothing of the group is pinned any more.
    pub(crate) async fn try_unpin(&self, group: &UnpinRecord) -> bool {
        for checkpoint in &group.checkpoints {
            if let Err(error) = self.ports.objects.unpin(*checkpoint).await {
                tracing::warn!(%checkpoint, %error, "not unpinned yet");
                return false;
            }
        }
        true
    }
}

/// The event that gives a group up, whichever its state allows.
pub(crate) fn giving_up(record: &GroupRecord, refusal: &Refusal) -> Option<LifecycleEvent> {
    [
        LifecycleEvent::Reject(refusal.clone()),
        LifecycleEvent::Fail(refusal.clone()),
    ]
    .into_iter()
    .find(|event| record.group.lifecycle.apply(event.clone()).is_ok())
}

/// The refusal of somebody who called it off.
pub(crate) fn cancelled(by: &str) -> Refusal {
    Refusal::new(Code::Cancelled, format!("called off by {by}"))
}
