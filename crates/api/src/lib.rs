//! The API of Tapemark: a GraphQL schema over [`control::Control`], an HTTP transport that
//! follows the GraphQL-over-HTTP specification, bearer tokens scoped to services, and the
//! download of what was brought back from tape.
//!
//! It holds no business rule: what is allowed, found or refused is decided in `control`.
//! It never sees artifact bytes on their way to tape, only on their way back, and never
//! keeps a token's text.
//!
//! ```
//! // The schema as a document, without a server.
//! let sdl = api::sdl();
//! assert!(sdl.contains("submit(input: SubmitInput!): SubmitPayload!"));
//!
//! // Tokens are shown once and kept as digests.
//! let dir = tempfile::tempdir().unwrap();
//! let tokens = api::FileTokens::open(dir.path().join("tokens.json")).unwrap();
//! let scope = api::Scope::Services(vec!["payments/api".parse().unwrap()]);
//! let secret = api::TokenStore::create(&tokens, "ci", scope, jiff::Timestamp::UNIX_EPOCH).unwrap();
//! assert!(api::TokenStore::authenticate(&tokens, secret.expose()).is_some());
//! assert!(api::TokenStore::authenticate(&tokens, "guess").is_none());
//! ```

mod auth;
mod caller;
mod error;
pub mod limits;
mod scalars;
mod schema;
mod transport;

use std::sync::Arc;

use async_trait::async_trait;
use control::Control;
use control::ports::Clock;
use model::{LibraryId, Refusal, RunId};
use serde_json::Value;

pub use auth::{FileTokens, NoTokens, Scope, Secret, TokenError, TokenInfo, TokenStore};
pub use caller::{
    CLAIM_ROLE, CLAIM_SERVICES, CLAIM_SUBJECT, Caller, MAX_CALLER_SERVICES, MAX_SERVICES_BYTES,
    MAX_SUBJECT_BYTES,
};
pub use error::{describe, to_errors};
pub use schema::sdl;
pub use transport::{forbidden, router};

/// The recorded events of a run, from whoever executes the state machine.
#[async_trait]
pub trait RunHistory: Send + Sync {
    /// The events of a run in order, as the Step Functions history API names them.
    ///
    /// # Errors
    /// [`model::Code::NotFound`] where there is no such run.
    async fn history(&self, run: &RunId) -> Result<Vec<Value>, Refusal>;
}

/// What the API stands on.
#[derive(Clone)]
pub struct Api {
    /// The control plane.
    pub control: Control,
    /// Who may ask, where the request carries no [`Caller`] in its extensions;
    /// [`NoTokens`] where others issue and check tokens.
    pub tokens: Arc<dyn TokenStore>,
    /// The runs' histories.
    pub runs: Arc<dyn RunHistory>,
    /// The time, for the tokens' dates.
    pub clock: Arc<dyn Clock>,
    /// The library that a question means which names none.
    pub library: LibraryId,
    /// True on one machine: GraphiQL is served at `/`.
    pub local: bool,
}
