//! Opening a source without being led out of the allowed roots.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use control::ports::ObjectError;
use model::Bytes;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::pin::io_error;

/// Directories that sources may come from, and the one that none may come from, with all
/// symbolic links resolved.
pub(super) struct Roots {
    allowed: Vec<PathBuf>,
    /// Tapemark's own: keys, tokens, other services' pins and restores. An allowed root
    /// may well lie above it (`up --data .tapemark --allow-root .`).
    data: PathBuf,
    /// Device and inode of `data`: what it is under any other name, such as a bind mount.
    data_id: (u64, u64),
}

impl Roots {
    /// Roots, and the data directory as [`fs::canonicalize`] gives it.
    pub(super) fn new(roots: &[PathBuf], data: &Path) -> io::Result<Self> {
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
        let found = fs::metadata(data)?;
        Ok(Self {
            allowed: roots.iter().map(resolve).collect::<io::Result<_>>()?,
            data: data.to_owned(),
            data_id: (found.dev(), found.ino()),
        })
    }

    /// Opens a regular file below a root, and says how long it is.
    ///
    /// Links are resolved first and must lead to a place below a root that is not in the
    /// data directory. Then the way there is walked part by part, and no part may be a link
    /// any more or the data directory: who swaps one in meanwhile gets an error, not
    /// another file.
    pub(super) fn open(&self, path: &str) -> Result<(File, Bytes), ObjectError> {
        let not_allowed = || ObjectError::NotAllowed(path.to_owned());
        let resolved = match fs::canonicalize(path) {
            Ok(resolved) => resolved,
            // What lies outside is not even said to be missing.
            Err(_) if self.root_of(Path::new(path)).is_none() => return Err(not_allowed()),
            Err(_) if self.leads_into_data(Path::new(path)) => return Err(own(path)),
            Err(error) => return Err(io_error(Path::new(path), error)),
        };
        let (root, rest) = self.root_of(&resolved).ok_or_else(not_allowed)?;
        if resolved.starts_with(&self.data) {
            return Err(own(path));
        }
        let file = self.open_below(root, rest).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => not_allowed(),
            Errno::XDEV => own(path),
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
        self.allowed
            .iter()
            .find_map(|root| Some((root.as_path(), path.strip_prefix(root).ok()?)))
    }

    /// True where the part of a path that is there lies in the data directory: there, not
    /// even what is missing is said.
    fn leads_into_data(&self, path: &Path) -> bool {
        let there = path
            .ancestors()
            .find_map(|part| fs::canonicalize(part).ok());
        there.is_some_and(|there| there.starts_with(&self.data))
    }

    /// Walks down from a root; [`Errno::XDEV`] where the way enters the data directory.
    fn open_below(&self, root: &Path, rest: &Path) -> Result<File, Errno> {
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = File::from(rustix::fs::open(root, directory, Mode::empty())?);
        let mut parts = rest.components().peekable();
        while let Some(part) = parts.next() {
            let Component::Normal(part) = part else {
                return Err(Errno::LOOP);
            };
            let found = at
                .metadata()
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            if (found.dev(), found.ino()) == self.data_id {
                return Err(Errno::XDEV);
            }
            // A FIFO or a device must not hold us up before we see what it is.
            let flags = match parts.peek() {
                Some(_) => directory | OFlags::NOFOLLOW,
                None => OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
            };
            at = File::from(rustix::fs::openat(&at, part, flags, Mode::empty())?);
        }
        Ok(at)
    }
}

fn own(path: &str) -> ObjectError {
    ObjectError::NotAllowed(format!(
        "{path} (in Tapemark's own data directory, which is never a source)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bind mount gives the data directory a name that no link leads from.
    #[test]
    fn the_data_directory_is_known_under_any_name() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("mounted/keys")).unwrap();
        fs::create_dir(root.join("data")).unwrap();
        fs::write(root.join("mounted/keys/operator.token"), "secret").unwrap();
        let mut roots = Roots::new(std::slice::from_ref(&root), &root.join("data")).unwrap();
        let path = root.join("mounted/keys/operator.token");
        let open = |roots: &Roots| roots.open(path.to_str().unwrap());
        assert_eq!(open(&roots).unwrap().1, Bytes(6));

        let mounted = fs::metadata(root.join("mounted")).unwrap();
        roots.data_id = (mounted.dev(), mounted.ino());
        let no = open(&roots).unwrap_err();
        assert!(matches!(no, ObjectError::NotAllowed(_)), "{no}");
        assert!(no.to_string().contains("never a source"), "{no}");
    }
}
