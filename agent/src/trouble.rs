//! Who is to blame when a session cannot go on, and what follows.
//!
//! | found | blamed | why |
//! |---|---|---|
//! | fence or lease lost | nobody | somebody else holds the volume: stop, touch nothing |
//! | blank, foreign, wrong or mislabelled tape, end of data elsewhere | volume | it is never written; an operator looks |
//! | write error of the medium (3/0C/00 and kin) | volume | nothing may be appended after it |
//! | end of medium | volume, `VolumeFull` | an ordinary end |
//! | reset, no answer, deferred error | nobody, at first | the next session proves the tape again and adopts what is durable |
//! | any of the two rows above, twice in a row on one drive | drive | the volume changed or was proven, the drive stayed (Phobos: one SCSI error failed both) |
//! | hardware error, guard check, failed load | drive | |
//! | changer busy, or silent about what stands where | nobody | the next session asks again |
//! | changer jam, twice | drive, `ChangerFault` | the way to this drive is blocked |
//!
//! A synchronous filemark or a read that succeeds clears a drive's strikes.

use model::{Code, Refusal};
use scsi::{Action, ScsiError};
use volume::VolumeError;

/// Why a session cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The hold is over. The drive must not be touched.
    Lost(Refusal),
    /// The volume is at fault; it takes no more.
    Volume(Refusal),
    /// The drive, or the way to it, is at fault; it is taken down.
    Drive(Refusal),
    /// Nobody is at fault yet: close, open a new session, prove the volume again.
    Passing(Refusal),
}

impl Trouble {
    /// What is said about it.
    pub(crate) fn refusal(&self) -> &Refusal {
        match self {
            Self::Lost(refusal)
            | Self::Volume(refusal)
            | Self::Drive(refusal)
            | Self::Passing(refusal) => refusal,
        }
    }

    /// What a failed SCSI command means.
    pub(crate) fn of_scsi(error: &ScsiError) -> Self {
        let says = |code| Refusal::new(code, error.to_string());
        match error.action() {
            Action::VolumeFull => Self::Volume(says(Code::VolumeFull)),
            Action::AbortSegment
            | Action::TornEnd
            | Action::RetryElsewhere
            | Action::QuarantineMedium => Self::Volume(says(Code::MediaError)),
            Action::WriteProtected => Self::Volume(Refusal::new(
                Code::MediaError,
                format!("the volume is write protected: {error}"),
            )),
            Action::PoisonSession
            | Action::ProveByPosition
            | Action::Reidentify
            | Action::RereadModes
            | Action::EncryptionUnproven
            | Action::Requalify
            | Action::Wait
            | Action::Reposition => Self::Passing(says(Code::DriveFault)),
            Action::Fenced => Self::Lost(says(Code::FenceLost)),
            _ => Self::Drive(says(Code::DriveFault)),
        }
    }

    /// What an error of the on-tape format means.
    pub(crate) fn of_volume(error: &VolumeError) -> Self {
        match error {
            VolumeError::Device(device) => match device.source.downcast_ref::<ScsiError>() {
                Some(scsi) => Self::of_scsi(scsi),
                None => Self::Drive(error.refusal()),
            },
            VolumeError::Fenced { .. } => Self::Lost(error.refusal()),
            VolumeError::Unusable { .. } => Self::Passing(error.refusal()),
            _ => Self::Volume(error.refusal()),
        }
    }
}

/// The strikes of one drive: troubles in a row that may be the drive's fault.
#[derive(Debug, Default)]
pub(crate) struct Strikes(u8);

impl Strikes {
    /// Strikes that take a drive down.
    const OUT: u8 = 2;

    /// Something worked.
    pub(crate) fn clear(&mut self) {
        self.0 = 0;
    }

    /// Counts a trouble; returns what to blame the drive with, if it is time to.
    pub(crate) fn count(&mut self, trouble: &Trouble) -> Option<Refusal> {
        match trouble {
            Trouble::Drive(refusal) => return Some(refusal.clone()),
            Trouble::Passing(refusal) if refusal.code == Code::DriveFault => {}
            Trouble::Volume(refusal) if refusal.code == Code::MediaError => {}
            _ => return None,
        }
        self.0 = self.0.saturating_add(1);
        (self.0 >= Self::OUT).then(|| {
            Refusal::new(
                Code::DriveFault,
                format!(
                    "{} failures in a row with nothing good between them, the last one: {}",
                    self.0,
                    trouble.refusal().message
                ),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_failure_in_a_row_is_the_drives() {
        let mut strikes = Strikes::default();
        let media = Trouble::Volume(Refusal::new(Code::MediaError, "write error"));
        let reset = Trouble::Passing(Refusal::new(Code::DriveFault, "reset"));
        let full = Trouble::Volume(Refusal::new(Code::VolumeFull, "full"));
        assert_eq!(strikes.count(&media), None);
        strikes.clear();
        assert_eq!(strikes.count(&reset), None);
        assert_eq!(strikes.count(&full), None);
        assert_eq!(strikes.count(&media).unwrap().code, Code::DriveFault);
    }
}
