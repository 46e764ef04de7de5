//! Pinning: the bytes of a version, as declared or not at all.
//!
//! Where S3 itself knows the source's SHA-256, it copies within S3 and says the copy's.
//! Else the bytes come through here and are hashed on the way: an upload that got a CRC, or
//! came in parts, has no SHA-256 of the whole. Either way the object gets its name only
//! with the right bytes, and says in its metadata which digest was compared.

use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, MetadataDirective,
};
use control::ports::ObjectError;
use futures::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use model::{Bytes, Sha256};
use sha2::Digest as _;

use super::{MEMORY_MIB, S3Objects};
use crate::s3::{explain, whole_object_digest};

/// The metadata that says which SHA-256 was compared.
pub(super) const DIGEST: &str = "sha256";
/// The largest object that CopyObject copies (API reference: 5 GB).
const MAX_COPY_BYTES: u64 = 5 << 30;
/// Objects up to this size are put whole, larger ones in parts of at least this size. A
/// part lost is that much done again; S3's least is 5 MiB, and the time to ask for one is
/// long gone at 16.
const PART_BYTES: u64 = 16 << 20;
/// The most parts of an upload (user guide, *Multipart upload limits*).
const MAX_PARTS: u64 = 10_000;
/// Parts under way in each direction. One stream from S3 gives some 80 MB/s; three fill
/// the network of a function.
const PARTS_AT_ONCE: usize = 3;
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

    /// Bytes from and to (the latter not included) of each part.
    fn parts(self) -> impl Iterator<Item = (u64, u64)> {
        let size = self.size.0;
        let part = size.div_ceil(MAX_PARTS).max(PART_BYTES);
        (0..size.div_ceil(part)).map(move |n| (n * part, size.min((n + 1) * part)))
    }

    /// What holding its parts takes, in MiB.
    fn memory(self) -> u32 {
        let part = self.parts().next().map_or(0, |(from, to)| to - from);
        let parts = if self.size.0 <= PART_BYTES {
            1
        } else {
            2 * PARTS_AT_ONCE as u64 + 1
        };
        let mib = (part * parts).div_ceil(1 << 20).max(1);
        u32::try_from(mib).unwrap_or(MEMORY_MIB).min(MEMORY_MIB)
    }
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
            return self.put(key, body, declared.sha256).await;
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
            .copy_source(format!(
                "{bucket}/{}?versionId={}",
                percent_encoded(from),
                percent_encoded(version)
            ))
            .bucket(&self.place.bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .metadata_directive(MetadataDirective::Replace)
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

    /// Copies part by part, hashing the whole in order; completes only what was declared.
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
        let parts = self.parts(key, upload, source, declared).await;
        let done = match parts {
            Ok(parts) => self.complete(key, upload, parts).await,
            Err(error) => Err(error),
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

    async fn parts(
        &self,
        key: &str,
        upload: &str,
        source: [&str; 3],
        declared: Declared,
    ) -> Result<Vec<CompletedPart>, ObjectError> {
        let mut fetched = stream::iter(declared.parts())
            .map(|range| self.fetch(source, Some(range)))
            .buffered(PARTS_AT_ONCE);
        let mut digest = sha2::Sha256::new();
        let mut sending = FuturesUnordered::new();
        let mut sent = Vec::new();
        let mut number = 0;
        while let Some(body) = fetched.try_next().await? {
            number += 1;
            // Some milliseconds a part, on a thread that may take them.
            let hashed = tokio::task::spawn_blocking({
                let body = body.clone();
                move || {
                    digest.update(&body);
                    digest
                }
            });
            digest = hashed
                .await
                .map_err(|_| ObjectError::Unavailable("the process is closing".to_owned()))?;
            if sending.len() >= PARTS_AT_ONCE
                && let Some(part) = sending.next().await
            {
                sent.push(part?);
            }
            sending.push(self.send(key, upload, number, body));
        }
        while let Some(part) = sending.next().await {
            sent.push(part?);
        }
        declared.check_digest(Sha256(digest.finalize().into()))?;
        sent.sort_unstable_by_key(CompletedPart::part_number);
        Ok(sent)
    }

    async fn send(
        &self,
        key: &str,
        upload: &str,
        number: i32,
        body: bytes::Bytes,
    ) -> Result<CompletedPart, ObjectError> {
        let answer = self
            .client
            .upload_part()
            .bucket(&self.place.bucket)
            .key(key)
            .upload_id(upload)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .body(body.into())
            .send()
            .await
            .map_err(|error| self.own(&error, key))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_sha256(answer.checksum_sha256)
            .build())
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
            assert_eq!((parts[0].0, parts[parts.len() - 1].1), (0, size));
            assert!(
                parts.windows(2).all(|pair| pair[0].1 == pair[1].0),
                "{size}"
            );
            let full = &parts[..parts.len() - 1];
            assert!(
                full.iter().all(|(from, to)| to - from >= PART_BYTES),
                "{size}"
            );
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
