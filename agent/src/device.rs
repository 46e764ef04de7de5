//! A drive as the on-tape format sees it: [`RecordDevice`] over a SCSI drive, with the
//! session's hold asked before every command.

use model::RecordNo;
use parking_lot::MutexGuard;
use scsi::{Action, Drive, FilemarkMode, ObjectNumber, ScsiError};
use volume::{DeviceError, DeviceErrorKind, ReadOutcome, RecordDevice, Spaced, WriteOutcome};

use crate::kill::KillPoints;
use crate::lease::Lease;
use crate::library::{BoxTransport, SharedDrive};

/// A drive under a session. No command reaches the drive once the session's hold is over.
/// Clones are the same drive.
#[derive(Clone)]
pub(crate) struct HeldDrive {
    drive: SharedDrive,
    lease: Lease,
    kill: KillPoints,
    reading_back: bool,
}

impl HeldDrive {
    /// The drive, held by `lease`.
    pub(crate) fn new(drive: SharedDrive, lease: Lease, kill: KillPoints) -> Self {
        Self {
            drive,
            lease,
            kill,
            reading_back: false,
        }
    }

    /// The same drive, while a placement is read back.
    pub(crate) fn reading_back(self) -> Self {
        Self {
            reading_back: true,
            ..self
        }
    }

    /// Locks first, asks then: a newer session unloads the cartridge under the same lock.
    fn held(&self) -> Result<MutexGuard<'_, Drive<BoxTransport>>, DeviceError> {
        let drive = self.drive.lock();
        match self.lease.check() {
            Ok(()) => Ok(drive),
            Err(refusal) => Err(DeviceError::new(DeviceErrorKind::Drive, refusal)),
        }
    }
}

fn failed(error: ScsiError) -> DeviceError {
    let kind = match error.action() {
        Action::VolumeFull => DeviceErrorKind::Overflow,
        Action::AbortSegment
        | Action::RetryElsewhere
        | Action::TornEnd
        | Action::QuarantineMedium => DeviceErrorKind::Medium,
        Action::PoisonSession
        | Action::ProveByPosition
        | Action::Reidentify
        | Action::RereadModes
        | Action::EncryptionUnproven
        | Action::Requalify => DeviceErrorKind::Poisoned,
        _ => DeviceErrorKind::Drive,
    };
    // A deferred error says what it is about, and also that the position is not as believed.
    let kind = match error {
        ScsiError::Deferred { .. } | ScsiError::Poisoned(_) => DeviceErrorKind::Poisoned,
        _ => kind,
    };
    DeviceError::new(kind, error)
}

fn accepted(written: scsi::Written) -> WriteOutcome {
    WriteOutcome {
        early_warning: written.early_warning || written.programmable_early_warning,
    }
}

impl RecordDevice for HeldDrive {
    fn read_record(&mut self, buf: &mut [u8]) -> Result<ReadOutcome, DeviceError> {
        let outcome = self.held()?.read_record(buf).map_err(failed)?;
        Ok(match outcome {
            scsi::ReadOutcome::Record { len } => {
                self.lease.moved(len as u64);
                if self.reading_back {
                    self.kill.reach(KillPoints::READ_BACK);
                }
                ReadOutcome::Record(len)
            }
            scsi::ReadOutcome::Overlength { record } => ReadOutcome::TooLong(record),
            scsi::ReadOutcome::Filemark => ReadOutcome::Filemark,
            scsi::ReadOutcome::EndOfData => ReadOutcome::EndOfData,
        })
    }

    fn write_record(&mut self, record: &[u8]) -> Result<WriteOutcome, DeviceError> {
        let written = self.held()?.write_record(record).map_err(failed)?;
        self.lease.moved(record.len() as u64);
        self.kill.reach(KillPoints::MID_SEGMENT);
        Ok(accepted(written))
    }

    fn write_filemark(&mut self, sync: bool) -> Result<WriteOutcome, DeviceError> {
        let mode = if sync {
            FilemarkMode::Synchronous
        } else {
            FilemarkMode::Immediate
        };
        self.held()?
            .write_filemarks(1, mode)
            .map(accepted)
            .map_err(failed)
    }

    fn synchronize(&mut self) -> Result<WriteOutcome, DeviceError> {
        self.held()?
            .write_filemarks(0, FilemarkMode::Synchronous)
            .map(accepted)
            .map_err(failed)
    }

    fn position(&mut self) -> Result<RecordNo, DeviceError> {
        let position = self.held()?.position().map_err(failed)?;
        Ok(RecordNo(position.record.0))
    }

    fn locate(&mut self, to: RecordNo) -> Result<(), DeviceError> {
        match self.held()?.locate(ObjectNumber(to.0)) {
            Err(error) if error.action() == Action::EndOfData => Ok(()),
            other => other.map_err(failed),
        }
    }

    fn space_to_end_of_data(&mut self) -> Result<(), DeviceError> {
        self.held()?.space_to_eod().map_err(failed)
    }

    fn space_filemarks(&mut self, count: i32) -> Result<Spaced, DeviceError> {
        let spaced = self
            .held()?
            .space_filemarks(i64::from(count))
            .map_err(failed)?;
        Ok(match spaced {
            scsi::Spaced::All => Spaced::All,
            // Spacing over filemarks is never stopped by one; a drive that says so stands
            // somewhere before where it should: the same as the end for the caller.
            scsi::Spaced::EndOfData { .. } | scsi::Spaced::Filemark { .. } => Spaced::EndOfData,
            scsi::Spaced::BeginningOfPartition { .. } => Spaced::Beginning,
        })
    }

    fn rewind(&mut self) -> Result<(), DeviceError> {
        self.held()?.rewind().map_err(failed)
    }
}
