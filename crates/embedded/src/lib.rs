//! The ports on one machine, and the runner of the state machine.
//!
//! [`Stack`] assembles an installation under one data directory: [`LocalTable`] (an ACID
//! file behind the catalogue's table), [`LocalObjects`] (pins, documents and restores as
//! files), [`LocalQueue`], and [`Runner`], which runs
//! `infra/state-machine/checkpoint.asl.json` with the `asl` engine. The rules of Tapemark
//! are in `control`, and this crate holds none of them: what runs here is what runs on AWS.
//!
//! | below the data directory | what it is |
//! |---|---|
//! | `catalogue.redb` | the catalogue's table (unless [`Stores`] say otherwise), and the log of every execution |
//! | `pins/<checkpoint>/<index>` | artifacts as they were when they were checked |
//! | `objects/<name>` | documents too large for an item |
//! | `restore/<restore>/` | what was brought back, in plaintext; removed 24 hours after it was whole |
//! | `resolvers/` | components, their native code, and signed records of both |
//! | `keys/` | tokens and keys, readable by the owner only |
//! | `tmp/` | files that are not whole yet; emptied at each start |
//! | `lock` | held by the one process that works here |
//!
//! Nothing below the data directory is ever taken as a source, wherever the allowed roots
//! lie. It never binds a port, never forks the state machine, and never keeps anything in
//! memory alone: kill the process at any moment, start it again, and it goes on.
//!
//! ```
//! use control::ports::{Condition, Item, Key, Table, Write};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let directory = tempfile::tempdir().unwrap();
//! let table = embedded::LocalTable::open(&directory.path().join("catalogue.redb")).unwrap();
//! let key = Key::new("SERVICE#payments", "META");
//! let item = Item {
//!     key: key.clone(), version: 0, gsi1: None, gsi2: None, expires_at: None, body: 1.into(),
//! };
//! table.transact(vec![Write::Put(item.clone(), Condition::Absent)]).await.unwrap();
//! assert!(table.transact(vec![Write::Put(item, Condition::Absent)]).await.is_err());
//! assert_eq!(table.get(&key).await.unwrap().unwrap().version, 1);
//! # });
//! ```

pub mod contract;
mod delivered;
mod encode;
mod objects;
mod pump;
mod resolvers;
mod runner;
mod stack;
mod store;
mod system;
mod table;

pub use objects::{LocalObjects, S3Source};
pub use resolvers::{Compiler, LocalResolvers, ResolverSetup};
pub use runner::{
    Alarm, ExecutionView, Handlers, Page, Runner, RunnerError, RunnerOptions, Started, Status, Told,
};
pub use stack::{DEFINITION, Stack, StackConfig, StackError, Stores};
pub use system::{LocalQueue, SystemClock, SystemRandomness};
pub use table::LocalTable;
