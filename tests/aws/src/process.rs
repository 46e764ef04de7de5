//! Programs that a story starts, each in a process group of its own, so that what they start
//! in turn ends with them.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a story fails: far more than it needs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long a program may take to end when asked, before it is made to.
const GRACE: Duration = Duration::from_secs(5);

/// A program that ends with this value, and with it all that it started.
pub struct Running {
    child: Child,
    name: String,
    log: std::path::PathBuf,
}

impl Running {
    /// Starts a program; what it says goes into `<folder>/<name>.log`.
    pub fn start(mut command: Command, name: &str, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            child,
            name: name.to_owned(),
            log,
        }
    }

    /// The process id, which is that of its group, too.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `look` finds something; fails when the program is gone or it takes too long.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!(
                    "{} ended ({status}) before {what}:\n{}",
                    self.name,
                    self.log()
                );
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{}: no {what}:\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.name, tail(&self.log()));
        }
        let group = format!("-{}", self.child.id());
        signal("TERM", &group);
        let begun = Instant::now();
        while begun.elapsed() < GRACE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Whatever of the group did not listen.
        signal("KILL", &group);
        let _ = self.child.wait();
    }
}

/// The end of a long log.
fn tail(log: &str) -> &str {
    const KEPT: usize = 20_000;
    let from = log.len().saturating_sub(KEPT);
    let from = (from..log.len()).find(|at| log.is_char_boundary(*at));
    &log[from.unwrap_or(0)..]
}

/// Sends a signal by name to a process, or to a group (`-id`).
pub fn signal(name: &str, whom: &str) {
    // One that is gone needs no signal, and says so on standard error.
    let _ = Command::new("kill")
        .args(["-s", name, "--", whom])
        .stderr(Stdio::null())
        .status();
}

/// The processes that a process started and that still run.
pub fn children(pid: u32) -> Vec<u32> {
    let file = format!("/proc/{pid}/task");
    let Ok(tasks) = std::fs::read_dir(file) else {
        return Vec::new();
    };
    let lists = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
        .collect::<Vec<_>>();
    let words = lists.iter().flat_map(|list| list.split_whitespace());
    words.filter_map(|word| word.parse().ok()).collect()
}

/// A port that was free a moment ago, for programs that cannot choose one.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
