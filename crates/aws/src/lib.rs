//! The control plane's ports on AWS: the table on DynamoDB, objects on S3.
//!
//! ```no_run
//! # async fn example() -> Result<(), control::ports::ObjectError> {
//! let store = aws::ArtifactStore::connect(&aws::Connection::default()).await;
//! let info = store.head("releases", "payments/app.tar", "3HL4kqtJlcpXroDTDmJ").await?;
//! println!("{} bytes", info.size);
//! # Ok(()) }
//! ```

mod client;
mod cursor;
mod dynamo;
mod encode;
mod objects;
mod requests;
mod s3;
pub mod schema;

pub use client::{Backoff, Connection, REQUESTS_AT_ONCE, table_retries, table_timeouts};
pub use dynamo::DynamoTable;
pub use objects::{Place, S3Objects};
pub use requests::Requests;
pub use s3::ArtifactStore;
