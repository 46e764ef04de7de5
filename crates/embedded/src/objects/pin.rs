//! Writing files so that they are whole or not there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use control::ports::ObjectError;
use model::{Bytes, Sha256};
use sha2::Digest;

/// How much of a file is in memory at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// What the submitter said the bytes are.
#[derive(Clone, Copy)]
pub(super) struct Declared {
    pub(super) size: Bytes,
    pub(super) sha256: Sha256,
}

impl Declared {
    pub(super) fn check_size(self, found: Bytes) -> Result<(), ObjectError> {
        if found == self.size {
            return Ok(());
        }
        Err(ObjectError::Mismatch {
            what: "size",
            expected: self.size.0.to_string(),
            found: found.0.to_string(),
        })
    }

    /// True where the file is there already with just these bytes.
    pub(super) fn matches(self, path: &Path) -> Result<bool, ObjectError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io_error(path, error)),
        };
        let (size, sha256) = transfer(&mut file, &mut io::sink(), self.size)
            .map_err(|error| io_error(path, error))?;
        Ok((size, sha256) == (self.size, self.sha256))
    }

    /// Copies at most one byte more than declared, hashes on the way, and gives the copy
    /// its name only where size and digest are as declared. What changes meanwhile under
    /// the reader's hands shows in the digest.
    pub(super) fn copy(
        self,
        from: &mut dyn Read,
        unfinished: &Path,
        to: &Path,
    ) -> Result<(), ObjectError> {
        let copy = Unfinished::create(unfinished).map_err(|error| io_error(unfinished, error))?;
        let (size, sha256) =
            transfer(from, &mut &copy.file, self.size).map_err(|error| io_error(to, error))?;
        self.check_size(size)?;
        if sha256 != self.sha256 {
            return Err(ObjectError::Mismatch {
                what: "sha256",
                expected: self.sha256.to_string(),
                found: sha256.to_string(),
            });
        }
        copy.keep_as(to).map_err(|error| io_error(to, error))
    }
}

/// Writes a small file whole; replaces one that is there.
pub(crate) fn put(unfinished: &Path, to: &Path, body: &[u8]) -> Result<(), ObjectError> {
    let write = || {
        let mut copy = Unfinished::create(unfinished)?;
        copy.file.write_all(body)?;
        copy.keep_as(to)
    };
    write().map_err(|error| io_error(to, error))
}

/// A directory that only this user may look into, and those above it.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What an I/O error means to the one who asked.
pub(super) fn io_error(path: &Path, error: io::Error) -> ObjectError {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            ObjectError::Missing(path.to_string())
        }
        io::ErrorKind::PermissionDenied => ObjectError::Missing(format!("{path} ({error})")),
        _ => ObjectError::Unavailable(format!("{path}: {error}")),
    }
}

/// Moves bytes, at most one more than `expected`, and says how many and their digest.
fn transfer(
    from: &mut dyn Read,
    to: &mut dyn Write,
    expected: Bytes,
) -> io::Result<(Bytes, Sha256)> {
    let mut from = from.take(expected.0.saturating_add(1));
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut digest = sha2::Sha256::new();
    let mut size = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok((Bytes(size), Sha256(digest.finalize().into()))),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digest.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        size += read as u64;
    }
}

/// A file without its name yet; removed unless it gets one.
struct Unfinished {
    file: File,
    path: Option<PathBuf>,
}

impl Unfinished {
    fn create(directory: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = directory.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self {
            file,
            path: Some(path),
        })
    }

    /// Makes the bytes durable, then the name.
    fn keep_as(mut self, to: &Path) -> io::Result<()> {
        self.file.sync_data()?;
        let directory = to
            .parent()
            .ok_or_else(|| io::Error::other("no directory"))?;
        if let Some(path) = self.path.take() {
            let renamed = make_private_dir(directory).and_then(|()| fs::rename(&path, to));
            if renamed.is_err() {
                self.path = Some(path);
            }
            renamed?;
        }
        File::open(directory)?.sync_all()?;
        // A directory made just now is a name in the one above it.
        match directory.parent() {
            Some(above) => File::open(above)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(path);
        }
    }
}
