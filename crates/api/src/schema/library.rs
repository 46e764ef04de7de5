//! Volumes, pools, drives, the ledger.

use async_graphql::{Enum, SimpleObject};
use model::VolumeState as S;

use super::checkpoint::Refusal;
use super::resolver::Fallback;
use crate::scalars::{Bytes, Long, Sha256, Uuid};

/// What may be done with a volume.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VolumeState {
    /// Said to be blank: gets a label before its first use, if it really is.
    Scratch,
    /// Labelled, takes more.
    Appendable,
    /// Labelled, takes no more. Read freely.
    Full,
    /// Something did not add up: read, never written, until an operator has looked.
    ReadOnly,
    /// Not to be used at all.
    Withdrawn,
}

/// One cartridge.
#[derive(SimpleObject)]
pub(crate) struct Volume {
    /// Its barcode.
    barcode: String,
    /// The library it is in.
    library: String,
    /// The pool it belongs to.
    pool: String,
    /// What may be done with it.
    state: VolumeState,
    /// Why it is read-only or withdrawn.
    refusal: Option<Refusal>,
    /// What its label says.
    uuid: Option<Uuid>,
    /// What it can hold.
    capacity: Bytes,
    /// What is on it, abandoned spans included.
    used: Bytes,
    /// What is promised to work not yet written.
    reserved: Bytes,
    /// What is neither written nor promised.
    free: Bytes,
    /// Bytes in abandoned spans.
    abandoned: Bytes,
    /// How many checkpoints on it are committed.
    checkpoints: Long,
    /// The highest fence ever granted.
    fence: Long,
    /// The object number at which its data end.
    end_of_data: Option<Long>,
    /// The digest of the last manifest on it.
    last_manifest: Option<Sha256>,
}

impl From<model::Volume> for Volume {
    fn from(volume: model::Volume) -> Self {
        let (state, refusal) = match volume.lifecycle.state() {
            S::Scratch => (VolumeState::Scratch, None),
            S::Appendable => (VolumeState::Appendable, None),
            S::Full => (VolumeState::Full, None),
            S::ReadOnly { refusal } => (VolumeState::ReadOnly, Some(refusal.into())),
            S::Withdrawn { refusal } => (VolumeState::Withdrawn, Some(refusal.into())),
            // A state this schema has no name for is certainly not to be written.
            _ => (VolumeState::ReadOnly, None),
        };
        Self {
            state,
            refusal,
            free: Bytes(volume.free()),
            barcode: volume.barcode.as_str().to_owned(),
            library: volume.library.as_str().to_owned(),
            pool: volume.pool.as_str().to_owned(),
            uuid: volume.uuid.map(|uuid| Uuid(uuid.0)),
            capacity: Bytes(volume.capacity),
            used: Bytes(volume.used),
            reserved: Bytes(volume.reserved),
            abandoned: Bytes(volume.abandoned),
            checkpoints: Long(volume.checkpoints),
            fence: Long(volume.fence.0),
            end_of_data: volume
                .position
                .as_ref()
                .map(|position| Long(position.next.0)),
            last_manifest: volume.position.and_then(|p| p.last_manifest).map(Sha256),
        }
    }
}

/// Volumes for one purpose.
#[derive(SimpleObject)]
pub(crate) struct Pool {
    /// Its name.
    name: String,
    /// The library.
    library: String,
    /// How many copies of a checkpoint it keeps, each on its own volume.
    copies: u8,
    /// How much of each volume is kept free for manifests and the index.
    reserve: Bytes,
    /// How many volumes are written at once.
    write_drives: u8,
    /// What decides where a resolver does not.
    fallback: Fallback,
}

impl From<model::Pool> for Pool {
    fn from(pool: model::Pool) -> Self {
        Self {
            name: pool.name.as_str().to_owned(),
            library: pool.library.as_str().to_owned(),
            copies: pool.copies,
            reserve: Bytes(pool.reserve),
            write_drives: pool.write_drives,
            fallback: pool.fallback.into(),
        }
    }
}

/// What a drive is doing.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "model::DriveState")]
pub(crate) enum DriveState {
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
#[derive(SimpleObject)]
pub(crate) struct Drive {
    /// Its serial number.
    serial: String,
    /// The library.
    library: String,
    /// Its element address (SMC-3).
    element: u16,
    /// What it is doing.
    state: DriveState,
    /// The barcode of the volume in it.
    volume: Option<String>,
}

impl From<model::Drive> for Drive {
    fn from(drive: model::Drive) -> Self {
        Self {
            serial: drive.serial.as_str().to_owned(),
            library: drive.library.as_str().to_owned(),
            element: drive.element,
            state: drive.state.into(),
            volume: drive.volume.map(|barcode| barcode.as_str().to_owned()),
        }
    }
}

/// The head of the append-only ledger.
#[derive(SimpleObject)]
pub(crate) struct LedgerHead {
    /// How many leaves.
    pub(crate) size: Long,
    /// What commits to all of them.
    pub(crate) root: Sha256,
    /// How many checkpoints were committed: the other leaves are of decisions.
    pub(crate) committed: Long,
}
