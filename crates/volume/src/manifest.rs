//! The MANIFEST of a placement: what stands on the tape in clear, and what is sealed.

use jiff::Timestamp;
use model::{
    Artifact, ArtifactName, ArtifactSource, Barcode, Bytes, CheckpointId, CopyNo, Fence, GroupId,
    Placement, RecordNo, RunId, SegmentExtent, SegmentNo, ServiceName, Sha256, Version, VolumeUuid,
    WorkKey,
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

/// What `format` says in the sealed part.
pub(crate) const SEALED_FORMAT: &str = "tapemark/sealed";

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
    /// The content digest of the whole checkpoint: SHA-256 of [`Artifact::content_text`].
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

/// The sealed part, once opened: names and sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// `tapemark/sealed`.
    pub format: String,
    /// The format's version, 1.
    pub version: u32,
    /// The checkpoint, so that a sealed part cannot be put under another manifest.
    pub checkpoint: CheckpointId,
    /// The service.
    pub service: ServiceName,
    /// The version of the service.
    pub service_version: Version,
    /// The checkpoint it follows.
    pub parent: Option<CheckpointId>,
    /// The artifact ranges of this part, in the order of the checkpoint's list.
    pub artifacts: Vec<SealedArtifact>,
}

/// An artifact range in the sealed part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedArtifact {
    /// The artifact's index in the checkpoint's list.
    pub index: u32,
    /// Its name.
    pub name: ArtifactName,
    /// Where the submitter had it.
    pub source: ArtifactSource,
    /// Its whole size.
    pub size: Bytes,
    /// The digest of the whole.
    pub sha256: Sha256,
    /// Where the range begins in the artifact.
    pub offset: Bytes,
    /// How long the range is.
    pub length: Bytes,
    /// The digest of the range's bytes, as read when it was written. Equal to `sha256` where
    /// the range is the whole artifact.
    pub range_sha256: Sha256,
    /// The index, in the clear part's list, of the (first) member that holds it.
    pub member: u32,
    /// How many members hold it, one after the other in the list.
    pub members: u32,
    /// Where its bytes begin in the opened member: in a bundle the byte of the inner tar,
    /// otherwise 0.
    pub at: Bytes,
}

impl SealedArtifact {
    /// True where the range is the whole artifact.
    pub fn is_whole(&self) -> bool {
        self.offset == Bytes::ZERO && self.length == self.size
    }

    /// The range in the model's words.
    pub const fn range(&self) -> model::ArtifactRange {
        model::ArtifactRange {
            artifact: self.index,
            offset: self.offset,
            length: self.length,
        }
    }

    /// The artifact in the model's words.
    pub fn artifact(&self) -> Artifact {
        Artifact {
            name: self.name.clone(),
            source: self.source.clone(),
            size: self.size,
            sha256: self.sha256,
        }
    }
}

impl Sealed {
    /// An empty sealed part of this version of the format.
    pub fn new(
        checkpoint: CheckpointId,
        service: ServiceName,
        service_version: Version,
        parent: Option<CheckpointId>,
    ) -> Self {
        Self {
            format: SEALED_FORMAT.to_owned(),
            version: FORMAT_VERSION,
            checkpoint,
            service,
            service_version,
            parent,
            artifacts: Vec::new(),
        }
    }

    /// The sealed part as JSON, with one artifact a line, so that a line editor can take names
    /// out of it.
    ///
    /// # Errors
    /// None in practice: [`crate::VolumeError::Damaged`] where it cannot be put into JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, crate::VolumeError> {
        let failed =
            |error: serde_json::Error| crate::VolumeError::Damaged(format!("sealed part: {error}"));
        let head = Self {
            format: self.format.clone(),
            service: self.service.clone(),
            service_version: self.service_version.clone(),
            artifacts: Vec::new(),
            ..*self
        };
        let mut json = serde_json::to_vec(&head).map_err(failed)?;
        // `artifacts` is the last field: the text ends with `[]}`.
        json.truncate(json.len().saturating_sub(2));
        for (at, artifact) in self.artifacts.iter().enumerate() {
            json.extend_from_slice(if at == 0 { b"\n" } else { b",\n" });
            serde_json::to_writer(&mut json, artifact).map_err(failed)?;
        }
        json.extend_from_slice(b"\n]}\n");
        Ok(json)
    }

    /// SHA-256 of `work::part_text` of the ranges.
    pub fn part_content(&self) -> Sha256 {
        let text = model::work::part_text(
            self.artifacts
                .iter()
                .map(|a| (&a.name, a.sha256, a.size, a.range())),
        );
        digest(text.as_bytes())
    }

    /// Reads a sealed part and checks it against the clear part.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(json: &[u8], manifest: &Manifest) -> Result<Self, String> {
        let sealed: Self = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        let check = |what: &str, ok: bool| ok.then_some(()).ok_or_else(|| what.to_owned());
        check(
            "format is not tapemark/sealed",
            sealed.format == SEALED_FORMAT,
        )?;
        check("version is not 1", sealed.version == FORMAT_VERSION)?;
        check(
            "the sealed part is of another checkpoint",
            sealed.checkpoint == manifest.head.checkpoint,
        )?;
        check(
            "the sealed part has another number of artifacts",
            sealed.artifacts.len() == manifest.artifacts as usize,
        )?;
        check(
            "the sealed part lists other artifacts",
            sealed.part_content() == manifest.part_content,
        )?;
        for artifact in &sealed.artifacts {
            let first = artifact.member as usize;
            let members = first
                .checked_add(artifact.members as usize)
                .and_then(|end| manifest.members.get(first..end))
                .filter(|members| !members.is_empty())
                .ok_or("an artifact's members are not in the list")?;
            let bundled = members[0].kind == MemberKind::Bundle;
            check(
                "a bundled artifact lies in one member, another begins at byte 0",
                if bundled {
                    members.len() == 1
                } else {
                    artifact.at == Bytes::ZERO
                        && members.iter().all(|m| m.kind == MemberKind::Artifact)
                },
            )?;
            check(
                "a range leaves its artifact",
                artifact
                    .offset
                    .0
                    .checked_add(artifact.length.0)
                    .is_some_and(|end| end <= artifact.size.0),
            )?;
        }
        Ok(sealed)
    }
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
