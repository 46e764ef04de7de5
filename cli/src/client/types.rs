//! What the API answers, and the fields that are asked for. Read in the schema's
//! `camelCase`, written with `--json` in `snake_case`.

use serde::{Deserialize, Deserializer, Serialize};

use crate::failure::No;

/// The fields of a checkpoint, as a selection set.
pub(crate) const CHECKPOINT: &str = "id service version state refusals { code message hint field } \
    supersededBy mergedInto parent branch content artifactCount bytes retention submittedAt \
    stagedAt committedAt ledgerIndex \
    placements { copy part parts volume fence bytes segments { no firstRecord records bytes \
    sha256 } } group { id run decision deferred { until reason times } }";

/// The fields of a group, as a selection set.
pub(crate) const GROUP: &str = "id run state final refusals { code message hint field } priority \
    deadline labels { name value } pool bytes submittedAt stagedAt finishedAt decision \
    deferred { until reason times } \
    checkpoints { id service version state supersededBy mergedInto parent bytes artifactCount \
    committedAt }";

/// The fields of a restore, as a selection set.
pub(crate) const RESTORE: &str = "id state refusal { code message hint field } requestedAt \
    finishedAt artifacts bytes downloadBase";

/// The fields of a volume, as a selection set.
pub(crate) const VOLUME: &str = "barcode library pool state refusal { code message hint field } \
    uuid capacity used reserved free abandoned checkpoints fence endOfData lastManifest";

/// An enum value of the schema, in lower case as everywhere outside of GraphQL.
fn lower<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(String::deserialize(from)?.to_lowercase())
}

/// A count: a number, or text above 2^53.
fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Count {
        Number(u64),
        Text(String),
    }
    match Count::deserialize(from)? {
        Count::Number(number) => Ok(number),
        Count::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

fn some_count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    struct One(#[serde(deserialize_with = "count")] u64);
    Ok(Option::<One>::deserialize(from)?.map(|one| one.0))
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct GroupRef {
    pub(crate) id: String,
    pub(crate) run: String,
    pub(crate) decision: Option<String>,
    pub(crate) deferred: Option<Deferred>,
}

/// Why a group waits, and until when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deferred {
    pub(crate) until: String,
    pub(crate) reason: String,
    pub(crate) times: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct Segment {
    pub(crate) no: u32,
    #[serde(deserialize_with = "count")]
    pub(crate) first_record: u64,
    #[serde(deserialize_with = "count")]
    pub(crate) records: u64,
    #[serde(deserialize_with = "count")]
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct Placement {
    pub(crate) copy: u8,
    pub(crate) part: u32,
    pub(crate) parts: u32,
    pub(crate) volume: String,
    #[serde(deserialize_with = "count")]
    pub(crate) fence: u64,
    #[serde(deserialize_with = "count")]
    pub(crate) bytes: u64,
    pub(crate) segments: Vec<Segment>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct Checkpoint {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) version: String,
    #[serde(deserialize_with = "lower")]
    pub(crate) state: String,
    pub(crate) refusals: Vec<No>,
    pub(crate) superseded_by: Option<String>,
    pub(crate) merged_into: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) branch: Option<String>,
    pub(crate) content: String,
    pub(crate) artifact_count: u32,
    #[serde(deserialize_with = "count")]
    pub(crate) bytes: u64,
    pub(crate) retention: String,
    pub(crate) submitted_at: String,
    pub(crate) staged_at: Option<String>,
    pub(crate) committed_at: Option<String>,
    #[serde(deserialize_with = "some_count")]
    pub(crate) ledger_index: Option<u64>,
    pub(crate) placements: Vec<Placement>,
    pub(crate) group: GroupRef,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) version: String,
    #[serde(deserialize_with = "lower")]
    pub(crate) state: String,
    pub(crate) superseded_by: Option<String>,
    pub(crate) merged_into: Option<String>,
    pub(crate) parent: Option<String>,
    #[serde(deserialize_with = "count")]
    pub(crate) bytes: u64,
    pub(crate) artifact_count: u32,
    pub(crate) committed_at: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Label {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) run: String,
    #[serde(deserialize_with = "lower")]
    pub(crate) state: String,
    #[serde(rename = "final")]
    pub(crate) is_final: bool,
    pub(crate) refusals: Vec<No>,
    pub(crate) priority: u8,
    pub(crate) deadline: Option<String>,
    pub(crate) labels: Vec<Label>,
    pub(crate) pool: String,
    #[serde(deserialize_with = "count")]
    pub(crate) bytes: u64,
    pub(crate) submitted_at: String,
    pub(crate) staged_at: Option<String>,
    pub(crate) finished_at: Option<String>,
    pub(crate) decision: Option<String>,
    pub(crate) deferred: Option<Deferred>,
    pub(crate) checkpoints: Vec<Member>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct Restore {
    pub(crate) id: String,
    #[serde(deserialize_with = "lower")]
    pub(crate) state: String,
    pub(crate) refusal: Option<No>,
    pub(crate) requested_at: String,
    pub(crate) finished_at: Option<String>,
    pub(crate) artifacts: u32,
    #[serde(deserialize_with = "count")]
    pub(crate) bytes: u64,
    pub(crate) download_base: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) name: String,
    #[serde(deserialize_with = "count")]
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct Volume {
    pub(crate) barcode: String,
    pub(crate) library: String,
    pub(crate) pool: String,
    #[serde(deserialize_with = "lower")]
    pub(crate) state: String,
    pub(crate) refusal: Option<No>,
    pub(crate) uuid: Option<String>,
    #[serde(deserialize_with = "count")]
    pub(crate) capacity: u64,
    #[serde(deserialize_with = "count")]
    pub(crate) used: u64,
    #[serde(deserialize_with = "count")]
    pub(crate) reserved: u64,
    #[serde(deserialize_with = "count")]
    pub(crate) free: u64,
    #[serde(deserialize_with = "count")]
    pub(crate) abandoned: u64,
    #[serde(deserialize_with = "count")]
    pub(crate) checkpoints: u64,
    #[serde(deserialize_with = "count")]
    pub(crate) fence: u64,
    #[serde(deserialize_with = "some_count")]
    pub(crate) end_of_data: Option<u64>,
    pub(crate) last_manifest: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Drive {
    pub(crate) serial: String,
    pub(crate) library: String,
    pub(crate) element: u16,
    #[serde(deserialize_with = "lower")]
    pub(crate) state: String,
    pub(crate) volume: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) pool: String,
    pub(crate) retention: Vec<String>,
    pub(crate) frozen: bool,
    pub(crate) provenance_key: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) library: String,
    pub(crate) copies: u8,
    #[serde(deserialize_with = "count")]
    pub(crate) reserve: u64,
    #[serde(alias = "writeDrives")]
    pub(crate) write_drives: u8,
    #[serde(deserialize_with = "lower")]
    pub(crate) fallback: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LedgerHead {
    #[serde(deserialize_with = "count")]
    pub(crate) size: u64,
    pub(crate) root: String,
    #[serde(deserialize_with = "count")]
    pub(crate) committed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct Token {
    pub(crate) name: String,
    pub(crate) operator: bool,
    pub(crate) services: Vec<String>,
    pub(crate) created_at: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) library: String,
    pub(crate) state: String,
    pub(crate) keys: Vec<AgentKey>,
    pub(crate) created_at: String,
    pub(crate) changed_at: String,
    pub(crate) last_seen: Option<String>,
    pub(crate) code_expires_at: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AgentKey {
    pub(crate) key: String,
    pub(crate) since: String,
    pub(crate) until: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnrolmentCode {
    pub(crate) agent: String,
    pub(crate) library: String,
    pub(crate) code: String,
    pub(crate) expires_at: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NewToken {
    pub(crate) name: String,
    pub(crate) token: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Submitted {
    pub(crate) group: String,
    pub(crate) checkpoints: Vec<String>,
    pub(crate) repeated: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct PageInfo {
    pub(crate) has_next_page: bool,
    pub(crate) end_cursor: Option<String>,
}

/// One page of a connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    pub(crate) nodes: Vec<T>,
    pub(crate) page_info: PageInfo,
}
