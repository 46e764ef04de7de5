//! Bearer tokens: who asks, and for which services.
//!
//! A token is 32 random bytes, so a plain SHA-256 is enough to keep it by: there is no
//! dictionary to try. The text is shown once, at creation.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::Principal;
use jiff::Timestamp;
use model::{ServiceName, Sha256};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::limits;

/// What a token may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    Operator,
    /// Act for these services.
    Services(Vec<ServiceName>),
}

impl Scope {
    fn principal(&self) -> Principal {
        match self {
            Self::Operator => Principal::Operator,
            Self::Services(names) => Principal::Services(names.clone()),
        }
    }
}

/// A token's text. Not shown in `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Draws a new token: `tmk_` and 43 characters of base64url.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn draw() -> Result<Self, TokenError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| TokenError::Randomness(error.to_string()))?;
        Ok(Self(format!("tmk_{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The text. To be shown to its owner once, or written to a file of mode 0600.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A token without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Its name, unique.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Why the tokens could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The name is empty, too long, or has characters that do not stand in a log line.
    #[error("token name: expected 1 to 64 of A-Z a-z 0-9 - _ ., found {0:?}")]
    Name(String),
    /// There is one of that name.
    #[error("token name: expected a new name, found {0:?} in use")]
    Exists(String),
    /// There is none of that name.
    #[error("no token {0:?}")]
    Unknown(String),
    /// There are too many.
    #[error("expected at most {} tokens", limits::MAX_TOKENS)]
    TooMany,
    /// Somebody else issues the tokens.
    #[error("expected an installation that issues tokens, found one whose identity provider does")]
    IssuedElsewhere,
    /// The operating system has no randomness.
    #[error("no randomness: {0}")]
    Randomness(String),
    /// The file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The tokens of an installation.
pub trait TokenStore: Send + Sync {
    /// Who the bearer of this token is, named after the token.
    fn authenticate(&self, token: &str) -> Option<Principal>;

    /// Makes a token.
    ///
    /// # Errors
    /// [`TokenError`], where the name is no name or taken, or the store cannot be written.
    fn create(&self, name: &str, scope: Scope, now: Timestamp) -> Result<Secret, TokenError>;

    /// All tokens, by name.
    fn list(&self) -> Vec<TokenInfo>;

    /// Forgets a token.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], or the store cannot be written.
    fn revoke(&self, name: &str) -> Result<(), TokenError>;
}

/// No tokens: an identity provider issues them, and who checked one puts a
/// [`Caller`](crate::Caller) into the request's extensions.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTokens;

impl TokenStore for NoTokens {
    fn authenticate(&self, _token: &str) -> Option<Principal> {
        None
    }

    fn create(&self, _name: &str, _scope: Scope, _now: Timestamp) -> Result<Secret, TokenError> {
        Err(TokenError::IssuedElsewhere)
    }

    fn list(&self) -> Vec<TokenInfo> {
        Vec::new()
    }

    fn revoke(&self, _name: &str) -> Result<(), TokenError> {
        Err(TokenError::IssuedElsewhere)
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    sha256: Sha256,
    #[serde(flatten)]
    info: TokenInfo,
}

/// Tokens as digests in one JSON file of mode 0600, replaced as a whole.
pub struct FileTokens {
    path: PathBuf,
    kept: RwLock<BTreeMap<String, Kept>>,
}

impl FileTokens {
    /// The tokens in this file; none where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or is not as written here.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, TokenError> {
        let path = path.into();
        let list: Vec<Kept> = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| TokenError::File {
                path: path.clone(),
                source: error.into(),
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(TokenError::File { path, source }),
        };
        let kept = list
            .into_iter()
            .map(|kept| (kept.info.name.clone(), kept))
            .collect();
        Ok(Self {
            path,
            kept: RwLock::new(kept),
        })
    }

    fn save(&self, kept: &BTreeMap<String, Kept>) -> Result<(), TokenError> {
        let list: Vec<&Kept> = kept.values().collect();
        let body = serde_json::to_vec_pretty(&list).map_err(|error| TokenError::File {
            path: self.path.clone(),
            source: error.into(),
        })?;
        write_private(&self.path, &body).map_err(|source| TokenError::File {
            path: self.path.clone(),
            source,
        })
    }
}

/// Replaces a file by one of mode 0600 that is on disk when this returns.
fn write_private(path: &Path, body: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let part = path.with_extension("part");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(body)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

impl TokenStore for FileTokens {
    fn authenticate(&self, token: &str) -> Option<Principal> {
        // Digests are compared, not texts: how long that takes tells nothing of a token.
        let digest = Sha256(sha2::Sha256::digest(token.as_bytes()).into());
        let kept = self.kept.read();
        let found = kept.values().find(|kept| kept.sha256 == digest)?;
        Some(found.info.scope.principal().named(&found.info.name))
    }

    fn create(&self, name: &str, scope: Scope, now: Timestamp) -> Result<Secret, TokenError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > limits::MAX_TOKEN_NAME_BYTES || !name.chars().all(plain)
        {
            return Err(TokenError::Name(name.chars().take(80).collect()));
        }
        let secret = Secret::draw()?;
        let mut kept = self.kept.write();
        if kept.contains_key(name) {
            return Err(TokenError::Exists(name.to_owned()));
        }
        if kept.len() >= limits::MAX_TOKENS {
            return Err(TokenError::TooMany);
        }
        let mut next = kept.clone();
        let info = TokenInfo {
            name: name.to_owned(),
            scope,
            created_at: now,
        };
        let sha256 = Sha256(sha2::Sha256::digest(secret.expose().as_bytes()).into());
        next.insert(name.to_owned(), Kept { sha256, info });
        self.save(&next)?;
        *kept = next;
        Ok(secret)
    }

    fn list(&self) -> Vec<TokenInfo> {
        self.kept
            .read()
            .values()
            .map(|kept| kept.info.clone())
            .collect()
    }

    fn revoke(&self, name: &str) -> Result<(), TokenError> {
        let mut kept = self.kept.write();
        let mut next = kept.clone();
        if next.remove(name).is_none() {
            return Err(TokenError::Unknown(name.to_owned()));
        }
        self.save(&next)?;
        *kept = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_outlives_the_process_and_its_text_is_kept_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let services: Vec<ServiceName> = vec!["payments".parse().unwrap()];
        let secret = FileTokens::open(&path)
            .unwrap()
            .create(
                "ci",
                Scope::Services(services.clone()),
                Timestamp::UNIX_EPOCH,
            )
            .unwrap();
        let again = FileTokens::open(&path).unwrap();
        assert_eq!(
            again.authenticate(secret.expose()),
            Some(Principal::Services(services).named("ci"))
        );
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(secret.expose()));
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        again.revoke("ci").unwrap();
        assert_eq!(again.authenticate(secret.expose()), None);
        assert_eq!(FileTokens::open(&path).unwrap().list(), []);
    }

    #[test]
    fn a_name_is_used_once_and_fits_a_log_line() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = FileTokens::open(dir.path().join("tokens.json")).unwrap();
        tokens
            .create("a", Scope::Operator, Timestamp::UNIX_EPOCH)
            .unwrap();
        for bad in ["a", "", "a b", "a\n", &"x".repeat(65)] {
            assert!(
                tokens
                    .create(bad, Scope::Operator, Timestamp::UNIX_EPOCH)
                    .is_err(),
                "{bad:?}"
            );
        }
        assert_eq!(tokens.list().len(), 1);
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::draw().unwrap()), "Secret(…)");
    }
}
