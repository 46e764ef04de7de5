//! A Docker daemon of a story's own, and an image that stands for `provided.al2023`.
//!
//! The daemon has its own socket, data and bridge, writes no packet filter rules, and leaves
//! nothing: containers, mounts and the bridge go with this value. The image is made of this
//! machine's libc and BusyBox: it shows that SAM, Docker and the function fit together, not
//! that the function runs on Amazon Linux (its `GLIBC_…` symbols are checked elsewhere).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::process::Running;

/// The address of this machine as containers see it.
pub const GATEWAY: &str = "172.31.250.1";

/// The image that SAM looks for.
const IMAGE: &str = "public.ecr.aws/lambda/provided:al2023-x86_64";

/// What a Rust bootstrap loads, from where Debian keeps it.
const LIBRARIES: [&str; 9] = [
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libresolv.so.2",
    "libnss_dns.so.2",
    "libnss_files.so.2",
];

/// What SAM's own layer of the image is built with.
const APPLETS: [&str; 8] = ["sh", "mv", "chmod", "cp", "rm", "mkdir", "cat", "ls"];

/// The bridge's address is one: one daemon at a time.
static ONE: Mutex<()> = Mutex::new(());

/// A daemon that runs.
pub struct Docker {
    running: Option<Running>,
    bridge: String,
    folder: tempfile::TempDir,
    // The last to go.
    _one: MutexGuard<'static, ()>,
}

/// True where a daemon can be started: the programs are there, and this is root.
pub fn possible() -> bool {
    if !crate::need(&["dockerd", "docker", "ip", "busybox", "tar"]) {
        return false;
    }
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| {
        use std::os::unix::fs::MetadataExt;
        me.uid() == 0
    });
    root || crate::lacking("a Docker daemon needs root")
}

impl Docker {
    /// Starts a daemon and imports the image.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // At most 15 characters.
        let bridge = format!("tmark{}", std::process::id());
        let mut docker = Self {
            running: None,
            bridge,
            folder,
            // What a story that failed left is gone: its daemon was dropped.
            _one: ONE.lock().unwrap_or_else(PoisonError::into_inner),
        };
        let address = format!("{GATEWAY}/24");
        docker.ip(&["link", "add", &docker.bridge, "type", "bridge"]);
        docker.ip(&["addr", "add", &address, "dev", &docker.bridge]);
        docker.ip(&["link", "set", &docker.bridge, "up"]);
        let at = |name: &str| docker.folder.path().join(name);
        let mut command = Command::new(crate::program("dockerd").unwrap());
        command
            .args(["-H", &docker.host(), "--bridge", &docker.bridge])
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .args(["--iptables=false", "--ip6tables=false"])
            .args(["--ip-forward=false", "--ip-masq=false"]);
        let mut running = Running::start(command, "dockerd", docker.folder.path());
        running.until("a daemon that answers", || {
            let asked = docker.command().arg("info").output().ok()?;
            asked.status.success().then_some(())
        });
        docker.running = Some(running);
        docker.import_image();
        docker
    }

    /// What `DOCKER_HOST` must be.
    pub fn host(&self) -> String {
        format!(
            "unix://{}",
            self.folder.path().join("docker.sock").display()
        )
    }

    /// A `docker` command that speaks to this daemon.
    pub fn command(&self) -> Command {
        let mut command = Command::new(crate::program("docker").unwrap());
        command.env("DOCKER_HOST", self.host()).stdin(Stdio::null());
        command
    }

    fn import_image(&self) {
        let root = self.folder.path().join("root");
        let libraries = PathBuf::from(format!("lib/{}-linux-gnu", std::env::consts::ARCH));
        for folder in [
            "bin",
            "lib64",
            "etc/ssl/certs",
            "tmp",
            "var/task",
            "var/runtime",
        ] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for folder in ["var/rapid", "opt", "proc", "sys", "dev"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::create_dir_all(root.join(&libraries)).unwrap();
        let copy = |from: &Path, to: &Path| std::fs::copy(from, to).map(|_| ()).unwrap();
        copy(
            &crate::program("busybox").unwrap(),
            &root.join("bin/busybox"),
        );
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        for name in LIBRARIES {
            let file = libraries.join(name);
            copy(&Path::new("/").join(&file), &root.join(&file));
        }
        let loader = "lib64/ld-linux-x86-64.so.2";
        copy(&Path::new("/").join(loader), &root.join(loader));
        let roots = "etc/ssl/certs/ca-certificates.crt";
        copy(&Path::new("/").join(roots), &root.join(roots));
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        let archive = self.folder.path().join("root.tar");
        let mut pack = Command::new("tar");
        let packed = pack.arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".");
        assert!(packed.status().unwrap().success());
        let imported = self
            .command()
            .arg("import")
            .args([
                "-c",
                "ENV PATH=/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            ])
            .args(["-c", "ENV LAMBDA_TASK_ROOT=/var/task"])
            .args(["-c", "ENV LAMBDA_RUNTIME_DIR=/var/runtime"])
            .args(["-c", "WORKDIR /var/task"])
            .arg(&archive)
            .arg(IMAGE)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&imported.stderr);
        assert!(imported.status.success(), "docker import: {said}");
    }

    fn ip(&self, arguments: &[&str]) {
        let said = Command::new("ip").args(arguments).output().unwrap();
        let why = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "ip {arguments:?}: {why}");
    }

    /// Removes every container that is left.
    fn remove_containers(&self) {
        let Ok(listed) = self.command().args(["ps", "-aq"]).output() else {
            return;
        };
        let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
        if !ids.trim().is_empty() {
            let _ = self
                .command()
                .args(["rm", "-f"])
                .args(ids.split_whitespace())
                .output();
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.remove_containers();
        }
        self.running = None;
        let _ = Command::new("ip")
            .args(["link", "del", &self.bridge])
            .output();
        // The daemon holds its network namespaces by mounts, and does not let go of all.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below = self.folder.path().display().to_string();
        let mut left: Vec<&str> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|place| place.starts_with(&below))
            .collect();
        left.sort_unstable();
        for place in left.iter().rev() {
            let _ = Command::new("umount").arg(place).status();
        }
    }
}
