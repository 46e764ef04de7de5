//! What there is of a lineage: who is in it, and who follows whom.

use model::{CheckpointId, Contender, GroupId, ServiceName, Sha256, Version};
use serde::{Deserialize, Serialize};

use crate::catalogue::Record;
use crate::keys;
use crate::ports::Key;

/// A checkpoint among those of its lineage, which sort by age: from staged on, while it is
/// not final; and once it is committed, until a newer one is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LineageRecord {
    pub(crate) contender: Contender,
    pub(crate) committed: bool,
}

impl Record for LineageRecord {
    fn key(&self) -> Key {
        let c = &self.contender;
        keys::lineage(&c.service, c.branch.as_ref(), c.id)
    }
}

/// A checkpoint among those of its lineage with the same content: from staged on. What
/// became of it stands in its group; of one that ended without being committed, whoever
/// finds it takes it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContentRecord {
    pub(crate) service: ServiceName,
    pub(crate) branch: Option<Version>,
    pub(crate) content: Sha256,
    pub(crate) checkpoint: CheckpointId,
    pub(crate) group: GroupId,
}

impl Record for ContentRecord {
    fn key(&self) -> Key {
        Key::new(
            keys::lineage_pk(&self.service, self.branch.as_ref()),
            format!("{}{}", keys::same_content(self.content), self.checkpoint),
        )
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
