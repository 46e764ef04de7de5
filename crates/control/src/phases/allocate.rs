//! Allocate: decide conflicts, choose volumes, promise room; all in one transaction that
//! callers share.

mod verdicts;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use model::{
    Action, Bytes, Code, ConflictSet, CopyNo, LibraryId, LifecycleEvent, Pool, PoolName, Refusal,
    State, VolumeView,
};
use serde_json::{Value, json};

use super::{Input, ended, illegal};
use crate::books::Accounts;
use crate::catalogue::{Answer, Seen, TRIES, Tx, query};
use crate::conflict::Gathered;
use crate::place::{self, Candidate, Wanted};
use crate::ports::{Index, Key, MAX_WRITES, SortKeys};
use crate::records::{GroupRecord, Part, UnpinRecord, VolumeLease, VolumeMeta};
use crate::{Control, keys};

/// At most so many begun volumes of a pool are considered.
const BEGUN: u32 = 64;
/// At most so many blank ones, unless those do not suffice.
const BLANK: u32 = 8;
/// One run that asks to be placed.
#[derive(Clone, Debug)]
pub(crate) struct AllocateAsk {
    group: model::GroupId,
    placement: u32,
}

/// What was found out about an ask: answered already, or to be planned.
enum Found {
    Done(Value),
    Open(Box<Gathered>),
}

/// A pool's volumes.
struct PoolView {
    pool: Pool,
    candidates: Vec<Candidate>,
    /// True where blank volumes were left out.
    more: bool,
}

/// What one ask adds to the transaction.
struct Plan {
    tx: Tx,
    answer: Answer<Value>,
    /// Groups that are final now.
    unpin: Vec<UnpinRecord>,
}

impl Control {
    pub(crate) async fn allocate(&self, input: &Input) -> Answer<Value> {
        let ask = AllocateAsk {
            group: input.group,
            placement: input.placement,
        };
        self.combined
            .allocate
            .ask(&self.combined.turn, ask, |asks| self.allocate_all(asks))
            .await
            .unwrap_or_else(|| {
                Err(Refusal::new(
                    Code::Transient,
                    "the caller that shared the transaction went away",
                ))
            })
    }

    /// One answer an ask. Those whose shared transaction lost a race try again alone.
    async fn allocate_all(&self, asks: Vec<AllocateAsk>) -> Vec<Answer<Value>> {
        let mut answers: Vec<Option<Answer<Value>>> = vec![None; asks.len()];
        let all: Vec<_> = (0..asks.len()).collect();
        let lost = self.allocate_round(&asks, &all, &mut answers).await;
        for ask in lost {
            for _ in 0..TRIES {
                if self
                    .allocate_round(&asks, &[ask], &mut answers)
                    .await
                    .is_empty()
                {
                    break;
                }
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
    async fn allocate_round(
        &self,
        asks: &[AllocateAsk],
        which: &[usize],
        answers: &mut [Option<Answer<Value>>],
    ) -> Vec<usize> {
        let found = join_all(which.iter().map(|n| self.find(&asks[*n]))).await;
        let mut pools: BTreeMap<PoolName, PoolView> = BTreeMap::new();
        let mut accounts = Accounts::default();
        let mut batch = Batch::default();
        let mut lost = Vec::new();
        for (n, found) in which.iter().copied().zip(found) {
            let gathered = match found {
                Ok(Found::Open(gathered)) => gathered,
                Ok(Found::Done(answer)) => {
                    answers[n] = Some(Ok(answer));
                    continue;
                }
                Err(refusal) => {
                    answers[n] = Some(Err(refusal));
                    continue;
                }
            };
            let mut trial = accounts.clone();
            let plan = match self.plan(&asks[n], &gathered, &mut pools, &mut trial).await {
                Ok(plan) => plan,
                Err(refusal) => {
                    answers[n] = Some(Err(refusal));
                    continue;
                }
            };
            if batch.touches(&plan.tx) {
                lost.push(n);
                continue;
            }
            if batch.tx.len() + plan.tx.len() + trial.changes() > MAX_WRITES {
                // Full: write what there is; this one goes into the next transaction.
                lost.extend(self.flush(&mut batch, &mut accounts, answers).await);
                lost.push(n);
                continue;
            }
            accounts = trial;
            batch.add(n, plan);
        }
        lost.extend(self.flush(&mut batch, &mut accounts, answers).await);
        lost
    }

    async fn flush(
        &self,
        batch: &mut Batch,
        accounts: &mut Accounts,
        answers: &mut [Option<Answer<Value>>],
    ) -> Vec<usize> {
        let batch = std::mem::take(batch);
        let mut tx = batch.tx;
        accounts.write(&mut tx);
        let written = self.transact(tx).await;
        let mut lost = Vec::new();
        for (n, answer, unpin) in batch.plans {
            match &written {
                Ok(()) => {
                    for group in &unpin {
                        self.unpin(group).await;
                    }
                    answers[n] = Some(answer);
                }
                Err(refusal) if refusal.code == Code::Conflict => lost.push(n),
                Err(refusal) => answers[n] = Some(Err(refusal.clone())),
            }
        }
        if written.is_err() {
            *accounts = Accounts::default();
        }
        lost
    }

    async fn find(&self, ask: &AllocateAsk) -> Answer<Found> {
        let seen = self.group_record(ask.group).await?;
        let record = &seen.value;
        if let Some(refusal) = ended(record) {
            return Err(refusal);
        }
        let open = match record.group.lifecycle.state() {
            State::Merged { .. } => return Ok(Found::Done(merged())),
            State::Committed => false,
            State::Submitted | State::Parked { .. } => {
                return Err(Refusal::new(
                    Code::Internal,
                    format!(
                        "expected a staged group, found it {}",
                        record.group.lifecycle.state().name()
                    ),
                ));
            }
            State::Staged => true,
            _ => record.placement < ask.placement,
        };
        if !open {
            return Ok(Found::Done(proceed(record)));
        }
        if *record.group.lifecycle.state() == State::Staged {
            return Ok(Found::Open(Box::new(self.gather(seen).await?)));
        }
        // Placed anew after a failed placement: it was decided before, and it is settled.
        Ok(Found::Open(Box::new(Gathered {
            own: seen,
            others: BTreeMap::new(),
            contenders: Vec::new(),
        })))
    }

    async fn plan(
        &self,
        ask: &AllocateAsk,
        gathered: &Gathered,
        pools: &mut BTreeMap<PoolName, PoolView>,
        accounts: &mut Accounts,
    ) -> Answer<Plan> {
        let record = &gathered.own.value;
        let name = &record.group.pool;
        if !pools.contains_key(name) {
            pools.insert(name.clone(), self.pool_view(name, BLANK).await?);
        }
        self.add_candidates(accounts, &pools[name]).await?;
        self.add_accounts(accounts, record.volumes()).await?;
        let mut shares = self.shares(record, &pools[name], accounts);
        if shares.is_none() && pools[name].more {
            let wider = self.pool_view(name, 1000).await?;
            self.add_candidates(accounts, &wider).await?;
            shares = self.shares(record, &wider, accounts);
            pools.insert(name.clone(), wider);
        }
        let view = &pools[name];

        let mut plan = Plan {
            tx: Tx::new(),
            answer: Ok(Value::Null),
            unpin: Vec::new(),
        };
        if !gathered.contenders.is_empty() {
            let set = conflict_set(self.now(), gathered, view, accounts);
            let decision = policy::priority_deadline(&set);
            let own = |verdict: &&model::Verdict| record.group.checkpoints.contains(&verdict.id);
            let verdicts: Vec<_> = decision.verdicts.iter().filter(own).collect();
            tracing::debug!(
                run = %record.group.run,
                contenders = set.contenders.len(),
                reason = verdicts.first().map_or("", |verdict| verdict.reason.as_str()),
                "decided"
            );
            if shares.is_none()
                && matches!(
                    verdicts.first().map(|v| &v.action),
                    Some(Action::Defer { .. })
                )
            {
                return Err(no_room(record, view));
            }
            self.supersede_others(gathered, &decision, accounts, &mut plan)
                .await?;
            if self.handed_on(gathered, &verdicts, accounts, &mut plan)? {
                return Ok(plan);
            }
        }
        let shares = shares.ok_or_else(|| no_room(record, view))?;
        let library = view.pool.library.clone();
        self.place(ask, &gathered.own, shares, library, accounts, &mut plan)?;
        Ok(plan)
    }

    /// Volumes for the members that have none.
    fn shares(
        &self,
        record: &GroupRecord,
        view: &PoolView,
        accounts: &Accounts,
    ) -> Option<Vec<Vec<place::Share>>> {
        let candidates: Vec<_> = view
            .candidates
            .iter()
            .filter(|c| !record.avoid.contains(&c.volume.barcode))
            .cloned()
            .collect();
        place::choose(
            &wanted(record),
            &candidates,
            accounts,
            view.pool.write_drives,
        )
    }

    fn place(
        &self,
        ask: &AllocateAsk,
        own: &Seen<GroupRecord>,
        shares: Vec<Vec<place::Share>>,
        library: LibraryId,
        accounts: &mut Accounts,
        plan: &mut Plan,
    ) -> Answer<()> {
        let mut record = own.value.clone();
        if *record.group.lifecycle.state() != State::Allocated {
            record.group.lifecycle = record
                .group
                .lifecycle
                .apply(LifecycleEvent::Allocate)
                .map_err(illegal)?;
        }
        record.placement = ask.placement;
        record.step = None;
        record.library = Some(library);
        record.order = record
            .members
            .iter()
            .map(|member| policy::order(&record.contender(member, false)))
            .min()
            .unwrap_or(u64::MAX);
        let unplaced = record.members.iter_mut().filter(|m| m.parts.is_empty());
        for (member, shares) in unplaced.zip(shares) {
            let parts = u32::try_from(shares.len()).unwrap_or(u32::MAX);
            let whole = (parts == 1).then_some(member.whole);
            for (share, part) in shares.into_iter().zip(0..) {
                accounts.reserve(&share.volume, share.reserve);
                member.parts.push(Part {
                    copy: CopyNo(1),
                    part,
                    parts,
                    volume: share.volume,
                    reserved: share.reserve,
                    from: share.from,
                    to: share.to,
                    expected: whole,
                    ranges: member.checkpoint.artifacts,
                    written: None,
                    verified: false,
                    failed: None,
                });
            }
        }
        plan.tx.replace(&record, own.version);
        plan.answer = Ok(proceed(&record));
        Ok(())
    }

    async fn add_candidates(&self, accounts: &mut Accounts, view: &PoolView) -> Answer<()> {
        let volumes = view.candidates.iter().map(|c| c.volume.barcode.clone());
        self.add_accounts(accounts, volumes).await
    }

    async fn pool_view(&self, name: &PoolName, blank: u32) -> Answer<PoolView> {
        let pool = self
            .get::<Pool>(&keys::pool(name))
            .await?
            .ok_or_else(|| Refusal::new(Code::NotFound, format!("expected a pool {name}")))?
            .value;
        let mut candidates = Vec::new();
        let mut more = false;
        for (rank, limit) in [("A#", BEGUN), ("S#", blank)] {
            let (volumes, next) = self
                .page::<VolumeMeta>(query(
                    Index::Gsi2,
                    keys::open_volumes(name),
                    SortKeys::Prefix(rank.to_owned()),
                    limit,
                ))
                .await?;
            more = next.is_some();
            let leases = self
                .get_all::<VolumeLease>(
                    volumes
                        .iter()
                        .map(|seen| keys::volume_lease(&seen.value.barcode))
                        .collect(),
                )
                .await?;
            for (seen, lease) in volumes.into_iter().zip(leases) {
                candidates.push(Candidate {
                    room: place::room(&seen.value, &pool),
                    volume: seen.value,
                    held: lease.is_some_and(|seen| seen.value.hold.is_some()),
                });
            }
        }
        place::sort(&mut candidates);
        Ok(PoolView {
            pool,
            candidates,
            more,
        })
    }
}

/// Writes of several asks that share a transaction.
#[derive(Default)]
struct Batch {
    tx: Tx,
    touched: BTreeSet<Key>,
    plans: Vec<(usize, Answer<Value>, Vec<UnpinRecord>)>,
}

impl Batch {
    fn touches(&self, tx: &Tx) -> bool {
        tx.keys().any(|key| self.touched.contains(key))
    }

    fn add(&mut self, n: usize, plan: Plan) {
        self.touched.extend(plan.tx.keys().cloned());
        self.tx.append(plan.tx);
        self.plans.push((n, plan.answer, plan.unpin));
    }
}

fn merged() -> Value {
    json!({"outcome": "merged"})
}

fn proceed(record: &GroupRecord) -> Value {
    json!({"outcome": "proceed", "volumes": record.volumes()})
}

fn wanted(record: &GroupRecord) -> Vec<Wanted> {
    record
        .members
        .iter()
        .filter(|member| member.parts.is_empty())
        .map(|member| Wanted {
            bytes: member.checkpoint.bytes,
            artifacts: member.checkpoint.artifacts,
        })
        .collect()
}

/// `PoolFull` where nothing that is under way can make room; `NoCapacity` where waiting
/// may help.
fn no_room(record: &GroupRecord, view: &PoolView) -> Refusal {
    let needed: Bytes = wanted(record)
        .iter()
        .map(|w| place::reserve_estimate(w.bytes, w.artifacts))
        .sum();
    let room: Bytes = view
        .candidates
        .iter()
        .filter(|c| !record.avoid.contains(&c.volume.barcode))
        .map(|c| c.room)
        .sum();
    let name = &view.pool.name;
    if needed > room {
        Refusal::new(
            Code::PoolFull,
            format!("pool {name}: expected room for {needed} bytes, found {room}"),
        )
    } else {
        Refusal::new(
            Code::NoCapacity,
            format!(
                "pool {name}: {needed} bytes are wanted, and others have been promised the room"
            ),
        )
    }
}

fn conflict_set(
    now: jiff::Timestamp,
    gathered: &Gathered,
    view: &PoolView,
    accounts: &Accounts,
) -> ConflictSet {
    let mut set = ConflictSet {
        now,
        library: view.pool.library.clone(),
        pool: view.pool.name.clone(),
        contenders: gathered.contenders.clone(),
        volumes: view
            .candidates
            .iter()
            .map(|c| VolumeView {
                volume: c.volume.barcode.clone(),
                state: c.volume.lifecycle.state().clone(),
                free: c.room.minus(accounts.reserved(&c.volume.barcode)),
                mounted: c.held,
            })
            .collect(),
        drives: Vec::new(),
        conflicts: Vec::new(),
        history: Vec::new(),
    };
    set.conflicts = policy::find_conflicts(&set);
    set
}
