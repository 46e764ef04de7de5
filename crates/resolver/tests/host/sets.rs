//! Conflict sets for tests.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use model::{
    Bytes, CheckpointId, ConflictSet, Contender, DriveState, DriveView, GroupId, PastOutcome,
    Priority, RetentionClass, Sha256, VolumeState, VolumeView,
};

/// The time of all decisions here: 2026-01-01.
pub(crate) const NOW_MS: i64 = 1_767_225_600_000;

/// The time of all decisions here.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millisecond(NOW_MS).unwrap()
}

fn before(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

/// A set with groups of these sizes: services, contents and priorities all differ, and
/// everything fits.
pub(crate) fn set(pool: &str, groups: &[usize]) -> ConflictSet {
    let mut contenders = Vec::new();
    for (g, size) in groups.iter().enumerate() {
        for _ in 0..*size {
            contenders.push(contender(g, contenders.len()));
        }
    }
    let mut set = ConflictSet {
        now: now(),
        library: "lib".parse().unwrap(),
        pool: pool.parse().unwrap(),
        contenders,
        volumes: (0..16).map(volume).collect(),
        drives: (0..8).map(drive).collect(),
        conflicts: Vec::new(),
        history: (0..32).map(past).collect(),
    };
    set.conflicts = policy::find_conflicts(&set);
    policy::sort_set(&mut set);
    set
}

fn contender(group: usize, n: usize) -> Contender {
    let at = 1_767_000_000_000 + n as u64;
    Contender {
        id: CheckpointId::from_parts(at, &[n as u8; 10]),
        group: GroupId::from_parts(1_767_000_000_000, &[group as u8; 10]),
        service: format!("team-{}/service-{n}", n % 4).parse().unwrap(),
        branch: None,
        parent: None,
        version: format!("1.{n}.0").parse().unwrap(),
        content: Sha256([n as u8; 32]),
        bytes: Bytes::gib(1 + n as u64 % 7),
        artifacts: 3,
        priority: Priority::try_from((n % 10) as u8).unwrap(),
        deadline: n
            .is_multiple_of(3)
            .then(|| now() + SignedDuration::from_secs(600 + n as i64)),
        submitted_at: before(3_600 - group as i64),
        attempt: 0,
        settled: false,
        retention: RetentionClass("standard".to_owned()),
        labels: BTreeMap::from([
            ("cost-centre".to_owned(), format!("{}", 4000 + n)),
            ("team".to_owned(), format!("team-{}", n % 4)),
        ]),
    }
}

fn volume(n: usize) -> VolumeView {
    VolumeView {
        volume: format!("TM{n:04}L9").parse().unwrap(),
        state: VolumeState::Scratch,
        free: Bytes::gib(1 << 14),
        mounted: n == 0,
    }
}

fn drive(n: usize) -> DriveView {
    DriveView {
        drive: format!("DRIVE{n}").parse().unwrap(),
        state: DriveState::Empty,
        volume: None,
    }
}

fn past(n: usize) -> PastOutcome {
    PastOutcome {
        id: CheckpointId::from_parts(1_766_000_000_000 + n as u64, &[n as u8; 10]),
        service: format!("team-{}/service-{n}", n % 4).parse().unwrap(),
        outcome: "proceed".to_owned(),
        bytes: Bytes::gib(n as u64),
        priority: Priority::try_from(5).unwrap(),
        submitted_at: before(9_000 + n as i64),
        decided_at: before(8_000 + n as i64),
        labels: BTreeMap::new(),
    }
}
