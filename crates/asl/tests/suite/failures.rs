//! Retriers and catchers.

use serde_json::{Value, json};

use crate::support::{FUNCTION, one, outcome, pass, run_with, types};

/// A task with retriers and catchers (which lead to `Caught`) that fails with these errors and
/// then succeeds with `"ok"`.
fn task(retry: Value, catch: Value, errors: &[&str]) -> Value {
    let caught = catch.as_array().is_some_and(|list| !list.is_empty());
    let state = json!({ "Type": "Task", "Resource": FUNCTION, "Retry": retry, "Catch": catch, "End": true });
    let mut machine = json!({ "StartAt": "T", "States": { "T": state } });
    if caught {
        machine["States"]["Caught"] = pass(json!({}));
    }
    let mut tasks: Vec<Value> = errors
        .iter()
        .map(|error| json!({ "state": "T", "outcome": { "error": error, "cause": "c" } }))
        .collect();
    tasks.push(json!({ "state": "T", "outcome": { "output": "ok" } }));
    run_with(&machine, json!({}), json!(tasks))
}

/// Seconds between the start and each try.
fn tries(result: &Value) -> Vec<f64> {
    let events = result["events"].as_array().expect("events");
    let at = |event: &Value| -> jiff::Timestamp {
        event["timestamp"]
            .as_str()
            .and_then(|t| t.parse().ok())
            .expect("a timestamp")
    };
    let start = at(&events[0]);
    let scheduled = events
        .iter()
        .filter(|e| e["type"] == "LambdaFunctionScheduled");
    scheduled
        .map(|e| at(e).duration_since(start).as_secs_f64())
        .collect()
}

#[test]
fn the_defaults_are_three_tries_after_one_two_and_four_seconds() {
    let retry = json!([{ "ErrorEquals": ["States.ALL"] }]);
    assert_eq!(
        tries(&task(retry.clone(), json!([]), &["E", "E", "E"])),
        [0.0, 1.0, 3.0, 7.0]
    );
    assert_eq!(
        outcome(&task(retry, json!([]), &["E", "E", "E", "E"])),
        "E: c"
    );
}

#[test]
fn delays_grow_to_their_ceiling() {
    let retry = json!([{ "ErrorEquals": ["E"], "IntervalSeconds": 3, "BackoffRate": 2.5, "MaxDelaySeconds": 10, "MaxAttempts": 4 }]);
    assert_eq!(
        tries(&task(retry, json!([]), &["E"; 4])),
        [0.0, 3.0, 10.5, 20.5, 30.5]
    );
}

#[test]
fn jitter_draws_between_nothing_and_the_delay() {
    let retry = json!([{ "ErrorEquals": ["E"], "IntervalSeconds": 100, "BackoffRate": 1, "MaxAttempts": 30, "JitterStrategy": "FULL" }]);
    let tries = tries(&task(retry, json!([]), &["E"; 30]));
    let delays: Vec<f64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        delays.iter().all(|d| (0.0..=100.0).contains(d)),
        "{delays:?}"
    );
    assert!(
        delays.iter().any(|d| *d < 40.0) && delays.iter().any(|d| *d > 60.0),
        "{delays:?}"
    );
}

#[test]
fn the_first_retrier_that_fits_decides_and_each_counts_for_itself() {
    let retry = json!([
        { "ErrorEquals": ["A"], "MaxAttempts": 1, "IntervalSeconds": 10 },
        { "ErrorEquals": ["B", "C"], "MaxAttempts": 2, "IntervalSeconds": 1, "BackoffRate": 1 },
        { "ErrorEquals": ["States.ALL"], "MaxAttempts": 9 }]);
    assert_eq!(
        tries(&task(retry.clone(), json!([]), &["B", "A", "C"])),
        [0.0, 1.0, 11.0, 12.0]
    );
    assert_eq!(
        outcome(&task(retry, json!([]), &["A", "A"])),
        "A: c",
        "the last retrier does not help out"
    );
}

#[test]
fn a_retrier_with_no_attempts_excludes_an_error() {
    let retry =
        json!([{ "ErrorEquals": ["Fatal"], "MaxAttempts": 0 }, { "ErrorEquals": ["States.ALL"] }]);
    assert_eq!(tries(&task(retry, json!([]), &["Fatal"])), [0.0]);
}

#[test]
fn names_that_stand_for_many() {
    let catch = |name: &str| json!([{ "ErrorEquals": [name], "Next": "Caught" }]);
    let caught = r#"{"Error":"Any","Cause":"c"}"#;
    assert_eq!(
        outcome(&task(json!([]), catch("States.ALL"), &["Any"])),
        caught
    );
    assert_eq!(
        outcome(&task(json!([]), catch("States.TaskFailed"), &["Any"])),
        caught
    );
    assert_eq!(
        outcome(&task(json!([]), catch("any"), &["Any"])),
        "Any: c",
        "names match exactly"
    );
    assert_eq!(
        outcome(&task(
            json!([]),
            catch("States.TaskFailed"),
            &["States.Timeout"]
        )),
        "States.Timeout: c"
    );
    assert_eq!(
        outcome(&task(json!([]), catch("States.ALL"), &["States.Runtime"])),
        "States.Runtime: c"
    );
}

#[test]
fn a_catcher_follows_used_up_retriers_and_keeps_the_input() {
    let retry = json!([{ "ErrorEquals": ["E"], "MaxAttempts": 1 }]);
    let machine = json!({ "StartAt": "T", "States": {
        "T": { "Type": "Task", "Resource": FUNCTION, "InputPath": "$.in", "Retry": retry, "End": true,
            "Catch": [{ "ErrorEquals": ["Other"], "Next": "Wrong" },
                      { "ErrorEquals": ["E"], "ResultPath": "$.failure", "Next": "Caught" }] },
        "Wrong": { "Type": "Fail" }, "Caught": pass(json!({})) } });
    let tasks = json!([{ "state": "T", "outcome": { "error": "E", "cause": "1" } }, { "state": "T", "outcome": { "error": "E", "cause": "2" } }]);
    let result = run_with(&machine, json!({ "in": 1 }), tasks);
    assert_eq!(
        outcome(&result),
        r#"{"in":1,"failure":{"Error":"E","Cause":"2"}}"#
    );
    assert_eq!(
        types(&result)[2..9],
        [
            "LambdaFunctionScheduled",
            "LambdaFunctionStarted",
            "LambdaFunctionFailed",
            "LambdaFunctionScheduled",
            "LambdaFunctionStarted",
            "LambdaFunctionFailed",
            "TaskStateExited"
        ]
    );
}

#[test]
fn what_is_not_known_of_a_failure_is_empty_for_a_catcher() {
    let machine = json!({ "StartAt": "P", "States": {
        "P": { "Type": "Parallel", "End": true, "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Caught" }],
            "Branches": [{ "StartAt": "F", "States": { "F": { "Type": "Fail" } } }] },
        "Caught": pass(json!({})) } });
    assert_eq!(
        outcome(&run_with(&machine, json!({}), json!([]))),
        r#"{"Error":"","Cause":""}"#
    );
}

#[test]
fn counts_start_anew_with_each_visit() {
    let machine = json!({ "StartAt": "T", "States": {
        "T": { "Type": "Task", "Resource": FUNCTION, "ResultPath": null, "Next": "Again",
            "Retry": [{ "ErrorEquals": ["E"], "MaxAttempts": 1 }] },
        "Again": { "Type": "Choice", "Default": "Z",
            "Choices": [{ "And": [{ "Variable": "$", "IsNumeric": true }, { "Variable": "$", "NumericEquals": 1 }], "Next": "Set" }] },
        "Set": { "Type": "Pass", "Result": 2, "Next": "T" },
        "Z": { "Type": "Succeed" } } });
    let failed = json!({ "state": "T", "attempt": 1, "outcome": { "error": "E" } });
    let fine = json!({ "state": "T", "attempt": 2, "outcome": { "output": 1 } });
    let tasks = json!([failed, fine, failed, fine]);
    assert_eq!(outcome(&run_with(&machine, json!(1), tasks)), "2");
}

#[test]
fn a_retrier_without_delay_on_a_state_that_records_nothing_comes_to_an_end() {
    let map = json!({ "Type": "Map", "ItemsPath": "$.no", "End": true,
        "Retry": [{ "ErrorEquals": ["States.ALL"], "IntervalSeconds": 0, "MaxAttempts": 99999999 }],
        "ItemProcessor": { "StartAt": "I", "States": { "I": pass(json!({})) } } });
    let result = run_with(&one(map), json!({}), json!([]));
    assert_eq!(result["status"], "FAILED");
}

#[test]
fn the_machines_timeout_cuts_a_retry_delay() {
    let machine = json!({ "StartAt": "T", "TimeoutSeconds": 5, "States": {
        "T": { "Type": "Task", "Resource": FUNCTION, "End": true,
            "Retry": [{ "ErrorEquals": ["E"], "IntervalSeconds": 10 }] } } });
    let tasks = json!([{ "state": "T", "outcome": { "error": "E" } }]);
    let result = run_with(&machine, json!({}), tasks);
    assert_eq!(result["status"], "TIMED_OUT");
    assert_eq!(result["error"], json!(null));
}

#[test]
fn a_task_that_hangs_meets_the_machines_timeout() {
    let machine = json!({ "StartAt": "T", "TimeoutSeconds": 5, "States": {
        "T": { "Type": "Task", "Resource": FUNCTION, "End": true } } });
    let tasks = json!([{ "state": "T", "outcome": { "timeout": true } }]);
    let result = run_with(&machine, json!({}), tasks);
    assert_eq!(
        types(&result)[2..],
        [
            "LambdaFunctionScheduled",
            "LambdaFunctionStarted",
            "ExecutionTimedOut"
        ]
    );
}
