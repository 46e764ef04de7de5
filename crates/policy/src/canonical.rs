//! One text for one conflict set, and for one decision: what digests are taken over.

use model::{ConflictSet, Decision, Sha256, canonical_json};
use sha2::Digest as _;

/// Puts a set into canonical order: contenders by id, volumes by barcode, drives by serial
/// number, conflicts by kind and ids, history newest first.
pub fn sort_set(set: &mut ConflictSet) {
    set.contenders.sort_by_key(|c| c.id);
    set.volumes.sort_by(|a, b| a.volume.cmp(&b.volume));
    set.drives.sort_by(|a, b| a.drive.cmp(&b.drive));
    for conflict in &mut set.conflicts {
        conflict.between.sort_unstable();
    }
    set.conflicts
        .sort_by(|a, b| (a.kind, &a.between).cmp(&(b.kind, &b.between)));
    set.history
        .sort_by_key(|past| (std::cmp::Reverse(past.decided_at), past.id));
}

/// The set as canonical JSON, in canonical order.
pub fn canonical_set(set: &ConflictSet) -> String {
    let mut sorted = set.clone();
    sort_set(&mut sorted);
    text(&sorted)
}

/// The decision as canonical JSON, verdicts by id.
pub fn canonical_decision(decision: &Decision) -> String {
    let mut sorted = decision.clone();
    sorted.verdicts.sort_by_key(|verdict| verdict.id);
    text(&sorted)
}

/// SHA-256: of a canonical text, or of a component.
pub fn digest(bytes: impl AsRef<[u8]>) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

fn text(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value)
        .expect("names, numbers and texts are all JSON, and no map has keys that are not text");
    canonical_json(&value)
}
