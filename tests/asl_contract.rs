//! The engine's contract on the command line: what goes in and what comes out.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{Answer, TAPEMARK, answer};

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, value: &Value) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        path
    }
}

fn asl(arguments: &[&str]) -> Answer {
    answer(
        Command::new(TAPEMARK)
            .arg("asl")
            .args(arguments)
            .output()
            .unwrap(),
    )
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn machine() -> Value {
    json!({
        "StartAt": "Ship",
        "States": {
            "Ship": {
                "Type": "Task",
                "Resource": "arn:aws:lambda:us-east-1:000000000000:function:ship",
                "Parameters": { "n.$": "$.n" },
                "Retry": [{ "ErrorEquals": ["Busy"], "IntervalSeconds": 3600, "MaxAttempts": 2 }],
                "Next": "Rest"
            },
            "Rest": { "Type": "Wait", "Seconds": 86400, "End": true }
        }
    })
}

#[test]
fn run_prints_one_object_with_the_history_and_takes_no_time() {
    let desk = Desk::new();
    let definition = desk.put("machine.json", &machine());
    let input = desk.put("input.json", &json!({ "n": 42 }));
    let tasks = desk.put(
        "tasks.json",
        &json!([
            { "state": "Ship", "attempt": 0, "outcome": { "error": "Busy", "cause": "later" } },
            { "state": "Ship", "attempt": 1, "parameters": { "n": 41 },
              "outcome": { "output": "sent" } },
        ]),
    );
    let run = asl(&[
        "run",
        "--definition",
        text(&definition),
        "--input",
        text(&input),
        "--tasks",
        text(&tasks),
        "--clock",
        "virtual",
        "--json",
    ]);
    let run = run.ok();
    assert_eq!(run["status"], "SUCCEEDED");
    assert_eq!(run["output"], "sent");
    let types: Vec<&str> = run["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["type"].as_str().unwrap())
        .collect();
    assert_eq!(types.first(), Some(&"ExecutionStarted"));
    assert_eq!(types.last(), Some(&"ExecutionSucceeded"));
    assert_eq!(
        types.iter().filter(|t| **t == "WaitStateEntered").count(),
        1
    );
    // What was resolved differs from what the table says, and that is told.
    assert_eq!(run["parameter_mismatches"].as_array().unwrap().len(), 1);
}

#[test]
fn a_run_that_fails_says_how() {
    let desk = Desk::new();
    let definition = desk.put(
        "machine.json",
        &json!({ "StartAt": "No", "States": { "No": { "Type": "Fail", "Error": "E", "Cause": "C" } } }),
    );
    let input = desk.put("input.json", &json!({}));
    let run = asl(&[
        "run",
        "--definition",
        text(&definition),
        "--input",
        text(&input),
        "--json",
    ]);
    let run = run.ok();
    assert_eq!(
        (&run["status"], &run["error"], &run["cause"]),
        (&json!("FAILED"), &json!("E"), &json!("C"))
    );
    // For people, the exit code says it, too.
    let run = asl(&[
        "run",
        "--definition",
        text(&definition),
        "--input",
        text(&input),
    ]);
    assert_eq!(run.code, 1);
}

#[test]
fn validate_says_ok_or_fail_with_places() {
    let desk = Desk::new();
    let good = desk.put("good.json", &machine());
    let answer = asl(&["validate", "--definition", text(&good), "--json"]).ok();
    assert_eq!(answer, json!({ "result": "OK", "diagnostics": [] }));
    let bad = desk.put("bad.json", &json!({ "StartAt": "Nowhere", "States": {} }));
    let answer = asl(&["validate", "--definition", text(&bad), "--json"]).ok();
    assert_eq!(answer["result"], "FAIL");
    let first = &answer["diagnostics"][0];
    for key in ["severity", "code", "message", "location"] {
        assert!(first.get(key).is_some(), "{key} in {first}");
    }
}

#[test]
fn a_batch_has_one_answer_a_line_and_survives_bad_lines() {
    let desk = Desk::new();
    let pass = json!({ "StartAt": "P", "States": { "P": { "Type": "Pass", "End": true } } });
    let lines = [
        json!({ "id": "object", "definition": pass, "input": { "n": 1 } }).to_string(),
        json!({ "id": 2, "definition": pass.to_string(), "input": [] }).to_string(),
        "not JSON".to_owned(),
        String::new(),
        json!({ "id": "none" }).to_string(),
    ];
    let cases = desk.0.path().join("cases.jsonl");
    std::fs::write(&cases, lines.join("\n")).unwrap();
    let output = Command::new(TAPEMARK)
        .args(["asl", "batch", "--cases", text(&cases)])
        .output()
        .unwrap();
    assert!(output.status.success());
    let answers: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let short: Vec<Value> = answers
        .iter()
        .map(|a| json!([a["id"], a["status"], a["output"]]))
        .collect();
    assert_eq!(
        short,
        [
            json!(["object", "SUCCEEDED", { "n": 1 }]),
            json!([2, "SUCCEEDED", []]),
            json!([null, "ERROR", null]),
            json!(["none", "ERROR", null]),
        ]
    );
}

#[test]
fn the_shipped_state_machine_is_valid() {
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/state-machine/checkpoint.asl.json");
    let answer = asl(&["validate", "--definition", text(&shipped), "--json"]).ok();
    assert_eq!(answer["result"], "OK", "{answer}");
}

#[test]
fn a_file_that_is_not_there_is_a_wrong_command_line() {
    let run = asl(&["validate", "--definition", "/nowhere.json", "--json"]);
    assert_eq!(run.code, 2);
}
