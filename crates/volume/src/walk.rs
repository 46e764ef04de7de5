//! Going along a tape segment by segment, reading the small tars whole.

use model::{Bytes, RecordNo, SegmentExtent, SegmentNo, Sha256};
use sha2::Digest;

use crate::device::{DeviceErrorKind, ReadOutcome, RecordDevice, Spaced};
use crate::error::VolumeError;
use crate::index::INDEX_NAME;
use crate::manifest::{MANIFEST_NAME, Manifest, digest};
use crate::{MAX_MANIFEST_BYTES, RECORD_BYTES, tar};

/// What a segment is, told by its first record.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A manifest segment, whole and consistent.
    Manifest(Box<FoundManifest>),
    /// A manifest segment that is damaged, with what is wrong.
    BadManifest(String),
    /// An index segment.
    Index,
    /// Anything else: data of a placement.
    Data,
    /// Its first record cannot be read, with what the device said.
    Unreadable(String),
    /// Two filemarks with nothing between.
    Empty,
}

/// A segment as met on the tape.
#[derive(Debug)]
pub(crate) struct Met {
    /// Its first object.
    pub first: RecordNo,
    /// How many records.
    pub records: u64,
    /// What it is.
    pub kind: Kind,
}

/// A manifest segment as met on the tape.
#[derive(Debug)]
pub(crate) struct FoundManifest {
    pub manifest: Manifest,
    pub digest: Sha256,
    pub extent: SegmentExtent,
    pub sealed: Vec<u8>,
}

/// The content of a small tar and the extent of its records.
pub(crate) struct SmallTar {
    pub bytes: Vec<u8>,
    pub records: u64,
    /// True where a filemark ended it.
    pub closed: bool,
}

impl SmallTar {
    /// The content of the member called `name`, among the plain files in front.
    pub(crate) fn member(&self, name: &str) -> Option<&[u8]> {
        let mut at = 0_usize;
        loop {
            let header = tar::parse(self.bytes.get(at..)?)?;
            let start = at + tar::BLOCK;
            let end = start.checked_add(usize::try_from(header.size).ok()?)?;
            let content = self.bytes.get(start..end)?;
            if header.name == name && header.kind == b'0' {
                return Some(content);
            }
            at = end + tar::padding(header.size);
        }
    }

    pub(crate) fn extent(&self, no: SegmentNo, first: RecordNo) -> SegmentExtent {
        SegmentExtent {
            no,
            first,
            records: self.records,
            bytes: Bytes(self.bytes.len() as u64),
            sha256: Sha256(sha2::Sha256::digest(&self.bytes).into()),
        }
    }
}

/// Goes to `at` unless the device stands there.
pub(crate) fn go<D: RecordDevice>(dev: &mut D, at: RecordNo) -> Result<(), VolumeError> {
    if dev.position()? == at {
        return Ok(());
    }
    dev.locate(at)?;
    let found = dev.position()?;
    if found == at {
        return Ok(());
    }
    Err(VolumeError::Position {
        what: "position after LOCATE",
        expected: at.to_string(),
        found: found.to_string(),
    })
}

/// Reads records up to a filemark or end of data.
pub(crate) fn read_small<D: RecordDevice>(
    dev: &mut D,
    buf: &mut [u8],
    limit: Bytes,
) -> Result<SmallTar, VolumeError> {
    let first = dev.position()?;
    let mut tar = SmallTar {
        bytes: Vec::new(),
        records: 0,
        closed: false,
    };
    loop {
        let wrong = |found: String| VolumeError::Format {
            at: RecordNo(first.0 + tar.records),
            expected: format!("a tar of at most {limit} bytes in records of {RECORD_BYTES}"),
            found,
        };
        match dev.read_record(buf)? {
            ReadOutcome::Record(len) if !tar.bytes.len().is_multiple_of(RECORD_BYTES) => {
                return Err(wrong(format!("a record of {len} bytes behind a short one")));
            }
            ReadOutcome::Record(len) if (tar.bytes.len() + len) as u64 > limit.0 => {
                return Err(wrong("more".into()));
            }
            ReadOutcome::Record(len) => tar.bytes.extend_from_slice(&buf[..len]),
            ReadOutcome::TooLong(len) => return Err(wrong(format!("a record of {len} bytes"))),
            ReadOutcome::Filemark => {
                tar.closed = true;
                return Ok(tar);
            }
            ReadOutcome::EndOfData => return Ok(tar),
        }
        tar.records += 1;
    }
}

/// Reads the manifest segment at which the device stands.
pub(crate) fn read_manifest_here<D: RecordDevice>(
    dev: &mut D,
    buf: &mut [u8],
) -> Result<FoundManifest, VolumeError> {
    let first = dev.position()?;
    let tar = read_small(dev, buf, MAX_MANIFEST_BYTES)?;
    let bad = |expected: &str, found: String| VolumeError::Format {
        at: first,
        expected: expected.to_owned(),
        found,
    };
    let json = tar
        .member(MANIFEST_NAME)
        .ok_or_else(|| bad("a manifest", "a segment without one".into()))?;
    let manifest = Manifest::parse(json).map_err(|why| bad("a valid manifest", why))?;
    let sealed = tar
        .member(&manifest.sealed.name)
        .ok_or_else(|| bad("the sealed part", "none, or a torn one".into()))?;
    if digest(sealed) != manifest.sealed.sha256 {
        return Err(bad(
            &format!("a sealed part of digest {}", manifest.sealed.sha256),
            digest(sealed).to_string(),
        ));
    }
    if manifest.follows().is_some_and(|at| at != first) {
        return Err(bad(
            "the manifest behind its last data segment",
            format!("one that belongs elsewhere ({:?})", manifest.follows()),
        ));
    }
    Ok(FoundManifest {
        digest: digest(json),
        extent: tar.extent(SegmentNo(manifest.segments.len() as u32), first),
        sealed: sealed.to_vec(),
        manifest,
    })
}

/// Looks at the segment that begins at `first` and goes behind its filemark, or to end of data.
/// None at end of data.
pub(crate) fn meet<D: RecordDevice>(
    dev: &mut D,
    first: RecordNo,
    buf: &mut [u8],
) -> Result<Option<Met>, VolumeError> {
    go(dev, first)?;
    let mut kind = match dev.read_record(buf) {
        Ok(ReadOutcome::EndOfData) => return Ok(None),
        Ok(ReadOutcome::Filemark) => {
            return Ok(Some(Met {
                first,
                records: 0,
                kind: Kind::Empty,
            }));
        }
        Ok(ReadOutcome::Record(len)) => match tar::parse(&buf[..len]) {
            Some(header) if header.name == MANIFEST_NAME => Kind::BadManifest(String::new()),
            Some(header) if header.name == INDEX_NAME => Kind::Index,
            _ => Kind::Data,
        },
        Ok(ReadOutcome::TooLong(len)) => Kind::Unreadable(format!("a record of {len} bytes")),
        Err(error) if error.kind == DeviceErrorKind::Medium => Kind::Unreadable(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    if matches!(kind, Kind::BadManifest(_)) {
        dev.locate(first)?;
        match read_manifest_here(dev, buf) {
            Ok(found) => {
                return Ok(Some(Met {
                    first,
                    records: found.extent.records,
                    kind: Kind::Manifest(Box::new(found)),
                }));
            }
            Err(VolumeError::Device(error)) if error.kind != DeviceErrorKind::Medium => {
                return Err(error.into());
            }
            Err(error) => kind = Kind::BadManifest(error.to_string()),
        }
    }
    if matches!(kind, Kind::BadManifest(_) | Kind::Unreadable(_)) {
        // After a medium error the position is undefined.
        dev.locate(first)?;
    }
    let closed = dev.space_filemarks(1)? == Spaced::All;
    let after = dev.position()?;
    Ok(Some(Met {
        first,
        records: (after.0 - u64::from(closed)).saturating_sub(first.0),
        kind,
    }))
}

/// A buffer for one record.
pub(crate) fn record_buffer() -> Vec<u8> {
    vec![0; RECORD_BYTES]
}
