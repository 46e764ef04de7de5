//! Buckets, keys and versions: all of them in memory, every change first on the disk.
//!
//! One lock orders all changes, which is what makes conditions atomic. It is held while a
//! change reaches the disk, some milliseconds; bytes of objects move outside of it.

mod blob;
mod disk;
mod list;
mod record;
mod uploads;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use parking_lot::RwLock;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

pub(crate) use blob::{Opened, Pending};
use disk::Disk;
pub(crate) use list::{Versions, Wish};
use record::{Bucket, KeyRecord, Part, Upload, UploadRecord};
pub(crate) use record::{BucketRecord, Content, Said, Version, Versioning};
pub(crate) use uploads::{Asked, NamedPart};

use crate::sums::{Hashed, parts_tag};

/// The most buckets (S3: 10,000 an account).
const MAX_BUCKETS: usize = 1_000;
/// What versions are called where a bucket keeps none.
const NULL: &str = "null";

/// When a write may happen.
#[derive(Clone, Debug)]
pub(crate) enum Only {
    Always,
    /// `If-None-Match: *`
    IfAbsent,
    /// `If-Match: *`
    IfPresent,
    /// `If-Match: "tag"`
    IfTag(String),
}

impl Only {
    fn check(&self, current: Option<&Content>) -> S3Result<()> {
        let failed = || {
            s3_error!(
                PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold"
            )
        };
        match (self, current) {
            (Self::IfAbsent, Some(_)) => Err(failed()),
            (Self::IfPresent | Self::IfTag(_), None) => Err(s3_error!(NoSuchKey)),
            (Self::IfTag(tag), Some(content)) if *tag != content.tag => Err(failed()),
            _ => Ok(()),
        }
    }
}

/// What a delete did.
pub(crate) struct Deleted {
    /// The version that was deleted, or of the marker that was put.
    pub(crate) version: Option<String>,
    /// A marker was put, or the version was one.
    pub(crate) is_marker: bool,
}

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, Bucket>,
    uploads: BTreeMap<String, Upload>,
}

/// The store. Its calls block for as long as the disk takes.
pub(crate) struct Store {
    disk: Option<Disk>,
    state: RwLock<State>,
}

impl Store {
    pub(crate) fn memory() -> Self {
        Self {
            disk: None,
            state: RwLock::default(),
        }
    }

    /// Opens a directory, and removes what a crash left half done.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let disk = Disk::open(root)?;
        let state = load(&disk)?;
        let versions = state.buckets.values().flat_map(|bucket| {
            let all = bucket.keys.values().flatten();
            all.filter_map(|version| Some(version.content.as_ref()?.blob.id.clone()))
        });
        let uploads = state.uploads.values();
        let parts = uploads.flat_map(|upload| upload.parts.values().map(|p| p.blob.id.clone()));
        disk.keep_only(&versions.chain(parts).collect())?;
        Ok(Self {
            disk: Some(disk),
            state: RwLock::new(state),
        })
    }

    pub(crate) fn create_bucket(&self, name: &str) -> S3Result<()> {
        let mut state = self.state.write();
        if state.buckets.contains_key(name) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        // The name becomes one of a directory.
        if !s3s::path::check_bucket_name(name) {
            return Err(s3_error!(InvalidBucketName));
        }
        if state.buckets.len() >= MAX_BUCKETS {
            return Err(s3_error!(TooManyBuckets));
        }
        let record = BucketRecord {
            made: Timestamp::now(),
            versioning: Versioning::Off,
        };
        self.write(&Disk::bucket(name), &record)?;
        let keys = BTreeMap::new();
        state
            .buckets
            .insert(name.to_owned(), Bucket { record, keys });
        Ok(())
    }

    pub(crate) fn delete_bucket(&self, name: &str) -> S3Result<()> {
        let mut state = self.state.write();
        let is_empty = state.bucket(name)?.keys.is_empty();
        if !is_empty || state.uploads.values().any(|u| u.record.bucket == name) {
            return Err(s3_error!(BucketNotEmpty));
        }
        if let Some(disk) = &self.disk {
            disk.remove_around(&Disk::bucket(name)).map_err(internal)?;
        }
        state.buckets.remove(name);
        Ok(())
    }

    pub(crate) fn buckets(&self) -> Vec<(String, BucketRecord)> {
        let state = self.state.read();
        let all = state.buckets.iter();
        all.map(|(name, bucket)| (name.clone(), bucket.record.clone()))
            .collect()
    }

    pub(crate) fn bucket(&self, name: &str) -> S3Result<BucketRecord> {
        Ok(self.state.read().bucket(name)?.record.clone())
    }

    pub(crate) fn set_versioning(&self, name: &str, is_enabled: bool) -> S3Result<()> {
        let mut state = self.state.write();
        let bucket = state.bucket_mut(name)?;
        let record = BucketRecord {
            versioning: if is_enabled {
                Versioning::Enabled
            } else {
                Versioning::Suspended
            },
            ..bucket.record.clone()
        };
        self.write(&Disk::bucket(name), &record)?;
        bucket.record = record;
        Ok(())
    }

    /// Gives bytes a name, if the condition holds then.
    pub(crate) fn put(
        &self,
        [bucket, key]: [&str; 2],
        bytes: Pending,
        hashed: Hashed,
        said: Said,
        only: &Only,
    ) -> S3Result<Version> {
        let tag = hex::encode(hashed.md5);
        self.put_content([bucket, key], bytes, only, |blob| Content {
            blob,
            size: hashed.bytes,
            tag,
            sums: hashed.sums,
            said,
        })
    }

    fn put_content(
        &self,
        [bucket, key]: [&str; 2],
        bytes: Pending,
        only: &Only,
        content: impl FnOnce(record::Blob) -> Content,
    ) -> S3Result<Version> {
        let mut state = self.state.write();
        let found = state.bucket_mut(bucket)?;
        let current = found.keys.get(key).and_then(|all| all.first());
        only.check(current.and_then(|version| version.content.as_ref()))?;
        let is_versioned = found.record.versioning == Versioning::Enabled;
        let version = Version {
            id: match is_versioned {
                true => new_id()?,
                false => NULL.to_owned(),
            },
            modified: Timestamp::now(),
            content: Some(content(self.keep(bytes)?)),
        };
        let put = self.put_version(found, [bucket, key], version.clone());
        if put.is_err() {
            self.forget(version.content.as_ref().map(|content| &content.blob));
        }
        put.map(|()| version)
    }

    /// Puts a version in front, in place of one of the same name.
    fn put_version(
        &self,
        bucket: &mut Bucket,
        [name, key]: [&str; 2],
        version: Version,
    ) -> S3Result<()> {
        let mut versions = bucket.keys.get(key).cloned().unwrap_or_default();
        let replaced = versions
            .iter()
            .position(|other| other.id == version.id)
            .map(|at| versions.remove(at));
        versions.insert(0, version);
        self.set_versions(bucket, [name, key], versions)?;
        self.forget(
            replaced
                .as_ref()
                .and_then(|old| Some(&old.content.as_ref()?.blob)),
        );
        Ok(())
    }

    fn set_versions(
        &self,
        bucket: &mut Bucket,
        [name, key]: [&str; 2],
        versions: Vec<Version>,
    ) -> S3Result<()> {
        let path = Disk::key(name, key);
        if versions.is_empty() {
            if let Some(disk) = &self.disk {
                disk.remove(&path).map_err(internal)?;
            }
            bucket.keys.remove(key);
            return Ok(());
        }
        let record = KeyRecord {
            key: key.to_owned(),
            versions,
        };
        self.write(&path, &record)?;
        bucket.keys.insert(record.key, record.versions);
        Ok(())
    }

    /// Deletes a version; without one, puts a marker where the bucket keeps versions.
    pub(crate) fn delete(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        only: &Only,
    ) -> S3Result<Deleted> {
        let mut state = self.state.write();
        let found = state.bucket_mut(bucket)?;
        let mut versions = found.keys.get(key).cloned().unwrap_or_default();
        let current = versions
            .first()
            .and_then(|version| version.content.as_ref());
        only.check(current)?;
        let versioning = found.record.versioning;
        if version.is_none() && versioning != Versioning::Off {
            let marker = Version {
                id: match versioning {
                    Versioning::Enabled => new_id()?,
                    _ => NULL.to_owned(),
                },
                modified: Timestamp::now(),
                content: None,
            };
            let id = marker.id.clone();
            self.put_version(found, [bucket, key], marker)?;
            return Ok(Deleted {
                version: Some(id),
                is_marker: true,
            });
        }
        let id = version.unwrap_or(NULL);
        let removed = versions
            .iter()
            .position(|version| version.id == id)
            .map(|at| versions.remove(at));
        if let Some(removed) = &removed {
            self.set_versions(found, [bucket, key], versions)?;
            self.forget(removed.content.as_ref().map(|content| &content.blob));
        }
        Ok(Deleted {
            version: version.map(str::to_owned),
            is_marker: removed.is_some_and(|removed| removed.content.is_none()),
        })
    }

    /// A version, or the newest. That of a delete marker has no content.
    pub(crate) fn find(&self, bucket: &str, key: &str, id: Option<&str>) -> S3Result<Version> {
        self.state.read().version(bucket, key, id).cloned()
    }

    /// A version's content, with its bytes opened: they stay readable whatever becomes of
    /// the version.
    pub(crate) fn open_version(
        &self,
        bucket: &str,
        key: &str,
        id: Option<&str>,
    ) -> S3Result<(Version, Content, Opened)> {
        let state = self.state.read();
        let version = state.version(bucket, key, id)?.clone();
        let content = version.content.clone();
        let content = content.ok_or_else(|| gone(id.is_some()))?;
        let opened = self.open_blob(&content.blob).map_err(internal)?;
        Ok((version, content, opened))
    }

    fn write(&self, path: &Path, record: &impl serde::Serialize) -> S3Result<()> {
        match &self.disk {
            Some(disk) => disk.put(path, record).map_err(internal),
            None => Ok(()),
        }
    }
}

impl State {
    fn bucket(&self, name: &str) -> S3Result<&Bucket> {
        let bucket = self.buckets.get(name);
        bucket.ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    fn bucket_mut(&mut self, name: &str) -> S3Result<&mut Bucket> {
        let bucket = self.buckets.get_mut(name);
        bucket.ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    fn version(&self, bucket: &str, key: &str, id: Option<&str>) -> S3Result<&Version> {
        let versions = self.bucket(bucket)?.keys.get(key);
        let missing = || match id {
            None => s3_error!(NoSuchKey, "The specified key does not exist."),
            Some(_) => s3_error!(NoSuchVersion, "The specified version does not exist."),
        };
        let mut versions = versions.ok_or_else(missing)?.iter();
        match id {
            None => versions.next(),
            Some(id) => versions.find(|version| version.id == id),
        }
        .ok_or_else(missing)
    }
}

/// What asking for a delete marker gives.
pub(crate) fn gone(is_version: bool) -> S3Error {
    let mut headers = http::HeaderMap::new();
    headers.insert(
        "x-amz-delete-marker",
        http::HeaderValue::from_static("true"),
    );
    let mut error = match is_version {
        true => s3_error!(MethodNotAllowed),
        false => s3_error!(NoSuchKey, "The specified key does not exist."),
    };
    error.set_headers(headers);
    error
}

/// What went wrong here is said in the log, not to the client.
pub(crate) fn internal(error: io::Error) -> S3Error {
    tracing::error!(%error, "the object store");
    S3Error::with_source(S3ErrorCode::InternalError, Box::new(error))
}

/// 128 random bits: versions, uploads and blobs.
fn new_id() -> S3Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| internal(io::Error::other(error.to_string())))?;
    Ok(hex::encode(bytes))
}

fn load(disk: &Disk) -> io::Result<State> {
    let mut state = State::default();
    for name in disk.names("buckets")? {
        // Without a record it was on its way in or out.
        let Some(record) = disk.get(&Disk::bucket(&name))? else {
            continue;
        };
        let mut keys = BTreeMap::new();
        let folder = format!("buckets/{name}/keys");
        for file in disk.names(&folder)? {
            if let Some(found) = disk.get::<KeyRecord>(&Path::new(&folder).join(file))? {
                keys.insert(found.key, found.versions);
            }
        }
        state.buckets.insert(name, Bucket { record, keys });
    }
    for id in disk.names("uploads")? {
        let Some(record) = disk.get::<UploadRecord>(&Disk::upload(&id))? else {
            continue;
        };
        let mut parts = BTreeMap::<u32, Part>::new();
        for file in disk.names(&format!("uploads/{id}"))? {
            let number = file.strip_suffix(".json").and_then(|n| n.parse().ok());
            if let Some(number) = number
                && let Some(part) = disk.get(&Disk::part(&id, number))?
            {
                parts.insert(number, part);
            }
        }
        state.uploads.insert(id, Upload { record, parts });
    }
    Ok(state)
}
