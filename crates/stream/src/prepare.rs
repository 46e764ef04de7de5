//! A write order becomes members: read, hash, bundle or cut, seal.

use std::io::Read;

use model::work::{OrderedArtifact, WriteOrder};
use model::{Bytes, Sha256};
use sha2::Digest;
use volume::{MemberKind, Sealed, SealedArtifact, tar};

use crate::error::StreamError;
use crate::pack::Packer;
use crate::seal::Sealer;
use crate::source::Source;
use crate::write::StreamOptions;

/// How much is read at a time.
const CHUNK_BYTES: usize = 128 * 1024;

/// A member ready to be written.
#[derive(Debug)]
pub(crate) struct Ready {
    pub name: String,
    pub kind: MemberKind,
    pub stored: Vec<u8>,
}

/// What the manifest needs beside the members.
#[derive(Debug)]
pub(crate) struct Ending {
    pub sealed: Vec<u8>,
    pub part_content: Sha256,
    pub artifacts: u32,
    pub bytes: Bytes,
}

/// Takes a member, gives a buffer back for the next one.
pub(crate) type Emit<'e> = dyn FnMut(Ready) -> Result<Vec<u8>, StreamError> + 'e;

/// Reads and seals all artifacts of an order. Small artifacts come first, in bundles, then the
/// others, each kind in the order of the list.
pub(crate) fn prepare(
    order: &WriteOrder,
    source: &dyn Source,
    sealer: &Sealer,
    options: &StreamOptions,
    emit: &mut Emit<'_>,
) -> Result<Ending, StreamError> {
    let rows = order
        .artifacts
        .iter()
        .map(row)
        .collect::<Result<Vec<_>, _>>()?;
    let mut preparation = Preparation {
        order,
        source,
        sealer,
        options,
        emit,
        rows,
        members: 0,
        out: Vec::new(),
        chunk: vec![0; CHUNK_BYTES],
    };
    let small =
        |row: &SealedArtifact| row.is_whole() && row.length.0 < options.bundle_below.0.max(1);
    let (bundled, own): (Vec<_>, Vec<_>) =
        (0..preparation.rows.len()).partition(|at| small(&preparation.rows[*at]));
    preparation.bundles(&bundled)?;
    for at in own {
        preparation.own(at)?;
    }
    let mut sealed = Sealed::new(
        order.checkpoint,
        order.service.clone(),
        order.version.clone(),
        order.parent,
    );
    sealed.artifacts = preparation.rows;
    Ok(Ending {
        part_content: sealed.part_content(),
        artifacts: sealed.artifacts.len() as u32,
        bytes: sealed.artifacts.iter().map(|row| row.length).sum(),
        sealed: sealer.seal(&sealed.to_json()?)?,
    })
}

/// The sealed part's row of an artifact, as far as the order tells.
fn row(artifact: &OrderedArtifact) -> Result<SealedArtifact, StreamError> {
    let range = artifact.range;
    let fits = range
        .offset
        .0
        .checked_add(range.length.0)
        .is_some_and(|end| end <= artifact.size.0);
    if !fits {
        return Err(StreamError::Order {
            artifact: artifact.name.clone(),
            why: format!(
                "expected a range within {} bytes, found {} bytes at {}",
                artifact.size, range.length, range.offset
            ),
        });
    }
    Ok(SealedArtifact {
        index: range.artifact,
        name: artifact.name.clone(),
        source: artifact.source.clone(),
        size: artifact.size,
        sha256: artifact.sha256,
        offset: range.offset,
        length: range.length,
        range_sha256: Sha256::EMPTY,
        member: 0,
        members: 0,
        at: Bytes::ZERO,
    })
}

struct Preparation<'p, 'e> {
    order: &'p WriteOrder,
    source: &'p dyn Source,
    sealer: &'p Sealer,
    options: &'p StreamOptions,
    emit: &'p mut Emit<'e>,
    rows: Vec<SealedArtifact>,
    /// How many members were emitted.
    members: u32,
    /// The buffer for the next member's stored bytes.
    out: Vec<u8>,
    chunk: Vec<u8>,
}

/// A bundle being filled.
struct Bundle<'s> {
    packer: Packer<'s>,
    hash: sha2::Sha256,
    length: u64,
}

impl Bundle<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(self.packer.write(bytes)?)
    }
}

impl Preparation<'_, '_> {
    /// Packs the small artifacts into inner tars of at most `bundle_limit` bytes.
    fn bundles(&mut self, rows: &[usize]) -> Result<(), StreamError> {
        const ZEROS: [u8; tar::END] = [0; tar::END];
        let mut open: Option<Bundle<'_>> = None;
        let mut header = Vec::new();
        let mut number = 0;
        let mut chunk = std::mem::take(&mut self.chunk);
        for at in rows {
            let row = &self.rows[*at];
            header.clear();
            let length = row.length.0;
            tar::append_entry(
                &mut header,
                row.name.as_str(),
                length,
                self.order.submitted_at,
            );
            let padding = tar::padding(length);
            let needs = (header.len() + padding + tar::END) as u64 + length;
            if open
                .as_ref()
                .is_some_and(|bundle| bundle.length + needs > self.options.bundle_limit.0)
                && let Some(bundle) = open.take()
            {
                self.close_bundle(bundle, &mut number)?;
            }
            let bundle = match &mut open {
                Some(bundle) => bundle,
                None => open.insert(Bundle {
                    packer: Packer::new(self.sealer, std::mem::take(&mut self.out)),
                    hash: sha2::Sha256::new(),
                    length: 0,
                }),
            };
            bundle.write(&header)?;
            let begin = bundle.length;
            let mut reading = Reading::open(self.source, &self.order.artifacts[*at])?;
            while let Some(read) = reading.next(&mut chunk, u64::MAX)? {
                bundle.write(&chunk[..read])?;
            }
            bundle.write(&ZEROS[..padding])?;
            let range_sha256 = reading.finish()?;
            let row = &mut self.rows[*at];
            row.range_sha256 = range_sha256;
            row.member = self.members;
            row.members = 1;
            row.at = Bytes(begin);
        }
        self.chunk = chunk;
        if let Some(bundle) = open {
            self.close_bundle(bundle, &mut number)?;
        }
        Ok(())
    }

    fn close_bundle(
        &mut self,
        mut bundle: Bundle<'_>,
        number: &mut u32,
    ) -> Result<(), StreamError> {
        bundle.write(&[0; tar::END])?;
        let digest = Sha256(bundle.hash.finalize().into());
        let (stored, suffix) = bundle.packer.finish()?;
        let name = format!("bundle{number:05}-{digest}.tar{suffix}");
        *number += 1;
        self.emit(name, MemberKind::Bundle, stored)
    }

    /// Cuts an artifact range into members of its own.
    fn own(&mut self, at: usize) -> Result<(), StreamError> {
        let (length, index, sha256) = {
            let row = &self.rows[at];
            (row.length.0, row.index, row.sha256)
        };
        let limit = self.options.part_limit.0.max(1);
        let parts = length.div_ceil(limit).max(1);
        let first = self.members;
        let mut reading = Reading::open(self.source, &self.order.artifacts[at])?;
        for part in 1..=parts {
            let mut packer = Packer::new(self.sealer, std::mem::take(&mut self.out));
            let mut left = limit.min(length - (part - 1) * limit);
            while left > 0 {
                match reading.next(&mut self.chunk, left)? {
                    Some(read) => {
                        packer.write(&self.chunk[..read])?;
                        left -= read as u64;
                    }
                    None => break,
                }
            }
            if part == parts {
                self.rows[at].range_sha256 = reading.check()?;
            }
            let (stored, suffix) = packer.finish()?;
            let name = if parts == 1 {
                format!("{index:05}-{sha256}{suffix}")
            } else {
                format!("{index:05}-{sha256}.part{part:06}{suffix}")
            };
            self.emit(name, MemberKind::Artifact, stored)?;
        }
        let row = &mut self.rows[at];
        row.member = first;
        row.members = self.members - first;
        Ok(())
    }

    fn emit(&mut self, name: String, kind: MemberKind, stored: Vec<u8>) -> Result<(), StreamError> {
        self.out = (self.emit)(Ready { name, kind, stored })?;
        self.members += 1;
        Ok(())
    }
}

/// An artifact range being read and hashed.
struct Reading<'r> {
    artifact: &'r OrderedArtifact,
    reader: Box<dyn Read + Send + 'r>,
    hash: sha2::Sha256,
    read: u64,
}

impl<'r> Reading<'r> {
    fn open(source: &'r dyn Source, artifact: &'r OrderedArtifact) -> Result<Self, StreamError> {
        let range = artifact.range;
        let reader = source
            .open(&artifact.fetch, range.offset, range.length)
            .map_err(|source| StreamError::Source {
                artifact: artifact.name.clone(),
                source,
            })?;
        Ok(Self {
            artifact,
            reader,
            hash: sha2::Sha256::new(),
            read: 0,
        })
    }

    /// Fills the chunk with at most `most` bytes; none at the end of the range.
    fn next(&mut self, chunk: &mut [u8], most: u64) -> Result<Option<usize>, StreamError> {
        let left = (self.artifact.range.length.0 - self.read).min(most);
        let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(None);
        }
        let read = self.fill(&mut chunk[..most])?;
        if read == 0 {
            return Err(self.size(self.read, false));
        }
        self.hash.update(&chunk[..read]);
        self.read += read as u64;
        Ok(Some(read))
    }

    fn fill(&mut self, chunk: &mut [u8]) -> Result<usize, StreamError> {
        loop {
            match self.reader.read(chunk) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(StreamError::Source {
                        artifact: self.artifact.name.clone(),
                        source,
                    });
                }
            }
        }
    }

    fn size(&self, found: u64, more: bool) -> StreamError {
        StreamError::Size {
            artifact: self.artifact.name.clone(),
            expected: self.artifact.range.length,
            found: Bytes(found),
            more,
        }
    }

    fn finish(mut self) -> Result<Sha256, StreamError> {
        self.check()
    }

    /// After the last byte: nothing may follow where the artifact ends with the range, and a
    /// whole artifact must have the declared digest. Of a part of an artifact only the length
    /// can be proven; its own digest is kept for reading back.
    fn check(&mut self) -> Result<Sha256, StreamError> {
        let range = self.artifact.range;
        if range.offset.0 + range.length.0 == self.artifact.size.0 && self.fill(&mut [0])? > 0 {
            return Err(self.size(self.read, true));
        }
        let found = Sha256(self.hash.finalize_reset().into());
        let whole = range.offset == Bytes::ZERO && range.length == self.artifact.size;
        if whole && found != self.artifact.sha256 {
            return Err(StreamError::Checksum {
                artifact: self.artifact.name.clone(),
                expected: self.artifact.sha256,
                found,
            });
        }
        Ok(found)
    }
}
