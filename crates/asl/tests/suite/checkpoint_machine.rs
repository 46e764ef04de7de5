//! A machine of the shape Tapemark runs: invoke, wait for an agent, fence, resume, give up.

use serde_json::{Value, json};

use crate::support::{outcome, run_with, types};

fn invoke(phase: &str, next: &str, catch: Value) -> Value {
    json!({ "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 120,
        "Parameters": { "FunctionName": format!("${{{phase}}}"), "Payload.$": "$" },
        "ResultSelector": { "value.$": "$.Payload" }, "ResultPath": format!("$.facts.{}", phase.to_lowercase()),
        "Retry": [
            { "ErrorEquals": ["Tapemark.NoCapacity"], "IntervalSeconds": 15, "MaxDelaySeconds": 600, "MaxAttempts": 500, "JitterStrategy": "FULL" },
            { "ErrorEquals": ["Lambda.TooManyRequestsException", "Tapemark.Transient"], "MaxAttempts": 6, "JitterStrategy": "FULL" }],
        "Catch": catch, "Next": next })
}

fn all_to(next: &str) -> Value {
    json!([{ "ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": next }])
}

fn machine() -> Value {
    let execute = json!({ "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "HeartbeatSeconds": 120, "TimeoutSeconds": 172_800,
        "Parameters": { "FunctionName": "${Execute}", "Payload": {
            "token.$": "$$.Task.Token", "run.$": "$.run",
            "key.$": "States.Format('{}/execute/{}/{}', $.run.id, $.run.placement, $.run.attempt)" } },
        "ResultPath": "$.facts.execute",
        "Catch": [
            { "ErrorEquals": ["States.HeartbeatTimeout", "States.Timeout", "Tapemark.FenceLost"], "ResultPath": "$.error", "Next": "Fence" },
            { "ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "MarkFailed" }],
        "Next": "Commit" });
    let resume = json!({ "Type": "Choice", "Default": "MarkFailed", "Choices": [{ "Next": "NextAttempt", "And": [
        { "Variable": "$.facts.fence.value.usable", "BooleanEquals": true },
        { "Variable": "$.run.attempt", "NumericLessThan": 2 }] }] });
    json!({ "StartAt": "Begin", "TimeoutSeconds": 7_776_000, "States": {
        "Begin": { "Type": "Pass", "Next": "Validate", "Parameters": {
            "job.$": "$", "facts": {}, "error": {},
            "run": { "id.$": "$$.Execution.Name", "placement": 0, "attempt": 0 } } },
        "Validate": invoke("Validate", "Allocate", all_to("MarkFailed")),
        "Allocate": invoke("Allocate", "Execute", all_to("MarkFailed")),
        "Execute": execute,
        "Fence": invoke("Fence", "CanResume", all_to("MarkFailed")),
        "CanResume": resume,
        "NextAttempt": { "Type": "Pass", "ResultPath": "$.run", "Next": "Execute", "Parameters": {
            "id.$": "$.run.id", "placement.$": "$.run.placement",
            "attempt.$": "States.MathAdd($.run.attempt, 1)" } },
        "Commit": invoke("Commit", "Done", all_to("MarkFailed")),
        "Done": { "Type": "Succeed", "OutputPath": "$.facts.commit.value" },
        "MarkFailed": invoke("MarkFailed", "Failed", all_to("Failed")),
        "Failed": { "Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause" } } })
}

fn done(state: &str, payload: Value) -> Value {
    json!({ "state": state, "outcome": { "output": { "Payload": payload } } })
}

fn failed(state: &str, error: &str) -> Value {
    json!({ "state": state, "outcome": { "error": error, "cause": "because" } })
}

#[test]
fn all_goes_well_after_waiting_for_capacity() {
    let tasks = json!([done("Validate", json!(1)), failed("Allocate", "Tapemark.NoCapacity"),
        failed("Allocate", "Tapemark.NoCapacity"), done("Allocate", json!({ "tape": "T1" })),
        { "state": "Execute", "outcome": { "output": { "position": 7 } },
          "parameters": { "FunctionName": "${Execute}", "Payload": { "token": "?",
            "run": { "id": "execution", "placement": 0, "attempt": 0 }, "key": "execution/execute/0/0" } } },
        done("Commit", json!({ "checkpoint": "c" }))]);
    let result = run_with(&machine(), json!({ "service": "s" }), tasks);
    assert_eq!(outcome(&result), r#"{"checkpoint":"c"}"#);
    assert_eq!(result.get("parameter_mismatches"), None);
}

#[test]
fn an_agent_dies_and_the_next_attempt_resumes() {
    let tasks = json!([done("Validate", json!(1)), done("Allocate", json!(1)),
        { "state": "Execute", "outcome": { "timeout": true } }, done("Fence", json!({ "usable": true })),
        { "state": "Execute", "outcome": { "output": {} },
          "parameters": { "FunctionName": "${Execute}", "Payload": { "token": "?",
            "run": { "id": "execution", "placement": 0, "attempt": 1 }, "key": "execution/execute/0/1" } } },
        done("Commit", json!("ok"))]);
    let result = run_with(&machine(), json!({}), tasks);
    assert_eq!(outcome(&result), r#""ok""#);
    assert_eq!(result.get("parameter_mismatches"), None);
    assert!(types(&result).contains(&"TaskTimedOut"));
}

#[test]
fn an_agent_that_dies_for_ever_ends_with_its_error() {
    let mut tasks = vec![
        done("Validate", json!(1)),
        done("Allocate", json!(1)),
        done("MarkFailed", json!(1)),
    ];
    for _ in 0..3 {
        tasks.push(failed("Execute", "Tapemark.FenceLost"));
        tasks.push(done("Fence", json!({ "usable": true })));
    }
    let result = run_with(&machine(), json!({}), json!(tasks));
    assert_eq!(outcome(&result), "Tapemark.FenceLost: because");
}

#[test]
fn a_refused_job_is_marked_and_fails_by_its_own_name() {
    let tasks = json!([
        failed("Validate", "Tapemark.UnknownService"),
        failed("MarkFailed", "Lambda.Unknown")
    ]);
    let result = run_with(&machine(), json!({}), tasks);
    assert_eq!(
        result["error"], "Lambda.Unknown",
        "the last error is the one that is told"
    );
}

/// The machine that is shipped.
fn shipped() -> Value {
    serde_json::from_str(include_str!(
        "../../../../infra/state-machine/checkpoint.asl.json"
    ))
    .expect("the shipped machine is JSON")
}

/// How a run of it ends that is valid and then meets these outcomes.
fn shipped_ends(mut tasks: Vec<Value>) -> Value {
    tasks.insert(0, done("Validate", json!({})));
    let input = json!({ "run": "r", "group": "g" });
    run_with(&shipped(), input, json!(tasks))
}

#[test]
fn being_busy_or_late_is_no_reason_to_refuse_a_group() {
    for (error, times) in [("Tapemark.Conflict", 100), ("Tapemark.Transient", 20)] {
        let mut tasks = vec![failed("Allocate", error); times];
        tasks.push(done("Allocate", json!({ "outcome": "merged" })));
        assert_eq!(shipped_ends(tasks)["status"], "SUCCEEDED", "{error}");
    }
    let late = json!({ "state": "Allocate", "outcome": { "timeout": true } });
    let merged = done("Allocate", json!({ "outcome": "merged" }));
    assert_eq!(shipped_ends(vec![late, merged])["status"], "SUCCEEDED");
}

/// How Step Functions names the end of a function's process (developer guide, *Handling
/// errors*): out of memory, aborted, out of time.
#[test]
fn a_function_that_died_is_asked_again() {
    for error in ["Runtime.ExitError", "Sandbox.Timedout", "Lambda.Unknown"] {
        let tasks = json!([
            failed("Validate", error),
            done("Validate", json!({})),
            failed("Allocate", error),
            done("Allocate", json!({ "outcome": "merged" }))
        ]);
        let input = json!({ "run": "r", "group": "g" });
        let result = run_with(&shipped(), input, tasks);
        assert_eq!(result["status"], "SUCCEEDED", "{error}: {result}");
    }
}

#[test]
fn a_duplicate_that_has_waited_long_is_decided_anew() {
    let result = shipped_ends(vec![
        done("Allocate", json!({ "outcome": "wait" })),
        json!({ "state": "Follow", "outcome": { "timeout": true } }),
        done("Allocate", json!({ "outcome": "merged" })),
    ]);
    assert_eq!(result["status"], "SUCCEEDED", "{result}");
}

#[test]
fn a_commit_that_loses_races_goes_on_trying() {
    let placed = json!({ "outcome": "proceed" });
    let on_tape = |state: &str| json!({ "state": state, "outcome": { "output": {} } });
    let mut tasks = vec![
        done("Allocate", placed),
        on_tape("Execute"),
        on_tape("Verify"),
    ];
    tasks.extend(vec![failed("Commit", "Tapemark.Conflict"); 100]);
    tasks.push(done("Commit", json!({})));
    assert_eq!(shipped_ends(tasks)["status"], "SUCCEEDED");
}
