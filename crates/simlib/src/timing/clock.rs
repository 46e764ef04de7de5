//! The clock simulated mechanics run on.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// What time costs in a simulated library.
#[derive(Debug, Clone, Default)]
pub enum Timing {
    /// Mechanics take no time.
    #[default]
    Off,
    /// Mechanics take time on this clock, and none in reality.
    Virtual(Arc<VirtualClock>),
    /// Mechanics take real time, this many times faster than a real library (1.0 is real speed).
    Scaled(f64),
}

/// A clock that only simulated mechanics and [`VirtualClock::advance`] move.
///
/// Every drive and the robot has its own line of time, as they work side by side: two drives that
/// write for a minute each take one minute, not two. [`VirtualClock::now`] is the latest moment
/// any of them has reached.
#[derive(Debug, Default)]
pub struct VirtualClock {
    state: Mutex<Moments>,
}

#[derive(Debug, Default)]
struct Moments {
    /// Nothing starts before this.
    floor: Duration,
    latest: Duration,
}

impl VirtualClock {
    /// A clock at zero.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The latest moment any mechanism has reached, since the clock was made.
    pub fn now(&self) -> Duration {
        self.state.lock().latest
    }

    /// Lets everybody idle until `by` after [`VirtualClock::now`].
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock();
        state.latest += by;
        state.floor = state.latest;
    }
}

/// Where one mechanism is in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Timeline {
    now: Duration,
}

impl Timeline {
    /// The mechanism's own time.
    pub(crate) fn now(self) -> Duration {
        self.now
    }

    /// Two mechanisms meet (the robot serves the drive): both wait for the later one.
    pub(crate) fn meet(&mut self, other: &mut Self) {
        let later = self.now.max(other.now);
        self.now = later;
        other.now = later;
    }

    /// The mechanism works for `cost`. Sleeps only under [`Timing::Scaled`].
    pub(crate) fn spend(&mut self, timing: &Timing, cost: Duration) {
        match timing {
            Timing::Off => {}
            Timing::Virtual(clock) => {
                let mut state = clock.state.lock();
                self.now = self.now.max(state.floor) + cost;
                state.latest = state.latest.max(self.now);
            }
            Timing::Scaled(factor) => {
                let scaled = cost.as_secs_f64() / factor.max(1e-9);
                // Shorter than a scheduler tick: save it up.
                self.now += Duration::try_from_secs_f64(scaled).unwrap_or_default();
                if self.now >= Duration::from_millis(1) {
                    std::thread::sleep(self.now);
                    self.now = Duration::ZERO;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_drives_side_by_side_take_the_time_of_the_slower() {
        let clock = VirtualClock::new();
        let timing = Timing::Virtual(Arc::clone(&clock));
        let (mut a, mut b) = (Timeline::default(), Timeline::default());
        a.spend(&timing, Duration::from_secs(60));
        b.spend(&timing, Duration::from_secs(90));
        assert_eq!(clock.now(), Duration::from_secs(90));
        clock.advance(Duration::from_secs(10));
        a.spend(&timing, Duration::from_secs(5));
        assert_eq!(clock.now(), Duration::from_secs(105));
    }

    #[test]
    fn whoever_meets_waits_for_the_later() {
        let clock = VirtualClock::new();
        let timing = Timing::Virtual(clock);
        let (mut robot, mut drive) = (Timeline::default(), Timeline::default());
        robot.spend(&timing, Duration::from_secs(15));
        robot.meet(&mut drive);
        assert_eq!(drive.now(), Duration::from_secs(15));
    }
}
