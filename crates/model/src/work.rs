//! The agent protocol: what the control plane and the tape agent say to each other.
//!
//! The agent always asks, the control plane always answers: it never reaches into the
//! data centre. Each call is one JSON `POST` below `/agent/v1/`, signed with a key of the
//! agent (RFC 9421; [`crate::agents`] says how a key becomes one of the agent's):
//!
//! | path | question | answer |
//! |---|---|---|
//! | `inventory` | [`Inventory`] | [`InventoryAnswer`] |
//! | `sessions/open` | [`OpenSession`] (long poll) | [`OpenAnswer`] |
//! | `sessions/ready` | [`SessionReady`] | [`Ack`] |
//! | `sessions/claim` | [`Claim`] (long poll) | [`ClaimAnswer`] |
//! | `sessions/renew` | [`Renew`] | [`Ack`] |
//! | `sessions/complete` | [`Complete`] | [`CompleteAnswer`] |
//! | `sessions/close` | [`Close`] | [`Ack`] |
//!
//! A refusal is an HTTP 4xx or 5xx with a [`Refusal`] as body. `FenceLost` means: stop at
//! once, touch the drive no more, open a new session.
//!
//! The way of a session: `open` grants a drive, a volume and a fence. The agent mounts
//! the volume, proves that it is the one the catalogue means, judges what it finds behind
//! the catalogued end of data, and says so with `ready`. What an earlier session wrote and
//! synchronised but could not report is adopted there, and what it had claimed and not
//! written becomes open again. Then `claim` and `complete` until there is nothing left.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    AgentId, ArtifactName, ArtifactRange, ArtifactSource, Barcode, Bytes, CheckpointId, CopyNo,
    DriveSerial, Fence, GroupId, LibraryId, Placement, PoolName, Refusal, RestoreId, RunId,
    ServiceName, SessionId, Sha256, Slot, Version, VolumePosition, VolumeUuid, WorkKey,
};

/// The longest a poll may wait, in milliseconds: within API Gateway's 29 s integration time.
pub const MAX_WAIT_MS: u64 = 20_000;

/// What stands where in the library; also registers cartridges seen for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The agent.
    pub agent: AgentId,
    /// The library.
    pub library: LibraryId,
    /// The slots.
    pub slots: Vec<Slot>,
    /// The drives.
    pub drives: Vec<SeenDrive>,
    /// What a cartridge of this library holds, for cartridges seen for the first time.
    pub native_capacity: Bytes,
}

/// A drive as the changer and the drive itself report it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenDrive {
    /// Its serial number.
    pub serial: DriveSerial,
    /// Its element address.
    pub element: u16,
    /// What is in it.
    pub volume: Option<Barcode>,
    /// Why it cannot be used, where it cannot.
    pub fault: Option<Refusal>,
}

/// What the control plane made of an inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryAnswer {
    /// Cartridges registered just now.
    pub registered: Vec<Barcode>,
    /// Cartridges that the catalogue has and the library has not.
    pub missing: Vec<Barcode>,
}

/// "This drive is free: which volume should it have?"
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The agent.
    pub agent: AgentId,
    /// This life of the agent: a new one after each start. A session of an earlier life
    /// of the same agent is over.
    pub instance: String,
    /// The library.
    pub library: LibraryId,
    /// The drive.
    pub drive: DriveSerial,
    /// What is in the drive now.
    pub mounted: Option<Barcode>,
    /// How long to wait for work, at most [`MAX_WAIT_MS`].
    pub wait_ms: u64,
}

/// The answer: nothing to do, or a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAnswer {
    /// The session, if there is work for the drive.
    pub session: Option<WriteSession>,
}

/// An exclusive hold on one drive and one volume, under a fence. Reading is done in
/// sessions too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteSession {
    /// Its id.
    pub id: SessionId,
    /// Its fence: higher than that of every earlier session on the drive or the volume.
    pub fence: Fence,
    /// The library.
    pub library: LibraryId,
    /// The drive.
    pub drive: DriveSerial,
    /// The volume.
    pub volume: Barcode,
    /// The volume's pool.
    pub pool: PoolName,
    /// True where the volume may be written.
    pub writable: bool,
    /// What the label must say. For a scratch volume: what to write into the label.
    pub uuid: VolumeUuid,
    /// Where the data must end; none for a scratch volume, which must be blank.
    pub position: Option<VolumePosition>,
    /// What the volume holds, less the pool's reserve.
    pub capacity: Bytes,
    /// When the hold ends unless renewed. The agent stops itself before that.
    pub expires: Timestamp,
}

/// Names a session and proves its fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRef {
    /// The session.
    pub session: SessionId,
    /// The volume it holds.
    pub volume: Barcode,
    /// Its fence.
    pub fence: Fence,
}

/// "The volume is mounted and proven."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReady {
    /// The session.
    #[serde(flatten)]
    pub session: SessionRef,
    /// Where the data end now.
    pub position: VolumePosition,
    /// True where this session wrote the label.
    pub labelled: bool,
    /// Complete, durable placements found behind the catalogued end of data: written by
    /// an earlier session that could not report them.
    pub found: Vec<Placement>,
    /// Bytes found there that belong to no complete placement.
    pub abandoned: Bytes,
    /// Bytes on the volume in all.
    pub used: Bytes,
}

/// The answer to a call that has nothing to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// When the hold ends unless renewed.
    pub expires: Timestamp,
    /// True where the control plane wants the drive for something more urgent: finish
    /// the batch and close.
    pub yield_requested: bool,
}

/// What kinds of work a claim asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// Write a checkpoint.
    Write,
    /// Read it back.
    Verify,
    /// Bring it back.
    Restore,
    /// List what is on the volume.
    Scan,
}

/// "Give me work for this volume."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The session.
    #[serde(flatten)]
    pub session: SessionRef,
    /// Which kinds, most wanted first; one answer holds one kind.
    pub kinds: Vec<WorkKind>,
    /// At most so many items (1 to 1,000).
    pub max_items: u32,
    /// At most so many bytes, but at least one item.
    pub max_bytes: Bytes,
    /// How long to wait for work, at most [`MAX_WAIT_MS`].
    pub wait_ms: u64,
}

/// Work, in the order in which it is to be done. Empty: nothing came up in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimAnswer {
    /// The items.
    pub items: Vec<WorkItem>,
    /// True where other volumes have work that waits for a drive.
    pub others_waiting: bool,
}

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkItem {
    /// Its key.
    pub key: WorkKey,
    /// What to do.
    #[serde(flatten)]
    pub order: Order,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Order {
    /// Write a checkpoint, or a part of it.
    Write(WriteOrder),
    /// Read a placement back.
    Verify(VerifyOrder),
    /// Bring a checkpoint, or a part of it, back.
    Restore(RestoreOrder),
    /// List what is on the volume.
    Scan,
}

/// Write a checkpoint, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteOrder {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// Its group.
    pub group: GroupId,
    /// Its place in the group.
    pub group_index: u32,
    /// How many members the group has.
    pub group_size: u32,
    /// The run.
    pub run: RunId,
    /// The service.
    pub service: ServiceName,
    /// The version.
    pub version: Version,
    /// The parent.
    pub parent: Option<CheckpointId>,
    /// Which copy.
    pub copy: CopyNo,
    /// Which part, from 0.
    pub part: u32,
    /// How many parts.
    pub parts: u32,
    /// The content digest of the whole checkpoint.
    pub content: Sha256,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// The artifacts of this part.
    pub artifacts: Vec<OrderedArtifact>,
}

/// An artifact in a write order. `Debug` leaves out what may open its bytes to who reads
/// a log: the query of a presigned URL.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedArtifact {
    /// Its name.
    pub name: ArtifactName,
    /// Where the submitter had it.
    pub source: ArtifactSource,
    /// Its whole size.
    pub size: Bytes,
    /// The digest of the whole.
    pub sha256: Sha256,
    /// Which bytes of it belong to this part.
    pub range: ArtifactRange,
    /// Where the pinned bytes can be fetched: `file:///…` or a presigned `http(s)://…`.
    pub fetch: String,
}

impl std::fmt::Debug for OrderedArtifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let public = self
            .fetch
            .split_once('?')
            .map_or(&*self.fetch, |(url, _)| url);
        f.debug_struct("OrderedArtifact")
            .field("name", &self.name)
            .field("source", &self.source)
            .field("size", &self.size)
            .field("sha256", &self.sha256)
            .field("range", &self.range)
            .field("fetch", &public)
            .finish()
    }
}

/// Read a placement back through the restore path and compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyOrder {
    /// Where it lies.
    pub placement: Placement,
    /// What the catalogue says it must hold: the digest over the text of
    /// [`part_text`] of this part's artifacts.
    pub expected: Sha256,
}

/// Bring a checkpoint, or a part of it, back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreOrder {
    /// The request.
    pub restore: RestoreId,
    /// Where it lies.
    pub placement: Placement,
    /// Which artifacts; all when empty.
    pub only: Vec<ArtifactName>,
    /// Where to: a `file:///directory`. Artifacts are written there under their names,
    /// ranges at their offsets.
    pub deliver: String,
}

/// The text whose digest says what a part holds: one line
/// `<sha256 of the whole> <size of the whole> <offset> <length> <name>\n` an artifact
/// range, in the order of the checkpoint's list.
pub fn part_text<'a>(
    ranges: impl IntoIterator<Item = (&'a ArtifactName, Sha256, Bytes, ArtifactRange)>,
) -> String {
    let mut text = String::new();
    for (name, sha256, size, range) in ranges {
        text.push_str(&format!(
            "{sha256} {size} {} {} {name}\n",
            range.offset, range.length
        ));
    }
    text
}

/// "I am alive, and so far."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// The session.
    #[serde(flatten)]
    pub session: SessionRef,
    /// Bytes moved in this session.
    pub moved: Bytes,
    /// What it is doing, for humans.
    pub doing: String,
}

/// "This is done."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// The session.
    #[serde(flatten)]
    pub session: SessionRef,
    /// The proven end of data after this batch; absent where nothing was written.
    pub position: Option<VolumePosition>,
    /// Bytes on the volume in all, where something was written.
    pub used: Option<Bytes>,
    /// The results, at most 1,000.
    pub results: Vec<WorkResult>,
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkResult {
    /// Its key.
    pub key: WorkKey,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Behind a synchronous filemark, with a proven position.
    Written {
        /// Where it lies.
        placement: Placement,
    },
    /// Read back.
    Verified {
        /// The digest over [`part_text`] of what was read.
        content: Sha256,
        /// How many artifact ranges were read.
        artifacts: u32,
        /// How many bytes of content were read.
        bytes: Bytes,
    },
    /// Brought back.
    Restored {
        /// How many artifact ranges were written.
        artifacts: u32,
        /// How many bytes.
        bytes: Bytes,
    },
    /// Listed.
    Scanned {
        /// What a scan found, as JSON (`volume::scan`).
        report: String,
    },
    /// Not done.
    Failed {
        /// Why.
        refusal: Refusal,
    },
    /// Not begun: give it to the next session.
    Returned,
}

/// Which results counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteAnswer {
    /// Keys whose result was not taken, with the reason: known already, or not this
    /// session's any more.
    pub refused: Vec<(WorkKey, Refusal)>,
    /// When the hold ends unless renewed.
    pub expires: Timestamp,
}

/// "I let the drive and the volume go." Claimed items without a result become open again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The session.
    #[serde(flatten)]
    pub session: SessionRef,
    /// What was wrong with the volume, where something was: the volume takes no more.
    pub volume_fault: Option<Refusal>,
    /// What was wrong with the drive, where something was: the drive is taken down.
    pub drive_fault: Option<Refusal>,
}
