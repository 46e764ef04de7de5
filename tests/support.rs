//! A whole installation for one story: `tapemark up` on a free port in a directory of its
//! own, spoken to through the `tapemark` command as a person would.
//!
//! Nothing here sleeps for a fixed time: it waits for the ready line, for a process to be
//! gone, for a state.
// Each story uses a part of this; a module of a test has no outside.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The command under test.
pub const TAPEMARK: &str = env!("CARGO_BIN_EXE_tapemark");

/// How long anything may take before a story fails: far more than it needs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running installation. Killed and forgotten at the end of the story.
pub struct Stack {
    dir: tempfile::TempDir,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    up: Option<Child>,
    url: String,
    ready: Value,
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// Standard output as JSON; null where there is none.
    pub json: Value,
    /// Standard error.
    pub stderr: String,
}

impl Answer {
    /// The codes of the refusals on standard error, in order.
    pub fn codes(&self) -> Vec<String> {
        self.refusals()
            .iter()
            .map(|no| no["code"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The refusals on standard error.
    pub fn refusals(&self) -> Vec<Value> {
        let errors: Value = serde_json::from_str(self.stderr.trim()).unwrap_or_default();
        errors["errors"].as_array().cloned().unwrap_or_default()
    }

    /// The JSON, of a command that succeeded.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.code, 0, "{}\n{}", self.json, self.stderr);
        self.json
    }
}

impl Stack {
    /// An installation with small cartridges, ready to take submissions. `work()` is an
    /// allowed root.
    pub fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// An installation with more options for `tapemark up`, and an environment for it and
    /// its agent, such as `TAPEMARK_KILL_AT`.
    pub fn start_with(options: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("work")).unwrap();
        let own = |text: &&str| (*text).to_owned();
        let mut stack = Self {
            dir,
            options: options.iter().map(own).collect(),
            environment: environment.iter().map(|(k, v)| (own(k), own(v))).collect(),
            up: None,
            url: String::new(),
            ready: Value::Null,
        };
        stack.up();
        stack
    }

    /// Where the stack keeps everything.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where artifacts may come from.
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The whole directory of the story: what is outside of `work()` is not allowed.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the API is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What `tapemark up` said when it was ready.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Starts `tapemark up` and waits until it says that it is ready.
    pub fn up(&mut self) {
        assert!(self.up.is_none(), "it is up");
        let mut command = Command::new(TAPEMARK);
        command
            .args(["--json", "up", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .arg("--allow-root")
            .arg(self.work())
            .args(["--drives", "2", "--slots", "6", "--capacity", "256MiB"])
            .args(&self.options)
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .env_remove("TAPEMARK_URL")
            .env_remove("TAPEMARK_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log("up.log"));
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = match lines.next() {
            Some(Ok(line)) => line,
            _ => panic!("tapemark up did not get ready:\n{}", self.logs()),
        };
        let ready: Value = serde_json::from_str(&ready).unwrap();
        self.url = ready["url"].as_str().unwrap().to_owned();
        self.ready = ready;
        self.up = Some(child);
    }

    /// Runs a `tapemark up` that is expected to end by itself, with these options.
    pub fn up_in_vain(&self, options: &[&str]) -> Answer {
        assert!(self.up.is_none(), "it is up");
        let up = ["up", "--listen", "127.0.0.1:0"];
        answer(self.command().args(up).args(options).output().unwrap())
    }

    fn log(&self, name: &str) -> std::fs::File {
        let path = self.dir.path().join(name);
        std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap()
    }

    /// What the stack and the agent logged: for the message of a story that failed.
    pub fn logs(&self) -> String {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        format!(
            "--- up\n{}\n--- agent\n{}",
            read(self.dir.path().join("up.log")),
            read(self.data().join("agent.log"))
        )
    }

    /// What `tapemark up` said on standard error, over all starts.
    pub fn up_log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("up.log")).unwrap()
    }

    /// The next `up()` has these options, too; the last one of a kind counts.
    pub fn add_options(&mut self, options: &[&str]) {
        let own = options.iter().map(|option| (*option).to_owned());
        self.options.extend(own);
    }

    /// Forgets the environment given at the start: the next `up()` is without it.
    pub fn forget_environment(&mut self) {
        self.environment.clear();
    }

    /// The next `up()` has this environment, too.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The process id of the stack.
    pub fn pid(&self) -> u32 {
        self.up.as_ref().unwrap().id()
    }

    /// The process id of the agent, once there is one.
    pub fn agent_pid(&self) -> u32 {
        let file = self.data().join("agent.pid");
        self.until("an agent", || {
            std::fs::read_to_string(&file).ok()?.trim().parse().ok()
        })
    }

    /// Kills the agent with SIGKILL and waits until another one has taken its place.
    pub fn kill_agent(&self) {
        let pid = self.agent_pid();
        kill(pid, "KILL");
        self.until("another agent", || {
            let text = std::fs::read_to_string(self.data().join("agent.pid")).ok()?;
            text.trim().parse::<u32>().ok().filter(|now| *now != pid)
        });
    }

    /// Kills stack and agent with SIGKILL, both before either can notice.
    pub fn kill(&mut self) {
        let agent = std::fs::read_to_string(self.data().join("agent.pid"))
            .ok()
            .and_then(|text| text.trim().parse::<u32>().ok());
        let mut up = self.up.take().unwrap();
        up.kill().unwrap();
        if let Some(pid) = agent {
            kill(pid, "KILL");
        }
        up.wait().unwrap();
        if let Some(pid) = agent {
            wait_until_gone(pid);
        }
    }

    /// Kills the stack alone with SIGKILL; the agent notices and ends by itself.
    pub fn kill_stack_only(&mut self) {
        let agent = self.agent_pid();
        let mut up = self.up.take().unwrap();
        up.kill().unwrap();
        up.wait().unwrap();
        wait_until_gone(agent);
    }

    /// Asks the stack to stop, and waits until it has. Gives its exit code.
    pub fn stop(&mut self) -> i32 {
        let mut up = self.up.take().unwrap();
        kill(up.id(), "TERM");
        up.wait().unwrap().code().unwrap_or(-1)
    }

    /// Kills everything with SIGKILL and starts it again.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.up();
    }

    /// Waits until `look` finds something.
    #[track_caller]
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "no {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs `tapemark --json …` against this stack.
    pub fn run<I, S>(&self, arguments: I) -> Answer
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        answer(self.command().args(arguments).output().unwrap())
    }

    /// `tapemark --json` against this stack, in its directory, for stories that add to it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(TAPEMARK);
        command
            .args(["--json", "--data"])
            .arg(self.data())
            .current_dir(self.dir.path())
            .env_remove("TAPEMARK_URL")
            .env_remove("TAPEMARK_TOKEN")
            .stdin(Stdio::null());
        command
    }

    /// Registers services.
    pub fn register(&self, names: &[&str]) {
        self.run(["service", "register"].iter().chain(names)).ok();
    }

    /// Writes a file below `work()`, and gives its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Submits the files at `path` and waits for the end.
    pub fn submit(&self, service: &str, version: &str, path: &Path) -> Answer {
        let arguments = [
            "submit",
            "--wait",
            "--service",
            service,
            "--version",
            version,
        ];
        answer(self.command().args(arguments).arg(path).output().unwrap())
    }

    /// Submits the files at `path`, waits until they are committed, and gives the id of the
    /// checkpoint.
    #[track_caller]
    pub fn commit(&self, service: &str, version: &str, path: &Path) -> String {
        let answer = self.submit(service, version, path);
        assert_eq!(
            answer.code,
            0,
            "{}\n{}\n{}",
            answer.json,
            answer.stderr,
            self.logs()
        );
        answer.json["checkpoints"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// A group or a checkpoint as it stands.
    #[track_caller]
    pub fn status(&self, id: &str) -> Value {
        self.run(["status", id]).ok()
    }

    /// Waits until a group or checkpoint is in one of these states.
    #[track_caller]
    pub fn wait_for(&self, id: &str, states: &[&str]) -> Value {
        self.until(&format!("{id} in {states:?}"), || {
            // The stack may be starting again.
            let answer = self.run(["status", id]);
            (answer.code == 0 && states.contains(&answer.json["state"].as_str()?))
                .then_some(answer.json)
        })
    }

    /// Restores a checkpoint or group into a new directory, and gives that.
    #[track_caller]
    pub fn restore(&self, id: &str) -> PathBuf {
        let to = self.dir.path().join("restored").join(id);
        let to = to.to_str().unwrap();
        let answer = self.run(["restore", id, "--to", to]);
        assert_eq!(answer.code, 0, "{}\n{}", answer.stderr, self.logs());
        PathBuf::from(to)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            // Nothing of the story is left to protect.
            let _ = up.kill();
            let _ = up.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// What a command said.
pub fn answer(output: Output) -> Answer {
    Answer {
        code: output.status.code().unwrap_or(-1),
        json: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Sends a signal by name.
pub fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .status();
    // A process that is gone needs no signal.
    assert!(status.is_ok());
}

/// Waits until there is no such process (a zombie counts as none).
pub fn wait_until_gone(pid: u32) {
    let begun = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.trim().chars().next());
        if matches!(state, None | Some('Z')) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// SHA-256 as the API writes it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Bytes that do not compress, the same for the same seed (xorshift64*).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Every file below a directory with its bytes, by relative path.
pub fn tree(dir: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    fn walk(dir: &Path, base: &Path, into: &mut std::collections::BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, base, into);
            } else {
                let name = path
                    .strip_prefix(base)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                into.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut into = std::collections::BTreeMap::new();
    walk(dir, dir, &mut into);
    into
}
