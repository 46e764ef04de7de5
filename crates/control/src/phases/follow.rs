//! Follow: a duplicate of a group that is on its way waits for it.

use std::collections::BTreeSet;

use model::{Code, Refusal};
use serde_json::{Value, json};

use super::{Input, ended};
use crate::catalogue::{Answer, TRIES, Tx};
use crate::records::{Follower, GroupRecord, Step, StepKind};
use crate::{Control, decide};

/// At most so many duplicates wait for one group; each is woken in the transaction that
/// ends it.
const MAX_FOLLOWERS: usize = 20;

/// True where this duplicate can not wait for that group, because so many others do.
pub(super) fn is_full(leader: &GroupRecord, own: &GroupRecord) -> bool {
    let others = leader.followers.iter();
    others.filter(|f| f.group != own.group.id).count() >= MAX_FOLLOWERS
}

impl Control {
    /// A duplicate waits until it is known what becomes of the group that stands for it.
    pub(crate) async fn follow(&self, input: &Input) -> Answer<Value> {
        let token = input.token()?;
        for _ in 0..TRIES {
            let own = self.group_record(input.group).await?;
            if let Some(refusal) = ended(&own.value) {
                return Err(refusal);
            }
            // Decided anew: who stands for it may have changed since allocate answered.
            let gathered = self.gather(own).await?;
            let own = &gathered.own;
            let mine: BTreeSet<_> = own
                .value
                .members
                .iter()
                .map(|m| {
                    (
                        &m.checkpoint.service,
                        &m.checkpoint.branch,
                        m.checkpoint.content,
                    )
                })
                .collect();
            let leader = gathered
                .others
                .values()
                .filter(|other| decide::may_follow(&own.value, other))
                // Where allocate says to wait, one of them had room: it is found here too.
                .filter(|other| !is_full(&other.seen.value, &own.value))
                .find(|other| {
                    other.seen.value.members.iter().any(|m| {
                        let c = &m.checkpoint;
                        mine.contains(&(&c.service, &c.branch, c.content))
                    })
                });
            let mut tx = Tx::new();
            let mut record = own.value.clone();
            match leader {
                Some(other) => {
                    let mut leading = other.seen.value.clone();
                    leading.followers.retain(|f| f.group != record.group.id);
                    leading.followers.push(Follower {
                        group: record.group.id,
                        token: token.clone(),
                    });
                    tx.replace(&leading, other.seen.version);
                    record.step = Some(Step {
                        kind: StepKind::Follow,
                        placement: input.placement,
                        attempt: input.attempt,
                        token: token.clone(),
                    });
                    tx.replace(&record, own.version);
                }
                // Nobody to wait for any more, or too many wait already: decide again, which
                // puts it off in the latter case.
                None => tx.tell(&self.effect(crate::Effect::TaskSucceeded {
                    token: token.clone(),
                    output: json!({}),
                })),
            }
            let answer = self.transact(tx).await;
            if !crate::catalogue::lost_race(&answer) {
                return answer.map(|()| json!({}));
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }
}
