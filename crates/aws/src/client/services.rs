//! How the smaller services are called.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;

use super::Connection;

/// Time to reach a service: all of them lie in the same region.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

fn timeouts(attempt: Duration, call: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(call)
        .build()
}

#[cfg(feature = "stepfunctions")]
impl Connection {
    /// A client of Step Functions: four tries of 4 s each within 12 s, first pause 100 ms.
    ///
    /// Its buckets are small (quotas: StartExecution 800 to 1,300 at once and 150 to 300 a
    /// second, SendTaskSuccess half of that), so throttling is daily life, and every call
    /// may be said twice: a start has its name, a token is used once.
    pub async fn step_functions(&self) -> aws_sdk_sfn::Client {
        let retries = RetryConfig::standard()
            .with_max_attempts(4)
            .with_initial_backoff(Duration::from_millis(100));
        let limits = timeouts(Duration::from_secs(4), Duration::from_secs(12));
        aws_sdk_sfn::Client::new(&self.shared(retries, limits).await)
    }
}

#[cfg(feature = "queue")]
impl Connection {
    /// A client of SQS: two tries of 1 s each within 2 s. Somebody waits for an answer that
    /// is right without the ring, and a lost ring costs a poll interval.
    pub async fn sqs(&self) -> aws_sdk_sqs::Client {
        let retries = RetryConfig::standard()
            .with_max_attempts(2)
            .with_initial_backoff(Duration::from_millis(50));
        let limits = timeouts(Duration::from_secs(1), Duration::from_secs(2));
        aws_sdk_sqs::Client::new(&self.shared(retries, limits).await)
    }
}

/// The limits of a long poll of so many seconds: it is answered after them at the latest.
#[cfg(feature = "queue")]
pub(crate) fn listening_timeouts(seconds: u64) -> TimeoutConfig {
    let most = Duration::from_secs(seconds + 3);
    timeouts(most, most)
}

#[cfg(feature = "kms")]
impl Connection {
    /// A client of KMS: three tries of 3 s each within 8 s, first pause 50 ms.
    pub async fn kms(&self) -> aws_sdk_kms::Client {
        let retries = RetryConfig::standard()
            .with_max_attempts(3)
            .with_initial_backoff(Duration::from_millis(50));
        let limits = timeouts(Duration::from_secs(3), Duration::from_secs(8));
        aws_sdk_kms::Client::new(&self.shared(retries, limits).await)
    }
}

#[cfg(feature = "events")]
impl Connection {
    /// A client of EventBridge: three tries of 5 s each within 15 s, first pause 100 ms.
    /// What fails then comes again with the stream, which keeps it for a day.
    pub async fn event_bridge(&self) -> aws_sdk_eventbridge::Client {
        let retries = RetryConfig::standard()
            .with_max_attempts(3)
            .with_initial_backoff(Duration::from_millis(100));
        let limits = timeouts(Duration::from_secs(5), Duration::from_secs(15));
        aws_sdk_eventbridge::Client::new(&self.shared(retries, limits).await)
    }
}

/// How long the function that compiles may take. The largest components (Python's runtime,
/// 18 MB) take 20 s for both architectures on two cores.
#[cfg(feature = "publish")]
pub const COMPILE_TIMEOUT: Duration = Duration::from_secs(120);

#[cfg(feature = "publish")]
impl Connection {
    /// A client of Lambda: one try of [`COMPILE_TIMEOUT`]. A second one would compile the
    /// same again while the first one still runs; whoever publishes asks again.
    pub async fn lambda(&self) -> aws_sdk_lambda::Client {
        let limits = timeouts(COMPILE_TIMEOUT, COMPILE_TIMEOUT);
        aws_sdk_lambda::Client::new(&self.shared(RetryConfig::disabled(), limits).await)
    }
}
