//! The MANIFEST of a placement: what stands on the tape in clear, and what is sealed.

use jiff::Timestamp;
use model::{
    Barcode, Bytes, CheckpointId, CopyNo, Fence, GroupId, Placement, RecordNo, RunId,
    SegmentExtent, SegmentNo, Sha256, VolumeUuid, WorkKey,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest;

use crate::{FORMAT_VERSION, MAX_MEMBER_BYTES, MAX_MEMBER_NAME_BYTES, RECORD_BYTES, tar};

/// The name of the clear part in the manifest segment; its first member.
pub const MANIFEST_NAME: &str = "MANIFEST.json";

/// The name of the sealed part in the manifest segment; its second member. The suffixes tell
/// how to open it: `age -d`, then `zstd -d`.
pub const SEALED_NAME: &str = "MANIFEST.sealed.json.zst.age";

/// What `format` says in the clear part.
pub(crate) const MANIFEST_FORMAT: &str = "tapemark/manifest";

/// The clear part, `MANIFEST.json`: enough to rebuild the map of a volume without keys. It
/// tells sizes, counts, ids and content digests; never a service's or an artifact's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `tapemark/manifest`.
    pub format: String,
    /// The format's version, 1.
    pub version: u32,
    /// The volume's identity, as its label says it.
    pub volume_uuid: VolumeUuid,
    /// The volume's barcode, as its label says it.
    pub barcode: Barcode,
    /// The fence of the session that wrote it; never goes down along a volume.
    pub fence: Fence,
    /// Its number on the volume, from 0.
    pub ordinal: u64,
    /// The manifest before it in the volume's chain.
    pub previous: Option<Link>,
    /// Bytes in records on the volume before this placement's first record, at most.
    pub used_before: Bytes,
    /// When the manifest was written.
    pub written_at: Timestamp,
    /// What was written.
    #[serde(flatten)]
    pub head: PlacementHead,
    /// The digest over `work::part_text` of this part's artifacts.
    pub part_content: Sha256,
    /// How many artifact ranges the part has.
    pub artifacts: u32,
    /// Their lengths' sum.
    pub content_bytes: Bytes,
    /// The data segments, without the manifest's own.
    pub segments: Vec<Segment>,
    /// The members of the data segments, in the order of the tape.
    pub members: Vec<Member>,
    /// The sealed part.
    pub sealed: SealedRef,
}

/// The predecessor in a volume's chain of manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The digest of its `MANIFEST.json`.
    pub manifest: Sha256,
    /// The first record of its manifest segment.
    pub first: RecordNo,
}

/// What a placement is of: the part of a write order that may stand in clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementHead {
    /// The work item.
    pub work: WorkKey,
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// Its group.
    pub group: GroupId,
    /// Its place in the group, from 0.
    pub group_index: u32,
    /// How many members the group has.
    pub group_size: u32,
    /// The run.
    pub run: RunId,
    /// Which copy, from 1.
    pub copy: CopyNo,
    /// Which part, from 0.
    pub part: u32,
    /// How many parts.
    pub parts: u32,
    /// The content digest of the whole checkpoint: SHA-256 of [`model::Artifact::content_text`].
    pub content: Sha256,
    /// When it was submitted; the modification time of every member.
    pub submitted_at: Timestamp,
}

impl PlacementHead {
    /// The head of a write order.
    pub fn of(order: &model::work::WriteOrder, work: &WorkKey) -> Self {
        Self {
            work: work.clone(),
            checkpoint: order.checkpoint,
            group: order.group,
            group_index: order.group_index,
            group_size: order.group_size,
            run: order.run.clone(),
            copy: order.copy,
            part: order.part,
            parts: order.parts,
            content: order.content,
            submitted_at: order.submitted_at,
        }
    }
}

/// A data segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Where it lies.
    #[serde(flatten)]
    pub extent: SegmentExtent,
    /// The CRC-32C of each record, in order.
    pub crc32c: Crc32cTable,
}

/// CRC-32C (Castagnoli, RFC 3720 B.4) of each record of a segment; as text 8 lower-case
/// hexadecimal digits a record, without separators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crc32cTable(pub Vec<u32>);

impl Serialize for Crc32cTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(self.0.len() * 8);
        for crc in &self.0 {
            write!(text, "{crc:08x}").map_err(serde::ser::Error::custom)?;
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Crc32cTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = hex::decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        if bytes.len() % 4 != 0 {
            return Err(serde::de::Error::custom("expected 8 digits a record"));
        }
        Ok(Self(
            bytes
                .chunks_exact(4)
                .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        ))
    }
}

/// What a member holds when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    /// A piece of one artifact's bytes.
    Artifact,
    /// A pax tar of small artifacts.
    Bundle,
}

/// A member of a data segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name in the tar.
    pub name: String,
    /// What it holds.
    pub kind: MemberKind,
    /// The segment it is in. A member never crosses segments.
    pub segment: SegmentNo,
    /// The record of that segment, from 0, in which its tar header begins.
    pub record: u64,
    /// The byte of that record at which its tar header begins; a multiple of 512. Its stored
    /// bytes begin 512 bytes later.
    pub offset: u32,
    /// How many bytes are stored.
    pub size: Bytes,
    /// The digest of the stored bytes.
    pub sha256: Sha256,
}

impl Member {
    /// The byte of its segment at which its tar header begins.
    pub const fn header_at(&self) -> u64 {
        self.record * RECORD_BYTES as u64 + self.offset as u64
    }
}

/// The sealed part as the clear part names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedRef {
    /// Its name in the manifest segment.
    pub name: String,
    /// Its stored size.
    pub size: Bytes,
    /// The digest of the stored bytes.
    pub sha256: Sha256,
}

impl Manifest {
    /// Reads a clear part and checks everything that can be checked without the tape.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let check = |what: &str, ok: bool| ok.then_some(()).ok_or_else(|| what.to_owned());
        check(
            "format is not tapemark/manifest",
            self.format == MANIFEST_FORMAT,
        )?;
        check("version is not 1", self.version == FORMAT_VERSION)?;
        check("part is not below parts", self.head.part < self.head.parts)?;
        check(
            "group_index is not below group_size",
            self.head.group_index < self.head.group_size,
        )?;
        check(
            "only the first manifest has no predecessor",
            self.previous.is_none() == (self.ordinal == 0),
        )?;
        for (at, segment) in self.segments.iter().enumerate() {
            let extent = &segment.extent;
            check(
                "segments are not numbered from 0",
                extent.no.0 as usize == at,
            )?;
            check(
                "bytes do not fit the records",
                records_of(extent.bytes) == extent.records,
            )?;
            check(
                "a segment is no tar",
                extent.bytes.0 >= 1024 && extent.bytes.0 % 512 == 0,
            )?;
            check(
                "not one CRC a record",
                segment.crc32c.0.len() as u64 == extent.records,
            )?;
            let next = extent
                .first
                .0
                .checked_add(extent.records + 1)
                .ok_or("a record number is out of range")?;
            if let Some(after) = self.segments.get(at + 1) {
                check(
                    "segments do not follow one another",
                    after.extent.first.0 == next,
                )?;
            }
        }
        let mut last = (0, 0);
        for member in &self.members {
            let segment = self
                .segments
                .get(member.segment.0 as usize)
                .ok_or("a member's segment is not in the list")?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            check(
                "a member's name is not 1 to 99 of A-Z a-z 0-9 - . _",
                (1..=MAX_MEMBER_NAME_BYTES).contains(&member.name.len())
                    && member.name.chars().all(plain)
                    && !member.name.starts_with('.'),
            )?;
            check("a member is too large", member.size.0 <= MAX_MEMBER_BYTES.0)?;
            check(
                "a member does not begin at a tar block",
                member.offset % 512 == 0 && (member.offset as usize) < RECORD_BYTES,
            )?;
            let start = member
                .record
                .checked_mul(RECORD_BYTES as u64)
                .and_then(|at| at.checked_add(u64::from(member.offset)))
                .ok_or("a member's record is out of range")?;
            check(
                "members overlap or are out of order",
                (member.segment.0, start) >= last,
            )?;
            let end = start
                .checked_add(512 + member.size.0 + tar::padding(member.size.0) as u64)
                .ok_or("a member's record is out of range")?;
            check("a member leaves its segment", end <= segment.extent.bytes.0)?;
            last = (member.segment.0, end);
        }
        Ok(())
    }

    /// The first record of the placement: of its first data segment, or of the manifest segment
    /// at `manifest_at` where it has none.
    pub fn first_record(&self, manifest_at: RecordNo) -> RecordNo {
        self.segments
            .first()
            .map_or(manifest_at, |s| s.extent.first)
    }

    /// Where the manifest segment must begin: behind the filemark of the last data segment.
    pub fn follows(&self) -> Option<RecordNo> {
        self.segments
            .last()
            .map(|s| RecordNo(s.extent.first.0 + s.extent.records + 1))
    }

    /// The bytes of the data segments.
    pub fn data_bytes(&self) -> Bytes {
        self.segments.iter().map(|s| s.extent.bytes).sum()
    }

    /// The placement that this manifest and the extent of its own segment tell of.
    pub fn placement(&self, digest: Sha256, own: SegmentExtent) -> Placement {
        let mut segments: Vec<_> = self.segments.iter().map(|s| s.extent.clone()).collect();
        segments.push(own);
        Placement {
            work: self.head.work.clone(),
            checkpoint: self.head.checkpoint,
            copy: self.head.copy,
            part: self.head.part,
            parts: self.head.parts,
            volume: self.barcode.clone(),
            volume_uuid: self.volume_uuid,
            fence: self.fence,
            segments,
            manifest: digest,
        }
    }
}

/// How many records `bytes` bytes take.
pub(crate) const fn records_of(bytes: Bytes) -> u64 {
    bytes.0.div_ceil(RECORD_BYTES as u64)
}

/// The SHA-256 of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}
