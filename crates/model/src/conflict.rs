//! Requests that cannot all be honoured as asked, and what is decided of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Barcode, Bytes, CheckpointId, DriveSerial, DriveState, GroupId, LibraryId, PoolName, Priority,
    Refusal, RetentionClass, ServiceName, Sha256, Version, VolumeState,
};

/// The most requests of one conflict set: what 256 kB of canonical input hold with room
/// for labels, and what a policy in Python decides well within its fuel.
pub const MAX_CONTENDERS: usize = 256;

/// The most past outcomes a conflict set carries.
pub const MAX_HISTORY: usize = 64;

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
    /// For how long it is to be kept.
    #[serde(default)]
    pub retention: RetentionClass,
    /// The submitter's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
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

impl ConflictKind {
    /// Its name, as in the resolver contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::LineageFork => "lineage_fork",
            Self::Superseded => "superseded",
            Self::GroupOverlap => "group_overlap",
            Self::Capacity => "capacity",
            Self::Deadline => "deadline",
            Self::Retention => "retention",
        }
    }
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
    /// Where it stands in its life.
    pub state: VolumeState,
    /// Bytes neither written nor reserved.
    pub free: Bytes,
    /// True where it lies in a drive.
    pub mounted: bool,
}

/// What a policy may know of a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveView {
    /// The drive.
    pub drive: DriveSerial,
    /// What it is doing.
    pub state: DriveState,
    /// The volume in it.
    pub volume: Option<Barcode>,
}

/// What was decided of an earlier request of the same pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastOutcome {
    /// The checkpoint.
    pub id: CheckpointId,
    /// The service.
    pub service: ServiceName,
    /// `proceed`, `supersede`, `merge`, `defer` or `reject`: [`Action::name`].
    pub outcome: String,
    /// Its bytes.
    pub bytes: Bytes,
    /// How urgent it was.
    pub priority: Priority,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Everything a policy decides on. Times are whole milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictSet {
    /// The time of the decision.
    pub now: Timestamp,
    /// The library.
    pub library: LibraryId,
    /// The pool.
    pub pool: PoolName,
    /// The requests, at most [`MAX_CONTENDERS`].
    pub contenders: Vec<Contender>,
    /// The volumes they could go to.
    pub volumes: Vec<VolumeView>,
    /// The library's drives.
    pub drives: Vec<DriveView>,
    /// What was found.
    pub conflicts: Vec<Conflict>,
    /// What was decided before in the pool: newest first, at most [`MAX_HISTORY`].
    pub history: Vec<PastOutcome>,
}

/// What is to become of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Goes ahead; lower orders first.
    Proceed {
        /// Its place in line, below 2^53, among all that waits for the same volume.
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

impl Action {
    /// Its name, as in the resolver contract: `proceed`, `supersede`, `merge`, `defer` or
    /// `reject`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Proceed { .. } => "proceed",
            Self::Supersede { .. } => "supersede",
            Self::Merge { .. } => "merge",
            Self::Defer { .. } => "defer",
            Self::Reject { .. } => "reject",
        }
    }
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
    /// The verdicts, sorted by id.
    pub verdicts: Vec<Verdict>,
    /// What it was guided by as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}
