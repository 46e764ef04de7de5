//! What every story stands on: a simulated library, a control plane in memory, artifacts in
//! a directory, and agents that can be started, stopped and killed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use model::work::{Order, OrderedArtifact, RestoreOrder, VerifyOrder, WriteOrder, part_text};
use model::{
    Artifact, ArtifactRange, ArtifactSource, Bytes, CheckpointId, CopyNo, GroupId, Placement,
    RestoreId, Sha256,
};
use scsi::VolumeTag;
use sha2::Digest as _;
use simlib::{Config, SimLibrary};
use tapemark_agent::{
    AgentConfig, BatchLimits, Clock, ControlConfig, Hardware, KillPoints, LibraryConfig, Pace,
    Parts, SimulatedLibrary, Timing, hardware_of, run_with,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::control::FakeControl;

pub(crate) const V1: &str = "TM0001L9";
pub(crate) const V2: &str = "TM0002L9";

pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) sim: SimLibrary,
    pub(crate) control: Arc<FakeControl>,
    pub(crate) config: AgentConfig,
    clock: Clock,
    made: u32,
}

pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// As SIGTERM does.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        settle().await;
    }

    /// Waits for the death that a kill point brings.
    pub(crate) async fn dead(self) {
        self.task.await.unwrap().unwrap_err();
        settle().await;
    }
}

/// Lets the tasks of an agent that is gone be dropped.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn tag(text: &str) -> VolumeTag {
    VolumeTag::new(text).unwrap()
}

/// Bytes that do not compress, different for each seed.
pub(crate) fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Config {
            drives: 1,
            slots: 8,
            ..Config::default()
        })
    }

    pub(crate) fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lib = dir.path().join("library");
        std::fs::create_dir_all(&lib).unwrap();
        let sim = SimLibrary::create(&lib, config, 4).unwrap();
        let started = Instant::now();
        let clock: Clock =
            Arc::new(move || Timestamp::from_second(1_800_000_000).unwrap() + started.elapsed());
        let key = stream::generate_identity();
        let identity = dir.path().join("identity");
        std::fs::write(&identity, &key.identity).unwrap();
        let config = AgentConfig {
            agent: "agent-1".parse().unwrap(),
            control: ControlConfig {
                url: "http://unused".into(),
                key_file: "/unused".into(),
                ca_file: None,
            },
            library: LibraryConfig::Simulated(SimulatedLibrary {
                id: "lib-1".parse().unwrap(),
                dir: lib,
                drives: 1,
                slots: 8,
                capacity: Bytes::gib(1),
                timing: Timing::Off,
                faults: None,
            }),
            recipients: vec![key.recipient.clone()],
            identity_file: Some(identity),
            journal_dir: dir.path().join("journal"),
            restore_roots: vec![dir.path().join("restore")],
            batch: BatchLimits::default(),
            pace: Pace::default(),
        };
        let control = Arc::new(FakeControl::new(
            Arc::clone(&clock),
            Duration::from_secs(60),
        ));
        Self {
            dir,
            sim,
            control,
            config,
            clock,
            made: 0,
        }
    }

    pub(crate) fn start(&self) -> Running {
        self.start_with(KillPoints::default(), self.config.clone())
    }

    /// An agent that dies where `TAPEMARK_KILL_AT` would say so: by a panic instead of an
    /// abort, because the test lives in the same process.
    pub(crate) fn start_to_die(&self, at: &str) -> Running {
        let die = || -> () { std::panic::resume_unwind(Box::new("killed")) };
        self.start_with(KillPoints::parse(at, die).unwrap(), self.config.clone())
    }

    pub(crate) fn start_with(&self, kill: KillPoints, config: AgentConfig) -> Running {
        let parts = Parts {
            control: Arc::clone(&self.control) as _,
            hardware: Hardware {
                wait: |_| {},
                ..hardware_of(&self.sim)
            },
            clock: Arc::clone(&self.clock),
            kill,
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run_with(config, parts, async {
            let _ = stopped.await;
        }));
        Running { stop, task }
    }

    /// A checkpoint of one artifact of `length` bytes that do not compress.
    pub(crate) fn checkpoint(&mut self, length: usize) -> WriteOrder {
        self.made += 1;
        let seed = self.made;
        self.checkpoint_of(&[
            ("bin/app", noise(seed, length)),
            ("etc/größe.toml", vec![7; 100]),
        ])
    }

    pub(crate) fn checkpoint_of(&mut self, files: &[(&str, Vec<u8>)]) -> WriteOrder {
        self.made += 1;
        let number = self.made;
        let objects = self.dir.path().join(format!("objects/{number}"));
        std::fs::create_dir_all(&objects).unwrap();
        let mut artifacts = Vec::new();
        for (index, (name, bytes)) in files.iter().enumerate() {
            let path = objects.join(index.to_string());
            std::fs::write(&path, bytes).unwrap();
            let size = Bytes(bytes.len() as u64);
            artifacts.push(OrderedArtifact {
                name: name.parse().unwrap(),
                source: ArtifactSource::File {
                    path: "/srv/app".into(),
                },
                size,
                sha256: sha256(bytes),
                range: ArtifactRange {
                    artifact: index as u32,
                    offset: Bytes::ZERO,
                    length: size,
                },
                fetch: format!("file://{}", path.display()),
            });
        }
        let content = Artifact::content_text(
            artifacts
                .iter()
                .map(|a| Artifact {
                    name: a.name.clone(),
                    source: a.source.clone(),
                    size: a.size,
                    sha256: a.sha256,
                })
                .collect::<Vec<_>>()
                .iter(),
        );
        WriteOrder {
            checkpoint: CheckpointId::from_parts(u64::from(number), &[3; 10]),
            group: GroupId::from_parts(u64::from(number), &[4; 10]),
            group_index: 0,
            group_size: 1,
            run: format!("run-{number}").parse().unwrap(),
            service: "payments/api".parse().unwrap(),
            version: "1.2.3".parse().unwrap(),
            parent: None,
            copy: CopyNo(1),
            part: 0,
            parts: 1,
            content: sha256(content.as_bytes()),
            submitted_at: (self.clock)(),
            artifacts,
        }
    }

    /// Where restores go.
    pub(crate) fn restore_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join("restore").join(name)
    }

    pub(crate) fn restore_order(&self, placement: Placement, name: &str) -> Order {
        Order::Restore(RestoreOrder {
            restore: RestoreId::from_parts(1, &[5; 10]),
            placement,
            only: Vec::new(),
            deliver: format!("file://{}", self.restore_dir(name).display()),
        })
    }
}

pub(crate) fn expected(order: &WriteOrder) -> Sha256 {
    sha256(
        part_text(
            order
                .artifacts
                .iter()
                .map(|a| (&a.name, a.sha256, a.size, a.range)),
        )
        .as_bytes(),
    )
}

pub(crate) fn verify_order(order: &WriteOrder, placement: Placement) -> Order {
    Order::Verify(VerifyOrder {
        placement,
        expected: expected(order),
    })
}
