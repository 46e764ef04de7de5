//! Volumes, pools, drives and slots.

use serde::{Deserialize, Serialize};

use crate::{
    Barcode, Bytes, Code, DriveSerial, Fence, IllegalTransition, LibraryId, PoolName, RecordNo,
    Refusal, Sha256, VolumeUuid,
};

/// What may be done with a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum VolumeState {
    /// Said to be blank: gets a label before its first use, if it really is.
    Scratch,
    /// Labelled, takes more.
    Appendable,
    /// Labelled, takes no more. Read freely.
    Full,
    /// Something did not add up: read, never written, until an operator has looked.
    ReadOnly {
        /// Why.
        refusal: Refusal,
    },
    /// Not to be used at all: foreign data, or the operator withdrew it.
    Withdrawn {
        /// Why.
        refusal: Refusal,
    },
}

impl VolumeState {
    /// The name of the state in API, CLI and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::Appendable => "appendable",
            Self::Full => "full",
            Self::ReadOnly { .. } => "read_only",
            Self::Withdrawn { .. } => "withdrawn",
        }
    }
}

/// What may happen to a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VolumeEvent {
    /// A label was written on a blank tape.
    Label,
    /// It takes no more.
    Fill,
    /// Something did not add up.
    Suspect(Refusal),
    /// It must not be used at all.
    Withdraw(Refusal),
}

/// A volume's state together with the rule that only legal transitions change it.
/// There is no way back to scratch and none from read-only to appendable: nothing is
/// ever overwritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeLifecycle(VolumeState);

impl VolumeLifecycle {
    /// The beginning of every volume.
    pub const fn scratch() -> Self {
        Self(VolumeState::Scratch)
    }

    /// What may be done with the volume.
    pub const fn state(&self) -> &VolumeState {
        &self.0
    }

    /// True where writing is allowed.
    pub const fn is_writable(&self) -> bool {
        matches!(self.0, VolumeState::Scratch | VolumeState::Appendable)
    }

    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalTransition`] where the state does not have that event.
    pub fn apply(&self, event: VolumeEvent) -> Result<Self, IllegalTransition> {
        use VolumeEvent as E;
        use VolumeState as S;
        let next = match (&self.0, event) {
            (S::Scratch, E::Label) => S::Appendable,
            (S::Appendable, E::Fill) => S::Full,
            (S::Scratch | S::Appendable | S::Full, E::Suspect(refusal)) => S::ReadOnly { refusal },
            (S::Withdrawn { .. }, E::Withdraw(_)) => {
                return Err(IllegalTransition {
                    from: "withdrawn",
                    event: "be withdrawn",
                });
            }
            (_, E::Withdraw(refusal)) => S::Withdrawn { refusal },
            (state, event) => {
                let event = match event {
                    E::Label => "be labelled",
                    E::Fill => "be filled",
                    E::Suspect(_) => "become suspect",
                    E::Withdraw(_) => "be withdrawn",
                };
                return Err(IllegalTransition {
                    from: state.name(),
                    event,
                });
            }
        };
        Ok(Self(next))
    }

    /// The state after a fault of the medium with this code: withdrawn for tapes that
    /// are not ours, full for tapes that are full, read-only otherwise.
    pub fn after_fault(&self, refusal: Refusal) -> Self {
        let event = match refusal.code {
            Code::VolumeFull => VolumeEvent::Fill,
            Code::ForeignVolume => VolumeEvent::Withdraw(refusal),
            _ => VolumeEvent::Suspect(refusal),
        };
        self.apply(event).unwrap_or_else(|_| self.clone())
    }
}

/// The end of a volume's data, as the catalogue means it and the agent proves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumePosition {
    /// The object number at end of data: where the next record goes.
    pub next: RecordNo,
    /// The digest of the last manifest, once there is one.
    pub last_manifest: Option<Sha256>,
    /// How many manifests the chain has.
    pub manifests: u64,
}

/// One cartridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its barcode.
    pub barcode: Barcode,
    /// The library it is in.
    pub library: LibraryId,
    /// The pool it belongs to.
    pub pool: PoolName,
    /// What may be done with it.
    pub lifecycle: VolumeLifecycle,
    /// What its label says, once it has one.
    pub uuid: Option<VolumeUuid>,
    /// Where its data end, once it has a label.
    pub position: Option<VolumePosition>,
    /// What it can hold.
    pub capacity: Bytes,
    /// What is on it, abandoned spans included.
    pub used: Bytes,
    /// What is promised to work not yet written.
    pub reserved: Bytes,
    /// The highest fence ever granted.
    pub fence: Fence,
    /// How many checkpoints on it are committed.
    pub checkpoints: u64,
    /// Bytes in abandoned spans.
    pub abandoned: Bytes,
}

impl Volume {
    /// Bytes neither written nor promised.
    pub const fn free(&self) -> Bytes {
        self.capacity.minus(self.used).minus(self.reserved)
    }
}

/// Volumes for one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// The library.
    pub library: LibraryId,
    /// How many copies of a checkpoint it keeps, each on its own volume.
    pub copies: u8,
    /// How much of each volume is kept free for manifests and the index.
    pub reserve: Bytes,
    /// How many volumes are written at once.
    pub write_drives: u8,
    /// What decides where the bound resolver does not.
    #[serde(default)]
    pub fallback: crate::Fallback,
}

/// What a drive is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriveState {
    /// No cartridge.
    Empty,
    /// A cartridge, and no session.
    Loaded,
    /// In a session.
    InSession,
    /// Taken out of service.
    Down,
}

/// A drive, known by its serial number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drive {
    /// Its serial number.
    pub serial: DriveSerial,
    /// The library.
    pub library: LibraryId,
    /// Its element address (SMC-3).
    pub element: u16,
    /// What it is doing.
    pub state: DriveState,
    /// The volume in it.
    pub volume: Option<Barcode>,
}

/// What kind of slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotKind {
    /// A storage element.
    Storage,
    /// An import/export element: the mail slot.
    Mail,
}

/// A slot and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its element address (SMC-3).
    pub element: u16,
    /// Its kind.
    pub kind: SlotKind,
    /// The barcode of the cartridge in it.
    pub volume: Option<Barcode>,
    /// True where a cartridge is in it, whether its barcode can be read or not.
    pub full: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_back_to_writing() {
        let doubt = Refusal::new(Code::PositionMismatch, "expected 12, found 9");
        let volume = VolumeLifecycle::scratch()
            .apply(VolumeEvent::Label)
            .unwrap();
        assert!(volume.is_writable());
        let volume = volume.after_fault(doubt.clone());
        assert!(!volume.is_writable());
        assert!(volume.apply(VolumeEvent::Label).is_err());
        assert!(volume.apply(VolumeEvent::Fill).is_err());
        let volume = volume.apply(VolumeEvent::Withdraw(doubt)).unwrap();
        assert!(volume.apply(VolumeEvent::Label).is_err());
    }
}
