//! Sealing and opening: age (X25519 recipients) around zstd.

use std::io::{Read, Write};

use age::secrecy::ExposeSecret;
use model::Bytes;
use volume::{Unseal, VolumeError};

/// The zstd level: 3 keeps one core above the speed of an LTO drive on text and binaries.
pub(crate) const LEVEL: i32 = 3;

/// The largest zstd window a reader accepts: 16 MiB. The writer's windows are 2 MiB at most.
const WINDOW_LOG_MAX: u32 = 24;

/// Keys that are not keys, or encryption that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No recipient: nobody could ever open it.
    #[error("expected at least one age recipient, found none")]
    NoRecipient,
    /// Not an X25519 recipient.
    #[error("expected an age recipient (age1…), found {text:?}: {why}")]
    Recipient {
        /// The text.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Not an X25519 identity. The text is not repeated: it may be half a secret.
    #[error("line {line}: expected an age identity (AGE-SECRET-KEY-1…): {why}")]
    Identity {
        /// The line of the identity file, from 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// No identity in the file.
    #[error("expected at least one age identity, found none")]
    NoIdentity,
    /// Compression or encryption failed.
    #[error("sealing failed: {0}")]
    Failed(String),
}

impl From<std::io::Error> for SealError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Encrypts to a fixed list of recipients. Holds no secret.
#[derive(Clone, Debug)]
pub struct Sealer {
    recipients: Vec<age::x25519::Recipient>,
}

impl Sealer {
    /// Takes recipients as text, `age1…`.
    ///
    /// # Errors
    /// [`SealError::NoRecipient`], [`SealError::Recipient`].
    pub fn new<'a>(recipients: impl IntoIterator<Item = &'a str>) -> Result<Self, SealError> {
        let recipients = recipients
            .into_iter()
            .map(|text| {
                text.parse().map_err(|why| SealError::Recipient {
                    text: text.chars().take(80).collect(),
                    why,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if recipients.is_empty() {
            return Err(SealError::NoRecipient);
        }
        Ok(Self { recipients })
    }

    /// The recipients as text, for the label.
    pub fn recipients(&self) -> Vec<String> {
        self.recipients.iter().map(ToString::to_string).collect()
    }

    /// Compresses and encrypts a small text.
    ///
    /// # Errors
    /// [`SealError::Failed`].
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let compressed = zstd::bulk::compress(plain, LEVEL)?;
        let mut writer = self.writer(Vec::with_capacity(compressed.len() + 512))?;
        writer.write_all(&compressed)?;
        Ok(writer.finish()?)
    }

    /// An encrypting writer around `inner`.
    pub(crate) fn writer<W: Write>(
        &self,
        inner: W,
    ) -> Result<age::stream::StreamWriter<W>, SealError> {
        let recipients = self.recipients.iter().map(|r| r as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients)
            .map_err(|error| SealError::Failed(error.to_string()))?;
        Ok(encryptor.wrap_output(inner)?)
    }
}

/// Decrypts with a list of identities. Never printed.
pub struct Opener {
    identities: Vec<age::x25519::Identity>,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener({} identities)", self.identities.len())
    }
}

impl Opener {
    /// Takes the text of an age identity file: one `AGE-SECRET-KEY-1…` a line, `#` comments and
    /// empty lines between.
    ///
    /// # Errors
    /// [`SealError::Identity`], [`SealError::NoIdentity`].
    pub fn parse(identity_file: &str) -> Result<Self, SealError> {
        let mut identities = Vec::new();
        for (at, line) in identity_file.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity = line
                .parse()
                .map_err(|why| SealError::Identity { line: at + 1, why })?;
            identities.push(identity);
        }
        if identities.is_empty() {
            return Err(SealError::NoIdentity);
        }
        Ok(Self { identities })
    }

    /// The recipients that these identities open, as text.
    pub fn recipients(&self) -> Vec<String> {
        let public = self.identities.iter().map(|i| i.to_public().to_string());
        public.collect()
    }

    /// A reader of what `stored`, with the suffixes `.age` or `.zst.age`, holds.
    pub(crate) fn reader<'s>(
        &self,
        stored: &'s [u8],
        compressed: bool,
    ) -> Result<Box<dyn Read + 's>, VolumeError> {
        let damaged = |error: age::DecryptError| match error {
            age::DecryptError::NoMatchingKeys => VolumeError::KeyMissing(error.to_string()),
            other => VolumeError::Damaged(format!("age: {other}")),
        };
        let identities = self.identities.iter().map(|i| i as &dyn age::Identity);
        let plain = age::Decryptor::new_buffered(stored)
            .map_err(damaged)?
            .decrypt(identities)
            .map_err(damaged)?;
        if !compressed {
            return Ok(Box::new(plain));
        }
        let zstd_error = |error: std::io::Error| VolumeError::Damaged(format!("zstd: {error}"));
        let mut decoder = zstd::stream::read::Decoder::new(plain).map_err(zstd_error)?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(zstd_error)?;
        Ok(Box::new(decoder))
    }
}

impl Unseal for Opener {
    fn unseal(&self, stored: &[u8], limit: Bytes) -> Result<Vec<u8>, VolumeError> {
        let mut plain = Vec::new();
        self.reader(stored, true)?
            .take(limit.0.saturating_add(1))
            .read_to_end(&mut plain)
            .map_err(|error| VolumeError::Damaged(format!("sealed part: {error}")))?;
        if plain.len() as u64 > limit.0 {
            return Err(VolumeError::Limit {
                what: "the opened sealed part",
                limit,
                found: Bytes(plain.len() as u64),
            });
        }
        Ok(plain)
    }
}

/// A fresh key pair.
pub struct GeneratedIdentity {
    /// The secret, `AGE-SECRET-KEY-1…`: a file of one line, mode 0600.
    pub identity: String,
    /// The public half, `age1…`.
    pub recipient: String,
}

/// Draws a key pair from the operating system's generator.
pub fn generate_identity() -> GeneratedIdentity {
    let identity = age::x25519::Identity::generate();
    GeneratedIdentity {
        recipient: identity.to_public().to_string(),
        identity: identity.to_string().expose_secret().to_owned(),
    }
}
