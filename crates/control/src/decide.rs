//! Deciding conflicts: what is decided together, who decides it, and what is kept of it.
//!
//! Within one round, asks of the same pool that the same resolver decides are one
//! conflict set, one call, one decision; each ask then applies its own verdicts. A
//! service's binding decides where a group is of that service alone, else the pool's, else
//! the library's, else the native `policy::priority_deadline`.
//!
//! A decision is recorded before anything of it is applied: with its input, with a leaf in
//! the ledger, with the pool's history and the resolver's health, in one transaction. One
//! whose verdicts were never applied (a lost race, a crash) changed nothing: the ask is
//! decided anew, and the record of the first decision stays.
//!
//! No phase fails because of a resolver: whatever one does, the pool's fallback decides.
//! What a resolver did counts for its health; that it could not be called (`Unavailable`:
//! its component is not there, the input cannot be handed over, there was no place to run
//! it) never does.
//!
//! A round holds the turn that commits of the same process take too, so a slow resolver
//! delays them: by its wall time (250 ms where nothing else was asked for, never more than
//! two seconds) for each four sets of a round, and by as much again each time the round
//! loses a race, for those who lost it are decided anew together. After 20 s a round
//! decides no further sets, and after 30 s those who lost are not tried again: they hear
//! `Conflict`, and their runs ask again. So the turn is held for less than a minute,
//! whatever resolvers do. One that goes beyond its wall time is in quarantine after five
//! calls; one that is slow within it is what was asked for.

mod call;
mod record;
mod set;
mod shadow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use model::{
    Action, CheckpointId, ConflictSet, Decision, DecisionId, DriveView, GroupId, LibraryId,
    PoolName, Scope, Verdict,
};
use tokio::time::Instant;

use crate::Control;
use crate::books::Accounts;
use crate::catalogue::{Answer, Seen};
use crate::conflict::{Gathered, Other};
use crate::phases::PoolView;
use crate::records::{BindingRecord, GroupRecord, HistoryRecord};

pub(crate) use shadow::Shadows;

/// At most so many resolvers run at once in one round. Each may take the memory of its
/// limits, at most 256 MiB.
const CALLS_AT_ONCE: usize = 4;

/// A round begins no call later than this. With [`CALLS_AT_ONCE`] that is 40 calls at the
/// longest wall time there is.
const ROUND_WALL: Duration = Duration::from_secs(20);

/// A group that asks, and who contends with it.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// Which ask of the round.
    pub(crate) n: usize,
    pub(crate) gathered: &'a Gathered,
}

impl Asking<'_> {
    fn record(&self) -> &GroupRecord {
        &self.gathered.own.value
    }
}

/// What was decided for some asks together, and what it was decided on.
pub(crate) struct Ruling {
    pub(crate) id: DecisionId,
    pub(crate) decision: Decision,
    /// True where no resolver was bound.
    pub(crate) native: bool,
    /// Every group of the set that is not final, those that ask included.
    pub(crate) groups: BTreeMap<GroupId, Other>,
    /// Those that ask: each applies its own verdicts.
    pub(crate) asking: BTreeSet<GroupId>,
}

impl Ruling {
    /// The verdicts on a group's members.
    pub(crate) fn verdicts(&self, record: &GroupRecord) -> Vec<&Verdict> {
        self.decision
            .verdicts
            .iter()
            .filter(|verdict| record.group.checkpoints.contains(&verdict.id))
            .collect()
    }

    /// True where the verdict on a group is to go ahead.
    pub(crate) fn lets_go(&self, record: &GroupRecord) -> bool {
        let verdicts = self.verdicts(record);
        let first = verdicts.first().map(|verdict| &verdict.action);
        matches!(first, Some(Action::Proceed { .. }))
    }

    /// The group that a checkpoint belongs to, where it is not final.
    pub(crate) fn group_of(&self, id: CheckpointId) -> Option<&Other> {
        self.groups
            .values()
            .find(|other| other.seen.value.group.checkpoints.contains(&id))
    }
}

/// What a round reads once.
struct Facts {
    bindings: Vec<Seen<BindingRecord>>,
    histories: BTreeMap<PoolName, Option<Seen<HistoryRecord>>>,
    drives: BTreeMap<LibraryId, Vec<DriveView>>,
}

impl Facts {
    /// The narrowest binding for a group in a pool.
    fn binding(&self, record: &GroupRecord, view: &PoolView) -> Option<&BindingRecord> {
        let mut services = record.members.iter().map(|m| &m.checkpoint.service);
        let first = services.next();
        let alone = first.filter(|first| services.all(|service| service == *first));
        let scopes = [
            alone.map(|service| Scope::Service(service.clone())),
            Some(Scope::Pool(view.pool.name.clone())),
            Some(Scope::Library(view.pool.library.clone())),
        ];
        scopes.into_iter().flatten().find_map(|scope| {
            let mut bindings = self.bindings.iter();
            bindings
                .find(|seen| seen.value.binding.scope == scope)
                .map(|seen| &seen.value)
        })
    }
}

impl Control {
    /// Decides for all asks of a round, and records what was decided. One ruling an ask;
    /// none for those that the round's time did not suffice for.
    pub(crate) async fn decide(
        &self,
        asks: &[Asking<'_>],
        pools: &BTreeMap<PoolName, PoolView>,
        accounts: &Accounts,
    ) -> Answer<BTreeMap<usize, Arc<Ruling>>> {
        if asks.is_empty() {
            return Ok(BTreeMap::new());
        }
        let begun = Instant::now();
        let now = whole_millis(self.now());
        let facts = self.round_facts(asks, pools).await?;
        let mut same: BTreeMap<(&PoolName, Option<&Scope>), Vec<Asking<'_>>> = BTreeMap::new();
        for ask in asks {
            let pool = &ask.record().group.pool;
            let binding = facts.binding(ask.record(), &pools[pool]);
            let scope = binding.map(|record| &record.binding.scope);
            same.entry((pool, scope)).or_default().push(*ask);
        }
        let mut sets = Vec::new();
        for ((pool, _), asks) in same {
            let view = &pools[pool];
            let binding = facts.binding(asks[0].record(), view);
            let around = set::Around {
                now,
                view,
                accounts,
                drives: &facts.drives[&view.pool.library],
                history: facts.histories[pool]
                    .as_ref()
                    .map_or(&[], |seen| &seen.value.outcomes),
            };
            for together in set::pack(&around, asks) {
                sets.push((together, binding, view.pool.fallback));
            }
        }
        let calls: Vec<_> = sets
            .into_iter()
            .map(|(together, binding, fallback)| async move {
                if begun.elapsed() > ROUND_WALL {
                    return None;
                }
                Some(self.make(together, binding, fallback).await)
            })
            .collect();
        let made: Vec<_> = stream::iter(calls)
            .buffered(CALLS_AT_ONCE)
            .filter_map(future::ready)
            .collect()
            .await;
        self.record(&made, facts).await?;
        let mut rulings = BTreeMap::new();
        for made in made {
            if let Some(job) = made.shadow {
                self.combined.shadows.add(job);
            }
            let ruling = Arc::new(Ruling {
                id: made.record.id,
                decision: made.record.decision,
                native: made.record.resolver.is_none(),
                groups: made.groups,
                asking: made.record.groups.iter().copied().collect(),
            });
            rulings.extend(made.asks.into_iter().map(|n| (n, Arc::clone(&ruling))));
        }
        Ok(rulings)
    }

    async fn round_facts(
        &self,
        asks: &[Asking<'_>],
        pools: &BTreeMap<PoolName, PoolView>,
    ) -> Answer<Facts> {
        let mut histories = BTreeMap::new();
        let mut drives = BTreeMap::new();
        for ask in asks {
            let pool = &ask.record().group.pool;
            if !histories.contains_key(pool) {
                histories.insert(pool.clone(), self.history(pool).await?);
            }
            let library = &pools[pool].pool.library;
            if !drives.contains_key(library) {
                drives.insert(library.clone(), self.drive_views(library).await?);
            }
        }
        Ok(Facts {
            bindings: self.binding_records().await?,
            histories,
            drives,
        })
    }

    async fn drive_views(&self, library: &LibraryId) -> Answer<Vec<DriveView>> {
        let (drives, _) = self.drives_of(library).await?;
        let mut views: Vec<_> = drives
            .into_iter()
            .map(|(meta, lease)| DriveView {
                state: crate::register::drive_state(&meta, &lease),
                drive: meta.serial,
                volume: meta.volume,
            })
            .collect();
        // More say little more, and a set is at most 256 KiB.
        views.truncate(set::MAX_DRIVES);
        Ok(views)
    }
}

/// Whole milliseconds: what every language's numbers hold.
pub(crate) fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// True where `own` may wait for `other` to stand for it: the other one is older, or an
/// agent has it. So nobody ever waits for somebody who waits for it.
pub(crate) fn may_follow(own: &GroupRecord, other: &Other) -> bool {
    let age = |record: &GroupRecord| (whole_millis(record.group.submitted_at), record.group.id);
    age(&other.seen.value) < age(own) || crate::conflict::is_settled(&other.seen.value, &other.work)
}

/// The set of a decision with who asked.
struct Together {
    set: Arc<ConflictSet>,
    /// Its canonical text.
    text: String,
    asks: Vec<usize>,
    asking: Vec<GroupId>,
    groups: BTreeMap<GroupId, Other>,
}
