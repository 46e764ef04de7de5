//! Where a copy of a checkpoint lies on tape.

use serde::{Deserialize, Serialize};

use crate::{
    Barcode, Bytes, CheckpointId, CopyNo, Fence, RecordNo, SegmentNo, Sha256, VolumeUuid, WorkKey,
};

/// One segment: the records of one tar between two filemarks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentExtent {
    /// Its number in the placement. The manifest has the highest.
    pub no: SegmentNo,
    /// The object number of its first record.
    pub first: RecordNo,
    /// How many records, without the filemark.
    pub records: u64,
    /// How many bytes the records hold.
    pub bytes: Bytes,
    /// The digest of those bytes. The same on every copy and after migration.
    pub sha256: Sha256,
}

/// Where one part of one copy of a checkpoint lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The work item that wrote it.
    pub work: WorkKey,
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// Which copy.
    pub copy: CopyNo,
    /// Which part, from 0: a checkpoint larger than a volume has several.
    pub part: u32,
    /// How many parts.
    pub parts: u32,
    /// The volume.
    pub volume: Barcode,
    /// What its label says.
    pub volume_uuid: VolumeUuid,
    /// The fence under which it was written.
    pub fence: Fence,
    /// Its segments in order; the last one is the manifest.
    pub segments: Vec<SegmentExtent>,
    /// The digest of the manifest document: the next manifest on the volume names it.
    pub manifest: Sha256,
}

impl Placement {
    /// The object number of its first record, if it has a segment at all.
    pub fn first_record(&self) -> Option<RecordNo> {
        self.segments.first().map(|segment| segment.first)
    }

    /// The bytes it takes on tape.
    pub fn bytes(&self) -> Bytes {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}
