//! Replacing small files so that a kill leaves the old one or the new one.

use crate::error::SimError;
use std::path::Path;

/// Writes `bytes` beside `path` and renames over it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), SimError> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).map_err(SimError::io("write", &beside))?;
    std::fs::rename(&beside, path).map_err(SimError::io("replace", path))
}
