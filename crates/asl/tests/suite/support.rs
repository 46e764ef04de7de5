//! Short ways to write cases down.

use asl::harness::{run_case, validate_text};
use serde_json::{Map, Value, json};

/// The direct ARN of a function.
pub(crate) const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:work";

/// A machine of one state named `S`.
pub(crate) fn one(state: Value) -> Value {
    json!({ "StartAt": "S", "States": { "S": state } })
}

/// A Pass state that ends, with some fields added.
pub(crate) fn pass(fields: Value) -> Value {
    let mut state = json!({ "Type": "Pass", "End": true });
    if let (Some(state), Value::Object(fields)) = (state.as_object_mut(), fields) {
        state.extend(fields);
    }
    state
}

pub(crate) fn run(definition: &Value, input: Value) -> Value {
    run_case(&definition.to_string(), input, None)
}

pub(crate) fn run_with(definition: &Value, input: Value, tasks: Value) -> Value {
    run_case(&definition.to_string(), input, Some(tasks))
}

/// What a Pass state with these fields makes of an input: its output, or `error: cause` with the
/// sentence that every cause starts with cut off.
pub(crate) fn through(fields: Value, input: Value) -> String {
    outcome(&run(&one(pass(fields)), input))
}

/// The output, or the error and the cause.
pub(crate) fn outcome(result: &Value) -> String {
    if result["status"] == "SUCCEEDED" {
        return result["output"].to_string();
    }
    let cause = result["cause"].as_str().unwrap_or("-");
    let cause = match cause.split_once("). ") {
        Some((head, rest)) if head.starts_with("An error occurred while executing the state") => {
            rest
        }
        _ => cause,
    };
    format!("{}: {cause}", result["error"].as_str().unwrap_or("-"))
}

/// A history as lines `id<previous Type details`, with what is the same everywhere left out.
pub(crate) fn history(result: &Value) -> String {
    let mut lines = String::new();
    for event in result["events"].as_array().into_iter().flatten() {
        lines += &format!(
            "{}<{} {}{}\n",
            event["id"],
            event["previousEventId"],
            event["type"].as_str().unwrap_or("?"),
            details(event)
        );
    }
    lines
        + &format!(
            "{} {}\n",
            result["status"].as_str().unwrap_or("?"),
            outcome(result)
        )
}

/// The types alone.
pub(crate) fn types(result: &Value) -> Vec<&str> {
    let events = result["events"].as_array().into_iter().flatten();
    events.filter_map(|event| event["type"].as_str()).collect()
}

fn details(event: &Value) -> String {
    let members = event.as_object().cloned().unwrap_or_default();
    let found = members
        .into_iter()
        .find(|(name, _)| name.ends_with("EventDetails"));
    let Some((_, Value::Object(details))) = found else {
        return String::new();
    };
    let kept: Map<String, Value> = details
        .into_iter()
        .filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "inputDetails"
                    | "outputDetails"
                    | "assignedVariablesDetails"
                    | "roleArn"
                    | "region"
            )
        })
        .collect();
    if kept.is_empty() {
        String::new()
    } else {
        format!(" {}", Value::Object(kept))
    }
}

/// The findings of a check as lines `CODE location message`, or `OK`.
pub(crate) fn findings(definition: &str) -> String {
    let result = validate_text(definition);
    let mut lines = String::new();
    for found in result["diagnostics"].as_array().into_iter().flatten() {
        lines += &format!(
            "{} {} {}\n",
            found["code"].as_str().unwrap_or("?"),
            found["location"].as_str().unwrap_or("-"),
            found["message"].as_str().unwrap_or("?")
        );
    }
    if lines.is_empty() {
        format!("{}\n", result["result"].as_str().unwrap_or("?"))
    } else {
        lines
    }
}
