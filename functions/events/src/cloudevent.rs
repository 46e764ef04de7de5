//! A leaf of the ledger as a CloudEvent.

use control::Leaf;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Who speaks: the `source` of every event.
pub const SOURCE: &str = "tapemark/ledger";

/// A CloudEvent 1.0 in structured mode (CloudEvents specification 1.0.2, JSON format).
/// `source` and `id` name it for ever: who gets it twice knows it by them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CloudEvent {
    /// `1.0`.
    pub specversion: &'static str,
    /// The leaf's index in the ledger.
    pub id: String,
    /// [`SOURCE`].
    pub source: &'static str,
    /// `tapemark.committed`, `tapemark.decided`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened; absent where the leaf does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// What it happened to, such as `checkpoint/<id>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// `application/json`.
    pub datacontenttype: &'static str,
    /// The leaf.
    pub data: Value,
}

impl CloudEvent {
    /// The event of a leaf.
    pub fn of(leaf: Leaf) -> Self {
        Self {
            specversion: "1.0",
            id: leaf.index.to_string(),
            source: SOURCE,
            kind: format!("tapemark.{}", leaf.event),
            time: leaf.at,
            subject: leaf.subject,
            datacontenttype: "application/json",
            data: leaf.leaf,
        }
    }
}
