//! Everything that can be wrong with a submission, through the command line: each is
//! refused with its own code and the field it is about, and harms nobody else.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Answer, Stack, noise, sha256, tree};

/// An artifact written out as it should be.
fn artifact(path: &Path, name: &str) -> Value {
    let bytes = std::fs::read(path).unwrap();
    json!({
        "name": name,
        "source": format!("file://{}", path.canonicalize().unwrap().display()),
        "size": bytes.len(),
        "sha256": sha256(&bytes),
    })
}

fn member(service: &str, version: &str, artifacts: Vec<Value>) -> Value {
    json!({ "service": service, "version": version, "artifacts": artifacts })
}

/// Submits members written out, and waits.
fn submit(stack: &Stack, members: &[Value], more: &[&str]) -> Answer {
    let file = stack.dir().join("group.json");
    std::fs::write(&file, json!({ "members": members }).to_string()).unwrap();
    let arguments = ["submit", "--wait", "--group", file.to_str().unwrap()];
    stack.run(arguments.iter().chain(more))
}

/// The refusals of an answer, wherever they stand: refused at once, or after validation.
fn refusals(answer: &Answer) -> Vec<(String, String)> {
    let late = answer.json["refusals"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let all = answer.refusals().into_iter().chain(late);
    all.map(|no| {
        assert!(!no["hint"].as_str().unwrap().is_empty(), "{no}");
        assert!(!no["message"].as_str().unwrap().is_empty(), "{no}");
        let field = no["field"].as_str().unwrap_or_default().to_owned();
        (no["code"].as_str().unwrap().to_owned(), field)
    })
    .collect()
}

#[track_caller]
fn refused(answer: &Answer, code: &str) {
    let found = refusals(answer);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(
        found.iter().any(|(c, _)| c == code),
        "expected {code}, found {found:?} in {answer:?}"
    );
}

#[track_caller]
fn refused_at(answer: &Answer, code: &str, field: &str) {
    let found = refusals(answer);
    let expected = (code.to_owned(), field.to_owned());
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(
        found.contains(&expected),
        "expected {expected:?}, found {found:?}"
    );
}

#[test]
fn a_service_nobody_registered() {
    let stack = Stack::start();
    let file = stack.file("app", b"x");
    let answer = submit(
        &stack,
        &[member("nobody", "1", vec![artifact(&file, "app")])],
        &[],
    );
    refused(&answer, "Tapemark.UnknownService");
}

#[test]
fn a_frozen_service() {
    let stack = Stack::start();
    stack.run(["service", "register", "a", "--frozen"]).ok();
    let file = stack.file("app", b"x");
    let answer = submit(
        &stack,
        &[member("a", "1", vec![artifact(&file, "app")])],
        &[],
    );
    refused(&answer, "Tapemark.ServiceFrozen");
}

#[test]
fn bytes_that_are_not_as_declared() {
    let stack = Stack::start();
    stack.register(&["a"]);
    let file = stack.file("app", b"the right bytes");
    let mut wrong = artifact(&file, "app");
    wrong["sha256"] = sha256(b"other bytes").into();
    let answer = submit(&stack, &[member("a", "1", vec![wrong])], &[]);
    refused(&answer, "Tapemark.ChecksumMismatch");

    let mut wrong = artifact(&file, "app");
    wrong["size"] = 1.into();
    let answer = submit(&stack, &[member("a", "2", vec![wrong])], &[]);
    refused(&answer, "Tapemark.SizeMismatch");

    let mut wrong = artifact(&file, "app");
    wrong["sha256"] = "abc".into();
    let answer = submit(&stack, &[member("a", "3", vec![wrong])], &[]);
    refused_at(
        &answer,
        "Tapemark.InvalidRequest",
        "members[0].artifacts[0].sha256",
    );
}

#[test]
fn a_source_that_is_not_there_or_not_allowed() {
    let stack = Stack::start();
    stack.register(&["a"]);
    let file = stack.file("app", b"x");
    let with = |source: &Path| {
        let mut one = artifact(&file, "app");
        one["source"] = format!("file://{}", source.display()).into();
        one
    };
    let gone = stack.work().canonicalize().unwrap().join("gone");
    let answer = submit(&stack, &[member("a", "1", vec![with(&gone)])], &[]);
    refused(&answer, "Tapemark.ArtifactMissing");

    let secret = stack.dir().join("secret");
    std::fs::write(&secret, b"x").unwrap();
    let answer = submit(&stack, &[member("a", "2", vec![with(&secret)])], &[]);
    refused(&answer, "Tapemark.SourceNotAllowed");

    // A link inside an allowed root does not lead out of it.
    let link = stack.work().canonicalize().unwrap().join("link");
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    let answer = submit(&stack, &[member("a", "3", vec![with(&link)])], &[]);
    refused(&answer, "Tapemark.SourceNotAllowed");

    let answer = stack.submit("a", "4", Path::new("/does/not/exist"));
    refused(&answer, "Tapemark.ArtifactMissing");

    let mut foreign = artifact(&file, "app");
    foreign["source"] = "ftp://example/app".into();
    let answer = submit(&stack, &[member("a", "5", vec![foreign])], &[]);
    refused_at(
        &answer,
        "Tapemark.InvalidRequest",
        "members[0].artifacts[0].source",
    );
}

#[test]
fn names_that_could_do_harm() {
    let stack = Stack::start();
    stack.register(&["a"]);
    let file = stack.file("app", b"x");
    let long = "x/".repeat(2048);
    for bad in [
        "../x",
        "/etc/passwd",
        "a\0b",
        "a/../../b",
        "a\\b",
        "",
        "a//b",
        ".",
        &long,
    ] {
        let artifacts = vec![artifact(&file, "fine"), artifact(&file, bad)];
        let answer = submit(&stack, &[member("a", "1", artifacts)], &[]);
        refused_at(
            &answer,
            "Tapemark.InvalidArtifactName",
            "members[0].artifacts[1].name",
        );
    }
    // All of them at once are told at once.
    let artifacts = vec![
        artifact(&file, "../x"),
        artifact(&file, "ok"),
        artifact(&file, "/x"),
    ];
    let answer = submit(&stack, &[member("a", "1", artifacts)], &[]);
    assert_eq!(refusals(&answer).len(), 2, "{answer:?}");
}

#[test]
fn two_artifacts_of_one_name() {
    let stack = Stack::start();
    stack.register(&["a"]);
    let file = stack.file("app", b"x");
    let artifacts = vec![artifact(&file, "app"), artifact(&file, "app")];
    let answer = submit(&stack, &[member("a", "1", artifacts)], &[]);
    refused(&answer, "Tapemark.DuplicateArtifactName");
}

#[test]
fn no_artifacts_at_all() {
    let stack = Stack::start();
    stack.register(&["a"]);
    let answer = submit(&stack, &[member("a", "1", vec![])], &[]);
    refused(&answer, "Tapemark.InvalidRequest");
    let empty = stack.work().join("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(&stack.submit("a", "1", &empty), "Tapemark.InvalidRequest");
}

#[test]
fn an_empty_artifact_is_fine() {
    let stack = Stack::start();
    stack.register(&["a"]);
    let file = stack.file("empty", b"");
    let id = stack.commit("a", "1", &file);
    assert_eq!(tree(&stack.restore(&id))["empty"], b"");
}

#[test]
fn ten_thousand_artifacts_are_fine_and_one_more_is_not() {
    let stack = Stack::start();
    stack.register(&["a"]);
    for n in 0..10_000 {
        stack.file(&format!("many/{}/{n}", n % 100), &[n as u8]);
    }
    let many = stack.work().join("many");
    let id = stack.commit("a", "1", &many);
    assert_eq!(stack.status(&id)["artifact_count"], 10_000);
    assert_eq!(tree(&stack.restore(&id)), tree(&many));

    stack.file("many/one-more", b"x");
    refused(&stack.submit("a", "2", &many), "Tapemark.InvalidRequest");
}

#[test]
fn an_artifact_larger_than_a_volume_spans_several() {
    let stack = Stack::start_with(&["--capacity", "64MiB", "--reserve", "4MiB"], &[]);
    stack.register(&["a"]);
    let file = stack.file("large", &noise(9, 150 << 20));
    let id = stack.commit("a", "1", &file);
    let status = stack.status(&id);
    let mut volumes: Vec<&str> = status["placements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|placement| placement["volume"].as_str().unwrap())
        .collect();
    volumes.sort_unstable();
    volumes.dedup();
    assert!(volumes.len() >= 3, "{status}");
    let restored = std::fs::read(stack.restore(&id).join("large")).unwrap();
    assert_eq!(sha256(&restored), sha256(&std::fs::read(&file).unwrap()));
}

#[test]
fn more_than_the_pool_holds() {
    let stack = Stack::start_with(&["--slots", "1", "--capacity", "64MiB"], &[]);
    stack.register(&["a"]);
    let file = stack.file("large", &noise(3, 100 << 20));
    let answer = stack.submit("a", "1", &file);
    refused(&answer, "Tapemark.PoolFull");
    // What fits still goes.
    let small = stack.file("small", b"x");
    stack.commit("a", "2", &small);
}

#[test]
fn a_parent_that_is_not_there() {
    let stack = Stack::start();
    stack.register(&["a", "b"]);
    let file = stack.file("app", b"x");
    let path = file.to_str().unwrap();
    let submit = |service: &str, version: &str, parent: &str| {
        stack.run([
            "submit",
            "--wait",
            "--service",
            service,
            "--version",
            version,
            "--parent",
            parent,
            path,
        ])
    };
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    refused(&submit("a", "1", nobody), "Tapemark.UnknownParent");
    refused(&submit("a", "1", "not-an-id"), "Tapemark.InvalidRequest");
    // Another service's checkpoint is no parent.
    let other = stack.commit("b", "1", &file);
    refused(&submit("a", "1", &other), "Tapemark.UnknownParent");
}

#[test]
fn a_history_does_not_fork() {
    let stack = Stack::start();
    stack.register(&["a"]);
    let files: Vec<_> = (0..3u8)
        .map(|n| stack.file(&format!("f{n}"), &[n]))
        .collect();
    let parent = stack.commit("a", "1", &files[0]);
    let child = |version: &str, file: &Path| {
        let path = file.to_str().unwrap();
        stack.run([
            "submit",
            "--wait",
            "--service",
            "a",
            "--version",
            version,
            "--parent",
            &parent,
            path,
        ])
    };
    assert_eq!(child("2", &files[1]).code, 0);
    refused(&child("3", &files[2]), "Tapemark.LineageFork");
}

#[test]
fn one_bad_member_refuses_the_whole_group_and_nobody_else() {
    let stack = Stack::start();
    stack.register(&["a", "b", "c", "d"]);
    let file = stack.file("app", &noise(1, 1000));
    let other = stack.file("other", &noise(2, 1000));
    let mut wrong = artifact(&file, "app");
    wrong["sha256"] = sha256(b"no").into();
    let group = [
        member("a", "1", vec![artifact(&file, "app")]),
        member("b", "1", vec![wrong]),
        member("c", "1", vec![artifact(&file, "app")]),
    ];
    let answer = submit(&stack, &group, &[]);
    refused(&answer, "Tapemark.ChecksumMismatch");
    for member in answer.json["checkpoints"].as_array().unwrap() {
        assert_eq!(member["state"], "rejected");
        let to = stack.dir().join("none");
        let id = member["id"].as_str().unwrap();
        let restore = stack.run(["restore", id, "--to", to.to_str().unwrap()]);
        assert_eq!(restore.codes(), ["Tapemark.NotRestorable"]);
    }
    stack.commit("d", "1", &other);
    // Without the bad member it goes.
    let answer = submit(&stack, &[group[0].clone(), group[2].clone()], &[]);
    assert_eq!(answer.ok()["state"], "committed");
}

#[test]
fn one_key_for_two_payloads() {
    let stack = Stack::start();
    stack.register(&["a"]);
    let (one, two) = (stack.file("one", b"1"), stack.file("two", b"2"));
    let submit = |file: &Path| {
        let path = file.to_str().unwrap();
        stack.run([
            "submit",
            "--wait",
            "--service",
            "a",
            "--version",
            "1",
            "--idempotency-key",
            "k",
            path,
        ])
    };
    let first = submit(&one).ok();
    let again = submit(&one).ok();
    assert_eq!(
        (&again["id"], &again["repeated"]),
        (&first["id"], &json!(true))
    );
    refused(&submit(&two), "Tapemark.IdempotencyMismatch");
}

#[test]
fn the_small_things_around_it() {
    let stack = Stack::start();
    stack.register(&["a"]);
    let file = stack.file("app", b"x");
    let path = file.to_str().unwrap();
    let base = ["submit", "--wait", "--service", "a", "--version"];
    let with =
        |version: &str, more: &[&str]| stack.run(base.iter().chain(&[version, path]).chain(more));
    refused(
        &with("1", &["--retention", "for-ever"]),
        "Tapemark.UnknownRetention",
    );
    refused(&with("1 2", &[]), "Tapemark.InvalidRequest");
    let late = with("1", &["--deadline", "2001-01-01T00:00:00Z"]);
    assert_eq!(late.code, 1, "{late:?}");
    // What the command line itself forbids has an exit code of its own.
    assert_eq!(with("1", &["--priority", "10"]).code, 2);
    assert_eq!(with("1", &["--deadline", "soon"]).code, 2);
    assert_eq!(
        stack.run(["status", "not-an-id"]).codes(),
        ["Tapemark.InvalidRequest"]
    );
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(stack.run(["status", nobody]).codes(), ["Tapemark.NotFound"]);
    assert_eq!(stack.run(["volume", "show", "NOPE01L9"]).code, 1);
    assert_eq!(stack.run(["--url", "http://127.0.0.1:1", "list"]).code, 3);
}
