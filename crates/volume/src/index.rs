//! The INDEX: a list of all manifests of a volume, written when it takes no more.

use jiff::Timestamp;
use model::{Barcode, Bytes, CheckpointId, CopyNo, Fence, GroupId, RecordNo, Sha256, VolumeUuid};
use serde::{Deserialize, Serialize};

use crate::FORMAT_VERSION;
use crate::error::VolumeError;
use crate::label::Label;
use crate::scan::ScanReport;

/// The name of the only member of an index segment.
pub const INDEX_NAME: &str = "INDEX.json";

/// The content of `INDEX.json`. A help for finding things: whoever has it not, or does not
/// believe it, goes over the tape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// `tapemark/index`.
    pub format: String,
    /// The format's version, 1.
    pub version: u32,
    /// The volume's identity.
    pub volume_uuid: VolumeUuid,
    /// The volume's barcode.
    pub barcode: Barcode,
    /// When it was written.
    pub written_at: Timestamp,
    /// Every manifest of the chain, in order.
    pub manifests: Vec<IndexEntry>,
}

/// A manifest in an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Its number on the volume.
    pub ordinal: u64,
    /// The first record of its placement.
    pub first: RecordNo,
    /// The first record of its own segment.
    pub manifest_at: RecordNo,
    /// The digest of its `MANIFEST.json`.
    pub manifest: Sha256,
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// Its group.
    pub group: GroupId,
    /// Which copy.
    pub copy: CopyNo,
    /// Which part, from 0.
    pub part: u32,
    /// How many parts.
    pub parts: u32,
    /// The fence under which it was written.
    pub fence: Fence,
    /// Bytes of its records, manifest included.
    pub bytes: Bytes,
}

impl Index {
    /// The index of what a scan found.
    pub fn of(label: &Label, report: &ScanReport, now: Timestamp) -> Self {
        Self {
            format: "tapemark/index".to_owned(),
            version: FORMAT_VERSION,
            volume_uuid: label.uuid,
            barcode: label.barcode.clone(),
            written_at: now,
            manifests: report
                .placements
                .iter()
                .map(|found| IndexEntry {
                    ordinal: found.ordinal,
                    first: found.placement.first_record().unwrap_or_default(),
                    manifest_at: found.manifest_at,
                    manifest: found.placement.manifest,
                    checkpoint: found.placement.checkpoint,
                    group: found.group,
                    copy: found.placement.copy,
                    part: found.placement.part,
                    parts: found.placement.parts,
                    fence: found.placement.fence,
                    bytes: found.placement.bytes(),
                })
                .collect(),
        }
    }

    /// The document as it stands on the tape.
    ///
    /// # Errors
    /// None in practice: [`VolumeError::Damaged`] where it cannot be put into JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, VolumeError> {
        serde_json::to_vec(self)
            .map_err(|error| VolumeError::Damaged(format!("{INDEX_NAME}: {error}")))
    }
}
