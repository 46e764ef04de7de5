//! When a volume is mounted, when a batch ends, and which request is next.

use std::time::Duration;

use model::Bytes;
use tapemark_agent::config::{BatchLimits, Pace};
use tapemark_agent::policy::Experience;

/// How drives are used. One policy is one row of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name in the result.
    pub name: &'static str,
    /// What it does, in words.
    pub description: &'static str,
    /// When a drive gets a volume.
    pub mount: Mount,
    /// How long an idle volume stays with its drive; `None` keeps it for ever (pinned).
    pub hold: Option<Duration>,
    /// When written files are made durable.
    pub batch: BatchRule,
    /// How several drives share the requests.
    pub sharing: Sharing,
    /// Which waiting request is written next.
    pub order: Order,
    /// Unmount after so many files, however many wait. `None`: when the queue is empty.
    pub files_per_mount: Option<u32>,
    /// The pace at which the drive that wrote reads back what it wrote. `None`: not at all,
    /// which is what the scheduling notes and the systems compared with do.
    pub read_back: Option<Pace>,
}

/// When an empty drive gets a volume: with the first of these, counted as CTA counts
/// (`Scheduler.cpp`): queued work divided by one more than the volumes already mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount {
    /// So many queued bytes a mount.
    pub bytes: Option<Bytes>,
    /// So many queued files a mount.
    pub files: Option<u64>,
    /// The oldest has waited so long and nothing is mounted.
    pub age: Option<Duration>,
}

impl Mount {
    /// With the first request that no mounted drive is there for.
    pub const ON_DEMAND: Self = Self {
        bytes: None,
        files: Some(1),
        age: None,
    };
}

/// When a batch ends. The limits and what is made of them are the agent's own, for all
/// policies; only the wait for more may be a fixed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRule {
    /// The limits.
    pub limits: BatchLimits,
    /// True: the agent's rule, which never waits longer than a filemark takes. False: waits
    /// `limits.idle`, whatever a filemark takes.
    pub patience_as_measured: bool,
}

impl BatchRule {
    /// So many files, so many bytes, so many idle seconds.
    pub const fn fixed(files: u32, bytes: Bytes, idle_s: u64) -> Self {
        let idle = Duration::from_secs(idle_s);
        let limits = BatchLimits {
            checkpoints: files,
            bytes,
            idle,
            sync_cost: Duration::ZERO,
        };
        Self {
            limits,
            patience_as_measured: false,
        }
    }

    /// How the agent does it unless told otherwise.
    pub fn agent() -> Self {
        Self {
            limits: BatchLimits::default(),
            patience_as_measured: true,
        }
    }

    /// A synchronous filemark after every file.
    pub const PER_FILE: Self = Self::fixed(1, Bytes(u64::MAX), 0);
    /// What CTA does: every 200 files or 32 GB, and when the queue is empty.
    pub const CTA: Self = Self::fixed(200, Bytes(32_000_000_000), 0);
    /// What Phobos does: every 5 files or 1 GiB (its 10 s never come first here).
    pub const PHOBOS: Self = Self::fixed(5, Bytes::gib(1), 0);

    /// How long to wait for more while a batch is open.
    pub fn patience(&self, seen: &Experience) -> Duration {
        if self.patience_as_measured {
            seen.patience(&self.limits)
        } else {
            self.limits.idle
        }
    }
}

/// How several drives share the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One queue: whoever is free takes the next. No system that decides the volume before it
    /// writes can do better.
    Queue,
    /// Each request is given to a volume when it comes, the one with the least promised, as
    /// the control plane does for a pool with as many write drives.
    Volumes,
}

/// Which waiting request is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The oldest.
    Oldest,
    /// The smallest, unless the oldest has waited longer than this.
    Smallest(Duration),
}

/// The policies of the comparison, ours first.
pub fn compared() -> Vec<Policy> {
    let pinned = |name, description, batch| Policy {
        name,
        description,
        mount: Mount::ON_DEMAND,
        hold: None,
        batch,
        sharing: Sharing::Queue,
        order: Order::Oldest,
        files_per_mount: None,
        read_back: None,
    };
    let ours = Policy {
        sharing: Sharing::Volumes,
        ..pinned(
            "ours",
            "pinned volumes; a filemark at 200 checkpoints, 32 GiB, or when nothing came for as \
             long as a filemark takes (the agent's own code and defaults); each request is given \
             to the volume with the least promised, for a pool with as many write drives",
            BatchRule::agent(),
        )
    };
    let on_demand = Policy {
        hold: Some(Duration::ZERO),
        ..pinned(
            "mount on demand, unmount at once, sync per file",
            "a volume is mounted when a request waits that no mounted drive is there for, and goes \
             back when the queue is empty",
            BatchRule::PER_FILE,
        )
    };
    let batched = |name, description, mount, hold| Policy {
        mount,
        hold: Some(Duration::from_secs(hold)),
        ..pinned(name, description, BatchRule::CTA)
    };
    vec![
        ours.clone(),
        Policy {
            name: "ours, reading back",
            description: "ours, and the drive that wrote reads back, at the agent's default pace",
            read_back: Some(Pace::default()),
            ..ours.clone()
        },
        Policy {
            name: "ours, reading back only when idle",
            description: "ours with pace.unverified unlimited: writing always goes first",
            read_back: Some(Pace {
                unverified: Bytes(u64::MAX),
                ..Pace::default()
            }),
            ..ours.clone()
        },
        Policy {
            name: "ours, smallest first",
            description: "ours with another order of the queue: the smallest, unless the oldest has \
                          waited 600 s (an experiment: the agent takes the order it is given)",
            order: Order::Smallest(Duration::from_secs(600)),
            ..ours
        },
        pinned(
            "pinned, 200 files, 32 GiB or 10 idle s",
            "ours with a fixed wait of 10 s for more",
            BatchRule::fixed(200, Bytes::gib(32), 10),
        ),
        on_demand.clone(),
        batched(
            "mount on demand, unmount at once, CTA-size syncs",
            "a filemark every 200 files or 32 GB and when the queue is empty",
            Mount::ON_DEMAND,
            0,
        ),
        Policy {
            name: "FIFO",
            description: "strictly one job after the other in the order of arrival, each with its own \
                          mount, filemark and unmount, as a script around mt and tar does it",
            files_per_mount: Some(1),
            ..on_demand
        },
        batched(
            "CTA default, CTA-size syncs",
            "mount at 500 GB or 10,000 files a mount, or when the oldest has waited 3,600 s",
            Mount {
                bytes: Some(Bytes(500_000_000_000)),
                files: Some(10_000),
                age: Some(Duration::from_secs(3_600)),
            },
            0,
        ),
        batched(
            "100 GB or 600 s, CTA-size syncs",
            "mount at 100 GB a mount, or when the oldest has waited 600 s",
            Mount {
                bytes: Some(Bytes(100_000_000_000)),
                files: None,
                age: Some(Duration::from_secs(600)),
            },
            0,
        ),
        batched(
            "mount on demand, hold 300 s, CTA-size syncs",
            "an idle volume stays 300 s",
            Mount::ON_DEMAND,
            300,
        ),
        batched(
            "mount on demand, hold 3,600 s, CTA-size syncs",
            "an idle volume stays 3,600 s",
            Mount::ON_DEMAND,
            3_600,
        ),
        pinned(
            "pinned, CTA-size syncs",
            "a filemark every 200 files or 32 GB and when the queue is empty",
            BatchRule::CTA,
        ),
        pinned(
            "pinned, Phobos syncs",
            "a filemark every 5 files or 1 GiB and when the queue is empty",
            BatchRule::PHOBOS,
        ),
        pinned(
            "pinned, sync per file",
            "a filemark after every file",
            BatchRule::PER_FILE,
        ),
    ]
}

/// Every drive streams all the time there is work: with [`super::times::Limit`] the bound
/// that no policy beats in the order of arrival.
pub fn physical_limit() -> Policy {
    Policy {
        name: "physical limit",
        description: "bytes divided by the drives' rate, in the order of arrival: no mounts, no \
                      filemarks, no turns",
        mount: Mount::ON_DEMAND,
        hold: None,
        batch: BatchRule::PER_FILE,
        sharing: Sharing::Queue,
        order: Order::Oldest,
        files_per_mount: None,
        read_back: None,
    }
}
