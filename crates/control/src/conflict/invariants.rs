//! What no decision may break, whoever made it.

use std::collections::BTreeMap;
use std::mem::discriminant;

use jiff::SignedDuration;
use model::{Action, CheckpointId, ConflictSet, Contender, Decision};

use super::{age, same_lineage};

/// The longest a request may be deferred by one decision.
const LONGEST_DEFER: SignedDuration = SignedDuration::from_hours(24);

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
    /// A group goes ahead that does not fit.
    #[error("the group of {0} does not fit on the volumes")]
    Capacity(CheckpointId),
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
    for c in &set.contenders {
        let action = *actions
            .get(&c.id)
            .ok_or(Violation::Count { id: c.id, found: 0 })?;
        one(set, &known, c, action)?;
        whole(set, &actions, c, action)?;
        kept(set, &actions, c)?;
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
    let group_settled = set
        .contenders
        .iter()
        .any(|o| o.group == c.group && o.settled);
    if group_settled && !matches!(action, Action::Proceed { .. }) {
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
        Action::Proceed { .. } if !group_settled => {
            let needed: model::Bytes = set
                .contenders
                .iter()
                .filter(|o| o.group == c.group)
                .map(|o| o.bytes)
                .sum();
            if needed > set.volumes.iter().map(|volume| volume.free).sum() {
                return Err(Violation::Capacity(c.id));
            }
        }
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
