//! Opening a source without being led out of the allowed roots.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use control::ports::ObjectError;
use model::Bytes;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::pin::io_error;

/// Directories that sources may come from, with all symbolic links resolved.
pub(super) struct Roots(Vec<PathBuf>);

impl Roots {
    pub(super) fn new(roots: &[PathBuf]) -> io::Result<Self> {
        let resolve = |root: &PathBuf| {
            let resolved = fs::canonicalize(root).and_then(|resolved| {
                if resolved.is_dir() {
                    Ok(resolved)
                } else {
                    Err(Errno::NOTDIR.into())
                }
            });
            resolved.map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("allowed root {}: {error}", root.display()),
                )
            })
        };
        Ok(Self(roots.iter().map(resolve).collect::<io::Result<_>>()?))
    }

    /// Opens a regular file below a root, and says how long it is.
    ///
    /// Links are resolved first and must lead to a place below a root. Then the way there
    /// is walked part by part and no part may be a link any more: who swaps one in
    /// meanwhile gets an error, not another file.
    pub(super) fn open(&self, path: &str) -> Result<(File, Bytes), ObjectError> {
        let not_allowed = || ObjectError::NotAllowed(path.to_owned());
        let resolved = match fs::canonicalize(path) {
            Ok(resolved) => resolved,
            // What lies outside is not even said to be missing.
            Err(_) if self.root_of(Path::new(path)).is_none() => return Err(not_allowed()),
            Err(error) => return Err(io_error(Path::new(path), error)),
        };
        let (root, rest) = self.root_of(&resolved).ok_or_else(not_allowed)?;
        let file = open_below(root, rest).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => not_allowed(),
            error => io_error(&resolved, error.into()),
        })?;
        let found = file
            .metadata()
            .map_err(|error| io_error(&resolved, error))?;
        if !found.is_file() {
            return Err(ObjectError::NotAllowed(format!(
                "{path} (not a regular file)"
            )));
        }
        Ok((file, Bytes(found.len())))
    }

    fn root_of<'a>(&'a self, path: &'a Path) -> Option<(&'a Path, &'a Path)> {
        self.0
            .iter()
            .find_map(|root| Some((root.as_path(), path.strip_prefix(root).ok()?)))
    }
}

fn open_below(root: &Path, rest: &Path) -> Result<File, Errno> {
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(root, directory, Mode::empty())?;
    let mut parts = rest.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(part) = part else {
            return Err(Errno::LOOP);
        };
        // A FIFO or a device must not hold us up before we see what it is.
        let flags = match parts.peek() {
            Some(_) => directory | OFlags::NOFOLLOW,
            None => OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        };
        at = rustix::fs::openat(&at, part, flags, Mode::empty())?;
    }
    Ok(File::from(at))
}
