//! The ports on one machine, and the state machine runner.
pub mod contract;
mod encode;
mod objects;
mod store;
mod system;
mod table;
pub use objects::{LocalObjects, S3Source};
pub use system::{LocalQueue, SystemClock, SystemRandomness};
pub use table::LocalTable;
