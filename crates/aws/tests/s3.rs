//! Artifacts are read from a real S3 server, at exactly the version that was named.
//!
//! Runs against SeaweedFS (`weed`), which `.ci/setup` installs.

#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws::ArtifactStore;
use aws_sdk_s3::types::{BucketVersioningStatus, ChecksumAlgorithm, VersioningConfiguration};
use control::ports::ObjectError;
use model::{Bytes, Sha256};
use sha2::Digest;

/// How long the server may take until it accepts a write; it takes about 8 s here.
const START_LIMIT: Duration = Duration::from_secs(90);

struct Weed {
    child: Child,
    endpoint: String,
    _dir: tempfile::TempDir,
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that are free now, each with its gRPC twin 10,000 above, as `weed` wants them.
fn free_ports(count: usize) -> Vec<u16> {
    let mut held = Vec::new();
    let mut ports = Vec::new();
    while ports.len() < count {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if let Some(twin) = port.checked_add(10_000)
            && let Ok(other) = TcpListener::bind(("127.0.0.1", twin))
        {
            ports.push(port);
            held.push(other);
        }
        held.push(listener);
    }
    ports
}

impl Weed {
    fn start() -> Option<Self> {
        let found = Command::new("weed")
            .arg("version")
            .stdout(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            let message = "SKIPPED: needs SeaweedFS (`weed`); run .ci/setup";
            assert!(
                std::env::var_os("TAPEMARK_TEST_REQUIRE").is_none(),
                "{message}"
            );
            eprintln!("{message}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("s3.json");
        let identity = serde_json::json!({"identities": [{
            "name": "test",
            "credentials": [{"accessKey": "test", "secretKey": "testtest"}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        std::fs::write(&config, identity.to_string()).unwrap();
        let ports = free_ports(4);
        let child = Command::new("weed")
            .arg("server")
            .arg(format!("-dir={}", dir.path().display()))
            .args([
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-s3",
                "-volume.max=20",
            ])
            .args(["-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0"])
            .arg(format!("-s3.config={}", config.display()))
            .arg(format!("-master.port={}", ports[0]))
            .arg(format!("-volume.port={}", ports[1]))
            .arg(format!("-filer.port={}", ports[2]))
            .arg(format!("-s3.port={}", ports[3]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self {
            child,
            endpoint: format!("http://127.0.0.1:{}", ports[3]),
            _dir: dir,
        })
    }
}

/// The SDK's own client, as a test sets it up.
fn client(endpoint: &str) -> aws_sdk_s3::Client {
    let credentials = aws_sdk_s3::config::Credentials::new("test", "testtest", None, None, "test");
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

async fn put(client: &aws_sdk_s3::Client, body: &[u8]) -> Option<String> {
    let put = client
        .put_object()
        .bucket("releases")
        .key("payments/größe.tar")
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .body(body.to_vec().into())
        .send()
        .await
        .ok()?;
    put.version_id().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_read_at_its_version_and_never_at_another() {
    let Some(weed) = Weed::start() else { return };
    let client = client(&weed.endpoint);
    let began = Instant::now();
    let old = b"first release".repeat(100_000);
    let new = b"second release".to_vec();
    let first = loop {
        // The server accepts connections before it accepts writes.
        let _ = client.create_bucket().bucket("releases").send().await;
        let versioning = VersioningConfiguration::builder()
            .status(BucketVersioningStatus::Enabled)
            .build();
        let _ = client
            .put_bucket_versioning()
            .bucket("releases")
            .versioning_configuration(versioning)
            .send()
            .await;
        if let Some(version) = put(&client, &old).await {
            break version;
        }
        assert!(
            began.elapsed() < START_LIMIT,
            "the S3 server did not come up"
        );
        tokio::task::yield_now().await;
    };
    let second = put(&client, &new).await.unwrap();
    assert_ne!(first, second);

    let store = ArtifactStore::with_client(client);
    for (version, body) in [(&first, &old), (&second, &new)] {
        let info = store
            .head("releases", "payments/größe.tar", version)
            .await
            .unwrap();
        assert_eq!(info.size, Bytes(body.len() as u64));
        let digest = Sha256(sha2::Sha256::digest(body).into());
        assert_eq!(info.sha256, Some(digest));
        let mut reader = store
            .open("releases", "payments/größe.tar", version)
            .await
            .unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).map(|_| read)
        });
        assert_eq!(&read.await.unwrap().unwrap(), body);
    }

    for (bucket, key, version) in [
        (
            "releases",
            "payments/größe.tar",
            "00000000000000000000000000000000",
        ),
        ("releases", "no-such-key", first.as_str()),
        ("no-such-bucket", "x", first.as_str()),
    ] {
        let missing = store.head(bucket, key, version).await.unwrap_err();
        assert!(matches!(missing, ObjectError::Missing(_)), "{missing}");
        let missing = store.open(bucket, key, version).await.err().unwrap();
        assert!(matches!(missing, ObjectError::Missing(_)), "{missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_unavailable_not_missing() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let store = ArtifactStore::with_client(client(&format!("http://{nobody}")));
    let error = store.head("releases", "app", "1").await.unwrap_err();
    assert!(matches!(error, ObjectError::Unavailable(_)), "{error}");
}
