//! S3 servers that the tests run against.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use endpoints::{ANY_PORT, Endpoints, Running};

use crate::launch::{self, Program};

/// A server at work, and the SDK's client of it.
pub(crate) struct Home {
    server: Server,
    pub(crate) client: aws_sdk_s3::Client,
}

enum Server {
    Weed(Program),
    /// Held until the end of the test.
    Endpoints(#[allow(dead_code)] Running),
}

/// The SDK's own client, as a test sets it up.
pub(crate) fn client(endpoint: &str, key: &str, secret: &str) -> aws_sdk_s3::Client {
    let credentials = aws_sdk_s3::config::Credentials::new(key, secret, None, None, "test");
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

impl Home {
    /// SeaweedFS, or none where there is none to start.
    pub(crate) fn weed() -> Option<Self> {
        let weed = launch::weed()?;
        Some(Self {
            client: client(&weed.endpoint, weed.access_key, weed.secret_key),
            server: Server::Weed(weed),
        })
    }

    /// The endpoints of this project, on a disk or in memory.
    pub(crate) async fn endpoints(home: endpoints::Home) -> Self {
        let running = Endpoints::start(home, ANY_PORT).await.unwrap();
        let credentials = running.credentials;
        let client = client(
            &running.s3_url,
            credentials.access_key_id,
            credentials.secret_access_key,
        );
        Self {
            server: Server::Endpoints(running),
            client,
        }
    }

    /// Makes a bucket that takes writes.
    pub(crate) async fn bucket(&self, name: &str, is_versioned: bool) {
        match &self.server {
            // It accepts connections before it accepts writes.
            Server::Weed(weed) => {
                weed.until(async || self.make_bucket(name, is_versioned).await)
                    .await;
            }
            Server::Endpoints(_) => assert!(self.make_bucket(name, is_versioned).await),
        }
    }

    async fn make_bucket(&self, name: &str, is_versioned: bool) -> bool {
        let _ = self.client.create_bucket().bucket(name).send().await;
        if is_versioned {
            let versioning = VersioningConfiguration::builder()
                .status(BucketVersioningStatus::Enabled)
                .build();
            let _ = self
                .client
                .put_bucket_versioning()
                .bucket(name)
                .versioning_configuration(versioning)
                .send()
                .await;
        }
        let probe = self
            .client
            .put_object()
            .bucket(name)
            .key("probe")
            .body(b"probe".to_vec().into())
            .send()
            .await;
        probe.is_ok_and(|put| put.version_id().is_some() || !is_versioned)
    }
}
