//! Where artifacts' bytes come from.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use model::Bytes;

/// Opens pinned artifacts for reading. Called from a worker thread, which a stopped batch waits
/// for: a source must give up by itself after a time, and say so.
pub trait Source: Sync {
    /// Opens `fetch` (the address in the write order) at byte `offset`. The reader yields
    /// `length` bytes; it may yield more where the thing is longer than it was declared, so that
    /// this is noticed.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is no such thing (the checkpoint fails); anything
    /// else counts as passing.
    fn open(
        &self,
        fetch: &str,
        offset: Bytes,
        length: Bytes,
    ) -> io::Result<Box<dyn Read + Send + '_>>;
}

/// Opens `file:///absolute/path`. The path is taken as it stands: no percent-decoding, as
/// `model::ArtifactSource` prints it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSource;

impl Source for FileSource {
    fn open(
        &self,
        fetch: &str,
        offset: Bytes,
        _length: Bytes,
    ) -> io::Result<Box<dyn Read + Send + '_>> {
        let path = fetch
            .strip_prefix("file://")
            .filter(|path| path.starts_with('/'))
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("expected file:///absolute/path, found {fetch:?}"),
                )
            })?;
        let mut file = File::open(path)?;
        if offset != Bytes::ZERO {
            file.seek(SeekFrom::Start(offset.0))?;
        }
        Ok(Box::new(file))
    }
}
