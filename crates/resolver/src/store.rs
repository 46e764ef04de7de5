//! Published components in a directory, with what was made of them.
//!
//! ```text
//! components/<sha256>.wasm          as it was handed in; its name is its identity
//! compiled/<sha256>.<arch>.cwasm    native code made of it
//! records/<sha256>.json             what belongs together, signed
//! lock                              held by whoever publishes
//! ```
//!
//! The directory is not trusted, the record is: nothing is loaded unless its digest stands
//! in a record that this installation signed.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::{Signer as _, SigningKey};
use jiff::Timestamp;
use model::{ResolverInfo, Sha256};

use crate::record::MAX_RECORD_BYTES;
use crate::{Arch, Host, HostError, Loaded, Record};

/// Nobody writes a file of the store again, not even its owner: it is replaced by renaming
/// another one over it, so that what is mapped of it stays as it is.
const MODE: u32 = 0o444;

/// Native code of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// What it runs on.
    pub arch: Arch,
    /// The code, as `compile` made it.
    pub code: Vec<u8>,
}

/// Published components in a directory.
pub struct Store {
    directory: PathBuf,
    key: SigningKey,
}

impl Store {
    /// Opens the store in `directory`, which is made where it is missing. `key` is the
    /// installation's: it signs records, and only what it signed is loaded.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn open(directory: impl Into<PathBuf>, key: SigningKey) -> Result<Self, HostError> {
        let directory = directory.into();
        for part in ["components", "compiled", "records"] {
            let path = directory.join(part);
            fs::create_dir_all(&path).map_err(|source| HostError::Io { path, source })?;
        }
        Ok(Self { directory, key })
    }

    /// Keeps a component with its native code and a signed record, which it returns.
    /// Adding the same again is well; code for more architectures, or by another engine,
    /// replaces the record. Whatever happens on the way, no record names what is not there.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn add(
        &self,
        component: &[u8],
        compiled: &[Compiled],
        info: &ResolverInfo,
        at: Timestamp,
    ) -> Result<Record, HostError> {
        let record = Record::new(component, compiled, info, at);
        // One at a time, whoever else publishes into this directory: else one's record could
        // name another's code. Given back when the file is closed, however that comes.
        let _turn = self.lock()?;
        // The first time counts: publishing the same again changes nothing.
        if let Ok(before) = self.record(record.component) {
            let same = Record {
                at: before.at,
                ..record.clone()
            } == before;
            if same && self.is_whole(&before) {
                return Ok(before);
            }
        }
        // The record last: what it names is on disk then.
        write(&self.component_path(record.component), component)?;
        for compiled in compiled {
            let path = self.compiled_path(record.component, compiled.arch);
            write(&path, &compiled.code)?;
        }
        let signature = self.key.sign(&record.message()).to_bytes();
        write(
            &self.record_path(record.component),
            &record.sealed(signature),
        )?;
        Ok(record)
    }

    /// The record of a component.
    ///
    /// # Errors
    /// [`HostError::Unpublished`], [`HostError::Signature`], [`HostError::Io`].
    pub fn record(&self, component: Sha256) -> Result<Record, HostError> {
        let path = self.record_path(component);
        let text = match read(&path, MAX_RECORD_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(HostError::Unpublished(component));
            }
            Err(source) => return Err(HostError::Io { path, source }),
        };
        Record::open(&text, &self.key.verifying_key(), component, &path)
    }

    /// The component itself, for those who compile it anew, replay or look at it.
    ///
    /// # Errors
    /// [`HostError::Unpublished`], [`HostError::Signature`], [`HostError::Digest`],
    /// [`HostError::Io`].
    pub fn component(&self, component: Sha256) -> Result<Vec<u8>, HostError> {
        let record = self.record(component)?;
        let path = self.component_path(component);
        let bytes = read(&path, record.bytes.0).map_err(|source| HostError::Io {
            path: path.clone(),
            source,
        })?;
        let found = policy::digest(&bytes);
        if found != component {
            return Err(HostError::Digest {
                path,
                expected: component,
                found,
            });
        }
        Ok(bytes)
    }

    /// Maps a component's code for this machine.
    ///
    /// # Errors
    /// As [`Store::record`] and [`Host::load`]; [`HostError::Recompile`] where it was
    /// compiled by another engine or not for this architecture.
    pub fn load(&self, host: &Host, component: Sha256) -> Result<Loaded, HostError> {
        let (arch, expected) = self.record(component)?.code_for(&host.engine_id())?;
        host.load(&self.compiled_path(component, arch), expected)
    }

    fn lock(&self) -> Result<File, HostError> {
        let path = self.directory.join("lock");
        let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
        locked.map_err(|source| HostError::Io { path, source })
    }

    /// True where everything that a record names is there and unharmed.
    fn is_whole(&self, record: &Record) -> bool {
        let is =
            |path: PathBuf, expected| fs::read(path).is_ok_and(|b| policy::digest(&b) == expected);
        is(self.component_path(record.component), record.component)
            && record
                .compiled
                .iter()
                .all(|(arch, code)| is(self.compiled_path(record.component, *arch), *code))
    }

    fn component_path(&self, component: Sha256) -> PathBuf {
        self.directory
            .join("components")
            .join(format!("{component}.wasm"))
    }

    fn compiled_path(&self, component: Sha256, arch: Arch) -> PathBuf {
        self.directory
            .join("compiled")
            .join(format!("{component}.{arch}.cwasm"))
    }

    fn record_path(&self, component: Sha256) -> PathBuf {
        self.directory
            .join("records")
            .join(format!("{component}.json"))
    }
}

/// Reads a file of at most `most` bytes.
fn read(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    File::open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(std::io::Error::other(format!(
            "expected at most {most} bytes, found more"
        )));
    }
    Ok(bytes)
}

/// Writes a file as a whole: whoever reads it sees all of it or none. Two that write the
/// same name do so one after the other, each completely.
fn write(path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let unique = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{unique}.tmp", std::process::id()));
    let done = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // So that the new name survives a crash as well.
        path.parent()
            .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    })();
    if done.is_err() {
        // Nothing to do about a second failure: a `.tmp` file is never read.
        let _ = fs::remove_file(&temporary);
    }
    done.map_err(|source| HostError::Io {
        path: path.to_owned(),
        source,
    })
}
