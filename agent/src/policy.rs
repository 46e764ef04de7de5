//! When a batch ends, and what to ask for next. Pure functions of what was seen.
//!
//! **How long to wait for more work while a batch is open.** A synchronous filemark costs
//! `c` seconds (3 on LTO; next to nothing in an untimed simulation). Whoever waits longer
//! than `c` to save a cost of `c` pays more than twice what knowing the future would have
//! cost (the ski-rental argument); waiting exactly `c` is never worse than twice. So the
//! wait is the *measured* cost of a filemark on this drive, and `batch.idle` its ceiling:
//! a lone submission is slowed by one filemark's time, not by ten seconds.
//!
//! **What to ask for.** While a batch is open, only writes: anything else would move the
//! tape. Between batches: first restores, because somebody waits for them at a desk while
//! everything else is safe in object storage; then reading back what was written, because
//! only that makes it restorable, and because it costs little: the batch lies right behind
//! the head, and reading it in the order of the tape ends where the next batch begins, so
//! the price is one locate a batch. Then scans, which an operator asked for; then writes.
//! Under a burst, `pace.unverified` lets so many bytes be written before reading back goes
//! first: staged data are on tape sooner and restorable later.
//!
//! **When to let a volume go.** With nothing to do, at once if others wait, else never: the
//! volume stays in the drive (pinned), a mount costs 100 s. With work to do and others
//! waiting, at the end of the batch after `pace.hold` (300 s gives the fewest loads a
//! second of latency in the ECMWF traces). When the control plane asks for the drive, at
//! the end of the batch.

use std::time::Duration;

use model::Bytes;
use model::work::WorkKind;

use crate::config::{BatchLimits, Pace};

/// How many artifacts one claim may bring: what keeps the answer and its parsed form
/// within some 20 MB (300 to 500 bytes an artifact).
const ARTIFACTS_A_CLAIM: u32 = 20_000;
/// The first claim's items, before anybody knows how many artifacts an item has: 8 of the
/// largest are 80,000 artifacts, 40 MB.
const FIRST_CLAIM: u32 = 8;
/// The most items of one claim.
const MOST_A_CLAIM: u32 = 64;
/// The most placements to read back, restore or scan in one claim: the results of one
/// claim are reported together.
const READS_A_CLAIM: u32 = 100;

/// A batch on its way: what was written since the last synchronous filemark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// How many checkpoints.
    pub checkpoints: u32,
    /// How many bytes on tape.
    pub bytes: Bytes,
}

impl Batch {
    /// Counts one more.
    pub fn add(&mut self, bytes: Bytes) {
        self.checkpoints += 1;
        self.bytes = self.bytes.plus(bytes);
    }

    /// How many more items and bytes fit; `None` when the batch has to end.
    pub fn room(&self, limits: &BatchLimits) -> Option<(u32, Bytes)> {
        let items = limits.checkpoints.saturating_sub(self.checkpoints);
        let bytes = limits.bytes.minus(self.bytes);
        (items > 0 && bytes > Bytes::ZERO).then_some((items, bytes))
    }
}

/// What this drive has shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Experience {
    sync_cost: Option<Duration>,
    artifacts_an_item: Option<u32>,
}

impl Experience {
    /// A synchronous filemark took so long.
    pub fn synchronized(&mut self, took: Duration) {
        self.sync_cost = Some(self.sync_cost.map_or(took, |known| (known + took) / 2));
    }

    /// A claim brought so many items with so many artifacts together.
    pub fn claimed(&mut self, items: usize, artifacts: usize) {
        if let Some(mean) = artifacts.checked_div(items) {
            self.artifacts_an_item = u32::try_from(mean).ok();
        }
    }

    /// How long to wait for more work while a batch is open.
    pub fn patience(&self, limits: &BatchLimits) -> Duration {
        self.sync_cost.unwrap_or(limits.sync_cost).min(limits.idle)
    }

    /// How many items to ask for, where the batch has room for `room`.
    pub fn claim_items(&self, room: u32) -> u32 {
        let fits = match self.artifacts_an_item {
            None => FIRST_CLAIM,
            Some(mean) => (ARTIFACTS_A_CLAIM / mean.max(1)).clamp(1, MOST_A_CLAIM),
        };
        room.min(fits).max(1)
    }
}

/// How many items to ask for between batches, where the answer may be of any kind.
pub fn items_between_batches(experience: &Experience, limits: &BatchLimits) -> u32 {
    experience
        .claim_items(limits.checkpoints)
        .min(READS_A_CLAIM)
}

/// What to ask for between batches, most wanted first.
pub fn kinds(unverified: Bytes, writable: bool, pace: &Pace) -> Vec<WorkKind> {
    use WorkKind::{Restore, Scan, Verify, Write};
    if !writable {
        return vec![Restore, Verify, Scan];
    }
    if unverified < pace.unverified {
        return vec![Restore, Scan, Write, Verify];
    }
    vec![Restore, Verify, Scan, Write]
}

/// Should a session without an open batch end now?
pub fn let_go(
    idle: bool,
    others_waiting: bool,
    yielding: bool,
    held: Duration,
    pace: &Pace,
) -> bool {
    yielding || (others_waiting && (idle || held >= pace.hold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_at_its_first_limit() {
        let limits = BatchLimits {
            checkpoints: 2,
            bytes: Bytes(100),
            ..BatchLimits::default()
        };
        let mut batch = Batch::default();
        assert_eq!(batch.room(&limits), Some((2, Bytes(100))));
        batch.add(Bytes(60));
        assert_eq!(batch.room(&limits), Some((1, Bytes(40))));
        let mut full = batch;
        full.add(Bytes(1));
        assert_eq!(full.room(&limits), None);
        let mut large = Batch::default();
        large.add(Bytes(200));
        assert_eq!(large.room(&limits), None);
    }

    #[test]
    fn nobody_waits_longer_than_a_filemark_takes() {
        let limits = BatchLimits::default();
        let mut seen = Experience::default();
        assert_eq!(seen.patience(&limits), Duration::from_secs(3));
        for _ in 0..20 {
            seen.synchronized(Duration::from_micros(10));
        }
        assert!(seen.patience(&limits) < Duration::from_millis(1));
        for _ in 0..20 {
            seen.synchronized(Duration::from_secs(60));
        }
        assert_eq!(seen.patience(&limits), limits.idle);
    }

    #[test]
    fn large_items_are_claimed_one_by_one() {
        let limits = BatchLimits::default();
        let mut seen = Experience::default();
        assert_eq!(seen.claim_items(200), 8);
        seen.claimed(4, 40_000);
        assert_eq!(seen.claim_items(200), 2);
        seen.claimed(1, 10);
        assert_eq!(seen.claim_items(200), 64);
        assert_eq!(seen.claim_items(3), 3);
        assert_eq!(items_between_batches(&seen, &limits), 64);
    }

    #[test]
    fn reading_back_goes_first_unless_a_burst_may_be_written() {
        use WorkKind::{Restore, Scan, Verify, Write};
        let now = Pace {
            unverified: Bytes::ZERO,
            ..Pace::default()
        };
        assert_eq!(
            kinds(Bytes::ZERO, true, &now),
            [Restore, Verify, Scan, Write]
        );
        let later = Pace {
            unverified: Bytes(100),
            ..now
        };
        assert_eq!(
            kinds(Bytes(99), true, &later),
            [Restore, Scan, Write, Verify]
        );
        assert_eq!(
            kinds(Bytes(100), true, &later),
            [Restore, Verify, Scan, Write]
        );
        assert_eq!(kinds(Bytes::ZERO, false, &now), [Restore, Verify, Scan]);
    }

    #[test]
    fn a_volume_goes_when_it_should() {
        let pace = Pace::default();
        let long = pace.hold;
        let short = Duration::ZERO;
        assert!(let_go(true, true, false, short, &pace));
        assert!(!let_go(true, false, false, long, &pace));
        assert!(!let_go(false, true, false, short, &pace));
        assert!(let_go(false, true, false, long, &pace));
        assert!(let_go(false, false, true, short, &pace));
    }
}
