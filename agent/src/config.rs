//! What an operator tells the agent: one TOML file.
//!
//! ```toml
//! agent = "agent-1"
//! recipients = ["age1…"]
//! identity_file = "/etc/tapemark/identity.txt"
//! journal_dir = "/var/lib/tapemark-agent"
//! restore_roots = ["/srv/restore"]
//!
//! [control]
//! url = "http://127.0.0.1:7400"
//! key_file = "/etc/tapemark/agent.key"
//!
//! [library]
//! kind = "simulated"
//! id = "lib-1"
//! dir = "/var/lib/tapemark/library"
//! drives = 2
//! slots = 24
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use model::{AgentId, Bytes, LibraryId};
use serde::{Deserialize, Serialize};

/// Everything an operator may set. Every field but the first group has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Who this agent is; the same after a restart.
    pub agent: AgentId,
    /// Where the control plane is.
    pub control: ControlConfig,
    /// The library this agent owns.
    pub library: LibraryConfig,
    /// The age X25519 recipients (`age1…`) that everything written is encrypted to; at
    /// least one.
    pub recipients: Vec<String>,
    /// The file with the age identities that open what is on tape. Without it the agent
    /// can write, and cannot verify content or restore.
    #[serde(default)]
    pub identity_file: Option<PathBuf>,
    /// Where the agent keeps what it must not forget (a few KiB). One agent a directory.
    pub journal_dir: PathBuf,
    /// Restores are delivered below these directories only.
    #[serde(default)]
    pub restore_roots: Vec<PathBuf>,
    /// When a batch ends.
    #[serde(default)]
    pub batch: BatchLimits,
    /// How long a volume stays with a drive while others wait, and other times.
    #[serde(default)]
    pub pace: Pace,
}

impl AgentConfig {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or breaks a rule of [`Self::check`].
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading the agent's configuration {}", path.display()))?;
        let about = || format!("in the agent's configuration {}", path.display());
        no_token(&text).with_context(about)?;
        let config: Self = toml::from_str(&text).with_context(about)?;
        config.check().with_context(about)?;
        Ok(config)
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.recipients.is_empty(),
            "recipients: expected at least one age recipient, found none"
        );
        anyhow::ensure!(
            (1..=1000).contains(&self.batch.checkpoints),
            "batch.checkpoints: expected 1 to 1,000, found {}",
            self.batch.checkpoints
        );
        anyhow::ensure!(
            self.batch.bytes > Bytes::ZERO,
            "batch.bytes: expected more than 0"
        );
        for root in &self.restore_roots {
            anyhow::ensure!(
                root.is_absolute(),
                "restore_roots: expected absolute directories, found {}",
                root.display()
            );
        }
        Ok(())
    }
}

/// Where the control plane is and how the agent proves who it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// The URL below which `/agent/v1/` lies.
    pub url: String,
    /// The file with the agent's key, made by `tapemark-agent enrol`; mode 0600.
    pub key_file: PathBuf,
    /// Certificates (PEM) that are trusted besides the system's, for the control plane and
    /// for presigned URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// Says what to do to those who still have a bearer token.
fn no_token(text: &str) -> anyhow::Result<()> {
    let Ok(table) = text.parse::<toml::Table>() else {
        return Ok(());
    };
    let old = table.get("control").and_then(|control| {
        let control = control.as_table()?;
        ["token", "token_file"]
            .into_iter()
            .find(|field| control.contains_key(*field))
    });
    match old {
        None => Ok(()),
        Some(field) => anyhow::bail!(
            "control.{field}: agents have keys of their own now. Put `key_file = \"agent.key\"` \
             (a path of your choice) in its place, have an operator issue a code with \
             `tapemark agent enrol-code AGENT`, and run `tapemark-agent enrol --code CODE \
             --config` with this file"
        ),
    }
}

/// The library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LibraryConfig {
    /// Drives, changer and cartridges simulated in this process, with real SCSI bytes.
    Simulated(SimulatedLibrary),
}

impl LibraryConfig {
    /// The library's name.
    pub fn id(&self) -> &LibraryId {
        match self {
            Self::Simulated(library) => &library.id,
        }
    }
}

/// A simulated library. Its cartridges are files and survive the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulatedLibrary {
    /// Its name.
    pub id: LibraryId,
    /// Where its cartridges are; created with blank ones where there are none.
    pub dir: PathBuf,
    /// How many drives.
    pub drives: u16,
    /// How many slots, each with a cartridge at first.
    pub slots: u16,
    /// What a cartridge holds; LTO-9's 18 TB unless said otherwise.
    #[serde(default = "lto9_capacity")]
    pub capacity: Bytes,
    /// How long things take.
    #[serde(default)]
    pub timing: Timing,
    /// A fault script (JSON), for tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<PathBuf>,
}

const fn lto9_capacity() -> Bytes {
    Bytes(18_000_000_000_000)
}

/// The timing model of the simulated library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// Everything at once.
    #[default]
    Off,
    /// As an LTO-9 drive, so many times faster than real time.
    Scaled(f64),
}

/// A batch is what one synchronous filemark makes durable. It ends with the first of
/// these limits.
///
/// Why: a synchronous filemark stops the tape and costs about 3 s. Without batching 847
/// checkpoints cost 42 minutes in filemarks alone; with 200 a batch, 15 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchLimits {
    /// So many checkpoints, 1 to 1,000.
    pub checkpoints: u32,
    /// So many bytes of artifacts.
    pub bytes: Bytes,
    /// The longest wait for more work while a batch is open. The wait is never longer
    /// than a synchronous filemark takes on this drive, as measured: see
    /// [`crate::policy`].
    #[serde(with = "span")]
    pub idle: Duration,
    /// What a synchronous filemark is taken to cost until one has been measured.
    #[serde(with = "span")]
    pub sync_cost: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            checkpoints: 200,
            bytes: Bytes::gib(32),
            idle: Duration::from_secs(10),
            sync_cost: Duration::from_secs(3),
        }
    }
}

/// Times other than a batch's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    /// How long a volume with work keeps its drive although other volumes wait.
    #[serde(with = "span")]
    pub hold: Duration,
    /// How much may be written before reading back goes before writing. 0: every batch is
    /// read back before the next one is begun, if the control plane has asked for it by then.
    pub unverified: Bytes,
    /// How long a long poll waits, at most 20 s.
    #[serde(with = "span")]
    pub poll: Duration,
    /// How long before its lease ends the agent stops itself: what its clock and the
    /// control plane's may differ, and the longest single command that must not be in
    /// flight when the next holder begins.
    #[serde(with = "span")]
    pub skew: Duration,
    /// How often the slots are looked at for cartridges that somebody put in or took out.
    #[serde(with = "span")]
    pub inventory: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(300),
            unverified: Bytes::ZERO,
            poll: Duration::from_secs(20),
            skew: Duration::from_secs(5),
            inventory: Duration::from_secs(60),
        }
    }
}

/// Durations as `"10s"`, `"1m 30s"` or `"500ms"`.
mod span {
    use std::time::Duration;

    use jiff::SignedDuration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        let time = SignedDuration::try_from(*time).map_err(serde::ser::Error::custom)?;
        to.collect_str(&format_args!("{time:#}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse::<SignedDuration>()
            .map_err(serde::de::Error::custom)
            .and_then(|time| Duration::try_from(time).map_err(serde::de::Error::custom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        agent = "agent-1"
        recipients = ["age1x"]
        journal_dir = "/j"
        [control]
        url = "http://127.0.0.1:1"
        key_file = "/k"
        [library]
        kind = "simulated"
        id = "lib-1"
        dir = "/l"
        drives = 2
        slots = 8
        timing = { scaled = 100.0 }
        [batch]
        idle = "250ms"
    "#;

    #[test]
    fn a_small_file_is_enough_and_survives_its_text() {
        let config: AgentConfig = toml::from_str(SMALL).unwrap();
        config.check().unwrap();
        assert_eq!(config.batch.idle, Duration::from_millis(250));
        assert_eq!(config.batch.checkpoints, 200);
        assert_eq!(config.pace, Pace::default());
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<AgentConfig>(&text).unwrap(), config);
    }

    #[test]
    fn a_token_of_old_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        for field in ["token", "token_file"] {
            std::fs::write(&path, SMALL.replace("key_file", field)).unwrap();
            let error = format!("{:#}", AgentConfig::load(&path).unwrap_err());
            assert!(error.contains(&format!("control.{field}: ")), "{error}");
            assert!(error.contains("tapemark-agent enrol --code"), "{error}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = SMALL.replace("idle =", "idel =");
        assert!(
            toml::from_str::<AgentConfig>(&wrong)
                .unwrap_err()
                .to_string()
                .contains("idel")
        );
        let mut config: AgentConfig = toml::from_str(SMALL).unwrap();
        config.batch.checkpoints = 0;
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .starts_with("batch.checkpoints")
        );
    }
}
