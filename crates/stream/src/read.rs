//! Reading placements back: the one path for verifying and for restoring.

use std::sync::mpsc::{channel, sync_channel};

use model::{ArtifactName, Bytes, Placement, Refusal, Sha256};
use volume::{
    Damage, MAX_MANIFEST_BYTES, PlacementReader, RecordDevice, Sealed, Unseal, VolumeError,
};

use crate::error::StreamError;
use crate::seal::Opener;
use crate::sink::Sink;
use crate::unpack::{Unpacker, planned};

/// Placements with fewer stored bytes are unpacked by the reading thread itself.
const INLINE_BYTES: Bytes = Bytes::mib(4);

/// What to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Which artifacts; all when empty.
    pub only: Vec<ArtifactName>,
    /// True: damage costs the artifacts it hits, and the others are read ([`ReadBack::lost`]).
    /// False: the first damage is an error.
    pub keep_going: bool,
}

/// What was read, every digest equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBack {
    /// The digest over `work::part_text` of the artifact ranges read.
    ///
    /// Each whole artifact was hashed and equals its SHA-256. A part of an artifact was hashed
    /// and equals the digest taken of it when it was written; that the parts make up the whole
    /// is proven only where they come together.
    pub content: Sha256,
    /// How many artifact ranges.
    pub artifacts: u32,
    /// How many bytes of content.
    pub bytes: Bytes,
    /// What damage cost, where [`ReadOptions::keep_going`] allows it.
    pub lost: Vec<Lost>,
}

/// An artifact that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The artifact.
    pub artifact: ArtifactName,
    /// Why.
    pub refusal: Refusal,
}

/// Reads a placement through the whole path (records, CRCs, digests, age, zstd, content digests)
/// into a sink. The caller has proven that the tape is the placement's volume.
///
/// # Errors
/// [`StreamError::Volume`] where the manifest is not the placement's or no identity fits,
/// [`StreamError::Damaged`] and [`StreamError::Mismatch`] on damage, [`StreamError::Sink`]. The
/// device may be used afterwards.
pub fn read_placement<D: RecordDevice>(
    placement: &Placement,
    dev: D,
    opener: &Opener,
    sink: &mut dyn Sink,
    options: &ReadOptions,
) -> Result<ReadBack, StreamError> {
    let mut reader = PlacementReader::open(dev, placement)?;
    let json = opener.unseal(reader.sealed(), MAX_MANIFEST_BYTES)?;
    let sealed = Sealed::parse(&json, reader.manifest()).map_err(VolumeError::Damaged)?;
    let mut unpacker = Unpacker::new(
        reader.manifest(),
        sealed,
        &options.only,
        options.keep_going,
        opener,
        sink,
    )?;
    let members = unpacker.wanted();
    if planned(reader.manifest(), &members) <= INLINE_BYTES {
        let mut stored = Vec::new();
        for index in members {
            let read = reader.member(index, &mut stored)?;
            unpacker.member(index, read.map(|()| stored.as_slice()))?;
        }
    } else {
        unpacker = unpack_beside(&mut reader, unpacker, &members)?;
    }
    if options.only.is_empty() && !options.keep_going {
        // Members cover what was asked for; this covers every byte of the segments.
        if let Some(damage) = reader.finish()?.into_iter().next() {
            return Err(StreamError::Segment(damage));
        }
    }
    Ok(unpacker.finish())
}

/// Reads members in this thread and unpacks them in another.
fn unpack_beside<'u, D: RecordDevice>(
    reader: &mut PlacementReader<D>,
    mut unpacker: Unpacker<'u>,
    members: &[usize],
) -> Result<Unpacker<'u>, StreamError> {
    let (read_to, reads) = sync_channel::<(usize, Vec<u8>, Result<(), Damage>)>(1);
    let (buffers_to, buffers) = channel();
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            for (index, stored, read) in reads {
                unpacker.member(index, read.map(|()| stored.as_slice()))?;
                // Nobody takes it where the reading has ended.
                let _ = buffers_to.send(stored);
            }
            Ok(unpacker)
        });
        let mut reading = Ok(());
        for index in members {
            let mut stored = buffers.try_recv().unwrap_or_default();
            match reader.member(*index, &mut stored) {
                Ok(read) => {
                    if read_to.send((*index, stored, read)).is_err() {
                        // The worker met damage; its result says which.
                        break;
                    }
                }
                Err(error) => {
                    reading = Err(error);
                    break;
                }
            }
        }
        drop(read_to);
        let unpacked = worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        reading?;
        unpacked
    })
}

/// Compares the ciphertext of a placement with its manifest, for an agent that holds no
/// identity: every record's CRC, every member's and every segment's digest. Returns the part's
/// content digest as the manifest states it, unproven.
///
/// # Errors
/// [`StreamError::Segment`] with the first damage, [`StreamError::Volume`].
pub fn check_ciphertext<D: RecordDevice>(
    placement: &Placement,
    dev: D,
) -> Result<ReadBack, StreamError> {
    let mut reader = PlacementReader::open(dev, placement)?;
    let mut stored = Vec::new();
    for index in 0..reader.manifest().members.len() {
        if let Err(damage) = reader.member(index, &mut stored)? {
            return Err(StreamError::Segment(damage));
        }
    }
    let manifest = reader.manifest();
    let back = ReadBack {
        content: manifest.part_content,
        artifacts: manifest.artifacts,
        bytes: manifest.content_bytes,
        lost: Vec::new(),
    };
    match reader.finish()?.into_iter().next() {
        Some(damage) => Err(StreamError::Segment(damage)),
        None => Ok(back),
    }
}
