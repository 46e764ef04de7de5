//! The control plane: the four phases of a checkpoint and everything that leads to them,
//! as plain functions over [`ports`].
//!
//! It decides; it never moves artifact bytes itself, never speaks SCSI, names no vendor,
//! and keeps nothing in memory that it could not lose.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use control::{Control, Principal, testing::World};
//!
//! let world = World::new(7);
//! let control: Control = world.control();
//! let submission = control::parse_submission(world.sample("payments", "1.0")).unwrap();
//! let first = control.submit(&Principal::Operator, submission.clone()).await.unwrap();
//! let again = control.submit(&Principal::Operator, submission).await.unwrap();
//! assert_eq!(first.group, again.group);
//! assert!(again.repeated);
//! # });
//! ```
//!
//! # Why nothing gets stuck
//!
//! A work item waits in the queue until an agent claims it, and nobody can send
//! heartbeats for it meanwhile; so the state machine's tasks have no heartbeat. Liveness
//! comes from elsewhere:
//!
//! - an *open* item stands in the index that [`Control::open_session`] and
//!   [`Control::claim`] read, and stays there until a session claims it;
//! - a *claimed* item belongs to a session, and a session to a lease that
//!   [`Control::renew`] extends. [`Control::sweep`] ends a session whose lease ran out and
//!   makes its items open again; [`Control::open_session`] does so at once for an earlier
//!   life of the same agent. The session is made powerless *before* its items are opened
//!   and its sign of life is deleted *after*, so that a crash in between is swept again;
//! - an item on a volume that takes no more is failed, which sends its run to `Fence`;
//! - an item that was claimed [`MAX_GRANTS`] times without a result is failed as well.
//!
//! So every item is open, or claimed under a lease that ends, or gone with its result
//! told through the outbox; and the outbox is kept until the workflow engine was told.
//!
//! # Safety of a session
//!
//! The lease limits waste; the fence gives safety. Each grant takes the drive's and the
//! volume's lease in one transaction under a fence higher than both had. Claims, results
//! and positions are written in transactions that check the version of the volume's lease,
//! which changes with each grant and each end: an agent that lost its fence can record
//! nothing. Commit needs no fence: what it commits was read back from tape after it was
//! recorded, and nothing on tape is overwritten later.

mod agent;
mod agents;
pub mod authority;
mod books;
mod catalogue;
mod checks;
mod combine;
mod conflict;
mod decide;
mod decisions;
mod finish;
mod keys;
pub mod ledger;
mod once;
mod outbox;
mod parse;
pub mod patience;
mod phases;
mod place;
pub mod ports;
mod principal;
mod query;
mod records;
mod register;
mod resolvers;
mod restore;
mod stream;
mod submit;
mod sweep;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod views;

use std::sync::Arc;
use std::time::Duration;

use model::Sha256;
use ports::Ports;
use tokio::sync::Notify;

pub use agent::MAX_GRANTS;
pub use agents::{CODE_LIFETIME, MAX_AGENTS, ROTATION_OVERLAP};
pub use checks::CHECKS;
pub use once::{Attempt, Begun, Order};
pub use outbox::Effect;
pub use parse::parse_submission;
pub use place::{reserve_estimate, room_for_content};
pub use principal::{Named, Principal};
pub use stream::{Leaf, News};
pub use views::{CheckpointView, ListCheckpoints, RestoreState, RestoreView};

/// The functions that the state machine invokes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Checks and pins.
    Validate,
    /// Decides conflicts, reserves; also rejects, and waits for a duplicate.
    Allocate,
    /// Hands work to the agent; also fences and abandons.
    Execute,
    /// Has it read back; also commits and parks.
    Verify,
}

/// What an operator may tune.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a session lives without a sign of life. Longer survives longer network
    /// faults, shorter frees a dead agent's volume sooner.
    pub lease: Duration,
    /// For how long an idempotency key is remembered.
    pub idempotency: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            idempotency: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// The control plane. Cheap to clone; clones share their wake-up bell and the combining
/// of transactions.
#[derive(Clone)]
pub struct Control {
    ports: Ports,
    settings: Settings,
    authority: Arc<dyn authority::Authority>,
    bell: Arc<Notify>,
    combined: Arc<books::Combined>,
}

impl Control {
    /// A control plane with the default settings.
    pub fn new(ports: Ports) -> Self {
        Self::with(ports, Settings::default())
    }

    /// A control plane with these settings, under the native rule of who may do what.
    pub fn with(ports: Ports, settings: Settings) -> Self {
        Self {
            ports,
            settings,
            authority: Arc::new(authority::Native),
            bell: Arc::new(Notify::new()),
            combined: Arc::default(),
        }
    }

    /// Woken when there may be new effects.
    pub fn effects_bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }
}

/// SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> Sha256 {
    use sha2::Digest as _;
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// Callers run these on threads of their own. A future that cannot move between threads
/// would be noticed only by them, so it is said here, to the compiler.
const _: () = {
    const fn can_move<T: Send>(_: &T) {}

    #[allow(dead_code)]
    fn calls(
        control: &Control,
        claim: model::work::Claim,
        complete: model::work::Complete,
        who: &Principal,
        value: serde_json::Value,
    ) {
        can_move(&control.claim(claim));
        can_move(&control.complete(complete));
        can_move(&control.run_phase(Phase::Validate, value));
        can_move(&control.list_checkpoints(who, ListCheckpoints::default()));
        can_move(&control.sweep());
        can_move(&control.decisions(who, 1, None));
        can_move(&control.run_shadows());
    }
};
