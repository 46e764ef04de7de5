//! The control plane's ports on AWS, each behind a feature, so that a function links the
//! clients that it needs.
//!
//! | feature | port | service |
//! |---|---|---|
//! | `table` | `DynamoTable` | DynamoDB |
//! | `objects` | `S3Objects`, `ArtifactStore` | S3 |
//! | `stepfunctions` | `StepFunctions`: tells effects, shows executions | Step Functions |
//! | `queue` | `SqsBell`: wakes agents | SQS |
//! | `resolvers`, `publish` | `S3Resolvers`: calls resolvers; has them compiled | S3; Lambda |
//! | `kms` | `KmsSigner`: signs records of resolvers | KMS |
//! | `events` | `EventBridge` | EventBridge |
//!
//! It knows how AWS is asked, how often, and what its errors mean
//! (`docs/decisions/0009-calling-aws.md`). It never holds a business rule: what a missing
//! object means for a checkpoint, or who wins a race for an item, is `control`'s to say. It
//! compiles nothing.
//!
//! ```no_run
//! use aws::{Connection, DynamoTable};
//! use control::ports::{Condition, Item, Key, Table, Write};
//!
//! # async fn example() -> Result<(), control::ports::TableError> {
//! let table = DynamoTable::connect(&Connection::default(), "tapemark").await;
//! let key = Key::new("TAPE#A00001L9", "LEASE");
//! let lease = Item { key: key.clone(), version: 0, gsi1: None, gsi2: None,
//!     expires_at: None, body: 1.into() };
//! table.transact(vec![Write::Put(lease, Condition::Absent)]).await?;
//! assert_eq!(table.get(&key).await?.map(|item| item.version), Some(1));
//! # Ok(()) }
//! ```
//!
//! # What differs from one machine
//!
//! [`DynamoTable`] keeps the contract of `control::ports::Table`, which promises no more
//! than DynamoDB does. Two things no emulator shows. A query of the table reads each item as
//! committed, but not all of them at one moment; a get is of one moment. And an index is
//! **behind** the table: milliseconds as a rule, without a bound (developer guide, *Data
//! synchronization between tables and global secondary indexes*). What the control plane
//! asks of its indexes:
//!
//! | who asks | index | behind by some writes |
//! |---|---|---|
//! | lists of services, checkpoints, decisions, releases, volumes, drives | 1, 2 | harmless: shown late |
//! | `sweep`: leases that ran out | 2 | harmless: looks at each beat again by its key |
//! | `claim`, `open_session`: open work, volumes that wait, drives that hold volumes | 1 | harmless: each claim and grant has conditions on the table; new work may wait for one more poll, what is gone is passed over |
//! | `inventory`: volumes of the library | 1 | harmless: each is read again by its key, the next inventory catches up |
//! | validate: room in the pool | 2 | harmless: an estimate, allocate decides |
//! | allocate: volumes that take more | 2 | harmless for room, which the accounts decide; a volume gone bad meanwhile is left again by its session |
//!
//! What it asks of the table itself, by partitions that were made for it, and why it bears
//! that a query is not one moment:
//!
//! | who asks | partition | not one moment |
//! |---|---|---|
//! | `gather`: open requests and the newest commit of a lineage, requests of the same content | `LIN#…` | whoever was staged before is there, so of two the later one sees the other; what became of each is read in its group's record |
//! | `reopen_claimed`: work claimed under a fence that is over | `TAPE#…` | the lease changed before, and each claim checks it: none is added meanwhile |
//! | `fail_open`: open work of a volume in doubt | `TAPE#…` | what is dispatched meanwhile by one who saw the volume before is failed by whoever looks for work next |
//! | `release` without a version, `bind` by name | `RSV#…` | a release is one item; what was published before is there |
//! | bindings of a round; those of a release to be withdrawn | `BIND` | each binding is one item; binding writes its release too, so a withdrawal conflicts |
//! | outbox, notes to unpin | `OBX`, `UNPIN` | each item is done by itself, however often |
//! | leaves of the ledger | `LDG#…` | leaves never change; a gap ends the page |
//!
//! One thing remains: for the milliseconds in which DynamoDB writes a transaction, a query
//! may show it in part. A claim that is being written while its session ends could stay
//! claimed; the next session of the volume opens it again, and the run's own timeout takes
//! it back at the latest.

#[cfg(feature = "queue")]
mod bell;
mod client;
#[cfg(feature = "table")]
mod cursor;
#[cfg(feature = "table")]
mod dynamo;
#[cfg(feature = "table")]
mod encode;
#[cfg(feature = "events")]
mod events;
#[cfg(feature = "kms")]
mod kms;
#[cfg(feature = "objects")]
mod objects;
#[cfg(feature = "table")]
mod requests;
#[cfg(feature = "resolvers")]
mod resolvers;
#[cfg(feature = "objects")]
mod s3;
#[cfg(feature = "table")]
pub mod schema;
#[cfg(feature = "stepfunctions")]
mod stepfunctions;

#[cfg(feature = "queue")]
pub use bell::SqsBell;
#[cfg(feature = "publish")]
pub use client::COMPILE_TIMEOUT;
pub use client::Connection;
#[cfg(feature = "table")]
pub use client::{Backoff, REQUESTS_AT_ONCE, table_retries, table_timeouts};
pub use control::ports::system::{SystemClock, SystemRandomness};
#[cfg(feature = "table")]
pub use dynamo::DynamoTable;
#[cfg(feature = "events")]
pub use events::{BusEvent, EventBridge, NotPut};
#[cfg(feature = "kms")]
pub use kms::KmsSigner;
#[cfg(feature = "objects")]
pub use objects::{Place, S3Objects};
#[cfg(feature = "table")]
pub use requests::Requests;
#[cfg(feature = "resolvers")]
pub use resolvers::{RecordSigner, ResolverBucket, S3Resolvers};
#[cfg(feature = "objects")]
pub use s3::ArtifactStore;
#[cfg(feature = "stepfunctions")]
pub use stepfunctions::{ExecutionView, MAX_PAYLOAD_BYTES, StepFunctions, Told};
