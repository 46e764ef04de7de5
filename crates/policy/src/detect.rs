//! Naming what is in conflict with what, for policies and for humans.

use std::collections::{BTreeMap, BTreeSet};

use model::{Bytes, CheckpointId, Conflict, ConflictKind, ConflictSet, Contender};

use crate::{is_settled, same_lineage};

/// The conflicts between contenders, sorted by kind and ids. `set.conflicts` is not read.
pub fn find_conflicts(set: &ConflictSet) -> Vec<Conflict> {
    let mut found: BTreeMap<(ConflictKind, String), BTreeSet<CheckpointId>> = BTreeMap::new();
    let mut add = |kind, key: String, pair: [&Contender; 2]| {
        found
            .entry((kind, key))
            .or_default()
            .extend(pair.map(|c| c.id));
    };
    for (n, a) in set.contenders.iter().enumerate() {
        for b in &set.contenders[n + 1..] {
            if a.group == b.group || !same_lineage(a, b) {
                continue;
            }
            let line = format!("{}#{:?}", a.service, a.branch);
            if a.content == b.content {
                add(
                    ConflictKind::Duplicate,
                    format!("{line}#{}", a.content),
                    [a, b],
                );
                if a.retention != b.retention {
                    add(
                        ConflictKind::Retention,
                        format!("{line}#{}", a.content),
                        [a, b],
                    );
                }
            } else if a.parent.is_some() && a.parent == b.parent {
                add(
                    ConflictKind::LineageFork,
                    format!("{line}#{:?}", a.parent),
                    [a, b],
                );
            }
            if a.content != b.content && (!a.settled || !b.settled) {
                add(ConflictKind::Superseded, line, [a, b]);
            }
            let sizes = [a, b].map(|c| {
                let group = set.contenders.iter().filter(|other| other.group == c.group);
                group.count()
            });
            if sizes.iter().any(|size| *size > 1) {
                let pair = [a.group.min(b.group), a.group.max(b.group)];
                add(ConflictKind::GroupOverlap, format!("{pair:?}"), [a, b]);
            }
        }
    }
    let mut conflicts: Vec<_> = found
        .into_iter()
        .map(|((kind, _), between)| Conflict {
            kind,
            between: between.into_iter().collect(),
        })
        .collect();
    let needed: Bytes = set
        .contenders
        .iter()
        .filter(|c| !is_settled(set, c.group))
        .map(|c| c.bytes)
        .sum();
    if needed > set.volumes.iter().map(|volume| volume.free).sum() {
        conflicts.push(Conflict {
            kind: ConflictKind::Capacity,
            between: set
                .contenders
                .iter()
                .filter(|c| !is_settled(set, c.group))
                .map(|c| c.id)
                .collect(),
        });
    }
    let late: BTreeSet<_> = set
        .contenders
        .iter()
        .filter(|c| !c.settled && c.deadline.is_some_and(|deadline| deadline <= set.now))
        .map(|c| c.id)
        .collect();
    if !late.is_empty() {
        conflicts.push(Conflict {
            kind: ConflictKind::Deadline,
            between: late.into_iter().collect(),
        });
    }
    for conflict in &mut conflicts {
        conflict.between.sort_unstable();
    }
    conflicts.sort_by(|a, b| (a.kind, &a.between).cmp(&(b.kind, &b.between)));
    conflicts
}
