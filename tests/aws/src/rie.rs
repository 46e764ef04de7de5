//! The Runtime Interface Emulator that SAM's wheel carries, around one bootstrap, without a
//! container.
//!
//! Its limits, measured: a second invocation while one runs crashes it, so [`Rie`] lets one in
//! at a time; errors of handlers come with status 200, to be told by `errorType`; it cuts what
//! is longer than 6 MB.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::http::{self, Request};
use crate::process::{Running, free_port};

/// The bytes that a request or an answer of a function may have.
pub const MAX_PAYLOAD: usize = 6 * 1024 * 1024;

/// A bootstrap under the emulator; ends with this value.
pub struct Rie {
    one_at_a_time: Mutex<()>,
    running: Running,
    pid: u32,
    address: String,
}

/// What came back for an event.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200 also for an error of the handler; 502 where the process died.
    pub status: u16,
    /// The body.
    pub text: String,
    /// The body where it is JSON, else null.
    pub json: Value,
}

impl Answer {
    /// The type of the error that the function answered; empty where it succeeded.
    pub fn error_type(&self) -> &str {
        self.json["errorType"].as_str().unwrap_or_default()
    }
}

/// Where the emulator is: in the package of the `sam` that is installed.
pub fn emulator() -> Option<PathBuf> {
    let sam = crate::program("sam")?.canonicalize().ok()?;
    let python = sam.parent()?.join("python");
    let asked = Command::new(python)
        .args([
            "-c",
            "import os, samcli; print(os.path.dirname(samcli.__file__))",
        ])
        .output()
        .ok()?;
    let package = String::from_utf8(asked.stdout).ok()?;
    let file = format!("local/rapid/aws-lambda-rie-{}", std::env::consts::ARCH);
    Some(Path::new(package.trim()).join(file)).filter(|file| file.is_file())
}

impl Rie {
    /// Runs a bootstrap with this environment and no other; `folder` gets its log.
    pub fn start(
        bootstrap: &Path,
        timeout: Duration,
        environment: &[(&str, &str)],
        folder: &Path,
    ) -> Self {
        let ports = (free_port(), free_port());
        let address = format!("127.0.0.1:{}", ports.0);
        let mut command = Command::new(emulator().unwrap());
        command
            .env_clear()
            .env("AWS_LAMBDA_FUNCTION_NAME", "function")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", timeout.as_secs().to_string())
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .envs(environment.iter().copied())
            .args(["--runtime-interface-emulator-address", &address])
            .args(["--runtime-api-address", &format!("127.0.0.1:{}", ports.1)])
            .arg(bootstrap);
        let mut running = Running::start(command, "rie", folder);
        running.until("a port", || std::net::TcpStream::connect(&address).ok());
        Self {
            one_at_a_time: Mutex::new(()),
            pid: running.pid(),
            running,
            address,
        }
    }

    /// Sends an event as it is, and waits for the answer.
    pub fn invoke(&self, event: &[u8]) -> Answer {
        let _one = self.one_at_a_time.lock().unwrap();
        let target = "/2015-03-31/functions/function/invocations";
        let request =
            Request::post(target, event.to_vec()).with("content-type", "application/json");
        let answer = http::send(&self.address, &request).unwrap();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        Answer {
            status: answer.status,
            json: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }

    /// The process of the function: there is one from its first event on.
    pub fn bootstrap(&self) -> Option<u32> {
        // Not through the lock: this is asked while an event is under way.
        crate::process::children(self.pid).first().copied()
    }

    /// What the emulator and the function have logged.
    pub fn log(&self) -> String {
        self.running.log()
    }
}
