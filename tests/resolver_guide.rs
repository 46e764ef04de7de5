//! The guide for resolver authors, `plugins/README.md`, is enough: its commands, as they
//! stand there, lead from an idea to production and back, in each language.
//!
//! Needs the compilers that `.ci/setup` installs. What is missing is said, and is a failure
//! with `TAPEMARK_TEST_REQUIRE=all`.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use serde_json::Value;
use support::{Stack, noise};

const GUIDE: &str = include_str!("../plugins/README.md");

/// The commands of the guide, word by word, without their comments.
fn commands() -> Vec<Vec<&'static str>> {
    let mut within = false;
    let mut commands = Vec::new();
    for line in GUIDE.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            within = fence == "sh";
        } else if within && line.starts_with("tapemark resolver ") {
            let command = line.split(" #").next().unwrap();
            commands.push(command.split_whitespace().skip(1).collect());
        }
    }
    commands
}

/// False, with a line that says so, where a program is missing; a failure where none may be.
fn have(programs: &[&str]) -> bool {
    for program in programs {
        let found = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        });
        if !found {
            let message = format!("SKIPPED: the program {program} is missing; run .ci/setup");
            let required = std::env::var("TAPEMARK_TEST_REQUIRE").is_ok_and(|v| v == "all");
            assert!(!required, "{message}");
            eprintln!("{message}");
            return false;
        }
    }
    true
}

/// Follows the guide, and gives what each subcommand answered last.
fn follow(lang: &str) {
    let stack = Stack::start();
    stack.register(&["a"]);
    let commit = |version: &str| {
        let file = stack.file(version, &noise(version.len() as u64, 20_000));
        stack.commit("a", version, &file);
    };
    commit("1");
    let mut seen = Vec::new();
    let project = stack.dir().join("quiet-hours");
    for mut words in commands() {
        let subcommand = words[1];
        for n in 1..words.len() {
            match words[n - 1] {
                "--lang" => words[n] = lang,
                // Whatever day it is.
                "--until" => words[n] = "2999-01-01T00:00:00Z",
                // So that it sees the one decision below.
                "--percent" => words[n] = "100",
                _ => {}
            }
        }
        let mut command = stack.command();
        if subcommand != "new" {
            command.current_dir(&project);
        }
        // One standard library for WebAssembly, for all tests and all runs.
        command.env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests"),
        );
        let answer = support::answer(command.args(&words).output().unwrap());
        let json = answer.ok();
        check(subcommand, &json);
        if subcommand == "shadow" && !seen.contains(&"shadow") {
            commit("22");
        }
        seen.push(subcommand);
    }
    for step in [
        "new",
        "build",
        "inspect",
        "test",
        "record",
        "replay",
        "publish",
        "bind",
        "shadow",
        "promote",
        "list",
        "decisions",
        "rollback",
    ] {
        assert!(seen.contains(&step), "the guide tells of {step}");
    }
    assert!(project.join("report.xml").is_file());
}

fn check(subcommand: &str, json: &Value) {
    match subcommand {
        "inspect" => assert_eq!(json["info"]["name"], "quiet-hours", "{json}"),
        "test" => assert_ne!(json["status"], "fail", "{json}"),
        "publish" => assert_eq!(json["name"], "quiet-hours", "{json}"),
        "promote" => assert_eq!(json["live"]["name"], "quiet-hours", "{json}"),
        "rollback" => assert_eq!(json["live"]["name"], "priority-deadline", "{json}"),
        _ => {}
    }
}

#[test]
fn the_guide_is_enough_in_c() {
    if have(&["clang-19", "wasm-ld-19"]) {
        follow("c");
    }
}

#[test]
fn the_guide_is_enough_in_javascript() {
    if have(&["componentize-qjs", "node"]) {
        follow("js");
    }
}

#[test]
fn the_guide_is_enough_in_python() {
    if have(&["componentize-py", "python3"]) {
        follow("python");
    }
}

#[test]
fn the_guide_is_enough_in_rust() {
    if have(&["cargo", "rustc"]) {
        follow("rust");
    }
}
