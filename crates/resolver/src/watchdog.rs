//! Ends calls whose time is up.
//!
//! An engine has one epoch for all its stores, and each call its own deadline. So each
//! store is called back whenever the epoch rises, and looks at its own deadline; the
//! watchdog only sees to it that the epoch rises soon after the nearest one. Between
//! deadlines it sleeps: no tick, whether there are no calls or thousands.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// How soon the epoch rises again for a call that is over its deadline and not ended yet:
/// it may have looked at the clock just before, or be copying a result.
const AGAIN: Duration = Duration::from_millis(2);

/// The watchdog's stack. It calls nothing deep.
const STACK: usize = 64 * 1024;

/// Raises an engine's epoch at deadlines. Its thread starts with the first deadline and
/// ends with the watchdog.
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    started: OnceLock<Result<(), String>>,
}

struct Shared {
    engine: Engine,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Deadlines of the calls that run, each with a number of its own.
    deadlines: BTreeSet<(Instant, u64)>,
    next: u64,
    /// Until when the thread sleeps; none: until it is told.
    until: Option<Instant>,
    over: bool,
}

/// A deadline that is watched as long as this lives.
pub(crate) struct Watched<'a> {
    shared: &'a Shared,
    entry: (Instant, u64),
}

impl Watchdog {
    pub(crate) fn new(engine: Engine) -> Self {
        let shared = Shared {
            engine,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
            started: OnceLock::new(),
        }
    }

    /// Has the epoch rise at `deadline`, and again until the returned value is dropped.
    ///
    /// # Errors
    /// Why the watchdog's thread could not be started: then no call may be made.
    pub(crate) fn watch(&self, deadline: Instant) -> Result<Watched<'_>, String> {
        self.started.get_or_init(|| self.start()).clone()?;
        let mut state = self.shared.lock();
        let entry = (deadline, state.next);
        state.next += 1;
        state.deadlines.insert(entry);
        if state.until.is_none_or(|until| deadline < until) {
            self.shared.changed.notify_one();
        }
        drop(state);
        Ok(Watched {
            shared: &self.shared,
            entry,
        })
    }

    fn start(&self) -> Result<(), String> {
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new()
            .name("resolver-watchdog".to_owned())
            .stack_size(STACK)
            .spawn(move || shared.run())
            .map(drop)
            .map_err(|error| format!("the watchdog could not be started: {error}"))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.shared.lock().deadlines.remove(&self.entry);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.over {
            let now = Instant::now();
            let nearest = state.deadlines.first().map(|(deadline, _)| *deadline);
            let wake = match nearest {
                Some(deadline) if deadline <= now => {
                    self.engine.increment_epoch();
                    Some(now + AGAIN)
                }
                later => later,
            };
            state.until = wake;
            state = match wake {
                Some(wake) => {
                    let (state, _) = self
                        .changed
                        .wait_timeout(state, wake.saturating_duration_since(now))
                        .unwrap_or_else(PoisonError::into_inner);
                    state
                }
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Allocation, runner};

    #[test]
    fn a_watchdog_that_never_watched_has_no_thread() {
        let watchdog = Watchdog::new(runner(Allocation::OnDemand).unwrap());
        assert!(watchdog.started.get().is_none());
        drop(watchdog.watch(Instant::now()).unwrap());
        assert_eq!(watchdog.started.get(), Some(&Ok(())));
    }

    #[test]
    fn a_call_that_ended_is_not_watched_any_more() {
        let watchdog = Watchdog::new(runner(Allocation::OnDemand).unwrap());
        let later = Instant::now() + Duration::from_secs(3600);
        let one = watchdog.watch(later).unwrap();
        let other = watchdog.watch(later).unwrap();
        drop(one);
        assert_eq!(watchdog.shared.lock().deadlines.len(), 1);
        drop(other);
        assert!(watchdog.shared.lock().deadlines.is_empty());
    }

    #[test]
    fn an_earlier_deadline_wakes_a_watchdog_that_sleeps_until_a_later_one() {
        let watchdog = Watchdog::new(runner(Allocation::OnDemand).unwrap());
        let far = watchdog.watch(Instant::now() + Duration::from_secs(3600));
        let near = Instant::now() + Duration::from_millis(5);
        let watched = watchdog.watch(near).unwrap();
        // It says until when it sleeps: two milliseconds at most once `near` is over.
        loop {
            let until = watchdog.shared.lock().until;
            if until.is_some_and(|until| until > near && until <= Instant::now() + AGAIN) {
                break;
            }
            std::thread::yield_now();
        }
        drop((far, watched));
    }
}
