//! The control plane's ports on AWS. For now: artifacts that lie in S3.
//!
//! It knows how AWS is asked and what its errors mean. It never holds a business rule:
//! what a missing object means for a checkpoint is `control`'s to say.
//!
//! ```no_run
//! # async fn example() -> Result<(), control::ports::ObjectError> {
//! let store = aws::ArtifactStore::connect(&aws::Connection::default()).await;
//! let info = store.head("releases", "payments/app.tar", "3HL4kqtJlcpXroDTDmJ").await?;
//! println!("{} bytes", info.size);
//! # Ok(()) }
//! ```

mod s3;

pub use s3::{ArtifactStore, Connection};
