//! What is kept of buckets, keys and uploads.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sums::{Algorithm, Sums};

/// Whether a bucket keeps what is overwritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Versioning {
    /// It never did.
    #[default]
    Off,
    Enabled,
    /// It did: old versions stay, and new ones are all called `null`.
    Suspended,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BucketRecord {
    pub(crate) made: Timestamp,
    #[serde(default)]
    pub(crate) versioning: Versioning,
}

/// A bucket as it is in memory: all of its keys.
pub(crate) struct Bucket {
    pub(crate) record: BucketRecord,
    /// Versions of each key, the newest first; a key without any is not here.
    pub(crate) keys: BTreeMap<String, Vec<Version>>,
}

/// A key as it is on disk.
#[derive(Serialize, Deserialize)]
pub(super) struct KeyRecord {
    pub(super) key: String,
    pub(super) versions: Vec<Version>,
}

/// A version of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Version {
    /// `null` where the bucket kept no versions when it was written.
    pub(crate) id: String,
    pub(crate) modified: Timestamp,
    /// None: a delete marker.
    pub(crate) content: Option<Content>,
}

/// Where bytes are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub(crate) id: String,
    /// The bytes themselves, where there is no disk.
    #[serde(skip)]
    pub(crate) memory: Option<Bytes>,
}

/// The bytes of a version and what is said with them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) blob: Blob,
    pub(crate) size: u64,
    /// Without quotation marks.
    pub(crate) tag: String,
    pub(crate) sums: Sums,
    #[serde(flatten)]
    pub(crate) said: Said,
}

/// What the client says of an object's bytes, and gets back with them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Said {
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) content_type: Option<String>,
    #[serde(default)]
    pub(crate) content_encoding: Option<String>,
    #[serde(default)]
    pub(crate) content_disposition: Option<String>,
    #[serde(default)]
    pub(crate) content_language: Option<String>,
    #[serde(default)]
    pub(crate) cache_control: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UploadRecord {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) begun: Timestamp,
    pub(crate) said: Said,
    /// What the client asked for; where it did not, the whole gets a CRC64NVME.
    pub(crate) algorithm: Option<Algorithm>,
    /// Of the whole object, rather than of the parts' checksums.
    pub(crate) is_whole: bool,
}

/// An upload as it is in memory: with its parts.
pub(crate) struct Upload {
    pub(crate) record: UploadRecord,
    pub(crate) parts: BTreeMap<u32, Part>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) blob: Blob,
    pub(crate) size: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) sums: Sums,
    pub(crate) modified: Timestamp,
}
