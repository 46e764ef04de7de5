//! The way of a checkpoint, from files to tape and back, through the command line only.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Stack, noise, tree};

#[test]
fn what_is_submitted_comes_back_byte_for_byte() {
    let stack = Stack::start();
    stack.register(&["payments"]);
    stack.file("release/bin/app", &noise(1, 3 << 20));
    stack.file("release/etc/größe.toml", b"answer = 42\n");
    stack.file("release/empty", b"");
    stack.file("release/deep/er/still", &vec![7; 100_000]);
    let release = stack.work().join("release");

    let id = stack.commit("payments", "1.0", &release);
    let status = stack.status(&id);
    assert_eq!(status["state"], "committed");
    assert_eq!(status["artifact_count"], 4);
    // After the leaves of the agent and of the decision on it.
    assert_eq!(status["ledger_index"], 2);
    assert!(!status["placements"].as_array().unwrap().is_empty());

    let restored = stack.restore(&id);
    assert_eq!(tree(&restored), tree(&release));

    // Only one of them, to a place of its own.
    let to = stack.dir().join("one");
    let one = stack
        .run([
            "restore",
            &id,
            "--to",
            to.to_str().unwrap(),
            "--only",
            "bin/app",
        ])
        .ok();
    assert_eq!(one["artifacts"], 1);
    assert_eq!(tree(&to).keys().collect::<Vec<_>>(), ["bin/app"]);

    // Nothing that is there is replaced unasked.
    let again = stack.run([
        "restore",
        &id,
        "--to",
        to.to_str().unwrap(),
        "--only",
        "bin/app",
    ]);
    assert_eq!(again.code, 2);
    let force = [
        "restore",
        &id,
        "--to",
        to.to_str().unwrap(),
        "--only",
        "bin/app",
        "--force",
    ];
    stack.run(force).ok();

    // Read back once more from tape, and the log checked from its first leaf.
    stack.run(["verify", &id]).ok();
    let ledger = stack.run(["ledger", "verify"]).ok();
    assert_eq!(ledger["committed"], 1);
    assert_eq!(ledger["verified"], true);

    // The tape alone knows it, too.
    let barcode = status["placements"][0]["volume"].as_str().unwrap();
    let report = stack.run(["volume", "scan", barcode]).ok();
    assert!(report.to_string().contains(&id), "{report}");

    // The run is on record, and what operators look at answers.
    let history = stack.run(["run", "history", &id]).ok();
    let first = &history["events"][0]["type"];
    assert_eq!(first, "ExecutionStarted");
    let last = history["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["type"], "ExecutionSucceeded");
    assert_eq!(
        stack.run(["drive", "list"]).ok()["drives"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        stack.run(["volume", "list"]).ok()["volumes"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
    assert_eq!(
        stack.run(["volume", "show", barcode]).ok()["checkpoints"],
        1
    );
    assert_eq!(stack.run(["status"]).ok()["committed"], 1);
}

#[test]
fn the_same_command_twice_is_one_checkpoint() {
    let stack = Stack::start();
    stack.register(&["payments"]);
    let file = stack.file("app", &noise(2, 10_000));
    let first = stack.submit("payments", "1.0", &file).ok();
    let again = stack.submit("payments", "1.0", &file).ok();
    assert_eq!(again["id"], first["id"]);
    assert_eq!(again["repeated"], true);
    assert_eq!(
        stack.run(["list"]).ok()["checkpoints"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn what_was_refused_can_be_tried_again_once_the_reason_is_gone() {
    let stack = Stack::start();
    let file = stack.file("app", b"x");
    assert_ne!(stack.submit("payments", "1.0", &file).code, 0);
    stack.register(&["payments"]);
    assert_eq!(
        stack.submit("payments", "1.0", &file).ok()["state"],
        "committed"
    );
}

#[test]
fn a_group_comes_back_together() {
    let stack = Stack::start();
    stack.register(&["a", "b", "a/team"]);
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        stack.file(&format!("{name}/app"), &noise(seed, 50_000));
    }
    // It would be one file with `app` of `a/team`, were names joined as they are.
    stack.file("a/team/app", &noise(4, 50_000));
    let group = stack
        .run([
            "submit",
            "--wait",
            "--group",
            "a=1:work/a",
            "b=1:work/b",
            "a/team=1:work/c",
        ])
        .ok();
    assert_eq!(group["state"], "committed");
    assert_eq!(group["checkpoints"].as_array().unwrap().len(), 3);
    let restored = stack.restore(group["id"].as_str().unwrap());
    let mut expected = tree(&stack.work());
    let c = expected.remove("c/app").unwrap();
    expected.insert("a%2Fteam/app".to_owned(), c);
    assert_eq!(tree(&restored), expected);
}

#[test]
fn a_service_is_not_named_after_a_way_out() {
    let stack = Stack::start();
    for name in ["..", "../../evil", "/", "//x", "a/../../../x"] {
        assert_ne!(stack.run(["service", "register", name]).code, 0, "{name}");
    }
}

#[test]
fn lists_are_paged_without_gaps() {
    let stack = Stack::start();
    stack.register(&["a"]);
    let mut ids = Vec::new();
    for n in 0..7 {
        let file = stack.file(&format!("f{n}"), &[n]);
        let version = format!("1.{n}");
        ids.push(stack.commit("a", &version, &file));
    }
    ids.reverse();
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut arguments = vec!["list", "--service", "a", "--limit", "3"];
        if let Some(cursor) = &after {
            arguments.extend(["--after", cursor]);
        }
        let page = stack.run(arguments).ok();
        for one in page["checkpoints"].as_array().unwrap() {
            seen.push(one["id"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(seen, ids);
}

#[test]
fn a_token_opens_its_own_services_only() {
    let stack = Stack::start();
    stack.register(&["mine", "theirs"]);
    let file = stack.file("app", b"x");
    let theirs = stack.commit("theirs", "1", &file);
    let token = stack
        .run(["token", "create", "ci", "--service", "mine"])
        .ok();
    let token = token["token"].as_str().unwrap();
    let with = |arguments: &[&str]| stack.run(["--token", token].iter().chain(arguments));

    let path = file.to_str().unwrap();
    let mine = with(&[
        "submit",
        "--wait",
        "--service",
        "mine",
        "--version",
        "1",
        path,
    ]);
    assert_eq!(mine.code, 0, "{}", mine.stderr);
    let denied = with(&[
        "submit",
        "--wait",
        "--service",
        "theirs",
        "--version",
        "2",
        path,
    ]);
    let reasons = format!("{}{}", denied.json, denied.stderr);
    assert!(reasons.contains("Tapemark.Forbidden"), "{reasons}");
    assert_ne!(denied.code, 0);

    let to = stack.dir().join("stolen");
    let stolen = with(&["restore", &theirs, "--to", to.to_str().unwrap()]);
    assert_ne!(stolen.code, 0);
    assert!(!to.exists() || tree(&to).is_empty());
    for order in [
        &["token", "create", "more", "--operator"][..],
        &["service", "register", "new"],
        &["ledger", "verify"],
        &["token", "list"],
    ] {
        assert_eq!(with(order).code, 4, "{order:?}");
    }
    assert_eq!(
        stack.run(["--token", "guess", "list"]).codes(),
        ["Tapemark.Unauthorized"]
    );

    stack.run(["token", "revoke", "ci"]).ok();
    assert_eq!(with(&["list"]).code, 4);
}

#[test]
fn a_stack_that_was_stopped_goes_on_where_it_was() {
    let mut stack = Stack::start();
    stack.register(&["a"]);
    let file = stack.file("app", &noise(5, 200_000));
    let id = stack.commit("a", "1", &file);
    assert_eq!(stack.stop(), 0);
    assert_eq!(stack.run(["list"]).code, 3);
    stack.up();
    let restored = stack.restore(&id);
    assert_eq!(tree(&restored)["app"], std::fs::read(&file).unwrap());
    stack.kill_and_restart();
    assert_eq!(stack.status(&id)["state"], "committed");
    stack.kill_agent();
    let newer = stack.file("newer", b"2");
    stack.commit("a", "2", &newer);
}
