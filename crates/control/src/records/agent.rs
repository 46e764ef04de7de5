//! What is kept of an agent.

use jiff::Timestamp;
use model::{Agent, AgentKey, LibraryId, Sha256};
use serde::{Deserialize, Serialize};

use crate::catalogue::Record;
use crate::keys;
use crate::ports::Key;

/// An agent: one item, so that whoever uses its code excludes everybody else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgentRecord {
    pub(crate) agent: Agent,
    /// The code that is open.
    pub(crate) code: Option<OpenCode>,
    /// The code that was used last: the same question again gets the same answer.
    pub(crate) used: Option<UsedCode>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenCode {
    /// SHA-256 of the code. It has 128 random bits, so nothing slower is needed.
    pub(crate) digest: Sha256,
    pub(crate) library: LibraryId,
    pub(crate) expires: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct UsedCode {
    pub(crate) digest: Sha256,
    pub(crate) key: AgentKey,
}

impl Record for AgentRecord {
    fn key(&self) -> Key {
        keys::agent(&self.agent.id)
    }
}
