//! The proof: the log, the times, and bytes brought back and compared.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use control::ledger::{HashChain, verify_chain};
use control::ports::{Ledger, LedgerHead as Head};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::files::RealFile;
use super::load::{Plan, Sent, Settled};
use crate::client::Client;
use crate::client::types::{LedgerHead, VOLUME, Volume};
use crate::failure::Failure;
use crate::out::Out;
use crate::restore::{RestoreArgs, bring_back, targets};

/// How many checkpoints are restored, besides the group.
const RESTORED: usize = 20;
/// How many restores are under way at once.
const AT_ONCE: usize = 8;
/// How many runs are looked at to say where the time went.
const SAMPLE: usize = 50;
/// The states in which a run waits for the agent and the tape.
const TAPE_STATES: [&str; 2] = ["Execute", "Verify"];

/// What was brought back.
#[derive(Default)]
pub(super) struct Checked {
    /// How many checkpoints.
    pub(super) restored: usize,
    /// Every file that was not what it was.
    pub(super) mismatches: usize,
}

/// Where the time of the sampled runs went, in seconds of a run on average.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phases {
    pub(super) control: f64,
    pub(super) tape: f64,
}

/// True where the leaves of the log lead to its head.
pub(super) async fn ledger(client: &Client) -> Result<bool, Failure> {
    let said: LedgerHead = client
        .ask(
            "ledgerHead",
            "{ ledgerHead { size root committed } }",
            json!({}),
        )
        .await?;
    let Ok(root) = said.root.parse() else {
        return Ok(false);
    };
    let claimed = Head {
        size: said.size,
        root,
    };
    let mut head = HashChain.empty();
    while head.size < claimed.size {
        let leaves: Vec<String> = client
            .ask(
                "ledgerLeaves",
                "query($from: Long!) { ledgerLeaves(from: $from, first: 1000) }",
                json!({ "from": head.size }),
            )
            .await?;
        if leaves.is_empty() {
            return Ok(false);
        }
        for leaf in &leaves {
            head = HashChain.append(&head, leaf.as_bytes());
        }
    }
    Ok(verify_chain(&HashChain, &head, [], &claimed).is_ok())
}

/// How many volumes hold something.
pub(super) async fn volumes_used(client: &Client) -> Result<usize, Failure> {
    let query = format!("{{ volumes {{ {VOLUME} }} }}");
    let list: Vec<Volume> = client.ask("volumes", &query, json!({})).await?;
    Ok(list.iter().filter(|volume| volume.checkpoints > 0).count())
}

/// Reads the histories of some committed runs and says where their time went.
pub(super) async fn phases(
    client: &Client,
    settled: &[Settled],
    random: &mut ChaCha8Rng,
) -> Result<Phases, Failure> {
    let mut groups: Vec<&str> = settled
        .iter()
        .filter(|one| one.state == "COMMITTED")
        .map(|one| one.group.id.as_str())
        .collect();
    groups.shuffle(random);
    groups.truncate(SAMPLE);
    let mut sum = Phases::default();
    for group in &groups {
        let query = "query($id: UUID!) { runHistory(group: $id) }";
        let events: Vec<Value> = client
            .ask("runHistory", query, json!({ "id": group }))
            .await?;
        let (control, tape) = split(&events);
        sum.control += control;
        sum.tape += tape;
    }
    let runs = groups.len().max(1) as f64;
    Ok(Phases {
        control: sum.control / runs,
        tape: sum.tape / runs,
    })
}

/// An event's time: RFC 3339, or seconds since 1970.
fn time(event: &Value) -> Option<f64> {
    match &event["timestamp"] {
        Value::String(text) => {
            let time: Timestamp = text.parse().ok()?;
            Some(time.as_microsecond() as f64 / 1e6)
        }
        Value::Number(number) => number.as_f64(),
        _ => None,
    }
}

/// Seconds that a run spent in the control plane, and waiting for the agent and the tape.
fn split(events: &[Value]) -> (f64, f64) {
    let (mut control, mut tape) = (0.0, 0.0);
    let mut entered: Option<(bool, f64)> = None;
    for event in events {
        let Some(now) = time(event) else { continue };
        if let Some(name) = event["stateEnteredEventDetails"]["name"].as_str() {
            entered = Some((TAPE_STATES.contains(&name), now));
        } else if event.get("stateExitedEventDetails").is_some()
            && let Some((is_tape, since)) = entered.take()
        {
            if is_tape {
                tape += now - since
            } else {
                control += now - since
            }
        }
    }
    (control, tape)
}

/// Brings back some checkpoints and the whole group, and compares every byte with the
/// files they came from.
pub(super) async fn restore(
    out: &Out,
    client: &Client,
    plan: &Plan,
    sent: &Sent,
    settled: &[Settled],
    random: &mut ChaCha8Rng,
    place: &Path,
) -> Result<Checked, Failure> {
    let mut ids: Vec<String> = settled
        .iter()
        .filter(|one| one.state == "COMMITTED" && Some(&one.group.id) != sent.good_group.as_ref())
        .map(|one| one.id.clone())
        .collect();
    ids.sort_unstable();
    ids.shuffle(random);
    ids.truncate(RESTORED);
    ids.extend(sent.good_group.clone());
    let bar = out.count_bar("restored", ids.len() as u64);
    let checked: Vec<Checked> = stream::iter(ids)
        .map(|id| {
            let to = place.join("restored").join(&id);
            let bar = bar.clone();
            async move {
                let args = RestoreArgs {
                    id: id.clone(),
                    to: to.clone(),
                    only: Vec::new(),
                    force: false,
                    timeout: SignedDuration::from_secs(300),
                };
                let mut checked = Checked::default();
                for target in targets(client, &id, &to).await? {
                    let one = match bring_back(&out.silent(), client, &target, &args).await {
                        Ok(one) => one,
                        Err(Failure::Mismatch(list)) => {
                            checked.mismatches += list.len();
                            continue;
                        }
                        Err(failure) => return Err(failure),
                    };
                    checked.restored += 1;
                    let files = sent
                        .parts
                        .get(&one.checkpoint)
                        .map(|part| plan.files(*part));
                    checked.mismatches += compare(&one.directory, files.unwrap_or_default())?;
                }
                bar.inc(1);
                Ok::<_, Failure>(checked)
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    bar.finish_and_clear();
    let sum = |pick: fn(&Checked) -> usize| checked.iter().map(pick).sum();
    Ok(Checked {
        restored: sum(|one| one.restored),
        mismatches: sum(|one| one.mismatches),
    })
}

/// How many files below `directory` are not byte for byte the ones they came from. A file
/// too many counts, and so does one too few.
fn compare(directory: &Path, files: &[RealFile]) -> Result<usize, Failure> {
    let mut found = BTreeMap::new();
    list(directory, directory, &mut found)?;
    let mut wrong = 0;
    for file in files {
        match found.remove(&file.name) {
            Some(restored) if same(&file.path, &restored)? => {}
            _ => wrong += 1,
        }
    }
    Ok(wrong + found.len())
}

fn list(
    dir: &Path,
    base: &Path,
    found: &mut BTreeMap<String, std::path::PathBuf>,
) -> Result<(), Failure> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, base, found)?;
        } else if let Some(name) = path.strip_prefix(base).ok().and_then(Path::to_str) {
            found.insert(name.to_owned(), path.clone());
        }
    }
    Ok(())
}

fn same(one: &Path, other: &Path) -> Result<bool, Failure> {
    let (mut one, mut other) = (std::fs::File::open(one)?, std::fs::File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; 1 << 18], vec![0; 1 << 18]);
    loop {
        let n = one.read(&mut a)?;
        if n == 0 {
            return Ok(true);
        }
        other.read_exact(&mut b[..n])?;
        if a[..n] != b[..n] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(path: &Path, name: &str) -> RealFile {
        RealFile {
            path: path.join(name),
            name: name.to_owned(),
            size: 0,
            sha256: String::new(),
        }
    }

    #[test]
    fn one_wrong_byte_one_file_less_and_one_more_are_all_seen() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, text) in [("a", "same"), ("b", "same"), ("c", "same")] {
            std::fs::write(from.path().join(name), text).unwrap();
            std::fs::write(to.path().join(name), text).unwrap();
        }
        let files: Vec<_> = ["a", "b", "c"]
            .iter()
            .map(|n| real(from.path(), n))
            .collect();
        assert_eq!(compare(to.path(), &files).unwrap(), 0);
        std::fs::write(to.path().join("a"), "sane").unwrap();
        assert_eq!(compare(to.path(), &files).unwrap(), 1);
        std::fs::remove_file(to.path().join("b")).unwrap();
        assert_eq!(compare(to.path(), &files).unwrap(), 2);
        std::fs::write(to.path().join("d"), "").unwrap();
        assert_eq!(compare(to.path(), &files).unwrap(), 3);
    }

    #[test]
    fn time_is_split_between_control_plane_and_tape() {
        let entered = |name: &str, at: f64| json!({ "timestamp": at, "stateEnteredEventDetails": { "name": name } });
        let exited = |at: f64| json!({ "timestamp": at, "stateExitedEventDetails": {} });
        let events = [
            entered("Validate", 0.0),
            exited(1.0),
            entered("Execute", 1.0),
            exited(5.0),
            entered("Commit", 5.0),
            exited(5.5),
        ];
        assert_eq!(split(&events), (1.5, 4.0));
    }
}
