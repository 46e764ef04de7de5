//! The objects port on S3.
//!
//! A pin is a **copy** in our own bucket, not a legal hold on the submitter's version. A
//! hold is one flag of a version: two checkpoints of the same bytes would share it, and the
//! first to let go would let go for both. It needs object lock, and the right to set it, on
//! buckets of other teams and accounts. And it compares nothing, whereas copying shows the
//! bytes' SHA-256. A copy costs its storage for the hours between staging and commit.
//!
//! Pins are copies that end, so their bucket has no versions and expires them. Documents
//! are for good, so theirs has versions and object lock. A document is **replaced** by a
//! put: the same name may be written again, with the same bytes by whoever lost an answer,
//! or with others by a later attempt of a phase, so a put has no condition; that nothing is
//! lost by it is what versions and the lock are for, which hold the earlier bytes against
//! everybody, us included, for as long as the bucket says. Every put carries its SHA-256,
//! and S3 refuses other bytes.

mod pin;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, Delete, ObjectIdentifier};
use control::ports::{ObjectError, ObjectInfo, Objects};
use model::{ArtifactName, ArtifactSource, Bytes, CheckpointId, RestoreId, Sha256};
use sha2::Digest as _;
use tokio::sync::Semaphore;

use crate::ArtifactStore;
use crate::s3::{digest_text, explain};

/// The largest document.
const MAX_DOCUMENT_BYTES: usize = 16 << 20;
/// The longest key in bytes (S3 user guide, *Naming objects*).
const MAX_KEY_BYTES: usize = 1024;
/// For how long a fetch URL is good. An answer to a claim holds at most 32 GiB or one
/// artifact that is larger, and the last of them is begun within hours even on a slow
/// drive; a lease that long without work is over. With credentials of a role the URL also
/// ends with their session.
const FETCH_LIFETIME: Duration = Duration::from_secs(6 * 3600);
/// Checkpoints whose pins are remembered, so that an order of 10,000 artifacts asks S3
/// ten times and not 10,000 times.
const REMEMBERED: usize = 64;
/// What streamed pins may hold in memory together, in MiB: within the 512 MB of a function.
const MEMORY_MIB: u32 = 256;

/// Where [`S3Objects`] keeps and looks for things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Our own bucket: `pins/<checkpoint>/<index>`, and `documents/<name>` where documents
    /// have none of their own ([`S3Objects::with_documents`]). Never a source. Not versioned, or deleted pins stay as versions until its lifecycle ends them; with
    /// a lifecycle that ends multipart uploads that were not finished.
    pub bucket: String,
    /// Buckets that artifacts may come from. What the role may read besides is no source:
    /// a submitter must not have us read for him what he may not read himself.
    pub sources: BTreeSet<String>,
    /// A directory on the agent's machine, one of its `restore_roots`, such as
    /// `/var/lib/tapemark/restore`: restores are delivered below it.
    pub restore_root: String,
}

/// Artifacts and documents in S3.
///
/// Needs, on its own bucket, `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject`,
/// `s3:AbortMultipartUpload` and `s3:ListBucket` (without which S3 says of missing objects
/// that they are forbidden); on sources `s3:GetObjectVersion` and `s3:ListBucket`.
pub struct S3Objects {
    client: aws_sdk_s3::Client,
    artifacts: ArtifactStore,
    place: Place,
    /// The bucket of documents.
    documents: String,
    /// What is pinned for certain, as of some moment: what is missing here is looked up.
    pinned: Mutex<HashMap<CheckpointId, BTreeSet<u32>>>,
    memory: Semaphore,
}

impl S3Objects {
    /// Objects at a place, through a client such as [`crate::Connection::s3`] gives.
    pub fn with_client(client: aws_sdk_s3::Client, place: Place) -> Self {
        Self {
            artifacts: ArtifactStore::with_client(client.clone()),
            client,
            documents: place.bucket.clone(),
            place,
            pinned: Mutex::default(),
            memory: Semaphore::new(MEMORY_MIB as usize),
        }
    }

    /// The same, with documents in a bucket of their own (`documents/<name>`), versioned,
    /// with object lock where they must not go before their time. Never a source.
    #[must_use]
    pub fn with_documents(mut self, bucket: impl Into<String>) -> Self {
        self.documents = bucket.into();
        self
    }

    /// Bucket, key and version of a source that is allowed.
    fn source<'a>(&self, source: &'a ArtifactSource) -> Result<[&'a str; 3], ObjectError> {
        match source {
            ArtifactSource::S3 {
                bucket,
                key,
                version,
            } if self.place.sources.contains(bucket)
                && *bucket != self.place.bucket
                && *bucket != self.documents =>
            {
                Ok([bucket, key, version])
            }
            _ => Err(ObjectError::NotAllowed(source.to_string())),
        }
    }

    fn document_key(name: &str) -> Result<String, ObjectError> {
        let name: ArtifactName = name
            .parse()
            .map_err(|error: model::InvalidId| ObjectError::NotAllowed(error.to_string()))?;
        let key = format!("documents/{}", name.as_str());
        if key.len() > MAX_KEY_BYTES {
            return Err(ObjectError::NotAllowed(format!(
                "a key of {} bytes, expected at most {MAX_KEY_BYTES}: {key}",
                key.len()
            )));
        }
        Ok(key)
    }

    /// Puts a small object whole; S3 refuses other bytes than were hashed here.
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        body: bytes::Bytes,
        sha256: Sha256,
    ) -> Result<(), ObjectError> {
        self.client
            .put_object()
            .bucket(bucket)
            .key(key)
            .checksum_sha256(digest_text(sha256))
            .metadata(pin::DIGEST, sha256.to_hex())
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|error| explain(&error, bucket, key, None))?;
        Ok(())
    }

    /// The indices that are pinned for a checkpoint, from S3.
    async fn list_pins(&self, checkpoint: CheckpointId) -> Result<BTreeSet<u32>, ObjectError> {
        let prefix = pin_prefix(checkpoint);
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.place.bucket)
            .prefix(&prefix)
            .into_paginator()
            .send();
        let mut found = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.own(&error, &prefix))?;
            found.extend(
                page.contents()
                    .iter()
                    .filter_map(|object| object.key()?.strip_prefix(&prefix)?.parse::<u32>().ok()),
            );
        }
        Ok(found)
    }

    fn own<E>(&self, error: &aws_sdk_s3::error::SdkError<E>, key: &str) -> ObjectError
    where
        E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + 'static,
    {
        explain(error, &self.place.bucket, key, None)
    }

    fn remembered(&self, work: impl FnOnce(&mut HashMap<CheckpointId, BTreeSet<u32>>)) {
        work(&mut self.pinned.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn pin_prefix(checkpoint: CheckpointId) -> String {
    format!("pins/{checkpoint}/")
}

#[async_trait]
impl Objects for S3Objects {
    async fn head(&self, source: &ArtifactSource) -> Result<ObjectInfo, ObjectError> {
        let [bucket, key, version] = self.source(source)?;
        self.artifacts.head(bucket, key, version).await
    }

    async fn pin(
        &self,
        checkpoint: CheckpointId,
        index: u32,
        source: &ArtifactSource,
        size: Bytes,
        sha256: Sha256,
    ) -> Result<(), ObjectError> {
        let source = self.source(source)?;
        let key = format!("{}{index}", pin_prefix(checkpoint));
        self.pin_as(&key, source, pin::Declared { size, sha256 })
            .await
    }

    async fn fetch_url(&self, checkpoint: CheckpointId, index: u32) -> Result<String, ObjectError> {
        let mut known = false;
        self.remembered(|all| {
            known = all
                .get(&checkpoint)
                .is_some_and(|found| found.contains(&index));
        });
        let key = format!("{}{index}", pin_prefix(checkpoint));
        if !known {
            let found = self.list_pins(checkpoint).await?;
            known = found.contains(&index);
            self.remembered(|all| {
                if all.len() >= REMEMBERED {
                    all.clear();
                }
                all.insert(checkpoint, found);
            });
        }
        if !known {
            return Err(ObjectError::Missing(format!(
                "s3://{}/{key}",
                self.place.bucket
            )));
        }
        let lifetime = PresigningConfig::expires_in(FETCH_LIFETIME)
            .map_err(|error| ObjectError::Unavailable(error.to_string()))?;
        let request = self
            .client
            .get_object()
            .bucket(&self.place.bucket)
            .key(&key)
            .presigned(lifetime)
            .await
            .map_err(|error| ObjectError::Unavailable(DisplayErrorContext(&error).to_string()))?;
        Ok(request.uri().to_owned())
    }

    async fn unpin(&self, checkpoint: CheckpointId) -> Result<(), ObjectError> {
        self.remembered(|all| {
            all.remove(&checkpoint);
        });
        let prefix = pin_prefix(checkpoint);
        let found: Vec<_> = self.list_pins(checkpoint).await?.into_iter().collect();
        // DeleteObjects takes 1,000 keys.
        for some in found.chunks(1_000) {
            let objects = some
                .iter()
                .map(|index| {
                    ObjectIdentifier::builder()
                        .key(format!("{prefix}{index}"))
                        .build()
                })
                .collect::<Result<Vec<_>, _>>();
            let delete = objects
                .and_then(|objects| {
                    Delete::builder()
                        .set_objects(Some(objects))
                        .quiet(true)
                        .build()
                })
                .map_err(|error| ObjectError::Unavailable(error.to_string()))?;
            let answer = self
                .client
                .delete_objects()
                .bucket(&self.place.bucket)
                .delete(delete)
                .send()
                .await
                .map_err(|error| self.own(&error, &prefix))?;
            if let Some(left) = answer.errors().first() {
                return Err(ObjectError::Unavailable(format!(
                    "{} pins were not deleted, the first {}: {}",
                    answer.errors().len(),
                    left.key().unwrap_or_default(),
                    left.message().or(left.code()).unwrap_or_default()
                )));
            }
        }
        Ok(())
    }

    async fn put_document(&self, name: &str, body: Vec<u8>) -> Result<(), ObjectError> {
        let key = Self::document_key(name)?;
        if body.len() > MAX_DOCUMENT_BYTES {
            return Err(ObjectError::Mismatch {
                what: "size",
                expected: format!("at most {MAX_DOCUMENT_BYTES}"),
                found: body.len().to_string(),
            });
        }
        let sha256 = Sha256(sha2::Sha256::digest(&body).into());
        self.put(&self.documents, &key, body.into(), sha256).await
    }

    async fn document(&self, name: &str) -> Result<Vec<u8>, ObjectError> {
        let key = Self::document_key(name)?;
        let object = self
            .client
            .get_object()
            .bucket(&self.documents)
            .key(&key)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .map_err(|error| explain(&error, &self.documents, &key, None))?;
        let length = object.content_length().unwrap_or_default();
        if usize::try_from(length).is_ok_and(|length| length > MAX_DOCUMENT_BYTES) {
            return Err(ObjectError::Mismatch {
                what: "size",
                expected: format!("at most {MAX_DOCUMENT_BYTES}"),
                found: length.to_string(),
            });
        }
        let body = object.body.collect().await.map_err(|error| {
            ObjectError::Unavailable(format!("{key}: {}", DisplayErrorContext(&error)))
        })?;
        Ok(body.to_vec())
    }

    /// A directory on the agent's machine: the agent makes it, and delivers nowhere else.
    async fn delivery_url(&self, restore: RestoreId) -> Result<String, ObjectError> {
        let root = self.place.restore_root.trim_end_matches('/');
        if !root.starts_with('/') || root.split('/').any(|part| part == "..") {
            return Err(ObjectError::NotAllowed(format!(
                "{root:?} (expected an absolute directory of the agent's machine)"
            )));
        }
        Ok(format!("file://{root}/{restore}"))
    }
}
