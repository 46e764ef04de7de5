//! Sums over seeds, and what they say about drives.

use std::time::Duration;

use serde::Serialize;

use super::engine::{Doing, Trace};
use super::workload::Request;
use crate::stats::round;

/// Shares of drive time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Shares {
    /// Writing.
    pub write: f64,
    /// Synchronous filemarks.
    pub sync: f64,
    /// Mounts and unmounts, locates included.
    pub mount: f64,
    /// Reading back.
    pub read_back: f64,
    /// Nothing.
    pub idle: f64,
}

/// Sums over seeds.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) burst: Vec<Duration>,
    pub(super) steady: Vec<Duration>,
    pub(super) read_back: Vec<Duration>,
    pub(super) mounts: u64,
    pub(super) syncs: u64,
    pub(super) bytes: u64,
    pub(super) exposure: u64,
    pub(super) latest: Duration,
    write: Duration,
    sync: Duration,
    mount: Duration,
    reading: Duration,
    all: Duration,
}

impl Tally {
    /// Counts one seed's run, whose requests came for `span`.
    pub(super) fn add(
        &mut self,
        requests: &[Request],
        trace: &Trace,
        drives: usize,
        span: Duration,
    ) {
        for (request, synced) in requests.iter().zip(&trace.synced) {
            let to = if request.burst {
                &mut self.burst
            } else {
                &mut self.steady
            };
            to.push(*synced - request.at);
            self.bytes += request.size.0;
        }
        let read = requests.iter().zip(&trace.read_back);
        self.read_back
            .extend(read.map(|(request, read)| *read - request.at));
        let mut end = span;
        for one in &trace.spans {
            let took = one.until - one.from;
            end = end.max(one.until);
            match one.doing {
                Doing::Write(_) => self.write += took,
                Doing::Sync => {
                    self.sync += took;
                    self.syncs += 1;
                }
                Doing::Mount => {
                    self.mount += took;
                    self.mounts += 1;
                }
                Doing::Unmount => self.mount += took,
                Doing::ReadBack(_) => self.reading += took,
            }
        }
        self.all += end * drives as u32;
        self.latest = self.latest.max(end);
        self.exposure = self.exposure.max(exposure(requests, &trace.synced));
    }

    /// What the drives did.
    pub(super) fn shares(&self) -> Shares {
        let share = |part: Duration| round(part.as_secs_f64() / self.all.as_secs_f64(), 4);
        let busy = self.write + self.sync + self.mount + self.reading;
        Shares {
            write: share(self.write),
            sync: share(self.sync),
            mount: share(self.mount),
            read_back: share(self.reading),
            idle: share(self.all - busy),
        }
    }
}

/// The most bytes that were asked for and not yet on tape at any time.
fn exposure(requests: &[Request], synced: &[Duration]) -> u64 {
    let mut left: Vec<_> = requests
        .iter()
        .zip(synced)
        .map(|(r, at)| (*at, r.size.0))
        .collect();
    left.sort_unstable();
    let mut left = left.into_iter().peekable();
    let (mut now, mut most) = (0, 0);
    for request in requests {
        while let Some((_, size)) = left.next_if(|(at, _)| *at <= request.at) {
            now -= size;
        }
        now += request.size.0;
        most = most.max(now);
    }
    most
}

/// From request to done, in the order of the requests.
pub(super) fn latencies(requests: &[Request], done: &[Duration]) -> impl Iterator<Item = Duration> {
    requests
        .iter()
        .zip(done)
        .map(|(request, done)| *done - request.at)
}

#[cfg(test)]
mod tests {
    use model::Bytes;

    use super::*;
    use crate::simulate::engine::Span;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn exposure_is_what_was_asked_for_and_is_not_on_tape() {
        let request = |from, size| Request {
            at: at(from),
            size: Bytes(size),
            burst: false,
        };
        let requests = [request(0, 5), request(1, 7), request(10, 9)];
        assert_eq!(exposure(&requests, &[at(2), at(10), at(11)]), 12);
        assert_eq!(exposure(&requests, &[at(2), at(11), at(11)]), 16);
    }

    #[test]
    fn the_shares_of_drive_time_add_up() {
        let requests = [Request {
            at: at(0),
            size: Bytes(1),
            burst: true,
        }];
        let span = |doing, from, until| Span {
            drive: 0,
            doing,
            from: at(from),
            until: at(until),
        };
        let trace = Trace {
            spans: vec![
                span(Doing::Mount, 0, 10),
                span(Doing::Write(0), 10, 40),
                span(Doing::Sync, 40, 50),
            ],
            synced: vec![at(50)],
            read_back: vec![],
        };
        let mut tally = Tally::default();
        tally.add(&requests, &trace, 2, at(100));
        let shares = tally.shares();
        assert_eq!(
            (shares.mount, shares.write, shares.sync),
            (0.05, 0.15, 0.05)
        );
        assert_eq!((shares.read_back, shares.idle), (0.0, 0.75));
        assert_eq!(
            (tally.burst.as_slice(), tally.mounts, tally.syncs),
            ([at(50)].as_slice(), 1, 1)
        );
    }
}
