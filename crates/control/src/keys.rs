//! Where each record lies. Numbers are padded to 20 digits so that text sorts as they do.

use model::work::WorkKind;
use model::{
    AgentId, Barcode, CheckpointId, DecisionId, DriveSerial, GroupId, IdempotencyKey, LibraryId,
    PoolName, RestoreId, Scope, ServiceName, SessionId, Sha256, Version, WorkKey,
};

use crate::digest;
use crate::ports::Key;

pub(crate) const CHECKPOINTS: &str = "CPS";
pub(crate) const SERVICES: &str = "SVCS";
pub(crate) const LEASES: &str = "LEASES";
pub(crate) const OUTBOX: &str = "OBX";
pub(crate) const UNPIN: &str = "UNPIN";
pub(crate) const RELEASES: &str = "RSVS";
pub(crate) const BINDINGS: &str = "BIND";
pub(crate) const DECISIONS: &str = "DECS";
pub(crate) const AGENTS: &str = "AGENTS";

const META: &str = "META";

pub(crate) fn group(id: GroupId) -> Key {
    Key::new(format!("GRP#{id}"), META)
}

pub(crate) fn checkpoint(id: CheckpointId) -> Key {
    Key::new(format!("CP#{id}"), META)
}

pub(crate) fn checkpoints_of(service: &ServiceName) -> String {
    format!("SVC#{service}#CPS")
}

/// A service has no `#` in its name, a branch may: so it stands last.
fn line(service: &ServiceName, branch: Option<&Version>) -> String {
    match branch {
        Some(branch) => format!("{service}#={branch}"),
        None => format!("{service}#"),
    }
}

/// What concerns one lineage: a partition of the table, never of an index.
pub(crate) fn lineage_pk(service: &ServiceName, branch: Option<&Version>) -> String {
    format!("LIN#{}", line(service, branch))
}

/// Checkpoints of a lineage sort by age.
pub(crate) const LINEAGE_PREFIX: &str = "CP#";

pub(crate) fn lineage(service: &ServiceName, branch: Option<&Version>, id: CheckpointId) -> Key {
    Key::new(lineage_pk(service, branch), format!("{LINEAGE_PREFIX}{id}"))
}

/// What follows a parent in a lineage.
pub(crate) fn successor(
    service: &ServiceName,
    branch: Option<&Version>,
    parent: CheckpointId,
) -> Key {
    Key::new(lineage_pk(service, branch), format!("NEXT#{parent}"))
}

/// The prefix of those with the same content.
pub(crate) fn same_content(content: Sha256) -> String {
    format!("DIG#{content}#")
}

pub(crate) fn idempotency(key: &IdempotencyKey) -> Key {
    Key::new(format!("IDEM#{}", digest(key.as_str().as_bytes())), META)
}

pub(crate) fn service(name: &ServiceName) -> Key {
    Key::new(format!("SVC#{name}"), META)
}

pub(crate) fn pool(name: &PoolName) -> Key {
    Key::new(format!("POOL#{name}"), META)
}

pub(crate) fn open_volumes(pool: &PoolName) -> String {
    format!("POOL#{pool}#OPEN")
}

pub(crate) fn library(id: &LibraryId) -> Key {
    Key::new(format!("LIB#{id}"), META)
}

pub(crate) fn volumes_of(library: &LibraryId) -> String {
    format!("LIB#{library}#VOLS")
}

pub(crate) fn drives_of(library: &LibraryId) -> String {
    format!("LIB#{library}#DRVS")
}

pub(crate) fn volume_pk(barcode: &Barcode) -> String {
    format!("TAPE#{barcode}")
}

pub(crate) fn volume(barcode: &Barcode) -> Key {
    Key::new(volume_pk(barcode), META)
}

pub(crate) fn account(barcode: &Barcode) -> Key {
    Key::new(volume_pk(barcode), "ACCT")
}

pub(crate) fn volume_lease(barcode: &Barcode) -> Key {
    Key::new(volume_pk(barcode), "LEASE")
}

pub(crate) fn drive(library: &LibraryId, serial: &DriveSerial) -> Key {
    Key::new(format!("DRV#{library}#{serial}"), META)
}

pub(crate) fn drive_lease(library: &LibraryId, serial: &DriveSerial) -> Key {
    Key::new(format!("DRV#{library}#{serial}"), "LEASE")
}

pub(crate) fn beat(session: SessionId) -> Key {
    Key::new(format!("SES#{session}"), "BEAT")
}

/// Work lies with its volume, so that all of it is found there.
pub(crate) fn work(volume: &Barcode, key: &WorkKey) -> Key {
    Key::new(volume_pk(volume), format!("{WORK_PREFIX}{key}"))
}

pub(crate) const WORK_PREFIX: &str = "WRK#";

pub(crate) fn open_work(library: &LibraryId) -> String {
    format!("WORK#{library}")
}

pub(crate) fn open_prefix(volume: &Barcode, kind: WorkKind) -> String {
    let kind = match kind {
        WorkKind::Write => 'w',
        WorkKind::Verify => 'v',
        WorkKind::Restore => 'r',
        WorkKind::Scan => 's',
    };
    format!("{volume}#{kind}#")
}

/// All agents share a partition: they are read together, and are few.
pub(crate) fn agent(id: &AgentId) -> Key {
    Key::new(AGENTS, id.as_str())
}

pub(crate) fn ask(id: RestoreId) -> Key {
    Key::new(format!("ASK#{id}"), META)
}

pub(crate) fn ledger_head() -> Key {
    Key::new("LDG", "HEAD")
}

/// How many leaves share a partition.
pub(crate) const LEAVES_PER_PARTITION: u64 = 10_000;

pub(crate) fn ledger_partition(index: u64) -> String {
    format!("LDG#{:020}", index / LEAVES_PER_PARTITION)
}

pub(crate) fn ledger_leaf(index: u64) -> String {
    format!("LEAF#{index:020}")
}

pub(crate) fn ledger_leaves(first: u64) -> Key {
    Key::new(ledger_partition(first), ledger_leaf(first))
}

pub(crate) fn releases_of(name: &str) -> String {
    format!("RSV#{name}")
}

pub(crate) fn release(name: &str, version: &str) -> Key {
    Key::new(releases_of(name), format!("REL#{version}"))
}

/// All bindings share a partition: they are read together.
pub(crate) fn binding(scope: &Scope) -> Key {
    Key::new(BINDINGS, scope.to_string())
}

pub(crate) fn decision(id: DecisionId) -> Key {
    Key::new(format!("DEC#{id}"), META)
}

pub(crate) fn decision_input(id: DecisionId) -> Key {
    Key::new(format!("DEC#{id}"), "INPUT")
}

pub(crate) fn decision_shadow(id: DecisionId) -> Key {
    Key::new(format!("DEC#{id}"), "SHADOW")
}

pub(crate) fn history(pool: &PoolName) -> Key {
    Key::new(format!("POOL#{pool}"), "HIST")
}

pub(crate) fn manifest_document(id: CheckpointId) -> String {
    format!("manifests/{id}.json")
}

pub(crate) fn scan_document(id: RestoreId) -> String {
    format!("scans/{id}.json")
}
