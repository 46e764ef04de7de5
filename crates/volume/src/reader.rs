//! Reading a placement back, member by member.

use std::collections::BTreeMap;
use std::fmt;

use model::{Bytes, Placement, RecordNo, SegmentNo, Sha256};
use sha2::Digest;

use crate::device::{DeviceErrorKind, ReadOutcome, RecordDevice, Spaced};
use crate::error::VolumeError;
use crate::manifest::{Manifest, digest, records_of};
use crate::walk::{FoundManifest, go, read_manifest_here, record_buffer};
use crate::{RECORD_BYTES, tar};

/// Placements with at most so many bytes of data are read in one forward pass into memory, with
/// the manifest last, as they lie on the tape: going back for the data costs a drive seconds,
/// and a batch has hundreds of small placements. Larger ones are read manifest first.
const ONE_PASS_BYTES: Bytes = Bytes::mib(16);

/// What is wrong with bytes that the tape gave back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// A record could not be read.
    Unreadable {
        /// The record.
        at: RecordNo,
        /// What the device said.
        why: String,
    },
    /// A record has another length than the manifest says, or a filemark stands there.
    Shape {
        /// The record.
        at: RecordNo,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A record's CRC-32C differs.
    Crc {
        /// The record.
        at: RecordNo,
        /// What the manifest says.
        expected: u32,
        /// What it is.
        found: u32,
    },
    /// A member's tar header is not the one that the manifest says.
    Header {
        /// The record.
        at: RecordNo,
    },
    /// A member's stored bytes have another digest.
    Member {
        /// What the manifest says.
        expected: Sha256,
        /// What it is.
        found: Sha256,
    },
    /// A segment's bytes have another digest.
    Segment {
        /// Which.
        no: SegmentNo,
        /// What the manifest says.
        expected: Sha256,
        /// What it is.
        found: Sha256,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { at, why } => write!(f, "record {at}: {why}"),
            Self::Shape {
                at,
                expected,
                found,
            } => write!(f, "record {at}: expected {expected}, found {found}"),
            Self::Crc {
                at,
                expected,
                found,
            } => write!(
                f,
                "record {at}: expected CRC-32C {expected:08x}, found {found:08x}"
            ),
            Self::Header { at } => {
                write!(
                    f,
                    "record {at}: expected the member's tar header, found none"
                )
            }
            Self::Member { expected, found } => {
                write!(f, "stored bytes: expected digest {expected}, found {found}")
            }
            Self::Segment {
                no,
                expected,
                found,
            } => write!(f, "segment {no}: expected digest {expected}, found {found}"),
        }
    }
}

/// A placement open for reading. Its manifest was read and has the digest that the placement
/// names.
#[derive(Debug)]
pub struct PlacementReader<D> {
    dev: D,
    manifest: Manifest,
    sealed: Vec<u8>,
    /// Segments read ahead, in the one-pass mode.
    ahead: Option<Vec<Held>>,
    buffer: Vec<u8>,
    /// Where the device stands, as far as we know without asking.
    stand: Stand,
    /// What the buffer holds.
    current: Option<(usize, u64, Result<usize, Damage>)>,
    /// The segment whose digest is being computed, and how many of its records went in.
    digesting: (usize, u64, sha2::Sha256),
    /// Segments finished with another digest.
    mismatches: Vec<Damage>,
}

/// The object before which the device stands; none after a failed read.
type Stand = Option<RecordNo>;

/// A data segment in memory.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    /// Records that did not come, by their place.
    damage: BTreeMap<u64, Damage>,
}

/// Reads the manifest of a placement: the clear part, checked, and the sealed part's stored
/// bytes.
///
/// # Errors
/// [`VolumeError::ManifestMismatch`] where its digest is not the placement's,
/// [`VolumeError::Format`] where none is there, device errors.
pub fn read_manifest<D: RecordDevice>(
    dev: &mut D,
    placement: &Placement,
) -> Result<(Manifest, Vec<u8>), VolumeError> {
    let at = placement
        .segments
        .last()
        .map(|segment| segment.first)
        .ok_or_else(|| VolumeError::Damaged("a placement without a manifest segment".into()))?;
    go(dev, at)?;
    let mut buf = record_buffer();
    take_manifest(dev, placement, at, &mut buf).map(|found| (found.manifest, found.sealed))
}

fn take_manifest<D: RecordDevice>(
    dev: &mut D,
    placement: &Placement,
    at: RecordNo,
    buf: &mut [u8],
) -> Result<FoundManifest, VolumeError> {
    let found = read_manifest_here(dev, buf)?;
    if found.digest != placement.manifest {
        return Err(VolumeError::ManifestMismatch {
            at,
            expected: placement.manifest,
            found: found.digest,
        });
    }
    // The digest covers everything but the manifest's own extent.
    let told = found.manifest.placement(found.digest, found.extent.clone());
    if told != *placement {
        return Err(VolumeError::Format {
            at,
            expected: "the placement of the catalogue".into(),
            found: "a manifest that tells of another one".into(),
        });
    }
    Ok(found)
}

impl<D: RecordDevice> PlacementReader<D> {
    /// Opens a placement: reads its manifest, and its data too where they are few. The caller
    /// has proven that the tape is the placement's volume.
    ///
    /// # Errors
    /// As [`read_manifest`].
    pub fn open(mut dev: D, placement: &Placement) -> Result<Self, VolumeError> {
        let mut buffer = record_buffer();
        let (own, data) = placement
            .segments
            .split_last()
            .ok_or_else(|| VolumeError::Damaged("a placement without a manifest segment".into()))?;
        let total: Bytes = data.iter().map(|segment| segment.bytes).sum();
        let mut ahead = None;
        let mut stand = None;
        if total <= ONE_PASS_BYTES {
            let mut segments = Vec::with_capacity(data.len());
            for segment in data {
                if records_of(segment.bytes) != segment.records {
                    return Err(VolumeError::Damaged(format!(
                        "segment {}: expected {} records, found {}",
                        segment.no,
                        records_of(segment.bytes),
                        segment.records
                    )));
                }
                // At most ONE_PASS_BYTES.
                let mut held = Held {
                    bytes: vec![0; segment.bytes.0 as usize],
                    damage: BTreeMap::new(),
                };
                let chunks = held.bytes.chunks_mut(RECORD_BYTES);
                for (index, chunk) in (0..).zip(chunks) {
                    let at = RecordNo(segment.first.0.saturating_add(index));
                    if let Err(damage) = read_at(&mut dev, &mut stand, at, chunk)? {
                        held.damage.insert(index, damage);
                    }
                }
                segments.push(held);
                // Over the filemark, so that no LOCATE is needed.
                let mark = RecordNo(segment.first.0.saturating_add(segment.records));
                if stand == Some(mark) && dev.space_filemarks(1)? == Spaced::All {
                    stand = Some(RecordNo(mark.0.saturating_add(1)));
                }
            }
            ahead = Some(segments);
        }
        go(&mut dev, own.first)?;
        let found = take_manifest(&mut dev, placement, own.first, &mut buffer)?;
        Ok(Self {
            dev,
            manifest: found.manifest,
            sealed: found.sealed,
            ahead,
            buffer,
            stand: None,
            current: None,
            digesting: (0, 0, sha2::Sha256::new()),
            mismatches: Vec::new(),
        })
    }

    /// The clear part.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The stored bytes of the sealed part; their digest is as the clear part says.
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// Reads the stored bytes of a member into `stored`, which is cleared first. Reading members
    /// in their order moves the tape only forwards.
    ///
    /// # Errors
    /// The outer error ends the reading (the device failed other than on the medium). The inner
    /// one is damage to this member; other members may be read.
    ///
    /// # Panics
    /// Where `index` is not below the number of members.
    pub fn member(
        &mut self,
        index: usize,
        stored: &mut Vec<u8>,
    ) -> Result<Result<(), Damage>, VolumeError> {
        stored.clear();
        let member = self.manifest.members[index].clone();
        let segment = member.segment.0 as usize;
        let first = self.manifest.segments[segment].extent.first;
        let mut at = member.header_at();
        let mut header = [0; tar::BLOCK];
        let start = (at % RECORD_BYTES as u64) as usize;
        match self.record(segment, at / RECORD_BYTES as u64)? {
            Err(damage) => return Ok(Err(damage)),
            // A tar block never crosses records: both are multiples of 512.
            Ok(record) => match record.get(start..start + tar::BLOCK) {
                Some(block) => header.copy_from_slice(block),
                None => return Ok(Err(Damage::Header { at: first })),
            },
        }
        let right = tar::parse(&header).is_some_and(|found| {
            found.name == member.name && found.size == member.size.0 && found.kind == b'0'
        });
        if !right {
            return Ok(Err(Damage::Header {
                at: RecordNo(first.0 + member.record),
            }));
        }
        at += tar::BLOCK as u64;
        let mut left = member.size.0 as usize;
        stored.reserve(left);
        while left > 0 {
            let start = (at % RECORD_BYTES as u64) as usize;
            let record = match self.record(segment, at / RECORD_BYTES as u64)? {
                Ok(record) => &record[start.min(record.len())..],
                Err(damage) => return Ok(Err(damage)),
            };
            // Not empty: the manifest was checked to hold the member within its segment.
            let take = record.len().min(left);
            stored.extend_from_slice(&record[..take]);
            at += take as u64;
            left -= take;
        }
        let found = digest(stored);
        if found != member.sha256 {
            return Ok(Err(Damage::Member {
                expected: member.sha256,
                found,
            }));
        }
        Ok(Ok(()))
    }

    /// After all members were read in their order: reads what is left of the segments and
    /// returns all damage met in records and segments.
    ///
    /// # Errors
    /// As the outer error of [`PlacementReader::member`].
    pub fn finish(mut self) -> Result<Vec<Damage>, VolumeError> {
        for segment in self.digesting.0..self.manifest.segments.len() {
            let records = self.manifest.segments[segment].extent.records;
            let from = if segment == self.digesting.0 {
                self.digesting.1
            } else {
                0
            };
            for index in from..records {
                if let Err(damage) = self.record(segment, index)? {
                    self.mismatches.push(damage);
                }
            }
        }
        Ok(self.mismatches)
    }

    /// The device, wherever it stands.
    pub fn into_device(self) -> D {
        self.dev
    }

    /// One record of a segment, checked against the manifest.
    fn record(&mut self, segment: usize, index: u64) -> Result<Result<&[u8], Damage>, VolumeError> {
        let known = matches!(&self.current, Some((s, i, _)) if (*s, *i) == (segment, index));
        if !known {
            let row = &self.manifest.segments[segment];
            let at = RecordNo(row.extent.first.0 + index);
            let want = want(row.extent.bytes, index);
            let held = match &self.ahead {
                None => read_at(&mut self.dev, &mut self.stand, at, &mut self.buffer[..want])?,
                Some(ahead) => ahead[segment]
                    .damage
                    .get(&index)
                    .cloned()
                    .map_or(Ok(()), Err),
            };
            let expected = row.crc32c.0[index as usize];
            let checked = held.and_then(|()| {
                let found = crc32c::crc32c(self.bytes(segment, index, want));
                if found == expected {
                    Ok(want)
                } else {
                    Err(Damage::Crc {
                        at,
                        expected,
                        found,
                    })
                }
            });
            self.digest_record(segment, index, &checked);
            self.current = Some((segment, index, checked));
        }
        Ok(match &self.current {
            Some((_, _, Ok(len))) => Ok(self.bytes(segment, index, *len)),
            Some((_, _, Err(damage))) => Err(damage.clone()),
            None => Ok(&[]),
        })
    }

    /// The bytes of the current record, from memory or from the buffer.
    fn bytes(&self, segment: usize, index: u64, len: usize) -> &[u8] {
        match &self.ahead {
            None => &self.buffer[..len],
            Some(ahead) => {
                let start = index as usize * RECORD_BYTES;
                &ahead[segment].bytes[start..start + len]
            }
        }
    }

    /// Takes a record into its segment's digest, where records come in order.
    fn digest_record(&mut self, segment: usize, index: u64, record: &Result<usize, Damage>) {
        if segment > self.digesting.0 && index == 0 {
            self.digesting = (segment, 0, sha2::Sha256::new());
        }
        if (self.digesting.0, self.digesting.1) != (segment, index) {
            return;
        }
        let Ok(len) = record else { return };
        let mut hash = std::mem::take(&mut self.digesting.2);
        hash.update(self.bytes(segment, index, *len));
        let next = index + 1;
        self.digesting = (segment, next, hash);
        let extent = &self.manifest.segments[segment].extent;
        if next == extent.records {
            let found = Sha256(self.digesting.2.finalize_reset().into());
            if found != extent.sha256 {
                self.mismatches.push(Damage::Segment {
                    no: extent.no,
                    expected: extent.sha256,
                    found,
                });
            }
            self.digesting = (segment + 1, 0, sha2::Sha256::new());
        }
    }
}

/// How long record `index` of a segment of `bytes` bytes is.
const fn want(bytes: Bytes, index: u64) -> usize {
    let before = index.saturating_mul(RECORD_BYTES as u64);
    let left = bytes.0.saturating_sub(before);
    if left > RECORD_BYTES as u64 {
        RECORD_BYTES
    } else {
        left as usize
    }
}

/// Reads the record `at`, which must fill the buffer exactly.
fn read_at<D: RecordDevice>(
    dev: &mut D,
    stand: &mut Stand,
    at: RecordNo,
    buffer: &mut [u8],
) -> Result<Result<(), Damage>, VolumeError> {
    let want = buffer.len();
    // Asking a drive for its position before every record would cost a command a record.
    if stand.take() != Some(at) {
        go(dev, at)?;
    }
    let shape = |found: String| {
        Ok(Err(Damage::Shape {
            at,
            expected: format!("a record of {want} bytes"),
            found,
        }))
    };
    match dev.read_record(buffer) {
        Ok(ReadOutcome::Record(len)) if len == want => {
            *stand = Some(RecordNo(at.0.saturating_add(1)));
            Ok(Ok(()))
        }
        Ok(ReadOutcome::Record(len)) => shape(format!("one of {len}")),
        Ok(ReadOutcome::TooLong(len)) => shape(format!("one of {len}")),
        Ok(ReadOutcome::Filemark) => shape("a filemark".into()),
        Ok(ReadOutcome::EndOfData) => shape("end of data".into()),
        Err(error) if error.kind == DeviceErrorKind::Medium => Ok(Err(Damage::Unreadable {
            at,
            why: error.to_string(),
        })),
        Err(error) => Err(error.into()),
    }
}
