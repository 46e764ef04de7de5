//! What the stack keeps in its data directory besides the catalogue: its setup, its keys,
//! and where it is.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
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
/// The catalogue, as the embedded stack names it.
const CATALOGUE_FILE: &str = "catalogue.redb";
/// What the endpoints keep, where catalogue and objects are behind them.
pub(super) const ENDPOINTS_DIR: &str = "aws";
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

/// Where an installation's catalogue is is settled by its first start.
pub(super) fn check_place(data_dir: &Path, setup: &Setup) -> Result<(), Failure> {
    let is_there = data_dir.join(CATALOGUE_FILE).try_exists()?;
    let is_behind_endpoints = data_dir.join(ENDPOINTS_DIR).try_exists()?;
    let no = |found: &str| {
        Err(Failure::Usage(format!(
            "--aws-endpoints: {} has its catalogue {found}; name another data directory, or {}",
            data_dir.display(),
            if is_behind_endpoints {
                "give --aws-endpoints"
            } else {
                "leave --aws-endpoints out"
            }
        )))
    };
    match setup.aws_endpoints {
        Some(_) if is_there && !is_behind_endpoints => no("in a file of its own"),
        None if is_behind_endpoints => no("behind its AWS endpoints"),
        _ => Ok(()),
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

/// The age identity's file and its recipient; drawn before there is a catalogue and never
/// again. It must be on disk before anything is written to tape that needs it.
///
/// # Errors
/// [`Failure::Usage`] where it is lost: a catalogue may name tapes that only it opens.
pub(super) fn age_identity(data_dir: &Path) -> Result<(PathBuf, String), Failure> {
    let keys = data_dir.join("keys");
    let path = keys.join(IDENTITY_FILE);
    loop {
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
                return Ok((path, identity.to_public().to_string()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let catalogue = data_dir.join(CATALOGUE_FILE);
        if catalogue.try_exists()? {
            return Err(Failure::Usage(format!(
                "{}: expected the age identity that opens what {} has on tape, found no such \
                 file; put your copy of it there. A new one would not open what is written. \
                 Where nothing on tape is needed any more, name another data directory",
                path.display(),
                catalogue.display()
            )));
        }
        let identity = age::x25519::Identity::generate();
        let text = format!(
            "# Opens what this installation writes to tape. Keep a copy in a safe place:\n\
             # without it nothing on tape can be read.\n# public key: {}\n{}\n",
            identity.to_public(),
            identity.to_string().expose_secret()
        );
        keep_first(&keys, &path, text.as_bytes())?;
    }
}

/// Writes a file of mode 0600 that stays what it is where another process was first. File
/// and name are on disk when this returns.
fn keep_first(directory: &Path, path: &Path, body: &[u8]) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(body)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(lost) if lost.error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(lost) => return Err(lost.error),
    }
    std::fs::File::open(directory)?.sync_all()?;
    match directory.parent() {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
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
    fn an_identity_that_was_there_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (file, recipient) = age_identity(dir.path()).unwrap();
        let kept = std::fs::read(&file).unwrap();
        // Another process was first.
        keep_first(&dir.path().join("keys"), &file, b"another").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), kept);
        std::fs::write(dir.path().join(CATALOGUE_FILE), "").unwrap();
        assert_eq!(age_identity(dir.path()).unwrap().1, recipient);
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(age_identity(dir.path()), Err(Failure::Usage(_))));
        assert!(!file.exists());
    }

    #[test]
    fn keys_are_drawn_once() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = FileTokens::open(dir.path().join("tokens.json")).unwrap();
        let token = operator_token(dir.path(), &tokens).unwrap();
        assert_eq!(operator_token(dir.path(), &tokens).unwrap(), token);
        let (file, recipient) = age_identity(dir.path()).unwrap();
        assert_eq!(age_identity(dir.path()).unwrap(), (file, recipient));
        // A token file that does not fit the tokens is replaced, not believed.
        std::fs::write(dir.path().join(TOKEN_FILE), "guess").unwrap();
        let new = operator_token(dir.path(), &tokens).unwrap();
        assert!(tokens.authenticate(&new).is_some());
        assert!(tokens.authenticate(&token).is_none());
    }
}
