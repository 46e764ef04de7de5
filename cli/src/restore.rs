//! `tapemark restore`: bring a checkpoint back from tape, and prove it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use jiff::SignedDuration;
use model::{ArtifactName, CheckpointId, Code, Refusal, ServiceName};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::client::Client;
use crate::client::types::{Artifact, Member, Page, RESTORE, Restore};
use crate::failure::{Failure, No};
use crate::out::{Out, bytes};
use crate::submit::poll;

/// How many artifacts are downloaded at once.
const DOWNLOADS: usize = 4;
/// The largest page of artifacts that the API gives.
const PAGE: u32 = 2_000;
/// The longest name of a directory, in bytes: what ext4 and XFS hold.
const MAX_PART: usize = 255;

/// What `tapemark restore` is told.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Each file is compared with the SHA-256 in the catalogue before it gets its name; exit code 6
says that one was not what it should be. Of a group, each checkpoint gets a directory of its
own, named as its service with `/` as `%2F`, and `@version` where a service occurs twice.")]
pub(crate) struct RestoreArgs {
    /// The id of a checkpoint or of a group
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The directory to restore to; made where there is none
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Only these artifacts
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) only: Vec<String>,
    /// Replace files that are there
    #[arg(long)]
    pub(crate) force: bool,
    /// Give up waiting for the tape after this long
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub(crate) timeout: SignedDuration,
}

/// One checkpoint brought back.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Restored {
    /// The checkpoint.
    pub(crate) checkpoint: String,
    /// Its service.
    pub(crate) service: String,
    /// Where its files are.
    pub(crate) directory: PathBuf,
    /// How many.
    pub(crate) artifacts: usize,
    /// Their size.
    pub(crate) bytes: u64,
}

/// A checkpoint to restore.
pub(crate) struct Target {
    id: String,
    service: String,
    directory: PathBuf,
}

/// Restores a checkpoint or a group.
///
/// # Errors
/// Every reason why not; [`Failure::Mismatch`] where bytes differ from the catalogue's.
pub(crate) async fn restore(out: &Out, client: &Client, args: RestoreArgs) -> Result<(), Failure> {
    for (index, name) in args.only.iter().enumerate() {
        if let Err(error) = name.parse::<ArtifactName>() {
            let refusal = Refusal::new(Code::InvalidArtifactName, error.to_string());
            return Err(Failure::Refused(vec![
                refusal.at(format!("only[{index}]")).into(),
            ]));
        }
    }
    let targets = targets(client, &args.id, &args.to).await?;
    // Nothing is fetched before all of it is known to have a place.
    let mut lists = Vec::new();
    for target in &targets {
        lists.push(wanted(client, target, &args).await?);
    }
    let mut done = Vec::new();
    for (target, list) in targets.iter().zip(&lists) {
        done.push(fetch_all(out, client, target, list, &args).await?);
    }
    flush_to_disk(&args.to).await?;
    let artifacts: usize = done.iter().map(|one| one.artifacts).sum();
    let total: u64 = done.iter().map(|one| one.bytes).sum();
    let answer = json!({ "restored": done, "artifacts": artifacts, "bytes": total });
    out.show(&answer, |style| {
        format!(
            "{} {artifacts} artifacts, {} in {}, each equal to its SHA-256\n",
            style.green("restored"),
            bytes(total),
            args.to.display()
        )
    })
}

/// The checkpoints that an id names: itself, or a group's members each in its directory.
pub(crate) async fn targets(client: &Client, id: &str, to: &Path) -> Result<Vec<Target>, Failure> {
    #[derive(serde::Deserialize)]
    struct Found {
        id: String,
        service: String,
    }
    let query = "query($id: UUID!) { checkpoint(id: $id) { id service } }";
    match client
        .ask::<Found>("checkpoint", query, json!({ "id": id }))
        .await
    {
        Ok(found) => Ok(vec![Target {
            id: found.id,
            service: found.service,
            directory: to.to_owned(),
        }]),
        Err(failure) if failure.is(Code::NotFound) => {
            let group = match crate::submit::group(client, id).await {
                Err(no) if no.is(Code::NotFound) => return Err(failure),
                answer => answer?,
            };
            let directories = directories(&group.checkpoints)?;
            let members = group.checkpoints.into_iter().zip(directories);
            let targets = members.map(|(member, directory)| Target {
                directory: to.join(directory),
                id: member.id,
                service: member.service,
            });
            Ok(targets.collect())
        }
        Err(failure) => Err(failure),
    }
}

/// A directory name for each member of a group: one path part, and each another one, so
/// that no artifact of one member can take the place of another's.
fn directories(members: &[Member]) -> Result<Vec<String>, Failure> {
    let mut services: BTreeMap<&str, usize> = BTreeMap::new();
    let mut versions: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for member in members {
        // The catalogue holds checked names only; a foreign server may not.
        let refused = |error| Failure::no(Code::InvalidRequest, format!("a group: {error}"));
        member.service.parse::<ServiceName>().map_err(refused)?;
        member.id.parse::<CheckpointId>().map_err(refused)?;
        *services.entry(&member.service).or_default() += 1;
        let version = (member.service.as_str(), member.version.as_str());
        *versions.entry(version).or_default() += 1;
    }
    let name = |member: &Member| {
        let mut name = one_part(&member.service);
        if services[member.service.as_str()] > 1 {
            name = format!("{name}@{}", one_part(&member.version));
        }
        if versions[&(member.service.as_str(), member.version.as_str())] > 1 {
            name = format!("{name}@{}", member.id);
        }
        if name.len() > MAX_PART {
            name.clone_from(&member.id);
        }
        name
    };
    let names: Vec<String> = members.iter().map(name).collect();
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        None => Ok(names),
        Some(name) => Err(Failure::no(
            Code::InvalidRequest,
            format!("a group: expected a directory for each member, found {name:?} twice"),
        )),
    }
}

/// A text as one part of a path that says the same: what a part cannot hold, and `%` and
/// `@`, as in a URL.
fn one_part(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// Checks that each artifact has a place of its own: no name twice, none that is a
/// directory of another.
fn check_places(list: &[Artifact]) -> Result<(), Failure> {
    let mut names = BTreeSet::new();
    for artifact in list {
        // The catalogue holds checked names only; a foreign server may not.
        if let Err(error) = artifact.name.parse::<ArtifactName>() {
            return Err(Failure::no(Code::InvalidArtifactName, error.to_string()));
        }
        if !names.insert(artifact.name.as_str()) {
            let message = format!("expected each name once, found {:?} twice", artifact.name);
            return Err(Failure::no(Code::InvalidArtifactName, message));
        }
    }
    for name in &names {
        let mut above = name.match_indices('/').map(|(at, _)| &name[..at]);
        if let Some(file) = above.find(|above| names.contains(above)) {
            let message = format!("expected {file:?} to be a file or a directory, found both");
            return Err(Failure::no(Code::InvalidArtifactName, message));
        }
    }
    Ok(())
}

/// The artifacts of a checkpoint as the catalogue knows them.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn artifacts(client: &Client, id: &str) -> Result<Vec<Artifact>, Failure> {
    let query = "query($id: UUID!, $first: Int!, $after: String) { checkpoint(id: $id) { \
                 artifacts(first: $first, after: $after) { nodes { name size sha256 } \
                 pageInfo { hasNextPage endCursor } } } }";
    let mut list = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page: Page<Artifact> = client
            .ask(
                "checkpoint/artifacts",
                query,
                json!({ "id": id, "first": PAGE, "after": after }),
            )
            .await?;
        list.extend(page.nodes);
        if !page.page_info.has_next_page {
            return Ok(list);
        }
        after = page.page_info.end_cursor;
    }
}

/// Restores one checkpoint.
///
/// # Errors
/// As [`restore`].
pub(crate) async fn bring_back(
    out: &Out,
    client: &Client,
    target: &Target,
    args: &RestoreArgs,
) -> Result<Restored, Failure> {
    let list = wanted(client, target, args).await?;
    fetch_all(out, client, target, &list, args).await
}

/// The artifacts of a checkpoint that are to come back; each has a free place.
async fn wanted(
    client: &Client,
    target: &Target,
    args: &RestoreArgs,
) -> Result<Vec<Artifact>, Failure> {
    let mut list = artifacts(client, &target.id).await?;
    if !args.only.is_empty() {
        for (index, name) in args.only.iter().enumerate() {
            if !list.iter().any(|artifact| artifact.name == *name) {
                let message = format!(
                    "checkpoint {}: expected an artifact of it, found {name:?}",
                    target.id
                );
                let refusal = Refusal::new(Code::NotFound, message).at(format!("only[{index}]"));
                return Err(Failure::Refused(vec![refusal.into()]));
            }
        }
        list.retain(|artifact| args.only.contains(&artifact.name));
    }
    check_places(&list)?;
    for artifact in &list {
        let path = target.directory.join(&artifact.name);
        if !args.force && path.symlink_metadata().is_ok() {
            return Err(Failure::Usage(format!(
                "{}: expected no such file yet, found one; --force replaces it",
                path.display()
            )));
        }
    }
    Ok(list)
}

/// Has a checkpoint read from tape and fetches what is wanted of it.
async fn fetch_all(
    out: &Out,
    client: &Client,
    target: &Target,
    list: &[Artifact],
    args: &RestoreArgs,
) -> Result<Restored, Failure> {
    let request = format!(
        "mutation($id: UUID!, $only: [String!]) {{ \
         restore(checkpoint: $id, only: $only) {{ {RESTORE} }} }}"
    );
    let request: Restore = client
        .ask(
            "restore",
            &request,
            json!({ "id": target.id, "only": args.only }),
        )
        .await?;
    let line = out.spinner(&format!("{} waits for the tape", target.service));
    let restore = wait_for_restore(client, &request.id, args.timeout).await;
    line.finish_and_clear();
    let restore = restore?;
    let Some(base) = restore.download_base else {
        return Err(Failure::no(
            Code::Internal,
            format!(
                "restore {}: expected a place to fetch from, found none",
                restore.id
            ),
        ));
    };
    let total = list.iter().map(|artifact| artifact.size).sum();
    let bar = out.bytes_bar("restore", total);
    let mismatches: Vec<Option<No>> = stream::iter(list)
        .map(|artifact| fetch(client, &base, artifact, &target.directory, &bar))
        .buffered(DOWNLOADS)
        .try_collect()
        .await?;
    bar.finish_and_clear();
    let mismatches: Vec<No> = mismatches.into_iter().flatten().collect();
    if !mismatches.is_empty() {
        return Err(Failure::Mismatch(mismatches));
    }
    Ok(Restored {
        checkpoint: target.id.clone(),
        service: target.service.clone(),
        directory: target.directory.clone(),
        artifacts: list.len(),
        bytes: total,
    })
}

/// Waits for a restore, a re-verification or a scan.
///
/// # Errors
/// The reason where it failed, or as [`poll`].
pub(crate) async fn wait_for_restore(
    client: &Client,
    id: &str,
    timeout: SignedDuration,
) -> Result<Restore, Failure> {
    let query = format!("query($id: UUID!) {{ restore(id: $id) {{ {RESTORE} }} }}");
    let restore: Restore = poll(
        &format!("request {id}"),
        timeout,
        || client.ask("restore", &query, json!({ "id": id })),
        |restore: &Restore| restore.state != "waiting",
    )
    .await?;
    match restore.refusal {
        Some(no) => Err(Failure::Refused(vec![no])),
        None => Ok(restore),
    }
}

/// What was restored is on disk when the command says so: one flush of the file system
/// costs less than one for each of 10,000 files.
async fn flush_to_disk(directory: &Path) -> Result<(), Failure> {
    let directory = directory.to_owned();
    tokio::task::spawn_blocking(move || {
        let handle = std::fs::File::open(directory)?;
        Ok::<_, std::io::Error>(rustix::fs::syncfs(handle)?)
    })
    .await??;
    Ok(())
}

/// Fetches one artifact under a name of its own, compares, then gives it its name.
async fn fetch(
    client: &Client,
    base: &str,
    artifact: &Artifact,
    directory: &Path,
    bar: &ProgressBar,
) -> Result<Option<No>, Failure> {
    let path = directory.join(&artifact.name);
    let parent = path.parent().unwrap_or(directory);
    tokio::fs::create_dir_all(parent).await?;
    let part = tempfile::Builder::new()
        .prefix(".tapemark-")
        .suffix(".part")
        .tempfile_in(parent)?;
    let mut file = tokio::fs::File::create(part.path()).await?;
    let mut response = client.download(base, &artifact.name).await?;
    let mut digest = Sha256::new();
    let mut size = 0;
    while let Some(chunk) = response.chunk().await? {
        digest.update(&chunk);
        size += chunk.len() as u64;
        file.write_all(&chunk).await?;
        bar.inc(chunk.len() as u64);
    }
    file.flush().await?;
    let found = model::Sha256(digest.finalize().into()).to_hex();
    if size != artifact.size || found != artifact.sha256 {
        let message = format!(
            "{}: expected {} bytes with SHA-256 {}, found {size} bytes with {found}",
            artifact.name, artifact.size, artifact.sha256
        );
        return Ok(Some(
            Refusal::new(Code::VerifyMismatch, message)
                .at(&artifact.name)
                .into(),
        ));
    }
    part.persist(&path)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(service: &str, version: &str, no: u8) -> Member {
        serde_json::from_value(json!({
            "id": format!("01890000-0000-7000-8000-0000000000{no:02}"), "service": service,
            "version": version, "state": "COMMITTED", "supersededBy": null, "mergedInto": null,
            "parent": null, "bytes": "0", "artifactCount": 0, "committedAt": null,
        }))
        .unwrap()
    }

    #[test]
    fn each_member_of_a_group_has_a_directory_of_its_own() {
        let members = [
            member("n", "1", 0),
            member("n/b", "1", 1),
            member("n_2Fb", "1", 2),
            member("twice", "1", 3),
            member("twice", "2/x", 4),
            member("same", "1", 5),
            member("same", "1", 6),
        ];
        assert_eq!(
            directories(&members).unwrap(),
            [
                "n",
                "n%2Fb",
                "n_2Fb",
                "twice@1",
                "twice@2%2Fx",
                "same@1@01890000-0000-7000-8000-000000000005",
                "same@1@01890000-0000-7000-8000-000000000006",
            ]
        );
        let long = "/".repeat(128);
        let long = [member("s", &long, 1), member("s", "2", 2)];
        assert_eq!(directories(&long).unwrap()[0], long[0].id);
    }

    #[test]
    fn a_foreign_server_cannot_lead_out_of_the_directory() {
        for service in ["..", "../../evil", "/", "//x", "a/../../../x", "", "a b"] {
            assert!(
                directories(&[member(service, "1", 1)]).is_err(),
                "{service:?}"
            );
        }
        let mut bad = member("a", "1", 1);
        bad.id = "../x".to_owned();
        assert!(directories(&[bad]).is_err());
        // A name that another member's id would become.
        let taken = member("s", "1", 1).id;
        let long = "/".repeat(128);
        let three = [
            member("s", &long, 1),
            member("s", "2", 2),
            member(&taken, "1", 3),
        ];
        assert!(directories(&three).is_err());
    }

    #[test]
    fn artifacts_do_not_share_a_place() {
        let list = |names: &[&str]| -> Vec<Artifact> {
            let one = |name: &&str| json!({ "name": name, "size": "0", "sha256": "" });
            let all = names.iter().map(one);
            all.map(|one| serde_json::from_value(one).unwrap())
                .collect()
        };
        assert!(check_places(&list(&["a", "a.b", "c/d", "c/e"])).is_ok());
        for bad in [&["a", "a"][..], &["a", "a/b"], &["a/b/c", "a"], &["../a"]] {
            assert!(check_places(&list(bad)).is_err(), "{bad:?}");
        }
    }
}
