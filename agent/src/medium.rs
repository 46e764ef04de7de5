//! The volume in the drive: proven to be the one the catalogue means before anything else
//! is done with it.

use std::time::{Duration, Instant};

use model::{Bytes, Placement, VolumePosition};
use volume::{
    Expected, FoundLabel, Label, LabelState, VolumeError, VolumeWriter, WriterOptions, prove_label,
    read_label, write_label,
};

use crate::agent::Context;
use crate::device::HeldDrive;
use crate::lease::Lease;
use crate::library::SharedDrive;
use crate::trouble::Trouble;

/// A proven volume.
#[expect(
    clippy::large_enum_variant,
    reason = "one value a drive, moved once a call"
)]
pub(crate) enum Medium {
    /// Open for appending, and for reading.
    Writing(VolumeWriter<HeldDrive>),
    /// For reading only.
    Reading(HeldDrive),
}

impl Medium {
    /// The drive, for reading. A writer has to `resume` before it writes again.
    pub(crate) fn drive(&mut self) -> HeldDrive {
        match self {
            Self::Writing(writer) => writer.device().clone(),
            Self::Reading(drive) => drive.clone(),
        }
    }
}

/// What the proof says, for the control plane.
pub(crate) struct Proven {
    /// What is reported: the end of data, or the catalogue's word where nothing is written.
    pub(crate) reported: VolumePosition,
    /// The end of data, where it was proven.
    pub(crate) position: Option<VolumePosition>,
    pub(crate) labelled: bool,
    pub(crate) found: Vec<Placement>,
    pub(crate) abandoned: Bytes,
    pub(crate) used: Bytes,
    /// How long a synchronous filemark took, if there was one.
    pub(crate) sync_took: Option<Duration>,
}

/// Proves that the tape in the drive is the session's volume, labels it where it is blank
/// and meant to be, and judges what stands behind the catalogued end of data. What is
/// found there is durable when this returns.
pub(crate) fn prove(
    ctx: &Context,
    lease: &Lease,
    drive: SharedDrive,
) -> Result<(Medium, Proven), Trouble> {
    let failed = |error: VolumeError| Trouble::of_volume(&error);
    let session = lease.session();
    let mut device = HeldDrive::new(drive, lease.clone(), ctx.kill.clone());
    if !session.writable {
        let label = prove_label(&mut device, &session.volume, session.uuid).map_err(failed)?;
        let reported = session.position.clone().unwrap_or_else(|| label.position());
        let proven = Proven {
            reported,
            position: None,
            labelled: false,
            found: Vec::new(),
            abandoned: Bytes::ZERO,
            used: Bytes::ZERO,
            sync_took: None,
        };
        return Ok((Medium::Reading(device), proven));
    }
    let mut sync_took = None;
    let position = match &session.position {
        Some(position) => position.clone(),
        None => {
            let label = Label {
                uuid: session.uuid,
                barcode: session.volume.clone(),
                pool: session.pool.clone(),
                library: session.library.clone(),
                created: (ctx.clock)(),
                recipients: ctx.data.keys.sealer.recipients(),
            };
            let began = Instant::now();
            let (position, written) = label_scratch(&mut device, &label).map_err(failed)?;
            sync_took = written.then(|| began.elapsed());
            position
        }
    };
    let expected = Expected {
        barcode: session.volume.clone(),
        uuid: session.uuid,
        fence: session.fence,
        position,
    };
    let (mut writer, tail) =
        VolumeWriter::append(device, &expected, WriterOptions::default()).map_err(failed)?;
    for why in &tail.refused {
        tracing::warn!(why, "not adopted");
    }
    // The drive of a killed agent may still hold what it wrote in its buffer.
    let position = writer.sync().map_err(failed)?;
    if let Some(last) = ctx.journal.last_proven(&session.volume, session.uuid)
        && position.next < last.next
    {
        return Err(failed(VolumeError::Position {
            what: "end of data against the agent's journal",
            expected: format!("{} or behind it", last.next),
            found: position.next.to_string(),
        }));
    }
    let proven = Proven {
        reported: position.clone(),
        position: Some(position),
        labelled: session.position.is_none(),
        found: tail.found,
        abandoned: tail.abandoned,
        used: writer.used(),
        sync_took,
    };
    Ok((Medium::Writing(writer), proven))
}

/// Labels a tape that the catalogue calls blank, if it is. A label of ours that is there
/// already was written by a session that could not say so. True where it was written now.
fn label_scratch(
    device: &mut HeldDrive,
    label: &Label,
) -> Result<(VolumePosition, bool), VolumeError> {
    if let LabelState::Ours(_) = read_label(device)? {
        let found: FoundLabel = prove_label(device, &label.barcode, label.uuid)?;
        return Ok((found.position(), false));
    }
    write_label(device, label).map(|position| (position, true))
}
