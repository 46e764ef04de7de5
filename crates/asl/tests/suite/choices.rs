//! Choice rules.

use serde_json::{Value, json};

use crate::support::{outcome, pass, run};

/// Whether a rule (without its `Next`) matches an input.
fn matches(rule: Value, input: Value) -> String {
    let mut rule = rule;
    rule["Next"] = json!("Yes");
    let machine = json!({ "StartAt": "C", "States": {
        "C": { "Type": "Choice", "Choices": [rule], "Default": "No" },
        "Yes": pass(json!({ "Result": true })), "No": pass(json!({ "Result": false })) } });
    outcome(&run(&machine, input))
}

/// One operator against a table of values.
fn table(operator: &str, operand: Value, cases: &[(Value, bool)]) {
    for (value, expected) in cases {
        let rule = json!({ "Variable": "$.v", operator: operand });
        assert_eq!(
            matches(rule, json!({ "v": value })),
            expected.to_string(),
            "{value} {operator} {operand}"
        );
        if !operator.starts_with("Is") && operator != "StringMatches" {
            let rule = json!({ "Variable": "$.v", format!("{operator}Path"): "$.w" });
            let input = json!({ "v": value, "w": operand });
            assert_eq!(
                matches(rule, input),
                expected.to_string(),
                "{value} {operator}Path {operand}"
            );
        }
    }
}

#[test]
fn comparisons_want_the_same_type_on_both_sides() {
    let others = |fits: &[Value]| -> Vec<(Value, bool)> {
        let all = [
            json!(null),
            json!(0),
            json!(1.5),
            json!(""),
            json!("a"),
            json!([]),
            json!({}),
            json!(true),
        ];
        all.into_iter()
            .filter(|v| !fits.contains(v))
            .map(|v| (v, false))
            .collect()
    };
    table("StringEquals", json!("a"), &others(&[json!("a")]));
    table("NumericEquals", json!(1.5), &others(&[json!(1.5)]));
    table("BooleanEquals", json!(true), &others(&[json!(true)]));
    table(
        "TimestampEquals",
        json!("2024-01-01T00:00:00Z"),
        &others(&[]),
    );
}

#[test]
fn strings_numbers_booleans() {
    table(
        "StringEquals",
        json!("a"),
        &[(json!("a"), true), (json!("A"), false)],
    );
    table(
        "StringLessThan",
        json!("b"),
        &[(json!("a"), true), (json!("b"), false), (json!("B"), true)],
    );
    table(
        "StringLessThanEquals",
        json!("b"),
        &[(json!("b"), true), (json!("c"), false)],
    );
    table(
        "StringGreaterThan",
        json!("b"),
        &[(json!("bb"), true), (json!("b"), false)],
    );
    table(
        "StringGreaterThanEquals",
        json!("b"),
        &[(json!("b"), true), (json!("a"), false)],
    );
    table(
        "NumericEquals",
        json!(1),
        &[(json!(1.0), true), (json!(1.1), false)],
    );
    table(
        "NumericLessThan",
        json!(2),
        &[(json!(1.99), true), (json!(2), false)],
    );
    table(
        "NumericLessThanEquals",
        json!(2),
        &[(json!(2.0), true), (json!(2.01), false)],
    );
    table(
        "NumericGreaterThan",
        json!(-1),
        &[(json!(0), true), (json!(-1), false)],
    );
    table(
        "NumericGreaterThanEquals",
        json!(-1),
        &[(json!(-1), true), (json!(-2), false)],
    );
    table(
        "BooleanEquals",
        json!(false),
        &[(json!(false), true), (json!(true), false)],
    );
}

#[test]
fn timestamps_are_moments_not_texts() {
    let noon = json!("2024-06-01T12:00:00Z");
    let same = json!("2024-06-01T07:00:00.000-05:00");
    let later = json!("2024-06-01T12:00:00.000001Z");
    table(
        "TimestampEquals",
        noon.clone(),
        &[(same.clone(), true), (later.clone(), false)],
    );
    table(
        "TimestampLessThan",
        later.clone(),
        &[(same.clone(), true), (later.clone(), false)],
    );
    table(
        "TimestampLessThanEquals",
        noon.clone(),
        &[(same.clone(), true), (later.clone(), false)],
    );
    table(
        "TimestampGreaterThan",
        noon.clone(),
        &[(later.clone(), true), (same.clone(), false)],
    );
    table(
        "TimestampGreaterThanEquals",
        noon,
        &[(later, true), (same, true), (json!("2024-06-01"), false)],
    );
}

#[test]
fn type_tests() {
    let stamp = json!("2024-06-01T12:00:00Z");
    table(
        "IsNull",
        json!(true),
        &[(json!(null), true), (json!(0), false)],
    );
    table(
        "IsNumeric",
        json!(true),
        &[(json!(0), true), (json!(1.5), true), (json!("1"), false)],
    );
    table(
        "IsString",
        json!(true),
        &[(json!(""), true), (stamp.clone(), true), (json!(1), false)],
    );
    table(
        "IsBoolean",
        json!(true),
        &[(json!(false), true), (json!("true"), false)],
    );
    table(
        "IsTimestamp",
        json!(true),
        &[
            (stamp, true),
            (json!("2024-06-01T12:00:00"), false),
            (json!("2024-06-01 12:00:00Z"), false),
            (json!("2024-13-01T12:00:00Z"), false),
            (json!(1), false),
        ],
    );
    table("IsPresent", json!(true), &[(json!(null), true)]);
}

#[test]
fn presence_is_the_only_test_of_a_missing_path() {
    assert_eq!(
        matches(
            json!({ "Variable": "$.a.b", "IsPresent": false }),
            json!({})
        ),
        "true"
    );
    assert_eq!(
        matches(
            json!({ "Variable": "$.a.b", "IsPresent": true }),
            json!({ "a": { "b": null } })
        ),
        "true"
    );
    assert_eq!(
        matches(json!({ "Variable": "$.x", "StringEquals": "a" }), json!({})),
        "States.Runtime: Invalid path '$.x': The choice state's condition path references an invalid value."
    );
    assert_eq!(
        matches(
            json!({ "Variable": "$.x", "NumericLessThanPath": "$.y" }),
            json!({ "x": 1 })
        ),
        "States.Runtime: Invalid path '$.y': The choice state's condition path references an invalid value."
    );
}

#[test]
fn patterns() {
    table(
        "StringMatches",
        json!("log-*.txt"),
        &[
            (json!("log-.txt"), true),
            (json!("log-a.b.txt"), true),
            (json!("log-a.txt2"), false),
            (json!(1), false),
        ],
    );
    table(
        "StringMatches",
        json!(r"*\*\\"),
        &[(json!(r"ab*\"), true), (json!(r"ab\"), false)],
    );
    table(
        "StringMatches",
        json!("a*b*a"),
        &[
            (json!("aba"), true),
            (json!("aa"), false),
            (json!("abca"), true),
        ],
    );
}

#[test]
fn conditions_are_combined_and_stop_early() {
    let big = json!({ "Variable": "$.n", "NumericGreaterThan": 10 });
    let missing = json!({ "Variable": "$.no", "IsNull": true });
    assert_eq!(
        matches(json!({ "And": [big, missing] }), json!({ "n": 1 })),
        "false"
    );
    assert_eq!(
        matches(json!({ "Or": [big, missing] }), json!({ "n": 11 })),
        "true"
    );
    assert_eq!(matches(json!({ "Not": big }), json!({ "n": 1 })), "true");
    assert_eq!(
        matches(
            json!({ "And": [{ "Not": big }, { "Or": [big, { "Variable": "$.n", "IsNumeric": true }] }] }),
            json!({ "n": 1 })
        ),
        "true"
    );
}

#[test]
fn context_and_variables_can_be_tested() {
    assert_eq!(
        matches(
            json!({ "Variable": "$$.Execution.Input.n", "NumericEquals": 1 }),
            json!({ "n": 1 })
        ),
        "true"
    );
    let machine = json!({ "StartAt": "A", "States": {
        "A": { "Type": "Pass", "Assign": { "guess": 4, "goal.$": "$.goal" }, "Next": "C" },
        "C": { "Type": "Choice", "Default": "No",
            "Choices": [{ "Variable": "$guess", "NumericEqualsPath": "$goal", "Next": "Yes" }] },
        "Yes": pass(json!({ "Result": true })), "No": pass(json!({ "Result": false })) } });
    assert_eq!(outcome(&run(&machine, json!({ "goal": 4 }))), "true");
}

#[test]
fn a_choice_filters_its_input_and_output() {
    let machine = json!({ "StartAt": "C", "States": {
        "C": { "Type": "Choice", "InputPath": "$.in", "OutputPath": "$.keep",
            "Choices": [{ "Variable": "$.go", "BooleanEquals": true, "Next": "Z" }] },
        "Z": { "Type": "Succeed" } } });
    assert_eq!(
        outcome(&run(&machine, json!({ "in": { "go": true, "keep": 3 } }))),
        "3"
    );
    assert_eq!(
        outcome(&run(&machine, json!({ "in": { "go": false } }))),
        "States.Runtime: Failed to transition out of the state. The state does not point to a next state."
    );
}
