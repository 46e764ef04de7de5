//! How long somebody's caller will wait. A server answers a long poll when its time is up;
//! a function has to answer before it is ended, whatever the poll asked for.

use std::future::Future;
use std::time::Duration;

tokio::task_local! {
    static LIMIT: Duration;
}

/// Does work whose long polls end after at most `limit`, with an answer as if their own
/// time were up. What the work spawns is not bound.
pub async fn within<F: Future>(limit: Duration, work: F) -> F::Output {
    LIMIT.scope(limit, work).await
}

/// What a poll may wait, in milliseconds.
pub(crate) fn limit_ms() -> u64 {
    LIMIT
        .try_with(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_within_is_bound() {
        assert_eq!(limit_ms(), u64::MAX);
        let inside = within(Duration::from_secs(3), async { limit_ms() }).await;
        assert_eq!(inside, 3_000);
    }
}
