//! Resolvers whose components lie in S3, called in this process.
//!
//! Nothing is compiled here: a function of its own does that ([`S3Resolvers::with_compiler`],
//! feature `publish`), so that whoever decides carries no compiler, and whoever compiles
//! decides nothing.

mod bucket;
#[cfg(feature = "publish")]
mod publish;

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use control::ports::{Published, Resolvers, START_WITHIN};
use model::{Call, Code, ConflictSet, Limits, Refusal, Sha256};
use resolver::{Calls, HostError, Loaded};

pub use bucket::ResolverBucket;

/// What signs records of resolvers, and says with which key they are checked.
#[async_trait]
pub trait RecordSigner: Send + Sync {
    /// Ed25519 over a message of at most 4,096 bytes.
    ///
    /// # Errors
    /// `Transient` where it cannot be asked, `Internal` where it refuses.
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], Refusal>;

    /// The public half.
    ///
    /// # Errors
    /// As [`RecordSigner::sign`].
    async fn public_key(&self) -> Result<[u8; 32], Refusal>;
}

#[cfg(feature = "kms")]
#[async_trait]
impl RecordSigner for crate::KmsSigner {
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], Refusal> {
        Self::sign(self, message).await
    }

    async fn public_key(&self) -> Result<[u8; 32], Refusal> {
        Self::public_key(self).await
    }
}

/// The resolvers of an installation on AWS.
///
/// The bucket is not trusted, the record is: native code is mapped only where its digest
/// stands in a record that the installation's key signed. It is fetched once a process, into
/// a directory of this process alone, and its file is gone once it is mapped.
#[derive(Clone)]
pub struct S3Resolvers {
    inner: Arc<Inner>,
    #[cfg(feature = "publish")]
    compiler: Option<publish::CompileFunction>,
}

struct Inner {
    bucket: ResolverBucket,
    signer: Arc<dyn RecordSigner>,
    calls: Calls,
    /// Where code lies until it is mapped.
    directory: PathBuf,
    /// One at a time fetches a component; the others wait for it.
    fetching: Mutex<HashMap<Sha256, Arc<tokio::sync::Mutex<()>>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Empty unless something broke off; nothing to do about a failure.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl S3Resolvers {
    /// The resolvers in a bucket, whose records `signer` signs. Code goes through a new
    /// directory below `tmp` (`/tmp` in a function), which nobody else may enter.
    ///
    /// # Errors
    /// Where this machine cannot run resolvers, or the directory cannot be made.
    pub fn new(
        bucket: ResolverBucket,
        signer: Arc<dyn RecordSigner>,
        tmp: &Path,
    ) -> Result<Self, HostError> {
        let mut unique = [0; 8];
        let io = |path: &Path, source| HostError::Io {
            path: path.to_owned(),
            source,
        };
        getrandom::fill(&mut unique)
            .map_err(|error| io(tmp, std::io::Error::other(error.to_string())))?;
        let directory = tmp.join(format!("tapemark-resolvers-{}", hex::encode(unique)));
        // Fails where there is one already, whoever made it.
        let made = std::fs::DirBuilder::new().mode(0o700).create(&directory);
        made.map_err(|error| io(&directory, error))?;
        Ok(Self {
            inner: Arc::new(Inner {
                bucket,
                signer,
                calls: Calls::new()?,
                directory,
                fetching: Mutex::default(),
            }),
            #[cfg(feature = "publish")]
            compiler: None,
        })
    }

    /// A component at hand, fetched where it is not. Goes on where its caller has no more
    /// time, for the next one.
    async fn loaded(&self, component: Sha256) -> Result<Loaded, String> {
        if let Some(loaded) = self.inner.calls.ready(component) {
            return Ok(loaded);
        }
        let this = self.clone();
        let fetching = tokio::spawn(async move { this.fetch(component).await });
        match tokio::time::timeout(START_WITHIN, fetching).await {
            Ok(Ok(fetched)) => fetched.map_err(|error| error.to_string()),
            Ok(Err(_)) => Err("the resolvers' store did not come back".to_owned()),
            Err(_) => Err(format!(
                "busy: expected the component within {} ms, found its code still on the way",
                START_WITHIN.as_millis()
            )),
        }
    }

    async fn fetch(&self, component: Sha256) -> Result<Loaded, HostError> {
        let turn = self.fetching().entry(component).or_default().clone();
        let fetched = {
            let _turn = turn.lock().await;
            self.fetch_in_turn(component).await
        };
        self.fetching().remove(&component);
        fetched
    }

    async fn fetch_in_turn(&self, component: Sha256) -> Result<Loaded, HostError> {
        if let Some(loaded) = self.inner.calls.ready(component) {
            return Ok(loaded);
        }
        let key = self.inner.signer.public_key().await?;
        let record = self.inner.bucket.record(component, &key).await?;
        let (_, code) = record.code_for(&self.inner.calls.host().engine_id())?;
        let bytes = self.inner.bucket.code(code).await?;
        let this = self.inner.clone();
        let mapped = tokio::task::spawn_blocking(move || this.map(code, &bytes));
        let loaded = mapped
            .await
            .map_err(|_| Refusal::new(Code::Internal, "the resolvers' host did not come back"))??;
        self.inner.calls.keep_ready(component, loaded.clone());
        Ok(loaded)
    }

    fn fetching(&self) -> MutexGuard<'_, HashMap<Sha256, Arc<tokio::sync::Mutex<()>>>> {
        let fetching = &self.inner.fetching;
        fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Maps code by way of a file, which is gone afterwards: what is mapped stays mapped.
    fn map(&self, code: Sha256, bytes: &[u8]) -> Result<Loaded, HostError> {
        let path = self.directory.join(format!("{code}.cwasm"));
        let io = |source| HostError::Io {
            path: path.clone(),
            source,
        };
        // Two components may have the same code: the later one has the earlier one's place.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let mut options = std::fs::OpenOptions::new();
        let created = options.write(true).create_new(true).mode(0o400).open(&path);
        let written = created.and_then(|mut file| file.write_all(bytes));
        let loaded = match written {
            Ok(()) => self.calls.host().load(&path, code),
            Err(error) => Err(io(error)),
        };
        let removed = std::fs::remove_file(&path);
        let loaded = loaded?;
        removed.map_err(io)?;
        Ok(loaded)
    }
}

#[async_trait]
impl Resolvers for S3Resolvers {
    #[cfg(feature = "publish")]
    async fn publish(&self, component: Vec<u8>) -> Result<Published, Refusal> {
        publish::publish(self, component).await
    }

    #[cfg(not(feature = "publish"))]
    async fn publish(&self, _component: Vec<u8>) -> Result<Published, Refusal> {
        Err(Refusal::new(
            Code::Internal,
            "expected to be asked to call resolvers, found a component to publish",
        ))
    }

    async fn call(&self, component: Sha256, set: Arc<ConflictSet>, limits: Limits) -> Call {
        let loaded = match self.loaded(component).await {
            Ok(loaded) => loaded,
            Err(why) => return self.inner.calls.host().unavailable(&limits, why),
        };
        let load = move |_: &resolver::Host| Ok(loaded);
        self.inner.calls.call(component, set, limits, load).await
    }
}
