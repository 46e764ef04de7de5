//! What the API shows.

use jiff::Timestamp;
use model::{Bytes, Checkpoint, CheckpointId, Group, Placement, Refusal, RestoreId, ServiceName};
use serde::{Deserialize, Serialize};

use crate::ports::Cursor;

/// A filter and a place in a list, newest first.
#[derive(Clone, Debug, Default)]
pub struct ListCheckpoints {
    /// Only of this service.
    pub service: Option<ServiceName>,
    /// At most so many (1 to 200).
    pub limit: u32,
    /// Where the last page ended.
    pub after: Option<Cursor>,
}

/// A checkpoint with its group's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointView {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its group.
    pub group: Group,
    /// Where it lies; empty until the whole group is committed.
    pub placements: Vec<Placement>,
}

/// A restore request and how far it is. Re-verifications and scans are shown so too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreView {
    /// The request.
    pub id: RestoreId,
    /// The checkpoint that was asked for; the nil UUID for a scan.
    pub checkpoint: CheckpointId,
    /// How far it is.
    pub state: RestoreState,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it was done or failed.
    pub finished_at: Option<Timestamp>,
    /// `file:///directory` where the artifacts are, when done.
    pub delivered: Option<String>,
    /// How many artifact ranges came back.
    pub artifacts: u32,
    /// How many bytes of content came back.
    pub bytes: Bytes,
}

/// How far a restore, a re-verification or a scan is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RestoreState {
    /// Waits for the agent, or is under way.
    Waiting,
    /// Done.
    Done,
    /// Not done.
    Failed {
        /// Why.
        refusal: Refusal,
    },
}
