//! The agent's side of the agent protocol: seven questions, all outbound.
//!
//! [`ControlPlane`] is the seam: [`HttpControl`] asks over HTTP; tests ask a control plane
//! in memory. Answers and questions are the types of [`model::work`].

mod http;

use async_trait::async_trait;
use model::Refusal;
use model::work::{
    Ack, Claim, ClaimAnswer, Close, Complete, CompleteAnswer, Inventory, InventoryAnswer,
    OpenAnswer, OpenSession, Renew, SessionReady,
};

pub use http::HttpControl;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The control plane answered "no".
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody knows whether the question arrived: no connection, no answer in time, or an
    /// answer that is none. The same question may be asked again: all calls are idempotent
    /// for one session and one set of work keys.
    #[error("no answer from the control plane: {0}")]
    Unreachable(String),
}

impl CallError {
    /// True where asking again later may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.code.is_retryable(),
            Self::Unreachable(_) => true,
        }
    }
}

/// The control plane as the agent sees it. Long polls return within the `wait_ms` of their
/// question plus a round trip.
#[async_trait]
pub trait ControlPlane: Send + Sync + 'static {
    /// Reports what stands where.
    ///
    /// # Errors
    /// [`CallError`]; may be repeated.
    async fn inventory(&self, question: &Inventory) -> Result<InventoryAnswer, CallError>;

    /// Asks for a volume and work for a free drive. Waits up to `wait_ms`.
    ///
    /// # Errors
    /// [`CallError`]; may be repeated.
    async fn open(&self, question: &OpenSession) -> Result<OpenAnswer, CallError>;

    /// Says that the volume is mounted and proven.
    ///
    /// # Errors
    /// [`CallError`]; `FenceLost` ends the session.
    async fn ready(&self, question: &SessionReady) -> Result<Ack, CallError>;

    /// Asks for work. Waits up to `wait_ms`.
    ///
    /// # Errors
    /// [`CallError`]; `FenceLost` ends the session.
    async fn claim(&self, question: &Claim) -> Result<ClaimAnswer, CallError>;

    /// Says that the session is alive.
    ///
    /// # Errors
    /// [`CallError`]; `FenceLost` ends the session.
    async fn renew(&self, question: &Renew) -> Result<Ack, CallError>;

    /// Reports results.
    ///
    /// # Errors
    /// [`CallError`]; `FenceLost` ends the session.
    async fn complete(&self, question: &Complete) -> Result<CompleteAnswer, CallError>;

    /// Lets drive and volume go.
    ///
    /// # Errors
    /// [`CallError`]; the lease runs out by itself.
    async fn close(&self, question: &Close) -> Result<Ack, CallError>;
}
