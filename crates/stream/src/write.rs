//! Writing placements: one worker thread reads and seals, the caller's thread feeds the device.

use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

use jiff::Timestamp;
use model::work::WriteOrder;
use model::{Bytes, Placement, WorkKey};
use volume::{PlacementHead, PlacementWriter, RecordDevice, VolumeError, VolumeWriter};

use crate::error::StreamError;
use crate::prepare::{Ending, Ready, prepare};
use crate::seal::Sealer;
use crate::source::Source;

/// How to cut and bundle. Values that do not fit the format, or the volume's segments, are
/// lowered until they do. Readers take any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Content bytes of one member of a large artifact, at most 64 MiB.
    ///
    /// Three members are in memory while writing or reading: 24 MiB at the default of 8 MiB, so
    /// that two drives writing and one reading stay under half of an agent's 150 MiB. It is also
    /// what one bad record costs. The price of a member is about 200 bytes and 0.1 ms.
    pub part_limit: Bytes,
    /// Bytes of an inner tar at which the next artifact begins a new bundle; at most 64 MiB.
    pub bundle_limit: Bytes,
    /// Whole artifacts smaller than this are bundled; at most half of `bundle_limit`.
    pub bundle_below: Bytes,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            part_limit: Bytes::mib(8),
            bundle_limit: Bytes::mib(8),
            bundle_below: Bytes::mib(1),
        }
    }
}

impl StreamOptions {
    /// The most content bytes of a member that the format allows.
    const MOST: u64 = 64 << 20;

    /// The same options, made to fit the format and a segment: a stored member with its header
    /// may take an eighth more than its content.
    fn within(self, segment_limit: Bytes) -> Self {
        let most = (segment_limit.0 / 8 * 7).min(Self::MOST);
        let fit = |limit: Bytes| Bytes(limit.0.min(most).max(1));
        let bundle_limit = fit(self.bundle_limit);
        Self {
            part_limit: fit(self.part_limit),
            bundle_limit,
            // With its header and the end of the archive it must fit an inner tar.
            bundle_below: Bytes(self.bundle_below.0.min(bundle_limit.0 / 2)),
        }
    }
}

/// A placement that was written; durable only after [`VolumeWriter::sync`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it lies.
    pub placement: Placement,
    /// How many artifact ranges.
    pub artifacts: u32,
    /// How many bytes of content.
    pub bytes: Bytes,
    /// True where the volume takes no further placement.
    pub early_warning: bool,
}

/// Whether a batch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next order.
    Continue,
    /// Not: the remaining orders are not begun.
    Stop,
}

/// Writes one order as one placement.
///
/// Where the order fails (a missing or changed artifact, for instance) its span is abandoned:
/// the data segment is closed with a filemark, no manifest follows, and the next placement goes
/// behind it. A scan lists the span as data without a manifest.
///
/// # Errors
/// Errors of the order leave the volume ready for the next one; errors for which
/// [`StreamError::ends_writing`] is true do not.
pub fn write_placement<D: RecordDevice>(
    writer: &mut VolumeWriter<D>,
    work: &WorkKey,
    order: &WriteOrder,
    source: &dyn Source,
    sealer: &Sealer,
    options: &StreamOptions,
    now: Timestamp,
) -> Result<Written, StreamError> {
    let mut result = None;
    write_batch(
        writer,
        [(work, order)],
        source,
        sealer,
        options,
        &mut || now,
        &mut |_, written| {
            result = Some(written);
            Flow::Continue
        },
    );
    result.unwrap_or_else(|| Err(StreamError::NotBegun("the batch ended early".into())))
}

/// Writes orders back to back, one placement each, and calls `each` after every one, with its
/// place in `orders`. While the device takes one placement the next is read and sealed.
///
/// `each` may stop the batch, at early warning for instance; after an error for which
/// [`StreamError::ends_writing`] is true the batch stops by itself. Orders not begun get no call.
pub fn write_batch<'o, D: RecordDevice>(
    writer: &mut VolumeWriter<D>,
    orders: impl IntoIterator<Item = (&'o WorkKey, &'o WriteOrder)>,
    source: &dyn Source,
    sealer: &Sealer,
    options: &StreamOptions,
    now: &mut dyn FnMut() -> Timestamp,
    each: &mut dyn FnMut(usize, Result<Written, StreamError>) -> Flow,
) {
    let orders: Vec<_> = orders.into_iter().collect();
    let options = &options.within(writer.options().segment_limit);
    let (pieces_to, pieces) = sync_channel(1);
    let (buffers_to, buffers) = channel();
    std::thread::scope(|scope| {
        let for_worker: Vec<&WriteOrder> = orders.iter().map(|(_, order)| *order).collect();
        scope.spawn(move || {
            for order in for_worker {
                let mut emit = |ready: Ready| {
                    let stopped = || StreamError::NotBegun("the batch was stopped".into());
                    pieces_to
                        .send(Piece::Member(ready))
                        .map_err(|_| stopped())?;
                    // The first two members find no buffer that came back; then three go round.
                    Ok(buffers.try_recv().unwrap_or_default())
                };
                let ending = prepare(order, source, sealer, options, &mut emit);
                if pieces_to.send(Piece::End(Box::new(ending))).is_err() {
                    return;
                }
            }
        });
        for (at, (work, order)) in orders.iter().enumerate() {
            let written = write_one(writer, work, order, &pieces, &buffers_to, now);
            let over = written.as_ref().is_err_and(StreamError::ends_writing);
            if each(at, written) == Flow::Stop || over {
                break;
            }
        }
        // The worker's next send fails, and it ends.
        drop(pieces);
    });
}

enum Piece {
    Member(Ready),
    End(Box<Result<Ending, StreamError>>),
}

/// Takes the pieces of one order, up to and including its end.
fn write_one<D: RecordDevice>(
    writer: &mut VolumeWriter<D>,
    work: &WorkKey,
    order: &WriteOrder,
    pieces: &Receiver<Piece>,
    buffers: &Sender<Vec<u8>>,
    now: &mut dyn FnMut() -> Timestamp,
) -> Result<Written, StreamError> {
    let mut placement = Some(writer.begin_placement(PlacementHead::of(order, work))?);
    let mut failed = None;
    let ending = loop {
        match pieces.recv() {
            Ok(Piece::Member(ready)) => {
                if let Some(open) = &mut placement {
                    let added = open.add_member(&ready.name, ready.kind, &ready.stored);
                    if let Err(error) = added {
                        // The rest of the order is taken and dropped: the worker is at it.
                        failed = Some(error);
                        give_up(placement.take(), failed.as_ref())?;
                    }
                }
                if failed.as_ref().is_some_and(VolumeError::ends_writing) {
                    break None;
                }
                // Nobody takes it where the worker has ended.
                let _ = buffers.send(ready.stored);
            }
            Ok(Piece::End(ending)) => break Some(*ending),
            Err(_) => break None,
        }
    };
    if let Some(error) = failed {
        return Err(error.into());
    }
    let ending = match ending {
        Some(Ok(ending)) => ending,
        Some(Err(error)) => {
            give_up(placement.take(), None)?;
            return Err(error);
        }
        None => {
            give_up(placement.take(), None)?;
            return Err(StreamError::NotBegun("the worker ended early".into()));
        }
    };
    let Some(open) = placement else {
        return Err(StreamError::NotBegun("the placement was given up".into()));
    };
    let placement = open.finish(
        ending.part_content,
        ending.artifacts,
        ending.bytes,
        &ending.sealed,
        now(),
    )?;
    Ok(Written {
        placement,
        artifacts: ending.artifacts,
        bytes: ending.bytes,
        early_warning: writer.early_warning(),
    })
}

/// Abandons the span, unless the volume takes nothing more anyway.
fn give_up<D: RecordDevice>(
    placement: Option<PlacementWriter<'_, D>>,
    error: Option<&VolumeError>,
) -> Result<(), VolumeError> {
    match placement {
        Some(open) if !error.is_some_and(VolumeError::ends_writing) => open.abandon().map(drop),
        _ => Ok(()),
    }
}
