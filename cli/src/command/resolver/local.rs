//! What the offline commands share: components and records as files.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use model::{Code, MAX_COMPONENT_BYTES, Refusal};
use resolver::HostError;

use crate::failure::Failure;

/// True where the built-in policy is meant.
pub(super) fn is_native(component: &Path) -> bool {
    component.as_os_str() == "native"
}

/// Reads a component, no more of it than may be published.
pub(super) fn read_component(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(MAX_COMPONENT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(Failure::no(
            Code::ResolverInvalid,
            format!(
                "{}: expected at most {MAX_COMPONENT_BYTES} bytes, found more",
                path.display()
            ),
        ));
    }
    Ok(bytes)
}

/// Writes a file, and the folders it lies in.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    let context = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(context)?;
    }
    Ok(fs::write(path, contents).with_context(context)?)
}

/// A refusal as this command tells it.
pub(super) fn refused(refusal: Refusal) -> Failure {
    Failure::Refused(vec![refusal.into()])
}

/// What the host says, as this command tells it.
pub(super) fn host(error: HostError) -> Failure {
    match error {
        HostError::Refused(refusal) => refused(refusal),
        other => Failure::Other(other.into()),
    }
}
