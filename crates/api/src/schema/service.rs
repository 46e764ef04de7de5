//! Services and tokens.

use async_graphql::SimpleObject;

use crate::auth::{Scope, TokenInfo};
use crate::scalars::Timestamp;

/// A service that may have checkpoints.
#[derive(SimpleObject)]
pub(crate) struct Service {
    /// Its name.
    name: String,
    /// The pool its checkpoints go to.
    pool: String,
    /// The retention classes it may use; the first is its default.
    retention: Vec<String>,
    /// True where it takes no new checkpoints.
    frozen: bool,
    /// The Ed25519 public key its manifests are signed with, base64.
    provenance_key: Option<String>,
}

impl From<model::Service> for Service {
    fn from(service: model::Service) -> Self {
        Self {
            name: service.name.as_str().to_owned(),
            pool: service.pool.as_str().to_owned(),
            retention: service.retention.into_iter().map(|class| class.0).collect(),
            frozen: service.frozen,
            provenance_key: service.provenance_key,
        }
    }
}

/// A bearer token without its text.
#[derive(SimpleObject)]
pub(crate) struct Token {
    /// Its name.
    name: String,
    /// True where it may do everything.
    operator: bool,
    /// The services it may act for.
    services: Vec<String>,
    /// When it was made.
    created_at: Timestamp,
}

impl From<TokenInfo> for Token {
    fn from(info: TokenInfo) -> Self {
        let (operator, services) = match info.scope {
            Scope::Operator => (true, Vec::new()),
            Scope::Services(names) => (
                false,
                names.iter().map(|name| name.as_str().to_owned()).collect(),
            ),
        };
        Self {
            name: info.name,
            operator,
            services,
            created_at: Timestamp(info.created_at),
        }
    }
}
