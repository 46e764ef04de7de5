//! From the model to the contract. All numbers are below 2^53, and everything is in
//! canonical order, so that the order of a database's answer cannot change a decision.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{CheckpointId, ConflictSet, Contender, DriveState, PastOutcome, Sha256};

use super::{LIMIT, wit};

/// A conflict set as the contract has it.
pub(crate) struct Input {
    pub(super) set: wit::ConflictSet,
    /// The ids of `set.requests`, in their order.
    pub(super) ids: Vec<CheckpointId>,
}

/// Converts a set.
///
/// # Errors
/// The first field whose number is not in the contract's range.
pub(crate) fn input(set: &ConflictSet, digest: Sha256) -> Result<Input, String> {
    let mut contenders: Vec<&Contender> = set.contenders.iter().collect();
    contenders.sort_by_key(|c| c.id);
    let requests: Vec<_> = contenders
        .iter()
        .enumerate()
        .map(|(n, c)| request(c).map_err(|why| format!("requests[{n}].{why}")))
        .collect::<Result<_, _>>()?;
    Ok(Input {
        ids: contenders.iter().map(|c| c.id).collect(),
        set: wit::ConflictSet {
            digest: digest.to_hex(),
            now: instant(set.now),
            library: set.library.to_string(),
            pool: set.pool.to_string(),
            requests,
            volumes: volumes(set)?,
            drives: drives(set),
            conflicts: conflicts(set),
            history: history(set)?,
            labels: Vec::new(),
        },
    })
}

fn request(c: &Contender) -> Result<wit::Request, String> {
    Ok(wit::Request {
        id: c.id.to_string(),
        group: c.group.to_string(),
        service: c.service.to_string(),
        branch: c.branch.as_ref().map(ToString::to_string),
        parent: c.parent.as_ref().map(ToString::to_string),
        version: c.version.to_string(),
        content: c.content.to_hex(),
        bytes: number("bytes", c.bytes.0)?,
        artifacts: c.artifacts,
        priority: c.priority.get(),
        submitted_at: instant(c.submitted_at),
        deadline: c.deadline.map(instant),
        attempt: c.attempt,
        settled: c.settled,
        retention: c.retention.0.clone(),
        labels: labels(&c.labels),
    })
}

fn volumes(set: &ConflictSet) -> Result<Vec<wit::Volume>, String> {
    let mut volumes: Vec<_> = set.volumes.iter().collect();
    volumes.sort_by(|a, b| a.volume.cmp(&b.volume));
    volumes
        .into_iter()
        .enumerate()
        .map(|(n, volume)| {
            Ok(wit::Volume {
                barcode: volume.volume.to_string(),
                state: volume.state.name().to_owned(),
                free: number(&format!("volumes[{n}].free"), volume.free.0)?,
                mounted: volume.mounted,
                labels: Vec::new(),
            })
        })
        .collect()
}

fn drives(set: &ConflictSet) -> Vec<wit::Drive> {
    let mut drives: Vec<_> = set.drives.iter().collect();
    drives.sort_by(|a, b| a.drive.cmp(&b.drive));
    drives
        .into_iter()
        .map(|drive| wit::Drive {
            serial: drive.drive.to_string(),
            state: state(drive.state).to_owned(),
            volume: drive.volume.as_ref().map(ToString::to_string),
            labels: Vec::new(),
        })
        .collect()
}

fn state(state: DriveState) -> &'static str {
    match state {
        DriveState::Empty => "empty",
        DriveState::Loaded => "loaded",
        DriveState::InSession => "in_session",
        DriveState::Down => "down",
    }
}

fn conflicts(set: &ConflictSet) -> Vec<wit::Conflict> {
    let mut conflicts: Vec<_> = set
        .conflicts
        .iter()
        .map(|conflict| {
            let mut between = conflict.between.clone();
            between.sort_unstable();
            (conflict.kind, between)
        })
        .collect();
    conflicts.sort();
    conflicts
        .into_iter()
        .map(|(kind, between)| wit::Conflict {
            kind: kind.name().to_owned(),
            between: between.iter().map(ToString::to_string).collect(),
        })
        .collect()
}

fn history(set: &ConflictSet) -> Result<Vec<wit::PastOutcome>, String> {
    let mut history: Vec<_> = set.history.iter().collect();
    history.sort_by_key(|past| (Reverse(past.decided_at), past.id));
    history
        .into_iter()
        .enumerate()
        .map(|(n, past)| outcome(past).map_err(|why| format!("history[{n}].{why}")))
        .collect()
}

fn outcome(past: &PastOutcome) -> Result<wit::PastOutcome, String> {
    Ok(wit::PastOutcome {
        id: past.id.to_string(),
        service: past.service.to_string(),
        outcome: past.outcome.clone(),
        bytes: number("bytes", past.bytes.0)?,
        priority: past.priority.get(),
        submitted_at: instant(past.submitted_at),
        decided_at: instant(past.decided_at),
        labels: labels(&past.labels),
    })
}

fn labels(labels: &BTreeMap<String, String>) -> Vec<(String, String)> {
    labels
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn number(field: &str, value: u64) -> Result<u64, String> {
    if value >= LIMIT {
        return Err(format!(
            "{field}: expected a number below 2^53, found {value}"
        ));
    }
    Ok(value)
}

/// Whole milliseconds since 1970: the latest that a [`Timestamp`] holds is below 2^48. What
/// was before is 0: a clock that was set wrong, and long past either way, which must not
/// keep its pool from being decided.
fn instant(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}
