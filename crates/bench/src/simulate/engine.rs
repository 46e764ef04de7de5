//! The event engine: drives that take requests from queues and do one thing at a time.
//!
//! Time is a [`Duration`] from the start, so that equal inputs give equal outputs to the
//! nanosecond. What happened is returned as spans; every figure is computed from them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use model::Bytes;
use model::work::WorkKind;
use tapemark_agent::policy::{Batch, Experience, items_between_batches, kinds};

use super::policy::{Order, Policy, Sharing};
use super::times::Mechanics;
use super::workload::Request;

/// How many artifacts a checkpoint has: matters only for how many the agent reads back in
/// one claim.
const ARTIFACTS: usize = 10;

/// What a drive does during a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Robot, load, and the way to the end of data.
    Mount,
    /// Writes this request (its index).
    Write(usize),
    /// A synchronous filemark.
    Sync,
    /// Locates to the first of so many requests that were not read back yet, and reads them.
    ReadBack(usize),
    /// Rewind, unload, robot.
    Unmount,
}

/// One drive did one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which drive, from 0.
    pub drive: usize,
    /// What.
    pub doing: Doing,
    /// From when.
    pub from: Duration,
    /// Until when.
    pub until: Duration,
}

/// What happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Everything that drives did, in the order in which it began.
    pub spans: Vec<Span>,
    /// When each request was behind a synchronous filemark, in the order of the requests.
    pub synced: Vec<Duration>,
    /// When each was read back, where the policy reads back.
    pub read_back: Vec<Duration>,
}

/// A policy that never gets to some requests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy {policy:?} on {drives} drives left {left} requests behind: give it an age limit")]
pub struct Stuck {
    /// The policy.
    pub policy: &'static str,
    /// How many drives it had.
    pub drives: usize,
    /// How many requests were not synced, or not read back though the policy reads back.
    pub left: usize,
}

/// Runs the requests (in the order of their times) through `drives` drives until all are
/// synced and, where the policy says so, read back.
///
/// # Errors
/// [`Stuck`] where the last event leaves requests behind.
pub fn run(
    requests: &[Request],
    drives: usize,
    policy: &Policy,
    mechanics: &dyn Mechanics,
) -> Result<Trace, Stuck> {
    let mut engine = Engine {
        requests,
        policy,
        mechanics,
        now: Duration::ZERO,
        queues: vec![
            Queue::default();
            match policy.sharing {
                Sharing::Queue => 1,
                Sharing::Volumes => drives,
            }
        ],
        drives: vec![Drive::new(); drives],
        events: BinaryHeap::new(),
        next_arrival: 0,
        spans: Vec::new(),
        synced: vec![None; requests.len()],
        read_back: vec![None; requests.len()],
    };
    engine.run();
    let whole = |times: Vec<Option<Duration>>| {
        let left = times.iter().filter(|at| at.is_none()).count();
        let whole: Vec<_> = times.into_iter().flatten().collect();
        if left == 0 {
            Ok(whole)
        } else {
            Err(Stuck {
                policy: policy.name,
                drives,
                left,
            })
        }
    };
    Ok(Trace {
        spans: engine.spans,
        synced: whole(engine.synced)?,
        read_back: match policy.read_back {
            None => Vec::new(),
            Some(_) => whole(engine.read_back)?,
        },
    })
}

#[derive(Clone, Debug)]
struct Drive {
    /// What it does, and when that ends.
    busy: Option<(Doing, Duration)>,
    mounted: bool,
    /// When it last finished anything but a mount or a filemark.
    idle_since: Duration,
    /// Where the data of its volume end. Each drive has its own volume.
    end: Bytes,
    /// Where the head stands on it.
    head: Bytes,
    files_this_mount: u32,
    moved_this_mount: Bytes,
    /// Written and not synced.
    open: Vec<usize>,
    batch: Batch,
    /// Synced and not read back, in the order on the tape; the last ends before `open`.
    unread: VecDeque<usize>,
    unread_bytes: Bytes,
    experience: Experience,
}

/// Requests that wait, in the order of their times.
#[derive(Clone, Debug, Default)]
struct Queue {
    waiting: VecDeque<usize>,
    bytes: Bytes,
    /// Given to this queue and not yet safe: waiting, being written, or not yet synced (or
    /// read back, where the policy reads back).
    promised: Bytes,
}

/// What a free drive does now.
enum Next {
    Begin(Doing),
    /// Nothing before this time, unless something else happens.
    WaitUntil(Duration),
    Wait,
}

struct Engine<'a> {
    requests: &'a [Request],
    policy: &'a Policy,
    mechanics: &'a dyn Mechanics,
    now: Duration,
    /// One for all drives, or one a drive.
    queues: Vec<Queue>,
    drives: Vec<Drive>,
    /// Times at which something is to be looked at, earliest first.
    events: BinaryHeap<Reverse<Duration>>,
    next_arrival: usize,
    spans: Vec<Span>,
    synced: Vec<Option<Duration>>,
    read_back: Vec<Option<Duration>>,
}

impl Engine<'_> {
    fn run(&mut self) {
        loop {
            let arrival = self
                .requests
                .get(self.next_arrival)
                .map(|request| request.at);
            let event = self.events.peek().map(|Reverse(at)| *at);
            let Some(now) = arrival.into_iter().chain(event).min() else {
                break;
            };
            self.now = now;
            while self.events.peek().is_some_and(|Reverse(at)| *at <= now) {
                self.events.pop();
            }
            for drive in 0..self.drives.len() {
                if let Some((doing, until)) = self.drives[drive].busy
                    && until <= now
                {
                    self.drives[drive].busy = None;
                    self.finish(drive, doing);
                }
            }
            while let Some(request) = self.requests.get(self.next_arrival)
                && request.at <= now
            {
                // As the control plane places: on the volume with the least promised.
                if let Some(queue) = self.queues.iter_mut().min_by_key(|queue| queue.promised) {
                    queue.waiting.push_back(self.next_arrival);
                    queue.bytes = queue.bytes.plus(request.size);
                    queue.promised = queue.promised.plus(request.size);
                }
                self.next_arrival += 1;
            }
            // A drive with a volume goes first: it saves a mount.
            for mounted in [true, false] {
                for drive in 0..self.drives.len() {
                    if self.drives[drive].busy.is_none() && self.drives[drive].mounted == mounted {
                        self.advance(drive);
                    }
                }
            }
        }
    }

    /// Lets a free drive begin what it should do now.
    fn advance(&mut self, drive: usize) {
        match self.next(drive) {
            Next::Begin(doing) => {
                let until = self.now + self.begin(drive, doing);
                self.drives[drive].busy = Some((doing, until));
                self.spans.push(Span {
                    drive,
                    doing,
                    from: self.now,
                    until,
                });
                self.events.push(Reverse(until));
            }
            Next::WaitUntil(at) => self.events.push(Reverse(at)),
            Next::Wait => {}
        }
    }

    fn next(&self, index: usize) -> Next {
        let drive = &self.drives[index];
        if !drive.mounted {
            return self.next_mount(index);
        }
        let rule = &self.policy.batch;
        let spent = self
            .policy
            .files_per_mount
            .is_some_and(|most| drive.files_this_mount >= most);
        let waiting = !self.queue(index).waiting.is_empty() && !spent;
        if !drive.open.is_empty() {
            if spent || drive.batch.room(&rule.limits).is_none() {
                return Next::Begin(Doing::Sync);
            }
            if !waiting {
                let due = drive.idle_since + rule.patience(&drive.experience);
                return if due <= self.now {
                    Next::Begin(Doing::Sync)
                } else {
                    Next::WaitUntil(due)
                };
            }
        }
        if drive.open.is_empty()
            && let Some(pace) = &self.policy.read_back
        {
            let wanted =
                kinds(drive.unread_bytes, true, pace)
                    .into_iter()
                    .find(|kind| match kind {
                        WorkKind::Verify => !drive.unread.is_empty(),
                        WorkKind::Write => waiting,
                        WorkKind::Restore | WorkKind::Scan => false,
                    });
            if wanted == Some(WorkKind::Verify) {
                let most = items_between_batches(&drive.experience, &rule.limits) as usize;
                return Next::Begin(Doing::ReadBack(most.min(drive.unread.len())));
            }
        }
        if waiting {
            return Next::Begin(Doing::Write(self.choose(index)));
        }
        match self.policy.hold {
            None => Next::Wait,
            Some(_) if spent => Next::Begin(Doing::Unmount),
            Some(hold) => {
                let due = drive.idle_since + hold;
                if due <= self.now {
                    Next::Begin(Doing::Unmount)
                } else {
                    Next::WaitUntil(due)
                }
            }
        }
    }

    /// The queue that a drive takes from.
    fn queue(&self, drive: usize) -> &Queue {
        &self.queues[drive % self.queues.len()]
    }

    fn next_mount(&self, drive: usize) -> Next {
        let queue = self.queue(drive);
        let Some(oldest) = queue.waiting.front() else {
            return Next::Wait;
        };
        // Mounted drives that take from the same queue. One on its way out does not come back.
        let mounts = (0..self.drives.len())
            .filter(|other| std::ptr::eq(self.queue(*other), queue))
            .filter(|other| self.drives[*other].is_in_use())
            .count() as u64;
        let rule = &self.policy.mount;
        let files = queue.waiting.len() as u64;
        let enough = rule
            .bytes
            .is_some_and(|bytes| queue.bytes.0 / (1 + mounts) >= bytes.0)
            || rule.files.is_some_and(|most| files / (1 + mounts) >= most);
        if enough {
            return Next::Begin(Doing::Mount);
        }
        match rule.age {
            Some(age) if mounts == 0 => {
                let due = self.requests[*oldest].at + age;
                if due <= self.now {
                    Next::Begin(Doing::Mount)
                } else {
                    Next::WaitUntil(due)
                }
            }
            _ => Next::Wait,
        }
    }

    /// Which waiting request is next. One waits.
    fn choose(&self, drive: usize) -> usize {
        let waiting = &self.queue(drive).waiting;
        let oldest = waiting[0];
        match self.policy.order {
            Order::Smallest(patience) if self.now - self.requests[oldest].at <= patience => waiting
                .iter()
                .copied()
                .min_by_key(|request| (self.requests[*request].size, *request))
                .unwrap_or(oldest),
            Order::Smallest(_) | Order::Oldest => oldest,
        }
    }

    /// Does what happens at the beginning and says how long it takes.
    fn begin(&mut self, index: usize, doing: Doing) -> Duration {
        let drive = &self.drives[index];
        match doing {
            Doing::Mount => self.mechanics.mount(drive.end),
            Doing::Write(request) => {
                let size = self.requests[request].size;
                let own = index % self.queues.len();
                let queue = &mut self.queues[own];
                if let Some(place) = queue.waiting.iter().position(|other| *other == request) {
                    queue.waiting.remove(place);
                }
                queue.bytes = queue.bytes.minus(size);
                self.mechanics.locate(drive.head, drive.end)
                    + self.mechanics.stream(drive.end, size)
            }
            Doing::Sync => self.mechanics.sync(),
            Doing::ReadBack(count) => {
                let start = drive.end.minus(drive.unread_bytes);
                self.mechanics.locate(drive.head, start)
                    + self.mechanics.stream(start, self.unread_size(index, count))
            }
            Doing::Unmount => self.mechanics.unmount(drive.head, drive.moved_this_mount),
        }
    }

    /// The size of the first so many that the drive has not read back.
    fn unread_size(&self, drive: usize, count: usize) -> Bytes {
        self.drives[drive]
            .unread
            .iter()
            .take(count)
            .map(|read| self.requests[*read].size)
            .sum()
    }

    /// Does what happens at the end.
    fn finish(&mut self, index: usize, doing: Doing) {
        let now = self.now;
        let read = match doing {
            Doing::ReadBack(count) => self.unread_size(index, count),
            _ => Bytes::ZERO,
        };
        let reads_back = self.policy.read_back.is_some();
        let own = index % self.queues.len();
        let drive = &mut self.drives[index];
        match doing {
            Doing::Mount => {
                drive.mounted = true;
                drive.head = drive.end;
                drive.files_this_mount = 0;
                drive.moved_this_mount = Bytes::ZERO;
                drive.idle_since = now;
            }
            Doing::Write(request) => {
                let size = self.requests[request].size;
                drive.end = drive.end.plus(size);
                drive.head = drive.end;
                drive.files_this_mount += 1;
                drive.moved_this_mount = drive.moved_this_mount.plus(size);
                drive.open.push(request);
                drive.batch.add(size);
                drive.idle_since = now;
            }
            Doing::Sync => {
                for request in &drive.open {
                    self.synced[*request] = Some(now);
                }
                if reads_back {
                    drive.unread.extend(&drive.open);
                    drive.unread_bytes = drive.unread_bytes.plus(drive.batch.bytes);
                } else {
                    self.queues[own].promised = self.queues[own].promised.minus(drive.batch.bytes);
                }
                drive.open.clear();
                drive.batch = Batch::default();
                drive.experience.synchronized(self.mechanics.sync());
            }
            Doing::ReadBack(count) => {
                for request in drive.unread.drain(..count) {
                    self.read_back[request] = Some(now);
                }
                drive.unread_bytes = drive.unread_bytes.minus(read);
                self.queues[own].promised = self.queues[own].promised.minus(read);
                drive.head = drive.end.minus(drive.unread_bytes);
                drive.moved_this_mount = drive.moved_this_mount.plus(read);
                drive.idle_since = now;
            }
            Doing::Unmount => drive.mounted = false,
        }
    }
}

impl Drive {
    /// Empty, with a volume of its own that is empty too.
    fn new() -> Self {
        let mut experience = Experience::default();
        experience.claimed(1, ARTIFACTS);
        Self {
            busy: None,
            mounted: false,
            idle_since: Duration::ZERO,
            end: Bytes::ZERO,
            head: Bytes::ZERO,
            files_this_mount: 0,
            moved_this_mount: Bytes::ZERO,
            open: Vec::new(),
            batch: Batch::default(),
            unread: VecDeque::new(),
            unread_bytes: Bytes::ZERO,
            experience,
        }
    }

    /// Has or is about to have a volume to write on.
    fn is_in_use(&self) -> bool {
        match self.busy {
            Some((Doing::Unmount, _)) => false,
            Some((Doing::Mount, _)) => true,
            _ => self.mounted,
        }
    }
}

#[cfg(test)]
mod tests;
