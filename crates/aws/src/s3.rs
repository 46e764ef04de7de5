//! Artifacts in S3, always at one version.

use std::io::Read;

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::ChecksumMode;
use base64::Engine as _;
use control::ports::{ObjectError, ObjectInfo};
use model::{Bytes, Sha256};
use tokio_util::io::SyncIoBridge;

use crate::Connection;

/// Reads artifacts from S3.
#[derive(Clone, Debug)]
pub struct ArtifactStore {
    client: aws_sdk_s3::Client,
}

impl ArtifactStore {
    /// A client built from the environment. Nothing is asked of S3 yet.
    pub async fn connect(connection: &Connection) -> Self {
        Self::with_client(connection.s3().await)
    }

    /// Reads through a client that somebody else set up.
    pub const fn with_client(client: aws_sdk_s3::Client) -> Self {
        Self { client }
    }

    /// Size and, where S3 keeps one of the whole object, SHA-256 of an object's version
    /// (HeadObject with `x-amz-checksum-mode: ENABLED`).
    ///
    /// # Errors
    /// [`ObjectError::Missing`] where bucket, key or version do not exist;
    /// [`ObjectError::Unavailable`] otherwise.
    pub async fn head(
        &self,
        bucket: &str,
        key: &str,
        version: &str,
    ) -> Result<ObjectInfo, ObjectError> {
        let head = self
            .client
            .head_object()
            .bucket(bucket)
            .key(key)
            .version_id(version)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .map_err(|error| explain(&error, bucket, key, Some(version)))?;
        let size = head
            .content_length()
            .and_then(|length| u64::try_from(length).ok());
        let Some(size) = size else {
            return Err(ObjectError::Unavailable(
                "HeadObject gave no length".to_owned(),
            ));
        };
        Ok(ObjectInfo {
            size: Bytes(size),
            sha256: head.checksum_sha256().and_then(whole_object_digest),
        })
    }

    /// The bytes of an object's version, as a blocking reader that holds one network
    /// buffer. To be read on a thread that may block, within this runtime.
    ///
    /// # Errors
    /// As [`ArtifactStore::head`]. Errors in the middle of the body come from the reader.
    pub async fn open(
        &self,
        bucket: &str,
        key: &str,
        version: &str,
    ) -> Result<Box<dyn Read + Send>, ObjectError> {
        let object = self
            .client
            .get_object()
            .bucket(bucket)
            .key(key)
            .version_id(version)
            .send()
            .await
            .map_err(|error| explain(&error, bucket, key, Some(version)))?;
        Ok(Box::new(SyncIoBridge::new(object.body.into_async_read())))
    }
}

/// A digest of the whole object: base64 of 32 bytes. Multipart uploads have a composite
/// digest (`…-7`), which says nothing of the whole.
pub(crate) fn whole_object_digest(text: &str) -> Option<Sha256> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    Some(Sha256(bytes.try_into().ok()?))
}

/// A digest as S3 writes it.
pub(crate) fn digest_text(digest: Sha256) -> String {
    base64::engine::general_purpose::STANDARD.encode(digest.0)
}

/// What an error of S3 means to the one who asked.
pub(crate) fn explain<E>(
    error: &SdkError<E>,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> ObjectError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error
        .raw_response()
        .map(|response| response.status().as_u16());
    // S3 answers a HEAD without a body, so the status says it; a malformed version id is
    // a 400, and a delete marker asked for by version a 405.
    let missing = matches!(status, Some(404 | 405))
        || matches!(
            error.code(),
            Some("NoSuchKey" | "NoSuchBucket" | "NoSuchVersion" | "NotFound" | "InvalidArgument")
        )
        || (status == Some(400) && error.code().is_none());
    if missing {
        let version = version.map(|version| format!("?versionId={version}"));
        ObjectError::Missing(format!(
            "s3://{bucket}/{key}{}",
            version.unwrap_or_default()
        ))
    } else {
        ObjectError::Unavailable(DisplayErrorContext(error).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_digest_of_a_whole_object_counts() {
        let whole = base64::engine::general_purpose::STANDARD.encode(Sha256::EMPTY.0);
        assert_eq!(whole_object_digest(&whole), Some(Sha256::EMPTY));
        assert_eq!(whole_object_digest(&format!("{whole}-7")), None);
        assert_eq!(whole_object_digest("AAAA"), None);
        assert_eq!(whole_object_digest("no base64!"), None);
    }
}
