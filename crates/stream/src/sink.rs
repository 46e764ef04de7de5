//! Where artifacts go when they are read back.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use volume::SealedArtifact;

/// Takes artifact ranges, one after the other: [`Sink::begin`], [`Sink::write`] in order, then
/// [`Sink::end`] once every digest has matched, or [`Sink::abort`].
pub trait Sink: Send {
    /// A range begins.
    ///
    /// # Errors
    /// Whatever keeps the sink from taking it.
    fn begin(&mut self, artifact: &SealedArtifact) -> io::Result<()>;

    /// The next bytes of the range. Not proven yet.
    ///
    /// # Errors
    /// As [`Sink::begin`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The range is whole and proven.
    ///
    /// # Errors
    /// As [`Sink::begin`].
    fn end(&mut self) -> io::Result<()>;

    /// The range is damaged: what was written of it is worth nothing.
    fn abort(&mut self);
}

/// Takes everything and keeps nothing: for verifying.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink;

impl Sink for NullSink {
    fn begin(&mut self, _artifact: &SealedArtifact) -> io::Result<()> {
        Ok(())
    }
    fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn abort(&mut self) {}
}

/// Writes artifacts under their names below a directory.
///
/// A whole artifact is written under a temporary name beside its place and renamed when it is
/// proven; an existing file of its name is replaced. A part of an artifact is written into the
/// file of its name at its offset, because the other parts come from other placements; the file
/// has the artifact's full size from the first part on.
///
/// No symbolic link below the directory is ever followed. Files get mode 0644 less the umask.
/// Nothing is synchronised to the disk: a restore that is cut off is restored again.
#[derive(Debug)]
pub struct DirectorySink {
    root: OwnedFd,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    directory: OwnedFd,
    /// The temporary and the final name; none for a part written in place.
    rename: Option<(String, String)>,
    at: u64,
}

impl DirectorySink {
    /// Opens the directory, creating it (and those above it) where it is missing.
    ///
    /// # Errors
    /// As the file system says.
    pub fn create(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let root = rustix::fs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, open: None })
    }

    /// Opens the directory of a path's last part, creating what is missing, following no link.
    fn parent<'n>(&self, name: &'n str) -> io::Result<(OwnedFd, &'n str)> {
        let mut directory = self.root.try_clone()?;
        let mut parts = name.split('/').peekable();
        while let Some(part) = parts.next() {
            if part.is_empty() || part == "." || part == ".." {
                break;
            }
            if parts.peek().is_none() {
                return Ok((directory, part));
            }
            match rustix::fs::mkdirat(&directory, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            directory = rustix::fs::openat(&directory, part, flags, Mode::empty())?;
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected a relative path without `..`",
        ))
    }
}

impl Sink for DirectorySink {
    fn begin(&mut self, artifact: &SealedArtifact) -> io::Result<()> {
        self.abort();
        let (directory, name) = self.parent(artifact.name.as_str())?;
        let mode = Mode::from_raw_mode(0o644);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.open = Some(if artifact.is_whole() {
            let temporary = format!(
                ".tapemark-{}-{:.16}.partial",
                artifact.index,
                artifact.sha256.to_hex()
            );
            remove(&directory, &temporary)?;
            let flags = flags | OFlags::EXCL;
            OpenFile {
                file: rustix::fs::openat(&directory, temporary.as_str(), flags, mode)?.into(),
                rename: Some((temporary, name.to_owned())),
                directory,
                at: 0,
            }
        } else {
            let file: File = rustix::fs::openat(&directory, name, flags, mode)?.into();
            file.set_len(artifact.size.0)?;
            OpenFile {
                file,
                rename: None,
                directory,
                at: artifact.offset.0,
            }
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(open) = &mut self.open else {
            return Err(io::Error::other("no artifact was begun"));
        };
        open.file.write_all_at(bytes, open.at)?;
        open.at += bytes.len() as u64;
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else {
            return Err(io::Error::other("no artifact was begun"));
        };
        open.file.flush()?;
        if let Some((temporary, name)) = &open.rename {
            rustix::fs::renameat(
                &open.directory,
                temporary.as_str(),
                &open.directory,
                name.as_str(),
            )?;
        }
        Ok(())
    }

    fn abort(&mut self) {
        if let Some(open) = self.open.take()
            && let Some((temporary, _)) = &open.rename
        {
            // What cannot be removed is replaced by the next attempt.
            let _ = remove(&open.directory, temporary);
        }
    }
}

impl Drop for DirectorySink {
    fn drop(&mut self) {
        self.abort();
    }
}

fn remove(directory: impl AsFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
