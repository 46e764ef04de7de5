//! Agents: who drives the libraries.

use async_graphql::{Enum, SimpleObject};
use model::agents::{EnrolmentCode as Code, HeldKey};

use crate::scalars::Timestamp;

/// Whether an agent may speak.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentState {
    /// It has a code and no key yet.
    Invited,
    /// It may.
    Enrolled,
    /// It may not, until it enrols with a new code.
    Revoked,
}

/// An agent that drives a library.
#[derive(SimpleObject)]
pub(crate) struct Agent {
    /// Its name.
    id: String,
    /// The library it drives.
    library: String,
    /// Whether it may speak.
    state: AgentState,
    /// Its public keys, newest first.
    keys: Vec<AgentKey>,
    /// When it was first heard of.
    created_at: Timestamp,
    /// When its state or its keys changed last.
    changed_at: Timestamp,
    /// When it last asked, to the hour.
    last_seen: Option<Timestamp>,
    /// Until when a code that was not used yet is good.
    code_expires_at: Option<Timestamp>,
}

/// A public key of an agent.
#[derive(SimpleObject)]
pub(crate) struct AgentKey {
    /// The Ed25519 public key, 64 hexadecimal digits.
    key: String,
    /// Since when it is the agent's.
    since: Timestamp,
    /// Until when it is good, where a newer one took its place.
    until: Option<Timestamp>,
}

/// A code with which an agent enrols once. Its text is shown here and never again.
#[derive(SimpleObject)]
pub(crate) struct EnrolmentCode {
    /// The agent.
    agent: String,
    /// The library it is to drive.
    library: String,
    /// The text that `tapemark-agent enrol --code` takes.
    code: String,
    /// Until when it is good.
    expires_at: Timestamp,
}

impl From<model::Agent> for Agent {
    fn from(agent: model::Agent) -> Self {
        use model::AgentState as S;
        Self {
            id: agent.id.to_string(),
            library: agent.library.to_string(),
            state: match agent.state {
                S::Invited => AgentState::Invited,
                S::Enrolled => AgentState::Enrolled,
                S::Revoked => AgentState::Revoked,
            },
            keys: agent.keys.into_iter().map(AgentKey::from).collect(),
            created_at: Timestamp(agent.created),
            changed_at: Timestamp(agent.changed),
            last_seen: agent.last_seen.map(Timestamp),
            code_expires_at: agent.code_expires.map(Timestamp),
        }
    }
}

impl From<HeldKey> for AgentKey {
    fn from(held: HeldKey) -> Self {
        Self {
            key: held.key.to_string(),
            since: Timestamp(held.since),
            until: held.until.map(Timestamp),
        }
    }
}

impl From<Code> for EnrolmentCode {
    fn from(code: Code) -> Self {
        Self {
            code: format!("{}.{}", code.agent, code.code.grouped()),
            agent: code.agent.to_string(),
            library: code.library.to_string(),
            expires_at: Timestamp(code.expires),
        }
    }
}
