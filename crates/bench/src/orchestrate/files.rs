//! The artifacts, and what the disk can do with the same bytes.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use model::Bytes;
use rand::RngCore as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use sha2::Digest as _;

/// A file with bytes that no compressor makes smaller.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub size: Bytes,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
}

/// Writes artifact number `number` into a directory: a pure function of its number.
///
/// # Errors
/// When the file cannot be written.
pub fn make(dir: &Path, number: u64, size: Bytes) -> anyhow::Result<Artifact> {
    let mut content = vec![0; usize::try_from(size.0)?];
    ChaCha8Rng::seed_from_u64(number).fill_bytes(&mut content);
    let path = dir.join(format!("{number:05}.bin"));
    fs::write(&path, &content).with_context(|| format!("writing {}", path.display()))?;
    Ok(Artifact {
        path,
        size,
        sha256: hex::encode(sha2::Sha256::digest(&content)),
    })
}

/// How long a plain sequential write of so many bytes to one file takes, fsync included: the
/// physical limit of anything that makes these bytes durable on this disk once.
///
/// # Errors
/// When the file cannot be written.
pub fn plain_write(dir: &Path, bytes: Bytes) -> anyhow::Result<Duration> {
    const CHUNK: usize = 1 << 20;
    let mut content = vec![0; CHUNK];
    ChaCha8Rng::seed_from_u64(0).fill_bytes(&mut content);
    let path = dir.join("plain-write");
    let begin = Instant::now();
    let mut file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let mut left = bytes.0;
    while left > 0 {
        let now = left.min(CHUNK as u64);
        file.write_all(&content[..now as usize])?;
        left -= now;
    }
    file.sync_all()?;
    let took = begin.elapsed();
    fs::remove_file(&path)?;
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let size = Bytes::kib(3);
        let one = make(dir.path(), 1, size).unwrap();
        let content = fs::read(&one.path).unwrap();
        assert_eq!(content.len(), 3 * 1024);
        assert_eq!(hex::encode(sha2::Sha256::digest(&content)), one.sha256);
        assert_eq!(make(dir.path(), 1, size).unwrap().sha256, one.sha256);
        assert_ne!(make(dir.path(), 2, size).unwrap().sha256, one.sha256);
    }

    #[test]
    fn a_plain_write_takes_time_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(plain_write(dir.path(), Bytes(3_000_000)).unwrap() > Duration::ZERO);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
