//! Stored members become artifacts again: decrypt, decompress, hash, compare, deliver.

use std::collections::BTreeMap;
use std::io::Read;

use model::work::part_text;
use model::{ArtifactName, Bytes, Sha256};
use sha2::Digest;
use volume::{Damage, Manifest, MemberKind, Sealed, SealedArtifact};

use crate::error::StreamError;
use crate::read::{Lost, ReadBack};
use crate::seal::Opener;
use crate::sink::Sink;

/// How much is decrypted at a time.
const CHUNK_BYTES: usize = 128 * 1024;

/// What is read of a placement and where it goes. Members are given to it in their order.
pub(crate) struct Unpacker<'u> {
    opener: &'u Opener,
    sink: &'u mut dyn Sink,
    keep_going: bool,
    members: Vec<(String, MemberKind)>,
    artifacts: Vec<SealedArtifact>,
    /// For each member that is wanted, the artifacts in it, by their place in it.
    wanted: BTreeMap<usize, Vec<usize>>,
    /// A large artifact of which not all members came yet.
    open: Option<Open>,
    /// Artifacts read and proven.
    done: Vec<bool>,
    lost: Vec<Lost>,
    chunk: Vec<u8>,
}

struct Open {
    row: usize,
    hash: sha2::Sha256,
    read: u64,
}

impl<'u> Unpacker<'u> {
    /// Plans to read `only` of these artifacts, all where it is empty.
    pub(crate) fn new(
        manifest: &Manifest,
        sealed: Sealed,
        only: &[ArtifactName],
        keep_going: bool,
        opener: &'u Opener,
        sink: &'u mut dyn Sink,
    ) -> Result<Self, StreamError> {
        let artifacts = sealed.artifacts;
        if let Some(missing) = only
            .iter()
            .find(|name| !artifacts.iter().any(|a| a.name == **name))
        {
            return Err(StreamError::NotHere(missing.clone()));
        }
        let mut wanted: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (row, artifact) in artifacts.iter().enumerate() {
            if only.is_empty() || only.contains(&artifact.name) {
                for member in 0..artifact.members {
                    let member = (artifact.member + member) as usize;
                    wanted.entry(member).or_default().push(row);
                }
            }
        }
        for rows in wanted.values_mut() {
            rows.sort_by_key(|row| artifacts[*row].at);
        }
        let names = manifest.members.iter();
        Ok(Self {
            opener,
            sink,
            keep_going,
            members: names.map(|m| (m.name.clone(), m.kind)).collect(),
            done: vec![false; artifacts.len()],
            artifacts,
            wanted,
            open: None,
            lost: Vec::new(),
            chunk: vec![0; CHUNK_BYTES],
        })
    }

    /// The members to read, in their order.
    pub(crate) fn wanted(&self) -> Vec<usize> {
        self.wanted.keys().copied().collect()
    }

    /// Takes a member as it came from the tape.
    pub(crate) fn member(
        &mut self,
        index: usize,
        stored: Result<&[u8], Damage>,
    ) -> Result<(), StreamError> {
        let Some(rows) = self.wanted.remove(&index) else {
            return Ok(());
        };
        let (name, kind) = self.members[index].clone();
        let mut from = 0;
        let unpacked = match stored {
            Err(damage) => Err(StreamError::Damaged {
                artifact: self.artifacts[rows[0]].name.clone(),
                member: name,
                damage,
            }),
            Ok(stored) => self.unpack(index, &rows, stored, &name, kind, &mut from),
        };
        let Err(error) = unpacked else {
            return Ok(());
        };
        self.sink.abort();
        self.open = None;
        if !self.keep_going {
            return Err(error);
        }
        for row in &rows[from..] {
            // Its other members are of no use.
            for rows in self.wanted.values_mut() {
                rows.retain(|other| other != row);
            }
            self.lost.push(Lost {
                artifact: self.artifacts[*row].name.clone(),
                refusal: error.refusal(),
            });
        }
        self.wanted.retain(|_, rows| !rows.is_empty());
        Ok(())
    }

    /// What was read.
    pub(crate) fn finish(self) -> ReadBack {
        let done = || {
            let rows = self.artifacts.iter().zip(&self.done);
            rows.filter(|(_, done)| **done).map(|(row, _)| row)
        };
        let text = part_text(done().map(|a| (&a.name, a.sha256, a.size, a.range())));
        ReadBack {
            content: Sha256(sha2::Sha256::digest(text.as_bytes()).into()),
            artifacts: done().count() as u32,
            bytes: done().map(|a| a.length).sum(),
            lost: self.lost,
        }
    }

    /// Reads the artifacts `rows` out of a member, and counts in `came` those that came.
    fn unpack(
        &mut self,
        index: usize,
        rows: &[usize],
        stored: &[u8],
        name: &str,
        kind: MemberKind,
        came: &mut usize,
    ) -> Result<(), StreamError> {
        let mut reader = self.opener.reader(stored, name.ends_with(".zst.age"))?;
        let mut at = 0;
        for row in rows {
            match kind {
                MemberKind::Bundle => self.bundled(*row, &mut reader, &mut at)?,
                MemberKind::Artifact => self.piece(index, *row, &mut reader)?,
            }
            *came += 1;
        }
        if kind == MemberKind::Bundle {
            // To the end: only there does age prove that nothing was cut off. The artifacts were
            // compared one by one, so none is lost by what follows them.
            self.drain(&mut reader, rows[0], u64::MAX)?;
        }
        Ok(())
    }

    fn bundled(
        &mut self,
        row: usize,
        reader: &mut dyn Read,
        at: &mut u64,
    ) -> Result<(), StreamError> {
        let (begin, length) = (self.artifacts[row].at.0, self.artifacts[row].length.0);
        let skip = begin
            .checked_sub(*at)
            .ok_or_else(|| self.mismatch(row, "artifacts side by side", "one in another"))?;
        self.drain(reader, row, skip)?;
        self.begin(row)?;
        let read = self.pump(row, reader, length)?;
        if read < length {
            return Err(self.mismatch(row, &format!("{length} bytes"), &format!("{read}")));
        }
        *at = begin + length;
        self.end()
    }

    fn piece(
        &mut self,
        index: usize,
        row: usize,
        reader: &mut dyn Read,
    ) -> Result<(), StreamError> {
        let artifact = &self.artifacts[row];
        let (first, members) = (artifact.member as usize, artifact.members as usize);
        if index == first {
            self.begin(row)?;
        }
        self.pump(row, reader, u64::MAX)?;
        if index + 1 == first + members {
            self.end()?;
        }
        Ok(())
    }

    fn begin(&mut self, row: usize) -> Result<(), StreamError> {
        self.open = Some(Open {
            row,
            hash: sha2::Sha256::new(),
            read: 0,
        });
        let artifact = &self.artifacts[row];
        self.sink.begin(artifact).map_err(sink_error(artifact))
    }

    /// Moves at most `most` bytes from the reader into the sink.
    fn pump(&mut self, row: usize, reader: &mut dyn Read, most: u64) -> Result<u64, StreamError> {
        let mut moved = 0;
        // Never reads into nothing: a decoder takes that for an error.
        while moved < most {
            let left = usize::try_from(most - moved).unwrap_or(usize::MAX);
            let chunk = self.chunk.len().min(left);
            let read = read_some(reader, &mut self.chunk[..chunk])
                .map_err(|error| self.mismatch(row, "a sound member", &error.to_string()))?;
            if read == 0 {
                return Ok(moved);
            }
            moved += read as u64;
            let artifact = &self.artifacts[row];
            let Some(open) = self.open.as_mut().filter(|open| open.row == row) else {
                return Err(self.mismatch(row, "its first member first", "another"));
            };
            open.read += read as u64;
            if open.read > artifact.length.0 {
                let expected = format!("{} bytes", artifact.length);
                return Err(self.mismatch(row, &expected, "more"));
            }
            let bytes = &self.chunk[..read];
            open.hash.update(bytes);
            self.sink.write(bytes).map_err(sink_error(artifact))?;
        }
        Ok(moved)
    }

    fn drain(&mut self, reader: &mut dyn Read, row: usize, most: u64) -> Result<(), StreamError> {
        let mut left = most;
        while left > 0 {
            let chunk = self
                .chunk
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = read_some(reader, &mut self.chunk[..chunk])
                .map_err(|error| self.mismatch(row, "a sound member", &error.to_string()))?;
            if read == 0 {
                break;
            }
            left -= read as u64;
        }
        Ok(())
    }

    /// The open artifact is read to its end: compare and deliver.
    fn end(&mut self) -> Result<(), StreamError> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let artifact = &self.artifacts[open.row];
        if open.read != artifact.length.0 {
            let expected = format!("{} bytes", artifact.length);
            return Err(self.mismatch(open.row, &expected, &format!("{}", open.read)));
        }
        let found = Sha256(open.hash.finalize().into());
        let whole = artifact.is_whole().then_some(artifact.sha256);
        for expected in [Some(artifact.range_sha256), whole].into_iter().flatten() {
            if found != expected {
                let (expected, found) = (format!("sha256 {expected}"), format!("sha256 {found}"));
                return Err(self.mismatch(open.row, &expected, &found));
            }
        }
        self.sink.end().map_err(sink_error(artifact))?;
        self.done[open.row] = true;
        Ok(())
    }

    fn mismatch(&self, row: usize, expected: &str, found: &str) -> StreamError {
        StreamError::Mismatch {
            artifact: self.artifacts[row].name.clone(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }
}

fn read_some(reader: &mut dyn Read, chunk: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match reader.read(chunk) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn sink_error(artifact: &SealedArtifact) -> impl Fn(std::io::Error) -> StreamError + '_ {
    |source| StreamError::Sink {
        artifact: artifact.name.clone(),
        source,
    }
}

/// Bytes of a part's artifacts that a plan reads.
pub(crate) fn planned(manifest: &Manifest, members: &[usize]) -> Bytes {
    members
        .iter()
        .map(|index| manifest.members[*index].size)
        .sum()
}
