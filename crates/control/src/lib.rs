//! The control plane: the four phases of a checkpoint and everything that leads to them,
//! as plain functions over [`ports`].
//!
//! It decides; it never moves artifact bytes itself, never speaks SCSI, names no vendor,
//! and keeps nothing in memory that it could not lose.

pub mod ports;

use std::sync::Arc;

use jiff::Timestamp;
use model::work::{
    Ack, Claim, ClaimAnswer, Close, Complete, CompleteAnswer, Inventory, InventoryAnswer,
    OpenAnswer, OpenSession, Renew, SessionReady,
};
use model::{
    AgentId, ArtifactName, Barcode, Checkpoint, CheckpointId, Drive, Group, GroupId, GroupOutcome,
    LibraryId, Placement, Pool, PoolName, Refusal, RestoreId, Service, ServiceName, Submission,
    Volume,
};
use ports::{Cursor, Ports};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// May do everything.
    Operator,
    /// May act for these services.
    Services(Vec<ServiceName>),
}

/// The functions that the state machine invokes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Checks and pins.
    Validate,
    /// Decides conflicts, reserves; also rejects and releases.
    Allocate,
    /// Hands work to the agent; also fences and abandons.
    Execute,
    /// Has it read back; also commits and parks.
    Verify,
}

/// Something that has to be told to the workflow engine, durable until told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Start the state machine. Telling it twice starts one run: the name is the key.
    StartRun { run: model::RunId, input: Value },
    /// SendTaskSuccess.
    TaskSucceeded { token: String, output: Value },
    /// SendTaskFailure.
    TaskFailed {
        token: String,
        error: String,
        cause: String,
    },
}

/// A filter and a place in a list.
#[derive(Clone, Debug, Default)]
pub struct ListCheckpoints {
    /// Only of this service.
    pub service: Option<ServiceName>,
    /// At most so many (1 to 200).
    pub limit: u32,
    /// Newest first.
    pub after: Option<Cursor>,
}

/// A checkpoint with its group's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointView {
    pub checkpoint: Checkpoint,
    pub group: Group,
    pub placements: Vec<Placement>,
}

/// A restore request and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreView {
    pub id: RestoreId,
    pub checkpoint: CheckpointId,
    pub state: RestoreState,
    pub requested_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// `file:///directory` where the artifacts are, when done.
    pub delivered: Option<String>,
    pub artifacts: u32,
    pub bytes: model::Bytes,
}

/// How far a restore, a re-verification or a scan is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RestoreState {
    Waiting,
    Done,
    Failed { refusal: Refusal },
}

/// The control plane.
#[derive(Clone)]
pub struct Control {
    ports: Ports,
}

#[allow(unused_variables)]
impl Control {
    pub fn new(ports: Ports) -> Self {
        Self { ports }
    }

    // ---- for the API ----
    /// Registers a submission under fresh ids and sees to it that a run starts.
    pub async fn submit(
        &self,
        who: &Principal,
        submission: Submission,
    ) -> Result<GroupOutcome, Vec<Refusal>> {
        todo!()
    }
    pub async fn checkpoint(
        &self,
        who: &Principal,
        id: CheckpointId,
    ) -> Result<CheckpointView, Refusal> {
        todo!()
    }
    pub async fn group(
        &self,
        who: &Principal,
        id: GroupId,
    ) -> Result<(Group, Vec<Checkpoint>), Refusal> {
        todo!()
    }
    pub async fn list_checkpoints(
        &self,
        who: &Principal,
        list: ListCheckpoints,
    ) -> Result<(Vec<CheckpointView>, Option<Cursor>), Refusal> {
        todo!()
    }
    /// The artifact list of a checkpoint, in the order of submission.
    pub async fn artifacts(
        &self,
        who: &Principal,
        id: CheckpointId,
    ) -> Result<Vec<model::Artifact>, Refusal> {
        todo!()
    }
    pub async fn register_services(
        &self,
        who: &Principal,
        services: Vec<Service>,
    ) -> Result<(), Refusal> {
        todo!()
    }
    pub async fn service(&self, who: &Principal, name: &ServiceName) -> Result<Service, Refusal> {
        todo!()
    }
    pub async fn list_services(
        &self,
        who: &Principal,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<(Vec<Service>, Option<Cursor>), Refusal> {
        todo!()
    }
    pub async fn put_pool(&self, who: &Principal, pool: Pool) -> Result<(), Refusal> {
        todo!()
    }
    pub async fn pool(&self, who: &Principal, name: &PoolName) -> Result<Pool, Refusal> {
        todo!()
    }
    pub async fn volumes(
        &self,
        who: &Principal,
        library: &LibraryId,
    ) -> Result<Vec<Volume>, Refusal> {
        todo!()
    }
    pub async fn volume(&self, who: &Principal, barcode: &Barcode) -> Result<Volume, Refusal> {
        todo!()
    }
    pub async fn drives(
        &self,
        who: &Principal,
        library: &LibraryId,
    ) -> Result<Vec<Drive>, Refusal> {
        todo!()
    }
    /// Asks for artifacts back (all when `only` is empty). Merged checkpoints restore what they were merged into.
    pub async fn restore(
        &self,
        who: &Principal,
        id: CheckpointId,
        only: Vec<ArtifactName>,
    ) -> Result<RestoreId, Refusal> {
        todo!()
    }
    /// Asks for a committed checkpoint to be read back again.
    pub async fn reverify(&self, who: &Principal, id: CheckpointId) -> Result<RestoreId, Refusal> {
        todo!()
    }
    /// Asks for a volume to be listed from the medium alone; the report is the request's document.
    pub async fn scan_volume(
        &self,
        who: &Principal,
        barcode: &Barcode,
    ) -> Result<RestoreId, Refusal> {
        todo!()
    }
    pub async fn restore_view(
        &self,
        who: &Principal,
        id: RestoreId,
    ) -> Result<RestoreView, Refusal> {
        todo!()
    }
    /// The JSON report of a scan that is done.
    pub async fn scan_report(&self, who: &Principal, id: RestoreId) -> Result<String, Refusal> {
        todo!()
    }
    /// Calls off a group that is not claimed yet.
    pub async fn cancel(&self, who: &Principal, id: GroupId) -> Result<(), Refusal> {
        todo!()
    }
    /// Decides a parked group: go on (placed anew) or give up.
    pub async fn decide_parked(
        &self,
        who: &Principal,
        id: GroupId,
        resume: bool,
    ) -> Result<(), Refusal> {
        todo!()
    }
    pub async fn ledger_head(&self) -> Result<ports::LedgerHead, Refusal> {
        todo!()
    }
    /// Leaves from an index on, to check the chain from outside.
    pub async fn ledger_leaves(&self, from: u64, limit: u32) -> Result<Vec<String>, Refusal> {
        todo!()
    }

    // ---- for the agent protocol ----
    pub async fn inventory(&self, question: Inventory) -> Result<InventoryAnswer, Refusal> {
        todo!()
    }
    pub async fn open_session(&self, question: OpenSession) -> Result<OpenAnswer, Refusal> {
        todo!()
    }
    pub async fn session_ready(&self, question: SessionReady) -> Result<Ack, Refusal> {
        todo!()
    }
    pub async fn claim(&self, question: Claim) -> Result<ClaimAnswer, Refusal> {
        todo!()
    }
    pub async fn renew(&self, question: Renew) -> Result<Ack, Refusal> {
        todo!()
    }
    pub async fn complete(&self, question: Complete) -> Result<CompleteAnswer, Refusal> {
        todo!()
    }
    pub async fn close_session(&self, question: Close) -> Result<Ack, Refusal> {
        todo!()
    }

    // ---- for the workflow engine ----
    /// Runs one phase function. The refusal's code is the error name of the state machine.
    pub async fn run_phase(&self, phase: Phase, input: Value) -> Result<Value, Refusal> {
        todo!()
    }
    /// Effects not told yet, oldest first.
    pub async fn pending_effects(&self, limit: u32) -> Result<Vec<(String, Effect)>, Refusal> {
        todo!()
    }
    /// Forgets effects that were told.
    pub async fn effects_told(&self, ids: &[String]) -> Result<(), Refusal> {
        todo!()
    }
    /// Woken when there may be new effects.
    pub fn effects_bell(&self) -> Arc<tokio::sync::Notify> {
        todo!()
    }
    /// Ends sessions whose lease ran out; what they had claimed becomes open again. To be
    /// called every few seconds.
    pub async fn sweep(&self) -> Result<(), Refusal> {
        todo!()
    }
}
