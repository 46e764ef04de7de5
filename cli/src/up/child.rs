//! The agent's process: started, started again when it dies, stopped.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// The wait before the agent is started again: doubles with each death in a row.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Who lived this long did not die of its start.
const SETTLED: Duration = Duration::from_secs(20);
/// How long an agent may take to finish its batch.
const FINISH: Duration = Duration::from_secs(120);
/// The variable that makes an agent die at a named point, for tests. Only the first agent
/// gets it: the one that takes its place is to live.
const KILL_AT: &str = "TAPEMARK_KILL_AT";

/// Keeps one agent process alive.
pub(crate) struct AgentProcess {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    config: PathBuf,
    log: PathBuf,
    pid_file: PathBuf,
    /// Whether there should be an agent.
    wanted: watch::Sender<bool>,
    /// The process that is there.
    pid: watch::Sender<Option<u32>>,
    /// How many died in a row soon after their start.
    deaths: watch::Sender<u32>,
    end: Notify,
}

impl AgentProcess {
    /// A keeper of the agent with this configuration. It starts none until told to. The
    /// agent logs to `agent.log` in the data directory; its process id is in `agent.pid`.
    pub(crate) fn new(config: PathBuf, data_dir: &Path) -> Self {
        let shared = Arc::new(Shared {
            config,
            log: data_dir.join("agent.log"),
            pid_file: data_dir.join("agent.pid"),
            wanted: watch::Sender::new(false),
            pid: watch::Sender::new(None),
            deaths: watch::Sender::new(0),
            end: Notify::new(),
        });
        let task = tokio::spawn(keep(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Wants an agent from now on.
    pub(crate) fn start(&self) {
        self.shared.wanted.send_replace(true);
    }

    /// The process id of the agent that is there.
    pub(crate) fn pid(&self) -> Option<u32> {
        *self.shared.pid.borrow()
    }

    /// Waits until this many agents in a row have died soon after their start.
    pub(crate) async fn died(&self, times: u32) {
        let mut deaths = self.shared.deaths.subscribe();
        // The sender lives in `shared`.
        let _ = deaths.wait_for(|deaths| *deaths >= times).await;
    }

    /// The last lines that agents logged, at most this many and 8 KiB.
    pub(crate) fn last_words(&self, lines: usize) -> Vec<String> {
        let tail = || -> std::io::Result<Vec<u8>> {
            let mut file = std::fs::File::open(&self.shared.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(8 << 10)))?;
            let mut bytes = Vec::new();
            file.take(8 << 10).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        // Where there is no log, there is nothing to quote.
        let bytes = tail().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<_> = text.lines().map(str::to_owned).collect();
        all[all.len().saturating_sub(lines)..].to_vec()
    }

    /// Kills the agent as a power cut would; another one is started in its place. Gives
    /// the process id of the killed one.
    pub(crate) fn kill(&self) -> Option<u32> {
        let pid = self.pid()?;
        send(pid, Signal::KILL);
        Some(pid)
    }

    /// Wants no agent from now on, and waits until there is none: it finishes its batch.
    pub(crate) async fn pause(&self) {
        self.shared.wanted.send_replace(false);
        // The sender lives in `shared`.
        let _ = self.shared.pid.subscribe().wait_for(Option::is_none).await;
    }

    /// Stops for good.
    pub(crate) async fn stop(self) {
        self.pause().await;
        self.shared.end.notify_one();
        // Nothing is left that a panic there could have harmed.
        let _ = self.task.await;
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A process that is gone needs no signal.
        let _ = kill_process(pid, signal);
    }
}

async fn keep(shared: Arc<Shared>) {
    let mut wanted = shared.wanted.subscribe();
    let mut wait = BACK_OFF.0;
    let mut first = true;
    loop {
        tokio::select! {
            changed = wanted.wait_for(|wanted| *wanted) => {
                if changed.is_err() { return; }
            }
            () = shared.end.notified() => return,
        }
        let born = Instant::now();
        match spawn(&shared, first) {
            Ok(child) => {
                first = false;
                live(&shared, child, &mut wanted).await;
            }
            Err(error) => tracing::error!(%error, "the agent could not be started"),
        }
        shared.pid.send_replace(None);
        // The file says who is there; it is only a help for people and tests.
        let _ = std::fs::remove_file(&shared.pid_file);
        if born.elapsed() >= SETTLED {
            wait = BACK_OFF.0;
            shared.deaths.send_replace(0);
        }
        if *wanted.borrow() {
            shared.deaths.send_modify(|deaths| *deaths += 1);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACK_OFF.1);
        }
    }
}

fn spawn(shared: &Shared, first: bool) -> std::io::Result<Child> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&shared.log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("agent")
        .arg("--with-parent")
        .arg("--config")
        .arg(&shared.config)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    if !first {
        command.env_remove(KILL_AT);
    }
    command.spawn()
}

/// Watches one agent until it is gone.
async fn live(shared: &Shared, mut child: Child, wanted: &mut watch::Receiver<bool>) {
    // `wait` would close it, and the agent would take us for dead.
    let _lifeline = child.stdin.take();
    let pid = child.id();
    if let Some(pid) = pid {
        tracing::info!(pid, "agent started");
        // Only a help for people and tests.
        let _ = std::fs::write(&shared.pid_file, format!("{pid}\n"));
    }
    shared.pid.send_replace(pid);
    tokio::select! {
        status = child.wait() => {
            let end = match status {
                Ok(status) => end_of(status),
                Err(error) => error.to_string(),
            };
            tracing::warn!(end, log = %shared.log.display(), "the agent died; starting it again");
            return;
        }
        _ = wanted.wait_for(|wanted| !*wanted) => {}
    }
    if let Some(pid) = pid {
        send(pid, Signal::TERM);
    }
    if tokio::time::timeout(FINISH, child.wait()).await.is_err() {
        tracing::warn!("the agent did not finish in time");
        // It may be killed at any moment.
        let _ = child.kill().await;
    }
}

/// How a process ended, in words.
fn end_of(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        assert_eq!(end_of(ExitStatus::from_raw(1 << 8)), "exit code 1");
        assert_eq!(end_of(ExitStatus::from_raw(9)), "signal 9");
    }
}
