//! Objects in a local directory: sources under allowed roots, pins, documents, deliveries.

mod pin;
mod source;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use control::ports::{ObjectError, ObjectInfo, Objects};
use model::{ArtifactName, ArtifactSource, Bytes, CheckpointId, RestoreId, Sha256};
use tokio::sync::Semaphore;

pub(crate) use pin::{make_private_dir, put as put_private_file};
use source::Roots;

/// The largest document.
const MAX_DOCUMENT_BYTES: usize = 16 << 20;
/// The most files copied or written at once: what keeps two cores and one disk busy.
const MAX_COPIES: usize = 16;

/// Where `s3://` sources are read from. `aws` implements it; without one, such sources are
/// refused.
#[async_trait]
pub trait S3Source: Send + Sync {
    /// Size and, where the store has one, SHA-256 of an object at a version.
    ///
    /// # Errors
    /// [`ObjectError::Missing`] or [`ObjectError::Unavailable`].
    async fn head(&self, bucket: &str, key: &str, version: &str)
    -> Result<ObjectInfo, ObjectError>;

    /// The object's bytes, as a blocking reader that holds at most some megabytes.
    ///
    /// # Errors
    /// [`ObjectError::Missing`] or [`ObjectError::Unavailable`].
    async fn open(
        &self,
        bucket: &str,
        key: &str,
        version: &str,
    ) -> Result<Box<dyn io::Read + Send>, ObjectError>;
}

/// The objects port on directories: `pins/<checkpoint>/<index>`, `objects/<name>`,
/// `restore/<restore>/`, and `tmp/` for what is not whole yet.
///
/// A file appears under its name only after its bytes are on disk and, for pins, have the
/// declared size and SHA-256.
pub struct LocalObjects {
    place: Arc<Place>,
    s3: Option<Arc<dyn S3Source>>,
    copies: Arc<Semaphore>,
}

struct Place {
    roots: Roots,
    pins: PathBuf,
    documents: PathBuf,
    restores: PathBuf,
    unfinished: PathBuf,
}

impl LocalObjects {
    /// Objects below `data`; files may come from below the `roots` only, and never from
    /// below `data`, even where that lies below a root. Directories that are not there are
    /// made, and what an earlier process left unfinished is removed.
    ///
    /// # Errors
    /// Where a root is no directory, a path is not UTF-8, or a directory cannot be made.
    pub fn open(data: &Path, roots: &[PathBuf], s3: Option<Arc<dyn S3Source>>) -> io::Result<Self> {
        let data = fs::canonicalize(data)?;
        if data.to_str().is_none() {
            return Err(io::Error::other(format!("{} is not UTF-8", data.display())));
        }
        let place = Place {
            roots: Roots::new(roots, &data)?,
            pins: data.join("pins"),
            documents: data.join("objects"),
            restores: data.join("restore"),
            unfinished: data.join("tmp"),
        };
        if place.unfinished.exists() {
            fs::remove_dir_all(&place.unfinished)?;
        }
        for directory in [
            &place.pins,
            &place.documents,
            &place.restores,
            &place.unfinished,
        ] {
            pin::make_private_dir(directory)?;
        }
        Ok(Self {
            place: Arc::new(place),
            s3,
            copies: Arc::new(Semaphore::new(MAX_COPIES)),
        })
    }

    /// Runs file work on a thread that may block, at most [`MAX_COPIES`] at a time.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, ObjectError> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let closing = || ObjectError::Unavailable("the process is closing".to_owned());
        let permit = self
            .copies
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| closing())?;
        let place = self.place.clone();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&place)
        })
        .await
        .map_err(|_| closing())?
    }

    fn s3(&self, source: &ArtifactSource) -> Result<&Arc<dyn S3Source>, ObjectError> {
        self.s3.as_ref().ok_or_else(|| {
            ObjectError::NotAllowed(format!(
                "{source} (this installation reads files only: no S3 source is configured)"
            ))
        })
    }
}

impl Place {
    fn pin(&self, checkpoint: CheckpointId, index: u32) -> PathBuf {
        self.pins
            .join(checkpoint.to_string())
            .join(index.to_string())
    }

    fn document(&self, name: &str) -> Result<PathBuf, ObjectError> {
        // The rules of artifact names keep a document below its directory.
        match name.parse::<ArtifactName>() {
            Ok(name) => Ok(self.documents.join(name.as_str())),
            Err(error) => Err(ObjectError::NotAllowed(error.to_string())),
        }
    }
}

#[async_trait]
impl Objects for LocalObjects {
    async fn head(&self, source: &ArtifactSource) -> Result<ObjectInfo, ObjectError> {
        match source {
            ArtifactSource::S3 {
                bucket,
                key,
                version,
            } => self.s3(source)?.head(bucket, key, version).await,
            ArtifactSource::File { path } => {
                let path = path.clone();
                self.blocking(move |place| {
                    let (_, size) = place.roots.open(&path)?;
                    Ok(ObjectInfo { size, sha256: None })
                })
                .await
            }
        }
    }

    async fn pin(
        &self,
        checkpoint: CheckpointId,
        index: u32,
        source: &ArtifactSource,
        size: Bytes,
        sha256: Sha256,
    ) -> Result<(), ObjectError> {
        let declared = pin::Declared { size, sha256 };
        let remote = match source {
            ArtifactSource::S3 {
                bucket,
                key,
                version,
            } => Some(self.s3(source)?.open(bucket, key, version).await?),
            ArtifactSource::File { .. } => None,
        };
        let source = source.clone();
        self.blocking(move |place| {
            let pinned = place.pin(checkpoint, index);
            if declared.matches(&pinned)? {
                return Ok(());
            }
            let mut reader: Box<dyn io::Read> = match (remote, &source) {
                (Some(remote), _) => remote,
                (None, ArtifactSource::File { path }) => {
                    let (file, found) = place.roots.open(path)?;
                    declared.check_size(found)?;
                    Box::new(file)
                }
                (None, ArtifactSource::S3 { .. }) => {
                    return Err(ObjectError::Missing(source.to_string()));
                }
            };
            declared.copy(reader.as_mut(), &place.unfinished, &pinned)
        })
        .await
    }

    async fn fetch_url(&self, checkpoint: CheckpointId, index: u32) -> Result<String, ObjectError> {
        let path = self.place.pin(checkpoint, index);
        match tokio::fs::metadata(&path).await {
            Ok(found) if found.is_file() => Ok(format!("file://{}", path.display())),
            Ok(_) => Err(ObjectError::Missing(path.display().to_string())),
            Err(error) => Err(pin::io_error(&path, error)),
        }
    }

    async fn unpin(&self, checkpoint: CheckpointId) -> Result<(), ObjectError> {
        self.blocking(move |place| {
            let directory = place.pins.join(checkpoint.to_string());
            match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(pin::io_error(&directory, error))
                }
                _ => Ok(()),
            }
        })
        .await
    }

    async fn put_document(&self, name: &str, body: Vec<u8>) -> Result<(), ObjectError> {
        let path = self.place.document(name)?;
        if body.len() > MAX_DOCUMENT_BYTES {
            return Err(ObjectError::Mismatch {
                what: "size",
                expected: format!("at most {MAX_DOCUMENT_BYTES}"),
                found: body.len().to_string(),
            });
        }
        self.blocking(move |place| pin::put(&place.unfinished, &path, &body))
            .await
    }

    async fn document(&self, name: &str) -> Result<Vec<u8>, ObjectError> {
        let path = self.place.document(name)?;
        self.blocking(move |_| fs::read(&path).map_err(|error| pin::io_error(&path, error)))
            .await
    }

    async fn delivery_url(&self, restore: RestoreId) -> Result<String, ObjectError> {
        self.blocking(move |place| {
            let directory = place.restores.join(restore.to_string());
            pin::make_private_dir(&directory).map_err(|error| pin::io_error(&directory, error))?;
            Ok(format!("file://{}", directory.display()))
        })
        .await
    }
}
