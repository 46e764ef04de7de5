//! What orders consist of.
//!
//! A submission's names and digests come in as text and are checked by the control plane,
//! so that one answer holds every refusal of the whole submission, each with its field.

use async_graphql::{InputObject, OneofObject};
use serde_json::{Map, Value, json};

use super::resolver::Fallback;
use crate::scalars::{Bytes, Uuid};

/// One checkpoint, or several that belong together.
#[derive(InputObject)]
pub(crate) struct SubmitInput {
    /// Under which a repetition is recognised: the same key with the same payload is the
    /// same submission, with another payload it is refused.
    idempotency_key: String,
    /// The members of the group, 1 to 24.
    members: Vec<MemberInput>,
    /// How urgent it is: 0 is the least, 9 the most, 5 the default.
    priority: Option<i32>,
    /// The time after which the checkpoint is of no use.
    deadline: Option<String>,
    /// For how long to keep it; the service's default when absent.
    retention: Option<String>,
    /// Free labels, at most 32.
    labels: Option<Vec<LabelInput>>,
    /// How many members the group is meant to have; checked where given.
    expected_members: Option<i32>,
}

/// A label.
#[derive(InputObject)]
pub(crate) struct LabelInput {
    /// Its name.
    name: String,
    /// Its value.
    value: String,
}

/// One service's part of a submission.
#[derive(InputObject)]
pub(crate) struct MemberInput {
    /// The service.
    service: String,
    /// The version of the service.
    version: String,
    /// The id of the checkpoint this one follows.
    parent: Option<String>,
    /// A declared branch: requests of different branches are different lineages.
    branch: Option<String>,
    /// The artifacts, 1 to 10,000.
    artifacts: Vec<ArtifactInput>,
    /// An Ed25519 signature (64 bytes, base64) of the content text under the service's key.
    provenance: Option<String>,
}

/// One named byte string.
#[derive(InputObject)]
pub(crate) struct ArtifactInput {
    /// A relative path, at most 1,024 bytes.
    name: String,
    /// `s3://bucket/key?versionId=…` or `file:///absolute/path`.
    source: String,
    /// Its size.
    size: Bytes,
    /// SHA-256 of its bytes, 64 hexadecimal digits.
    sha256: String,
}

fn put<T: Into<Value>>(map: &mut Map<String, Value>, key: &str, value: Option<T>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), value.into());
    }
}

impl SubmitInput {
    /// The submission as the JSON document that the control plane checks.
    pub(crate) fn into_json(self) -> Value {
        let mut map = Map::new();
        put(&mut map, "idempotency_key", Some(self.idempotency_key));
        let members: Vec<Value> = self
            .members
            .into_iter()
            .map(MemberInput::into_json)
            .collect();
        put(&mut map, "members", Some(members));
        put(&mut map, "priority", self.priority);
        put(&mut map, "deadline", self.deadline);
        put(&mut map, "retention", self.retention);
        if let Some(labels) = self.labels {
            let labels = labels
                .into_iter()
                .map(|label| (label.name, label.value.into()));
            map.insert("labels".to_owned(), Value::Object(labels.collect()));
        }
        put(&mut map, "expected_members", self.expected_members);
        Value::Object(map)
    }
}

impl MemberInput {
    fn into_json(self) -> Value {
        let mut map = Map::new();
        put(&mut map, "service", Some(self.service));
        put(&mut map, "version", Some(self.version));
        put(&mut map, "parent", self.parent);
        put(&mut map, "branch", self.branch);
        let artifacts: Vec<Value> = self
            .artifacts
            .into_iter()
            .map(|artifact| {
                json!({
                    "name": artifact.name,
                    "source": artifact.source,
                    "size": artifact.size.0.0,
                    "sha256": artifact.sha256,
                })
            })
            .collect();
        put(&mut map, "artifacts", Some(artifacts));
        put(&mut map, "provenance", self.provenance);
        Value::Object(map)
    }
}

/// A service to register, or to change.
#[derive(InputObject)]
pub(crate) struct ServiceInput {
    /// Its name.
    pub(crate) name: String,
    /// The pool its checkpoints go to.
    pub(crate) pool: Option<String>,
    /// The retention classes it may use; the first is its default.
    pub(crate) retention: Option<Vec<String>>,
    /// True where it takes no new checkpoints.
    #[graphql(default)]
    pub(crate) frozen: bool,
    /// The Ed25519 public key (32 bytes, base64) its manifests are signed with.
    pub(crate) provenance_key: Option<String>,
}

/// A pool to make, or to change.
#[derive(InputObject)]
pub(crate) struct PoolInput {
    /// Its name.
    pub(crate) name: String,
    /// The library; the installation's own where absent.
    pub(crate) library: Option<String>,
    /// How many copies of a checkpoint it keeps, each on its own volume.
    #[graphql(default = 1)]
    pub(crate) copies: u8,
    /// How much of each volume is kept free for manifests and the index.
    pub(crate) reserve: Bytes,
    /// How many volumes are written at once.
    #[graphql(default = 1)]
    pub(crate) write_drives: u8,
    /// What decides where a resolver does not.
    #[graphql(default_with = "Fallback::BuiltIn")]
    pub(crate) fallback: Fallback,
}

/// A group, by its own id or by that of one of its checkpoints.
#[derive(OneofObject)]
pub(crate) enum GroupTarget {
    /// The group's id.
    Group(Uuid),
    /// The id of one of its checkpoints.
    Checkpoint(Uuid),
}

/// What an operator makes of a parked group.
#[derive(async_graphql::Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParkedDecision {
    /// Go on: it is placed anew.
    Resume,
    /// Give up: what was written is abandoned.
    Abandon,
}

/// What a token may do.
#[derive(OneofObject)]
pub(crate) enum ScopeInput {
    /// Everything; `true` is the only value taken.
    Operator(bool),
    /// Act for these services.
    Services(Vec<String>),
}
