//! The bell for those who wait for work; time and unpredictable bytes are the system's.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use control::ports::WorkQueue;
pub use control::ports::system::{SystemClock, SystemRandomness};
use model::LibraryId;
use tokio::sync::Notify;

/// How many bells there are. Libraries that share one wake each other for nothing, which
/// costs a look into the table; in return a made-up library id costs no memory.
const BELLS: usize = 64;

/// Bells within the process. A ring that nobody waits for is counted, not lost.
pub struct LocalQueue {
    bells: Vec<Bell>,
}

#[derive(Default)]
struct Bell {
    rings: AtomicU64,
    waiting: Notify,
}

impl Default for LocalQueue {
    fn default() -> Self {
        Self {
            bells: (0..BELLS).map(|_| Bell::default()).collect(),
        }
    }
}

impl LocalQueue {
    fn bell(&self, library: &LibraryId) -> &Bell {
        // DefaultHasher::default() has fixed keys: the same bell in every call.
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(library);
        &self.bells[hash as usize % BELLS]
    }
}

#[async_trait]
impl WorkQueue for LocalQueue {
    async fn ring(&self, library: &LibraryId) {
        let bell = self.bell(library);
        bell.rings.fetch_add(1, Ordering::SeqCst);
        bell.waiting.notify_waiters();
    }

    fn ticket(&self, library: &LibraryId) -> u64 {
        self.bell(library).rings.load(Ordering::SeqCst)
    }

    async fn wait(&self, library: &LibraryId, ticket: u64, at_most: Duration) {
        let bell = self.bell(library);
        // The future is registered before the count is read, so that a ring between the
        // two is either counted or heard.
        let rung = bell.waiting.notified();
        tokio::pin!(rung);
        rung.as_mut().enable();
        if bell.rings.load(Ordering::SeqCst) == ticket {
            // A timeout is as good as a ring: the caller looks either way.
            let _ = tokio::time::timeout(at_most, rung).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test(start_paused = true)]
    async fn a_ring_between_ticket_and_wait_is_not_missed() {
        let queue = LocalQueue::default();
        let library: LibraryId = "lib".parse().unwrap();
        let ticket = queue.ticket(&library);
        queue.ring(&library).await;
        let before = tokio::time::Instant::now();
        queue.wait(&library, ticket, LONG).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ring_wakes_everybody_and_silence_ends_in_time() {
        let queue = Arc::new(LocalQueue::default());
        let library: LibraryId = "lib".parse().unwrap();
        let before = tokio::time::Instant::now();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let (queue, library) = (queue.clone(), library.clone());
                let ticket = queue.ticket(&library);
                tokio::spawn(async move { queue.wait(&library, ticket, LONG).await })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.ring(&library).await;
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!(before.elapsed(), Duration::ZERO);

        queue.wait(&library, queue.ticket(&library), LONG).await;
        assert_eq!(before.elapsed(), LONG);
    }
}
