//! The cost model: drives in parallel, mounts that take minutes, claims with deadlines.
//!
//! It is a model, and leaves out: batches (durability comes with the next synchronous mark),
//! wrap turns, cleaning, restores that want the same drives, second copies. It is good for
//! comparing orders of one set with each other, not for promising a time.

/// Milliseconds that `bytes` take to be written and read back: 300 MB/s each way, the native
/// rate of a half-height LTO-7, -8 and -9 drive (IBM TS2290 manual); content is committed
/// only once it was read back.
pub const fn bytes_to_ms(bytes: u64) -> u64 {
    bytes / 150_000
}

/// A request's share of the synchronous filemark that ends its batch: 3 s a mark (Enstore,
/// Fermilab) over 200 checkpoints a batch.
pub const REQUEST_MS: u64 = 15;

/// Mounting into an empty drive: 15 s for the robot (10 to 20) and 16 s from load to ready
/// (LTO-9 half-height, IBM TS2290).
pub const EMPTY_MOUNT_MS: u64 = 15_000 + 16_000;

/// Finding the end of data of a volume that was begun: the average space from load point of
/// a half-height LTO-9 (IBM TS2290).
pub const LOCATE_MS: u64 = 65_000;

/// Taking another volume out before: the rewind of an unload after a session of 5 to 50 GB
/// (124 s; 62 below, 186 above), the unload (56 s; both LTO-9 half-height, IBM TS2290), and
/// the robot once more.
pub const EXCHANGE_MS: u64 = 124_000 + 56_000 + 15_000;

/// For how long who does not fit is deferred: as the default policy does.
pub const DEFER_MS: u64 = 15_000;

/// Tardiness beyond this counts as this: 34 years, so that sums stay exact.
const MOST_MS: u64 = 1 << 40;

/// What a unit of lateness counts at a priority of 0 to 9: each step doubles it, so that
/// many small late requests can outweigh one a step above them, and hardly one far above.
pub const fn weight(priority: u8) -> u32 {
    1 << if priority > 9 { 9 } else { priority }
}

/// One request's claim on the time its job is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What lateness counts: see [`weight`].
    pub weight: u32,
    /// Milliseconds from now to its deadline, where it has one.
    pub due: Option<u64>,
}

/// A group that goes ahead, or may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Its bytes.
    pub bytes: u64,
    /// Its requests.
    pub claims: Vec<Claim>,
    /// It is under way: it goes first, whatever the plan says.
    pub settled: bool,
    /// The jobs that together hold the same: it may ride with them instead of being
    /// written. They must not ride themselves. Empty where it must be written.
    pub hosts: Vec<usize>,
}

/// A volume that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its room in bytes.
    pub free: u64,
    /// True where data is on it: appending needs a locate.
    pub begun: bool,
}

/// What is to be ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// The jobs, in the standard order: the plan to beat.
    pub jobs: Vec<Job>,
    /// The volumes, in the order in which they are taken.
    pub volumes: Vec<Volume>,
    /// The drives that are up, with the volume in each: an index of `volumes`, or
    /// [`Problem::FOREIGN`]. Without any, one is taken to come up empty.
    pub drives: Vec<Option<usize>>,
}

/// An order of the jobs, and who rides with hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Indices of the jobs that are not settled, first in line first.
    pub line: Vec<usize>,
    /// For each job whether it rides with its hosts.
    pub rides: Vec<bool>,
}

impl Plan {
    /// The order of the jobs as given; who can ride rides.
    pub fn standard(problem: &Problem) -> Self {
        let jobs = problem.jobs.iter();
        Self {
            line: (0..jobs.len())
                .filter(|job| !problem.jobs[*job].settled)
                .collect(),
            rides: jobs.map(|job| !job.hosts.is_empty()).collect(),
        }
    }
}

/// What a plan costs. Compared field by field: lateness first, then mounts, then waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Milliseconds late, times [`weight`], over all claims with a deadline.
    pub tardiness: u64,
    /// Volumes put into drives.
    pub mounts: u32,
    /// Milliseconds waited, times [`weight`], over all claims.
    pub waiting: u64,
}

impl Cost {
    /// All in one number, for learning, which needs to see every step on the way: lateness;
    /// for each mount as if a request of priority 5 were late by the time of an exchange;
    /// and a hundredth of all waiting, so that priority counts where nothing is late.
    pub fn price(&self) -> u64 {
        let mount = (EXCHANGE_MS + EMPTY_MOUNT_MS) * u64::from(weight(5));
        self.tardiness
            .saturating_add(u64::from(self.mounts) * mount)
            .saturating_add(self.waiting / 100)
    }
}

/// What comes of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it costs.
    pub cost: Cost,
    /// How many claims are late.
    pub late: u32,
    /// For each job, in milliseconds from now, when it is done.
    pub done: Vec<u64>,
    /// Who does not fit and is deferred, in line.
    pub deferred: Vec<usize>,
    /// How much work the evaluation was: jobs, claims, drives and volumes looked at.
    pub steps: u64,
}

/// A drive in the course of an evaluation.
#[derive(Clone, Copy)]
struct Station {
    ready: u64,
    volume: Option<usize>,
}

impl Problem {
    /// A drive holds a volume that is none of the problem's: it must be taken out first.
    pub const FOREIGN: usize = usize::MAX;

    /// Bytes of all volumes together.
    pub fn room(&self) -> u64 {
        self.volumes
            .iter()
            .fold(0, |sum, volume| sum.saturating_add(volume.free))
    }

    /// What comes of a plan: in line, who fits goes ahead; who does not is deferred.
    pub fn evaluate(&self, plan: &Plan) -> Outcome {
        let mut room = self.room();
        let (mut ahead, mut deferred) = (Vec::with_capacity(plan.line.len()), Vec::new());
        for &job in &plan.line {
            let bytes = self.jobs[job].bytes;
            if plan.rides[job] {
                continue;
            }
            if bytes > room {
                deferred.push(job);
            } else {
                room -= bytes;
                ahead.push(job);
            }
        }
        let later: Vec<_> = deferred.iter().map(|job| (*job, DEFER_MS)).collect();
        let mut outcome = self.run(&ahead, &later, &plan.rides);
        outcome.deferred = deferred;
        outcome
    }

    /// What comes of an order that was decided: the settled jobs, then `ahead`, then
    /// `later`, each not before its milliseconds from now; who rides is done with the last
    /// of its hosts. Who is deferred is written after all others, and behind a mount.
    ///
    /// Each job goes to the drive that is done with it first. A job that no volume has room
    /// for is cut over several.
    pub fn run(&self, ahead: &[usize], later: &[(usize, u64)], rides: &[bool]) -> Outcome {
        let mut done = vec![0; self.jobs.len()];
        let mut course = Course::new(self);
        let settled = (0..self.jobs.len()).filter(|job| self.jobs[*job].settled);
        for job in settled.chain(ahead.iter().copied()) {
            done[job] = course.place(&self.jobs[job]);
        }
        let mut end = course.stations.iter().map(|s| s.ready).max().unwrap_or(0);
        for &(job, not_before) in later {
            let mount = EXCHANGE_MS + EMPTY_MOUNT_MS;
            end = end
                .max(not_before)
                .saturating_add(mount + work(&self.jobs[job]));
            course.mounts += 1;
            done[job] = end;
        }
        let (mut tardiness, mut waiting, mut late) = (0_u64, 0_u64, 0);
        for (index, job) in self.jobs.iter().enumerate() {
            if rides[index] {
                done[index] = job.hosts.iter().map(|host| done[*host]).max().unwrap_or(0);
            }
            let at = done[index];
            course.steps += 1 + job.claims.len() as u64;
            for claim in &job.claims {
                let weight = u64::from(claim.weight);
                waiting = waiting.saturating_add(at.min(MOST_MS) * weight);
                let by = claim.due.map_or(0, |due| at.saturating_sub(due));
                late += u32::from(by > 0);
                tardiness = tardiness.saturating_add(by.min(MOST_MS) * weight);
            }
        }
        Outcome {
            cost: Cost {
                tardiness,
                mounts: course.mounts,
                waiting,
            },
            late,
            done,
            deferred: Vec::new(),
            steps: course.steps,
        }
    }
}

/// How long a job keeps a drive.
pub(crate) fn work(job: &Job) -> u64 {
    bytes_to_ms(job.bytes) + REQUEST_MS * job.claims.len() as u64
}

/// An evaluation under way.
struct Course {
    free: Vec<u64>,
    begun: Vec<bool>,
    /// In a drive.
    held: Vec<bool>,
    stations: Vec<Station>,
    mounts: u32,
    steps: u64,
}

impl Course {
    fn new(problem: &Problem) -> Self {
        let volumes = problem.volumes.len();
        let mut held = vec![false; volumes];
        let mut stations: Vec<_> = problem
            .drives
            .iter()
            .map(|volume| Station {
                ready: 0,
                volume: *volume,
            })
            .collect();
        for volume in problem.drives.iter().flatten() {
            if let Some(held) = held.get_mut(*volume) {
                *held = true;
            }
        }
        if stations.is_empty() {
            stations.push(Station {
                ready: 0,
                volume: None,
            });
        }
        Self {
            free: problem.volumes.iter().map(|v| v.free).collect(),
            begun: problem.volumes.iter().map(|v| v.begun).collect(),
            held,
            stations,
            mounts: 0,
            steps: 0,
        }
    }

    /// Writes a job, and says when it is done.
    fn place(&mut self, job: &Job) -> u64 {
        let work = work(job);
        // The first volume in a slot with room, looked for only once a drive needs one.
        let mut loose = None;
        let mut best: Option<(u64, usize, Option<usize>)> = None;
        self.steps += 1 + self.stations.len() as u64;
        for station in 0..self.stations.len() {
            let Station { ready, volume } = self.stations[station];
            let fits = volume
                .and_then(|v| self.free.get(v))
                .is_some_and(|free| *free >= job.bytes);
            let (at, mounted) = if fits {
                (ready.saturating_add(work), None)
            } else {
                let found = *loose.get_or_insert_with(|| {
                    self.steps += self.free.len() as u64;
                    (0..self.free.len()).find(|v| !self.held[*v] && self.free[*v] >= job.bytes)
                });
                let Some(other) = found else { continue };
                let mount = self.mount_ms(station, other);
                (ready.saturating_add(mount + work), found)
            };
            if best.is_none_or(|(earliest, ..)| at < earliest) {
                best = Some((at, station, mounted));
            }
        }
        let Some((at, station, mounted)) = best else {
            return self.cut(job);
        };
        if let Some(volume) = mounted {
            self.mount(station, volume);
        }
        let place = &mut self.stations[station];
        place.ready = at;
        if let Some(volume) = place.volume {
            self.free[volume] -= job.bytes;
            self.begun[volume] = true;
        }
        at
    }

    /// Writes a job that no volume has room for over several, on the drive that is ready
    /// first. What no volume takes is written on one that comes.
    fn cut(&mut self, job: &Job) -> u64 {
        let station = (0..self.stations.len())
            .min_by_key(|station| self.stations[*station].ready)
            .unwrap_or(0);
        let mut ready = self.stations[station].ready.saturating_add(work(job));
        let mut left = job.bytes;
        loop {
            if let Some(free) = self.stations[station]
                .volume
                .and_then(|volume| self.free.get_mut(volume))
            {
                let part = left.min(*free);
                *free -= part;
                left -= part;
            }
            if left == 0 {
                break;
            }
            self.steps += self.free.len() as u64;
            let next = (0..self.free.len()).find(|v| !self.held[*v] && self.free[*v] > 0);
            let Some(volume) = next else {
                ready = ready.saturating_add(EXCHANGE_MS + EMPTY_MOUNT_MS);
                self.mounts += 1;
                break;
            };
            ready = ready.saturating_add(self.mount_ms(station, volume));
            self.mount(station, volume);
            self.begun[volume] = true;
        }
        self.stations[station].ready = ready;
        ready
    }

    fn mount_ms(&self, station: usize, volume: usize) -> u64 {
        let out = if self.stations[station].volume.is_some() {
            EXCHANGE_MS
        } else {
            0
        };
        let find = if self.begun[volume] { LOCATE_MS } else { 0 };
        out + EMPTY_MOUNT_MS + find
    }

    fn mount(&mut self, station: usize, volume: usize) {
        let out = self.stations[station].volume.replace(volume);
        if let Some(held) = out.and_then(|out| self.held.get_mut(out)) {
            *held = false;
        }
        self.held[volume] = true;
        self.mounts += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn job(bytes: u64, due: Option<u64>) -> Job {
        Job {
            bytes,
            claims: vec![Claim {
                weight: weight(0),
                due,
            }],
            ..Job::default()
        }
    }

    fn volume(free: u64) -> Volume {
        Volume { free, begun: false }
    }

    fn standard(problem: &Problem) -> Outcome {
        problem.evaluate(&Plan::standard(problem))
    }

    #[test]
    fn lateness_counts_twice_as_much_with_each_step_of_priority() {
        assert_eq!((weight(0), weight(1), weight(9)), (1, 2, 512));
        assert_eq!(weight(200), weight(9));
    }

    #[test]
    fn one_drive_writes_one_job_after_the_other() {
        let problem = Problem {
            jobs: vec![job(15 * GB, Some(0)), job(30 * GB, Some(400_000))],
            volumes: vec![volume(100 * GB)],
            drives: vec![Some(0)],
        };
        let outcome = standard(&problem);
        assert_eq!(outcome.done, [100_015, 300_030]);
        assert_eq!(outcome.cost.tardiness, 100_015);
        assert_eq!((outcome.cost.mounts, outcome.late), (0, 1));
    }

    #[test]
    fn a_second_drive_takes_the_second_job_unless_its_mount_lasts_longer() {
        let problem = |second| Problem {
            jobs: vec![job(15 * GB, None), job(GB, None)],
            volumes: vec![volume(100 * GB), volume(100 * GB)],
            drives: vec![Some(0), second],
        };
        assert_eq!(standard(&problem(Some(1))).done[1], 6_681);
        // An empty drive: a mount of 31 s is less than the 100 s until the first is free.
        let outcome = standard(&problem(None));
        assert_eq!((outcome.done[1], outcome.cost.mounts), (37_681, 1));
        // One that must be emptied first: longer, so that the first drive writes both.
        let outcome = standard(&problem(Some(Problem::FOREIGN)));
        assert_eq!((outcome.done[1], outcome.cost.mounts), (106_696, 0));
    }

    #[test]
    fn a_job_that_fits_nowhere_whole_is_cut_with_a_mount_for_each_volume() {
        let problem = Problem {
            jobs: vec![job(25 * GB, None)],
            volumes: vec![volume(10 * GB), volume(10 * GB), volume(10 * GB)],
            drives: vec![Some(0)],
        };
        let outcome = standard(&problem);
        assert_eq!(outcome.cost.mounts, 2);
        let writing = 25 * GB / 150_000 + REQUEST_MS;
        assert_eq!(
            outcome.done[0],
            writing + 2 * (EXCHANGE_MS + EMPTY_MOUNT_MS)
        );
    }

    #[test]
    fn who_does_not_fit_waits_until_all_others_are_done() {
        let problem = Problem {
            jobs: vec![job(8 * GB, None), job(3 * GB, Some(1)), job(2 * GB, None)],
            volumes: vec![volume(10 * GB)],
            drives: vec![Some(0)],
        };
        let outcome = standard(&problem);
        assert_eq!(outcome.deferred, [1]);
        assert!(outcome.done[1] > outcome.done[2]);
        assert_eq!(outcome.late, 1);
    }

    #[test]
    fn who_rides_is_done_with_its_host_and_takes_no_room() {
        let mut rider = job(9 * GB, Some(1_000));
        rider.hosts = vec![0];
        let problem = Problem {
            jobs: vec![job(9 * GB, None), rider],
            volumes: vec![volume(10 * GB)],
            drives: vec![Some(0)],
        };
        let outcome = standard(&problem);
        assert_eq!(outcome.done[0], outcome.done[1]);
        assert!(outcome.deferred.is_empty());
        let apart = Plan {
            rides: vec![false, false],
            ..Plan::standard(&problem)
        };
        assert_eq!(problem.evaluate(&apart).deferred, [1]);
    }

    #[test]
    fn what_is_settled_goes_first() {
        let mut settled = job(15 * GB, None);
        settled.settled = true;
        let problem = Problem {
            jobs: vec![job(15 * GB, None), settled],
            volumes: vec![volume(100 * GB)],
            drives: vec![Some(0)],
        };
        let outcome = standard(&problem);
        assert!(outcome.done[1] < outcome.done[0]);
    }

    #[test]
    fn extreme_numbers_stop_at_the_ends() {
        let huge = (1 << 53) - 1;
        let problem = Problem {
            jobs: (0..256).map(|_| job(huge, Some(0))).collect(),
            volumes: Vec::new(),
            drives: Vec::new(),
        };
        let outcome = standard(&problem);
        assert_eq!(outcome.late, 256);
        assert!(outcome.cost.tardiness > 0);
    }
}
