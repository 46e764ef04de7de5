//! The sets that the checks try: corners that samples rarely reach.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{
    Barcode, Bytes, CheckpointId, ConflictSet, Contender, DriveState, DriveView, GroupId, Priority,
    ServiceName, Sha256, Version, VolumeState, VolumeView,
};

/// 2026-11-02T00:00:00Z in milliseconds.
const NOW: i64 = 1_793_577_600_000;
const MINUTE: i64 = 60_000;

/// The largest integer of the contract.
pub(super) const MOST: u64 = (1 << 53) - 1;

/// A set by hand: `count` requests, each of a group, service and content of its own,
/// submitted a second apart, and one volume with room for all.
pub(super) fn plain(count: u8) -> ConflictSet {
    let mut set = ConflictSet {
        now: instant(NOW),
        library: named("lib-a"),
        pool: named("main"),
        contenders: (0..count).map(request).collect(),
        volumes: vec![volume(0, u64::from(count) * 1_000_000)],
        drives: vec![DriveView {
            drive: named("DRV000"),
            state: DriveState::Empty,
            volume: None,
        }],
        conflicts: Vec::new(),
        history: Vec::new(),
    };
    finish(&mut set);
    set
}

/// The request number `n` of [`plain`].
fn request(n: u8) -> Contender {
    let submitted = NOW - 10 * MINUTE + i64::from(n) * 1_000;
    Contender {
        id: checkpoint(submitted, n),
        group: group(submitted, n),
        service: named::<ServiceName>(&format!("team/service-{n}")),
        branch: None,
        parent: None,
        version: named("1.0.0"),
        content: content(n),
        bytes: Bytes(1_000_000),
        artifacts: 3,
        priority: Priority::default(),
        deadline: None,
        submitted_at: instant(submitted),
        attempt: 0,
        settled: false,
        retention: Default::default(),
        labels: BTreeMap::new(),
    }
}

fn volume(n: u8, free: u64) -> VolumeView {
    VolumeView {
        volume: named::<Barcode>(&format!("TM{n:04}L9")),
        state: VolumeState::Appendable,
        free: Bytes(free),
        mounted: false,
    }
}

/// Finds the conflicts, and sorts.
fn finish(set: &mut ConflictSet) {
    set.conflicts = policy::find_conflicts(set);
    policy::sort_set(set);
}

/// A set out of [`plain`] with something changed.
fn with(count: u8, change: impl FnOnce(&mut ConflictSet)) -> ConflictSet {
    let mut set = plain(count);
    change(&mut set);
    finish(&mut set);
    set
}

/// Everything the same but the ids.
pub(super) fn ties() -> Vec<ConflictSet> {
    let tie = |set: &mut ConflictSet| {
        for (c, n) in set.contenders.iter_mut().zip(0..) {
            c.submitted_at = instant(NOW - MINUTE);
            c.id = checkpoint(NOW - MINUTE, n);
            c.group = group(NOW - MINUTE, n);
            c.deadline = Some(instant(NOW + MINUTE));
        }
    };
    vec![
        with(2, tie),
        with(12, tie),
        // Of one lineage: the group's id is all there is to decide by.
        with(5, |set| {
            tie(set);
            for c in &mut set.contenders {
                c.service = named("team/service");
            }
        }),
        with(4, |set| {
            tie(set);
            for c in &mut set.contenders {
                c.service = named("team/service");
                c.content = content(1);
            }
        }),
    ]
}

/// Words in many scripts, and none.
pub(super) fn unicode() -> Vec<ConflictSet> {
    let words = [
        "",
        " ",
        "zürich",
        "検証済み",
        "مرحبا",
        "🦀🧪",
        "e\u{301}\u{0}\u{1f}",
        "\u{202e}abc",
        "\u{feff}",
        "\u{10ffff}",
        "\"'\\</script>&amp;\r\n\t",
    ];
    let label = |set: &mut ConflictSet| {
        for (c, word) in set.contenders.iter_mut().zip(words) {
            c.labels.insert("team".to_owned(), word.to_owned());
            c.labels.insert(word.to_owned(), "x".to_owned());
        }
    };
    vec![
        with(11, label),
        with(11, |set| {
            label(set);
            for c in &mut set.contenders {
                c.service = named("team/service");
            }
        }),
        with(2, |set| {
            let long = "ß".repeat(500);
            set.contenders[0].labels.insert(long.clone(), long);
        }),
    ]
}

/// Numbers at both ends.
pub(super) fn integers() -> Vec<ConflictSet> {
    let latest = i64::try_from(MOST)
        .unwrap_or(i64::MAX)
        .min(Timestamp::MAX.as_millisecond());
    vec![
        with(3, |set| {
            for c in &mut set.contenders {
                c.bytes = Bytes(MOST);
                c.artifacts = u32::MAX;
                c.attempt = u32::MAX;
                c.priority = Priority::try_from(9).unwrap_or_default();
                c.deadline = Some(instant(latest));
            }
            set.volumes = vec![volume(0, MOST), volume(1, MOST)];
        }),
        with(3, |set| {
            for (c, n) in set.contenders.iter_mut().zip(0..) {
                c.bytes = Bytes(0);
                c.artifacts = 0;
                c.priority = Priority::try_from(0).unwrap_or_default();
                c.submitted_at = instant(0);
                c.id = checkpoint(0, n);
                c.group = group(0, n);
                c.deadline = Some(instant(1));
            }
            set.now = instant(0);
            set.volumes = vec![volume(0, 0)];
        }),
        with(200, |set| {
            for c in &mut set.contenders {
                c.bytes = Bytes(MOST);
            }
            set.volumes = vec![volume(0, MOST)];
        }),
    ]
}

/// Everything that can be absent, absent; then everything present.
pub(super) fn options() -> Vec<ConflictSet> {
    vec![
        with(6, |set| {
            set.volumes.clear();
            set.drives.clear();
        }),
        with(6, |set| {
            let parent = checkpoint(NOW - 600 * MINUTE, 250);
            for c in &mut set.contenders {
                c.branch = Some(named::<Version>("hotfix"));
                c.parent = Some(parent);
                c.deadline = Some(instant(NOW + MINUTE));
                c.labels.insert("team".to_owned(), "payments".to_owned());
            }
            set.drives[0].state = DriveState::Loaded;
            set.drives[0].volume = Some(set.volumes[0].volume.clone());
            set.volumes[0].mounted = true;
        }),
    ]
}

/// What an agent has a hand in already.
pub(super) fn settled() -> Vec<ConflictSet> {
    let one_lineage = |set: &mut ConflictSet| {
        for c in &mut set.contenders {
            c.service = named("team/service");
        }
    };
    vec![
        with(6, |set| {
            set.contenders.iter_mut().for_each(|c| c.settled = true)
        }),
        // Late, too large, superseded: settled all the same.
        with(6, |set| {
            one_lineage(set);
            set.contenders[0].settled = true;
            set.contenders[0].deadline = Some(instant(NOW - MINUTE));
            set.volumes[0].free = Bytes(0);
        }),
        // Two successors of one parent, both settled: nobody can undo that.
        with(4, |set| {
            one_lineage(set);
            let parent = checkpoint(NOW - 600 * MINUTE, 250);
            for c in &mut set.contenders {
                c.parent = Some(parent);
                c.settled = true;
            }
        }),
        // One member makes the group.
        with(4, |set| {
            let first = set.contenders[0].clone();
            for c in &mut set.contenders[1..3] {
                c.group = first.group;
                c.submitted_at = first.submitted_at;
            }
            set.contenders[1].settled = true;
            set.volumes[0].free = Bytes(0);
        }),
    ]
}

/// Groups that overlap.
pub(super) fn groups() -> Vec<ConflictSet> {
    // Groups of three, each sharing one service with the next.
    let chained = |set: &mut ConflictSet| {
        let leaders: Vec<_> = set.contenders.clone();
        for n in 0..set.contenders.len() {
            let leader = &leaders[n - n % 3];
            let c = &mut set.contenders[n];
            c.group = leader.group;
            c.submitted_at = leader.submitted_at;
            c.service = named(&format!("team/service-{}", n - n / 3));
        }
    };
    vec![
        with(12, chained),
        with(12, |set| {
            chained(set);
            set.volumes[0].free = Bytes(4_000_000);
        }),
        // Two groups of the same services: one as a whole, whatever becomes of it.
        with(6, |set| {
            let leaders: Vec<_> = set.contenders.clone();
            for n in 0..6 {
                let c = &mut set.contenders[n];
                c.group = leaders[n / 3].group;
                c.submitted_at = leaders[n / 3].submitted_at;
                c.service = named(&format!("team/service-{}", n % 3));
            }
        }),
        // The same, but one member holds what the other group's does.
        with(6, |set| {
            let leaders: Vec<_> = set.contenders.clone();
            for n in 0..6 {
                let c = &mut set.contenders[n];
                c.group = leaders[n / 3].group;
                c.submitted_at = leaders[n / 3].submitted_at;
                c.service = named(&format!("team/service-{}", n % 3));
                c.content = content(u8::try_from(if n == 3 { 0 } else { n }).unwrap_or(0));
            }
        }),
    ]
}

/// Lineages that fork, repeat and go on.
pub(super) fn lineages() -> Vec<ConflictSet> {
    let parent = checkpoint(NOW - 600 * MINUTE, 250);
    let forked = move |set: &mut ConflictSet| {
        for c in &mut set.contenders {
            c.service = named("team/service");
            c.parent = Some(parent);
        }
    };
    vec![
        with(2, forked),
        with(8, forked),
        // Declared branches are no fork.
        with(2, |set| {
            forked(set);
            set.contenders[1].branch = Some(named("hotfix"));
        }),
        // A fork of what is settled.
        with(3, |set| {
            forked(set);
            set.contenders[2].settled = true;
        }),
        // Duplicates, with different retention.
        with(4, |set| {
            for (c, class) in set
                .contenders
                .iter_mut()
                .zip(["standard", "long", "standard", "long"])
            {
                c.service = named("team/service");
                c.content = content(1);
                c.retention = model::RetentionClass(class.to_owned());
            }
        }),
        // Each follows the one before: newer ones supersede, or all go.
        with(5, |set| {
            for n in 0_usize..5 {
                let before = n.checked_sub(1).map(|b| set.contenders[b].id);
                set.contenders[n].service = named("team/service");
                set.contenders[n].parent = before;
            }
        }),
    ]
}

/// Too little room, none, and just enough.
pub(super) fn capacity() -> Vec<ConflictSet> {
    let free = |bytes: u64| with(8, move |set| set.volumes[0].free = Bytes(bytes));
    vec![
        free(0),
        free(7_999_999),
        free(8_000_000),
        with(8, |set| set.volumes.clear()),
        with(8, |set| {
            set.volumes = (0..8).map(|n| volume(n, 999_999)).collect();
        }),
    ]
}

/// Deadlines that are past, now, and ahead.
pub(super) fn deadlines() -> Vec<ConflictSet> {
    let all = |at: i64| {
        with(6, move |set| {
            for c in &mut set.contenders {
                c.deadline = Some(instant(NOW + at));
            }
        })
    };
    vec![all(-MINUTE), all(0), all(1), all(MINUTE)]
}

fn checkpoint(millis: i64, n: u8) -> CheckpointId {
    CheckpointId::from_parts(u64::try_from(millis).unwrap_or(0), &[n; 10])
}

fn group(millis: i64, n: u8) -> GroupId {
    GroupId::from_parts(u64::try_from(millis).unwrap_or(0), &[n; 10])
}

fn content(n: u8) -> Sha256 {
    Sha256([n; 32])
}

fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

/// A name that is made here, by the rules of its kind.
fn named<T: std::str::FromStr>(text: &str) -> T {
    let Ok(name) = text.parse() else {
        unreachable!("the names of this file are letters, digits, hyphens and slashes: {text:?}")
    };
    name
}
