//! From paths to artifacts: look through directories, hash what is found, on all cores.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use model::{ArtifactName, ArtifactSource, Code, Refusal};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::plan::{ArtifactPlan, MemberPlan};
use crate::failure::{Failure, No};
use crate::out::Out;

/// How much of a file is read at once.
const CHUNK: usize = 1 << 20;
/// The deepest directory: more is a loop of mounts or a mistake.
const MAX_DEPTH: usize = 128;

/// An artifact on its way: what is not known yet is read from its file.
struct Found {
    name: String,
    source: String,
    file: Option<PathBuf>,
    size: Option<u64>,
    sha256: Option<String>,
}

/// The members as the API takes them (`MemberInput`), every file hashed.
///
/// # Errors
/// Every name that is no artifact name and every path that is no file, with its field.
pub(crate) async fn gather(out: &Out, members: Vec<MemberPlan>) -> Result<Vec<Value>, Failure> {
    let mut refusals: Vec<No> = Vec::new();
    let mut found: Vec<Vec<Found>> = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let mut list = Vec::new();
        for path in &member.paths {
            if let Err(refusal) = look(path, &mut list) {
                refusals.push(refusal.at(format!("members[{index}]")).into());
            }
        }
        for artifact in &member.artifacts {
            list.push(written_out(artifact));
        }
        for (place, artifact) in list.iter().enumerate() {
            // The API checks names too. Found here, nothing needs to be hashed.
            if let Err(error) = artifact.name.parse::<ArtifactName>() {
                let refusal = Refusal::new(Code::InvalidArtifactName, error.to_string());
                refusals.push(
                    refusal
                        .at(format!("members[{index}].artifacts[{place}].name"))
                        .into(),
                );
            }
        }
        found.push(list);
    }
    if !refusals.is_empty() {
        return Err(Failure::Refused(refusals));
    }
    hash_all(out, &mut found).await?;
    Ok(members
        .iter()
        .zip(found)
        .map(|(member, list)| member_input(member, &list))
        .collect())
}

fn written_out(plan: &ArtifactPlan) -> Found {
    let file = match plan.source.parse() {
        Ok(ArtifactSource::File { path }) => Some(PathBuf::from(path)),
        _ => None,
    };
    Found {
        name: plan.name.clone(),
        source: plan.source.clone(),
        file,
        size: plan.size,
        sha256: plan.sha256.clone(),
    }
}

fn member_input(member: &MemberPlan, list: &[Found]) -> Value {
    let artifacts: Vec<Value> = list
        .iter()
        .map(|found| {
            json!({
                "name": found.name,
                "source": found.source,
                "size": found.size.unwrap_or_default(),
                "sha256": found.sha256.as_deref().unwrap_or_default(),
            })
        })
        .collect();
    let mut input = json!({
        "service": member.service,
        "version": member.version,
        "artifacts": artifacts,
    });
    for (key, value) in [
        ("parent", &member.parent),
        ("branch", &member.branch),
        ("provenance", &member.provenance),
    ] {
        if let Some(value) = value {
            input[key] = value.as_str().into();
        }
    }
    input
}

/// The files at a path: itself, or everything in it, by name.
fn look(path: &Path, list: &mut Vec<Found>) -> Result<(), Refusal> {
    let metadata = std::fs::metadata(path).map_err(|error| missing(path, &error.to_string()))?;
    if metadata.is_dir() {
        return walk(path, "", 0, list);
    }
    let name = path.file_name().unwrap_or_default();
    push(path, &metadata, name.to_string_lossy().into_owned(), list)
}

fn missing(path: &Path, found: &str) -> Refusal {
    let message = format!(
        "{}: expected a file or a directory, found {found}",
        path.display()
    );
    Refusal::new(Code::ArtifactMissing, message)
}

fn walk(dir: &Path, prefix: &str, depth: usize, list: &mut Vec<Found>) -> Result<(), Refusal> {
    if depth > MAX_DEPTH {
        return Err(missing(
            dir,
            &format!("more than {MAX_DEPTH} directories in one another"),
        ));
    }
    let broken = |error: std::io::Error| missing(dir, &error.to_string());
    let mut entries: Vec<_> = std::fs::read_dir(dir)
        .map_err(broken)?
        .collect::<Result<_, _>>()
        .map_err(broken)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let part = entry.file_name();
        let Some(part) = part.to_str() else {
            return Err(Refusal::new(
                Code::InvalidArtifactName,
                format!(
                    "{}: expected a name in UTF-8, found other bytes",
                    path.display()
                ),
            ));
        };
        let name = format!("{prefix}{part}");
        let kind = entry.file_type().map_err(broken)?;
        if kind.is_dir() {
            walk(&path, &format!("{name}/"), depth + 1, list)?;
            continue;
        }
        let metadata =
            std::fs::metadata(&path).map_err(|error| missing(&path, &error.to_string()))?;
        if kind.is_symlink() && metadata.is_dir() {
            return Err(missing(
                &path,
                "a symbolic link to a directory, which would be left out or followed in circles; \
                 name its target as a path of its own",
            ));
        }
        push(&path, &metadata, name, list)?;
    }
    Ok(())
}

fn push(
    path: &Path,
    metadata: &std::fs::Metadata,
    name: String,
    list: &mut Vec<Found>,
) -> Result<(), Refusal> {
    if !metadata.is_file() {
        return Err(missing(path, "a device, a pipe or a socket"));
    }
    // The real path: the stack checks the place of the bytes, not of a link to them.
    let real = path
        .canonicalize()
        .map_err(|error| missing(path, &error.to_string()))?;
    let Some(text) = real.to_str() else {
        return Err(Refusal::new(
            Code::InvalidArtifactName,
            format!(
                "{}: expected a path in UTF-8, found other bytes",
                real.display()
            ),
        ));
    };
    list.push(Found {
        name,
        source: format!("file://{text}"),
        file: Some(real.clone()),
        size: None,
        sha256: None,
    });
    Ok(())
}

async fn hash_all(out: &Out, found: &mut [Vec<Found>]) -> Result<(), Failure> {
    let mut work = Vec::new();
    let mut total = 0;
    for list in found.iter() {
        for artifact in list {
            if let Some(file) = &artifact.file
                && (artifact.size.is_none() || artifact.sha256.is_none())
            {
                total += std::fs::metadata(file).map_or(0, |metadata| metadata.len());
                work.push(file.clone());
            }
        }
    }
    let bar = out.bytes_bar("hash", total);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut digests: Vec<(u64, String)> = stream::iter(work)
        .map(|file| {
            let bar = bar.clone();
            async move { tokio::task::spawn_blocking(move || hash(&file, &bar)).await? }
        })
        .buffered(cores)
        .try_collect()
        .await?;
    bar.finish_and_clear();
    let mut digests = digests.drain(..);
    for artifact in found.iter_mut().flatten() {
        if artifact.file.is_some() && (artifact.size.is_none() || artifact.sha256.is_none()) {
            let Some((size, sha256)) = digests.next() else {
                break;
            };
            artifact.size.get_or_insert(size);
            artifact.sha256.get_or_insert(sha256);
        }
    }
    Ok(())
}

/// Size and SHA-256 of a file, of the same bytes.
pub(crate) fn hash(path: &Path, bar: &ProgressBar) -> Result<(u64, String), Failure> {
    let gone =
        |error: std::io::Error| Failure::Refused(vec![missing(path, &error.to_string()).into()]);
    let mut file = File::open(path).map_err(gone)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let n = file.read(&mut buffer).map_err(gone)?;
        if n == 0 {
            break;
        }
        digest.update(&buffer[..n]);
        size += n as u64;
        bar.inc(n as u64);
    }
    Ok((size, model::Sha256(digest.finalize().into()).to_hex()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn plan(path: &Path) -> Vec<MemberPlan> {
        vec![MemberPlan {
            service: "s".into(),
            version: "1".into(),
            paths: vec![path.to_owned()],
            ..MemberPlan::default()
        }]
    }

    async fn names(path: &Path) -> Result<Vec<String>, Failure> {
        let members = gather(&Out::new(true, true), plan(path)).await?;
        let artifacts = members[0]["artifacts"].as_array().unwrap();
        Ok(artifacts
            .iter()
            .map(|a| a["name"].as_str().unwrap().to_owned())
            .collect())
    }

    #[tokio::test]
    async fn a_directory_is_taken_whole_in_one_order() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("b/c")).unwrap();
        for (name, text) in [("z", "1"), ("b/c/y", "22"), ("a", "")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        symlink(dir.path().join("z"), dir.path().join("link")).unwrap();
        assert_eq!(
            names(dir.path()).await.unwrap(),
            ["a", "b/c/y", "link", "z"]
        );
        let members = gather(&Out::new(true, true), plan(&dir.path().join("b")))
            .await
            .unwrap();
        let artifact = &members[0]["artifacts"][0];
        assert_eq!(artifact["size"], 2);
        let digest = model::Sha256(Sha256::digest(b"22").into()).to_hex();
        assert_eq!(artifact["sha256"], digest);
    }

    #[tokio::test]
    async fn what_would_be_left_out_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        symlink(dir.path(), inner.join("loop")).unwrap();
        assert!(names(&inner).await.unwrap_err().is(Code::ArtifactMissing));
        std::fs::remove_file(inner.join("loop")).unwrap();
        symlink("nowhere", inner.join("dangling")).unwrap();
        assert!(names(&inner).await.unwrap_err().is(Code::ArtifactMissing));
        assert!(
            names(&dir.path().join("none"))
                .await
                .unwrap_err()
                .is(Code::ArtifactMissing)
        );
    }

    #[tokio::test]
    async fn every_bad_name_is_told_with_its_field() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("back\\slash"), "x").unwrap();
        std::fs::write(dir.path().join("line\nbreak"), "x").unwrap();
        std::fs::write(dir.path().join("fine"), "x").unwrap();
        let failure = names(dir.path()).await.unwrap_err();
        let fields: Vec<_> = failure
            .reasons()
            .into_iter()
            .map(|no| no.field.unwrap())
            .collect();
        assert_eq!(
            fields,
            [
                "members[0].artifacts[0].name",
                "members[0].artifacts[2].name"
            ]
        );
        assert!(failure.is(Code::InvalidArtifactName));
    }
}
