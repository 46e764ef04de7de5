//! `priority-deadline` as a native function: the default where no resolver is bound, and
//! the fallback of those that fail.
//!
//! 1. Who is settled goes on.
//! 2. Who is past the deadline is refused.
//! 3. Who names a parent that has another settled successor is refused as a fork, unless
//!    that very content is settled already.
//! 4. A newer request supersedes an older one of the same lineage with other content,
//!    unless the older one is settled. A group is superseded only if each member is; one
//!    that is not, and shares a parent with a newer one, is refused as a fork.
//! 5. Of requests with the same content in one lineage a settled one, else the oldest,
//!    stands for all. A group is merged only if each member is.
//! 6. The others go on by priority, then deadline, then age, as long as they fit; who does
//!    not fit is deferred.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use model::{
    Action, Bytes, CheckpointId, Code, ConflictSet, Contender, Decision, Fallback, GroupId,
    Refusal, Verdict,
};

use crate::{age, same_lineage};

/// How long a request that does not fit is deferred.
const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(15);

/// How long [`Fallback::Defer`] defers.
pub const DEFER_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// What becomes of a group, with one entry a member where members differ.
enum Fate {
    Proceeds,
    Rejected(Refusal),
    Superseded(Vec<CheckpointId>),
    Merged(Vec<CheckpointId>),
    Deferred(Timestamp),
}

/// What is decided where the resolver does not: `why` stands in the reasons.
pub fn decide_by_fallback(set: &ConflictSet, fallback: Fallback, why: &str) -> Decision {
    let fate = match fallback {
        Fallback::BuiltIn => return priority_deadline(set),
        Fallback::Defer => Action::Defer {
            until: set.now.checked_add(DEFER_AGAIN).unwrap_or(Timestamp::MAX),
        },
        Fallback::Reject => Action::Reject {
            refusal: Refusal::new(
                Code::ResolverFailed,
                format!("expected a decision of the bound resolver, found: {why}"),
            ),
        },
    };
    let mut verdicts: Vec<_> = set
        .contenders
        .iter()
        .map(|c| Verdict {
            id: c.id,
            action: if crate::is_settled(set, c.group) {
                Action::Proceed { order: order(c) }
            } else {
                fate.clone()
            },
            reason: format!("the resolver did not decide: {why}"),
        })
        .collect();
    // A settled group keeps one place in line.
    for (verdict, c) in verdicts.iter_mut().zip(&set.contenders) {
        let members = set.contenders.iter().filter(|o| o.group == c.group);
        if let (Action::Proceed { order: place }, Some(line)) =
            (&mut verdict.action, members.map(order).min())
        {
            *place = line;
        }
    }
    verdicts.sort_by_key(|verdict| verdict.id);
    Decision {
        verdicts,
        reason: "fallback".to_owned(),
    }
}

/// Decides a conflict set. The order of the contenders does not matter.
pub fn priority_deadline(set: &ConflictSet) -> Decision {
    let groups = by_group(set);
    let settled = |group: &GroupId| groups[group].iter().any(|c| c.settled);
    let mut fates: BTreeMap<GroupId, Fate> = BTreeMap::new();
    for (id, members) in &groups {
        if settled(id) {
            fates.insert(*id, Fate::Proceeds);
        } else if let Some(refusal) = refused(set, members, &settled) {
            fates.insert(*id, Fate::Rejected(refusal));
        }
    }
    let mut live: Vec<GroupId> = groups
        .keys()
        .filter(|id| !fates.contains_key(id))
        .copied()
        .collect();
    live.sort_by_key(|id| age(groups[id][0]));

    // Newest first: who is not superseded may supersede.
    let mut standing = Vec::new();
    for id in live.iter().rev() {
        let by = |member: &Contender| newest_that_replaces(set, member, &settled, &standing);
        if let Some(by) = groups[id].iter().map(|member| by(member)).collect() {
            fates.insert(*id, Fate::Superseded(by));
        } else if let Some(refusal) = groups[id]
            .iter()
            .find_map(|c| fork(set, c, &settled, &|group| standing.contains(group)))
        {
            fates.insert(*id, Fate::Rejected(refusal));
        } else {
            standing.push(*id);
        }
    }
    // Oldest first: who is not merged may stand for others.
    let mut proceeding = Vec::new();
    for id in standing.iter().rev() {
        let into = |member: &Contender| oldest_with_content(set, member, &settled, &proceeding);
        if let Some(into) = groups[id].iter().map(|member| into(member)).collect() {
            fates.insert(*id, Fate::Merged(into));
        } else {
            proceeding.push(*id);
        }
    }
    // First in line first: who fits goes ahead.
    let mut free: Bytes = set.volumes.iter().map(|volume| volume.free).sum();
    proceeding.sort_by_key(|id| (line(&groups[id]), age(groups[id][0])));
    for id in proceeding {
        let needed: Bytes = groups[&id].iter().map(|c| c.bytes).sum();
        let fate = if needed > free {
            Fate::Deferred(set.now.checked_add(RETRY_AFTER).unwrap_or(Timestamp::MAX))
        } else {
            free = free.minus(needed);
            Fate::Proceeds
        };
        fates.insert(id, fate);
    }
    verdicts(&groups, &fates)
}

fn by_group(set: &ConflictSet) -> BTreeMap<GroupId, Vec<&Contender>> {
    let mut groups: BTreeMap<GroupId, Vec<&Contender>> = BTreeMap::new();
    for contender in &set.contenders {
        groups.entry(contender.group).or_default().push(contender);
    }
    for members in groups.values_mut() {
        members.sort_by_key(|c| c.id);
    }
    groups
}

fn refused(
    set: &ConflictSet,
    members: &[&Contender],
    settled: &dyn Fn(&GroupId) -> bool,
) -> Option<Refusal> {
    let late = members
        .iter()
        .find_map(|c| c.deadline.filter(|deadline| *deadline <= set.now));
    if let Some(deadline) = late {
        return Some(Refusal::new(
            Code::DeadlineMissed,
            format!("expected to begin before {deadline}, it is {}", set.now),
        ));
    }
    members.iter().find_map(|c| fork(set, c, settled, settled))
}

/// Refuses a second successor of a parent, the first being one that `ahead` names.
fn fork(
    set: &ConflictSet,
    c: &Contender,
    settled: &dyn Fn(&GroupId) -> bool,
    ahead: &dyn Fn(&GroupId) -> bool,
) -> Option<Refusal> {
    let parent = c.parent?;
    let mut others: Vec<_> = set
        .contenders
        .iter()
        .filter(|o| o.group != c.group && same_lineage(o, c) && o.content != c.content)
        .filter(|o| o.parent == Some(parent) && ahead(&o.group))
        .collect();
    others.sort_by_key(|o| o.id);
    let other = others.first()?;
    let held_already = |o: &Contender| {
        o.group != c.group && same_lineage(o, c) && o.content == c.content && settled(&o.group)
    };
    if set.contenders.iter().any(held_already) {
        return None;
    }
    Some(Refusal::new(
        Code::LineageFork,
        format!(
            "{} {}: expected parent {parent} to have no successor, found {} (version {})",
            c.service, c.version, other.id, other.version
        ),
    ))
}

/// The newest request that takes the place of `member`.
fn newest_that_replaces(
    set: &ConflictSet,
    member: &Contender,
    settled: &dyn Fn(&GroupId) -> bool,
    standing: &[GroupId],
) -> Option<CheckpointId> {
    set.contenders
        .iter()
        .filter(|o| {
            o.group != member.group
                && same_lineage(o, member)
                && o.content != member.content
                && age(o) > age(member)
                && (settled(&o.group) || standing.contains(&o.group))
        })
        .max_by_key(|o| (age(o), o.id))
        .map(|o| o.id)
}

/// The request that stands for `member`: a settled one, else the oldest.
fn oldest_with_content(
    set: &ConflictSet,
    member: &Contender,
    settled: &dyn Fn(&GroupId) -> bool,
    proceeding: &[GroupId],
) -> Option<CheckpointId> {
    set.contenders
        .iter()
        .filter(|o| {
            o.group != member.group
                && same_lineage(o, member)
                && o.content == member.content
                && (settled(&o.group) || proceeding.contains(&o.group))
        })
        .min_by_key(|o| (!settled(&o.group), age(o), o.id))
        .map(|o| o.id)
}

/// A place in line that sorts by priority, then deadline; below 2^52. Ties go by age,
/// because group ids do.
pub fn order(c: &Contender) -> u64 {
    const LATEST: u64 = (1 << 48) - 1;
    let deadline = c.deadline.map_or(LATEST, |deadline| {
        u64::try_from(deadline.as_millisecond())
            .unwrap_or(0)
            .min(LATEST)
    });
    (u64::from(9 - c.priority.get()) << 48) | deadline
}

/// A group's place in line: its first member's.
fn line(members: &[&Contender]) -> u64 {
    members.iter().map(|c| order(c)).min().unwrap_or(u64::MAX)
}

fn verdicts(
    groups: &BTreeMap<GroupId, Vec<&Contender>>,
    fates: &BTreeMap<GroupId, Fate>,
) -> Decision {
    let mut verdicts: Vec<_> = groups
        .iter()
        .flat_map(|(id, members)| {
            let line = line(members);
            members.iter().enumerate().map(move |(m, c)| {
                let (action, reason) = match &fates[id] {
                    Fate::Proceeds => (
                        Action::Proceed { order: line },
                        "by priority, deadline and age".to_owned(),
                    ),
                    Fate::Rejected(refusal) => (
                        Action::Reject {
                            refusal: refusal.clone(),
                        },
                        refusal.message.clone(),
                    ),
                    Fate::Superseded(by) => (
                        Action::Supersede { by: by[m] },
                        format!("{} is newer in the same lineage", by[m]),
                    ),
                    Fate::Merged(into) => (
                        Action::Merge { into: into[m] },
                        format!("{} has the same content", into[m]),
                    ),
                    Fate::Deferred(until) => (
                        Action::Defer { until: *until },
                        "no volume has room now".to_owned(),
                    ),
                };
                Verdict {
                    id: c.id,
                    action,
                    reason,
                }
            })
        })
        .collect();
    verdicts.sort_by_key(|verdict| verdict.id);
    Decision {
        verdicts,
        reason: "by priority, deadline and age".to_owned(),
    }
}
