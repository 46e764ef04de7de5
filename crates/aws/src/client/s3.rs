//! How S3 is called.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;

use super::Connection;

/// Time to reach S3 and to get the first byte. A region's endpoint answers within
/// milliseconds; 5 s is a dead network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time without a byte of a body. A stalled transfer is given up and asked for again. Also
/// what CopyObject may take to its first byte: S3 sends headers at once and spaces while it
/// copies.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries of one call of S3. The SDK waits with exponential back-off and full jitter between
/// them; three tries stay well within one Lambda invocation.
const ATTEMPTS: u32 = 3;

impl Connection {
    /// A client of S3 with this crate's time limits and retries. Where S3 is not AWS's own,
    /// buckets are named in the path, because most such stores have no wildcard DNS.
    pub async fn s3(&self) -> aws_sdk_s3::Client {
        let shared = self
            .shared(
                RetryConfig::standard().with_max_attempts(ATTEMPTS),
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .read_timeout(READ_TIMEOUT)
                    .build(),
            )
            .await;
        let own = std::env::var_os("AWS_ENDPOINT_URL_S3").filter(|url| !url.is_empty());
        let elsewhere = shared.endpoint_url().is_some() || own.is_some();
        let config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(elsewhere);
        aws_sdk_s3::Client::from_conf(config.build())
    }
}
