//! All timers of all executions in one ordered set.

use std::collections::BTreeSet;
use std::sync::Arc;

use asl::TimerId;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

type Entry = (Timestamp, Arc<str>, TimerId);

/// What is to happen when. Whoever sets a timer remembers its moment, so that it can be
/// taken out again: nothing cancelled stays behind.
#[derive(Default)]
pub(super) struct Timers {
    set: Mutex<BTreeSet<Entry>>,
    /// Rung when an earlier moment than before is the next.
    pub(super) changed: Notify,
}

impl Timers {
    pub(super) fn set(&self, at: Timestamp, run: &Arc<str>, timer: TimerId) {
        let entry = (at, run.clone(), timer);
        let mut set = self.set.lock();
        let is_next = set.first().is_none_or(|first| entry < *first);
        set.insert(entry);
        drop(set);
        if is_next {
            self.changed.notify_one();
        }
    }

    pub(super) fn remove(&self, at: Timestamp, run: &Arc<str>, timer: TimerId) {
        self.set.lock().remove(&(at, run.clone(), timer));
    }

    /// The next moment at which something is to happen.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.set.lock().first().map(|entry| entry.0)
    }

    /// Takes out what was due by then.
    pub(super) fn due(&self, now: Timestamp) -> Vec<(Arc<str>, TimerId)> {
        let mut set = self.set.lock();
        let mut due = Vec::new();
        while set.first().is_some_and(|entry| entry.0 <= now) {
            if let Some((_, run, timer)) = set.pop_first() {
                due.push((run, timer));
            }
        }
        due
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.set.lock().len()
    }
}
