//! Facts about the language that engines commonly get wrong; each has a test of its own.

use serde_json::json;

use crate::support::{FUNCTION, history, one, outcome, pass, run, run_with, through, types};

#[test]
fn math_add_rounds_each_number_half_up_before_adding() {
    for (a, b, sum) in [
        (1.49, 1.5, "3"),
        (-1.5, -1.51, "-3"),
        (-0.5, 0.5, "1"),
        (-1.49, -1.5, "-2"),
    ] {
        let fields = json!({ "Parameters": { "r.$": "States.MathAdd($.a, $.b)" } });
        assert_eq!(
            through(fields, json!({ "a": a, "b": b })),
            format!("{{\"r\":{sum}}}"),
            "{a} + {b}"
        );
    }
}

#[test]
fn string_split_takes_any_of_the_delimiters_characters_and_drops_empties() {
    let fields = json!({ "Parameters": { "r.$": "States.StringSplit($.s, '.+,=')" } });
    let input = json!({ "s": "..This.is+a,,test=string=" });
    assert_eq!(
        through(fields, input),
        r#"{"r":["This","is","a","test","string"]}"#
    );
}

#[test]
fn string_to_json_of_nothing_is_null() {
    for text in ["", " ", "null"] {
        let fields = json!({ "Parameters": { "r.$": "States.StringToJson($.s)" } });
        assert_eq!(
            through(fields, json!({ "s": text })),
            r#"{"r":null}"#,
            "{text:?}"
        );
    }
    let fields = json!({ "Parameters": { "r.$": "States.StringToJson($.s)" } });
    assert_eq!(through(fields, json!({ "s": "-0" })), r#"{"r":0}"#);
}

#[test]
fn wildcards_and_slices_without_a_match_give_an_empty_list() {
    for path in [
        "$.list[*].no",
        "$.list[5:9]",
        "$..no",
        "$.list[?(@.n > 9)]",
        "$.one.*.no",
        "$.no[*]",
        "$.no[1:]",
        "$.no.deep[:1].x",
        "$.one.a.x[*]",
        "$.no[?(@.n > 9)]",
    ] {
        let fields = json!({ "Parameters": { "r.$": path } });
        let input = json!({ "list": [{ "n": 1 }], "one": { "a": 1 } });
        assert_eq!(through(fields, input), r#"{"r":[]}"#, "{path}");
    }
}

#[test]
fn a_slice_of_what_is_no_list_is_a_runtime_error() {
    for path in ["$[1:5]", "$.one[:1]"] {
        let fields = json!({ "Parameters": { "r.$": path } });
        let found = through(fields, json!({ "one": { "a": 1 } }));
        assert!(found.starts_with("States.Runtime: The JSONPath"), "{found}");
    }
}

#[test]
fn a_definite_path_without_a_match_is_a_runtime_error_that_nothing_catches() {
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "Next": "Caught" }]);
    let retry = json!([{ "ErrorEquals": ["States.ALL"] }]);
    let task = json!({ "Type": "Task", "Resource": FUNCTION, "Parameters": { "x.$": "$.no" },
        "Retry": retry, "Catch": catch, "End": true });
    let machine = json!({ "StartAt": "S", "States": { "S": task, "Caught": pass(json!({})) } });
    let result = run(&machine, json!({ "a": 1 }));
    assert_eq!(
        types(&result),
        ["ExecutionStarted", "TaskStateEntered", "ExecutionFailed"]
    );
    assert_eq!(result["error"], "States.Runtime");
    assert_eq!(
        result["cause"],
        "An error occurred while executing the state 'S' (entered at the event id #2). The JSONPath \
         '$.no' specified for the field 'x.$' could not be found in the input '{\"a\":1}'"
    );
}

#[test]
fn type_tests_with_false_invert_rather_than_fail() {
    for operator in [
        "IsNull",
        "IsPresent",
        "IsNumeric",
        "IsString",
        "IsBoolean",
        "IsTimestamp",
    ] {
        let choice = json!({ "Type": "Choice", "Default": "No",
            "Choices": [{ "Variable": "$.v", operator: false, "Next": "Yes" }] });
        let machine = json!({ "StartAt": "S", "States": { "S": choice,
            "Yes": pass(json!({ "Result": true })), "No": pass(json!({ "Result": false })) } });
        let list = outcome(&run(&machine, json!({ "v": [] })));
        assert_eq!(
            list,
            if operator == "IsPresent" {
                "false"
            } else {
                "true"
            },
            "{operator}"
        );
    }
}

#[test]
fn a_fail_state_without_error_and_cause_ends_with_neither() {
    let result = run(&one(json!({ "Type": "Fail" })), json!({}));
    assert_eq!(result["status"], "FAILED");
    assert_eq!(result["error"], json!(null));
    assert_eq!(result["cause"], json!(null));
    assert_eq!(
        result["events"][2]["executionFailedEventDetails"],
        json!({})
    );
}

#[test]
fn negative_and_fractional_seconds_fail() {
    for (seconds, sentence) in [
        (
            json!(-1),
            "The SecondsPath parameter references a negative value: $.s == -1",
        ),
        (
            json!(1.5),
            "The SecondsPath parameter cannot be parsed as a long value: $.s == 1.5",
        ),
        (
            json!("soon"),
            "The SecondsPath parameter cannot be parsed as a long value: $.s == soon",
        ),
    ] {
        let wait = one(json!({ "Type": "Wait", "SecondsPath": "$.s", "End": true }));
        let result = run(&wait, json!({ "s": seconds }));
        assert_eq!(outcome(&result), format!("States.Runtime: {sentence}"));
    }
}

#[test]
fn two_dollars_alone_are_the_whole_context_object() {
    let result = run(
        &one(pass(json!({ "Parameters": { "c.$": "$$" } }))),
        json!({ "n": 1 }),
    );
    let context = &result["output"]["c"];
    let names: Vec<&String> = context
        .as_object()
        .map(|c| c.keys().collect())
        .unwrap_or_default();
    assert_eq!(names, ["Execution", "StateMachine", "State"]);
    assert_eq!(context["Execution"]["Input"], json!({ "n": 1 }));
    assert_eq!(context["State"]["Name"], "S");
}

#[test]
fn a_missed_heartbeat_is_a_timeout_that_either_name_catches() {
    for name in ["States.HeartbeatTimeout", "States.Timeout"] {
        let task = json!({ "Type": "Task", "TimeoutSeconds": 600, "HeartbeatSeconds": 5,
            "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "Parameters": { "QueueUrl": "q", "MessageBody.$": "$$.Task.Token" },
            "Catch": [{ "ErrorEquals": [name], "Next": "Caught" }], "End": true });
        let machine = json!({ "StartAt": "S", "States": { "S": task, "Caught": pass(json!({})) } });
        let tasks = json!([{ "state": "S", "attempt": 1, "outcome": { "timeout": true } }]);
        let result = run_with(&machine, json!({}), tasks);
        assert_eq!(
            outcome(&result),
            r#"{"Error":"States.Timeout","Cause":""}"#,
            "{name}"
        );
    }
}

#[test]
fn a_result_beyond_the_limit_fails_the_task_and_is_caught() {
    let task = json!({ "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": { "FunctionName": "f" },
        "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Caught" }], "End": true });
    let machine = json!({ "StartAt": "S", "States": { "S": task, "Caught": pass(json!({})) } });
    let tasks = json!([{ "state": "S", "outcome": { "output": "x".repeat(262_143) } }]);
    let result = run_with(&machine, json!({}), tasks);
    assert_eq!(
        outcome(&result),
        r#"{"Error":"States.DataLimitExceeded","Cause":"The state/task 'lambda' returned a result with a size exceeding the maximum number of bytes service limit."}"#
    );
    let fits = json!([{ "state": "S", "outcome": { "output": "x".repeat(262_142) } }]);
    assert_eq!(run_with(&machine, json!({}), fits)["status"], "SUCCEEDED");
}

#[test]
fn a_history_ends_at_25000_events() {
    let machine = json!({ "StartAt": "A", "States": {
        "A": { "Type": "Pass", "Next": "B" },
        "B": { "Type": "Choice", "Default": "A",
               "Choices": [{ "Variable": "$.stop", "IsPresent": true, "Next": "C" }] },
        "C": { "Type": "Succeed" } } });
    let result = run(&machine, json!({}));
    assert_eq!(result["events"].as_array().map(Vec::len), Some(25_000));
    assert_eq!(
        outcome(&result),
        "States.Runtime: The execution reached the maximum number of history events (25000)."
    );
}

#[test]
fn a_state_that_doubles_its_input_meets_the_size_limit() {
    let machine = json!({ "StartAt": "A", "States": {
        "A": { "Type": "Pass", "Parameters": { "l.$": "$", "r.$": "$" }, "Next": "B" },
        "B": { "Type": "Choice", "Default": "A",
               "Choices": [{ "Variable": "$.stop", "IsPresent": true, "Next": "C" }] },
        "C": { "Type": "Succeed" } } });
    let result = run(&machine, json!({ "x": 1 }));
    assert_eq!(result["error"], "States.DataLimitExceeded");
}

#[test]
fn an_index_beyond_the_end_is_null_in_a_template_and_missing_in_a_call() {
    let input = json!({ "items": [1, 2] });
    let fields = json!({ "Parameters": { "v.$": "$.items[5]" } });
    assert_eq!(through(fields, input.clone()), r#"{"v":null}"#);
    let fields = json!({ "Parameters": { "v.$": "States.Format('{}', $.items[5])" } });
    assert_eq!(
        through(fields, input),
        "States.Runtime: The function 'States.Format('{}', $.items[5])' had the following error: \
         The JsonPath argument for the field '$.items[5]' could not be found in the input \
         '{\"items\":[1,2]}'"
    );
}

#[test]
fn a_call_tells_a_miss_in_the_context_object_as_one_in_the_input() {
    for (argument, reason) in [
        (
            "$$.Nope.Deep",
            "The JsonPath argument for the field '$.Nope.Deep' could not be found in the input \
             '{\"a\":1}'",
        ),
        (
            "$.a[0]",
            "Filter: [0] can only be applied to arrays. Current context is: 1",
        ),
    ] {
        let call = format!("States.Format('{{}}', {argument})");
        assert_eq!(
            through(json!({ "Parameters": { "v.$": call } }), json!({ "a": 1 })),
            format!("States.Runtime: The function '{call}' had the following error: {reason}")
        );
    }
}

#[test]
fn the_first_states_event_and_the_timeout_of_the_machine_point_to_nothing() {
    let machine = json!({ "TimeoutSeconds": 1, "StartAt": "S",
        "States": { "S": { "Type": "Wait", "Seconds": 3, "End": true } } });
    let result = run(&machine, json!({}));
    assert_eq!(
        history(&result),
        "1<0 ExecutionStarted {\"input\":\"{}\"}\n\
         2<0 WaitStateEntered {\"name\":\"S\",\"input\":\"{}\"}\n\
         3<0 ExecutionTimedOut {\"error\":\"States.Timeout\"}\n\
         TIMED_OUT -: -\n"
    );
}

/// Recorded: what a template selects stands behind its constants, as a `HashMap` has it.
#[test]
fn the_members_of_a_template_are_ordered_as_java_does() {
    let input = json!({ "a": 1 });
    for (template, filled) in [
        (
            json!({ "userId": 7, "name.$": "$.a", "role.$": "$.a", "isActive.$": "$.a",
                "metadata": { "source": "x" } }),
            r#"{"userId":7,"metadata":{"source":"x"},"role":1,"name":1,"isActive":1}"#,
        ),
        (
            json!({ "n": { "literal": "$.a", "resolved.$": "$.a" }, "id.$": "$.a", "score.$": "$.a" }),
            r#"{"n":{"literal":"$.a","resolved":1},"score":1,"id":1}"#,
        ),
        (
            json!({ "message.$": "$.a", "roleCount.$": "$.a", "originalUser.$": "$.a" }),
            r#"{"roleCount":1,"originalUser":1,"message":1}"#,
        ),
    ] {
        assert_eq!(
            through(json!({ "Parameters": template }), input.clone()),
            filled
        );
    }
}
