//! Conflict sets: who is decided together, and what a resolver is shown.
//!
//! The sets of the asks that one resolver decides are united. Where the union has more
//! than 256 requests, or more than 256 KiB as canonical JSON, the asks are halved until
//! each part fits; the requests of one part are still seen in the other where they
//! contend. Where a single ask is too large, it loses first the history, then the labels,
//! then contenders in whole groups: last those that are settled and share its parent or
//! content, then other settled ones, first those that wait, the oldest of them first. Its
//! own group stays whole: 24 requests without labels fit always.
//!
//! Of a pool's volumes at most 32 are shown: the 16 that are filled next, and the 16 with
//! the most room.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use model::{
    Barcode, Bytes, CheckpointId, ConflictSet, Contender, DriveView, GroupId, MAX_CONTENDERS,
    MAX_INPUT_BYTES, PastOutcome, VolumeView,
};

use super::{Asking, Together, whole_millis};
use crate::books::Accounts;
use crate::conflict::{self, Other};
use crate::phases::PoolView;
use crate::place;

/// The most volumes of a set.
const MAX_VOLUMES: usize = 32;

/// The most drives of a set: a library has at most some dozens.
pub(super) const MAX_DRIVES: usize = 64;

/// What a set says besides who contends.
pub(super) struct Around<'a> {
    pub(super) now: Timestamp,
    pub(super) view: &'a PoolView,
    pub(super) accounts: &'a Accounts,
    pub(super) drives: &'a [DriveView],
    pub(super) history: &'a [PastOutcome],
}

/// Sets for all asks, each within the limits.
pub(super) fn pack(around: &Around<'_>, asks: Vec<Asking<'_>>) -> Vec<Together> {
    let union = Union::of(&asks);
    let contenders = union.contenders();
    if asks.len() == 1 {
        return vec![alone(around, &asks[0], union)];
    }
    if contenders.len() <= MAX_CONTENDERS {
        let set = around.set(&union, contenders, around.history);
        let text = policy::canonical_set(&set);
        if text.len() <= MAX_INPUT_BYTES {
            return vec![union.together(set, text, &asks)];
        }
    }
    let (mut first, mut second) = (asks, Vec::new());
    let half = first.len() / 2;
    second.extend(first.drain(half..));
    let mut sets = pack(around, first);
    sets.extend(pack(around, second));
    sets
}

/// The set of one ask, made smaller as far as needed.
fn alone(around: &Around<'_>, ask: &Asking<'_>, union: Union) -> Together {
    let own = &ask.gathered.own.value;
    let mine: Vec<_> = union.groups[&own.group.id].1.clone();
    let mut rest: Vec<Vec<Contender>> = union
        .groups
        .iter()
        .filter(|(id, _)| **id != own.group.id)
        .map(|(_, (_, contenders))| contenders.clone())
        .chain(union.committed.values().map(|c| vec![c.clone()]))
        .collect();
    let near = |c: &Contender| {
        mine.iter().any(|m| {
            policy::same_lineage(m, c)
                && (m.content == c.content || (m.parent.is_some() && m.parent == c.parent))
        })
    };
    rest.sort_by_key(|group| {
        let settled = group.iter().any(|c| c.settled);
        let rank = match (settled, settled && group.iter().any(near)) {
            (_, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        };
        (rank, Reverse(group.iter().map(policy::age).max()))
    });
    let mut history = around.history;
    let mut labels = true;
    loop {
        let mut contenders = mine.clone();
        for group in &rest {
            if contenders.len() + group.len() <= MAX_CONTENDERS {
                contenders.extend(group.iter().cloned());
            }
        }
        if !labels {
            contenders.iter_mut().for_each(|c| c.labels.clear());
        }
        let set = around.set(&union, contenders, history);
        let text = policy::canonical_set(&set);
        if text.len() <= MAX_INPUT_BYTES || (rest.is_empty() && !labels) {
            return union.together(set, text, std::slice::from_ref(ask));
        }
        if !history.is_empty() {
            history = &[];
        } else if labels {
            labels = false;
        } else {
            rest.truncate(rest.len() / 2);
        }
    }
}

impl Around<'_> {
    /// A set in canonical order, with the conflicts in it named.
    fn set(
        &self,
        union: &Union,
        mut contenders: Vec<Contender>,
        history: &[PastOutcome],
    ) -> ConflictSet {
        for c in &mut contenders {
            c.submitted_at = whole_millis(c.submitted_at);
            c.deadline = c.deadline.map(whole_millis);
        }
        let mut set = ConflictSet {
            now: self.now,
            library: self.view.pool.library.clone(),
            pool: self.view.pool.name.clone(),
            volumes: self.volumes(union, &contenders),
            contenders,
            drives: self.drives.to_vec(),
            conflicts: Vec::new(),
            history: history.to_vec(),
        };
        set.conflicts = policy::find_conflicts(&set);
        policy::sort_set(&mut set);
        set
    }

    /// The room is for content: what the request with the fewest artifacts could put on
    /// the volume with all that goes around it on tape. So nothing that fits is kept out;
    /// what goes ahead and then finds no room waits, and is decided again.
    ///
    /// What the groups of the set that are not settled have been promised is room: each of
    /// them may be decided otherwise, and counts with its bytes among what goes ahead.
    fn volumes(&self, union: &Union, contenders: &[Contender]) -> Vec<VolumeView> {
        let promised = union.promised(contenders);
        let open = contenders.iter().filter(|c| !c.settled);
        let artifacts = open.map(|c| c.artifacts).min().unwrap_or(1);
        let mut views: Vec<_> = self
            .view
            .candidates
            .iter()
            .map(|c| {
                let barcode = &c.volume.barcode;
                let own = promised.get(barcode).copied().unwrap_or_default();
                // Promised since the account was read, the group's share may be more.
                let others = self.accounts.reserved(barcode).minus(own);
                let left = c.room.minus(others);
                VolumeView {
                    volume: barcode.clone(),
                    state: c.volume.lifecycle.state().clone(),
                    free: place::room_for_content(left, artifacts),
                    mounted: c.held,
                }
            })
            .collect();
        if views.len() > MAX_VOLUMES {
            let mut rest = views.split_off(MAX_VOLUMES / 2);
            rest.sort_by_key(|view| Reverse(view.free));
            rest.truncate(MAX_VOLUMES - views.len());
            views.extend(rest);
        }
        views
    }
}

/// Who contends with any of several asks, each once.
struct Union {
    /// Groups that are not final, and their members as contenders.
    groups: BTreeMap<GroupId, (Other, Vec<Contender>)>,
    committed: BTreeMap<CheckpointId, Contender>,
}

impl Union {
    fn of(asks: &[Asking<'_>]) -> Self {
        let mut groups: BTreeMap<GroupId, (Other, Vec<Contender>)> = BTreeMap::new();
        let mut committed = BTreeMap::new();
        // What several asks saw of one group may differ: the latest counts.
        let mut add = |other: &Other| {
            let record = &other.seen.value;
            let known = groups.get(&record.group.id);
            if known.is_some_and(|(known, _)| known.seen.version >= other.seen.version) {
                return;
            }
            let settled = conflict::is_settled(record, &other.work);
            let members = record.members.iter();
            let contenders = members.map(|member| record.contender(member, settled));
            groups.insert(record.group.id, (other.clone(), contenders.collect()));
        };
        for ask in asks {
            add(&Other {
                seen: ask.gathered.own.clone(),
                work: Vec::new(),
            });
            ask.gathered.others.values().for_each(&mut add);
        }
        for ask in asks {
            let gathered = ask.gathered;
            let of_committed = gathered.contenders.iter().filter(|c| {
                c.group != gathered.own.value.group.id && !gathered.others.contains_key(&c.group)
            });
            for c in of_committed {
                groups.remove(&c.group);
                committed.insert(c.id, c.clone());
            }
        }
        Self { groups, committed }
    }

    fn contenders(&self) -> Vec<Contender> {
        let groups = self.groups.values().flat_map(|(_, contenders)| contenders);
        groups.chain(self.committed.values()).cloned().collect()
    }

    /// What is promised to the groups of these contenders that are not settled, by volume.
    fn promised(&self, contenders: &[Contender]) -> BTreeMap<Barcode, Bytes> {
        let open = contenders.iter().filter(|c| !c.settled).map(|c| c.group);
        let mut promised: BTreeMap<Barcode, Bytes> = BTreeMap::new();
        for group in open.collect::<BTreeSet<_>>() {
            let Some((other, _)) = self.groups.get(&group) else {
                continue;
            };
            for part in other.seen.value.parts() {
                let bytes = promised.entry(part.volume.clone()).or_default();
                *bytes = bytes.plus(part.reserved);
            }
        }
        promised
    }

    fn together(self, set: ConflictSet, text: String, asks: &[Asking<'_>]) -> Together {
        Together {
            set: Arc::new(set),
            text,
            asks: asks.iter().map(|ask| ask.n).collect(),
            asking: asks.iter().map(|ask| ask.record().group.id).collect(),
            groups: self
                .groups
                .into_iter()
                .map(|(id, (other, _))| (id, other))
                .collect(),
        }
    }
}
