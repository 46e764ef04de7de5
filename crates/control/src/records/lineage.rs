//! What there is of a lineage: who is in it, and who follows whom.

use model::{CheckpointId, Contender, GroupId, ServiceName, Sha256, Version};
use serde::{Deserialize, Serialize};

use crate::catalogue::Record;
use crate::keys;
use crate::ports::Key;

/// A checkpoint among those of its lineage: from staged to committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LineageRecord {
    pub(crate) contender: Contender,
    pub(crate) committed: bool,
}

impl Record for LineageRecord {
    fn key(&self) -> Key {
        let c = &self.contender;
        keys::lineage(&c.service, c.branch.as_ref(), c.parent, c.id)
    }
    fn gsi1(&self) -> Option<Key> {
        let c = &self.contender;
        Some(Key::new(
            keys::same_content(&c.service, c.branch.as_ref(), c.content),
            c.id.to_string(),
        ))
    }
    fn gsi2(&self) -> Option<Key> {
        let c = &self.contender;
        Some(Key::new(
            keys::lineage_index(&c.service, c.branch.as_ref(), self.committed),
            c.id.to_string(),
        ))
    }
}

/// What follows a parent in a lineage: one content, whoever brings it. Written in the
/// transaction that places a group, on condition of the version seen, so that no two
/// contents ever follow one parent, whatever a conflict set showed.
///
/// It is in force while one of its holders is not final, and for ever once one is
/// committed. Holders that ended otherwise are found to be final by the next one who asks,
/// and replaced: a final group stays final, so that nothing has to be written when a group
/// ends. One item for each parent of a lineage is all that ever stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SuccessorRecord {
    pub(crate) service: ServiceName,
    pub(crate) branch: Option<Version>,
    pub(crate) parent: CheckpointId,
    pub(crate) content: Sha256,
    pub(crate) holders: Vec<Holder>,
}

/// A group that was placed with that content after that parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) group: GroupId,
    pub(crate) checkpoint: CheckpointId,
}

impl Record for SuccessorRecord {
    fn key(&self) -> Key {
        keys::successor(&self.service, self.branch.as_ref(), self.parent)
    }
}

/// The lineage a checkpoint belongs to.
pub(crate) fn lineage_of(c: &Contender) -> (&ServiceName, Option<&Version>) {
    (&c.service, c.branch.as_ref())
}
