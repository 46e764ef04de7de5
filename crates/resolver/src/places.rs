//! Who may call a resolver now, and how long the others wait.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The fewest calls at once, on however few cores: as many as one round of decisions makes
/// (the control plane has at most four, and one round at a time). Shadows come after a round, one
/// at a time, so that one that runs into its limits takes a quarter of the places at most,
/// and never the last one.
const AT_LEAST: usize = 4;

/// How many calls share a core. Most of them take a few milliseconds, so that two seldom meet;
/// where they do, the second one runs at half its speed, and its wall time (250 ms, ten times
/// what a policy in Python takes) has room for that.
const A_CORE: usize = 2;

/// How long a call waits for its place. It counts for none of its wall time: a call that
/// waited has all of it. The control plane gives it two seconds
/// (`control::ports::START_WITHIN`); a wait beyond one second means that four calls or more are
/// stuck at their own limits, and then the pool's fallback decides sooner than they end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The places for calls.
#[derive(Clone)]
pub(crate) struct Places(Arc<Semaphore>);

impl Places {
    /// As many as this machine has room for.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new(Self::on(cores))))
    }

    fn on(cores: usize) -> usize {
        AT_LEAST.max(cores.saturating_mul(A_CORE))
    }

    /// A place, held until it is dropped: first come, first served.
    ///
    /// # Errors
    /// Why there is none, where none came free in time.
    pub(crate) async fn take(&self) -> Result<OwnedSemaphorePermit, String> {
        let place = self.0.clone().acquire_owned();
        match tokio::time::timeout(PATIENCE, place).await {
            Ok(Ok(place)) => Ok(place),
            // Nobody closes it.
            Ok(Err(closed)) => Err(closed.to_string()),
            Err(_) => Err(format!(
                "busy: expected a place to be called in within {} ms, found other calls in all \
                 of them",
                PATIENCE.as_millis()
            )),
        }
    }

    /// How many are free now.
    pub(crate) fn free(&self) -> usize {
        self.0.available_permits()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn one_core_has_places_for_a_whole_round() {
        assert_eq!(Places::on(1), 4);
        assert_eq!(Places::on(2), 4);
        assert_eq!(Places::on(8), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_place_has_an_end() {
        let places = Places::new();
        let mut held = Vec::new();
        while places.free() > 0 {
            held.push(places.take().await.unwrap());
        }
        let begun = Instant::now();
        let why = places.take().await.unwrap_err();
        assert!(why.starts_with("busy: expected a place"), "{why}");
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
        assert_eq!(places.free(), 0, "who gave up holds nothing");
        drop(held.pop());
        held.push(places.take().await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_gets_the_place_that_comes_free() {
        let places = Places::new();
        let mut held = Vec::new();
        while places.free() > 0 {
            held.push(places.take().await.unwrap());
        }
        let waits = tokio::spawn({
            let places = places.clone();
            async move { places.take().await.map(drop) }
        });
        tokio::time::sleep(PATIENCE / 2).await;
        drop(held.pop());
        waits.await.unwrap().unwrap();
    }
}
