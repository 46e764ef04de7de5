//! The agent's own key: a file that only its owner reads.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use wire::SecretKey;

/// Reads a key.
///
/// # Errors
/// When the file is not there, may be read by others, or holds no key.
pub(crate) fn load(path: &Path) -> anyhow::Result<SecretKey> {
    let about = || format!("the agent's key, control.key_file {}", path.display());
    let metadata = std::fs::metadata(path).with_context(|| {
        format!(
            "{}: an agent has one once it is enrolled: tapemark-agent enrol",
            about()
        )
    })?;
    anyhow::ensure!(
        metadata.mode() & 0o077 == 0,
        "{}: expected a file that only its owner may read, found mode {:o}; chmod 600 it",
        about(),
        metadata.mode() & 0o777
    );
    let text = std::fs::read_to_string(path).with_context(about)?;
    SecretKey::parse(&text)
        .map_err(anyhow::Error::msg)
        .with_context(about)
}

/// The key of the file, drawn where there is none: a question that was not answered is
/// asked again with the same key.
///
/// # Errors
/// As [`load`], and when the file cannot be made.
pub(crate) fn load_or_draw(path: &Path) -> anyhow::Result<SecretKey> {
    let making = || format!("making the key {}", path.display());
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(directory).with_context(making)?;
    let mut options = File::options();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    match opened {
        Ok(mut file) => {
            let key = SecretKey::generate();
            file.write_all(key.to_text().as_bytes())
                .and_then(|()| file.sync_all())
                .and_then(|()| File::open(directory)?.sync_all())
                .with_context(making)?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => load(path),
        Err(error) => Err(error).with_context(making),
    }
}

/// Where the key lies that is to come next.
pub(crate) fn next(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    PathBuf::from(name)
}

/// Puts the next key in the place of the one before.
///
/// # Errors
/// When the file cannot be renamed.
pub(crate) fn promote(path: &Path) -> anyhow::Result<()> {
    std::fs::rename(next(path), path)
        .with_context(|| format!("putting the new key in place of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_drawn_once_and_kept_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/agent.key");
        assert!(
            load(&path)
                .unwrap_err()
                .to_string()
                .contains("tapemark-agent enrol")
        );
        let key = load_or_draw(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load_or_draw(&path).unwrap().public(), key.public());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("mode 644"));
    }
}
