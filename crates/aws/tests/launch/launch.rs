//! Programs that stand in for AWS, as children of the test: started on ports of their own,
//! waited for, and killed with it.
// Each suite starts some of them and uses a part of this.
#![allow(dead_code)]

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a program may take until it serves. SeaweedFS takes about 8 s on a quiet
/// machine, MiniStack 1 s.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A program at work. Killed and waited for when it is dropped.
pub(crate) struct Program {
    name: &'static str,
    child: Mutex<Child>,
    pub(crate) endpoint: String,
    pub(crate) access_key: &'static str,
    pub(crate) secret_key: &'static str,
    _dir: tempfile::TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Program {
    /// Asks until the answer is yes.
    pub(crate) async fn until(&self, mut asked: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !asked().await {
            let ended = self.child.lock().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {ended:?}", self.name);
            assert!(
                began.elapsed() < START_LIMIT,
                "{} did not come up",
                self.name
            );
            // A connection that is refused at once is not to keep a core busy.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
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

/// Says that a program is missing: loudly, and fatally where nothing may be.
fn lacking(what: &str) {
    let message = format!("SKIPPED: needs {what}; run .ci/setup");
    assert!(
        std::env::var_os("TAPEMARK_TEST_REQUIRE").is_none(),
        "{message}"
    );
    eprintln!("{message}");
}

/// True where a program can be run at all.
fn is_there(program: &str, argument: &str) -> bool {
    let found = Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

fn spawn(mut command: Command) -> Mutex<Child> {
    let silent = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Mutex::new(silent.spawn().unwrap())
}

/// SeaweedFS, a real S3 server. Accepts connections before it accepts writes.
#[allow(dead_code, reason = "each test starts what it needs")]
pub(crate) fn weed() -> Option<Program> {
    if !is_there("weed", "version") {
        lacking("SeaweedFS (`weed`)");
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
    let mut command = Command::new("weed");
    command
        .arg("server")
        .arg(format!("-dir={}", dir.path().display()))
        .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"])
        // Each bucket takes a handful.
        .args(["-volume.max=200", "-master.volumeSizeLimitMB=64"])
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
        .arg("-master.telemetry=false")
        .arg(format!("-s3.config={}", config.display()))
        .arg(format!("-master.port={}", ports[0]))
        .arg(format!("-volume.port={}", ports[1]))
        .arg(format!("-filer.port={}", ports[2]))
        .arg(format!("-s3.port={}", ports[3]));
    Some(Program {
        name: "weed",
        child: spawn(command),
        endpoint: format!("http://127.0.0.1:{}", ports[3]),
        access_key: "test",
        secret_key: "testtest",
        _dir: dir,
    })
}

/// MiniStack: many of AWS's services in one process.
#[allow(dead_code, reason = "each test starts what it needs")]
pub(crate) fn ministack() -> Option<Program> {
    if !is_there("ministack", "--help") {
        lacking("MiniStack (`ministack`)");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let port = free_ports(1)[0];
    let mut command = Command::new("ministack");
    command
        .current_dir(dir.path())
        .env("GATEWAY_PORT", port.to_string())
        .env("BIND_HOST", "127.0.0.1")
        .env("IOT_MTLS_ENABLED", "0")
        .env("LAMBDA_EXECUTOR", "local");
    Some(Program {
        name: "ministack",
        child: spawn(command),
        endpoint: format!("http://127.0.0.1:{port}"),
        access_key: "test",
        secret_key: "test",
        _dir: dir,
    })
}
