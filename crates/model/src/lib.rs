//! Tapemark's vocabulary as types: ids, units, states and their legal transitions,
//! error codes, and the messages that the control plane and the tape agent exchange.
//!
//! Every other crate speaks in these types. The crate never does I/O, never reads a
//! clock, never draws a random number: ids and times come in from outside.
//!
//! ```
//! use model::{Barcode, Lifecycle, LifecycleEvent, State};
//!
//! let barcode: Barcode = "TM0001L9".parse().unwrap();
//! assert_eq!(barcode.as_str(), "TM0001L9");
//!
//! let group = Lifecycle::submitted();
//! let group = group.apply(LifecycleEvent::Stage).unwrap();
//! assert_eq!(group.state(), &State::Staged);
//! // A group that was never written cannot become committed.
//! assert!(group.apply(LifecycleEvent::Commit).is_err());
//! ```

pub mod agents;
mod artifact;
mod canonical;
mod checkpoint;
mod conflict;
mod error;
mod ids;
mod lifecycle;
mod placement;
mod resolver;
mod units;
mod volume;
pub mod work;

pub use agents::{Agent, AgentKey, AgentState};
pub use artifact::{
    Artifact, ArtifactName, ArtifactRange, ArtifactSource, MAX_ARTIFACT_NAME_BYTES,
};
pub use canonical::canonical_json;
pub use checkpoint::{
    Checkpoint, Deferred, Group, GroupOutcome, MAX_ARTIFACTS_PER_CHECKPOINT, MAX_GROUP_MEMBERS,
    Member, Priority, RetentionClass, Service, Submission,
};
pub use conflict::{
    Action, Conflict, ConflictKind, ConflictSet, Contender, Decision, DriveView, MAX_CONTENDERS,
    MAX_HISTORY, PastOutcome, Verdict, VolumeView,
};
pub use error::{Code, Refusal};
pub use ids::{
    AgentId, Barcode, CheckpointId, DecisionId, DriveSerial, GroupId, IdempotencyKey, InvalidId,
    LibraryId, PoolName, RestoreId, RunId, ServiceName, SessionId, Version, VolumeUuid, WorkKey,
};
pub use lifecycle::{IllegalTransition, Lifecycle, LifecycleEvent, State};
pub use placement::{Placement, SegmentExtent};
pub use resolver::{
    Binding, Call, CallOutcome, DecisionRecord, EngineId, Fallback, Limits, MAX_COMPONENT_BYTES,
    MAX_INPUT_BYTES, MAX_REASON_BYTES, Release, ReleaseRef, ResolverInfo, Scope, Shadow,
    ShadowCall,
};
pub use units::{Bytes, CopyNo, Fence, RecordNo, SegmentNo, Sha256};
pub use volume::{
    Drive, DriveState, Pool, Slot, SlotKind, Volume, VolumeEvent, VolumeLifecycle, VolumePosition,
    VolumeState,
};
pub use work::WriteSession;
