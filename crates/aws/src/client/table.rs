//! How DynamoDB is called.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;

use super::Connection;

/// Time to reach DynamoDB: it lies in the same region.
const TABLE_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time of one try. Single items take some milliseconds and a transaction of 100 items some
/// hundred; who has no answer after 3 s asks another front end.
const TABLE_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time of one call with the SDK's own tries.
const TABLE_CALL_TIMEOUT: Duration = Duration::from_secs(8);
/// Tries of one call that the SDK may repeat: reads, and transactions, which carry a token.
/// Its token bucket keeps a broken region from being asked three times as often. Also the
/// tries of a single write that get no answer at all: each may take the whole of
/// [`TABLE_ATTEMPT_TIMEOUT`].
pub(crate) const TABLE_ATTEMPTS: u32 = 3;
/// The longest first pause of the SDK. Its own default of a second is for services that
/// take that long; here it would be most of a call.
const TABLE_FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Requests to DynamoDB at once from one process. A Lambda instance serves one call, which
/// reads up to 16 items at a time; a server (`tapemark up`) some calls. Each request holds
/// a connection and a file descriptor, of which Lambda gives 1,024.
pub const REQUESTS_AT_ONCE: usize = 64;

impl Connection {
    /// A client of DynamoDB with this crate's time limits and retries.
    pub async fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let shared = self.shared(table_retries(), table_timeouts()).await;
        aws_sdk_dynamodb::Client::new(&shared)
    }
}

/// The retries that [`Connection::dynamodb`] sets, for clients set up elsewhere.
pub fn table_retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(TABLE_ATTEMPTS)
        .with_initial_backoff(TABLE_FIRST_PAUSE)
}

/// The time limits that [`Connection::dynamodb`] sets, for clients set up elsewhere.
pub fn table_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(TABLE_CONNECT_TIMEOUT)
        .operation_attempt_timeout(TABLE_ATTEMPT_TIMEOUT)
        .operation_timeout(TABLE_CALL_TIMEOUT)
        .build()
}

/// How the table repeats what the SDK does not: conditional writes of one item, and
/// transactions that met another one or were throttled.
///
/// The n-th pause is drawn evenly from nothing to `base * 2^n`, at most `cap` (full jitter,
/// AWS Architecture Blog, *Exponential Backoff And Jitter*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// The longest first pause.
    pub base: Duration,
    /// The longest pause.
    pub cap: Duration,
}

impl Default for Backoff {
    /// Eight tries, at most 25, 50, 100, 200, 400, 800, 1,000 ms apart: 1.3 s on average,
    /// 2.6 s at most. A transaction of others takes some 20 ms, and on-demand tables double
    /// their throughput within seconds; what lasts longer is the state machine's to retry.
    fn default() -> Self {
        Self {
            attempts: 8,
            base: Duration::from_millis(25),
            cap: Duration::from_secs(1),
        }
    }
}

impl Backoff {
    /// The longest pause after `attempt` (from 0).
    fn longest(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    pub(crate) async fn pause(&self, attempt: u32) {
        // Without randomness all pause equally: slower under contention, not wrong.
        let share = getrandom::u32().unwrap_or(u32::MAX);
        let pause = self
            .longest(attempt)
            .mul_f64(f64::from(share) / f64::from(u32::MAX));
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap() {
        let backoff = Backoff::default();
        let longest: Vec<_> = (0..9).map(|n| backoff.longest(n).as_millis()).collect();
        assert_eq!(longest, [25, 50, 100, 200, 400, 800, 1000, 1000, 1000]);
        assert_eq!(backoff.longest(u32::MAX), backoff.cap);
    }

    #[test]
    fn a_call_ends_before_api_gateway_gives_up() {
        let ours: Duration = (0..Backoff::default().attempts)
            .map(|n| Backoff::default().longest(n))
            .sum();
        let silent = TABLE_ATTEMPT_TIMEOUT * TABLE_ATTEMPTS;
        assert!(silent + ours < Duration::from_secs(15), "a single write");
        assert!(
            TABLE_CALL_TIMEOUT + ours < Duration::from_secs(15),
            "others"
        );
    }
}
