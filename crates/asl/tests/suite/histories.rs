//! The events around states, branches and iterations, and what each points back to.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::support::{FUNCTION, history, one, pass, run, run_with};

fn check(machine: Value, input: Value, expected: Expect) {
    expected.assert_eq(&history(&run(&machine, input)));
}

fn check_with(machine: Value, input: Value, tasks: Value, expected: Expect) {
    expected.assert_eq(&history(&run_with(&machine, input, tasks)));
}

fn boom() -> Value {
    json!({ "StartAt": "Boom", "States": { "Boom": { "Type": "Fail", "Error": "E", "Cause": "c" } } })
}

#[test]
fn states_in_a_row() {
    let machine = json!({ "StartAt": "A", "States": {
        "A": { "Type": "Pass", "Result": { "n": 1 }, "Next": "W" },
        "W": { "Type": "Wait", "Seconds": 10, "Next": "C" },
        "C": { "Type": "Choice", "Choices": [{ "Variable": "$.n", "NumericEquals": 1, "Next": "Z" }] },
        "Z": { "Type": "Succeed" } } });
    check(
        machine,
        json!({}),
        expect![[r#"
        1<0 ExecutionStarted {"input":"{}"}
        2<0 PassStateEntered {"name":"A","input":"{}"}
        3<2 PassStateExited {"name":"A","output":"{\"n\":1}"}
        4<3 WaitStateEntered {"name":"W","input":"{\"n\":1}"}
        5<4 WaitStateExited {"name":"W","output":"{\"n\":1}"}
        6<5 ChoiceStateEntered {"name":"C","input":"{\"n\":1}"}
        7<6 ChoiceStateExited {"name":"C","output":"{\"n\":1}"}
        8<7 SucceedStateEntered {"name":"Z","input":"{\"n\":1}"}
        9<8 SucceedStateExited {"name":"Z","output":"{\"n\":1}"}
        10<9 ExecutionSucceeded {"output":"{\"n\":1}"}
        SUCCEEDED {"n":1}
    "#]],
    );
}

#[test]
fn branches_are_chains_of_their_own() {
    let branch = |a: &str, b: &str| json!({ "StartAt": a, "States": { a: { "Type": "Pass", "Next": b }, b: pass(json!({})) } });
    let machine = json!({ "StartAt": "P", "States": {
        "P": { "Type": "Parallel", "Branches": [branch("A1", "A2"), branch("B1", "B2")], "Next": "Z" },
        "Z": pass(json!({})) } });
    check(
        machine,
        json!(1),
        expect![[r#"
        1<0 ExecutionStarted {"input":"1"}
        2<0 ParallelStateEntered {"name":"P","input":"1"}
        3<2 ParallelStateStarted
        4<3 PassStateEntered {"name":"A1","input":"1"}
        5<4 PassStateExited {"name":"A1","output":"1"}
        6<5 PassStateEntered {"name":"A2","input":"1"}
        7<6 PassStateExited {"name":"A2","output":"1"}
        8<3 PassStateEntered {"name":"B1","input":"1"}
        9<8 PassStateExited {"name":"B1","output":"1"}
        10<9 PassStateEntered {"name":"B2","input":"1"}
        11<10 PassStateExited {"name":"B2","output":"1"}
        12<11 ParallelStateSucceeded
        13<11 ParallelStateExited {"name":"P","output":"[1,1]"}
        14<13 PassStateEntered {"name":"Z","input":"[1,1]"}
        15<14 PassStateExited {"name":"Z","output":"[1,1]"}
        16<15 ExecutionSucceeded {"output":"[1,1]"}
        SUCCEEDED [1,1]
    "#]],
    );
}

#[test]
fn a_failing_branch_leaves_parallel_state_failed() {
    check(
        one(json!({ "Type": "Parallel", "Branches": [boom()], "End": true })),
        json!(1),
        expect![[r#"
            1<0 ExecutionStarted {"input":"1"}
            2<0 ParallelStateEntered {"name":"S","input":"1"}
            3<2 ParallelStateStarted
            4<3 FailStateEntered {"name":"Boom","input":"1"}
            5<4 ParallelStateFailed
            6<5 ExecutionFailed {"cause":"c","error":"E"}
            FAILED E: c
        "#]],
    );
}

#[test]
fn a_retried_parallel_starts_again_without_a_failed_event_in_between() {
    let retry = json!([{ "ErrorEquals": ["States.ALL"], "MaxAttempts": 1 }]);
    let state = json!({ "Type": "Parallel", "Branches": [boom()], "Retry": retry, "End": true });
    check(
        one(state),
        json!(1),
        expect![[r#"
        1<0 ExecutionStarted {"input":"1"}
        2<0 ParallelStateEntered {"name":"S","input":"1"}
        3<2 ParallelStateStarted
        4<3 FailStateEntered {"name":"Boom","input":"1"}
        5<4 ParallelStateStarted
        6<5 FailStateEntered {"name":"Boom","input":"1"}
        7<6 ParallelStateFailed
        8<7 ExecutionFailed {"cause":"c","error":"E"}
        FAILED E: c
    "#]],
    );
}

#[test]
fn a_failing_task_in_a_branch_is_recorded_as_aborted_too() {
    let send = json!({ "StartAt": "Send", "States": { "Send": { "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage", "Parameters": { "QueueUrl": "q" }, "End": true } } });
    let machine = json!({ "StartAt": "P", "States": {
        "P": { "Type": "Parallel", "Branches": [send], "End": true,
               "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Handled" }] },
        "Handled": pass(json!({})) } });
    let tasks = json!([{ "state": "Send", "outcome": { "error": "SQS.Oops", "cause": "gone" } }]);
    check_with(
        machine,
        json!(1),
        tasks,
        expect![[r#"
        1<0 ExecutionStarted {"input":"1"}
        2<0 ParallelStateEntered {"name":"P","input":"1"}
        3<2 ParallelStateStarted
        4<3 TaskStateEntered {"name":"Send","input":"1"}
        5<4 TaskScheduled {"parameters":"{\"QueueUrl\":\"q\"}","resource":"sendMessage","resourceType":"sqs"}
        6<5 TaskStarted {"resource":"sendMessage","resourceType":"sqs"}
        7<6 TaskFailed {"cause":"gone","error":"SQS.Oops","resource":"sendMessage","resourceType":"sqs"}
        8<7 TaskStateAborted
        9<7 ParallelStateFailed
        10<9 ParallelStateExited {"name":"P","output":"{\"Error\":\"SQS.Oops\",\"Cause\":\"gone\"}"}
        11<10 PassStateEntered {"name":"Handled","input":"{\"Error\":\"SQS.Oops\",\"Cause\":\"gone\"}"}
        12<11 PassStateExited {"name":"Handled","output":"{\"Error\":\"SQS.Oops\",\"Cause\":\"gone\"}"}
        13<12 ExecutionSucceeded {"output":"{\"Error\":\"SQS.Oops\",\"Cause\":\"gone\"}"}
        SUCCEEDED {"Error":"SQS.Oops","Cause":"gone"}
    "#]],
    );
}

#[test]
fn a_runtime_error_in_a_branch_ends_the_execution_at_once() {
    let fast = json!({ "StartAt": "Fast", "States": { "Fast": pass(json!({ "Parameters": { "m.$": "$.no" } })) } });
    let slow = json!({ "StartAt": "Slow", "States": { "Slow": { "Type": "Wait", "Seconds": 9, "End": true } } });
    check(
        one(json!({ "Type": "Parallel", "Branches": [slow, fast], "End": true })),
        json!({}),
        expect![[r#"
            1<0 ExecutionStarted {"input":"{}"}
            2<0 ParallelStateEntered {"name":"S","input":"{}"}
            3<2 ParallelStateStarted
            4<3 WaitStateEntered {"name":"Slow","input":"{}"}
            5<3 PassStateEntered {"name":"Fast","input":"{}"}
            6<5 ExecutionFailed {"cause":"An error occurred while executing the state 'Fast' (entered at the event id #5). The JSONPath '$.no' specified for the field 'm.$' could not be found in the input '{}'","error":"States.Runtime"}
            FAILED States.Runtime: The JSONPath '$.no' specified for the field 'm.$' could not be found in the input '{}'
        "#]],
    );
}

#[test]
fn the_parallels_own_failure_comes_after_its_success() {
    let ok = json!({ "StartAt": "Ok", "States": { "Ok": pass(json!({})) } });
    let state = json!({ "Type": "Parallel", "Branches": [ok], "ResultSelector": { "m.$": "$.no" }, "End": true });
    check(
        one(state),
        json!({ "x": 1 }),
        expect![[r#"
        1<0 ExecutionStarted {"input":"{\"x\":1}"}
        2<0 ParallelStateEntered {"name":"S","input":"{\"x\":1}"}
        3<2 ParallelStateStarted
        4<3 PassStateEntered {"name":"Ok","input":"{\"x\":1}"}
        5<4 PassStateExited {"name":"Ok","output":"{\"x\":1}"}
        6<5 ParallelStateSucceeded
        7<6 ExecutionFailed {"cause":"An error occurred while executing the state 'S' (entered at the event id #2). The JSONPath '$.no' specified for the field 'm.$' could not be found in the input '[{\"x\":1}]'","error":"States.Runtime"}
        FAILED States.Runtime: The JSONPath '$.no' specified for the field 'm.$' could not be found in the input '[{"x":1}]'
    "#]],
    );
}

#[test]
fn branches_that_are_cut_leave_the_abort_of_their_state() {
    let failing = json!({ "StartAt": "Pause", "States": {
        "Pause": { "Type": "Wait", "Seconds": 1, "Next": "Boom" },
        "Boom": { "Type": "Fail", "Error": "E" } } });
    let long = json!({ "StartAt": "Long", "States": { "Long": { "Type": "Wait", "Seconds": 20, "End": true } } });
    let done = json!({ "StartAt": "Done", "States": { "Done": pass(json!({})) } });
    let state = json!({ "Type": "Parallel", "Branches": [long, failing, done], "End": true });
    check(
        one(state),
        json!(1),
        expect![[r#"
        1<0 ExecutionStarted {"input":"1"}
        2<0 ParallelStateEntered {"name":"S","input":"1"}
        3<2 ParallelStateStarted
        4<3 WaitStateEntered {"name":"Long","input":"1"}
        5<3 WaitStateEntered {"name":"Pause","input":"1"}
        6<3 PassStateEntered {"name":"Done","input":"1"}
        7<6 PassStateExited {"name":"Done","output":"1"}
        8<5 WaitStateExited {"name":"Pause","output":"1"}
        9<8 FailStateEntered {"name":"Boom","input":"1"}
        10<9 WaitStateAborted
        11<9 ParallelStateFailed
        12<11 ExecutionFailed {"error":"E"}
        FAILED E: -
    "#]],
    );
}

#[test]
fn iterations_one_at_a_time() {
    let map = json!({ "Type": "Map", "MaxConcurrency": 1, "ItemsPath": "$.items", "End": true,
        "ItemProcessor": { "StartAt": "I", "States": { "I": pass(json!({})) } } });
    check(
        one(map),
        json!({ "items": ["a", "b"] }),
        expect![[r#"
        1<0 ExecutionStarted {"input":"{\"items\":[\"a\",\"b\"]}"}
        2<0 MapStateEntered {"name":"S","input":"{\"items\":[\"a\",\"b\"]}"}
        3<2 MapStateStarted {"length":2}
        4<3 MapIterationStarted {"name":"S","index":0}
        5<4 PassStateEntered {"name":"I","input":"\"a\""}
        6<5 PassStateExited {"name":"I","output":"\"a\""}
        7<6 MapIterationSucceeded {"name":"S","index":0}
        8<6 MapIterationStarted {"name":"S","index":1}
        9<8 PassStateEntered {"name":"I","input":"\"b\""}
        10<9 PassStateExited {"name":"I","output":"\"b\""}
        11<10 MapIterationSucceeded {"name":"S","index":1}
        12<11 MapStateSucceeded
        13<11 MapStateExited {"name":"S","output":"[\"a\",\"b\"]"}
        14<13 ExecutionSucceeded {"output":"[\"a\",\"b\"]"}
        SUCCEEDED ["a","b"]
    "#]],
    );
}

#[test]
fn iterations_all_at_once() {
    let task = json!({ "Type": "Task", "Resource": FUNCTION, "End": true });
    let map = json!({ "Type": "Map", "End": true,
        "ItemProcessor": { "StartAt": "T", "States": { "T": task } } });
    let tasks = json!([
        { "state": "T", "iteration": 1, "outcome": { "output": "second" } },
        { "state": "T", "iteration": 0, "outcome": { "output": "first" } }]);
    check_with(
        one(map),
        json!([1, 2]),
        tasks,
        expect![[r#"
        1<0 ExecutionStarted {"input":"[1,2]"}
        2<0 MapStateEntered {"name":"S","input":"[1,2]"}
        3<2 MapStateStarted {"length":2}
        4<3 MapIterationStarted {"name":"S","index":0}
        5<3 MapIterationStarted {"name":"S","index":1}
        6<4 TaskStateEntered {"name":"T","input":"1"}
        7<6 LambdaFunctionScheduled {"input":"1","resource":"arn:aws:lambda:us-east-1:000000000000:function:work"}
        8<5 TaskStateEntered {"name":"T","input":"2"}
        9<8 LambdaFunctionScheduled {"input":"2","resource":"arn:aws:lambda:us-east-1:000000000000:function:work"}
        10<7 LambdaFunctionStarted
        11<9 LambdaFunctionStarted
        12<10 LambdaFunctionSucceeded {"output":"\"first\""}
        13<12 TaskStateExited {"name":"T","output":"\"first\""}
        14<13 MapIterationSucceeded {"name":"S","index":0}
        15<11 LambdaFunctionSucceeded {"output":"\"second\""}
        16<15 TaskStateExited {"name":"T","output":"\"second\""}
        17<16 MapIterationSucceeded {"name":"S","index":1}
        18<17 MapStateSucceeded
        19<17 MapStateExited {"name":"S","output":"[\"first\",\"second\"]"}
        20<19 ExecutionSucceeded {"output":"[\"first\",\"second\"]"}
        SUCCEEDED ["first","second"]
    "#]],
    );
}

#[test]
fn a_map_over_nothing() {
    let map = json!({ "Type": "Map", "End": true,
        "Iterator": { "StartAt": "I", "States": { "I": pass(json!({})) } } });
    check(
        one(map),
        json!([]),
        expect![[r#"
        1<0 ExecutionStarted {"input":"[]"}
        2<0 MapStateEntered {"name":"S","input":"[]"}
        3<2 MapStateStarted {"length":0}
        4<3 MapStateSucceeded
        5<3 MapStateExited {"name":"S","output":"[]"}
        6<5 ExecutionSucceeded {"output":"[]"}
        SUCCEEDED []
    "#]],
    );
}

#[test]
fn an_iteration_that_fails_cuts_the_others() {
    let map = json!({ "Type": "Map", "End": true, "ItemProcessor": { "StartAt": "Route", "States": {
        "Route": { "Type": "Choice", "Default": "Work",
            "Choices": [{ "Variable": "$", "StringEquals": "fail", "Next": "Pause" }] },
        "Pause": { "Type": "Wait", "Seconds": 1, "Next": "Boom" },
        "Boom": { "Type": "Fail", "Error": "E", "Cause": "c" },
        "Work": { "Type": "Wait", "Seconds": 20, "End": true } } } });
    check(
        one(map),
        json!(["work", "fail"]),
        expect![[r#"
        1<0 ExecutionStarted {"input":"[\"work\",\"fail\"]"}
        2<0 MapStateEntered {"name":"S","input":"[\"work\",\"fail\"]"}
        3<2 MapStateStarted {"length":2}
        4<3 MapIterationStarted {"name":"S","index":0}
        5<3 MapIterationStarted {"name":"S","index":1}
        6<4 ChoiceStateEntered {"name":"Route","input":"\"work\""}
        7<6 ChoiceStateExited {"name":"Route","output":"\"work\""}
        8<7 WaitStateEntered {"name":"Work","input":"\"work\""}
        9<5 ChoiceStateEntered {"name":"Route","input":"\"fail\""}
        10<9 ChoiceStateExited {"name":"Route","output":"\"fail\""}
        11<10 WaitStateEntered {"name":"Pause","input":"\"fail\""}
        12<11 WaitStateExited {"name":"Pause","output":"\"fail\""}
        13<12 FailStateEntered {"name":"Boom","input":"\"fail\""}
        14<13 MapIterationAborted {"name":"S","index":0}
        15<13 WaitStateAborted
        16<13 MapIterationFailed {"name":"S","index":1}
        17<13 MapStateFailed
        18<17 ExecutionFailed {"cause":"c","error":"E"}
        FAILED E: c
    "#]],
    );
}

#[test]
fn a_caught_map_and_a_retried_map() {
    let map = json!({ "Type": "Map", "End": true, "ItemProcessor": boom(),
        "Retry": [{ "ErrorEquals": ["E"], "MaxAttempts": 1 }],
        "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Caught", "ResultPath": "$[0]" }] });
    let machine = json!({ "StartAt": "M", "States": { "M": map, "Caught": pass(json!({})) } });
    check(
        machine,
        json!([7]),
        expect![[r#"
        1<0 ExecutionStarted {"input":"[7]"}
        2<0 MapStateEntered {"name":"M","input":"[7]"}
        3<2 MapStateStarted {"length":1}
        4<3 MapIterationStarted {"name":"M","index":0}
        5<4 FailStateEntered {"name":"Boom","input":"7"}
        6<5 MapIterationFailed {"name":"M","index":0}
        7<5 MapStateStarted {"length":1}
        8<7 MapIterationStarted {"name":"M","index":0}
        9<8 FailStateEntered {"name":"Boom","input":"7"}
        10<9 MapIterationFailed {"name":"M","index":0}
        11<9 MapStateFailed
        12<11 MapStateExited {"name":"M","output":"[{\"Error\":\"E\",\"Cause\":\"c\"}]"}
        13<12 PassStateEntered {"name":"Caught","input":"[{\"Error\":\"E\",\"Cause\":\"c\"}]"}
        14<13 PassStateExited {"name":"Caught","output":"[{\"Error\":\"E\",\"Cause\":\"c\"}]"}
        15<14 ExecutionSucceeded {"output":"[{\"Error\":\"E\",\"Cause\":\"c\"}]"}
        SUCCEEDED [{"Error":"E","Cause":"c"}]
    "#]],
    );
}

#[test]
fn a_map_in_a_branch() {
    let map = json!({ "Type": "Map", "MaxConcurrency": 1, "End": true,
        "ItemProcessor": { "StartAt": "I", "States": { "I": pass(json!({})) } } });
    let state = json!({ "Type": "Parallel", "End": true, "Branches": [
        { "StartAt": "M", "States": { "M": map } },
        { "StartAt": "B", "States": { "B": pass(json!({})) } }] });
    check(
        one(state),
        json!([1]),
        expect![[r#"
        1<0 ExecutionStarted {"input":"[1]"}
        2<0 ParallelStateEntered {"name":"S","input":"[1]"}
        3<2 ParallelStateStarted
        4<3 MapStateEntered {"name":"M","input":"[1]"}
        5<4 MapStateStarted {"length":1}
        6<5 MapIterationStarted {"name":"M","index":0}
        7<3 PassStateEntered {"name":"B","input":"[1]"}
        8<7 PassStateExited {"name":"B","output":"[1]"}
        9<6 PassStateEntered {"name":"I","input":"1"}
        10<9 PassStateExited {"name":"I","output":"1"}
        11<10 MapIterationSucceeded {"name":"M","index":0}
        12<11 MapStateSucceeded
        13<11 MapStateExited {"name":"M","output":"[1]"}
        14<13 ParallelStateSucceeded
        15<13 ParallelStateExited {"name":"S","output":"[[1],[1]]"}
        16<15 ExecutionSucceeded {"output":"[[1],[1]]"}
        SUCCEEDED [[1],[1]]
    "#]],
    );
}

#[test]
fn what_is_due_at_one_moment_is_recorded_before_anything_reacts() {
    let task = json!({ "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 5,
        "Parameters": { "FunctionName": "f" }, "End": true });
    let map = json!({ "Type": "Map", "End": true,
        "ItemProcessor": { "StartAt": "T", "States": { "T": task } } });
    let timeout = json!({ "state": "T", "outcome": { "timeout": true } });
    check_with(
        one(map),
        json!([1, 2]),
        json!([timeout, timeout]),
        expect![[r#"
            1<0 ExecutionStarted {"input":"[1,2]"}
            2<0 MapStateEntered {"name":"S","input":"[1,2]"}
            3<2 MapStateStarted {"length":2}
            4<3 MapIterationStarted {"name":"S","index":0}
            5<3 MapIterationStarted {"name":"S","index":1}
            6<4 TaskStateEntered {"name":"T","input":"1"}
            7<6 TaskScheduled {"parameters":"{\"FunctionName\":\"f\"}","resource":"invoke","resourceType":"lambda","timeoutInSeconds":5}
            8<5 TaskStateEntered {"name":"T","input":"2"}
            9<8 TaskScheduled {"parameters":"{\"FunctionName\":\"f\"}","resource":"invoke","resourceType":"lambda","timeoutInSeconds":5}
            10<7 TaskStarted {"resource":"invoke","resourceType":"lambda"}
            11<9 TaskStarted {"resource":"invoke","resourceType":"lambda"}
            12<10 TaskTimedOut {"error":"States.Timeout","resource":"invoke","resourceType":"lambda"}
            13<11 TaskTimedOut {"error":"States.Timeout","resource":"invoke","resourceType":"lambda"}
            14<12 MapIterationFailed {"name":"S","index":0}
            15<12 TaskStateAborted
            16<12 MapIterationAborted {"name":"S","index":1}
            17<12 TaskStateAborted
            18<12 MapStateFailed
            19<18 ExecutionFailed {"error":"States.Timeout"}
            FAILED States.Timeout: -
        "#]],
    );
}
