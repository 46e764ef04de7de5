//! Appending placements to a volume.

mod segment;

use jiff::Timestamp;
use model::{Bytes, Code, Fence, Placement, RecordNo, SegmentNo, Sha256, VolumePosition};

use crate::device::{RecordDevice, WriteOutcome};
use crate::error::VolumeError;
use crate::index::Index;
use crate::label::Label;
use crate::manifest::{
    Crc32cTable, Link, MANIFEST_FORMAT, MANIFEST_NAME, Manifest, Member, MemberKind, PlacementHead,
    SEALED_NAME, SealedRef, Segment, digest,
};
use crate::{FORMAT_VERSION, MAX_MEMBER_BYTES, MAX_MEMBER_NAME_BYTES, RECORD_BYTES, tar};
use segment::{OpenSegment, write_files};

/// The most bytes in the data segments of one placement. Its tables (CRC per record, one entry
/// a member) are held in memory until the manifest is written: about 50 MB at this size, 50 KB
/// at 1 GiB. Cut larger checkpoints into parts.
pub const MAX_PLACEMENT_BYTES: Bytes = Bytes::gib(1024);

/// How to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterOptions {
    /// The most bytes of a data segment, end of archive included; at least one member with
    /// its header must fit. The same on all copies, or their segments differ.
    pub segment_limit: Bytes,
}

impl Default for WriterOptions {
    /// 64 GiB: about 160 s at LTO-9 speed, and a filemark each costs nothing against that.
    fn default() -> Self {
        Self {
            segment_limit: Bytes::gib(64),
        }
    }
}

/// A volume at a proven end of data, open for appending. Made by [`VolumeWriter::append`].
///
/// After any device error it is unusable: nothing is ever written behind a failed write.
#[derive(Debug)]
pub struct VolumeWriter<D> {
    pub(crate) dev: D,
    pub(crate) label: Label,
    pub(crate) fence: Fence,
    pub(crate) options: WriterOptions,
    /// Where the next object goes, by our own count.
    pub(crate) next: RecordNo,
    pub(crate) last: Option<Link>,
    pub(crate) manifests: u64,
    pub(crate) used: Bytes,
    pub(crate) early_warning: bool,
    pub(crate) broken: Option<(Code, String)>,
    pub(crate) in_placement: bool,
    pub(crate) buffer: Vec<u8>,
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its index in the manifest's list.
    pub index: u32,
    /// True where the device has given warning of the end of the volume.
    pub early_warning: bool,
}

impl<D: RecordDevice> VolumeWriter<D> {
    /// The volume's label.
    pub const fn label(&self) -> &Label {
        &self.label
    }

    /// How it cuts.
    pub const fn options(&self) -> WriterOptions {
        self.options
    }

    /// The fence under which it writes.
    pub const fn fence(&self) -> Fence {
        self.fence
    }

    /// End of data by our own count: proven only by [`VolumeWriter::sync`].
    pub fn position(&self) -> VolumePosition {
        VolumePosition {
            next: self.next,
            last_manifest: self.last.map(|link| link.manifest),
            manifests: self.manifests,
        }
    }

    /// Bytes in records on the volume, at most (what a crash left is counted in full records).
    pub const fn used(&self) -> Bytes {
        self.used
    }

    /// True where the device has given warning of the end of the volume: finish the placement,
    /// take no further one.
    pub const fn early_warning(&self) -> bool {
        self.early_warning
    }

    /// Why nothing may be written any more, where that is so.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_ref().map(|(_, cause)| cause.as_str())
    }

    /// The device, for reading between placements, after [`VolumeWriter::sync`]. Whoever moves
    /// it must not write; the next placement goes back to end of data by itself.
    pub const fn device(&mut self) -> &mut D {
        &mut self.dev
    }

    /// Gives the device back.
    pub fn into_device(self) -> D {
        self.dev
    }

    /// Goes back to end of data after reading, and proves that it still is where it was.
    ///
    /// # Errors
    /// [`VolumeError::Position`] where end of data has moved, [`VolumeError::Unusable`] after an
    /// earlier failure, device errors. The writer is unusable afterwards.
    pub fn resume(&mut self) -> Result<(), VolumeError> {
        self.usable()?;
        let next = self.next;
        let proof = (|| {
            if self.dev.position()? != next {
                self.dev.locate(next)?;
            }
            let found = self.dev.position()?;
            if found == next {
                return Ok(());
            }
            Err(VolumeError::Position {
                what: "position when writing goes on",
                expected: next.to_string(),
                found: found.to_string(),
            })
        })();
        self.keep(proof)
    }

    /// Makes everything written so far durable, and proves that the drive stands where we
    /// counted: the batch may be reported after this.
    ///
    /// # Errors
    /// [`VolumeError::Position`] where the drive counts other than we do,
    /// [`VolumeError::Unusable`] after an earlier failure, device errors. The writer is unusable
    /// afterwards, and what was written since the last synchronisation is unproven.
    pub fn sync(&mut self) -> Result<VolumePosition, VolumeError> {
        self.usable()?;
        let next = self.next;
        let proof = (|| {
            let outcome = self.dev.synchronize()?;
            self.early_warning |= outcome.early_warning;
            let found = self.dev.position()?;
            if found == next {
                return Ok(());
            }
            Err(VolumeError::Position {
                what: "position after synchronising",
                expected: next.to_string(),
                found: found.to_string(),
            })
        })();
        self.keep(proof)?;
        Ok(self.position())
    }

    /// Begins a placement: proves that the device stands at end of data, going there where it
    /// was moved for reading. Writes nothing yet.
    ///
    /// # Errors
    /// As [`VolumeWriter::resume`]; [`VolumeError::Unusable`] also where an earlier placement
    /// was neither finished nor abandoned.
    pub fn begin_placement(
        &mut self,
        head: PlacementHead,
    ) -> Result<PlacementWriter<'_, D>, VolumeError> {
        self.usable()?;
        if self.in_placement {
            let cause = "a placement was neither finished nor abandoned".to_owned();
            self.broken = Some((Code::Internal, cause));
            self.usable()?;
        }
        self.resume()?;
        self.in_placement = true;
        self.buffer.clear();
        Ok(PlacementWriter {
            used_before: self.used,
            open: None,
            segments: Vec::new(),
            members: Vec::new(),
            volume: self,
            head,
        })
    }

    /// Writes an INDEX of all manifests on the volume, found by going over it once, and
    /// synchronises. For a volume that takes no more.
    ///
    /// # Errors
    /// As [`VolumeWriter::sync`]; damaged manifests are left out, not errors.
    pub fn write_index(&mut self, now: Timestamp) -> Result<VolumePosition, VolumeError> {
        self.usable()?;
        let report = crate::scan(&mut self.dev, None, crate::ScanOptions::default());
        self.resume()?;
        let report = self.keep(report)?;
        let json = Index::of(&self.label, &report, now).to_json()?;
        let mut open = OpenSegment::new(SegmentNo(0), self.next);
        self.buffer.clear();
        let written = write_files(self, &mut open, &[(crate::INDEX_NAME, &json)], now);
        self.keep(written)?;
        self.sync()
    }

    pub(crate) fn usable(&self) -> Result<(), VolumeError> {
        match &self.broken {
            Some((code, cause)) => Err(VolumeError::Unusable {
                code: *code,
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Remembers a failure that ends writing.
    fn keep<T>(&mut self, result: Result<T, VolumeError>) -> Result<T, VolumeError> {
        if let Err(error) = &result
            && self.broken.is_none()
            && error.ends_writing()
        {
            self.broken = Some((error.code(), error.to_string()));
        }
        result
    }

    fn count(&mut self, outcome: WriteOutcome, bytes: usize) {
        self.next.0 += 1;
        self.used = self.used.plus(Bytes(bytes as u64));
        self.early_warning |= outcome.early_warning;
    }
}

/// A placement being written. End it with [`PlacementWriter::finish`] or
/// [`PlacementWriter::abandon`]; dropped otherwise, the volume takes nothing more.
#[derive(Debug)]
pub struct PlacementWriter<'w, D> {
    volume: &'w mut VolumeWriter<D>,
    head: PlacementHead,
    used_before: Bytes,
    open: Option<OpenSegment>,
    segments: Vec<Segment>,
    members: Vec<Member>,
}

impl<D: RecordDevice> PlacementWriter<'_, D> {
    /// Writes a member: its name, and its stored bytes, which are whole in memory because their
    /// size stands before them in the tar. Begins a new segment where it does not fit the open
    /// one.
    ///
    /// # Errors
    /// [`VolumeError::Limit`] where it is too large for a member, a segment or the placement
    /// (the placement can still be abandoned), [`VolumeError::Damaged`] on a name outside the
    /// format, device errors (nothing more can be written).
    pub fn add_member(
        &mut self,
        name: &str,
        kind: MemberKind,
        stored: &[u8],
    ) -> Result<MemberInfo, VolumeError> {
        self.volume.usable()?;
        let size = stored.len() as u64;
        let needs = (tar::BLOCK + tar::padding(size)) as u64 + size;
        self.check(name, size, needs)?;
        if let Some(open) = &self.open
            && open.bytes + needs + tar::END as u64 > self.volume.options.segment_limit.0
        {
            self.close_segment()?;
        }
        let mtime = self.head.submitted_at;
        let no = SegmentNo(self.segments.len() as u32);
        let open = self
            .open
            .get_or_insert_with(|| OpenSegment::new(no, self.volume.next));
        let at = open.bytes;
        let written = (|| {
            open.push(self.volume, &tar::header(name, size, mtime))?;
            open.push(self.volume, stored)?;
            open.pad(self.volume, tar::padding(size))
        })();
        self.volume.keep(written)?;
        self.members.push(Member {
            name: name.to_owned(),
            kind,
            segment: no,
            record: at / RECORD_BYTES as u64,
            offset: (at % RECORD_BYTES as u64) as u32,
            size: Bytes(size),
            sha256: digest(stored),
        });
        Ok(MemberInfo {
            index: (self.members.len() - 1) as u32,
            early_warning: self.volume.early_warning,
        })
    }

    /// Ends the placement: closes the last data segment, writes the manifest segment. Durable
    /// only after [`VolumeWriter::sync`].
    ///
    /// `sealed` is the sealed part as it is to be stored; `part_content` the digest of
    /// `work::part_text`, `artifacts` and `content_bytes` the count and the sum of lengths of
    /// the ranges.
    ///
    /// # Errors
    /// As [`PlacementWriter::add_member`].
    pub fn finish(
        mut self,
        part_content: Sha256,
        artifacts: u32,
        content_bytes: Bytes,
        sealed: &[u8],
        now: Timestamp,
    ) -> Result<Placement, VolumeError> {
        self.volume.usable()?;
        if self.open.is_some() {
            self.close_segment()?;
        }
        let first = self.volume.next;
        let manifest = Manifest {
            format: MANIFEST_FORMAT.to_owned(),
            version: FORMAT_VERSION,
            volume_uuid: self.volume.label.uuid,
            barcode: self.volume.label.barcode.clone(),
            fence: self.volume.fence,
            ordinal: self.volume.manifests,
            previous: self.volume.last,
            used_before: self.used_before,
            written_at: now,
            head: self.head,
            part_content,
            artifacts,
            content_bytes,
            segments: self.segments,
            members: self.members,
            sealed: SealedRef {
                name: SEALED_NAME.to_owned(),
                size: Bytes(sealed.len() as u64),
                sha256: digest(sealed),
            },
        };
        let json = serde_json::to_vec(&manifest)
            .map_err(|error| VolumeError::Damaged(format!("MANIFEST.json: {error}")))?;
        let manifest_digest = digest(&json);
        let mut open = OpenSegment::new(SegmentNo(manifest.segments.len() as u32), first);
        let files = [(MANIFEST_NAME, json.as_slice()), (SEALED_NAME, sealed)];
        let written = write_files(self.volume, &mut open, &files, now);
        let own = self.volume.keep(written)?;
        self.volume.last = Some(Link {
            manifest: manifest_digest,
            first,
        });
        self.volume.manifests += 1;
        self.volume.in_placement = false;
        Ok(manifest.placement(manifest_digest, own))
    }

    /// Gives the placement up: closes the open segment with a filemark, so that the next
    /// placement begins cleanly. What was written stays on the tape as a span that no manifest
    /// names; nothing is rewound. Returns the bytes of that span.
    ///
    /// # Errors
    /// As [`VolumeWriter::sync`].
    pub fn abandon(mut self) -> Result<Bytes, VolumeError> {
        self.volume.usable()?;
        if self.open.is_some() {
            self.close_segment()?;
        }
        self.volume.in_placement = false;
        Ok(self.segments.iter().map(|s| s.extent.bytes).sum())
    }

    fn close_segment(&mut self) -> Result<(), VolumeError> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let closed = open.close(self.volume);
        let extent = self.volume.keep(closed)?;
        self.segments.push(Segment {
            extent,
            crc32c: Crc32cTable(open.crc32c),
        });
        Ok(())
    }

    fn check(&self, name: &str, size: u64, needs: u64) -> Result<(), VolumeError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !(1..=MAX_MEMBER_NAME_BYTES).contains(&name.len())
            || name.starts_with('.')
            || !name.chars().all(plain)
        {
            return Err(VolumeError::Damaged(format!(
                "member name: expected 1 to 99 of A-Z a-z 0-9 - . _, found {name:?}"
            )));
        }
        let written: Bytes = self.segments.iter().map(|s| s.extent.bytes).sum();
        let open = self.open.as_ref().map_or(0, |open| open.bytes);
        let limits = [
            ("stored bytes of a member", MAX_MEMBER_BYTES, size),
            (
                "a member with its header in a segment",
                self.volume.options.segment_limit,
                needs + tar::END as u64,
            ),
            (
                "a placement's data",
                MAX_PLACEMENT_BYTES,
                written.0.saturating_add(open).saturating_add(needs),
            ),
        ];
        for (what, limit, found) in limits {
            if found > limit.0 {
                return Err(VolumeError::Limit {
                    what,
                    limit,
                    found: Bytes(found),
                });
            }
        }
        Ok(())
    }
}
