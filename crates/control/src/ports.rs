//! What the control plane needs of the world, as traits. `embedded` has them on one
//! machine; `aws` has them on DynamoDB, S3, SQS and Step Functions.

pub mod system;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use model::{
    ArtifactSource, Bytes, Call, CallOutcome, CheckpointId, Code, ConflictSet, EngineId, LibraryId,
    Limits, Refusal, ResolverInfo, Sha256,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that [`crate::Control`] needs.
#[derive(Clone)]
pub struct Ports {
    /// The catalogue's table.
    pub table: Arc<dyn Table>,
    /// Artifacts, pinned and brought back.
    pub objects: Arc<dyn Objects>,
    /// Wakes those who wait for work.
    pub queue: Arc<dyn WorkQueue>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub randomness: Arc<dyn Randomness>,
    /// The append-only log.
    pub ledger: Arc<dyn Ledger>,
    /// Decides conflicts where a resolver is bound.
    pub resolvers: Arc<dyn Resolvers>,
}

/// The primary key of an item: partition and sort key, as in DynamoDB.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
}

impl Key {
    /// A key of its two halves.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self {
            pk: pk.into(),
            sk: sk.into(),
        }
    }
}

/// One item of the single table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its key.
    pub key: Key,
    /// Rises by one with each write. What a writer saw is the condition of its write.
    /// Ignored in a put: the table sets it.
    pub version: u64,
    /// Its key in the first index, where it stands in it.
    pub gsi1: Option<Key>,
    /// Its key in the second index, where it stands in it.
    pub gsi2: Option<Key>,
    /// After which it means nothing. Checked on read by whoever cares, never left to the
    /// table's own deletion.
    pub expires_at: Option<Timestamp>,
    /// The rest. At most 400 KB as JSON.
    pub body: Value,
}

/// Which index a query runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Index {
    /// The table itself.
    Main,
    /// The first index.
    Gsi1,
    /// The second index.
    Gsi2,
}

/// Which sort keys of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortKeys {
    /// All.
    All,
    /// Those that begin so.
    Prefix(String),
    /// From the first to the second, both included.
    Between(String, String),
}

/// Where a query goes on: opaque, bound to its query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub String);

/// One partition, in the order of the sort keys. There is no scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The index.
    pub index: Index,
    /// The partition.
    pub pk: String,
    /// Which of its items.
    pub sort: SortKeys,
    /// Highest sort key first.
    pub descending: bool,
    /// At most so many (1 to 1,000).
    pub limit: u32,
    /// Where the last page ended.
    pub after: Option<Cursor>,
}

/// One page of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The items.
    pub items: Vec<Item>,
    /// Where to go on, if there may be more.
    pub next: Option<Cursor>,
}

/// What must be so for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is no such item.
    Absent,
    /// The item has this version.
    Version(u64),
    /// Nothing is asked. For items that only one writer knows.
    None,
}

/// One write of a transaction. No two of one transaction may name the same key.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Puts an item.
    Put(Item, Condition),
    /// Deletes an item.
    Delete(Key, Condition),
    /// Only checks.
    Check(Key, Condition),
}

/// The most writes of one transaction (DynamoDB's limit).
pub const MAX_WRITES: usize = 100;

/// Why the table did not do as asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A condition did not hold; nothing was written.
    #[error("condition of write {write} did not hold")]
    Conflict {
        /// The first write whose condition failed.
        write: usize,
        /// The item as it stands.
        old: Option<Box<Item>>,
    },
    /// The request breaks a limit of the table; nothing was written.
    #[error("{0}")]
    Limit(String),
    /// The table could not be asked. The write may or may not have happened.
    #[error("catalogue unavailable: {0}")]
    Unavailable(String),
}

/// The single table of the catalogue (`reference`: single-table design): conditional
/// writes, transactions, queries on a key; no scans.
#[async_trait]
pub trait Table: Send + Sync {
    /// One item, as of the last finished write.
    async fn get(&self, key: &Key) -> Result<Option<Item>, TableError>;

    /// Items of one partition.
    ///
    /// Of the table itself it shows each item as of some moment after the question came:
    /// everything written before is there. It is **not** one moment: while others write,
    /// one item of a page may be from before a transaction and the next from after it.
    /// Whoever needs several items of one moment reads one of them, and has the versions of
    /// the others checked by the transaction that follows.
    ///
    /// An index may be **behind** the table, without a bound, item by item. What it shows
    /// is a hint: where something depends on it, the item is read again by its key, or its
    /// version is a condition.
    async fn query(&self, query: &Query) -> Result<Page, TableError>;

    /// All writes or none, durable when it returns. At most [`MAX_WRITES`].
    async fn transact(&self, writes: Vec<Write>) -> Result<(), TableError>;
}

/// Why an object could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// There is no such object, or not at that version.
    #[error("no object at {0}")]
    Missing(String),
    /// The source lies outside what is allowed.
    #[error("{0} lies outside the allowed roots")]
    NotAllowed(String),
    /// The bytes are not as declared; nothing was pinned.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// `size` or `sha256`.
        what: &'static str,
        /// What was declared.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The store could not be asked.
    #[error("object store unavailable: {0}")]
    Unavailable(String),
}

/// What an artifact's source has, before it is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its size.
    pub size: Bytes,
    /// Its digest, where the store keeps one.
    pub sha256: Option<Sha256>,
}

/// Artifacts: where they come from, where they are pinned, where they go back to; and
/// small documents of our own that are too large for an item.
#[async_trait]
pub trait Objects: Send + Sync {
    /// What the source has.
    async fn head(&self, source: &ArtifactSource) -> Result<ObjectInfo, ObjectError>;

    /// Pins the source as artifact number `index` of a checkpoint: afterwards exactly
    /// these bytes can be fetched until [`Objects::unpin`]. Idempotent. Compares size and
    /// SHA-256 of the bytes it pins.
    async fn pin(
        &self,
        checkpoint: CheckpointId,
        index: u32,
        source: &ArtifactSource,
        size: Bytes,
        sha256: Sha256,
    ) -> Result<(), ObjectError>;

    /// Where the agent fetches a pinned artifact: `file:///…` or a presigned URL.
    async fn fetch_url(&self, checkpoint: CheckpointId, index: u32) -> Result<String, ObjectError>;

    /// Lets go of everything pinned for a checkpoint. Idempotent.
    async fn unpin(&self, checkpoint: CheckpointId) -> Result<(), ObjectError>;

    /// Keeps a document (at most 16 MiB) under a name such as `manifests/<id>.json`.
    async fn put_document(&self, name: &str, body: Vec<u8>) -> Result<(), ObjectError>;

    /// The document of that name.
    async fn document(&self, name: &str) -> Result<Vec<u8>, ObjectError>;

    /// Where the agent delivers a restore: a `file:///directory` made for it alone.
    async fn delivery_url(&self, restore: model::RestoreId) -> Result<String, ObjectError>;
}

/// Tells those who wait for work that there is some. The items themselves are in the
/// table; a lost ring costs a poll interval, never an item.
#[async_trait]
pub trait WorkQueue: Send + Sync {
    /// Wakes everybody who waits for work in the library. Never fails: who did not hear it
    /// looks a poll interval later. Awaited by the control plane before it answers, because
    /// a function may be frozen once it has; it must not take longer than a request may.
    async fn ring(&self, library: &LibraryId);

    /// A ticket to hold before looking into the table, so that a ring in between is not
    /// missed.
    fn ticket(&self, library: &LibraryId) -> u64;

    /// Waits for a ring after `ticket`, at most so long.
    async fn wait(&self, library: &LibraryId, ticket: u64, at_most: Duration);
}

/// The time, in UTC.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Unpredictable bytes.
pub trait Randomness: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// The head of the append-only log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerHead {
    /// How many leaves.
    pub size: u64,
    /// What commits to all of them.
    pub root: Sha256,
}

/// The append-only log, as arithmetic: it says what to write, and the writes go into
/// the same transaction as the state change they record. A hash chain for now; a Merkle
/// log takes its place behind the same trait.
pub trait Ledger: Send + Sync {
    /// The head of an empty log.
    fn empty(&self) -> LedgerHead;

    /// The head after `leaf` (canonical JSON of the event).
    fn append(&self, head: &LedgerHead, leaf: &[u8]) -> LedgerHead;
}

/// A component that was checked, compiled and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its identity.
    pub component: Sha256,
    /// Its size.
    pub bytes: Bytes,
    /// What it says of itself.
    pub info: ResolverInfo,
    /// What compiled it.
    pub engine: EngineId,
}

/// How long a call may wait inside the port before it is started: twice what the four that
/// a round asks for at once take one after the other, at the default wall time each.
pub const START_WITHIN: Duration = Duration::from_secs(2);

/// Keeps and runs resolver components. A call never fails because of a resolver: whatever
/// it does stands in the [`Call`].
#[async_trait]
pub trait Resolvers: Send + Sync {
    /// Checks a component against the contract, compiles it ahead of time, and keeps it
    /// with a signed record of what was made of it. Idempotent.
    ///
    /// # Errors
    /// `ResolverInvalid` for what breaks the contract or cannot be compiled within the
    /// publisher's limits; `Transient`.
    async fn publish(&self, component: Vec<u8>) -> Result<Published, Refusal>;

    /// Has a published component decide. The decision keeps the invariants where the
    /// outcome is `Decided`; the control plane checks it again all the same.
    ///
    /// `limits.wall_ms` counts from when the component is started, not from when the call
    /// is asked for: what waits in the port's own queue is not out of time. A call that
    /// cannot be started within [`START_WITHIN`] is answered with `Unavailable`, which
    /// never counts against the resolver.
    async fn call(&self, component: Sha256, set: Arc<ConflictSet>, limits: Limits) -> Call;
}

/// No resolvers: nothing can be published, and what was bound is decided by the pool's
/// fallback.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoResolvers;

#[async_trait]
impl Resolvers for NoResolvers {
    async fn publish(&self, _component: Vec<u8>) -> Result<Published, Refusal> {
        Err(Refusal::new(
            Code::ResolverInvalid,
            "expected an installation that runs resolvers, found one without",
        ))
    }

    async fn call(&self, _component: Sha256, _set: Arc<ConflictSet>, limits: Limits) -> Call {
        Call {
            engine: EngineId {
                version: "none".to_owned(),
                compatibility: String::new(),
            },
            limits,
            outcome: CallOutcome::Unavailable {
                why: "this installation runs no resolvers".to_owned(),
            },
            fuel: None,
            wall_us: 0,
            decision: None,
            output: None,
        }
    }
}
