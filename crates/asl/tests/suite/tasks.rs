//! Tasks of all kinds: their events, parameters, tokens, and the table of outcomes.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::support::{FUNCTION, history, one, outcome, run, run_with, types};

fn check(state: Value, input: Value, tasks: Value, expected: Expect) {
    expected.assert_eq(&history(&run_with(&one(state), input, tasks)));
}

#[test]
fn a_function_by_its_arn() {
    let state = json!({ "Type": "Task", "Resource": FUNCTION, "TimeoutSeconds": 5, "End": true });
    let tasks = json!([{ "state": "S", "outcome": { "output": { "ok": true } } }]);
    check(
        state,
        json!({ "a": 1 }),
        tasks,
        expect![[r#"
        1<0 ExecutionStarted {"input":"{\"a\":1}"}
        2<0 TaskStateEntered {"name":"S","input":"{\"a\":1}"}
        3<2 LambdaFunctionScheduled {"input":"{\"a\":1}","resource":"arn:aws:lambda:us-east-1:000000000000:function:work","timeoutInSeconds":5}
        4<3 LambdaFunctionStarted
        5<4 LambdaFunctionSucceeded {"output":"{\"ok\":true}"}
        6<5 TaskStateExited {"name":"S","output":"{\"ok\":true}"}
        7<6 ExecutionSucceeded {"output":"{\"ok\":true}"}
        SUCCEEDED {"ok":true}
    "#]],
    );
}

#[test]
fn a_function_that_fails() {
    let state = json!({ "Type": "Task", "Resource": FUNCTION, "End": true });
    let tasks = json!([{ "state": "S", "outcome": { "error": "Oops", "cause": "{\"errorType\":\"Oops\"}" } }]);
    check(
        state,
        json!({}),
        tasks,
        expect![[r#"
        1<0 ExecutionStarted {"input":"{}"}
        2<0 TaskStateEntered {"name":"S","input":"{}"}
        3<2 LambdaFunctionScheduled {"input":"{}","resource":"arn:aws:lambda:us-east-1:000000000000:function:work"}
        4<3 LambdaFunctionStarted
        5<4 LambdaFunctionFailed {"cause":"{\"errorType\":\"Oops\"}","error":"Oops"}
        6<5 ExecutionFailed {"cause":"{\"errorType\":\"Oops\"}","error":"Oops"}
        FAILED Oops: {"errorType":"Oops"}
    "#]],
    );
}

#[test]
fn a_function_that_takes_too_long() {
    let state =
        json!({ "Type": "Task", "Resource": FUNCTION, "TimeoutSecondsPath": "$.t", "End": true });
    let tasks = json!([{ "state": "S", "outcome": { "timeout": true } }]);
    check(
        state,
        json!({ "t": 5 }),
        tasks,
        expect![[r#"
        1<0 ExecutionStarted {"input":"{\"t\":5}"}
        2<0 TaskStateEntered {"name":"S","input":"{\"t\":5}"}
        3<2 LambdaFunctionScheduled {"input":"{\"t\":5}","resource":"arn:aws:lambda:us-east-1:000000000000:function:work","timeoutInSeconds":5}
        4<3 LambdaFunctionStarted
        5<4 LambdaFunctionTimedOut {"error":"States.Timeout"}
        6<5 ExecutionFailed {"error":"States.Timeout"}
        FAILED States.Timeout: -
    "#]],
    );
}

#[test]
fn the_optimised_invocation() {
    let state = json!({ "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": { "FunctionName": "f", "Payload.$": "$" },
        "ResultSelector": { "got.$": "$.Payload", "try.$": "$$.State.RetryCount" },
        "ResultPath": "$.answer", "OutputPath": "$.answer", "End": true });
    let tasks = json!([{ "state": "S", "parameters": { "FunctionName": "f", "Payload": 1 },
        "outcome": { "output": { "Payload": { "n": 2 }, "StatusCode": 200 } } }]);
    check(
        state,
        json!({ "k": 1 }),
        tasks,
        expect![[r#"
            1<0 ExecutionStarted {"input":"{\"k\":1}"}
            2<0 TaskStateEntered {"name":"S","input":"{\"k\":1}"}
            3<2 TaskScheduled {"parameters":"{\"FunctionName\":\"f\",\"Payload\":{\"k\":1}}","resource":"invoke","resourceType":"lambda"}
            4<3 TaskStarted {"resource":"invoke","resourceType":"lambda"}
            5<4 TaskSucceeded {"output":"{\"Payload\":{\"n\":2},\"StatusCode\":200}","resource":"invoke","resourceType":"lambda"}
            6<5 TaskStateExited {"name":"S","output":"{\"try\":0,\"got\":{\"n\":2}}"}
            7<6 ExecutionSucceeded {"output":"{\"try\":0,\"got\":{\"n\":2}}"}
            SUCCEEDED {"try":0,"got":{"n":2}}
        "#]],
    );
}

#[test]
fn parameters_that_differ_are_reported() {
    let state = json!({ "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": { "FunctionName": "f", "Payload.$": "$" }, "End": true });
    let tasks = json!([{ "state": "S", "parameters": { "FunctionName": "f", "Payload": { "k": 2 } },
        "outcome": { "output": 1 } }]);
    let result = run_with(&one(state), json!({ "k": 1 }), tasks);
    assert_eq!(
        result["parameter_mismatches"][0]["differences"],
        json!([{ "path": "/Payload/k", "expected": 2, "actual": 1 }])
    );
}

#[test]
fn waiting_for_a_token() {
    let state = json!({ "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": { "QueueUrl": "q", "MessageBody": { "Token.$": "$$.Task.Token" } },
        "HeartbeatSeconds": 5, "TimeoutSeconds": 600, "End": true });
    let tasks = json!([{ "state": "S", "parameters": { "QueueUrl": "q", "MessageBody": { "Token": "any" } },
        "outcome": { "output": "done" } }]);
    let result = run_with(&one(state), json!({}), tasks);
    assert_eq!(
        types(&result)[2..6],
        [
            "TaskScheduled",
            "TaskStarted",
            "TaskSubmitted",
            "TaskSucceeded"
        ]
    );
    assert_eq!(
        result.get("parameter_mismatches"),
        None,
        "any text stands for the token"
    );
    assert_eq!(
        result["events"][2]["taskScheduledEventDetails"]["heartbeatInSeconds"],
        5
    );
}

#[test]
fn an_activity() {
    let arn = "arn:aws:states:us-east-1:000000000000:activity:tape";
    let state = json!({ "Type": "Task", "Resource": arn, "HeartbeatSeconds": 10, "TimeoutSeconds": 60, "End": true });
    let tasks =
        json!([{ "state": "S", "outcome": { "error": "Programmatic Error", "cause": "why" } }]);
    check(
        state,
        json!({ "v": "Hello" }),
        tasks,
        expect![[r#"
        1<0 ExecutionStarted {"input":"{\"v\":\"Hello\"}"}
        2<0 TaskStateEntered {"name":"S","input":"{\"v\":\"Hello\"}"}
        3<2 ActivityScheduled {"input":"{\"v\":\"Hello\"}","resource":"arn:aws:states:us-east-1:000000000000:activity:tape","timeoutInSeconds":60,"heartbeatInSeconds":10}
        4<3 ActivityStarted
        5<4 ActivityFailed {"cause":"why","error":"Programmatic Error"}
        6<5 ExecutionFailed {"cause":"why","error":"Programmatic Error"}
        FAILED Programmatic Error: why
    "#]],
    );
}

#[test]
fn an_sdk_integration_is_named_by_its_service() {
    let state = json!({ "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
        "Parameters": { "Bucket": "b" }, "End": true });
    let tasks = json!([{ "state": "S", "outcome": { "output": {} } }]);
    let result = run_with(&one(state), json!({}), tasks);
    let details = &result["events"][2]["taskScheduledEventDetails"];
    assert_eq!(details["resourceType"], "aws-sdk:s3");
    assert_eq!(details["resource"], "getObject");
}

#[test]
fn what_is_submitted_and_what_is_not() {
    for (resource, outcome, submitted) in [
        (
            "states:startExecution.sync:2",
            json!({ "output": {} }),
            true,
        ),
        (
            "states:startExecution.sync",
            json!({ "error": "States.TaskFailed" }),
            true,
        ),
        (
            "states:startExecution.sync",
            json!({ "error": "StepFunctions.StateMachineDoesNotExistException" }),
            false,
        ),
        (
            "sqs:sendMessage.waitForTaskToken",
            json!({ "error": "SQS.QueueDoesNotExistException" }),
            false,
        ),
        (
            "sqs:sendMessage.waitForTaskToken",
            json!({ "error": "Refused" }),
            true,
        ),
        ("sqs:sendMessage", json!({ "output": {} }), false),
    ] {
        let state = json!({ "Type": "Task", "Resource": format!("arn:aws:states:::{resource}"), "End": true });
        let tasks = json!([{ "state": "S", "outcome": outcome }]);
        let result = run_with(&one(state), json!({}), tasks);
        let (_, action) = resource.split_once(':').expect("a service and an action");
        assert_eq!(
            result["events"][2]["taskScheduledEventDetails"]["resource"],
            action
        );
        assert_eq!(
            types(&result).contains(&"TaskSubmitted"),
            submitted,
            "{resource} {outcome}"
        );
    }
}

#[test]
fn a_failure_may_say_nothing() {
    let state = json!({ "Type": "Task", "Resource": FUNCTION, "End": true });
    for outcome in [json!({}), json!({ "error": null, "cause": null })] {
        let tasks = json!([{ "state": "S", "outcome": outcome }]);
        let result = run_with(&one(state.clone()), json!({}), tasks);
        assert_eq!(
            result["events"][4]["lambdaFunctionFailedEventDetails"],
            json!({})
        );
        assert_eq!(result["error"], json!(null));
    }
}

#[test]
fn a_task_without_an_outcome_is_an_error_of_the_case() {
    let state = json!({ "Type": "Task", "Resource": FUNCTION, "End": true });
    let result = run(&one(state), json!({}));
    assert_eq!(result["status"], "ERROR");
    assert_eq!(
        outcome(&result),
        format!(
            "UnscriptedTask: no scripted outcome is left for state 'S' (try 1, resource {FUNCTION})"
        )
    );
    assert_eq!(
        types(&result),
        [
            "ExecutionStarted",
            "TaskStateEntered",
            "LambdaFunctionScheduled"
        ]
    );
}

#[test]
fn a_batch_line_always_answers() {
    for (line, expected) in [
        ("", "InvalidCase"),
        ("[1]", "InvalidCase"),
        (r#"{"id": 7}"#, "InvalidCase"),
        (r#"{"id": 7, "definition": "{"}"#, "InvalidDefinition"),
        (
            r#"{"id": 7, "definition": {"StartAt": "S", "States": {"S": {"Type": "Succeed"}}}, "tasks": 3}"#,
            "InvalidTasks",
        ),
    ] {
        let answer: Value =
            serde_json::from_str(&asl::harness::batch_line(line)).expect("an answer is JSON");
        assert_eq!(answer["error"], expected, "{line}");
        assert!(answer.get("id").is_some(), "{line}");
    }
    let line = json!({ "id": "x", "input": [1], "definition": one(json!({ "Type": "Succeed" })).to_string() });
    let answer: Value =
        serde_json::from_str(&asl::harness::batch_line(&line.to_string())).expect("JSON");
    assert_eq!(answer["id"], "x");
    assert_eq!(answer["output"], json!([1]));
}
