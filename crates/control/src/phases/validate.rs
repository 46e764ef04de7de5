//! Validate: find out, judge, and either stage or refuse.

use futures::stream::{self, StreamExt, TryStreamExt};
use model::{Artifact, CheckpointId, Code, LifecycleEvent, Pool, Refusal, Service, State};
use serde_json::{Value, json};

use super::{Input, ended};
use crate::catalogue::{Answer, Seen, TRIES, Tx, lost_race};
use crate::checks::{self, Facts, MemberFacts, ParentFacts, PoolFacts};
use crate::ports::{Index, ObjectError, SortKeys};
use crate::records::{
    CheckpointRecord, ContentRecord, GroupRecord, IdempotencyRecord, LineageRecord, UnpinRecord,
    VolumeMeta,
};
use crate::{Control, keys, parse, place};

/// How many artifacts are pinned at once for one run.
const PINS_AT_ONCE: usize = 8;

impl Control {
    pub(crate) async fn validate(&self, input: &Input) -> Answer<Value> {
        let mut seen = self.group_record(input.group).await?;
        if let Some(done) = validated(&seen.value) {
            return done;
        }
        let facts = self.facts(seen.value.clone()).await?;
        let refusals = parse::cap(checks::run(&facts));
        for _ in 0..TRIES {
            let answer = if refusals.is_empty() {
                self.stage(&seen).await
            } else {
                self.refuse(&seen, &refusals).await
            };
            if !lost_race(&answer) {
                return answer;
            }
            // Somebody called it off meanwhile, or another invocation was faster.
            seen = self.group_record(input.group).await?;
            if let Some(done) = validated(&seen.value) {
                if done.is_err() {
                    self.unpin(&UnpinRecord::of(&seen.value.group)).await;
                }
                return done;
            }
        }
        Err(Refusal::new(Code::Conflict, "the group keeps changing"))
    }

    async fn facts(&self, record: GroupRecord) -> Answer<Facts> {
        let idempotency = self
            .get::<IdempotencyRecord>(&keys::idempotency(&record.idempotency))
            .await?;
        let mut members = Vec::with_capacity(record.members.len());
        for member in &record.members {
            let c = &member.checkpoint;
            let artifacts = self.manifest(c.id).await?;
            let service = self.get::<Service>(&keys::service(&c.service)).await?;
            let parent = match c.parent {
                Some(parent) => self.parent(parent).await?,
                None => None,
            };
            let objects = self.pin_all(c.id, &artifacts).await?;
            members.push(MemberFacts {
                artifacts,
                service: service.map(|seen| seen.value),
                parent,
                objects,
            });
        }
        let pool = self.pool_facts(&record).await?;
        Ok(Facts {
            record,
            idempotency: idempotency.map(|seen| seen.value),
            members,
            pool,
        })
    }

    async fn parent(&self, id: CheckpointId) -> Answer<Option<ParentFacts>> {
        let Some(seen) = self.get::<CheckpointRecord>(&keys::checkpoint(id)).await? else {
            return Ok(None);
        };
        let parent = seen.value.checkpoint;
        let group = self.group_record(parent.group).await?;
        Ok(Some(ParentFacts {
            service: parent.service,
            state: group.value.group.lifecycle.state().clone(),
        }))
    }

    /// Pins every artifact. Goes on after a failure: all failures are reported.
    async fn pin_all(
        &self,
        id: CheckpointId,
        artifacts: &[Artifact],
    ) -> Answer<Vec<(usize, ObjectError)>> {
        let pins: Vec<_> = artifacts
            .iter()
            .enumerate()
            .map(|(index, artifact)| async move {
                match self.pin_one(id, index, artifact).await {
                    Err(ObjectError::Unavailable(text)) => Err(ObjectError::Unavailable(text)),
                    Err(error) => Ok(Some((index, error))),
                    Ok(()) => Ok(None),
                }
            })
            .collect();
        let found: Vec<_> = stream::iter(pins)
            .buffered(PINS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn pin_one(
        &self,
        id: CheckpointId,
        index: usize,
        artifact: &Artifact,
    ) -> Result<(), ObjectError> {
        let found = self.ports.objects.head(&artifact.source).await?;
        let mismatch = |what, expected: String, found: String| ObjectError::Mismatch {
            what,
            expected,
            found,
        };
        if found.size != artifact.size {
            return Err(mismatch(
                "size",
                artifact.size.to_string(),
                found.size.to_string(),
            ));
        }
        if let Some(sha256) = found.sha256.filter(|sha256| *sha256 != artifact.sha256) {
            return Err(mismatch(
                "sha256",
                artifact.sha256.to_string(),
                sha256.to_string(),
            ));
        }
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.ports
            .objects
            .pin(id, index, &artifact.source, artifact.size, artifact.sha256)
            .await
    }

    /// Adds up room only until there is enough, so that the cost does not grow with the
    /// number of volumes.
    async fn pool_facts(&self, record: &GroupRecord) -> Answer<Option<PoolFacts>> {
        let name = &record.group.pool;
        let Some(pool) = self.get::<Pool>(&keys::pool(name)).await? else {
            return Ok(None);
        };
        let pool = pool.value;
        let needed: model::Bytes = record
            .members
            .iter()
            .map(|member| {
                place::reserve_estimate(member.checkpoint.bytes, member.checkpoint.artifacts)
            })
            .sum();
        let mut room = model::Bytes::ZERO;
        let mut query =
            crate::catalogue::query(Index::Gsi2, keys::open_volumes(name), SortKeys::All, 16);
        // Scratch volumes come first this way round.
        query.descending = true;
        loop {
            let (volumes, next) = self.page::<VolumeMeta>(query.clone()).await?;
            for volume in volumes {
                room = room.plus(place::room(&volume.value, &pool));
            }
            if room >= needed || next.is_none() {
                break;
            }
            query.after = next;
        }
        Ok(Some(PoolFacts { pool, room, needed }))
    }

    async fn stage(&self, seen: &Seen<GroupRecord>) -> Answer<Value> {
        let mut record = seen.value.clone();
        record.group.lifecycle = record
            .group
            .lifecycle
            .apply(LifecycleEvent::Stage)
            .map_err(super::illegal)?;
        record.group.staged_at = Some(self.now());
        let mut tx = Tx::new();
        for member in &record.members {
            let contender = record.contender(member, false);
            tx.put(&ContentRecord {
                service: contender.service.clone(),
                branch: contender.branch.clone(),
                content: contender.content,
                checkpoint: contender.id,
                group: contender.group,
            });
            tx.put(&LineageRecord {
                contender,
                committed: false,
            });
        }
        tx.replace(&record, seen.version);
        self.transact(tx).await?;
        tracing::debug!(run = %record.group.run, "staged");
        Ok(json!({"staged": record.members.len()}))
    }

    /// The whole group is refused with all reasons.
    async fn refuse(&self, seen: &Seen<GroupRecord>, refusals: &[Refusal]) -> Answer<Value> {
        let first = refusals[0].clone();
        let mut record = seen.value.clone();
        record.group.refusals = refusals.to_vec();
        let mut accounts = self.accounts([]).await?;
        let mut tx = Tx::new();
        let seen = Seen {
            value: record,
            version: seen.version,
        };
        self.finish(
            &mut tx,
            &mut accounts,
            &seen,
            LifecycleEvent::Reject(first.clone()),
            None,
        )?;
        self.transact(tx).await?;
        self.unpin(&UnpinRecord::of(&seen.value.group)).await;
        Err(summary(first, refusals.len()))
    }
}

/// What an invocation answers when the work of validate was done before.
fn validated(record: &GroupRecord) -> Option<Answer<Value>> {
    if let Some(refusal) = ended(record) {
        return Some(Err(summary(refusal, record.group.refusals.len())));
    }
    match record.group.lifecycle.state() {
        State::Submitted => None,
        _ => Some(Ok(json!({"staged": record.members.len()}))),
    }
}

fn summary(first: Refusal, count: usize) -> Refusal {
    if count <= 1 {
        return first;
    }
    let message = format!("{} (and {} more)", first.message, count - 1);
    Refusal { message, ..first }
}
