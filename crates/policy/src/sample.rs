//! Conflict sets out of a seed: for tests, for the conformance kit, for benchmarks.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    Barcode, Bytes, CheckpointId, ConflictSet, Contender, DriveState, DriveView, GroupId,
    MAX_CONTENDERS, MAX_HISTORY, PastOutcome, Priority, RetentionClass, ServiceName, Sha256,
    Version, VolumeState, VolumeView,
};
use sha2::Digest as _;

use crate::{find_conflicts, is_settled, sort_set};

/// 2026-11-02T00:00:00Z in milliseconds: the samples lie in the three weeks after it.
const START: u64 = 1_793_577_600_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// Teams with what their services do. Label values need not be ASCII; one is not.
const TEAMS: [(&str, &str, [&str; 4]); 6] = [
    ("payments", "payments", ["api", "ledger", "fraud", "web"]),
    ("search", "search", ["index", "query", "crawler", "ranker"]),
    ("media", "media", ["encoder", "store", "thumbs", "cdn"]),
    ("identity", "identity", ["login", "tokens", "audit", "ldap"]),
    (
        "logistik-zürich",
        "logistics",
        ["routes", "fleet", "depot", "eta"],
    ),
    ("platform", "platform", ["dns", "mesh", "config", "queue"]),
];

/// A conflict set of `size` requests (more than [`MAX_CONTENDERS`] count as that many):
/// realistic, in canonical order, and the same for the same arguments on every machine
/// and in every release of this crate that says nothing else in its changelog.
///
/// Services belong to teams (label `team`; some services lack it), lineages hold
/// duplicates, forks and successors, groups have one to six members that share time,
/// priority and deadline, some are settled, some are late, and in a third of the sets not
/// all fit. Every instant is a whole millisecond, every number is below 2^53, and
/// `conflicts` is what [`find_conflicts`] finds.
///
/// ```
/// let set = policy::sample(7, 32);
/// assert_eq!(set.contenders.len(), 32);
/// assert_eq!(policy::canonical_set(&set), policy::canonical_set(&policy::sample(7, 32)));
/// ```
pub fn sample(seed: u64, size: usize) -> ConflictSet {
    let size = size.min(MAX_CONTENDERS);
    let mut dice = Dice(seed ^ (size as u64).rotate_left(48));
    let now = START + dice.below(21 * 24 * HOUR);
    let mut services = services(&mut dice, size);
    let contenders = contenders(&mut dice, &mut services, now, size);
    let history = history(&mut dice, &services, now);
    let mut set = ConflictSet {
        now: instant(now),
        library: named("lib-a"),
        pool: named("main"),
        contenders,
        volumes: Vec::new(),
        drives: Vec::new(),
        conflicts: Vec::new(),
        history,
    };
    set.volumes = volumes(&mut dice, &set);
    set.drives = drives(&mut dice, &mut set.volumes);
    set.conflicts = find_conflicts(&set);
    sort_set(&mut set);
    set
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to roll dice with.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `end`; 0 where `end` is 0. The bias is at most `end` in 2^64.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// Ten bytes for the tail of an id.
    fn tail(&mut self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.next().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next().to_le_bytes()[..2]);
        bytes
    }
}

/// What one content is like, wherever it is submitted.
#[derive(Clone)]
struct Content {
    digest: Sha256,
    bytes: Bytes,
    artifacts: u32,
}

/// One service, with what its lineages have seen so far.
struct Service {
    name: ServiceName,
    labels: BTreeMap<String, String>,
    branches: Vec<Option<Version>>,
    tip: CheckpointId,
    contents: Vec<Content>,
    versions: u64,
}

fn services(dice: &mut Dice, size: usize) -> Vec<Service> {
    // From every request for a service of its own to ten for each.
    let count = size * 10 / (10 + dice.index(91)) + 1;
    let teams = 2 + dice.index(TEAMS.len() - 1);
    (0..count)
        .map(|n| {
            let (team, path, parts) = &TEAMS[dice.index(teams)];
            let mut labels = BTreeMap::new();
            if !dice.percent(15) {
                labels.insert("team".to_owned(), (*team).to_owned());
            }
            let mut branches = vec![None];
            if dice.percent(15) {
                branches.push(Some(named("hotfix")));
            }
            Service {
                name: named(&format!("{path}/{}-{n}", dice.pick(parts))),
                labels,
                branches,
                tip: CheckpointId::from_parts(START - dice.below(72 * HOUR), &dice.tail()),
                contents: Vec::new(),
                versions: dice.below(40),
            }
        })
        .collect()
}

fn contenders(dice: &mut Dice, services: &mut [Service], now: u64, size: usize) -> Vec<Contender> {
    let mut all: Vec<Contender> = Vec::with_capacity(size);
    let hurried = *dice.pick(&[5, 30, 60]);
    let mut submitted = now;
    while all.len() < size {
        let most = (size - all.len()).min(services.len()).min(6);
        let members = if dice.percent(75) {
            1
        } else {
            1 + dice.index(most)
        };
        // Now and then two groups come in the same millisecond.
        if !dice.percent(8) {
            submitted = now - dice.below(4 * HOUR);
        }
        let group = GroupId::from_parts(submitted, &dice.tail());
        let urgent = dice.percent(hurried);
        let deadline = urgent.then(|| instant(now - 20 * MINUTE + dice.below(6 * HOUR)));
        let priority = *dice.pick(&[0, 2, 3, 4, 5, 5, 5, 5, 6, 7, 8, 9]);
        let attempt = u32::try_from(dice.below(8).saturating_sub(4)).unwrap_or(0);
        let settled = dice.percent(15);
        // The agent has begun with one member, or has them all.
        let first_only = dice.percent(20);
        for (index, service) in distinct(dice, services.len(), members)
            .into_iter()
            .enumerate()
        {
            let service = &mut services[service];
            let settled = settled && (index == 0 || !first_only);
            let mut contender = member(dice, service, submitted, settled);
            contender.group = group;
            contender.deadline = deadline;
            contender.priority = Priority::try_from(priority).unwrap_or_default();
            contender.attempt = attempt;
            all.push(contender);
        }
    }
    all
}

fn member(dice: &mut Dice, service: &mut Service, submitted: u64, settled: bool) -> Contender {
    let content = if !service.contents.is_empty() && dice.percent(30) {
        dice.pick(&service.contents).clone()
    } else {
        let new = content(dice);
        service.contents.push(new.clone());
        new
    };
    service.versions += dice.below(2);
    let id = CheckpointId::from_parts(submitted, &dice.tail());
    let parent = match dice.below(10) {
        0..=3 => Some(service.tip),
        4 => Some(CheckpointId::from_parts(START - HOUR, &dice.tail())),
        _ => None,
    };
    // What is settled is soon committed, and then somebody builds on it.
    if settled && dice.percent(40) {
        service.tip = id;
    }
    let mut labels = service.labels.clone();
    if dice.percent(30) {
        labels.insert("commit".to_owned(), format!("{:016x}", dice.next()));
    }
    Contender {
        id,
        group: GroupId::from_parts(submitted, &[0; 10]),
        service: service.name.clone(),
        branch: dice.pick(&service.branches).clone(),
        parent,
        version: named(&format!("1.{}.{}", service.versions, dice.below(4))),
        content: content.digest,
        bytes: content.bytes,
        artifacts: content.artifacts,
        priority: Priority::default(),
        deadline: None,
        submitted_at: instant(submitted),
        attempt: 0,
        settled,
        retention: RetentionClass(
            dice.pick(&["standard", "standard", "standard", "standard", "long"])
                .to_string(),
        ),
        labels,
    }
}

/// From 1 KiB to 64 GiB, each power of two as likely as the other.
fn content(dice: &mut Dice) -> Content {
    let least = 1 << (10 + dice.below(26));
    Content {
        digest: Sha256(sha2::Sha256::digest(dice.next().to_le_bytes()).into()),
        bytes: Bytes(least + dice.below(least)),
        artifacts: u32::try_from(1 + dice.below(400)).unwrap_or(1),
    }
}

/// `count` different indices below `len`, or all of them.
fn distinct(dice: &mut Dice, len: usize, count: usize) -> Vec<usize> {
    let mut chosen = BTreeSet::new();
    while chosen.len() < count.min(len) {
        chosen.insert(dice.index(len));
    }
    chosen.into_iter().collect()
}

fn volumes(dice: &mut Dice, set: &ConflictSet) -> Vec<VolumeView> {
    let needed: Bytes = set
        .contenders
        .iter()
        .filter(|c| !is_settled(set, c.group))
        .map(|c| c.bytes)
        .sum();
    let share = if dice.percent(35) {
        20 + dice.below(80)
    } else {
        100 + dice.below(200)
    };
    // The sum of at most 256 requests of less than 128 GiB: the product is below 2^53.
    let mut left = needed.0 * share / 100 + dice.below(1 << 20);
    let count = 1 + dice.below(8);
    (0..count)
        .map(|n| {
            let free = if n + 1 == count {
                left
            } else {
                dice.below(left)
            };
            left -= free;
            VolumeView {
                volume: named::<Barcode>(&format!("TM{n:04}L9")),
                state: if dice.percent(30) {
                    VolumeState::Scratch
                } else {
                    VolumeState::Appendable
                },
                free: Bytes(free),
                mounted: false,
            }
        })
        .collect()
}

/// The drives, which mount some of the volumes.
fn drives(dice: &mut Dice, volumes: &mut [VolumeView]) -> Vec<DriveView> {
    let mut unmounted = (0..volumes.len()).collect::<Vec<_>>();
    (0..1 + dice.below(4))
        .map(|n| {
            let state = match dice.below(10) {
                0..=1 => DriveState::Empty,
                2..=5 => DriveState::Loaded,
                6..=8 => DriveState::InSession,
                _ => DriveState::Down,
            };
            let takes = matches!(state, DriveState::Loaded | DriveState::InSession);
            let volume = if !takes {
                None
            } else if unmounted.is_empty() || dice.percent(20) {
                // One of another pool.
                Some(named(&format!("XX{n:04}L9")))
            } else {
                let index = dice.index(unmounted.len());
                let view = &mut volumes[unmounted.swap_remove(index)];
                view.mounted = true;
                Some(view.volume.clone())
            };
            DriveView {
                drive: named(&format!("DRV{n:03}")),
                state,
                volume,
            }
        })
        .collect()
}

fn history(dice: &mut Dice, services: &[Service], now: u64) -> Vec<PastOutcome> {
    let count = dice.below(MAX_HISTORY as u64 + 1);
    (0..count)
        .map(|_| {
            // The square of a die: a few services have most of the past.
            let service = &services[dice.index(services.len()).min(dice.index(services.len()))];
            let decided = now - 1 - dice.below(24 * HOUR);
            let submitted = decided - dice.below(2 * HOUR);
            let outcome = match dice.below(10) {
                0..=5 => "proceed",
                6 => "supersede",
                7 => "merge",
                8 => "defer",
                _ => "reject",
            };
            PastOutcome {
                id: CheckpointId::from_parts(submitted, &dice.tail()),
                service: service.name.clone(),
                outcome: outcome.to_owned(),
                bytes: content(dice).bytes,
                priority: Priority::try_from(*dice.pick(&[2, 5, 5, 7])).unwrap_or_default(),
                submitted_at: instant(submitted),
                decided_at: instant(decided),
                labels: service.labels.clone(),
            }
        })
        .collect()
}

/// A name that is made here, by the rules of its kind.
fn named<T: std::str::FromStr>(text: &str) -> T {
    let Ok(name) = text.parse() else {
        unreachable!("the names of this file are letters, digits, hyphens and slashes: {text:?}")
    };
    name
}

fn instant(millis: u64) -> Timestamp {
    i64::try_from(millis)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .expect("the times of this file lie within a month of 2026")
}
