//! What no decision may break, whoever made it.

use std::collections::BTreeMap;
use std::mem::discriminant;

use jiff::SignedDuration;
use model::{Action, Bytes, CheckpointId, ConflictSet, Contender, Decision};

use crate::{age, is_settled, same_lineage};

/// The longest a request may be deferred by one decision: a day, so that a wrong policy
/// is noticed before the next working day is over.
pub const LONGEST_DEFER: SignedDuration = SignedDuration::from_hours(24);

/// An invariant that a decision breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A request has no verdict, or several.
    #[error("{id}: expected one verdict, found {found}")]
    Count {
        /// The request.
        id: CheckpointId,
        /// How many verdicts.
        found: usize,
    },
    /// A verdict names a request that is not in the set.
    #[error("{0} is not in the conflict set")]
    Unknown(CheckpointId),
    /// What is settled cannot be undone.
    #[error("{0} is settled and must proceed")]
    Settled(CheckpointId),
    /// The members of a group are decided differently.
    #[error("the group of {0} is split")]
    Split(CheckpointId),
    /// A request is superseded by one that is not newer in the same lineage.
    #[error("{0} is superseded by {1}, which is not newer in its lineage")]
    NotNewer(CheckpointId, CheckpointId),
    /// A request is merged into one with other content or of another lineage.
    #[error("{0} is merged into {1}, which does not hold the same")]
    NotSame(CheckpointId, CheckpointId),
    /// A request is handed on, from one to the next, to one that does not go ahead.
    #[error("{0} is handed on to nobody who goes ahead")]
    Lost(CheckpointId),
    /// A request is deferred into the past, or for more than a day.
    #[error("{0} is not deferred by up to 24 hours")]
    Defer(CheckpointId),
    /// Groups go ahead that do not all fit.
    #[error("{needed} bytes go ahead, and the volumes have room for {free}")]
    Capacity {
        /// What goes ahead and is not settled.
        needed: Bytes,
        /// What the volumes have.
        free: Bytes,
    },
    /// Two successors of one parent go ahead in one lineage.
    #[error("{0} and {1} follow the same parent with other content, and both proceed")]
    Fork(CheckpointId, CheckpointId),
    /// A place in line that not every language can hold.
    #[error("{0} proceeds with an order of 2^53 or more")]
    Order(CheckpointId),
}

/// Checks a decision against the invariants.
///
/// # Errors
/// The first [`Violation`] found.
pub fn check_decision(set: &ConflictSet, decision: &Decision) -> Result<(), Violation> {
    let known: BTreeMap<_, _> = set.contenders.iter().map(|c| (c.id, c)).collect();
    let mut actions: BTreeMap<CheckpointId, &Action> = BTreeMap::new();
    for verdict in &decision.verdicts {
        if !known.contains_key(&verdict.id) {
            return Err(Violation::Unknown(verdict.id));
        }
        if actions.insert(verdict.id, &verdict.action).is_some() {
            return Err(Violation::Count {
                id: verdict.id,
                found: 2,
            });
        }
    }
    let proceeds: Vec<&Contender> = set
        .contenders
        .iter()
        .filter(|c| matches!(actions.get(&c.id), Some(Action::Proceed { .. })))
        .collect();
    for c in &set.contenders {
        let action = *actions
            .get(&c.id)
            .ok_or(Violation::Count { id: c.id, found: 0 })?;
        one(set, &known, c, action)?;
        whole(set, &actions, c, action)?;
        kept(set, &actions, c)?;
        forks(set, &proceeds, c)?;
    }
    fits(set, &proceeds)
}

/// At most one successor of a parent goes ahead in a lineage. What is settled has gone
/// ahead already; of it nobody can say no any more. Nor does content that is settled
/// already begin another history, on whichever side it stands.
fn forks(set: &ConflictSet, proceeds: &[&Contender], c: &Contender) -> Result<(), Violation> {
    let held_already = |c: &Contender| {
        proceeds.iter().any(|o| {
            o.group != c.group
                && same_lineage(o, c)
                && o.content == c.content
                && is_settled(set, o.group)
        })
    };
    if c.parent.is_none() || is_settled(set, c.group) || !proceeds.contains(&c) || held_already(c) {
        return Ok(());
    }
    let forked = proceeds.iter().find(|o| {
        o.group != c.group
            && same_lineage(o, c)
            && o.parent == c.parent
            && o.content != c.content
            && (is_settled(set, o.group) || !held_already(o))
    });
    match forked {
        Some(o) => Err(Violation::Fork(c.id.min(o.id), c.id.max(o.id))),
        None => Ok(()),
    }
}

/// All that goes ahead fits.
fn fits(set: &ConflictSet, proceeds: &[&Contender]) -> Result<(), Violation> {
    let needed: Bytes = proceeds
        .iter()
        .filter(|c| !is_settled(set, c.group))
        .map(|c| c.bytes)
        .sum();
    let free: Bytes = set.volumes.iter().map(|volume| volume.free).sum();
    if needed > free {
        return Err(Violation::Capacity { needed, free });
    }
    Ok(())
}

/// A verdict by itself.
fn one(
    set: &ConflictSet,
    known: &BTreeMap<CheckpointId, &Contender>,
    c: &Contender,
    action: &Action,
) -> Result<(), Violation> {
    if is_settled(set, c.group) && !matches!(action, Action::Proceed { .. }) {
        return Err(Violation::Settled(c.id));
    }
    let other = |id: &CheckpointId| known.get(id).copied().ok_or(Violation::Unknown(*id));
    match action {
        Action::Supersede { by } => {
            let by = other(by)?;
            if by.group == c.group || !same_lineage(by, c) || age(by) <= age(c) {
                return Err(Violation::NotNewer(c.id, by.id));
            }
        }
        Action::Merge { into } => {
            let into = other(into)?;
            if into.group == c.group || !same_lineage(into, c) || into.content != c.content {
                return Err(Violation::NotSame(c.id, into.id));
            }
        }
        Action::Defer { until } => {
            let longest = set.now.checked_add(LONGEST_DEFER).unwrap_or(*until);
            if *until <= set.now || *until > longest {
                return Err(Violation::Defer(c.id));
            }
        }
        Action::Proceed { order } if *order >= 1 << 53 => return Err(Violation::Order(c.id)),
        _ => {}
    }
    Ok(())
}

/// All members of a group get the same kind of verdict, and the same place in line.
fn whole(
    set: &ConflictSet,
    actions: &BTreeMap<CheckpointId, &Action>,
    c: &Contender,
    action: &Action,
) -> Result<(), Violation> {
    for o in set.contenders.iter().filter(|o| o.group == c.group) {
        let Some(theirs) = actions.get(&o.id) else {
            continue;
        };
        let alike = match (action, theirs) {
            (Action::Proceed { order: a }, Action::Proceed { order: b }) => a == b,
            (Action::Defer { until: a }, Action::Defer { until: b }) => a == b,
            (a, b) => discriminant(a) == discriminant(*b),
        };
        if !alike {
            return Err(Violation::Split(c.id));
        }
    }
    Ok(())
}

/// Whoever is handed on ends with somebody who goes ahead or waits.
fn kept(
    set: &ConflictSet,
    actions: &BTreeMap<CheckpointId, &Action>,
    c: &Contender,
) -> Result<(), Violation> {
    let mut at = c.id;
    for step in 0..=set.contenders.len() {
        at = match actions.get(&at) {
            Some(Action::Supersede { by }) => *by,
            Some(Action::Merge { into }) => *into,
            Some(Action::Reject { .. }) if step > 0 => return Err(Violation::Lost(c.id)),
            _ => return Ok(()),
        };
    }
    Err(Violation::Lost(c.id))
}
