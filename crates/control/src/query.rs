//! What the API reads, and how submitters and operators call runs off.

use futures::stream::{self, StreamExt, TryStreamExt};
use model::{
    Artifact, Checkpoint, CheckpointId, Code, Group, GroupId, LifecycleEvent, Refusal, ServiceName,
    State,
};
use serde_json::json;

use crate::authority::{Action, Resource};
use crate::catalogue::{Answer, READS_AT_ONCE, Seen, TRIES, Tx, lost_race, query};
use crate::conflict::is_settled;
use crate::finish::cancelled;
use crate::outbox::Effect;
use crate::ports::{Cursor, Index, SortKeys};
use crate::records::{CheckpointRecord, GroupRecord, StepKind};
use crate::{CheckpointView, Control, ListCheckpoints, Principal, keys};

impl Control {
    /// One checkpoint.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub async fn checkpoint(&self, who: &Principal, id: CheckpointId) -> Answer<CheckpointView> {
        let record = self
            .checkpoint_record(who, Action::ViewCheckpoint, id)
            .await?;
        self.view(record).await
    }

    pub(crate) async fn checkpoint_record(
        &self,
        who: &Principal,
        action: Action,
        id: CheckpointId,
    ) -> Answer<CheckpointRecord> {
        let seen = self
            .get::<CheckpointRecord>(&keys::checkpoint(id))
            .await?
            .ok_or_else(|| {
                Refusal::new(
                    Code::NotFound,
                    format!("expected a checkpoint {id}, found none"),
                )
            })?;
        self.authorize(who, action, resource(&seen.value.checkpoint))?;
        Ok(seen.value)
    }

    async fn view(&self, record: CheckpointRecord) -> Answer<CheckpointView> {
        let group = self.group_record(record.checkpoint.group).await?.value;
        Ok(view(record, group))
    }

    /// A group and its checkpoints, in the order of the members.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden` where the caller may not see one of its members.
    pub async fn group(&self, who: &Principal, id: GroupId) -> Answer<(Group, Vec<Checkpoint>)> {
        let seen = self.own_group(who, Action::ViewCheckpoint, id).await?;
        let record = seen.value;
        let checkpoints = record
            .members
            .into_iter()
            .map(|member| member.checkpoint)
            .collect();
        Ok((record.group, checkpoints))
    }

    /// A group whose every member the caller may do this to.
    async fn own_group(
        &self,
        who: &Principal,
        action: Action,
        id: GroupId,
    ) -> Answer<Seen<GroupRecord>> {
        let seen = self.group_record(id).await?;
        for member in &seen.value.members {
            self.authorize(who, action, resource(&member.checkpoint))?;
        }
        Ok(seen)
    }

    /// Checkpoints, newest first, and where to go on. A caller who may not list all sees
    /// those of its services. What it may not see is left out, so that a page may be short.
    ///
    /// # Errors
    /// `Forbidden` for a service that the caller may not list.
    pub async fn list_checkpoints(
        &self,
        who: &Principal,
        list: ListCheckpoints,
    ) -> Answer<(Vec<CheckpointView>, Option<Cursor>)> {
        let limit = list.limit.clamp(1, 200);
        let (mut records, next) = match &list.service {
            Some(service) => {
                self.authorize(who, Action::ListCheckpoints, Resource::Service(service))?;
                self.newest_of(service, limit, list.after).await?
            }
            None if self.permits(who, Action::ListCheckpoints, Resource::Installation) => {
                let mut question = query(
                    Index::Gsi2,
                    keys::CHECKPOINTS.to_owned(),
                    SortKeys::All,
                    limit,
                );
                question.descending = true;
                question.after = list.after;
                self.page::<CheckpointRecord>(question).await?
            }
            None => {
                self.newest_of_all(who.services(), limit, list.after)
                    .await?
            }
        };
        records.retain(|seen| {
            self.permits(
                who,
                Action::ViewCheckpoint,
                resource(&seen.value.checkpoint),
            )
        });
        let views = stream::iter(records)
            .map(|seen| self.view(seen.value))
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        Ok((views, next))
    }

    async fn newest_of(
        &self,
        service: &ServiceName,
        limit: u32,
        after: Option<Cursor>,
    ) -> Answer<(Vec<Seen<CheckpointRecord>>, Option<Cursor>)> {
        let mut question = query(
            Index::Gsi1,
            keys::checkpoints_of(service),
            SortKeys::All,
            limit,
        );
        question.descending = true;
        question.after = after;
        self.page(question).await
    }

    /// Merges the lists of several services. The cursor is the last id shown.
    async fn newest_of_all(
        &self,
        services: &[ServiceName],
        limit: u32,
        after: Option<Cursor>,
    ) -> Answer<(Vec<Seen<CheckpointRecord>>, Option<Cursor>)> {
        let before = match &after {
            None => None,
            Some(Cursor(text)) => Some(text.parse::<CheckpointId>().map_err(|error| {
                Refusal::new(Code::InvalidRequest, error.to_string()).at("after")
            })?),
        };
        let mut found = Vec::new();
        for service in services {
            let mut question = query(
                Index::Gsi1,
                keys::checkpoints_of(service),
                match before {
                    None => SortKeys::All,
                    Some(id) => SortKeys::Between(String::new(), id.to_string()),
                },
                limit + 1,
            );
            question.descending = true;
            found.extend(self.page::<CheckpointRecord>(question).await?.0);
        }
        found.retain(|seen| before.is_none_or(|id| seen.value.checkpoint.id < id));
        found.sort_by_key(|seen| std::cmp::Reverse(seen.value.checkpoint.id));
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found
            .last()
            .filter(|_| more)
            .map(|seen| Cursor(seen.value.checkpoint.id.to_string()));
        Ok((found, next))
    }

    /// The artifact list of a checkpoint, in the order of submission.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub async fn artifacts(&self, who: &Principal, id: CheckpointId) -> Answer<Vec<Artifact>> {
        self.checkpoint_record(who, Action::ViewCheckpoint, id)
            .await?;
        self.manifest(id).await
    }

    /// Calls off a group that no agent has claimed yet. Calling off what is called off
    /// already is no error.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`; `Conflict` once it is claimed, or final in another way.
    pub async fn cancel(&self, who: &Principal, id: GroupId) -> Answer<()> {
        let refusal = cancelled(if who.is_operator() {
            "an operator"
        } else {
            "the submitter"
        });
        for _ in 0..TRIES {
            let seen = self.own_group(who, Action::CancelCheckpoint, id).await?;
            let state = seen.value.group.lifecycle.state().clone();
            match &state {
                State::Rejected { refusal } | State::Failed { refusal }
                    if refusal.code == Code::Cancelled =>
                {
                    return Ok(());
                }
                State::Submitted
                | State::Staged
                | State::Allocated
                | State::Executing
                | State::Parked { .. } => {}
                _ => return Err(too_late(&state)),
            }
            let work = self.work_of(&seen.value).await?;
            if state == State::Executing && is_settled(&seen.value, &work) {
                return Err(too_late(&state));
            }
            // Items go in the same transaction, as they were seen: an agent that claims
            // one first makes it fail.
            let answer = self.end_with(seen, work, &refusal, Some(&refusal)).await;
            if !lost_race(&answer) {
                return answer;
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// Decides a parked group: go on, placed anew, or give up.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden`; `Conflict` where the group is not parked.
    pub async fn decide_parked(&self, who: &Principal, id: GroupId, resume: bool) -> Answer<()> {
        for _ in 0..TRIES {
            let seen = self.own_group(who, Action::DecideParked, id).await?;
            let mut record = seen.value;
            let step = record.step.take();
            let Some(step) = step.filter(|step| step.kind == StepKind::Park) else {
                return Err(not_parked(&record));
            };
            if !matches!(record.group.lifecycle.state(), State::Parked { .. }) {
                return Err(not_parked(&record));
            }
            let _turn = self.combined.turn.lock().await;
            let mut accounts = self.accounts(record.volumes()).await?;
            if resume {
                record.group.lifecycle = record
                    .group
                    .lifecycle
                    .apply(LifecycleEvent::Resume)
                    .map_err(crate::phases::illegal)?;
                for member in &mut record.members {
                    for part in &mut member.parts {
                        accounts.abandon(part);
                    }
                    member.parts.clear();
                }
            }
            let decision = if resume { "resume" } else { "abandon" };
            let mut tx = Tx::new();
            tx.tell(&self.effect(Effect::TaskSucceeded {
                token: step.token,
                output: json!({"decision": decision}),
            }));
            tx.replace(&record, seen.version);
            accounts.write(&mut tx);
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer;
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }
}

/// A checkpoint as what something is done to.
fn resource(checkpoint: &Checkpoint) -> Resource<'_> {
    Resource::Checkpoint {
        id: checkpoint.id,
        service: &checkpoint.service,
    }
}

/// No reader sees a placement before the whole group is committed.
fn view(record: CheckpointRecord, group: GroupRecord) -> CheckpointView {
    let committed = *group.group.lifecycle.state() == State::Committed;
    let index = record.checkpoint.index as usize;
    let checkpoint = match group.members.into_iter().nth(index) {
        Some(member) if member.checkpoint.id == record.checkpoint.id => member.checkpoint,
        _ => record.checkpoint,
    };
    CheckpointView {
        checkpoint,
        placements: if committed {
            record.placements
        } else {
            Vec::new()
        },
        group: group.group,
    }
}

fn too_late(state: &State) -> Refusal {
    Refusal::new(
        Code::Conflict,
        format!(
            "expected a group that no agent has claimed, found it {}",
            state.name()
        ),
    )
}

fn not_parked(record: &GroupRecord) -> Refusal {
    Refusal::new(
        Code::Conflict,
        format!(
            "expected a parked group, found it {}",
            record.group.lifecycle.state().name()
        ),
    )
}
