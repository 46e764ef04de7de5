//! What the host checks of every decision, to be checked in a test already.

use std::collections::BTreeMap;
use std::mem::discriminant;

use crate::{Action, ConflictSet, Decision, Groups, MAX_REASON_BYTES, Request};

/// The longest a request may be deferred by one decision, in milliseconds: a day.
pub const LONGEST_DEFER_MS: u64 = 24 * 60 * 60 * 1000;

/// Checks a decision the way the host does: one verdict for each request, groups whole,
/// what is settled goes on, nobody is handed on to nobody, at most one successor of a
/// parent, and all that goes ahead fits.
///
/// # Errors
/// The first invariant that it breaks, in words.
pub fn check_decision(set: &ConflictSet, decision: &Decision) -> Result<(), String> {
    let groups = Groups::of(set);
    let mut actions: BTreeMap<&str, &Action> = BTreeMap::new();
    let reasons = decision.verdicts.iter().map(|verdict| &verdict.reason);
    if let Some(long) = reasons
        .chain([&decision.reason])
        .find(|reason| reason.len() > MAX_REASON_BYTES)
    {
        return Err(format!("a reason of {} bytes is too long", long.len()));
    }
    for verdict in &decision.verdicts {
        if !set.requests.iter().any(|c| c.id == verdict.id) {
            return Err(format!("{} is not in the conflict set", verdict.id));
        }
        if actions.insert(&verdict.id, &verdict.action).is_some() {
            return Err(format!("{} has two verdicts", verdict.id));
        }
    }
    for group in &groups {
        let first = group.members[0];
        for c in &group.members {
            let action = *actions
                .get(c.id.as_str())
                .ok_or_else(|| format!("{} has no verdict", c.id))?;
            if group.is_settled() && !matches!(action, Action::Proceed(_)) {
                return Err(format!("{} is settled and must proceed", c.id));
            }
            if !alike(action, actions.get(first.id.as_str()).copied()) {
                return Err(format!("the group of {} is split", c.id));
            }
            one(set, c, action)?;
            kept(set, &actions, c)?;
        }
    }
    let proceeds = |c: &Request| matches!(actions.get(c.id.as_str()), Some(Action::Proceed(_)));
    let mut needed: u64 = 0;
    for group in groups.iter().filter(|group| !group.is_settled()) {
        for c in group.members.iter().filter(|c| proceeds(c)) {
            needed = needed.saturating_add(c.bytes);
            let fork = (!groups.is_held(c))
                .then(|| {
                    groups
                        .forks(c)
                        .find(|(o, of)| proceeds(o) && (of.is_settled() || !groups.is_held(o)))
                })
                .flatten();
            if let Some((o, _)) = fork {
                return Err(format!(
                    "{} and {} follow the same parent with other content, and both proceed",
                    c.id, o.id
                ));
            }
        }
    }
    if needed > groups.room() {
        return Err(format!(
            "{needed} bytes go ahead, and the volumes have room for {}",
            groups.room()
        ));
    }
    Ok(())
}

fn alike(action: &Action, other: Option<&Action>) -> bool {
    match (action, other) {
        (Action::Proceed(a), Some(Action::Proceed(b)))
        | (Action::Defer(a), Some(Action::Defer(b))) => a == b,
        (a, Some(b)) => discriminant(a) == discriminant(b),
        (_, None) => true,
    }
}

/// A verdict by itself.
fn one(set: &ConflictSet, c: &Request, action: &Action) -> Result<(), String> {
    let other = |id: &str| {
        let mut requests = set.requests.iter();
        requests
            .find(|o| o.id == id)
            .ok_or_else(|| format!("{id} is not in the conflict set"))
    };
    match action {
        Action::Supersede(by) => {
            let by = other(by)?;
            if by.group == c.group || by.lineage() != c.lineage() || by.age() <= c.age() {
                return Err(format!(
                    "{} is superseded by {}, which is not newer in its lineage",
                    c.id, by.id
                ));
            }
        }
        Action::Merge(into) => {
            let into = other(into)?;
            if into.group == c.group || into.lineage() != c.lineage() || into.content != c.content {
                return Err(format!(
                    "{} is merged into {}, which does not hold the same",
                    c.id, into.id
                ));
            }
        }
        Action::Defer(until) => {
            if *until <= set.now || *until > set.now.saturating_add(LONGEST_DEFER_MS) {
                return Err(format!("{} is not deferred by up to 24 hours", c.id));
            }
        }
        Action::Proceed(order) if *order >= 1 << 53 => {
            return Err(format!("{} proceeds with an order of 2^53 or more", c.id));
        }
        Action::Proceed(_) | Action::Reject(_) => {}
    }
    Ok(())
}

/// Whoever is handed on ends with somebody who goes ahead or waits.
fn kept(set: &ConflictSet, actions: &BTreeMap<&str, &Action>, c: &Request) -> Result<(), String> {
    let mut at = c.id.as_str();
    for step in 0..=set.requests.len() {
        at = match actions.get(at) {
            Some(Action::Supersede(next) | Action::Merge(next)) => next,
            Some(Action::Reject(_)) if step > 0 => break,
            _ => return Ok(()),
        };
    }
    Err(format!("{} is handed on to nobody who goes ahead", c.id))
}
