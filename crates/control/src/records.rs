//! What the catalogue's items hold, and under which keys.
//!
//! | record | PK | SK | first index | second index |
//! |---|---|---|---|---|
//! | group | `GRP#id` | `META` | | |
//! | checkpoint | `CP#id` | `META` | `SVC#service#CPS` / id | `CPS` / id |
//! | lineage: open ones, the newest committed | `LIN#service#branch` | `CP#id` | | |
//! | those with the same content | `LIN#service#branch` | `DIG#content#id` | | |
//! | what follows a parent | `LIN#service#branch` | `NEXT#parent` | | |
//! | idempotency | `IDEM#sha256(key)` | `META` | | |
//! | service | `SVC#name` | `META` | `SVCS` / name | |
//! | pool | `POOL#name` | `META` | | |
//! | library | `LIB#id` | `META` | | |
//! | volume | `TAPE#barcode` | `META` | `LIB#id#VOLS` / barcode | `POOL#name#OPEN` / `A` or `S`, barcode |
//! | its account | `TAPE#barcode` | `ACCT` | `LIB#id#VOLS` / barcode | |
//! | its lease | `TAPE#barcode` | `LEASE` | `LIB#id#VOLS` / barcode | |
//! | drive | `DRV#library#serial` | `META` | `LIB#id#DRVS` / serial | |
//! | its lease | `DRV#library#serial` | `LEASE` | `LIB#id#DRVS` / serial | |
//! | session's beat | `SES#id` | `BEAT` | | `LEASES` / expiry |
//! | work item | `TAPE#barcode` | `WRK#key` | open: `WORK#library` / volume, kind, order | |
//! | ask (restore, re-verification, scan) | `ASK#id` | `META` | | |
//! | release of a resolver | `RSV#name` | `REL#version` | `RSVS` / name, time | |
//! | agent | `AGENTS` | id | | |
//! | binding | `BIND` | scope | | |
//! | decision | `DEC#id` | `META` | | `DECS` / id |
//! | its conflict set | `DEC#id` | `INPUT` | | |
//! | what a shadow decided | `DEC#id` | `SHADOW` | | |
//! | a pool's latest outcomes | `POOL#name` | `HIST` | | |
//! | ledger head | `LDG` | `HEAD` | | |
//! | ledger leaves of one transaction | `LDG#n/10000` | `LEAF#first` | | |
//! | outbox | `OBX` | id | | |
//! | what is to be unpinned | `UNPIN` | group | | |
//!
//! Nothing is decided by an index alone: it may show what was a moment ago (see `ports`).
//!
//! A volume is three items because three writers change it at different times: the
//! session that holds it (`META`: state, position, bytes used), allocation and commit
//! (`ACCT`: bytes promised), and the grant of sessions (`LEASE`).

mod agent;
mod lineage;
mod resolver;

use jiff::Timestamp;
use model::work::{RestoreOrder, VerifyOrder, WorkKind, WriteOrder};
use model::{
    AgentId, Barcode, Bytes, Checkpoint, CheckpointId, Contender, CopyNo, DriveSerial, Fence,
    Group, GroupId, IdempotencyKey, LibraryId, Placement, Pool, PoolName, Refusal, RestoreId,
    Service, ServiceName, SessionId, Sha256, VolumeLifecycle, VolumePosition, VolumeState,
    VolumeUuid, WorkKey,
};
use serde::{Deserialize, Serialize};

use crate::catalogue::{Record, millis};
use crate::ports::{Key, LedgerHead};
use crate::{RestoreState, keys};

pub(crate) use agent::{AgentRecord, OpenCode, UsedCode};
pub(crate) use lineage::{ContentRecord, Holder, LineageRecord, SuccessorRecord, lineage_of};
pub(crate) use resolver::{
    BindingRecord, DecisionItem, HistoryRecord, InputItem, KEEP_DECISIONS_SECONDS, ReleaseRecord,
    ShadowItem, clip,
};

/// A group, its members and where the run stands with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    pub(crate) group: Group,
    pub(crate) members: Vec<MemberRecord>,
    pub(crate) expected_members: Option<u32>,
    pub(crate) idempotency: IdempotencyKey,
    /// The digest of the payload under that key.
    pub(crate) payload: Sha256,
    /// The services the submitter's token was scoped to; none for an operator.
    pub(crate) submitted_by: Option<Vec<ServiceName>>,
    /// Where it is placed, once it is.
    pub(crate) library: Option<LibraryId>,
    /// How often it was placed anew.
    pub(crate) placement: u32,
    /// Its place in line, as the policy said.
    pub(crate) order: u64,
    /// What the run waits for.
    pub(crate) step: Option<Step>,
    /// Volumes that failed it.
    pub(crate) avoid: Vec<Barcode>,
    /// Duplicates that wait to see what becomes of this group.
    pub(crate) followers: Vec<Follower>,
}

/// One checkpoint of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemberRecord {
    pub(crate) checkpoint: Checkpoint,
    /// What a read-back of the whole must give.
    pub(crate) whole: Sha256,
    /// The signature over its content text.
    pub(crate) provenance: Option<String>,
    pub(crate) parts: Vec<Part>,
    pub(crate) merged_into: Option<CheckpointId>,
}

/// One part of one copy: what one work item writes to one volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) copy: CopyNo,
    pub(crate) part: u32,
    pub(crate) parts: u32,
    pub(crate) volume: Barcode,
    /// What is promised on the volume for it; zero once let go.
    pub(crate) reserved: Bytes,
    /// Which bytes of the artifacts laid end to end: from, and to (not included).
    pub(crate) from: Bytes,
    pub(crate) to: Bytes,
    /// What a read-back must give; known from dispatch on.
    pub(crate) expected: Option<Sha256>,
    pub(crate) ranges: u32,
    pub(crate) written: Option<Placement>,
    pub(crate) verified: bool,
    pub(crate) failed: Option<Refusal>,
}

/// What a run waits for, with its task token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) kind: StepKind,
    pub(crate) placement: u32,
    pub(crate) attempt: u32,
    pub(crate) token: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepKind {
    Write,
    Verify,
    Follow,
    Park,
}

/// A duplicate that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Follower {
    pub(crate) group: GroupId,
    pub(crate) token: String,
}

impl GroupRecord {
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.members.iter().flat_map(|member| &member.parts)
    }

    pub(crate) fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.members.iter_mut().flat_map(|member| &mut member.parts)
    }

    /// The volumes of its parts, each once.
    pub(crate) fn volumes(&self) -> Vec<Barcode> {
        let mut volumes: Vec<_> = self.parts().map(|part| part.volume.clone()).collect();
        volumes.sort_unstable();
        volumes.dedup();
        volumes
    }

    pub(crate) fn contender(&self, member: &MemberRecord, settled: bool) -> Contender {
        let c = &member.checkpoint;
        Contender {
            id: c.id,
            group: c.group,
            service: c.service.clone(),
            branch: c.branch.clone(),
            parent: c.parent,
            version: c.version.clone(),
            content: c.content,
            bytes: c.bytes,
            artifacts: c.artifacts,
            priority: self.group.priority,
            deadline: self.group.deadline,
            submitted_at: c.submitted_at,
            attempt: self.placement,
            settled,
            retention: c.retention.clone(),
            labels: self.group.labels.clone(),
        }
    }
}

impl Record for GroupRecord {
    fn key(&self) -> Key {
        keys::group(self.group.id)
    }
}

/// A checkpoint by its id; with its placements once committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CheckpointRecord {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) placements: Vec<Placement>,
}

impl Record for CheckpointRecord {
    fn key(&self) -> Key {
        keys::checkpoint(self.checkpoint.id)
    }
    fn gsi1(&self) -> Option<Key> {
        Some(Key::new(
            keys::checkpoints_of(&self.checkpoint.service),
            self.checkpoint.id.to_string(),
        ))
    }
    fn gsi2(&self) -> Option<Key> {
        Some(Key::new(keys::CHECKPOINTS, self.checkpoint.id.to_string()))
    }
}

/// What an idempotency key was used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdempotencyRecord {
    pub(crate) key: IdempotencyKey,
    pub(crate) payload: Sha256,
    pub(crate) group: GroupId,
    pub(crate) checkpoints: Vec<CheckpointId>,
    pub(crate) services: Vec<ServiceName>,
    pub(crate) expires: Timestamp,
}

impl Record for IdempotencyRecord {
    fn key(&self) -> Key {
        keys::idempotency(&self.key)
    }
    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires)
    }
}

impl Record for Service {
    fn key(&self) -> Key {
        keys::service(&self.name)
    }
    fn gsi1(&self) -> Option<Key> {
        Some(Key::new(keys::SERVICES, self.name.to_string()))
    }
}

impl Record for Pool {
    fn key(&self) -> Key {
        keys::pool(&self.name)
    }
}

/// A library: knows the pool that new cartridges go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LibraryRecord {
    pub(crate) library: LibraryId,
    pub(crate) default_pool: PoolName,
}

impl Record for LibraryRecord {
    fn key(&self) -> Key {
        keys::library(&self.library)
    }
}

/// A volume as its sessions know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeMeta {
    pub(crate) barcode: Barcode,
    pub(crate) library: LibraryId,
    pub(crate) pool: PoolName,
    pub(crate) lifecycle: VolumeLifecycle,
    /// What its label says, once it has one.
    pub(crate) uuid: Option<VolumeUuid>,
    /// What its label is to say: drawn once, so that a session after a crash between
    /// label and report means the same tape.
    pub(crate) drawn: Option<VolumeUuid>,
    pub(crate) position: Option<VolumePosition>,
    pub(crate) capacity: Bytes,
    pub(crate) used: Bytes,
    pub(crate) present: bool,
}

impl VolumeMeta {
    pub(crate) fn takes_more(&self) -> bool {
        self.present && self.lifecycle.is_writable()
    }
}

impl Record for VolumeMeta {
    fn key(&self) -> Key {
        keys::volume(&self.barcode)
    }
    fn gsi1(&self) -> Option<Key> {
        Some(Key::new(
            keys::volumes_of(&self.library),
            format!("{}#META", self.barcode),
        ))
    }
    fn gsi2(&self) -> Option<Key> {
        let rank = match self.lifecycle.state() {
            VolumeState::Appendable => 'A',
            _ => 'S',
        };
        self.takes_more().then(|| {
            Key::new(
                keys::open_volumes(&self.pool),
                format!("{rank}#{}", self.barcode),
            )
        })
    }
}

/// What is promised on a volume, and what became of promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeAccount {
    pub(crate) barcode: Barcode,
    pub(crate) library: LibraryId,
    pub(crate) reserved: Bytes,
    pub(crate) checkpoints: u64,
    pub(crate) abandoned: Bytes,
}

impl Record for VolumeAccount {
    fn key(&self) -> Key {
        keys::account(&self.barcode)
    }
    fn gsi1(&self) -> Option<Key> {
        Some(Key::new(
            keys::volumes_of(&self.library),
            format!("{}#ACCT", self.barcode),
        ))
    }
}

/// Who holds a volume, and the highest fence ever granted on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeLease {
    pub(crate) barcode: Barcode,
    pub(crate) library: LibraryId,
    pub(crate) fence: Fence,
    pub(crate) hold: Option<Hold>,
}

/// A session's hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) session: SessionId,
    pub(crate) agent: AgentId,
    pub(crate) instance: String,
    pub(crate) drive: DriveSerial,
    /// True once the agent proved the volume.
    pub(crate) ready: bool,
}

impl Record for VolumeLease {
    fn key(&self) -> Key {
        keys::volume_lease(&self.barcode)
    }
    fn gsi1(&self) -> Option<Key> {
        Some(Key::new(
            keys::volumes_of(&self.library),
            format!("{}#LEASE", self.barcode),
        ))
    }
}

/// A drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DriveMeta {
    pub(crate) serial: DriveSerial,
    pub(crate) library: LibraryId,
    pub(crate) element: u16,
    pub(crate) volume: Option<Barcode>,
    pub(crate) down: Option<Refusal>,
    /// Faults since it last finished work.
    pub(crate) faults: u32,
}

impl Record for DriveMeta {
    fn key(&self) -> Key {
        keys::drive(&self.library, &self.serial)
    }
    fn gsi1(&self) -> Option<Key> {
        Some(Key::new(
            keys::drives_of(&self.library),
            format!("{}#META", self.serial),
        ))
    }
}

/// Who holds a drive, and the highest fence ever granted on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DriveLease {
    pub(crate) serial: DriveSerial,
    pub(crate) library: LibraryId,
    pub(crate) fence: Fence,
    /// The session and the volume it holds.
    pub(crate) hold: Option<(SessionId, Barcode)>,
}

impl Record for DriveLease {
    fn key(&self) -> Key {
        keys::drive_lease(&self.library, &self.serial)
    }
    fn gsi1(&self) -> Option<Key> {
        Some(Key::new(
            keys::drives_of(&self.library),
            format!("{}#LEASE", self.serial),
        ))
    }
}

/// The sign of life of a session. Apart from the leases, so that renewing never
/// disturbs a claim or a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beat {
    pub(crate) session: SessionId,
    pub(crate) library: LibraryId,
    pub(crate) drive: DriveSerial,
    pub(crate) volume: Barcode,
    pub(crate) fence: Fence,
    pub(crate) expires: Timestamp,
    pub(crate) moved: Bytes,
    pub(crate) doing: String,
}

impl Record for Beat {
    fn key(&self) -> Key {
        keys::beat(self.session)
    }
    fn gsi2(&self) -> Option<Key> {
        Some(Key::new(
            keys::LEASES,
            format!("{:020}#{}", millis(self.expires), self.session),
        ))
    }
}

/// A work item: open, or claimed under a fence. Deleted once its result is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkRecord {
    pub(crate) key: WorkKey,
    pub(crate) owner: Owner,
    pub(crate) library: LibraryId,
    pub(crate) volume: Barcode,
    pub(crate) kind: WorkKind,
    /// Its place in line: text that sorts.
    pub(crate) line: String,
    /// About how many bytes move.
    pub(crate) bytes: Bytes,
    /// How many artifact ranges.
    pub(crate) artifacts: u32,
    pub(crate) task: Task,
    pub(crate) claimed: Option<Claimed>,
    /// How often it was claimed.
    pub(crate) grants: u32,
}

/// Whom a result concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Owner {
    /// Member, copy and part of a group.
    Group(GroupId, u32, u32),
    /// A request outside runs.
    Ask(RestoreId),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// The order without its artifacts, and which bytes of them.
    Write(Box<WriteOrder>, Bytes, Bytes),
    Verify(Box<VerifyOrder>),
    Restore(Box<RestoreOrder>),
    Scan,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claimed {
    pub(crate) session: SessionId,
    pub(crate) fence: Fence,
}

impl Record for WorkRecord {
    fn key(&self) -> Key {
        keys::work(&self.volume, &self.key)
    }
    fn gsi1(&self) -> Option<Key> {
        let open = keys::open_prefix(&self.volume, self.kind);
        self.claimed.is_none().then(|| {
            Key::new(
                keys::open_work(&self.library),
                format!("{open}{}#{}", self.line, self.key),
            )
        })
    }
}

/// A request outside runs: a restore, a re-verification or a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskRecord {
    pub(crate) id: RestoreId,
    /// The checkpoint; none for a scan.
    pub(crate) checkpoint: Option<CheckpointId>,
    /// Whose it is; none for a scan.
    pub(crate) service: Option<ServiceName>,
    pub(crate) state: RestoreState,
    pub(crate) requested_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) deliver: Option<String>,
    /// Work items without a result.
    pub(crate) waiting: Vec<WorkKey>,
    pub(crate) artifacts: u32,
    pub(crate) bytes: Bytes,
}

impl Record for AskRecord {
    fn key(&self) -> Key {
        keys::ask(self.id)
    }
}

/// The head of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeadRecord {
    #[serde(flatten)]
    pub(crate) head: LedgerHead,
    /// How many of its leaves say that a checkpoint was committed.
    pub(crate) committed: u64,
}

impl Record for HeadRecord {
    fn key(&self) -> Key {
        keys::ledger_head()
    }
}

/// The leaves that one transaction appended: of commits, or of decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeavesRecord {
    pub(crate) first: u64,
    pub(crate) leaves: Vec<String>,
}

impl Record for LeavesRecord {
    fn key(&self) -> Key {
        keys::ledger_leaves(self.first)
    }
}

/// A group that is final and whose pinned artifacts have to be let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnpinRecord {
    pub(crate) group: GroupId,
    pub(crate) checkpoints: Vec<CheckpointId>,
}

impl UnpinRecord {
    pub(crate) fn of(group: &Group) -> Self {
        Self {
            group: group.id,
            checkpoints: group.checkpoints.clone(),
        }
    }
}

impl Record for UnpinRecord {
    fn key(&self) -> Key {
        Key::new(keys::UNPIN, self.group.to_string())
    }
}
