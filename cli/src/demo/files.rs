//! Real files, dealt out to services.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::DemoArgs;
use crate::failure::Failure;
use crate::out::Out;
use crate::submit::hash;

/// The most files looked at: more would only make the beginning slow.
const MAX_FILES: usize = 50_000;
/// A file larger than this share of all bytes would make the services too unequal.
const LARGEST_SHARE: u64 = 32;
/// How many files a service has.
const FILES_PER_SERVICE: std::ops::RangeInclusive<usize> = 3..=8;
/// Directories of no interest, and those that a build is writing to.
const SKIPPED: [&str; 4] = [".git", "incremental", "node_modules", ".tapemark"];

/// A real file with its content's digest.
#[derive(Clone, Debug)]
pub(super) struct RealFile {
    /// Where its copy is; canonical.
    pub(super) path: PathBuf,
    /// Its name as an artifact.
    pub(super) name: String,
    /// Its size in bytes.
    pub(super) size: u64,
    /// Its SHA-256.
    pub(super) sha256: String,
}

/// The services, each with its files.
pub(super) struct Deck {
    /// By service; every list has files of different names.
    pub(super) hands: Vec<Vec<RealFile>>,
}

/// Where the files come from: `--from`, or the sources this program was built from and
/// what lies beside it.
pub(super) fn roots(from: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    if let Some(dir) = from {
        return Ok(vec![dir.canonicalize().map_err(|error| {
            Failure::Usage(format!(
                "--from: expected a directory, found {}: {error}",
                dir.display()
            ))
        })?]);
    }
    let mut roots = Vec::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    if let Some(sources) = sources.filter(|dir| dir.join("Cargo.toml").is_file()) {
        roots.push(sources.canonicalize()?);
    }
    if let Some(beside) = std::env::current_exe()?.parent() {
        roots.push(beside.canonicalize()?);
    }
    roots.dedup();
    Ok(roots)
}

impl Deck {
    /// Looks for files, deals them out by the seed, and copies what was dealt to `place`.
    ///
    /// # Errors
    /// When there are too few files, or one cannot be read.
    pub(super) async fn gather(
        out: &Out,
        roots: &[PathBuf],
        args: &DemoArgs,
        random: &mut ChaCha8Rng,
        place: &Path,
    ) -> Result<Self, Failure> {
        let largest = (args.bytes.0 / LARGEST_SHARE).max(1);
        let mut found = BTreeMap::new();
        for root in roots {
            look(root, root, largest, &mut found);
        }
        if found.len() < *FILES_PER_SERVICE.end() {
            return Err(Failure::Usage(format!(
                "expected at least {} files in {}, found {}; name another directory with --from",
                FILES_PER_SERVICE.end(),
                roots
                    .iter()
                    .map(|root| root.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
                found.len()
            )));
        }
        let mut files: Vec<(PathBuf, String, u64)> = found
            .into_iter()
            .map(|(path, (name, size))| (path, name, size))
            .collect();
        files.shuffle(random);
        let hands = deal(&files, args.services as usize, args.bytes.0, random);
        std::fs::create_dir_all(place)?;
        Self::copy(out, &files, hands, &place.canonicalize()?).await
    }

    /// Copies what was dealt, so that a build next door cannot change it meanwhile, and
    /// hashes the copies.
    async fn copy(
        out: &Out,
        files: &[(PathBuf, String, u64)],
        hands: Vec<Vec<usize>>,
        place: &Path,
    ) -> Result<Self, Failure> {
        let mut wanted: Vec<usize> = hands.iter().flatten().copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let bar = out.bytes_bar("take files", wanted.iter().map(|n| files[*n].2).sum());
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let hashed: BTreeMap<usize, RealFile> = stream::iter(wanted)
            .map(|n| {
                let (path, name, _) = files[n].clone();
                let bar = bar.clone();
                let copy = place.join(n.to_string());
                async move {
                    let of = copy.clone();
                    let (size, sha256) = tokio::task::spawn_blocking(move || {
                        std::fs::copy(&path, &of)?;
                        hash(&of, &bar)
                    })
                    .await??;
                    let path = copy;
                    Ok::<_, Failure>((
                        n,
                        RealFile {
                            path,
                            name,
                            size,
                            sha256,
                        },
                    ))
                }
            })
            .buffer_unordered(cores)
            .try_collect()
            .await?;
        bar.finish_and_clear();
        let hands = hands
            .into_iter()
            .map(|hand| hand.iter().filter_map(|n| hashed.get(n).cloned()).collect())
            .collect();
        Ok(Self { hands })
    }

    /// How many files were dealt.
    pub(super) fn files(&self) -> usize {
        self.hands.iter().map(Vec::len).sum()
    }

    /// How many bytes were dealt.
    pub(super) fn bytes(&self) -> u64 {
        self.hands.iter().flatten().map(|file| file.size).sum()
    }
}

/// Finds regular files whose names are artifact names. What cannot be read is left out: it
/// is a demo of what can.
fn look(dir: &Path, root: &Path, largest: u64, found: &mut BTreeMap<PathBuf, (String, u64)>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if found.len() >= MAX_FILES {
            return;
        }
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let path = entry.path();
        if kind.is_dir() {
            let name = entry.file_name();
            let skipped = SKIPPED.iter().any(|skipped| name == *skipped)
                || path.join("CACHEDIR.TAG").is_file();
            if !skipped {
                look(&path, root, largest, found);
            }
        } else if kind.is_file()
            && let Ok(metadata) = entry.metadata()
            && metadata.len() <= largest
            && let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str)
            && name.parse::<model::ArtifactName>().is_ok()
        {
            found.insert(path.clone(), (name.to_owned(), metadata.len()));
        }
    }
}

/// Deals indexes of `files` to `services`: each gets several files of different names, the
/// first of them as large as the budget allows.
fn deal(
    files: &[(PathBuf, String, u64)],
    services: usize,
    budget: u64,
    random: &mut ChaCha8Rng,
) -> Vec<Vec<usize>> {
    let share = budget / services.max(1) as u64;
    let mut turn = (0..files.len()).cycle();
    let mut left = budget;
    (0..services)
        .map(|n| {
            // What earlier services left over may be used up.
            let allowance = left.saturating_sub(share * (services - n - 1) as u64);
            let count = random.random_range(FILES_PER_SERVICE);
            let mut hand: Vec<usize> = Vec::with_capacity(count);
            let mut bytes = 0;
            // Once around the table at most: then the hand is as full as it gets.
            for file in turn.by_ref().take(files.len()) {
                let (_, name, size) = &files[file];
                let known = hand.iter().any(|other| files[*other].1 == *name);
                if !known && bytes + size <= allowance {
                    hand.push(file);
                    bytes += size;
                }
                if hand.len() == count {
                    break;
                }
            }
            left = left.saturating_sub(bytes);
            hand
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn pile(sizes: &[u64]) -> Vec<(PathBuf, String, u64)> {
        sizes
            .iter()
            .enumerate()
            .map(|(n, size)| (PathBuf::new(), n.to_string(), *size))
            .collect()
    }

    #[test]
    fn the_same_seed_deals_the_same_hands_within_the_budget() {
        let files = pile(&(0..500).map(|n| (n * 37) % 4000).collect::<Vec<_>>());
        let deal = |seed| deal(&files, 100, 300_000, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(deal(1), deal(1));
        assert_ne!(deal(1), deal(2));
        let hands = deal(1);
        let total: u64 = hands.iter().flatten().map(|n| files[*n].2).sum();
        assert!(total <= 300_000, "{total}");
        for hand in &hands {
            assert!(!hand.is_empty());
            let mut names = hand.clone();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), hand.len());
        }
    }
}
