//! What the stack keeps in its data directory besides the catalogue: its setup, its keys,
//! and where it is.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use api::{FileTokens, Scope, TokenStore};
use jiff::Timestamp;
use tapemark_agent::AgentConfig;

use super::Setup;
use crate::connection::TOKEN_FILE;
use crate::failure::Failure;

/// The setup of the last start.
const SETUP_FILE: &str = "up.toml";
/// The agent's configuration.
const AGENT_FILE: &str = "agent.toml";
/// The identity that opens what is on tape.
const IDENTITY_FILE: &str = "age-identity.txt";
/// The name of the token that `up` makes for the CLI.
const OPERATOR: &str = "operator";

/// Replaces a file by one of mode 0600 that is on disk when this returns.
pub(super) fn write(path: &Path, body: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let part = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(body)?;
    file.sync_all()?;
    std::fs::rename(&part, path)
}

/// The setup of the last start, or the default.
pub(super) fn last_setup(data_dir: &Path) -> Result<Setup, Failure> {
    let path = data_dir.join(SETUP_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map_err(|error| Failure::Usage(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Setup::default()),
        Err(error) => Err(error.into()),
    }
}

/// Keeps the setup for the next start.
pub(super) fn keep_setup(data_dir: &Path, setup: &Setup) -> Result<(), Failure> {
    Ok(write(
        &data_dir.join(SETUP_FILE),
        toml::to_string(setup)?.as_bytes(),
    )?)
}

/// The operator's token: the one in the file, or a new one where that is not known.
pub(super) fn operator_token(data_dir: &Path, tokens: &FileTokens) -> Result<String, Failure> {
    let path = data_dir.join(TOKEN_FILE);
    if let Ok(text) = std::fs::read_to_string(&path)
        && tokens.authenticate(text.trim()).is_some()
    {
        return Ok(text.trim().to_owned());
    }
    if tokens.list().iter().any(|token| token.name == OPERATOR) {
        tokens.revoke(OPERATOR)?;
    }
    let secret = tokens.create(OPERATOR, Scope::Operator, Timestamp::now())?;
    write(&path, format!("{}\n", secret.expose()).as_bytes())?;
    Ok(secret.expose().to_owned())
}

/// The age identity's file and its recipient; drawn at the first start and never again.
pub(super) fn age_identity(keys: &Path) -> Result<(PathBuf, String), Failure> {
    let path = keys.join(IDENTITY_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let line = text
                .lines()
                .find(|line| line.starts_with("AGE-SECRET-KEY-"));
            let identity: Result<age::x25519::Identity, _> = line.unwrap_or_default().parse();
            let identity = identity.map_err(|error| {
                Failure::Usage(format!(
                    "{}: expected an age identity: {error}",
                    path.display()
                ))
            })?;
            Ok((path, identity.to_public().to_string()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let identity = age::x25519::Identity::generate();
            let recipient = identity.to_public().to_string();
            let text = format!(
                "# Opens what this installation writes to tape. Keep a copy in a safe place:\n\
                 # without it nothing on tape can be read.\n# public key: {recipient}\n{}\n",
                identity.to_string().expose_secret()
            );
            write(&path, text.as_bytes())?;
            Ok((path, recipient))
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes the agent's configuration; it follows the setup at each start.
pub(super) fn write_agent_config(
    data_dir: &Path,
    config: &AgentConfig,
) -> Result<PathBuf, Failure> {
    let path = data_dir.join(AGENT_FILE);
    let text = format!(
        "# Written by `tapemark up` at each start.\n{}",
        toml::to_string(config)?
    );
    write(&path, text.as_bytes())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_drawn_once() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = FileTokens::open(dir.path().join("tokens.json")).unwrap();
        let token = operator_token(dir.path(), &tokens).unwrap();
        assert_eq!(operator_token(dir.path(), &tokens).unwrap(), token);
        let (file, recipient) = age_identity(&dir.path().join("keys")).unwrap();
        assert_eq!(
            age_identity(&dir.path().join("keys")).unwrap(),
            (file, recipient)
        );
        // A token file that does not fit the tokens is replaced, not believed.
        std::fs::write(dir.path().join(TOKEN_FILE), "guess").unwrap();
        let new = operator_token(dir.path(), &tokens).unwrap();
        assert!(tokens.authenticate(&new).is_some());
        assert!(tokens.authenticate(&token).is_none());
    }
}
