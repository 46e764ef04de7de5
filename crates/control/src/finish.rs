//! The end of a group: what has to happen together whenever one becomes final.

use model::{CheckpointId, Code, LifecycleEvent, Refusal};
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
                keys::lineage(&c.service, c.branch.as_ref(), c.parent, c.id),
                Condition::None,
            );
        }
        if let (Some(step), Some(refusal)) = (record.step.take(), tell) {
            tx.tell(&self.effect(Effect::failed(step.token, refusal)));
        }
        self.wake_followers(tx, &mut record);
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

    /// Lets go of what was pinned for checkpoints that are final. What cannot be let go
    /// now is noted, and swept later.
    pub(crate) async fn unpin(&self, checkpoints: &[CheckpointId]) {
        for checkpoint in checkpoints {
            let Err(error) = self.ports.objects.unpin(*checkpoint).await else {
                continue;
            };
            tracing::warn!(%checkpoint, %error, "not unpinned yet");
            let mut tx = Tx::new();
            tx.put(&UnpinRecord {
                checkpoint: *checkpoint,
            });
            if let Err(error) = self.transact(tx).await {
                tracing::error!(%checkpoint, %error, "the note to unpin was not taken");
            }
        }
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
