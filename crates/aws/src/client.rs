//! How AWS is called: endpoints, time limits, retries and concurrency, all in one place.
//!
//! What bounds everything is the caller: API Gateway gives up after 29 s (developer guide,
//! quotas), so one call of a port has to end well before, failure included.

#[cfg(feature = "table")]
mod table;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

#[cfg(feature = "table")]
pub(crate) use table::TABLE_ATTEMPTS;
#[cfg(feature = "table")]
pub use table::{Backoff, REQUESTS_AT_ONCE, table_retries, table_timeouts};

/// Time to reach S3 and to get the first byte. A region's endpoint answers within
/// milliseconds; 5 s is a dead network.
const S3_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time without a byte of a body. A stalled transfer is given up and asked for again.
const S3_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries of one call of S3. The SDK waits with exponential back-off and full jitter between
/// them; three tries stay well within one Lambda invocation.
const S3_ATTEMPTS: u32 = 3;

/// Where a service of AWS is. Credentials and region come from the environment, as for
/// every AWS tool.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Another endpoint than AWS's own, such as `http://127.0.0.1:8333`. Buckets are then
    /// named in the path, because most such stores have no wildcard DNS.
    pub endpoint: Option<String>,
}

impl Connection {
    /// A client of S3 with this crate's time limits and retries.
    pub async fn s3(&self) -> aws_sdk_s3::Client {
        let shared = shared(
            RetryConfig::standard().with_max_attempts(S3_ATTEMPTS),
            TimeoutConfig::builder()
                .connect_timeout(S3_CONNECT_TIMEOUT)
                .read_timeout(S3_READ_TIMEOUT)
                .build(),
        )
        .await;
        let mut config = aws_sdk_s3::config::Builder::from(&shared);
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint).force_path_style(true);
        }
        aws_sdk_s3::Client::from_conf(config.build())
    }
}

async fn shared(retries: RetryConfig, timeouts: TimeoutConfig) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(retries)
        .timeout_config(timeouts)
        .load()
        .await
}
