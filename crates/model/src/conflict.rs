//! Requests that cannot all be honoured as asked, and what is decided of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Barcode, Bytes, CheckpointId, GroupId, LibraryId, Priority, Refusal, ServiceName, Sha256,
    Version,
};

/// One request in a conflict set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contender {
    /// The checkpoint.
    pub id: CheckpointId,
    /// Its group: decided as one.
    pub group: GroupId,
    /// The service.
    pub service: ServiceName,
    /// The branch, where declared.
    pub branch: Option<Version>,
    /// The parent, where named.
    pub parent: Option<CheckpointId>,
    /// The version.
    pub version: Version,
    /// The content digest.
    pub content: Sha256,
    /// Its bytes.
    pub bytes: Bytes,
    /// How many artifacts.
    pub artifacts: u32,
    /// How urgent.
    pub priority: Priority,
    /// When it is of no use any more.
    pub deadline: Option<Timestamp>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// How often it was placed before.
    pub attempt: u32,
    /// True once the agent has claimed it, or it is committed: it cannot be undone.
    pub settled: bool,
}

/// What kind of conflict was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConflictKind {
    /// Same service, same content.
    Duplicate,
    /// Same parent, different content.
    LineageFork,
    /// A newer request of the same lineage.
    Superseded,
    /// Groups that share a service.
    GroupOverlap,
    /// Not all fit.
    Capacity,
    /// Not all can be in time.
    Deadline,
    /// Retention classes differ for the same content.
    Retention,
}

/// A conflict between some of the contenders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Its kind.
    pub kind: ConflictKind,
    /// Whom it is between.
    pub between: Vec<CheckpointId>,
}

/// What a policy may know of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeView {
    /// The volume.
    pub volume: Barcode,
    /// Bytes neither written nor reserved.
    pub free: Bytes,
    /// True where it lies in a drive.
    pub mounted: bool,
}

/// Everything a policy decides on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictSet {
    /// The time of the decision.
    pub now: Timestamp,
    /// The library.
    pub library: LibraryId,
    /// The requests.
    pub contenders: Vec<Contender>,
    /// The volumes they could go to.
    pub volumes: Vec<VolumeView>,
    /// What was found.
    pub conflicts: Vec<Conflict>,
}

/// What is to become of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Goes ahead; lower orders first.
    Proceed {
        /// Its place in line.
        order: u64,
    },
    /// A newer one takes its place.
    Supersede {
        /// The newer one.
        by: CheckpointId,
    },
    /// The other one stands for it.
    Merge {
        /// The other one.
        into: CheckpointId,
    },
    /// Asked again later.
    Defer {
        /// Not before.
        until: Timestamp,
    },
    /// Refused.
    Reject {
        /// Why.
        refusal: Refusal,
    },
}

/// An action for one contender, with a reason that a human can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// For whom.
    pub id: CheckpointId,
    /// What.
    #[serde(flatten)]
    pub action: Action,
    /// Why.
    pub reason: String,
}

/// A decision: one verdict for each contender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The verdicts.
    pub verdicts: Vec<Verdict>,
}
