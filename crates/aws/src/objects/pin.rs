//! Pinning: the bytes of a version, as declared or not at all.
//!
//! Where S3 itself knows the source's SHA-256 and copies it in one go (up to 5 GiB), it
//! copies, and says the copy's. No other object has a SHA-256 of the whole in S3: an upload
//! that got a CRC has none, one in parts has a digest of digests, and nothing larger than
//! 5 GiB comes in one piece. Those bytes have to be read once: small ones come through here,
//! larger ones are copied within S3 part by part while the same version is read and hashed
//! here. A version never changes, so what is hashed is what is copied. Either way the object
//! gets its name only with the right bytes, and says in its metadata which digest was
//! compared.

use std::time::Duration;

use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, MetadataDirective,
    TaggingDirective,
};
use control::ports::ObjectError;
use futures::future::try_join;
use futures::stream::{self, StreamExt, TryStreamExt};
use model::{Bytes, Sha256};
use sha2::Digest as _;

use super::{MEMORY_MIB, S3Objects};
use crate::s3::{explain, whole_object_digest};

/// The metadata that says which SHA-256 was compared.
pub(super) const DIGEST: &str = "sha256";
/// The largest object that CopyObject copies (API reference: 5 GB).
const MAX_COPY_BYTES: u64 = 5 << 30;
/// Objects up to this size are put whole; larger ones are read in pieces of this size, and
/// copied in parts of at least it. A piece lost is that much read again; S3's least part is
/// 5 MiB, and the time to ask for one is long gone at 16.
const PART_BYTES: u64 = 16 << 20;
/// The most parts of a copy: half a cent of requests. S3 takes 10,000, each of 5 GiB at most.
const MAX_PARTS: u64 = 1_024;
/// Parts that S3 copies at once. It bears thousands of requests a second for a prefix; with
/// eight it is faster than we read.
const COPIES_AT_ONCE: usize = 8;
/// Pieces read at once. One stream from S3 gives some 80 MB/s; four fill the network of a
/// function (some 75 MB/s held for long, more at first).
const READS_AT_ONCE: usize = 4;
/// How long one pin may take: a function ends after 15 minutes, and what was begun has to be
/// ended before. At 75 MB/s that is 54 GiB; a larger artifact is refused each time, and has to
/// be split.
const MAX_TIME: Duration = Duration::from_secs(13 * 60);
/// Tries of a part whose body breaks off: the SDK tries again only up to its beginning.
const PART_TRIES: u32 = 3;

/// What the submitter said the bytes are.
#[derive(Clone, Copy)]
pub(super) struct Declared {
    pub(super) size: Bytes,
    pub(super) sha256: Sha256,
}

impl Declared {
    fn check_size(self, found: u64) -> Result<(), ObjectError> {
        if found == self.size.0 {
            return Ok(());
        }
        Err(ObjectError::Mismatch {
            what: "size",
            expected: self.size.0.to_string(),
            found: found.to_string(),
        })
    }

    fn check_digest(self, found: Sha256) -> Result<(), ObjectError> {
        if found == self.sha256 {
            return Ok(());
        }
        Err(ObjectError::Mismatch {
            what: "sha256",
            expected: self.sha256.to_string(),
            found: found.to_string(),
        })
    }

    /// Bytes from and to (the latter not included) of each piece to read.
    fn pieces(self) -> impl Iterator<Item = (u64, u64)> {
        ranges(self.size.0, PART_BYTES)
    }

    /// The same of each part to copy.
    fn parts(self) -> impl Iterator<Item = (u64, u64)> {
        ranges(self.size.0, self.size.0.div_ceil(MAX_PARTS).max(PART_BYTES))
    }

    /// What holding its pieces takes, in MiB.
    fn memory(self) -> u32 {
        let most = (READS_AT_ONCE as u64 + 1) * PART_BYTES;
        let mib = self.size.0.min(most).div_ceil(1 << 20).max(1);
        u32::try_from(mib).unwrap_or(MEMORY_MIB).min(MEMORY_MIB)
    }
}

/// Ranges of at most `step` bytes that join up to `size`.
fn ranges(size: u64, step: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..size.div_ceil(step)).map(move |n| (n * step, size.min((n + 1) * step)))
}

impl S3Objects {
    pub(super) async fn pin_as(
        &self,
        key: &str,
        source: [&str; 3],
        declared: Declared,
    ) -> Result<(), ObjectError> {
        if self.is_pinned(key, declared).await? {
            return Ok(());
        }
        let [bucket, from, version] = source;
        let info = self.artifacts.head(bucket, from, version).await?;
        declared.check_size(info.size.0)?;
        if let Some(known) = info.sha256 {
            declared.check_digest(known)?;
            if declared.size.0 <= MAX_COPY_BYTES && self.copy(key, source, declared).await? {
                return Ok(());
            }
        }
        let permits = self.memory.acquire_many(declared.memory()).await;
        let _memory =
            permits.map_err(|_| ObjectError::Unavailable("the process is closing".to_owned()))?;
        if declared.size.0 <= PART_BYTES {
            let body = self.fetch(source, None).await?;
            declared.check_size(body.len() as u64)?;
            declared.check_digest(Sha256(sha2::Sha256::digest(&body).into()))?;
            return self
                .put(&self.place.bucket, key, body, declared.sha256)
                .await;
        }
        self.transfer(key, source, declared).await
    }

    /// True where just these bytes are pinned already.
    async fn is_pinned(&self, key: &str, declared: Declared) -> Result<bool, ObjectError> {
        let head = self
            .client
            .head_object()
            .bucket(&self.place.bucket)
            .key(key)
            .send()
            .await
            .map_err(|error| self.own(&error, key));
        let head = match head {
            Ok(head) => head,
            Err(ObjectError::Missing(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let length = head
            .content_length()
            .and_then(|length| u64::try_from(length).ok());
        let compared = head.metadata().and_then(|all| all.get(DIGEST));
        Ok(length == Some(declared.size.0) && compared == Some(&declared.sha256.to_hex()))
    }

    /// Has S3 copy, and say what it copied. False where it does not say that it is the
    /// declared bytes: the copy is taken away again.
    async fn copy(
        &self,
        key: &str,
        [bucket, from, version]: [&str; 3],
        declared: Declared,
    ) -> Result<bool, ObjectError> {
        let answer = self
            .client
            .copy_object()
            .copy_source(copy_source([bucket, from, version]))
            .bucket(&self.place.bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .metadata_directive(MetadataDirective::Replace)
            // Copying tags would need rights on the tags of sources.
            .tagging_directive(TaggingDirective::Replace)
            .metadata(DIGEST, declared.sha256.to_hex())
            .send()
            .await
            .map_err(|error| explain(&error, bucket, from, Some(version)))?;
        let said = answer
            .copy_object_result()
            .and_then(|result| result.checksum_sha256())
            .and_then(whole_object_digest);
        if said == Some(declared.sha256) {
            return Ok(true);
        }
        tracing::debug!(key, "the store does not say what it copied");
        self.client
            .delete_object()
            .bucket(&self.place.bucket)
            .key(key)
            .send()
            .await
            .map_err(|error| self.own(&error, key))?;
        Ok(false)
    }

    /// Has S3 copy part by part, and hashes the whole meanwhile; completes only what was
    /// declared.
    async fn transfer(
        &self,
        key: &str,
        source: [&str; 3],
        declared: Declared,
    ) -> Result<(), ObjectError> {
        let upload = self
            .client
            .create_multipart_upload()
            .bucket(&self.place.bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .metadata(DIGEST, declared.sha256.to_hex())
            .send()
            .await
            .map_err(|error| self.own(&error, key))?;
        let Some(upload) = upload.upload_id() else {
            return Err(ObjectError::Unavailable(
                "CreateMultipartUpload gave no id".to_owned(),
            ));
        };
        let both = try_join(
            self.copy_parts(key, upload, source, declared),
            self.check_bytes(source, declared),
        );
        let done = match tokio::time::timeout(MAX_TIME, both).await {
            Ok(Ok((parts, ()))) => self.complete(key, upload, parts).await,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ObjectError::Unavailable(format!(
                "s3://{}/{}: expected {} bytes read and copied within {} s, found them still \
                 under way; split the artifact, or upload it with a SHA-256 of the whole (up \
                 to 5 GiB)",
                source[0],
                source[1],
                declared.size.0,
                MAX_TIME.as_secs()
            ))),
        };
        if done.is_err() {
            // What stays is ended by the bucket's lifecycle.
            let aborted = self
                .client
                .abort_multipart_upload()
                .bucket(&self.place.bucket)
                .key(key)
                .upload_id(upload)
                .send()
                .await;
            if let Err(error) = aborted {
                tracing::warn!(key, error = %DisplayErrorContext(&error), "an upload stays unfinished");
            }
        }
        done
    }

    /// The parts of the copy, by number.
    async fn copy_parts(
        &self,
        key: &str,
        upload: &str,
        source: [&str; 3],
        declared: Declared,
    ) -> Result<Vec<CompletedPart>, ObjectError> {
        stream::iter((1..).zip(declared.parts()))
            .map(|(number, range)| self.copy_part(key, upload, number, source, range))
            .buffered(COPIES_AT_ONCE)
            .try_collect()
            .await
    }

    async fn copy_part(
        &self,
        key: &str,
        upload: &str,
        number: i32,
        source: [&str; 3],
        (from, to): (u64, u64),
    ) -> Result<CompletedPart, ObjectError> {
        let [bucket, name, version] = source;
        let answer = self
            .client
            .upload_part_copy()
            .bucket(&self.place.bucket)
            .key(key)
            .upload_id(upload)
            .part_number(number)
            .copy_source(copy_source(source))
            .copy_source_range(format!("bytes={from}-{}", to - 1))
            .send()
            .await
            .map_err(|error| explain(&error, bucket, name, Some(version)))?;
        let Some(part) = answer.copy_part_result else {
            return Err(ObjectError::Unavailable(
                "UploadPartCopy gave no part".to_owned(),
            ));
        };
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag)
            .set_checksum_sha256(part.checksum_sha256)
            .build())
    }

    /// Reads a version once, in order, and compares its digest.
    async fn check_bytes(&self, source: [&str; 3], declared: Declared) -> Result<(), ObjectError> {
        let mut fetched = stream::iter(declared.pieces())
            .map(|range| self.fetch(source, Some(range)))
            .buffered(READS_AT_ONCE);
        let mut digest = sha2::Sha256::new();
        while let Some(body) = fetched.try_next().await? {
            // Some milliseconds a piece, on a thread that may take them.
            let hashed = tokio::task::spawn_blocking(move || {
                digest.update(&body);
                digest
            });
            digest = hashed
                .await
                .map_err(|_| ObjectError::Unavailable("the process is closing".to_owned()))?;
        }
        declared.check_digest(Sha256(digest.finalize().into()))
    }

    async fn complete(
        &self,
        key: &str,
        upload: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<(), ObjectError> {
        self.client
            .complete_multipart_upload()
            .bucket(&self.place.bucket)
            .key(key)
            .upload_id(upload)
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts))
                    .build(),
            )
            .send()
            .await
            .map_err(|error| self.own(&error, key))?;
        Ok(())
    }

    /// Bytes of a source at its version: all, or from and to.
    async fn fetch(
        &self,
        [bucket, key, version]: [&str; 3],
        range: Option<(u64, u64)>,
    ) -> Result<bytes::Bytes, ObjectError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut object = self
                .client
                .get_object()
                .bucket(bucket)
                .key(key)
                .version_id(version)
                .set_range(range.map(|(from, to)| format!("bytes={from}-{}", to - 1)))
                .checksum_mode(ChecksumMode::Enabled)
                .send()
                .await
                .map_err(|error| explain(&error, bucket, key, Some(version)))?;
            // Never more in memory than asked for, whatever comes.
            let most = range.map_or(PART_BYTES, |(from, to)| to - from);
            let mut body = Vec::with_capacity(usize::try_from(most).unwrap_or(0).min(1 << 24));
            let broken = loop {
                match object.body.try_next().await {
                    Ok(Some(chunk)) if body.len() as u64 + chunk.len() as u64 > most => {
                        return Err(ObjectError::Mismatch {
                            what: "size",
                            expected: format!("at most {most} bytes of a part"),
                            found: format!("more from s3://{bucket}/{key}"),
                        });
                    }
                    Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                    Ok(None) => break None,
                    Err(error) => break Some(DisplayErrorContext(&error).to_string()),
                }
            };
            match broken {
                None => return Ok(body.into()),
                Some(error) if tries >= PART_TRIES => {
                    return Err(ObjectError::Unavailable(format!(
                        "s3://{bucket}/{key}: {error}"
                    )));
                }
                Some(error) => tracing::debug!(bucket, key, error, "a body broke off"),
            }
        }
    }
}

/// A version as `x-amz-copy-source` names it.
fn copy_source([bucket, key, version]: [&str; 3]) -> String {
    format!(
        "{bucket}/{}?versionId={}",
        percent_encoded(key),
        percent_encoded(version)
    )
}

/// As `x-amz-copy-source` wants it: all but letters, digits, `-._~` and `/` in hexadecimal.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(size: u64) -> Declared {
        Declared {
            size: Bytes(size),
            sha256: Sha256::EMPTY,
        }
    }

    fn joined(ranges: &[(u64, u64)], size: u64) {
        assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1), (0, size));
        assert!(
            ranges.windows(2).all(|pair| pair[0].1 == pair[1].0),
            "{size}"
        );
    }

    #[test]
    fn parts_join_up_and_are_never_too_many_or_too_small() {
        for size in [
            1,
            PART_BYTES - 1,
            PART_BYTES,
            PART_BYTES + 1,
            5 << 30,
            5 << 40,
        ] {
            let parts: Vec<_> = declared(size).parts().collect();
            assert!(parts.len() as u64 <= MAX_PARTS, "{size}");
            let full = &parts[..parts.len() - 1];
            assert!(
                full.iter().all(|(from, to)| to - from >= PART_BYTES),
                "{size}"
            );
            assert!(
                parts.iter().all(|(from, to)| to - from <= 5 << 30),
                "{size}"
            );
            joined(&parts, size);
            if size <= 5 << 30 {
                joined(&declared(size).pieces().collect::<Vec<_>>(), size);
            }
            assert!(declared(size).memory() <= MEMORY_MIB, "{size}");
        }
        assert_eq!(declared(0).parts().count(), 0);
    }

    #[test]
    fn keys_are_encoded_for_a_header() {
        assert_eq!(percent_encoded("a/b-1.0_x~"), "a/b-1.0_x~");
        assert_eq!(
            percent_encoded("größe 1+%?#"),
            "gr%C3%B6%C3%9Fe%201%2B%25%3F%23"
        );
    }
}
