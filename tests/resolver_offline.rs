//! What a resolver's author does without an installation: begin, build, inspect, test,
//! replay, measure. Each through the `tapemark` command, as an author would.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What a command answered: exit code, standard output, standard error, both as JSON where
/// they are.
struct Answer {
    code: i32,
    json: Value,
    stdout: String,
    stderr: String,
}

impl Answer {
    #[track_caller]
    fn ok(self) -> Value {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self.json
    }

    /// The first refusal, of a command that failed with this exit code.
    #[track_caller]
    fn refused(&self, exit: i32, code: &str) -> String {
        assert_eq!(self.code, exit, "{}\n{}", self.stdout, self.stderr);
        let errors: Value = serde_json::from_str(self.stderr.lines().last().unwrap()).unwrap();
        assert_eq!(errors["errors"][0]["code"], code, "{errors}");
        errors["errors"][0]["message"].as_str().unwrap().to_owned()
    }
}

/// Runs `tapemark resolver ... --json` in a folder.
fn resolver(dir: &Path, arguments: &[&str]) -> Answer {
    run(dir, arguments, &["--json"])
}

fn run(dir: &Path, arguments: &[&str], more: &[&str]) -> Answer {
    let done = Command::new(env!("CARGO_BIN_EXE_tapemark"))
        .arg("resolver")
        .args(arguments)
        .args(more)
        .current_dir(dir)
        .env_remove("TAPEMARK_URL")
        .env_remove("TAPEMARK_TOKEN")
        .output()
        .unwrap();
    let stdout = String::from_utf8(done.stdout).unwrap();
    Answer {
        code: done.status.code().unwrap(),
        json: serde_json::from_str(&stdout).unwrap_or_default(),
        stdout,
        stderr: String::from_utf8(done.stderr).unwrap(),
    }
}

/// A component of this repository, as it is committed.
fn fixture(name: &str) -> String {
    let path = format!(
        "{}/../plugins/fixtures/{name}.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    let path = PathBuf::from(path).canonicalize().unwrap();
    path.to_str().unwrap().to_owned()
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_project_begins_in_each_language_and_nothing_is_overwritten() {
    let dir = dir();
    for lang in ["rust", "js", "python", "c"] {
        let name = format!("my-{lang}");
        let made = resolver(dir.path(), &["new", &name, "--lang", lang]).ok();
        assert_eq!(made["lang"], lang);
        for file in made["files"].as_array().unwrap() {
            assert!(
                dir.path()
                    .join(&name)
                    .join(file.as_str().unwrap())
                    .is_file()
            );
        }
        let manifest = std::fs::read_to_string(dir.path().join(&name).join("resolver.toml"));
        assert!(manifest.unwrap().contains(&format!("name = \"{name}\"")));
        let again = resolver(dir.path(), &["new", &name, "--lang", lang]);
        let why = again.refused(1, "Tapemark.InvalidRequest");
        assert!(why.contains("expected an empty folder"), "{why}");
    }
    let bad = resolver(dir.path(), &["new", "My_Policy", "--lang", "rust"]);
    let why = bad.refused(1, "Tapemark.InvalidRequest");
    assert!(why.contains("My_Policy"), "{why}");
    assert!(!dir.path().join("My_Policy").exists());
}

/// A project whose build is `command`.
fn project(dir: &Path, command: &[&str]) {
    let manifest = format!(
        "name = \"mine\"\nlang = \"rust\"\nbuild = {}\noutput = \"dist/mine.wasm\"\n",
        json!(command)
    );
    std::fs::write(dir.join("resolver.toml"), manifest).unwrap();
}

#[test]
fn a_build_ends_with_a_component_that_was_looked_at() {
    let dir = dir();
    let copy = format!(
        "echo building; mkdir -p dist; cp {} dist/mine.wasm",
        fixture("priority-deadline")
    );
    project(dir.path(), &["sh", "-c", &copy]);
    let built = resolver(dir.path(), &["build"]).ok();
    assert_eq!(built["info"]["name"], "priority-deadline");
    assert_eq!(built["findings"], json!([]));
    assert_eq!(built["limits"]["fuel"], 100_000_000);
}

#[test]
fn a_build_that_cannot_be_says_what_to_install() {
    let dir = dir();
    project(dir.path(), &["no-such-tool", "--release"]);
    let why = resolver(dir.path(), &["build"]).refused(1, "Tapemark.InvalidRequest");
    assert!(
        why.contains("no-such-tool") && why.contains("rustup target add"),
        "{why}"
    );
    project(dir.path(), &["false"]);
    let why = resolver(dir.path(), &["build"]).refused(1, "Tapemark.InvalidRequest");
    assert!(why.contains("expected success"), "{why}");
    std::fs::write(dir.path().join("resolver.toml"), "name = 1").unwrap();
    let why = resolver(dir.path(), &["build"]).refused(1, "Tapemark.InvalidRequest");
    assert!(why.contains("resolver.toml"), "{why}");
}

#[test]
fn a_component_is_what_its_bytes_are() {
    let dir = dir();
    let file = fixture("priority-deadline");
    let seen = resolver(dir.path(), &["inspect", &file]).ok();
    let digest = Sha256::digest(std::fs::read(&file).unwrap());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(seen["component"], hex);
    assert_eq!(seen["interface"], "tapemark:resolver/policy@1.0.0");
    assert_eq!(seen["describe_failed"], Value::Null);

    let module = dir.path().join("module.wasm");
    std::fs::write(&module, b"\0asm\x01\0\0\0").unwrap();
    let no = resolver(dir.path(), &["inspect", "module.wasm"]);
    no.refused(1, "Tapemark.ResolverInvalid");
    std::fs::write(&module, vec![0; (24 << 20) + 1]).unwrap();
    let no = resolver(dir.path(), &["inspect", "module.wasm"]);
    let why = no.refused(1, "Tapemark.ResolverInvalid");
    assert!(why.contains("at most"), "{why}");
}

#[test]
fn the_kit_passes_the_default_and_fails_a_liar() {
    let dir = dir();
    let default = fixture("priority-deadline");
    let arguments = ["test", &default, "--quick", "--junit", "out/report.xml"];
    let report = resolver(dir.path(), &arguments).ok();
    assert_eq!(report["status"], "pass", "{report}");
    assert!(report["fuel"]["max"].as_u64().unwrap() > 0);
    let xml = std::fs::read_to_string(dir.path().join("out/report.xml")).unwrap();
    assert!(xml.contains("failures=\"0\"") && xml.contains("name=\"determinism\""));

    let liar = fixture("hostile");
    let report = resolver(dir.path(), &["test", &liar, "--quick"]);
    assert_eq!(report.code, 1);
    assert_eq!(report.json["status"], "fail");
    let text = run(dir.path(), &["test", &liar, "--quick"], &[]);
    assert!(text.stdout.contains("FAIL  capacity"), "{}", text.stdout);
}

#[test]
fn golden_cases_are_blessed_then_kept() {
    let dir = dir();
    let (default, other) = (fixture("priority-deadline"), fixture("last-writer"));
    let sampled = [
        "sample",
        "--count",
        "1",
        "--size",
        "24",
        "--out",
        "one.jsonl",
    ];
    resolver(dir.path(), &sampled).ok();
    let record: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("one.jsonl")).unwrap()).unwrap();
    let case = dir.path().join("cases/one.json");
    std::fs::create_dir(dir.path().join("cases")).unwrap();
    std::fs::write(&case, json!({ "input": record["input"] }).to_string()).unwrap();

    let cases = |report: &Value| {
        let checks = report["checks"].as_array().unwrap().iter();
        checks
            .clone()
            .find(|check| check["name"] == "cases")
            .unwrap()
            .clone()
    };
    let unblessed = resolver(dir.path(), &["test", &default, "--quick"]);
    assert_eq!(unblessed.code, 1);
    assert!(
        cases(&unblessed.json)["found"][0]
            .as_str()
            .unwrap()
            .contains("--bless")
    );
    let blessed = resolver(dir.path(), &["test", &default, "--quick", "--bless"]).ok();
    assert_eq!(cases(&blessed)["status"], "pass");
    let kept = resolver(dir.path(), &["test", &default, "--quick"]).ok();
    assert_eq!(cases(&kept)["status"], "pass");
    let differs = resolver(dir.path(), &["test", &other, "--quick", "--cases", "cases"]);
    assert_eq!(cases(&differs.json)["status"], "fail", "{}", differs.json);
}

#[test]
fn a_replay_says_what_would_have_changed() {
    let dir = dir();
    let sampled = [
        "sample",
        "--count",
        "300",
        "--size",
        "16",
        "--out",
        "all.jsonl",
    ];
    resolver(dir.path(), &sampled).ok();
    let replay = |with: &str| resolver(dir.path(), &["replay", "all.jsonl", "--with", with]).ok();
    for with in ["native", &fixture("priority-deadline")] {
        let same = replay(with);
        assert_eq!(same["records"], 300);
        assert_eq!(same["was"], same["now"], "{with}: {same}");
        assert_eq!(same["diffs"], json!([]), "{with}");
    }
    let other = replay(&fixture("last-writer"));
    assert!(other["causes"]["action"].as_u64().unwrap() > 0, "{other}");
    assert_ne!(other["was"], other["now"]);
    let diff = &other["diffs"][0]["changes"][0];
    assert!(diff["from"].is_string() && diff["to"].is_string(), "{diff}");
    let other = fixture("last-writer");
    let short = [
        "replay",
        "all.jsonl",
        "--with",
        &other,
        "--limit-diffs",
        "1",
    ];
    let text = run(dir.path(), &short, &[]).stdout;
    assert!(
        text.contains("WOULD BE") && text.contains("more decisions differ"),
        "{text}"
    );
}

#[test]
fn the_same_component_that_decides_otherwise_ends_with_a_code_of_its_own() {
    let dir = dir();
    let sampled = [
        "sample",
        "--count",
        "50",
        "--size",
        "16",
        "--out",
        "all.jsonl",
    ];
    resolver(dir.path(), &sampled).ok();
    // As if last-writer had decided what the native policy did.
    let other = fixture("last-writer");
    let digest = resolver(dir.path(), &["inspect", &other]).ok()["component"].clone();
    let all = std::fs::read_to_string(dir.path().join("all.jsonl")).unwrap();
    let forged: String = all
        .lines()
        .map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record["record"]["resolver"] =
                json!({ "name": "last-writer", "version": "1.0.0", "component": digest });
            format!("{record}\n")
        })
        .collect();
    std::fs::write(dir.path().join("all.jsonl"), forged).unwrap();
    let answer = resolver(dir.path(), &["replay", "all.jsonl", "--with", &other]);
    let why = answer.refused(6, "Tapemark.ResolverInvalid");
    assert!(why.contains("decisions that differ"), "{why}");
    assert!(answer.json["causes"]["fault"].as_u64().unwrap() > 0);
}

#[test]
fn a_line_that_is_no_record_is_named() {
    let dir = dir();
    std::fs::write(dir.path().join("all.jsonl"), "\n{\"record\": {}}\n").unwrap();
    let answer = resolver(dir.path(), &["replay", "all.jsonl", "--with", "native"]);
    let why = answer.refused(1, "Tapemark.InvalidRequest");
    assert!(why.contains("all.jsonl: line 2: expected"), "{why}");
}

#[test]
fn what_a_component_takes_is_measured() {
    let dir = dir();
    let default = fixture("priority-deadline");
    let measured = resolver(dir.path(), &["bench", &default, "--runs", "10"]).ok();
    let sizes = measured["sizes"].as_array().unwrap();
    let requests: Vec<_> = sizes.iter().map(|size| size["requests"].clone()).collect();
    assert_eq!(requests, [1, 32, 256]);
    let fuel: Vec<_> = sizes
        .iter()
        .map(|size| size["fuel"].as_u64().unwrap())
        .collect();
    assert!(fuel.is_sorted() && fuel[0] > 0, "{fuel:?}");
    let too_little = ["bench", &default, "--runs", "10", "--fuel", "10"];
    let no = resolver(dir.path(), &too_little);
    let why = no.refused(1, "Tapemark.ResolverInvalid");
    assert!(why.contains("out_of_fuel"), "{why}");
}
