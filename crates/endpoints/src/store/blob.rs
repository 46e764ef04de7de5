//! Bytes on their way in and out.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt as _};
use s3s::dto::StreamingBlob;
use s3s::{Body, S3Result, StdError, s3_error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

use super::disk::Disk;
use super::record::Blob;
use super::{Store, internal, new_id};
use crate::sums::{Algorithm, Hashed, Hasher};

/// The most bytes of one request (S3: 5 GB of a PUT or a part).
const MAX_BYTES: u64 = 5 << 30;
/// The same where there is no disk.
const MAX_BYTES_IN_MEMORY: u64 = 256 << 20;
/// How much of a file is in memory at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes without a name yet; removed unless they get one.
pub(crate) enum Pending {
    Memory(Bytes),
    File(Unfinished),
}

pub(crate) struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // What cannot be removed now is removed at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Bytes that can be read.
pub(crate) enum Opened {
    Memory(Bytes),
    File(File),
}

impl Store {
    /// Takes the bytes of a request, hashing them; on the disk when this returns.
    pub(crate) async fn receive(
        &self,
        body: impl Stream<Item = Result<Bytes, StdError>>,
        wanted: &[Algorithm],
    ) -> S3Result<(Pending, Hashed)> {
        let mut body = std::pin::pin!(body);
        let mut hasher = Hasher::new(wanted);
        let mut sink = Sink::new(self.disk.as_ref()).await.map_err(internal)?;
        let most = self.most();
        while let Some(bytes) = body.try_next().await.map_err(broken)? {
            hasher.update(&bytes);
            check_size(hasher.bytes, most)?;
            sink.write(bytes).await.map_err(internal)?;
        }
        let pending = sink.finish().await.map_err(internal)?;
        Ok((pending, hasher.finish()))
    }

    /// Copies bytes that are here already, one opened blob after the other.
    pub(crate) fn copy(
        &self,
        from: impl Iterator<Item = S3Result<(Opened, Range<u64>)>>,
        wanted: &[Algorithm],
    ) -> S3Result<(Pending, Hashed)> {
        let mut hasher = Hasher::new(wanted);
        let Some(disk) = &self.disk else {
            let mut all = BytesMut::new();
            for source in from {
                let (Opened::Memory(bytes), range) = source? else {
                    return Err(internal(io::Error::other("a file, where there is no disk")));
                };
                let range = range.start as usize..range.end as usize;
                all.extend_from_slice(&bytes[range]);
                check_size(all.len() as u64, MAX_BYTES_IN_MEMORY)?;
            }
            hasher.update(&all);
            return Ok((Pending::Memory(all.freeze()), hasher.finish()));
        };
        let unfinished = Unfinished(Some(disk.unfinished()));
        let mut file = create(&unfinished).map_err(internal)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        for source in from {
            let (Opened::File(mut from), range) = source? else {
                return Err(internal(io::Error::other("bytes, where there is a disk")));
            };
            let mut copy = || {
                from.seek(SeekFrom::Start(range.start))?;
                let mut from = (&from).take(range.end - range.start);
                loop {
                    let read = from.read(&mut buffer)?;
                    if read == 0 {
                        return Ok(());
                    }
                    hasher.update(&buffer[..read]);
                    file.write_all(&buffer[..read])?;
                }
            };
            copy().map_err(internal)?;
        }
        file.sync_data().map_err(internal)?;
        Ok((Pending::File(unfinished), hasher.finish()))
    }

    const fn most(&self) -> u64 {
        match self.disk {
            Some(_) => MAX_BYTES,
            None => MAX_BYTES_IN_MEMORY,
        }
    }

    /// Gives bytes a name that nothing says yet.
    pub(super) fn keep(&self, pending: Pending) -> S3Result<Blob> {
        let id = new_id()?;
        let memory = match (pending, &self.disk) {
            (Pending::Memory(bytes), _) => Some(bytes),
            (Pending::File(mut file), Some(disk)) => {
                if let Some(path) = &file.0 {
                    disk.keep_blob(path, &id).map_err(internal)?;
                }
                file.0 = None;
                None
            }
            (Pending::File(_), None) => {
                return Err(internal(io::Error::other("a file, where there is no disk")));
            }
        };
        Ok(Blob { id, memory })
    }

    /// Lets bytes go that nothing says any more.
    pub(super) fn forget(&self, blob: Option<&Blob>) {
        if let (Some(disk), Some(blob)) = (&self.disk, blob) {
            disk.remove_blob(&blob.id);
        }
    }

    pub(super) fn open_blob(&self, blob: &Blob) -> io::Result<Opened> {
        match (&blob.memory, &self.disk) {
            (Some(bytes), _) => Ok(Opened::Memory(bytes.clone())),
            (None, Some(disk)) => Ok(Opened::File(File::open(disk.blob(&blob.id))?)),
            (None, None) => Err(io::Error::other("bytes that are nowhere")),
        }
    }
}

impl Opened {
    /// The bytes of a range that lies within them, as a body.
    pub(crate) async fn body(self, range: Range<u64>) -> io::Result<StreamingBlob> {
        match self {
            Self::Memory(bytes) => {
                let range = range.start as usize..range.end as usize;
                Ok(Body::from(bytes.slice(range)).into())
            }
            Self::File(mut file) => {
                file.seek(SeekFrom::Start(range.start))?;
                let bytes = tokio::fs::File::from_std(file).take(range.end - range.start);
                let stream = ReaderStream::with_capacity(bytes, BUFFER_BYTES);
                Ok(StreamingBlob::wrap(stream))
            }
        }
    }
}

/// Where received bytes go.
enum Sink {
    Memory(BytesMut),
    File(tokio::fs::File, Unfinished),
}

impl Sink {
    async fn new(disk: Option<&Disk>) -> io::Result<Self> {
        let Some(disk) = disk else {
            return Ok(Self::Memory(BytesMut::new()));
        };
        let unfinished = Unfinished(Some(disk.unfinished()));
        let file = create(&unfinished)?;
        Ok(Self::File(tokio::fs::File::from_std(file), unfinished))
    }

    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        match self {
            Self::Memory(all) => {
                all.extend_from_slice(&bytes);
                Ok(())
            }
            Self::File(file, _) => file.write_all(&bytes).await,
        }
    }

    async fn finish(self) -> io::Result<Pending> {
        match self {
            Self::Memory(all) => Ok(Pending::Memory(all.freeze())),
            Self::File(mut file, unfinished) => {
                file.flush().await?;
                file.sync_data().await?;
                Ok(Pending::File(unfinished))
            }
        }
    }
}

fn create(unfinished: &Unfinished) -> io::Result<File> {
    let path = unfinished.0.as_deref();
    Disk::create(path.ok_or_else(|| io::Error::other("no path"))?)
}

fn check_size(found: u64, most: u64) -> S3Result<()> {
    if found <= most {
        return Ok(());
    }
    Err(s3_error!(
        EntityTooLarge,
        "expected at most {most} bytes in one request, found more"
    ))
}

/// A body that breaks off, or whose chunks are not signed as they should be.
fn broken(error: StdError) -> s3s::S3Error {
    tracing::debug!(%error, "a body broke off");
    let mut broken = s3_error!(IncompleteBody, "the body broke off: {error}");
    broken.set_source(error);
    broken
}
