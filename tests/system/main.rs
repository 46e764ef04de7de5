//! Two hundred checkpoints on their way while an agent, the control plane and answers are
//! lost: told on one machine and on AWS's tools, by the same code.
//!
//! On one machine it is `tapemark up`. On AWS it is the template that `sam build` built,
//! deployed by `sam deploy` into MiniStack: its functions, state machine, table with its
//! stream, queues and HTTP API with a JWT authorizer, and `tapemark agent` with the simulated
//! library, which knows a URL and its key. The table of faults says what is lost where.
//!
//! | | one machine | AWS |
//! |---|---|---|
//! | the agent | SIGKILL | SIGKILL |
//! | the control plane | SIGKILL of `tapemark up` | SIGKILL of the functions' processes, but for those behind task tokens: MiniStack swallows their end |
//! | answers | the API's, after it did what was asked | the same, and the gateway's to the agent |
//! | orders told twice | the stack was killed before it noted them | the whole stream again |

#![allow(clippy::unwrap_used)]

#[cfg(feature = "built-functions")]
mod aws;
mod one_machine;
#[path = "../support.rs"]
mod support;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use support::{Answer, answer, noise, sha256, tree};

/// Services that submit.
const SERVICES: u64 = 20;
/// Checkpoints with a content of their own.
const DISTINCT: u64 = 180;
/// Checkpoints that repeat one of those.
const DUPLICATES: u64 = 20;

/// An installation that the story can be told on.
trait Place {
    /// Puts bytes where submissions may take them from, and gives what to call them.
    fn source(&self, name: &str, bytes: &[u8]) -> String;
    /// `tapemark --json` against it.
    fn command(&self) -> Command;
    /// A directory of the story.
    fn dir(&self) -> &std::path::Path;
    /// Kills the agent, and has another one in its place.
    fn kill_agent(&mut self);
    /// Kills the control plane in the middle of what it does, and has it back.
    fn kill_control(&mut self);
    /// Loses the next so many answers to who submits.
    fn lose_answers(&self, how_many: u64);
    /// Tells every order of the control plane to the state machine once more.
    fn tell_again(&mut self);
    /// What to read when it went wrong.
    fn logs(&self) -> String;

    fn run(&self, arguments: &[&str]) -> Answer {
        answer(self.command().args(arguments).output().unwrap())
    }
}

/// One submission.
struct Submission {
    key: String,
    member: Value,
    files: BTreeMap<String, Vec<u8>>,
}

fn submission(place: &dyn Place, n: u64) -> Submission {
    let content = n % DISTINCT;
    let service = format!("service-{:02}", content % SERVICES);
    let version = format!("1.{}", content / SERVICES);
    let files = BTreeMap::from([
        ("bin/app".to_owned(), noise(content + 1, 20_000)),
        ("etc/version".to_owned(), version.clone().into_bytes()),
    ]);
    let artifacts: Vec<Value> = files
        .iter()
        .map(|(name, bytes)| {
            let source = place.source(&format!("{service}/{version}/{name}"), bytes);
            json!({ "name": name, "source": source, "size": bytes.len(), "sha256": sha256(bytes) })
        })
        .collect();
    Submission {
        key: format!("submission-{n}"),
        member: json!({ "service": service, "version": version, "artifacts": artifacts }),
        files,
    }
}

/// Submits, again and again under the same key until an answer arrives, and gives the group.
fn submit(place: &dyn Place, key: &str, member: &Value) -> Value {
    let file = place.dir().join(format!("{key}.json"));
    std::fs::write(&file, json!({ "members": [member] }).to_string()).unwrap();
    let file = file.to_str().unwrap();
    for _ in 0..20 {
        let said = place.run(&["submit", "--idempotency-key", key, "--group", file]);
        if said.code == 0 {
            return said.json;
        }
        let logs = || place.logs();
        assert_eq!(said.codes(), ["Tapemark.Unreachable"], "{key}\n{}", logs());
    }
    unreachable!("{key}: no answer in 20 tries\n{}", place.logs())
}

/// Waits until a group will not change any more.
fn settle(place: &dyn Place, group: &str) -> Value {
    let patience = std::time::Instant::now();
    loop {
        let said = place.run(&["status", group]);
        let state = said.json["state"].as_str().unwrap_or_default().to_owned();
        if [
            "committed",
            "merged",
            "superseded",
            "rejected",
            "failed",
            "parked",
        ]
        .contains(&state.as_str())
        {
            return said.json;
        }
        assert!(
            patience.elapsed() < 5 * support::PATIENCE,
            "{group} is {state}\n{}",
            place.logs()
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn group_of(submitted: &Value) -> String {
    submitted["id"].as_str().unwrap().to_owned()
}

fn the_story(place: &mut dyn Place) {
    let names: Vec<String> = (0..SERVICES).map(|n| format!("service-{n:02}")).collect();
    let mut register = vec!["service", "register", "forked"];
    register.extend(names.iter().map(String::as_str));
    place.run(&register).ok();

    let mut all = Vec::new();
    for n in 0..DISTINCT + DUPLICATES {
        match n {
            40 => place.kill_agent(),
            80 => place.lose_answers(5),
            120 => place.kill_control(),
            160 => place.tell_again(),
            _ => {}
        }
        let one = submission(place, n);
        let submitted = submit(place, &one.key, &one.member);
        all.push((group_of(&submitted), one));
    }

    // A conflict: two histories begin at one checkpoint, and one of them may go on.
    let fork = |place: &dyn Place, version: &str, parent: Option<&str>| {
        let mut one = submission(place, 1000 + version.len() as u64);
        one.member["service"] = "forked".into();
        one.member["version"] = version.into();
        one.member["branch"] = Value::Null;
        one.member["parent"] = parent.into();
        submit(place, &format!("fork-{version}"), &one.member)
    };
    let first = fork(place, "1", None);
    assert_eq!(settle(place, &group_of(&first))["state"], "committed");
    let parent = first["checkpoints"][0]["id"].as_str().unwrap().to_owned();
    let sides = ["2-a", "2-bb"].map(|version| group_of(&fork(place, version, Some(&parent))));
    let ends = sides.map(|group| settle(place, &group));
    let mut states = ends.each_ref().map(|end| end["state"].as_str().unwrap());
    states.sort_unstable();
    assert_eq!(
        states,
        ["committed", "rejected"],
        "{ends:?}\n{}",
        place.logs()
    );

    // Everything else is committed, a repetition by itself or by what it repeats.
    for (group, one) in &all {
        let end = settle(place, group);
        let state = end["state"].as_str().unwrap();
        let fine = state == "committed" || state == "merged";
        assert!(fine, "{}: {end}\n{}", one.key, place.logs());
    }
    let ledger = place.run(&["ledger", "verify"]).ok();
    assert_eq!(ledger["verified"], true);
    let committed = ledger["committed"].as_u64().unwrap();
    // Repetitions that came when the first was committed already may be committed, too.
    let expected = DISTINCT + 2..=DISTINCT + DUPLICATES + 2;
    assert!(expected.contains(&committed), "{committed}");

    // What comes back is what was submitted: every eleventh, and the last repetition.
    for (group, one) in all.iter().step_by(11).chain(all.last()) {
        let to = place.dir().join("restored").join(group);
        place
            .run(&["restore", group, "--to", to.to_str().unwrap()])
            .ok();
        let mut found = tree(&to);
        // A group is restored with a directory for each member.
        let prefix = format!("{}/", one.member["service"].as_str().unwrap());
        found = found
            .into_iter()
            .map(|(name, bytes)| (name.trim_start_matches(&prefix).to_owned(), bytes))
            .collect();
        assert_eq!(found, one.files, "{}", one.key);
    }
}

#[test]
fn two_hundred_checkpoints_survive_on_one_machine() {
    the_story(&mut one_machine::OneMachine::start());
}

/// Not yet part of CI, as `tests/aws/Cargo.toml` says.
#[cfg(feature = "built-functions")]
#[test]
fn two_hundred_checkpoints_survive_on_aws() {
    if aws_stories::deployment::possible() {
        the_story(&mut aws::Aws::start());
    }
}
