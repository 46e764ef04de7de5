//! Services, submissions, checkpoints and groups.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Artifact, Bytes, CheckpointId, DecisionId, GroupId, IdempotencyKey, Lifecycle, PoolName,
    Refusal, RunId, ServiceName, Sha256, Version,
};

/// The most artifacts of one checkpoint: what keeps a manifest within one segment's
/// index in memory (about 2.5 MB).
pub const MAX_ARTIFACTS_PER_CHECKPOINT: usize = 10_000;

/// The most members of one group: a group is committed in one transaction, and a
/// transaction holds 100 items.
pub const MAX_GROUP_MEMBERS: usize = 24;

/// How urgent a request is: 0 is the least, 9 the most, 5 the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// The number, 0 to 9.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

impl TryFrom<u8> for Priority {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        if number <= 9 {
            Ok(Self(number))
        } else {
            Err(format!("expected 0 to 9, found {number}"))
        }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

/// For how long a checkpoint is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RetentionClass(pub String);

impl Default for RetentionClass {
    fn default() -> Self {
        Self("standard".to_owned())
    }
}

/// A service that may have checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// The pool its checkpoints go to.
    pub pool: PoolName,
    /// The retention classes it may use; the first is its default.
    pub retention: Vec<RetentionClass>,
    /// Refuses new checkpoints while true.
    #[serde(default)]
    pub frozen: bool,
    /// The Ed25519 public key (32 bytes, base64) its manifests are signed with. A
    /// service with a key takes signed submissions only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance_key: Option<String>,
}

/// One service's part of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The service.
    pub service: ServiceName,
    /// The version of the service.
    pub version: Version,
    /// The checkpoint this one follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<CheckpointId>,
    /// A declared branch: requests of different branches are different lineages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Version>,
    /// The artifacts.
    pub artifacts: Vec<Artifact>,
    /// An Ed25519 signature (64 bytes, base64) of the content text
    /// ([`Artifact::content_text`]) under the service's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
}

/// What a developer submits: one checkpoint, or several that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Under which a repetition is recognised.
    pub idempotency_key: IdempotencyKey,
    /// The members of the group, at least one.
    pub members: Vec<Member>,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// The time after which the checkpoint is of no use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// For how long to keep it; the service's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionClass>,
    /// Free labels, at most 32.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The number of members the submitter means the group to have; checked where given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_members: Option<u32>,
}

/// The artifacts of one service at one version, as the catalogue knows them. The
/// artifact list itself is an object (`manifest`), because it may be megabytes long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its id.
    pub id: CheckpointId,
    /// The group it belongs to.
    pub group: GroupId,
    /// Its place in the group, from 0.
    pub index: u32,
    /// The service.
    pub service: ServiceName,
    /// The version.
    pub version: Version,
    /// The checkpoint it follows.
    pub parent: Option<CheckpointId>,
    /// Its branch.
    pub branch: Option<Version>,
    /// SHA-256 of [`Artifact::content_text`].
    pub content: Sha256,
    /// How many artifacts.
    pub artifacts: u32,
    /// Their sizes' sum.
    pub bytes: Bytes,
    /// The retention class.
    pub retention: RetentionClass,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Timestamp>,
    /// The index of its leaf in the ledger, when committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_index: Option<u64>,
}

/// Checkpoints that become restorable together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// The run that carries it to tape.
    pub run: RunId,
    /// Its members' ids, in the order of submission.
    pub checkpoints: Vec<CheckpointId>,
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// How urgent it is.
    pub priority: Priority,
    /// When it is of no use any more.
    pub deadline: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The pool it goes to.
    pub pool: PoolName,
    /// All members' bytes.
    pub bytes: Bytes,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When all its artifacts were pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged_at: Option<Timestamp>,
    /// When it became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Every reason found by validate, not only the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// The decision on conflicts that was applied to it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    /// Why it waits, where that decision was to ask again later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<Deferred>,
}

/// A group that is asked again later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferred {
    /// Not before.
    pub until: Timestamp,
    /// Why, in the resolver's words.
    pub reason: String,
    /// How often in a row, this time included.
    pub times: u32,
}

/// What a submission answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOutcome {
    /// The group.
    pub group: GroupId,
    /// Its checkpoints, in the order of the members.
    pub checkpoints: Vec<CheckpointId>,
    /// True where the idempotency key had been used with the same payload before.
    pub repeated: bool,
}
