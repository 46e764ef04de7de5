//! Claims: open items become a session's, in order, each one to exactly one session.

use futures::stream::{self, StreamExt};
use model::work::{Claim, ClaimAnswer, Order, OrderedArtifact, RestoreOrder, WorkItem, WorkKind};
use model::{Bytes, Code, Refusal};

use super::MAX_GRANTS;
use crate::catalogue::{Answer, READS_AT_ONCE, Seen, Tx, lost_race};
use crate::phases::ranges;
use crate::ports::{Index, MAX_WRITES, SortKeys};
use crate::records::{Claimed, Owner, Task, VolumeLease, WorkRecord};
use crate::{Control, keys};

/// The most artifacts of one answer: keeps it within a few megabytes.
const MAX_ARTIFACTS: u64 = 20_000;
/// A group has at most so many members: looking so much further shows where it ends.
const LOOK_AHEAD: u32 = model::MAX_GROUP_MEMBERS as u32;

impl Control {
    /// Gives a session work on its volume, in order; of the first of `kinds` that has
    /// some. A group is not cut unless it does not fit in one answer. Waits up to
    /// `wait_ms`, but not while other volumes wait for a drive.
    ///
    /// # Errors
    /// `FenceLost`; `InvalidRequest` before the session is ready.
    pub async fn claim(&self, question: Claim) -> Answer<ClaimAnswer> {
        let deadline = self.wait_until(question.wait_ms);
        loop {
            let lease = self.held(&question.session).await?;
            if lease.value.hold.as_ref().is_none_or(|hold| !hold.ready) {
                return Err(Refusal::new(
                    Code::InvalidRequest,
                    "expected the session to be reported ready before it claims",
                ));
            }
            let library = lease.value.library.clone();
            let ticket = self.ports.queue.ticket(&library);
            let mut items = Vec::new();
            for kind in &question.kinds {
                items = self.claim_kind(&question, &lease, *kind).await?;
                if !items.is_empty() {
                    break;
                }
            }
            let others_waiting = self
                .others_waiting(&library, &question.session.volume)
                .await?;
            // Who has nothing to do must not keep a drive from those who have.
            if !items.is_empty() || others_waiting || !self.wait(&library, ticket, deadline).await {
                return Ok(ClaimAnswer {
                    items,
                    others_waiting,
                });
            }
        }
    }

    async fn claim_kind(
        &self,
        question: &Claim,
        lease: &Seen<VolumeLease>,
        kind: WorkKind,
    ) -> Answer<Vec<WorkItem>> {
        let max_items = question.max_items.clamp(1, 1000);
        let mut open = self
            .first::<WorkRecord>(
                Index::Gsi1,
                keys::open_work(&lease.value.library),
                SortKeys::Prefix(keys::open_prefix(&lease.value.barcode, kind)),
                (max_items + LOOK_AHEAD).min(1000),
            )
            .await?;
        open.truncate(cut(&open, max_items, question.max_bytes));
        // The futures are made before the stream: a stream that makes them from borrows
        // could not move between threads.
        let asked: Vec<_> = open.iter().map(|seen| self.order(&seen.value)).collect();
        let orders: Vec<_> = stream::iter(asked).buffered(READS_AT_ONCE).collect().await;
        let mut ready = Vec::new();
        for (seen, order) in open.into_iter().zip(orders) {
            match order {
                Ok(order) => ready.push((seen, order)),
                Err(refusal) if refusal.code == Code::Transient => return Err(refusal),
                // What cannot be ordered would stand in everybody's way.
                Err(refusal) => {
                    let volume = &lease.value.barcode;
                    self.fail_items(volume, vec![seen], &refusal).await?;
                }
            }
        }
        let claims = ready
            .chunks(MAX_WRITES - 1)
            .map(|chunk| self.take(chunk, lease));
        let mut items = Vec::new();
        for claimed in futures::future::join_all(claims).await {
            items.extend(claimed?);
        }
        Ok(items)
    }

    /// Claims a chunk together, or, where somebody was faster with one of it, each by
    /// itself.
    async fn take(
        &self,
        chunk: &[(Seen<WorkRecord>, Order)],
        lease: &Seen<VolumeLease>,
    ) -> Answer<Vec<WorkItem>> {
        let answer = self.take_together(chunk, lease).await;
        if !lost_race(&answer) {
            return answer;
        }
        let mut items = Vec::new();
        for one in chunk {
            self.still(lease).await?;
            let answer = self.take_together(std::slice::from_ref(one), lease).await;
            if !lost_race(&answer) {
                items.extend(answer?);
            }
        }
        Ok(items)
    }

    async fn take_together(
        &self,
        chunk: &[(Seen<WorkRecord>, Order)],
        lease: &Seen<VolumeLease>,
    ) -> Answer<Vec<WorkItem>> {
        let Some(hold) = &lease.value.hold else {
            return Ok(Vec::new());
        };
        let mut tx = Tx::new();
        tx.check(keys::volume_lease(&lease.value.barcode), lease.version);
        for (seen, _) in chunk {
            let claimed = WorkRecord {
                claimed: Some(Claimed::new(hold.session, lease.value.fence)),
                grants: (seen.value.grants + 1).min(MAX_GRANTS),
                ..seen.value.clone()
            };
            tx.replace(&claimed, seen.version);
        }
        self.transact(tx).await?;
        Ok(chunk
            .iter()
            .map(|(seen, order)| WorkItem {
                key: seen.value.key.clone(),
                order: order.clone(),
            })
            .collect())
    }

    /// The whole order: artifacts are looked up only now, so that items stay small.
    async fn order(&self, work: &WorkRecord) -> Answer<Order> {
        Ok(match &work.task {
            Task::Verify(order) => Order::Verify((**order).clone()),
            Task::Scan => Order::Scan,
            Task::Restore(order) => Order::Restore(RestoreOrder::clone(order)),
            Task::Write(order, from, to) => {
                let mut order = (**order).clone();
                let artifacts = self.manifest(order.checkpoint).await?;
                for range in ranges(&artifacts, *from, *to) {
                    let index = usize::try_from(range.artifact).unwrap_or(usize::MAX);
                    let Some(artifact) = artifacts.get(index) else {
                        continue;
                    };
                    let fetch = self
                        .ports
                        .objects
                        .fetch_url(order.checkpoint, range.artifact)
                        .await?;
                    order.artifacts.push(OrderedArtifact {
                        name: artifact.name.clone(),
                        source: artifact.source.clone(),
                        size: artifact.size,
                        sha256: artifact.sha256,
                        range,
                        fetch,
                    });
                }
                Order::Write(order)
            }
        })
    }
}

/// How many of the items, which are in order, one answer takes: within the limits, at
/// least one, and up to the end of a group where that is possible.
fn cut(items: &[Seen<WorkRecord>], max_items: u32, max_bytes: Bytes) -> usize {
    let mut bytes = Bytes::ZERO;
    let mut artifacts = 0;
    let mut fits = 0;
    for seen in items.iter().take(max_items as usize) {
        bytes = bytes.plus(seen.value.bytes);
        artifacts += u64::from(seen.value.artifacts);
        if fits > 0 && (bytes > max_bytes || artifacts > MAX_ARTIFACTS) {
            break;
        }
        fits += 1;
    }
    let group = |n: usize| {
        items.get(n).map(|seen| match seen.value.owner {
            Owner::Group(id, ..) => (Some(id), None),
            Owner::Ask(id) => (None, Some(id)),
        })
    };
    let boundary = (1..=fits).rev().find(|n| group(*n - 1) != group(*n));
    boundary.unwrap_or(fits)
}
