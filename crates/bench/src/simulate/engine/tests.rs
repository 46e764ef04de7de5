//! Tiny cases by hand, and what must hold for all.

use scsi::FormFactor;
use tapemark_agent::config::{BatchLimits, Pace};

use super::super::policy::{BatchRule, Mount, compared};
use super::super::times::Lto9;
use super::super::workload::Workload;
use super::*;
use Doing::{Mount as M, ReadBack as R, Sync as S, Unmount as U, Write as W};

/// Mount 20 s, unmount 30 s, filemark 3 s, 1 MB/s, any locate 7 s.
struct Simple;

impl Mechanics for Simple {
    fn mount(&self, _: Bytes) -> Duration {
        Duration::from_secs(20)
    }
    fn unmount(&self, _: Bytes, _: Bytes) -> Duration {
        Duration::from_secs(30)
    }
    fn locate(&self, from: Bytes, to: Bytes) -> Duration {
        Duration::from_secs(if from == to { 0 } else { 7 })
    }
    fn stream(&self, _: Bytes, size: Bytes) -> Duration {
        Duration::from_micros(size.0)
    }
    fn sync(&self) -> Duration {
        Duration::from_secs(3)
    }
}

const PINNED: Policy = Policy {
    name: "pinned",
    description: "",
    mount: Mount::ON_DEMAND,
    hold: None,
    batch: BatchRule::fixed(2, Bytes(50_000_000), 4),
    sharing: Sharing::Queue,
    order: Order::Oldest,
    files_per_mount: None,
    read_back: None,
};

/// Requests of (second, megabytes).
fn requests(list: &[(u64, u64)]) -> Vec<Request> {
    let request = |(at, size): &(u64, u64)| Request {
        at: Duration::from_secs(*at),
        size: Bytes(size * 1_000_000),
        burst: false,
    };
    list.iter().map(request).collect()
}

/// Runs and compares with spans of (drive, what, from, until) in whole seconds.
fn check(
    list: &[(u64, u64)],
    drives: usize,
    policy: &Policy,
    spans: &[(usize, Doing, u64, u64)],
) -> Trace {
    let trace = run(&requests(list), drives, policy, &Simple).unwrap();
    let seen: Vec<_> = trace
        .spans
        .iter()
        .map(|span| {
            (
                span.drive,
                span.doing,
                span.from.as_secs(),
                span.until.as_secs(),
            )
        })
        .collect();
    assert_eq!(seen, spans);
    trace
}

#[test]
fn a_batch_ends_when_it_is_full_and_when_nothing_comes() {
    let trace = check(
        &[(0, 1), (1, 2), (2, 5)],
        1,
        &PINNED,
        &[
            (0, M, 0, 20),
            (0, W(0), 20, 21),
            (0, W(1), 21, 23),
            (0, S, 23, 26),
            (0, W(2), 26, 31),
            (0, S, 35, 38),
        ],
    );
    assert_eq!(trace.synced, [26, 26, 38].map(Duration::from_secs));
}

#[test]
fn a_request_that_comes_while_the_drive_waits_joins_the_batch() {
    check(
        &[(0, 1), (23, 1)],
        1,
        &PINNED,
        &[
            (0, M, 0, 20),
            (0, W(0), 20, 21),
            (0, W(1), 23, 24),
            (0, S, 24, 27),
        ],
    );
}

#[test]
fn a_batch_ends_when_it_has_its_bytes() {
    let policy = Policy {
        batch: BatchRule::fixed(9, Bytes(50_000_000), 4),
        ..PINNED
    };
    check(
        &[(0, 50), (0, 1)],
        1,
        &policy,
        &[
            (0, M, 0, 20),
            (0, W(0), 20, 70),
            (0, S, 70, 73),
            (0, W(1), 73, 74),
            (0, S, 78, 81),
        ],
    );
}

#[test]
fn on_demand_a_volume_goes_back_when_the_queue_is_empty() {
    let policy = Policy {
        hold: Some(Duration::ZERO),
        batch: BatchRule::PER_FILE,
        ..PINNED
    };
    check(
        &[(0, 1), (25, 1)],
        1,
        &policy,
        &[
            (0, M, 0, 20),
            (0, W(0), 20, 21),
            (0, S, 21, 24),
            (0, U, 24, 54),
            (0, M, 54, 74),
            (0, W(1), 74, 75),
            (0, S, 75, 78),
            (0, U, 78, 108),
        ],
    );
}

#[test]
fn a_held_volume_waits_for_the_next() {
    let policy = Policy {
        hold: Some(Duration::from_secs(60)),
        batch: BatchRule::PER_FILE,
        ..PINNED
    };
    check(
        &[(0, 1), (70, 1)],
        1,
        &policy,
        &[
            (0, M, 0, 20),
            (0, W(0), 20, 21),
            (0, S, 21, 24),
            (0, W(1), 70, 71),
            (0, S, 71, 74),
            (0, U, 131, 161),
        ],
    );
}

#[test]
fn one_job_a_mount_unmounts_although_others_wait() {
    let policy = Policy {
        hold: Some(Duration::ZERO),
        batch: BatchRule::PER_FILE,
        files_per_mount: Some(1),
        ..PINNED
    };
    check(
        &[(0, 1), (0, 1)],
        1,
        &policy,
        &[
            (0, M, 0, 20),
            (0, W(0), 20, 21),
            (0, S, 21, 24),
            (0, U, 24, 54),
            (0, M, 54, 74),
            (0, W(1), 74, 75),
            (0, S, 75, 78),
            (0, U, 78, 108),
        ],
    );
}

#[test]
fn a_threshold_waits_for_bytes_or_age() {
    let mount = Mount {
        bytes: Some(Bytes(10_000_000)),
        files: None,
        age: Some(Duration::from_secs(100)),
    };
    let policy = Policy {
        mount,
        hold: Some(Duration::ZERO),
        ..PINNED
    };
    check(
        &[(0, 1), (5, 9), (200, 1)],
        1,
        &policy,
        &[
            (0, M, 5, 25),
            (0, W(0), 25, 26),
            (0, W(1), 26, 35),
            (0, S, 35, 38),
            (0, U, 38, 68),
            (0, M, 300, 320),
            (0, W(2), 320, 321),
            (0, S, 325, 328),
            (0, U, 328, 358),
        ],
    );
}

#[test]
fn a_policy_without_an_age_limit_is_found_out() {
    let mount = Mount {
        bytes: Some(Bytes(10_000_000)),
        files: None,
        age: None,
    };
    let stuck = run(
        &requests(&[(0, 1)]),
        2,
        &Policy { mount, ..PINNED },
        &Simple,
    )
    .unwrap_err();
    assert_eq!((stuck.left, stuck.drives), (1, 2));
}

#[test]
fn two_drives_share_the_queue_and_one_request_mounts_one() {
    check(
        &[(0, 1), (3, 4)],
        2,
        &PINNED,
        &[
            (0, M, 0, 20),
            (1, M, 3, 23),
            (0, W(0), 20, 21),
            (0, W(1), 21, 25),
            (0, S, 25, 28),
        ],
    );
}

#[test]
fn volumes_with_the_least_promised_take_the_next() {
    let policy = Policy {
        sharing: Sharing::Volumes,
        ..PINNED
    };
    check(
        &[(0, 9), (1, 2), (1, 3), (50, 1)],
        2,
        &policy,
        &[
            (0, M, 0, 20),
            (1, M, 1, 21),
            (0, W(0), 20, 29),
            (1, W(1), 21, 23),
            (1, W(2), 23, 26),
            (1, S, 26, 29),
            (0, S, 33, 36),
            // Nothing is promised any more: the first.
            (0, W(3), 50, 51),
            (0, S, 55, 58),
        ],
    );
}

#[test]
fn the_smallest_goes_first_until_the_oldest_loses_patience() {
    let order = Order::Smallest(Duration::from_secs(22));
    let batch = BatchRule::fixed(9, Bytes(50_000_000), 4);
    check(
        &[(0, 9), (1, 3), (1, 2), (1, 1)],
        1,
        &Policy {
            order,
            batch,
            ..PINNED
        },
        &[
            (0, M, 0, 20),
            (0, W(3), 20, 21),
            (0, W(2), 21, 23),
            (0, W(0), 23, 32),
            (0, W(1), 32, 35),
            (0, S, 39, 42),
        ],
    );
}

#[test]
fn the_agent_waits_no_longer_than_a_filemark_takes() {
    let limits = BatchLimits {
        sync_cost: Duration::from_secs(5),
        ..BatchLimits::default()
    };
    let batch = BatchRule {
        limits,
        patience_as_measured: true,
    };
    check(
        &[(0, 1), (100, 1)],
        1,
        &Policy { batch, ..PINNED },
        &[
            (0, M, 0, 20),
            (0, W(0), 20, 21),
            (0, S, 26, 29),
            (0, W(1), 100, 101),
            // A filemark took 3 s, not 5.
            (0, S, 104, 107),
        ],
    );
}

#[test]
fn reading_back_waits_for_idleness_but_not_for_ever() {
    let pace = Pace {
        unverified: Bytes(4_000_000),
        ..Pace::default()
    };
    let trace = check(
        &[(0, 1), (0, 2), (0, 3), (0, 4), (0, 1)],
        1,
        &Policy {
            read_back: Some(pace),
            ..PINNED
        },
        &[
            (0, M, 0, 20),
            (0, W(0), 20, 21),
            (0, W(1), 21, 23),
            (0, S, 23, 26),
            (0, W(2), 26, 29),
            (0, W(3), 29, 33),
            (0, S, 33, 36),
            // 7 s back to the first; two a claim, because a batch is two; then on from there.
            (0, R(2), 36, 46),
            (0, R(2), 46, 53),
            (0, W(4), 53, 54),
            (0, S, 58, 61),
            (0, R(1), 61, 69),
        ],
    );
    assert_eq!(
        trace.read_back,
        [46, 46, 53, 53, 69].map(Duration::from_secs)
    );
}

#[test]
fn whoever_reads_a_part_locates_to_the_end_before_it_writes() {
    let pace = Pace {
        unverified: Bytes(65_000_000),
        ..Pace::default()
    };
    let policy = Policy {
        batch: BatchRule::fixed(66, Bytes(u64::MAX), 0),
        read_back: Some(pace),
        ..PINNED
    };
    let trace = run(&requests(&[(0, 1); 67]), 1, &policy, &Simple).unwrap();
    let last: Vec<_> = trace.spans[67..]
        .iter()
        .map(|span| (span.doing, (span.until - span.from).as_secs()))
        .collect();
    // The agent claims 64 placements at a time.
    assert_eq!(
        last,
        [
            (S, 3),
            (R(64), 7 + 64),
            (W(66), 7 + 1),
            (S, 3),
            (R(3), 7 + 3)
        ]
    );
}

/// What must hold for any requests and any policy.
fn check_invariants(requests: &[Request], drives: usize, policy: &Policy, trace: &Trace) {
    for (request, synced) in requests.iter().zip(&trace.synced) {
        assert!(*synced > request.at, "{}", policy.name);
    }
    let mut written = vec![0; requests.len()];
    for drive in 0..drives {
        let mut last = Duration::ZERO;
        let mut mounted = false;
        let mut batch = Vec::new();
        for span in trace.spans.iter().filter(|span| span.drive == drive) {
            assert!(
                last <= span.from && span.from <= span.until,
                "two things at once: {span:?}"
            );
            last = span.until;
            assert_eq!(span.doing == M, !mounted, "{span:?}");
            match span.doing {
                M => mounted = true,
                U => {
                    assert!(batch.is_empty(), "unsynced files leave the drive");
                    mounted = false;
                }
                W(request) => {
                    assert!(
                        requests[request].at <= span.from,
                        "written before it was asked for"
                    );
                    written[request] += 1;
                    batch.push(request);
                }
                S => {
                    for request in batch.drain(..) {
                        assert_eq!(trace.synced[request], span.until);
                    }
                }
                R(_) => assert!(batch.is_empty()),
            }
        }
        assert!(batch.is_empty());
    }
    assert!(
        written.iter().all(|times| *times == 1),
        "each request is written exactly once"
    );
}

#[test]
fn every_policy_writes_each_request_once_and_does_one_thing_at_a_time() {
    let workload = Workload {
        services: 60,
        deploys_per_week: 600,
        weeks: 1,
        ..Workload::default()
    };
    let lto9 = Lto9::new(FormFactor::HalfHeight);
    for seed in 0..3 {
        let requests = workload.generate(seed);
        for policy in compared() {
            for drives in 1..=3 {
                let trace = run(&requests, drives, &policy, &lto9).unwrap();
                check_invariants(&requests, drives, &policy, &trace);
                assert_eq!(trace, run(&requests, drives, &policy, &lto9).unwrap());
            }
        }
    }
}
