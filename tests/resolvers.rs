//! Teams ship their own conflict policies, and none of them can harm a checkpoint: from
//! publication to rollback, with a hostile one in between, through the real command.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use support::{Answer, Stack, noise, tree};

/// A component that is committed with its source.
fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../plugins/fixtures")
        .join(format!("{name}.wasm"));
    assert!(path.is_file(), "{}", path.display());
    path.to_str().unwrap().to_owned()
}

fn resolver(stack: &Stack, arguments: &[&str]) -> Answer {
    stack.run(["resolver"].iter().chain(arguments))
}

fn binding(stack: &Stack, scope: &str) -> Value {
    let list = resolver(stack, &["list"]).ok();
    let bindings = list["bindings"].as_array().unwrap();
    let found = bindings.iter().find(|one| one["scope"] == scope);
    found.cloned().unwrap_or_default()
}

/// The decisions, newest first.
fn decisions(stack: &Stack) -> Vec<Value> {
    let answer = resolver(stack, &["decisions", "--limit", "100"]).ok();
    answer["decisions"].as_array().unwrap().clone()
}

fn commit(stack: &Stack, service: &str, version: &str) -> String {
    let name = format!("{service}-{version}");
    let file = stack.file(&name, &noise(name.len() as u64, 20_000));
    stack.commit(service, version, &file)
}

/// Everything in the store of resolvers, and when it was written.
fn compiled(stack: &Stack) -> BTreeMap<PathBuf, std::time::SystemTime> {
    let entries = std::fs::read_dir(stack.data().join("resolvers/compiled")).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.path(), entry.metadata().unwrap().modified().unwrap())
        })
        .collect()
}

#[test]
fn a_policy_is_published_tried_out_promoted_and_rolled_back() {
    let stack = Stack::start();
    stack.register(&["a"]);
    let default = binding(&stack, "library:lib-1");
    assert_eq!(default["live"]["name"], "priority-deadline", "{default}");

    // Tested here first; name and version are what the component says.
    let published = resolver(&stack, &["publish", &fixture("last-writer")]).ok();
    assert_eq!(published["name"], "last-writer");
    let again = resolver(&stack, &["publish", &fixture("last-writer")]).ok();
    assert_eq!(again, published, "the same again is the same release");
    let version = published["version"].as_str().unwrap();
    let taken = resolver(
        &stack,
        &[
            "publish",
            &fixture("priority-deadline"),
            "--untested",
            "--name",
            "last-writer",
            "--version",
            version,
        ],
    );
    assert_eq!(taken.codes(), ["Tapemark.VersionExists"]);
    assert_eq!(taken.refusals()[0]["field"], "version");

    // Beside the live one it changes nothing, and both stand in one record.
    resolver(&stack, &["bind", "pool:main", "priority-deadline"]).ok();
    resolver(&stack, &["shadow", "pool:main", "last-writer"]).ok();
    let id = commit(&stack, "a", "1");
    let newest = decisions(&stack)[0].clone();
    assert_eq!(newest["scope"]["scope"], "pool", "{newest}");
    assert_eq!(newest["resolver"]["name"], "priority-deadline", "{newest}");
    assert_eq!(newest["call"]["outcome"], "decided", "{newest}");
    assert!(newest["call"]["fuel"].as_u64().unwrap() > 0, "{newest}");
    assert_eq!(newest["shadow"]["release"]["name"], "last-writer");
    let report = resolver(&stack, &["shadow", "pool:main"]).ok();
    assert!(
        report["shadow"]["decided"].as_u64().unwrap() >= 1,
        "{report}"
    );
    assert_eq!(report["shadow"]["failed"], 0, "{report}");

    // Every request is explained, with what it was decided on.
    let explained = resolver(&stack, &["decision", newest["id"].as_str().unwrap()]).ok();
    let contenders = explained["input"]["contenders"].as_array().unwrap();
    let verdicts = explained["record"]["decision"]["verdicts"]
        .as_array()
        .unwrap();
    assert_eq!(contenders[0]["id"], id.as_str(), "{explained}");
    assert_eq!(verdicts[0]["action"], "proceed", "{explained}");
    assert!(!verdicts[0]["reason"].as_str().unwrap().is_empty());
    assert_eq!(stack.status(&id)["group"]["decision"], newest["id"]);

    // Promoted, it decides; rolled back, the one before does.
    let promoted = resolver(&stack, &["promote", "pool:main"]).ok();
    assert_eq!(promoted["live"]["name"], "last-writer");
    commit(&stack, "a", "2");
    assert_eq!(decisions(&stack)[0]["resolver"]["name"], "last-writer");
    let back = resolver(&stack, &["rollback", "pool:main"]).ok();
    assert_eq!(back["live"]["name"], "priority-deadline");
    commit(&stack, "a", "3");
    let newest = decisions(&stack)[0].clone();
    assert_eq!(newest["resolver"]["name"], "priority-deadline");

    // Narrower bindings go before wider ones; without one the wider decides again.
    resolver(&stack, &["unbind", "pool:main"]).ok();
    commit(&stack, "a", "4");
    assert_eq!(decisions(&stack)[0]["scope"]["scope"], "library");

    // What was recorded is what replay reads: whole, and oldest first.
    let file = stack.dir().join("records.jsonl");
    let recorded = resolver(&stack, &["record", "--out", file.to_str().unwrap()]).ok();
    let text = std::fs::read_to_string(&file).unwrap();
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(recorded["records"], records.len());
    assert!(records.len() >= 4);
    assert!(records.is_sorted_by(|a, b| {
        a["record"]["at"].as_str().unwrap() <= b["record"]["at"].as_str().unwrap()
    }));
    let replayed = resolver(
        &stack,
        &[
            "replay",
            file.to_str().unwrap(),
            "--with",
            &fixture("priority-deadline"),
        ],
    );
    assert_eq!(replayed.code, 0, "{replayed:?}");

    // The ledger has a leaf of each decision, and still verifies.
    let ledger = stack.run(["ledger", "verify"]).ok();
    assert_eq!(ledger["verified"], true);
    assert!(ledger["size"].as_u64().unwrap() > 4, "{ledger}");
    assert_eq!(stack.run(["status"]).ok()["committed"], 4);
}

#[test]
fn a_hostile_resolver_delays_nothing_and_loses_nothing() {
    // The name of the pool tells the hostile component what to do: spin for ever.
    let stack = Stack::start_with(&["--pool", "count"], &[]);
    let register = ["service", "register", "a", "--pool", "count"];
    stack.run(register).ok();
    resolver(&stack, &["publish", &fixture("hostile"), "--untested"]).ok();
    resolver(&stack, &["bind", "pool:count", "hostile@1.0.0"]).ok();
    let mut committed = Vec::new();
    for version in ["1", "2", "3", "4", "5", "6"] {
        committed.push(commit(&stack, "a", version));
    }
    let list = decisions(&stack);
    let hostile: Vec<&Value> = list
        .iter()
        .filter(|one| one["resolver"]["name"] == "hostile")
        .collect();
    assert!(hostile.len() >= 6, "{list:?}");
    for one in &hostile {
        assert_eq!(one["fallback"], "built_in", "{one}");
        let outcome = one["call"]["outcome"].as_str().unwrap();
        assert!(
            ["out_of_fuel", "timed_out", "unavailable"].contains(&outcome),
            "{one}"
        );
    }
    // Five of twenty failed: from the sixth on it is not even called.
    let bound = binding(&stack, "pool:count");
    assert!(bound["quarantined_at"].is_string(), "{bound}");
    assert_eq!(hostile[0]["call"]["outcome"], "unavailable");
    for (id, version) in committed.iter().zip(1..) {
        let name = format!("a-{version}");
        assert_eq!(tree(&stack.restore(id))[&name], noise(3, 20_000));
    }
    assert_eq!(stack.run(["ledger", "verify"]).ok()["verified"], true);
}

#[test]
fn what_is_no_resolver_is_refused_by_code_and_field() {
    let stack = Stack::start();
    let path = |name: &str, bytes: &[u8]| {
        let path = stack.file(name, bytes);
        path.to_str().unwrap().to_owned()
    };
    let good = std::fs::read(fixture("priority-deadline")).unwrap();
    let garbage = path("garbage.wasm", &noise(1, 50_000));
    let cut = path("cut.wasm", &good[..good.len() / 2]);
    let large = path("large.wasm", &vec![0; 24 * 1024 * 1024 + 1]);
    for component in [&garbage, &cut, &large] {
        let refused = resolver(&stack, &["publish", component, "--untested"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert_eq!(refused.codes(), ["Tapemark.ResolverInvalid"], "{refused:?}");
    }
    // A resolver that breaks the contract when it is tried fails the tests before.
    let limits = path("limits.json", br#"{"fuel":100}"#);
    let starved = [
        "publish",
        &fixture("last-writer"),
        "--name",
        "starved",
        "--limits",
        &limits,
    ];
    let refused = resolver(&stack, &starved);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(refused.codes()[0], "Tapemark.ResolverInvalid");

    let good = fixture("last-writer");
    for (field, name, version) in [("name", "Mine", "1.0.0"), ("version", "mine", "one")] {
        let arguments = [
            "publish",
            good.as_str(),
            "--untested",
            "--name",
            name,
            "--version",
            version,
        ];
        let refused = resolver(&stack, &arguments);
        assert_eq!(refused.codes(), ["Tapemark.InvalidRequest"], "{refused:?}");
        assert_eq!(refused.refusals()[0]["field"], field, "{refused:?}");
    }
    for (arguments, code) in [
        (&["bind", "pool:main", "nobody"][..], "Tapemark.NotFound"),
        (
            &["bind", "pool:none", "priority-deadline"],
            "Tapemark.NotFound",
        ),
        (&["shadow", "pool:main"], "Tapemark.NotFound"),
        (&["promote", "pool:main"], "Tapemark.NotFound"),
        (
            &["decision", "00000000-0000-7000-8000-000000000000"],
            "Tapemark.NotFound",
        ),
    ] {
        let refused = resolver(&stack, arguments);
        assert_eq!(refused.codes(), [code], "{arguments:?} {refused:?}");
    }
    assert_eq!(resolver(&stack, &["bind", "main", "x"]).code, 2);
}

#[test]
fn bindings_and_compiled_code_outlive_the_stack_and_tampered_code_is_not_run() {
    let mut stack = Stack::start();
    stack.register(&["a"]);
    resolver(&stack, &["publish", &fixture("last-writer")]).ok();
    resolver(&stack, &["bind", "service:a", "last-writer"]).ok();
    // The built-in ones are compiled in the background.
    stack.until("all built-in resolvers", || {
        let list = resolver(&stack, &["list"]).ok();
        (list["releases"].as_array()?.len() >= 6).then_some(())
    });
    let before = (binding(&stack, "service:a"), compiled(&stack));
    stack.kill_and_restart();
    assert_eq!(binding(&stack, "service:a"), before.0);
    assert_eq!(compiled(&stack), before.1, "nothing is compiled again");
    commit(&stack, "a", "1");
    assert_eq!(decisions(&stack)[0]["resolver"]["name"], "last-writer");

    // One changed byte of native code, and a record that nobody signed.
    stack.kill();
    let bound = before.0["live"]["component"].as_str().unwrap();
    let (code, _) = before
        .1
        .iter()
        .find(|(path, _)| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(bound) && name.contains(std::env::consts::ARCH)
        })
        .unwrap();
    let honest = std::fs::read(code).unwrap();
    let mut bytes = honest.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(code, bytes).unwrap();
    stack.up();
    assert_eq!(std::fs::read(code).unwrap(), honest, "compiled anew");
    commit(&stack, "a", "2");
    let newest = decisions(&stack)[0].clone();
    assert_eq!(newest["call"]["outcome"], "decided", "{newest}");
    assert!(newest["fallback"].is_null(), "{newest}");
}
