//! A synthetic workload: hundreds of services that deploy mostly in working hours, and
//! once a week all of them within a minute.

use std::time::Duration;

use model::Bytes;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
/// Working hours: 9 to 19 h on the first five days of a week.
const WORK: std::ops::Range<u64> = 9 * HOUR..19 * HOUR;

/// One checkpoint to be brought to tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it is asked for, from the start of the simulation (a Monday, 0 h).
    pub at: Duration,
    /// Its size.
    pub size: Bytes,
    /// True where it belongs to the weekly burst.
    pub burst: bool,
}

/// What is generated. The default is the workload of the project's scheduling notes, which
/// is an assumption about deploy rates (10 a service and week, as Meta reports for its
/// Conveyor, OSDI 2023) and sizes (nobody publishes any): every result is *synthetic*.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Workload {
    /// How many services; also the size of the burst.
    pub services: u32,
    /// Deploys a week, the burst included. At least `services`.
    pub deploys_per_week: u32,
    /// Which share of the deploys outside the burst falls into working hours, 0 to 1.
    pub in_working_hours: f64,
    /// How long the weekly burst lasts, in seconds. It begins at a random moment of the
    /// week's working hours.
    pub burst_seconds: u64,
    /// The median size.
    pub median_size: Bytes,
    /// The standard deviation of the sizes' natural logarithm.
    pub sigma: f64,
    /// No checkpoint is larger.
    pub largest: Bytes,
    /// How many weeks.
    pub weeks: u32,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            services: 847,
            deploys_per_week: 8_470,
            in_working_hours: 0.8,
            burst_seconds: 60,
            median_size: Bytes(150_000_000),
            sigma: 1.2,
            largest: Bytes(20_000_000_000),
            weeks: 2,
        }
    }
}

impl Workload {
    /// How long requests keep coming.
    pub fn span(&self) -> Duration {
        Duration::from_secs(u64::from(self.weeks) * WEEK)
    }

    /// The requests of one seed, in the order of their times: a pure function of workload
    /// and seed.
    pub fn generate(&self, seed: u64) -> Vec<Request> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut requests = Vec::new();
        for week in 0..u64::from(self.weeks) {
            let monday = Duration::from_secs(week * WEEK);
            for _ in self.services..self.deploys_per_week {
                let working = random.random::<f64>() < self.in_working_hours;
                let at = monday
                    + if working {
                        work_time(&mut random)
                    } else {
                        off_time(&mut random)
                    };
                requests.push(Request {
                    at,
                    size: self.size(&mut random),
                    burst: false,
                });
            }
            let burst = monday + work_time(&mut random);
            for _ in 0..self.services {
                let within = uniform(&mut random, 0..self.burst_seconds);
                requests.push(Request {
                    at: burst + within,
                    size: self.size(&mut random),
                    burst: true,
                });
            }
        }
        requests.sort_by_key(|request| request.at);
        requests
    }

    fn size(&self, random: &mut ChaCha8Rng) -> Bytes {
        let size = self.median_size.0 as f64 * (self.sigma * standard_normal(random)).exp();
        Bytes(size.clamp(1.0, self.largest.0 as f64) as u64)
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        format!(
            "synthetic workload: {} services, {} deploys/week ({:.0} % of them in 9-19 h on weekdays), \
             one burst of {} in {} s a week, lognormal sizes of median {:.0} MB, sigma {}, at most {:.0} GB; \
             {} weeks",
            self.services,
            self.deploys_per_week,
            self.in_working_hours * 100.0,
            self.services,
            self.burst_seconds,
            self.median_size.0 as f64 / 1e6,
            self.sigma,
            self.largest.0 as f64 / 1e9,
            self.weeks,
        )
    }
}

/// A moment of a week's working hours.
fn work_time(random: &mut ChaCha8Rng) -> Duration {
    let day = random.random_range(0..5);
    Duration::from_secs(day * DAY) + uniform(random, WORK)
}

/// A moment of a week outside working hours.
fn off_time(random: &mut ChaCha8Rng) -> Duration {
    loop {
        let at = uniform(random, 0..WEEK);
        let (day, second) = (at.as_secs() / DAY, at.as_secs() % DAY);
        if day >= 5 || !WORK.contains(&second) {
            return at;
        }
    }
}

/// A moment of a range of seconds, to the nanosecond.
fn uniform(random: &mut ChaCha8Rng, seconds: std::ops::Range<u64>) -> Duration {
    const NANOS: u64 = 1_000_000_000;
    Duration::from_nanos(random.random_range(seconds.start * NANOS..seconds.end * NANOS))
}

/// Box and Muller's transform (1958).
fn standard_normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_everything() {
        let workload = Workload::default();
        assert_eq!(workload.generate(7), workload.generate(7));
        assert_ne!(workload.generate(7), workload.generate(8));
    }

    #[test]
    fn the_weeks_look_as_described() {
        let requests = Workload::default().generate(1);
        assert_eq!(requests.len(), 2 * 8_470);
        assert!(requests.is_sorted_by_key(|request| request.at));

        let bursts: Vec<_> = requests.iter().filter(|request| request.burst).collect();
        assert_eq!(bursts.len(), 2 * 847);
        assert!(bursts[846].at - bursts[0].at < Duration::from_secs(60));
        assert!(bursts[847].at - bursts[846].at > Duration::from_secs(3_600));

        let working = requests.iter().filter(|request| {
            let second = request.at.as_secs();
            !request.burst && second % WEEK / DAY < 5 && WORK.contains(&(second % DAY))
        });
        let share = working.count() as f64 / (2.0 * 7_623.0);
        assert!((share - 0.8).abs() < 0.01, "{share}");
    }

    #[test]
    fn sizes_have_the_median_the_mean_and_the_cap_asked_for() {
        let mut sizes: Vec<_> = Workload {
            weeks: 20,
            ..Workload::default()
        }
        .generate(3)
        .iter()
        .map(|request| request.size.0)
        .collect();
        sizes.sort_unstable();
        let median = sizes[sizes.len() / 2] as f64 / 1e6;
        let mean = sizes.iter().sum::<u64>() as f64 / sizes.len() as f64 / 1e6;
        assert!((median - 150.0).abs() < 3.0, "{median}");
        // exp(1.2 squared / 2) times the median is 308 MB; the cap takes a little.
        assert!((mean - 308.0).abs() < 9.0, "{mean}");
        assert!(sizes[sizes.len() - 1] <= 20_000_000_000);
    }
}
