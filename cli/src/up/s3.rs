//! Artifacts from S3, for an installation on one machine.

use std::io::Read;

use async_trait::async_trait;
use aws::ArtifactStore;
use control::ports::{ObjectError, ObjectInfo};
use embedded::S3Source;

/// Joins what reads S3 to what pins artifacts.
pub(super) struct FromS3(pub(super) ArtifactStore);

#[async_trait]
impl S3Source for FromS3 {
    async fn head(
        &self,
        bucket: &str,
        key: &str,
        version: &str,
    ) -> Result<ObjectInfo, ObjectError> {
        self.0.head(bucket, key, version).await
    }

    async fn open(
        &self,
        bucket: &str,
        key: &str,
        version: &str,
    ) -> Result<Box<dyn Read + Send>, ObjectError> {
        self.0.open(bucket, key, version).await
    }
}
