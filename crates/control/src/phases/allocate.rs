//! Allocate: decide conflicts, choose volumes, promise room; callers share one transaction
//! for what was decided and one for what becomes of it.

mod places;
mod plan;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures::future::join_all;
use model::{Action, Bytes, Code, CopyNo, GroupId, LifecycleEvent, Pool, PoolName, Refusal, State};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Input, ended, illegal};
use crate::books::Accounts;
use crate::catalogue::{self, Answer, RETRY_WALL, Seen, Tx, query};
use crate::conflict::Gathered;
use crate::decide::{Asking, Ruling, whole_millis};
use crate::place::{self, Candidate, Wanted};
use crate::ports::{Condition, Index, Key, MAX_WRITES, SortKeys, Write};
use crate::records::{GroupRecord, Part, UnpinRecord, VolumeLease, VolumeMeta};
use crate::{Control, keys};
use places::Places;
use plan::Plan;
use verdicts::Handed;

/// At most so many begun volumes of a pool are considered.
const BEGUN: u32 = 64;
/// At most so many blank ones, unless those do not suffice.
const BLANK: u32 = 8;
/// One that loses race after race by itself tries for so long: forty processes that come
/// together are all served in half the time. Others of its process wait for the turn.
const LONE_WALL: Duration = Duration::from_secs(10);

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
pub(crate) struct PoolView {
    pub(crate) pool: Pool,
    pub(crate) candidates: Vec<Candidate>,
    /// True where blank volumes were left out.
    more: bool,
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

    /// One answer an ask. Those whose shared transaction lost a race try again together;
    /// where none of them got anywhere, in halves. A round may cost a call of a resolver,
    /// and all of it is under the turn: who lost still when the time is up is told so.
    async fn allocate_all(&self, asks: Vec<AllocateAsk>) -> Vec<Answer<Value>> {
        let mut answers: Vec<Option<Answer<Value>>> = vec![None; asks.len()];
        let begun = Instant::now();
        let mut waiting = VecDeque::from([((0..asks.len()).collect::<Vec<_>>(), 0)]);
        while let Some((together, times)) = waiting.pop_front() {
            let mut lost = self.allocate_round(&asks, &together, &mut answers).await;
            if begun.elapsed() > RETRY_WALL {
                break;
            }
            if lost.len() < together.len() {
                if !lost.is_empty() {
                    waiting.push_back((lost, 0));
                }
            } else if lost.len() > 1 {
                let rest = lost.split_off(lost.len() / 2);
                waiting.extend([(lost, 0), (rest, 0)]);
            } else if begun.elapsed() <= LONE_WALL {
                self.give_way(times + 1).await;
                waiting.push_back((lost, times + 1));
            }
        }
        self.start_shadows();
        answers
            .into_iter()
            .map(|answer| {
                answer.unwrap_or_else(|| {
                    Err(Refusal::new(Code::Conflict, "others were faster each time"))
                })
            })
            .collect()
    }

    /// Answers what it can; returns who lost a race, to be decided anew.
    async fn allocate_round(
        &self,
        all: &[AllocateAsk],
        which: &[usize],
        answers: &mut [Option<Answer<Value>>],
    ) -> Vec<usize> {
        let found = join_all(which.iter().map(|n| self.find(&all[*n]))).await;
        let mut open = Vec::new();
        for (n, found) in which.iter().copied().zip(found) {
            match found {
                Ok(Found::Open(gathered)) => open.push((n, gathered)),
                Ok(Found::Done(answer)) => answers[n] = Some(Ok(answer)),
                Err(refusal) => answers[n] = Some(Err(refusal)),
            }
        }
        let mut pools: BTreeMap<PoolName, PoolView> = BTreeMap::new();
        let mut accounts = Accounts::default();
        let mut asks = Vec::new();
        for (n, gathered) in &open {
            let record = &gathered.own.value;
            match self.look_around(record, &mut pools, &mut accounts).await {
                Err(refusal) => answers[*n] = Some(Err(refusal)),
                Ok(()) if gathered.contenders.is_empty() => {}
                Ok(()) => asks.push(Asking { n: *n, gathered }),
            }
        }
        let rulings = match self.decide(&asks, &pools, &accounts).await {
            Ok(rulings) => rulings,
            Err(refusal) => {
                for ask in asks {
                    answers[ask.n] = Some(Err(refusal.clone()));
                }
                BTreeMap::new()
            }
        };
        // Those who go ahead come first: others end only where it is known that they do.
        open.sort_by_key(|(n, gathered)| {
            let ruling = rulings.get(n);
            !ruling.is_none_or(|ruling| ruling.lets_go(&gathered.own.value))
        });
        let mut batch = Batch::default();
        let mut lost = Vec::new();
        for (n, gathered) in &open {
            let n = *n;
            if answers[n].is_some() {
                continue;
            }
            let ruling = rulings.get(&n).map(AsRef::as_ref);
            if ruling.is_none() && !gathered.contenders.is_empty() {
                // The round's time did not suffice.
                lost.push(n);
                continue;
            }
            let mut trial = accounts.clone();
            let plan = match self
                .plan(
                    &all[n],
                    gathered,
                    ruling.map(|ruling| (ruling, &batch.placed)),
                    &mut pools,
                    &mut trial,
                )
                .await
            {
                Ok(plan) => plan,
                Err(refusal) => {
                    answers[n] = Some(Err(refusal));
                    continue;
                }
            };
            if batch.collides(&plan.tx) {
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
        let room = MAX_WRITES - tx.len();
        for key in batch.obsolete.into_iter().take(room) {
            if !batch.touched.contains_key(&key) {
                tx.delete(key, Condition::None);
            }
        }
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
            State::Staged => {
                let waits = record.group.deferred.as_ref();
                if let Some(deferred) = waits.filter(|deferred| deferred.until > self.now()) {
                    // A clock ahead of this one would ask again and again.
                    let soonest = catalogue::later(whole_millis(self.now()), 1);
                    return Ok(Found::Done(later(deferred.until.max(soonest))));
                }
                true
            }
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
            obsolete: BTreeSet::new(),
        })))
    }

    /// Reads what there is for a group to go to: so much of the pool that it fits, where it
    /// does at all.
    async fn look_around(
        &self,
        record: &GroupRecord,
        pools: &mut BTreeMap<PoolName, PoolView>,
        accounts: &mut Accounts,
    ) -> Answer<()> {
        let name = &record.group.pool;
        if !pools.contains_key(name) {
            pools.insert(name.clone(), self.pool_view(name, BLANK).await?);
        }
        self.add_candidates(accounts, &pools[name]).await?;
        self.add_accounts(accounts, record.volumes()).await?;
        if pools[name].more && self.shares(record, &pools[name], accounts).is_none() {
            let wider = self.pool_view(name, 1000).await?;
            self.add_candidates(accounts, &wider).await?;
            pools.insert(name.clone(), wider);
        }
        Ok(())
    }

    async fn plan(
        &self,
        ask: &AllocateAsk,
        gathered: &Gathered,
        ruling: Option<(&Ruling, &BTreeSet<GroupId>)>,
        pools: &mut BTreeMap<PoolName, PoolView>,
        accounts: &mut Accounts,
    ) -> Answer<Plan> {
        let record = &gathered.own.value;
        // Others of this round may have been promised what was there.
        self.look_around(record, pools, accounts).await?;
        let view = &pools[&record.group.pool];
        let shares = self.shares(record, view, accounts);
        let mut plan = Plan::new();
        let mut own = gathered.own.clone();
        let before = accounts.clone();
        if let Some((ruling, placed)) = ruling {
            let verdicts = ruling.verdicts(record);
            let deferred = matches!(
                verdicts.first().map(|verdict| &verdict.action),
                Some(Action::Defer { .. })
            );
            if shares.is_none() && deferred {
                let refusal = no_room(record, view);
                // What never fits is refused; what waits for room asks by itself.
                if ruling.native || refusal.code == Code::PoolFull {
                    return Err(refusal);
                }
            }
            own.value.group.decision = Some(ruling.id);
            match self.handed_on(ruling, &own, &verdicts, placed, accounts, &mut plan)? {
                Handed::On => return Ok(plan),
                Handed::Ahead(order) => own.value.order = order,
            }
            let places = self
                .take_places(ruling, record, placed, accounts, &mut plan)
                .await?;
            match places {
                Places::Taken => {}
                Places::Later(reason) => {
                    *accounts = before;
                    return self.postponed(&own, &reason, accounts);
                }
                Places::Never(refusal) => {
                    *accounts = before;
                    return self.refused(&own, refusal, accounts);
                }
            }
            self.supersede_others(ruling, record, placed, accounts, &mut plan)
                .await?;
        }
        let shares = shares.ok_or_else(|| no_room(record, view))?;
        self.place(ask, own.clone(), shares, view, accounts, &mut plan)?;
        plan.obsolete.clone_from(&gathered.obsolete);
        if plan.size() > MAX_WRITES {
            // Whoever has to give way for it is too large to be ended in one transaction.
            *accounts = before;
            let reason = "waits for others that are to give way to end";
            return self.postponed(&own, reason, accounts);
        }
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
        own: Seen<GroupRecord>,
        shares: Vec<Vec<place::Share>>,
        view: &PoolView,
        accounts: &mut Accounts,
        plan: &mut Plan,
    ) -> Answer<()> {
        let mut record = own.value;
        if *record.group.lifecycle.state() != State::Allocated {
            record.group.lifecycle = record
                .group
                .lifecycle
                .apply(LifecycleEvent::Allocate)
                .map_err(illegal)?;
        }
        record.placement = ask.placement;
        record.step = None;
        record.library = Some(view.pool.library.clone());
        record.group.deferred = None;
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
        plan.volumes.extend(record.volumes());
        plan.placed = Some(record.group.id);
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
    /// What each write is of, and on which condition.
    touched: BTreeMap<Key, (bool, Condition)>,
    plans: Vec<(usize, Answer<Value>, Vec<UnpinRecord>)>,
    /// What is deleted as well where there is room.
    obsolete: BTreeSet<Key>,
    /// Groups that go ahead.
    placed: BTreeSet<GroupId>,
}

impl Batch {
    /// True where the writes cannot stand in one transaction with those there are. One
    /// that only checks what another one writes on the same condition can.
    fn collides(&self, tx: &Tx) -> bool {
        tx.writes.iter().any(|write| {
            let (key, checks, condition) = parts(write);
            self.touched
                .get(key)
                .is_some_and(|(checked, on)| *on != condition || !(checks || *checked))
        })
    }

    fn add(&mut self, n: usize, plan: Plan) {
        let mut tx = plan.tx;
        tx.writes.retain(|write| {
            let (key, checks, condition) = parts(write);
            match self.touched.get(key) {
                // The other one's condition stands for both.
                Some(_) if checks => return false,
                Some(_) => self.tx.writes.retain(|other| parts(other).0 != key),
                None => {}
            }
            self.touched.insert(key.clone(), (checks, condition));
            true
        });
        self.tx.append(tx);
        self.placed.extend(plan.placed);
        self.obsolete.extend(plan.obsolete);
        self.plans.push((n, plan.answer, plan.unpin));
    }
}

/// A write's key, whether it only checks, and its condition.
const fn parts(write: &Write) -> (&Key, bool, Condition) {
    match write {
        Write::Put(item, condition) => (&item.key, false, *condition),
        Write::Delete(key, condition) => (key, false, *condition),
        Write::Check(key, condition) => (key, true, *condition),
    }
}

fn later(until: jiff::Timestamp) -> Value {
    json!({"outcome": "deferred", "until": until})
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
