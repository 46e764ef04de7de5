//! The data path as the agent sets it up: keys, sources, and where restores may go.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use model::{Bytes, Code, Refusal};
use stream::{DirectorySink, FileSource, Opener, Sealer, Source, StreamOptions};
use tokio::runtime::Handle;

/// How long a source of artifacts may stay silent.
const SOURCE_SILENCE: Duration = Duration::from_secs(60);

/// What everything written is encrypted to, and what opens it.
pub(crate) struct Keys {
    pub(crate) sealer: Sealer,
    pub(crate) opener: Option<Opener>,
}

impl Keys {
    /// Recipients, and the identities of an age identity file.
    ///
    /// # Errors
    /// When a recipient or the file is none.
    pub(crate) fn load(recipients: &[String], identity: Option<&Path>) -> anyhow::Result<Self> {
        let sealer = Sealer::new(recipients.iter().map(String::as_str)).context("recipients")?;
        let opener = identity
            .map(|path| {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading identity_file {}", path.display()))?;
                Opener::parse(&text).with_context(|| format!("in identity_file {}", path.display()))
            })
            .transpose()?;
        if opener.is_none() {
            tracing::warn!(
                "no identity_file: read-back compares ciphertext only, and restores are refused"
            );
        }
        Ok(Self { sealer, opener })
    }
}

/// The data path.
pub(crate) struct DataPath {
    pub(crate) keys: Keys,
    pub(crate) options: StreamOptions,
    pub(crate) source: Fetch,
    restore_roots: Vec<PathBuf>,
}

impl DataPath {
    /// # Errors
    /// When the HTTP client cannot be set up. Must be called within a tokio runtime.
    pub(crate) fn new(
        keys: Keys,
        restore_roots: &[PathBuf],
        ca_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let client = crate::http::client(ca_file, |builder| {
            builder
                .connect_timeout(Duration::from_secs(10))
                .read_timeout(SOURCE_SILENCE)
        })?;
        Ok(Self {
            keys,
            options: StreamOptions::default(),
            source: Fetch {
                client,
                runtime: Handle::current(),
            },
            restore_roots: restore_roots.to_vec(),
        })
    }

    /// Opens the directory a restore goes to.
    ///
    /// # Errors
    /// `SourceNotAllowed` outside the allowed directories, `Internal` when it cannot be made.
    pub(crate) fn delivery(&self, deliver: &str) -> Result<DirectorySink, Refusal> {
        let path = deliver
            .strip_prefix("file://")
            .map(Path::new)
            .filter(|path| {
                path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
            });
        let Some(path) = path else {
            return Err(Refusal::new(
                Code::InvalidRequest,
                format!("expected file:///absolute/directory, found {deliver:?}"),
            ));
        };
        let outside = || {
            let roots = &self.restore_roots;
            Refusal::new(
                Code::SourceNotAllowed,
                format!("expected a directory under one of {roots:?}, found {deliver:?}"),
            )
        };
        // Looked at twice: nothing is made outside, and links may lead outside.
        if !self.restore_roots.iter().any(|root| path.starts_with(root)) {
            return Err(outside());
        }
        let (sink, real) = DirectorySink::create(path)
            .and_then(|sink| Ok((sink, path.canonicalize()?)))
            .map_err(|error| Refusal::new(Code::Internal, format!("{deliver}: {error}")))?;
        let allowed = self
            .restore_roots
            .iter()
            .filter_map(|root| root.canonicalize().ok())
            .any(|root| real.starts_with(root));
        if allowed { Ok(sink) } else { Err(outside()) }
    }
}

/// Fetches pinned artifacts: `file:///…`, `http://…` or `https://…`.
pub(crate) struct Fetch {
    client: reqwest::Client,
    runtime: Handle,
}

impl Source for Fetch {
    fn open(
        &self,
        fetch: &str,
        offset: Bytes,
        length: Bytes,
    ) -> io::Result<Box<dyn Read + Send + '_>> {
        if fetch.starts_with("file://") {
            return FileSource.open(fetch, offset, length);
        }
        // A presigned URL is a secret: no message names it.
        let hide = |error: reqwest::Error| io::Error::other(error.without_url());
        let mut request = self.client.get(fetch);
        if offset > Bytes::ZERO {
            request = request.header("range", format!("bytes={}-", offset.0));
        }
        // Sent within the runtime: its timers start when the request is made.
        let sent = async move { request.send().await };
        let response = self.runtime.block_on(sent).map_err(hide)?;
        let status = response.status();
        if matches!(status.as_u16(), 404 | 410) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("HTTP {status}"),
            ));
        }
        let partial = status == reqwest::StatusCode::PARTIAL_CONTENT;
        if !status.is_success() || (offset > Bytes::ZERO) != partial {
            return Err(io::Error::other(format!("HTTP {status}")));
        }
        Ok(Box::new(HttpBody {
            response,
            runtime: self.runtime.clone(),
            chunk: bytes::Bytes::new(),
        }))
    }
}

struct HttpBody {
    response: reqwest::Response,
    runtime: Handle,
    chunk: bytes::Bytes,
}

impl Read for HttpBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.response.chunk()) {
                Ok(Some(chunk)) => self.chunk = chunk,
                Ok(None) => return Ok(0),
                Err(error) => return Err(io::Error::other(error.without_url())),
            }
        }
        let take = self.chunk.len().min(buffer.len());
        buffer[..take].copy_from_slice(&self.chunk.split_to(take));
        Ok(take)
    }
}
