//! What one ask adds to a transaction.

use std::collections::BTreeSet;

use model::{Barcode, GroupId};
use serde_json::Value;

use super::parts;
use crate::catalogue::{Answer, Tx};
use crate::keys;
use crate::ports::Key;
use crate::records::UnpinRecord;

/// What one ask adds to the transaction.
pub(super) struct Plan {
    pub(super) tx: Tx,
    pub(super) answer: Answer<Value>,
    /// Groups that are final now.
    pub(super) unpin: Vec<UnpinRecord>,
    /// The group, where it goes ahead.
    pub(super) placed: Option<GroupId>,
    /// Volumes whose accounts change.
    pub(super) volumes: BTreeSet<Barcode>,
    /// What means nothing any more, to be deleted where there is room.
    pub(super) obsolete: BTreeSet<Key>,
}

impl Plan {
    pub(super) fn new() -> Self {
        Self {
            tx: Tx::new(),
            answer: Ok(Value::Null),
            unpin: Vec::new(),
            placed: None,
            volumes: BTreeSet::new(),
            obsolete: BTreeSet::new(),
        }
    }

    /// True where it ends that group.
    pub(super) fn ends(&self, group: GroupId) -> bool {
        self.unpin.iter().any(|unpin| unpin.group == group)
    }

    /// The group must still be at that version.
    pub(super) fn check(&mut self, group: GroupId, version: u64) {
        let key = keys::group(group);
        if !self.tx.writes.iter().any(|write| *parts(write).0 == key) {
            self.tx.check(key, version);
        }
    }

    /// How many writes it takes by itself.
    pub(super) fn size(&self) -> usize {
        self.tx.len() + self.volumes.len()
    }
}
