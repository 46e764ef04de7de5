//! Uploads in parts.

use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;
use s3s::{S3Result, s3_error};

use super::disk::Disk;
use super::{
    Content, Only, Part, Pending, Said, Store, Upload, UploadRecord, Version, internal, new_id,
    parts_tag,
};
use crate::sums::{Algorithm, Hashed, Sums, composite};

/// The most parts (user guide, *Multipart upload limits*).
const MAX_PARTS: u32 = 10_000;
/// The least bytes of a part that is not the last.
const MIN_PART_BYTES: u64 = 5 << 20;
/// The most uploads that are not complete. S3 has no limit; here all are in memory.
const MAX_UPLOADS: usize = 1_000;

/// What a client says about a part when it completes an upload.
pub(crate) struct NamedPart {
    pub(crate) number: u32,
    pub(crate) tag: Option<String>,
    pub(crate) sums: Sums,
}

/// What a client says about the whole when it completes an upload.
pub(crate) struct Asked {
    pub(crate) parts: Vec<NamedPart>,
    pub(crate) sums: Sums,
    pub(crate) size: Option<u64>,
    pub(crate) only: Only,
}

impl Store {
    pub(crate) fn begin(
        &self,
        [bucket, key]: [&str; 2],
        said: Said,
        algorithm: Option<Algorithm>,
        is_whole: bool,
    ) -> S3Result<String> {
        let mut state = self.state.write();
        state.bucket(bucket)?;
        if state.uploads.len() >= MAX_UPLOADS {
            return Err(s3_error!(
                SlowDown,
                "{MAX_UPLOADS} uploads are not complete; complete or abort some"
            ));
        }
        let record = UploadRecord {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            begun: Timestamp::now(),
            said,
            algorithm,
            is_whole,
        };
        let id = new_id()?;
        self.write(&Disk::upload(&id), &record)?;
        let parts = BTreeMap::new();
        state.uploads.insert(id.clone(), Upload { record, parts });
        Ok(id)
    }

    /// What an upload wants computed of each part.
    pub(crate) fn part_algorithm(
        &self,
        [bucket, key, id]: [&str; 3],
    ) -> S3Result<Option<Algorithm>> {
        let state = self.state.read();
        Ok(upload(&state.uploads, [bucket, key, id])?.record.algorithm)
    }

    pub(crate) fn put_part(
        &self,
        [bucket, key, id]: [&str; 3],
        number: i32,
        bytes: Pending,
        hashed: Hashed,
    ) -> S3Result<()> {
        let number = u32::try_from(number)
            .ok()
            .filter(|number| (1..=MAX_PARTS).contains(number))
            .ok_or_else(|| {
                s3_error!(
                    InvalidArgument,
                    "Part number must be an integer between 1 and 10000, inclusive"
                )
            })?;
        let mut state = self.state.write();
        upload(&state.uploads, [bucket, key, id])?;
        let part = Part {
            blob: self.keep(bytes)?,
            size: hashed.bytes,
            md5: hashed.md5,
            sums: hashed.sums,
            modified: Timestamp::now(),
        };
        if let Err(error) = self.write(&Disk::part(id, number), &part) {
            self.forget(Some(&part.blob));
            return Err(error);
        }
        let upload = state.uploads.get_mut(id);
        let replaced = upload.and_then(|upload| upload.parts.insert(number, part));
        self.forget(replaced.as_ref().map(|part| &part.blob));
        Ok(())
    }

    /// Parts with their numbers, in order, and what the upload computes.
    pub(crate) fn parts(&self, at: [&str; 3]) -> S3Result<Vec<(u32, Part)>> {
        let state = self.state.read();
        let parts = &upload(&state.uploads, at)?.parts;
        Ok(parts.iter().map(|(n, part)| (*n, part.clone())).collect())
    }

    /// Uploads to a bucket whose keys have a prefix: key, id, beginning; in this order.
    pub(crate) fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
    ) -> S3Result<Vec<(String, String, Timestamp)>> {
        let state = self.state.read();
        state.bucket(bucket)?;
        let here = state.uploads.iter().filter(|(_, upload)| {
            upload.record.bucket == bucket && upload.record.key.starts_with(prefix)
        });
        let mut found: Vec<_> = here
            .map(|(id, upload)| (upload.record.key.clone(), id.clone(), upload.record.begun))
            .collect();
        found.sort();
        Ok(found)
    }

    pub(crate) fn abort(&self, at: [&str; 3]) -> S3Result<()> {
        let mut state = self.state.write();
        upload(&state.uploads, at)?;
        self.drop_record(at[2])?;
        if let Some(upload) = state.uploads.remove(at[2]) {
            self.forget_parts(&upload);
        }
        Ok(())
    }

    /// Joins the named parts. Said again after it was done, it answers the same: a client
    /// that lost the answer asks again.
    pub(crate) fn complete(&self, at: [&str; 3], asked: &Asked) -> S3Result<Version> {
        let [bucket, key, id] = at;
        // Out of the way of other requests, which find no such upload meanwhile.
        let taken = {
            let mut state = self.state.write();
            match upload(&state.uploads, at) {
                Ok(_) => state.uploads.remove(id),
                Err(error) => {
                    let done = state.version(bucket, key, None).ok();
                    return match done.filter(|version| was_made_of(version, &asked.parts)) {
                        Some(version) => Ok(version.clone()),
                        None => Err(error),
                    };
                }
            }
        };
        let Some(upload) = taken else {
            return Err(s3_error!(NoSuchUpload));
        };
        match self.join(bucket, key, &upload, asked) {
            Ok(version) => {
                // A record that stays is one of an upload that can be aborted.
                if let Err(error) = self.drop_record(id) {
                    tracing::warn!(id, ?error, "an upload stays though it is complete");
                }
                self.forget_parts(&upload);
                Ok(version)
            }
            Err(error) => {
                self.state.write().uploads.insert(id.to_owned(), upload);
                Err(error)
            }
        }
    }

    fn join(&self, bucket: &str, key: &str, upload: &Upload, asked: &Asked) -> S3Result<Version> {
        let parts = named(upload, &asked.parts)?;
        let record = &upload.record;
        let algorithm = record.algorithm.unwrap_or(Algorithm::Crc64Nvme);
        let is_whole = record.is_whole || record.algorithm.is_none();
        let wanted: &[Algorithm] = if is_whole { &[algorithm] } else { &[] };
        let sources = parts.iter().map(|part| {
            let opened = self.open_blob(&part.blob).map_err(internal)?;
            Ok((opened, 0..part.size))
        });
        let (bytes, hashed) = self.copy(sources, wanted)?;
        let mut sums = hashed.sums;
        if !is_whole {
            let of_parts: Option<Vec<_>> = parts
                .iter()
                .map(|part| part.sums.get(algorithm).cloned())
                .collect();
            let of_parts = of_parts
                .ok_or_else(|| s3_error!(InvalidPart, "a part without a {}", algorithm.name()))?;
            sums.set(algorithm, composite(algorithm, &of_parts)?);
            sums.composite = true;
        }
        sums.check(&asked.sums)?;
        if asked.size.is_some_and(|size| size != hashed.bytes) {
            return Err(s3_error!(
                InvalidRequest,
                "expected {:?} bytes, found {}",
                asked.size,
                hashed.bytes
            ));
        }
        let md5s: Vec<_> = parts.iter().map(|part| part.md5).collect();
        let said = record.said.clone();
        self.put_content([bucket, key], bytes, &asked.only, |blob| Content {
            blob,
            size: hashed.bytes,
            tag: parts_tag(&md5s),
            sums,
            said,
        })
    }

    fn drop_record(&self, id: &str) -> S3Result<()> {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        match disk.remove_around(&Disk::upload(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(internal(error)),
            _ => Ok(()),
        }
    }

    fn forget_parts(&self, upload: &Upload) {
        for part in upload.parts.values() {
            self.forget(Some(&part.blob));
        }
    }
}

fn upload<'a>(
    uploads: &'a BTreeMap<String, Upload>,
    [bucket, key, id]: [&str; 3],
) -> S3Result<&'a Upload> {
    uploads
        .get(id)
        .filter(|upload| upload.record.bucket == bucket && upload.record.key == key)
        .ok_or_else(|| s3_error!(NoSuchUpload, "The specified upload does not exist"))
}

/// The parts that a client names, as they are here, if it names them right.
fn named<'a>(upload: &'a Upload, asked: &[NamedPart]) -> S3Result<Vec<&'a Part>> {
    if asked.is_empty() {
        return Err(s3_error!(MalformedXML, "expected at least one part"));
    }
    if !asked.is_sorted_by(|a, b| a.number < b.number) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let last = asked.len() - 1;
    let parts = asked.iter().enumerate().map(|(at, named)| {
        let part = upload.parts.get(&named.number);
        let part = part.filter(|part| {
            let tag = named.tag.as_deref();
            tag.is_none_or(|tag| tag.trim_matches('"') == hex::encode(part.md5))
        });
        let part = part.ok_or_else(|| {
            s3_error!(
                InvalidPart,
                "part {} was not uploaded, or has another entity tag",
                named.number
            )
        })?;
        part.sums.check(&named.sums)?;
        if at < last && part.size < MIN_PART_BYTES {
            return Err(s3_error!(
                EntityTooSmall,
                "part {}: expected at least {MIN_PART_BYTES} bytes, found {}",
                named.number,
                part.size
            ));
        }
        Ok(part)
    });
    parts.collect()
}

/// True where a version's tag is that of just these parts.
fn was_made_of(version: &Version, parts: &[NamedPart]) -> bool {
    let md5s: Option<Vec<[u8; 16]>> = parts
        .iter()
        .map(|part| {
            let mut md5 = [0; 16];
            hex::decode_to_slice(part.tag.as_deref()?.trim_matches('"'), &mut md5).ok()?;
            Some(md5)
        })
        .collect();
    match (md5s, &version.content) {
        (Some(md5s), Some(content)) => content.tag == parts_tag(&md5s),
        _ => false,
    }
}
