//! Files that are whole or not there.
//!
//! | below the directory | what it is |
//! |---|---|
//! | `lock` | held by the one process that works here |
//! | `buckets/<bucket>/bucket.json` | when it was made, and whether it keeps versions |
//! | `buckets/<bucket>/keys/<SHA-256 of the key>.json` | a key with all its versions |
//! | `uploads/<id>/upload.json`, `uploads/<id>/<part>.json` | uploads in parts that are not complete |
//! | `blobs/<id>` | bytes of a version or part; never changed once they have this name |
//! | `tmp/` | what is not whole yet; emptied at each start |
//!
//! A change is made by one rename, after the new file's bytes are on the disk; a blob is
//! there before anything names it, and goes after nothing does. What a crash leaves without
//! a name is removed at the next start. No name comes from a client: keys are hashed, ids
//! are drawn here, and buckets have the letters that S3 allows.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use s3s::crypto::{Checksum as _, Sha256};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) struct Disk {
    root: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Disk {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        for part in ["buckets", "uploads", "blobs", "tmp"] {
            make_dir(&root.join(part))?;
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(root.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::ResourceBusy,
                "expected the directory to be free, found it in use by another process",
            ),
            fs::TryLockError::Error(error) => error,
        })?;
        for left in fs::read_dir(root.join("tmp"))? {
            fs::remove_file(left?.path())?;
        }
        Ok(Self {
            root: root.to_owned(),
            next: AtomicU64::new(0),
            _lock: lock,
        })
    }

    pub(super) fn unfinished(&self) -> PathBuf {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        self.root.join("tmp").join(name)
    }

    pub(super) fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    }

    pub(super) fn blob(&self, id: &str) -> PathBuf {
        self.root.join("blobs").join(id)
    }

    /// Gives a whole file its place among the blobs.
    pub(super) fn keep_blob(&self, unfinished: &Path, id: &str) -> io::Result<()> {
        fs::rename(unfinished, self.blob(id))?;
        sync_dir(&self.root.join("blobs"))
    }

    /// What cannot be removed now is removed at the next start.
    pub(super) fn remove_blob(&self, id: &str) {
        if let Err(error) = fs::remove_file(self.blob(id)) {
            tracing::debug!(id, %error, "a blob stays until the next start");
        }
    }

    /// Removes blobs that nothing names.
    pub(super) fn keep_only(&self, named: &BTreeSet<String>) -> io::Result<()> {
        for blob in fs::read_dir(self.root.join("blobs"))? {
            let blob = blob?;
            let is_named = blob
                .file_name()
                .to_str()
                .is_some_and(|id| named.contains(id));
            if !is_named {
                fs::remove_file(blob.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn bucket(bucket: &str) -> PathBuf {
        Path::new("buckets").join(bucket).join("bucket.json")
    }

    pub(super) fn key(bucket: &str, key: &str) -> PathBuf {
        let name = hex::encode(Sha256::checksum(key.as_bytes()));
        Path::new("buckets")
            .join(bucket)
            .join("keys")
            .join(format!("{name}.json"))
    }

    pub(super) fn upload(id: &str) -> PathBuf {
        Path::new("uploads").join(id).join("upload.json")
    }

    pub(super) fn part(id: &str, number: u32) -> PathBuf {
        Path::new("uploads").join(id).join(format!("{number}.json"))
    }

    /// Writes a record; another of that name is replaced in one step.
    pub(super) fn put(&self, path: &Path, record: &impl Serialize) -> io::Result<()> {
        let unfinished = self.unfinished();
        let path = self.root.join(path);
        let written = (|| {
            let mut file = Self::create(&unfinished)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            file.sync_data()?;
            let directory = parent(&path)?;
            if !directory.is_dir() {
                make_dir(directory)?;
                sync_dir(parent(directory)?)?;
            }
            fs::rename(&unfinished, &path)?;
            sync_dir(directory)
        })();
        if written.is_err() {
            // It goes at the next start, if not now.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let path = self.root.join(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_dir(parent(&path)?),
        }
    }

    /// Removes a record with the directory around it, the record first: a directory
    /// without it counts as gone.
    pub(super) fn remove_around(&self, path: &Path) -> io::Result<()> {
        self.remove(path)?;
        fs::remove_dir_all(parent(&self.root.join(path))?)
    }

    /// The names in a directory, and nothing where there is none.
    pub(super) fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// A record, where there is one.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &Path) -> io::Result<Option<T>> {
        let path = self.root.join(path);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("expected a record in {}: {error}", path.display()),
            )
        })
    }
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::other("no directory"))
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
