//! The stack under test: `tapemark up` with its agent, as processes of their own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;

use super::client::Client;
use super::process::{self, Usage};

/// How long the stack may take to answer for the first time: it labels nothing and loads
/// nothing before, so this is generous.
const START: Duration = Duration::from_secs(60);
/// How long it may take to stop when asked.
const STOP: Duration = Duration::from_secs(30);

/// A running stack. Killed when dropped.
pub struct Stack {
    child: Child,
    log: PathBuf,
    /// Its API.
    pub client: Client,
}

/// What `tapemark up --json` says on standard output once it is ready.
#[derive(Debug, Deserialize)]
struct Ready {
    url: String,
    token_file: PathBuf,
}

/// The `tapemark` binary: the one named; else, under `cargo run`, one built now by the same
/// cargo with the same profile; else the one beside this program.
///
/// # Errors
/// Says what to build where there is none.
pub fn find_binary(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = named {
        anyhow::ensure!(
            path.is_file(),
            "--tapemark: expected a file, found none at {}",
            path.display()
        );
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().context("where this program is")?;
    let dir = own.parent().context("this program's directory")?;
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        build.args(["build", "-p", "tapemark"]);
        if dir.file_name().is_some_and(|profile| profile == "release") {
            build.arg("--release");
        }
        if let Some(target) = dir.parent() {
            build.arg("--target-dir").arg(target);
        }
        build
            .arg("--manifest-path")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));
        let status = build
            .stdout(Stdio::null())
            .status()
            .context("running cargo build")?;
        anyhow::ensure!(status.success(), "cargo build of tapemark: {status}");
    }
    let path = dir.join("tapemark");
    anyhow::ensure!(
        path.is_file(),
        "expected the tapemark command at {}, found none: run \
         `cargo build --release -p tapemark`, or name it with --tapemark",
        path.display()
    );
    Ok(path)
}

impl Stack {
    /// Starts a stack in an empty directory, with the timing model off, and waits until its
    /// API answers and the agent has said what is in the library.
    ///
    /// # Errors
    /// When it does not start; names its log.
    pub async fn start(binary: &Path, dir: &Path, sources: &Path) -> anyhow::Result<Self> {
        let data = dir.join("data");
        fs::create_dir_all(&data)?;
        let log = dir.join("stack.log");
        let ready = dir.join("ready.json");
        let child = Command::new(binary)
            .args(["--json", "up"])
            .arg("--data")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0"])
            .arg("--allow-root")
            .arg(sources)
            .args(["--timing", "off"])
            .env_remove("TAPEMARK_URL")
            .env_remove("TAPEMARK_TOKEN")
            .env("TAPEMARK_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(File::create(&ready)?)
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("starting {} up", binary.display()))?;
        let mut stack = Self {
            child,
            log,
            client: Client::new("http://127.0.0.1:0", "")?,
        };
        stack.until_ready(&ready).await?;
        Ok(stack)
    }

    async fn until_ready(&mut self, ready: &Path) -> anyhow::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < START {
            if let Some(status) = self.child.try_wait()? {
                let words = self.last_words();
                anyhow::bail!("the stack ended with {status} before it answered: {words}");
            }
            // Half a document is no document yet.
            if let Ok(ready) = serde_json::from_str::<Ready>(&fs::read_to_string(ready)?) {
                let token = fs::read_to_string(&ready.token_file)
                    .with_context(|| format!("reading {}", ready.token_file.display()))?;
                self.client = Client::new(&ready.url, token.trim())?;
                if self.client.is_ready().await {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!(
            "the stack did not answer within {START:?}: {}",
            self.last_words()
        )
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// What the stack and its agent have used so far.
    ///
    /// # Errors
    /// When one of them is gone, or the agent is not found among the stack's children.
    pub fn usage(&self) -> anyhow::Result<(Usage, Usage)> {
        let stack = self.child.id();
        let agents = process::children(stack, "agent")?;
        let [agent] = agents.as_slice() else {
            anyhow::bail!(
                "expected one agent among the children of process {stack}, found {agents:?}"
            );
        };
        Ok((process::usage(stack)?, process::usage(*agent)?))
    }

    /// Asks it to stop and waits.
    ///
    /// # Errors
    /// When it does not within half a minute.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id())?)
            .context("a process has a number")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            anyhow::ensure!(
                begin.elapsed() < STOP,
                "the stack did not stop within {STOP:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let agents = process::children(self.child.id(), "agent").unwrap_or_default();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for agent in agents.iter().filter_map(|pid| i32::try_from(*pid).ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(agent) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}
