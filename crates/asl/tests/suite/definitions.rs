//! What is wrong with a definition, and where.
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::support::{FUNCTION, findings, one, pass};

fn check(definition: Value, expected: Expect) {
    expected.assert_eq(&findings(&definition.to_string()));
}

#[test]
fn texts_that_are_no_definition() {
    expect![[r#"
        SCHEMA_VALIDATION_FAILED - Definition must be a valid JSON object
    "#]]
    .assert_eq(&findings(""));
    expect![[r#"
        INVALID_JSON_DESCRIPTION [Source: (String)"not a definition"; line: 1, column: 4] Unrecognized token 'not': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')
         at [Source: (String)"not a definition"; line: 1, column: 4]
    "#]].assert_eq(&findings("not a definition"));
    expect![[r#"
        SCHEMA_VALIDATION_FAILED - Definition must be a valid JSON object
    "#]]
    .assert_eq(&findings("[]"));
    expect![[r#"
        SCHEMA_VALIDATION_FAILED / These fields are required: [States, StartAt]
    "#]]
    .assert_eq(&findings("{}"));
    assert!(findings("{not json").starts_with("INVALID_JSON_DESCRIPTION "));
    assert!(findings(&" ".repeat(1_048_577)).starts_with("SCHEMA_VALIDATION_FAILED - "));
}

#[test]
fn transitions() {
    check(
        json!({ "StartAt": "A", "States": { "A": { "Type": "Pass", "Next": "C" }, "B": pass(json!({})) } }),
        expect![[r#"
            MISSING_TRANSITION_TARGET /States/A/Next Missing 'Next' target: C
            MISSING_TRANSITION_TARGET /States/B State "B" is not reachable.
        "#]],
    );
    check(
        json!({ "StartAt": "A", "States": { "A": { "Type": "Pass", "Next": "B" }, "B": { "Type": "Pass", "Next": "A" } } }),
        expect![[r#"
            MISSING_END_STATE - Workflow has no terminal state
        "#]],
    );
    check(
        json!({ "StartAt": "A", "States": { "A": { "Type": "Pass", "Next": "NOPE" } } }),
        expect![[r#"
            MISSING_TRANSITION_TARGET /States/A/Next Missing 'Next' target: NOPE
            MISSING_END_STATE - Workflow has no terminal state
        "#]],
    );
    check(
        json!({ "StartAt": "X", "States": {
        "A": { "Type": "Choice", "Default": "N1", "Choices": [{ "Variable": "$.a", "IsNull": true, "Next": "N2" }] },
        "T": { "Type": "Task", "Resource": FUNCTION, "Catch": [{ "ErrorEquals": ["E"], "Next": "N3" }], "End": true } } }),
        expect![[r#"
            MISSING_TRANSITION_TARGET /StartAt Missing 'Next' target: X
            MISSING_TRANSITION_TARGET /States/A/Choices[0]/Next Missing 'Next' target: N2
            MISSING_TRANSITION_TARGET /States/A/Default Missing 'Next' target: N1
            MISSING_TRANSITION_TARGET /States/T/Catch[0]/Next Missing 'Next' target: N3
            MISSING_TRANSITION_TARGET /States/A State "A" is not reachable.
            MISSING_TRANSITION_TARGET /States/T State "T" is not reachable.
        "#]],
    );
}

#[test]
fn faults_of_states_are_all_listed() {
    check(
        json!({ "StartAt": "A", "Surprise": 1, "Version": "2.0", "TimeoutSeconds": -1, "States": {
        "A": { "Type": "Pass", "Catch": [], "Retry": [], "TimeoutSeconds": 1, "Next": "B", "End": true },
        "B": { "Type": "Pass" },
        "C": { "Type": "Oops" },
        "D": {},
        "E": 7,
        "F": { "Type": "Succeed", "Next": "A", "Result": 1 },
        "G": { "Type": "Fail", "Error": "x", "ErrorPath": "$.x", "InputPath": "$" } } }),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED / Field 'Surprise' is not supported
            SCHEMA_VALIDATION_FAILED /Version Value should be one of the following: [1.0]
            SCHEMA_VALIDATION_FAILED /TimeoutSeconds Minimum value is 0
            SCHEMA_VALIDATION_FAILED /States/A Field 'Catch' is not supported
            SCHEMA_VALIDATION_FAILED /States/A Field 'Retry' is not supported
            SCHEMA_VALIDATION_FAILED /States/A Field 'TimeoutSeconds' is not supported
            SCHEMA_VALIDATION_FAILED /States/A There should only be one of the following fields: [Next, End]
            SCHEMA_VALIDATION_FAILED /States/B This object should have only one of the following fields: [Next, End]
            SCHEMA_VALIDATION_FAILED /States/C/Type The field 'Type' should have one of these values: [Task, Wait, Pass, Succeed, Fail, Choice, Parallel, Map]
            SCHEMA_VALIDATION_FAILED /States/D The field 'Type' is required
            SCHEMA_VALIDATION_FAILED /States/E Expected value of type Object
            SCHEMA_VALIDATION_FAILED /States/F Field 'Next' is not supported
            SCHEMA_VALIDATION_FAILED /States/F Field 'Result' is not supported
            SCHEMA_VALIDATION_FAILED /States/G Field 'InputPath' is not supported
            SCHEMA_VALIDATION_FAILED /States/G There should only be one of the following fields: [Error, ErrorPath]
        "#]],
    );
}

#[test]
fn paths_and_templates() {
    check(
        one(pass(
            json!({ "InputPath": "x", "OutputPath": 5, "ResultPath": "$.a[*]",
        "Parameters": { "a.$": "nope", "b.$": 5, "c": [{ "d.$": "$.[" }], "e.$": "States.Nope()", "f.$": "States.UUID()" },
        "Assign": { "states": 1, "1x": 2, "ok.$": "$." } }),
        )),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S/InputPath Value must be a valid JSONPath.
            SCHEMA_VALIDATION_FAILED /States/S/OutputPath Expected value of type String
            SCHEMA_VALIDATION_FAILED /States/S/ResultPath Value is not a Reference Path
            SCHEMA_VALIDATION_FAILED /States/S/Parameters/a.$ The value for the field 'a.$' must be a valid JSONPath or a valid intrinsic function call
            SCHEMA_VALIDATION_FAILED /States/S/Parameters/b.$ The value for the field 'b.$' must be a valid JSONPath or a valid intrinsic function call
            SCHEMA_VALIDATION_FAILED /States/S/Parameters/c[0]/d.$ The value for the field 'd.$' must be a valid JSONPath or a valid intrinsic function call
            SCHEMA_VALIDATION_FAILED /States/S/Parameters/e.$ The value for the field 'e.$' must be a valid JSONPath or a valid intrinsic function call
            RESERVED_VARIABLE_NAME /States/S/Assign/states Cannot assign to reserved variable '$states'.
            INVALID_VARIABLE_NAME /States/S/Assign/1x Invalid variable name '1x': the variable name contains invalid characters.
            SCHEMA_VALIDATION_FAILED /States/S/Assign/ok.$ The value for the field 'ok.$' must be a valid JSONPath or a valid intrinsic function call
        "#]],
    );
}

#[test]
fn tasks() {
    check(
        one(
            json!({ "Type": "Task", "Resource": "sth", "TimeoutSeconds": 5, "TimeoutSecondsPath": "$.t",
        "HeartbeatSeconds": 9, "Credentials": {}, "End": true,
        "Retry": [{ "ErrorEquals": ["States.ALL", "E"] }, { "ErrorEquals": [], "BackoffRate": 0.5, "JitterStrategy": "SOME" },
                  { "MaxAttempts": -1, "IntervalSeconds": 1.5, "MaxDelaySeconds": 0 }],
        "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "S" }, { "ErrorEquals": ["E"], "ResultPath": "x" }] }),
        ),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S/Resource Value is not a valid resource ARN
            SCHEMA_VALIDATION_FAILED /States/S There should only be one of the following fields: [TimeoutSeconds, TimeoutSecondsPath]
            SCHEMA_VALIDATION_FAILED /States/S HeartbeatSeconds must be smaller than TimeoutSeconds
            SCHEMA_VALIDATION_FAILED /States/S/Credentials The field 'RoleArn' is required but was missing
            SCHEMA_VALIDATION_FAILED /States/S/Retry[0]/ErrorEquals States.ALL must appear alone and at end of list
            SCHEMA_VALIDATION_FAILED /States/S/Retry[1]/ErrorEquals Value cannot be empty
            SCHEMA_VALIDATION_FAILED /States/S/Retry[1]/BackoffRate Minimum value is 1.0
            SCHEMA_VALIDATION_FAILED /States/S/Retry[1]/JitterStrategy Value should be one of the following: [NONE, FULL]
            SCHEMA_VALIDATION_FAILED /States/S/Retry[2] These fields are required: [ErrorEquals]
            SCHEMA_VALIDATION_FAILED /States/S/Retry[2]/IntervalSeconds Expected value of type Integer
            SCHEMA_VALIDATION_FAILED /States/S/Retry[2]/MaxAttempts Minimum value is 0
            SCHEMA_VALIDATION_FAILED /States/S/Retry[2]/MaxDelaySeconds Minimum value is 1
            SCHEMA_VALIDATION_FAILED /States/S/Catch[0]/ErrorEquals States.ALL must appear alone and at end of list
            SCHEMA_VALIDATION_FAILED /States/S/Catch[1] These fields are required: [Next]
            SCHEMA_VALIDATION_FAILED /States/S/Catch[1]/ResultPath Value is not a Reference Path: Reference path didn't start with '$'
        "#]],
    );
    check(
        one(json!({ "Type": "Task", "End": true })),
        expect![[r#"
        SCHEMA_VALIDATION_FAILED /States/S These fields are required: [Resource]
    "#]],
    );
}

#[test]
fn patterns_that_a_service_does_not_have() {
    for resource in [
        "lambda:invoke.sync",
        "sqs:sendMessage.sync",
        "dynamodb:getItem.waitForTaskToken",
        "batch:submitJob.sync:2",
        "aws-sdk:s3:getObject.sync",
    ] {
        let arn = format!("arn:aws:states:::{resource}");
        let state = json!({ "Type": "Task", "Resource": arn, "End": true });
        assert_eq!(
            findings(&one(state).to_string()),
            format!(
                "SCHEMA_VALIDATION_FAILED /States/S/Resource The resource provided {arn} is not recognized. \
                     The value is not a valid resource ARN, or the resource is not available in this region.\n"
            )
        );
    }
    for resource in [
        "states:startExecution.sync:2",
        "ecs:runTask.sync",
        "aws-sdk:s3:getObject.waitForTaskToken",
        "sqs:sendMessage",
    ] {
        let state = json!({ "Type": "Task", "Resource": format!("arn:aws:states:::{resource}"), "End": true });
        assert_eq!(findings(&one(state).to_string()), "OK\n", "{resource}");
    }
}

#[test]
fn waits() {
    check(
        one(json!({ "Type": "Wait", "End": true })),
        expect![[r#"
        SCHEMA_VALIDATION_FAILED /States/S This object should have only one of the following fields: [SecondsPath, Seconds, TimestampPath, Timestamp]
    "#]],
    );
    check(
        one(json!({ "Type": "Wait", "Seconds": 1, "SecondsPath": "$.s", "End": true })),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S There should only be one of the following fields: [SecondsPath, Seconds, TimestampPath, Timestamp]
        "#]],
    );
    check(
        one(json!({ "Type": "Wait", "Timestamp": "2016-12-05 21:29:29Z", "End": true })),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S/Timestamp String does not match RFC3339 timestamp
        "#]],
    );
}

#[test]
fn choices() {
    check(
        one(json!({ "Type": "Choice", "Choices": [] })),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S/Choices Value cannot be empty
            MISSING_END_STATE - Workflow has no terminal state
        "#]],
    );
    check(
        one(json!({ "Type": "Choice", "Choices": [
        { "Variable": "$.a", "StringEquals": "x" },
        { "Variable": "$.a", "StringEquals": 5, "Next": "S" },
        { "Variable": "$.a", "IsNull": true, "NumericEquals": 1, "Next": "S" },
        { "Variable": "a", "NumericEqualsPath": "b", "Next": "S" },
        { "Variable": "$.a", "Next": "S" },
        { "Next": "S" },
        { "And": [{ "Variable": "$.a", "IsNull": true, "Next": "S" }], "Next": "S" },
        { "Not": { "Variable": "$.a", "TimestampEquals": "today" }, "Next": "S" },
        { "Variable": "$.a", "StringMatches": "\\a", "Next": "S" },
        { "Variable": "$.a", "StringContains": "x", "Next": "S" }] })),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S/Choices[0] These fields are required: [Next]
            SCHEMA_VALIDATION_FAILED /States/S/Choices[1]/StringEquals Expected value of type String
            SCHEMA_VALIDATION_FAILED /States/S/Choices[2] There should only be one of the following fields: [StringEquals, IsBoolean, StringLessThan, IsNumeric, BooleanEquals, StringLessThanEqualsPath, NumericLessThan, NumericGreaterThan, NumericLessThanPath, StringMatches, TimestampLessThanEqualsPath, NumericEquals, TimestampGreaterThan, StringGreaterThanEqualsPath, TimestampGreaterThanEqualsPath, TimestampLessThanEquals, NumericLessThanEqualsPath, TimestampEquals, BooleanEqualsPath, IsTimestamp, StringLessThanEquals, NumericLessThanEquals, StringLessThanPath, TimestampGreaterThanPath, StringGreaterThan, StringGreaterThanPath, IsString, StringEqualsPath, TimestampEqualsPath, TimestampLessThan, StringGreaterThanEquals, NumericGreaterThanPath, NumericGreaterThanEquals, NumericEqualsPath, TimestampLessThanPath, IsNull, IsPresent, TimestampGreaterThanEquals, NumericGreaterThanEqualsPath]
            SCHEMA_VALIDATION_FAILED /States/S/Choices[3]/Variable Value is not a Reference Path: Reference path didn't start with '$'
            SCHEMA_VALIDATION_FAILED /States/S/Choices[3]/NumericEqualsPath Value is not a Reference Path: Reference path didn't start with '$'
            SCHEMA_VALIDATION_FAILED /States/S/Choices[4] This object should have only one of the following fields: [StringEquals, IsBoolean, StringLessThan, IsNumeric, BooleanEquals, StringLessThanEqualsPath, NumericLessThan, NumericGreaterThan, NumericLessThanPath, StringMatches, TimestampLessThanEqualsPath, NumericEquals, TimestampGreaterThan, StringGreaterThanEqualsPath, TimestampGreaterThanEqualsPath, TimestampLessThanEquals, NumericLessThanEqualsPath, TimestampEquals, BooleanEqualsPath, IsTimestamp, StringLessThanEquals, NumericLessThanEquals, StringLessThanPath, TimestampGreaterThanPath, StringGreaterThan, StringGreaterThanPath, IsString, StringEqualsPath, TimestampEqualsPath, TimestampLessThan, StringGreaterThanEquals, NumericGreaterThanPath, NumericGreaterThanEquals, NumericEqualsPath, TimestampLessThanPath, IsNull, IsPresent, TimestampGreaterThanEquals, NumericGreaterThanEqualsPath]
            SCHEMA_VALIDATION_FAILED /States/S/Choices[5] The object must have only one of the following fields, [And, Or, Not, Variable, Condition]
            SCHEMA_VALIDATION_FAILED /States/S/Choices[6]/And[0] Field 'Next' is not supported
            SCHEMA_VALIDATION_FAILED /States/S/Choices[7]/Not/TimestampEquals String does not match RFC3339 timestamp
            SCHEMA_VALIDATION_FAILED /States/S/Choices[8]/StringMatches Value is not a valid pattern: a backslash is followed by '*' or a backslash
            SCHEMA_VALIDATION_FAILED /States/S/Choices[9] Field 'StringContains' is not supported
            SCHEMA_VALIDATION_FAILED /States/S/Choices[9] This object should have only one of the following fields: [StringEquals, IsBoolean, StringLessThan, IsNumeric, BooleanEquals, StringLessThanEqualsPath, NumericLessThan, NumericGreaterThan, NumericLessThanPath, StringMatches, TimestampLessThanEqualsPath, NumericEquals, TimestampGreaterThan, StringGreaterThanEqualsPath, TimestampGreaterThanEqualsPath, TimestampLessThanEquals, NumericLessThanEqualsPath, TimestampEquals, BooleanEqualsPath, IsTimestamp, StringLessThanEquals, NumericLessThanEquals, StringLessThanPath, TimestampGreaterThanPath, StringGreaterThan, StringGreaterThanPath, IsString, StringEqualsPath, TimestampEqualsPath, TimestampLessThan, StringGreaterThanEquals, NumericGreaterThanPath, NumericGreaterThanEquals, NumericEqualsPath, TimestampLessThanPath, IsNull, IsPresent, TimestampGreaterThanEquals, NumericGreaterThanEqualsPath]
            MISSING_END_STATE - Workflow has no terminal state
        "#]],
    );
}

#[test]
fn branches_and_iterators() {
    check(
        one(json!({ "Type": "Parallel", "Branches": [], "End": true })),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S/Branches Value cannot be empty
        "#]],
    );
    check(
        one(
            json!({ "Type": "Parallel", "End": true, "Branches": [{}, { "StartAt": "S", "States": { "S": pass(json!({})) } }] }),
        ),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S/Branches[0] These fields are required: [States, StartAt]
            DUPLICATE_STATE_NAME /States/S/Branches[1]/States/S Duplicate State name: S
        "#]],
    );
    check(
        one(json!({ "Type": "Map", "End": true })),
        expect![[r#"
        SCHEMA_VALIDATION_FAILED /States/S This object should have only one of the following fields: [ItemProcessor, Iterator]
    "#]],
    );
    check(
        one(
            json!({ "Type": "Map", "End": true, "MaxConcurrency": -1, "ItemsPath": "$.a[*]", "Parameters": {}, "ItemSelector": {},
        "Iterator": { "QueryLanguage": "JSONPath", "StartAt": "I", "States": { "I": pass(json!({})) } } }),
        ),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S/Iterator Field 'QueryLanguage' is not supported
            SCHEMA_VALIDATION_FAILED /States/S/MaxConcurrency Minimum value is 0
            SCHEMA_VALIDATION_FAILED /States/S/ItemsPath Value is not a Reference Path
            SCHEMA_VALIDATION_FAILED /States/S There should only be one of the following fields: [ItemSelector, Parameters]
        "#]],
    );
    let nested = json!({ "Type": "Map", "MaxConcurrency": 1, "MaxConcurrencyPath": "$.n", "End": true,
        "ItemProcessor": { "StartAt": "I", "States": { "I": { "Type": "Pass", "Next": "Lost" }, "U": pass(json!({})) } } });
    check(
        one(
            json!({ "Type": "Map", "End": true, "ItemProcessor": { "StartAt": "N", "States": { "N": nested } } }),
        ),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S/ItemProcessor/States/N There should only be one of the following fields: [MaxConcurrency, MaxConcurrencyPath]
            MISSING_TRANSITION_TARGET /States/S/ItemProcessor/States/N/ItemProcessor/States/I/Next Missing 'Next' target: Lost
        "#]],
    );
    check(
        one(json!({ "Type": "Parallel", "End": true, "Branches": [
        { "StartAt": "I", "States": { "I": { "Type": "Pass", "Next": "S" }, "U": pass(json!({})) } }] })),
        expect![[r#"
            MISSING_TRANSITION_TARGET /States/S/Branches[0]/States/I/Next Missing 'Next' target: S
            MISSING_TRANSITION_TARGET /States/S/Branches[0]/States/U State "U" is not reachable.
        "#]],
    );
}

#[test]
fn names() {
    let long = "n".repeat(81);
    check(
        json!({ "StartAt": long, "States": { long.clone(): pass(json!({})) } }),
        expect![[r#"
            INVALID_STATE_NAME /States/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn State name 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn' exceeds the 80-character limit allowed by the service
        "#]],
    );
    check(
        one(
            json!({ "Type": "Parallel", "End": true, "Branches": [{ "StartAt": "S", "States": { "S": pass(json!({})) } }] }),
        ),
        expect![[r#"
            DUPLICATE_STATE_NAME /States/S/Branches[0]/States/S Duplicate State name: S
        "#]],
    );
}

#[test]
fn what_this_engine_does_not_have_is_named() {
    check(
        json!({ "QueryLanguage": "JSONata", "StartAt": "S", "States": {
        "S": { "Type": "Pass", "QueryLanguage": "JSONPath", "End": true } } }),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S 'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine
            UNSUPPORTED_QUERY_LANGUAGE /QueryLanguage QueryLanguage 'JSONata' is not supported by this engine yet
        "#]],
    );
    check(
        one(
            json!({ "Type": "Pass", "QueryLanguage": "JSONata", "Output": "{% 1 %}", "InputPath": "$.a", "End": true }),
        ),
        expect![[r#"
            SCHEMA_VALIDATION_FAILED /States/S/InputPath The QueryLanguage is set to 'JSONata', but field 'InputPath' is only supported for the 'JSONPath' QueryLanguage
            UNSUPPORTED_QUERY_LANGUAGE /States/S/QueryLanguage QueryLanguage 'JSONata' is not supported by this engine yet
        "#]],
    );
    check(
        one(pass(json!({ "Output": 1 }))),
        expect![[r#"
        SCHEMA_VALIDATION_FAILED /States/S The QueryLanguage is set to 'JSONPath', but field 'Output' is only supported for the 'JSONata' QueryLanguage
    "#]],
    );
    check(
        one(
            json!({ "Type": "Map", "End": true, "ItemReader": {}, "ToleratedFailureCount": 1, "ItemProcessor": {
        "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
        "StartAt": "I", "States": { "I": pass(json!({})) } } }),
        ),
        expect![[r#"
            UNSUPPORTED_MAP_MODE /States/S/ItemProcessor/ProcessorConfig/Mode Map mode 'DISTRIBUTED' is not supported by this engine yet
            UNSUPPORTED_FIELD /States/S/ItemReader Field 'ItemReader' of a Map is not supported by this engine yet
            UNSUPPORTED_FIELD /States/S/ToleratedFailureCount Field 'ToleratedFailureCount' of a Map is not supported by this engine yet
        "#]],
    );
}

#[test]
fn good_definitions() {
    check(
        one(json!({ "Type": "Succeed", "Comment": "fine" })),
        expect![[r#"
            OK
        "#]],
    );
    check(
        json!({ "Comment": "c", "Version": "1.0", "TimeoutSeconds": 60, "QueryLanguage": "JSONPath",
        "StartAt": "S", "States": { "S": { "Type": "Task", "Resource": "${Validate}", "End": true,
            "TimeoutSecondsPath": "$.t", "HeartbeatSecondsPath": "$beat" } } }),
        expect![[r#"
            OK
        "#]],
    );
}
