//! How AWS is called: endpoints, time limits, retries and concurrency, all in one place.
//!
//! What bounds everything is the caller: API Gateway gives up after 29 s (developer guide,
//! quotas), so one call of a port has to end well before, failure included. What only a
//! phase or the compiler's caller asks for may take longer: a function has 15 minutes.

#[cfg(feature = "objects")]
mod s3;
#[cfg(any(
    feature = "stepfunctions",
    feature = "queue",
    feature = "publish",
    feature = "kms",
    feature = "events"
))]
mod services;
#[cfg(feature = "table")]
mod table;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

#[cfg(feature = "publish")]
pub use services::COMPILE_TIMEOUT;
#[cfg(feature = "queue")]
pub(crate) use services::listening_timeouts;
#[cfg(feature = "table")]
pub(crate) use table::TABLE_ATTEMPTS;
#[cfg(feature = "table")]
pub use table::{Backoff, REQUESTS_AT_ONCE, table_retries, table_timeouts};

/// Where a service of AWS is. Credentials and region come from the environment, as for
/// every AWS tool.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Another endpoint than AWS's own, such as `http://127.0.0.1:8333`. Where there is
    /// none, the SDK's own variables count: `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, ...
    pub endpoint: Option<String>,
}

impl Connection {
    async fn shared(&self, retries: RetryConfig, timeouts: TimeoutConfig) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(retries)
            .timeout_config(timeouts);
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        let builder = config.to_builder();
        builder.service_config(WithoutEmpty(config)).build()
    }
}

/// What the environment says for one service, such as `AWS_ENDPOINT_URL_S3`, taken as
/// absent where it is empty. The SDK panics at an empty endpoint (aws-smithy-types 1.9,
/// `Endpoint::builder`), and `sam local` sets every variable that a template declares, to
/// nothing where it has no value.
#[derive(Debug)]
struct WithoutEmpty(SdkConfig);

impl LoadServiceConfig for WithoutEmpty {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let said = self.0.service_config()?.load_config(key);
        said.filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment in which every variable is this.
    #[derive(Debug)]
    struct Always(&'static str);

    impl LoadServiceConfig for Always {
        fn load_config(&self, _: ServiceConfigKey<'_>) -> Option<String> {
            Some(self.0.to_owned())
        }
    }

    #[test]
    fn a_variable_that_is_empty_is_as_absent() {
        let endpoint = |said| {
            let said = SdkConfig::builder().service_config(Always(said)).build();
            let key = ServiceConfigKey::builder()
                .service_id("S3")
                .env("AWS_ENDPOINT_URL")
                .profile("endpoint_url");
            WithoutEmpty(said).load_config(key.build().unwrap())
        };
        assert_eq!(endpoint(""), None);
        let elsewhere = "http://127.0.0.1:8333";
        assert_eq!(endpoint(elsewhere).as_deref(), Some(elsewhere));
    }
}
