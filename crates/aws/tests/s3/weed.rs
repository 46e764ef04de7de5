//! SeaweedFS as a child of the test, on ports of its own.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

/// How long the server may take until it accepts a write; it takes about 8 s here.
const START_LIMIT: Duration = Duration::from_secs(90);

pub(crate) struct Weed {
    child: Mutex<Child>,
    pub(crate) endpoint: String,
    _dir: tempfile::TempDir,
}

impl Drop for Weed {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Ports that are free now, each with its gRPC twin 10,000 above, as `weed` wants them.
/// Both below those that the kernel gives to clients (32,768 and up): such a port may be
/// taken by any connection between looking and binding.
fn free_ports(count: usize) -> Vec<u16> {
    let seed = RandomState::new().build_hasher().finish();
    let mut ports = (0..12_000_u16)
        .map(|n| 10_500 + (u64::from(n).wrapping_add(seed) % 12_000) as u16)
        .filter(|port| {
            let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
            free(*port) && free(port + 10_000)
        });
    ports.by_ref().take(count).collect()
}

impl Weed {
    /// Started, or none where there is none to start.
    pub(crate) fn start() -> Option<Self> {
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
                // Each bucket takes a handful.
                "-volume.max=200",
            ])
            .args([
                "-master.volumeSizeLimitMB=64",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-master.telemetry=false",
            ])
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
            child: Mutex::new(child),
            endpoint: format!("http://127.0.0.1:{}", ports[3]),
            _dir: dir,
        })
    }
}

/// The SDK's own client, as a test sets it up.
pub(crate) fn client(endpoint: &str) -> aws_sdk_s3::Client {
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

impl Weed {
    /// Makes a bucket that takes writes.
    pub(crate) async fn bucket(&self, client: &aws_sdk_s3::Client, name: &str, is_versioned: bool) {
        let began = Instant::now();
        // The server accepts connections before it accepts writes.
        loop {
            let _ = client.create_bucket().bucket(name).send().await;
            if is_versioned {
                let versioning = VersioningConfiguration::builder()
                    .status(BucketVersioningStatus::Enabled)
                    .build();
                let _ = client
                    .put_bucket_versioning()
                    .bucket(name)
                    .versioning_configuration(versioning)
                    .send()
                    .await;
            }
            let probe = client
                .put_object()
                .bucket(name)
                .key("probe")
                .body(b"probe".to_vec().into())
                .send()
                .await;
            if probe.is_ok_and(|put| put.version_id().is_some() || !is_versioned) {
                return;
            }
            let ended = self.child.lock().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the S3 server ended: {ended:?}");
            assert!(
                began.elapsed() < START_LIMIT,
                "the S3 server did not come up"
            );
            tokio::task::yield_now().await;
        }
    }
}
