//! Commit: catalogue and ledger in one transaction, which runs that come at the same
//! time share. Before it nobody sees a placement of the group, after it all of them.

use std::collections::BTreeSet;

use futures::future::join_all;
use model::{Code, GroupId, LifecycleEvent, Placement, Refusal, State, canonical_json};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Input, ended, illegal};
use crate::Control;
use crate::books::Accounts;
use crate::catalogue::{Answer, RETRY_WALL, Seen, Tx};
use crate::ports::MAX_WRITES;
use crate::records::{CheckpointRecord, GroupRecord, HeadRecord, LineageRecord, UnpinRecord};

/// One run that asks to be committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitAsk(GroupId);

/// Writes of several groups that share a transaction.
#[derive(Default)]
struct Batch {
    tx: Tx,
    leaves: Vec<String>,
    asks: Vec<(usize, GroupRecord)>,
}

impl Control {
    pub(crate) async fn commit(&self, input: &Input) -> Answer<Value> {
        let ask = CommitAsk(input.group);
        self.combined
            .commit
            .ask(&self.combined.turn, ask, |asks| self.commit_all(asks))
            .await
            .unwrap_or_else(|| {
                Err(Refusal::new(
                    Code::Transient,
                    "the caller that shared the transaction went away",
                ))
            })
    }

    async fn commit_all(&self, asks: Vec<CommitAsk>) -> Vec<Answer<Value>> {
        let mut answers: Vec<Option<Answer<Value>>> = vec![None; asks.len()];
        let mut left: BTreeSet<usize> = (0..asks.len()).collect();
        let begun = Instant::now();
        let mut lost = 0;
        while !left.is_empty() && begun.elapsed() <= RETRY_WALL {
            let before = left.len();
            left = self.commit_round(&asks, &left, &mut answers).await;
            if left.len() == before {
                lost += 1;
                self.give_way(lost).await;
            }
        }
        answers
            .into_iter()
            .map(|answer| {
                answer.unwrap_or_else(|| {
                    Err(Refusal::new(Code::Conflict, "others were faster each time"))
                })
            })
            .collect()
    }

    /// Answers what it can; returns who lost a race.
    async fn commit_round(
        &self,
        asks: &[CommitAsk],
        which: &BTreeSet<usize>,
        answers: &mut [Option<Answer<Value>>],
    ) -> BTreeSet<usize> {
        let found = join_all(which.iter().map(|n| self.group_record(asks[*n].0))).await;
        let mut head = match self.seen_head().await {
            Ok(head) => head,
            Err(refusal) => {
                for n in which {
                    answers[*n] = Some(Err(refusal.clone()));
                }
                return BTreeSet::new();
            }
        };
        let mut accounts = Accounts::default();
        let mut batch = Batch::default();
        let mut lost = BTreeSet::new();
        for (n, found) in which.iter().copied().zip(found) {
            let seen = match found {
                Ok(seen) => seen,
                Err(refusal) => {
                    answers[n] = Some(Err(refusal));
                    continue;
                }
            };
            if let Some(answer) = self.committed_before(&seen.value).await {
                answers[n] = Some(answer);
                continue;
            }
            if let Err(refusal) = self.add_accounts(&mut accounts, seen.value.volumes()).await {
                answers[n] = Some(Err(refusal));
                continue;
            }
            let mut trial = accounts.clone();
            let first = head.0.head.size + batch.leaves.len() as u64;
            let (tx, leaves, record) = match self.plan_commit(&seen, first, &mut trial) {
                Ok(plan) => plan,
                Err(refusal) => {
                    answers[n] = Some(Err(refusal));
                    continue;
                }
            };
            // Two more for the leaves and the head.
            if batch.tx.len() + tx.len() + trial.changes() + 2 > MAX_WRITES {
                self.flush_commits(&mut batch, &mut accounts, &mut head, answers, &mut lost)
                    .await;
                lost.insert(n);
                continue;
            }
            accounts = trial;
            batch.tx.append(tx);
            batch.leaves.extend(leaves);
            batch.asks.push((n, record));
        }
        self.flush_commits(&mut batch, &mut accounts, &mut head, answers, &mut lost)
            .await;
        lost
    }

    async fn committed_before(&self, record: &GroupRecord) -> Option<Answer<Value>> {
        if let Some(refusal) = ended(record) {
            return Some(Err(refusal));
        }
        match record.group.lifecycle.state() {
            State::Verified => None,
            State::Committed => {
                self.unpin(&UnpinRecord::of(&record.group)).await;
                Some(Ok(done(record)))
            }
            state => Some(Err(Refusal::new(
                Code::Internal,
                format!("expected a verified group, found it {}", state.name()),
            ))),
        }
    }

    async fn flush_commits(
        &self,
        batch: &mut Batch,
        accounts: &mut Accounts,
        head: &mut (HeadRecord, Option<u64>),
        answers: &mut [Option<Answer<Value>>],
        lost: &mut BTreeSet<usize>,
    ) {
        let mut batch = std::mem::take(batch);
        if batch.asks.is_empty() {
            return;
        }
        let committed = batch.leaves.len() as u64;
        let leaves = std::mem::take(&mut batch.leaves);
        let next = self.append_leaves(&mut batch.tx, head, leaves, committed);
        accounts.write(&mut batch.tx);
        let written = self.transact(batch.tx).await;
        match &written {
            // After the very first leaf the version is read anew.
            Ok(()) => *head = (next, head.1.map(|version| version + 1)),
            Err(_) => *accounts = Accounts::default(),
        }
        for (n, record) in batch.asks {
            match &written {
                Ok(()) => {
                    self.unpin(&UnpinRecord::of(&record.group)).await;
                    tracing::info!(run = %record.group.run, "committed");
                    answers[n] = Some(Ok(done(&record)));
                }
                Err(refusal) if refusal.code == Code::Conflict => {
                    lost.insert(n);
                }
                Err(refusal) => answers[n] = Some(Err(refusal.clone())),
            }
        }
    }

    /// The writes of one group, its leaves and the record as it will stand.
    fn plan_commit(
        &self,
        seen: &Seen<GroupRecord>,
        first_leaf: u64,
        accounts: &mut Accounts,
    ) -> Answer<(Tx, Vec<String>, GroupRecord)> {
        let now = self.now();
        let mut record = seen.value.clone();
        record.group.lifecycle = record
            .group
            .lifecycle
            .apply(LifecycleEvent::Commit)
            .map_err(illegal)?;
        record.group.finished_at = Some(now);
        record.step = None;
        let mut tx = Tx::new();
        let mut leaves = Vec::new();
        for m in 0..record.members.len() {
            let member = &mut record.members[m];
            let unproven = |part: &crate::records::Part| !part.verified || part.written.is_none();
            if member.parts.is_empty() || member.parts.iter().any(unproven) {
                return Err(Refusal::new(
                    Code::Internal,
                    format!("checkpoint {} was not read back", member.checkpoint.id),
                ));
            }
            member.checkpoint.committed_at = Some(now);
            member.checkpoint.ledger_index = Some(first_leaf + m as u64);
            for part in &mut member.parts {
                accounts.release(part);
            }
            let mut volumes: Vec<_> = member.parts.iter().map(|part| &part.volume).collect();
            volumes.sort_unstable();
            volumes.dedup();
            for volume in volumes {
                accounts.count_checkpoint(volume);
            }
            let placements: Vec<Placement> = member
                .parts
                .iter()
                .filter_map(|part| part.written.clone())
                .collect();
            leaves.push(leaf(&member.checkpoint, &placements));
            tx.put(&CheckpointRecord {
                checkpoint: member.checkpoint.clone(),
                placements,
            });
            let contender = record.contender(&record.members[m], true);
            tx.put(&LineageRecord {
                contender,
                committed: true,
            });
        }
        self.wake_followers(&mut tx, &mut record);
        tx.replace(&record, seen.version);
        Ok((tx, leaves, record))
    }
}

fn done(record: &GroupRecord) -> Value {
    json!({"committed": record.group.checkpoints})
}

/// What the ledger says of a checkpoint: canonical JSON, so that one text stands for it.
fn leaf(checkpoint: &model::Checkpoint, placements: &[Placement]) -> String {
    canonical_json(&json!({
        "event": "committed",
        "checkpoint": checkpoint.id,
        "group": checkpoint.group,
        "service": checkpoint.service,
        "version": checkpoint.version,
        "parent": checkpoint.parent,
        "content": checkpoint.content,
        "artifacts": checkpoint.artifacts,
        "bytes": checkpoint.bytes,
        "retention": checkpoint.retention,
        "committed_at": checkpoint.committed_at,
        "placements": placements.iter().map(|placement| json!({
            "copy": placement.copy,
            "part": placement.part,
            "parts": placement.parts,
            "volume": placement.volume,
            "volume_uuid": placement.volume_uuid,
            "fence": placement.fence,
            "first_record": placement.first_record(),
            "manifest": placement.manifest,
        })).collect::<Vec<_>>(),
    }))
}
