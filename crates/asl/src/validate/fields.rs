//! Which field each state type may have, and the checks of single fields.

use serde_json::Value;

use super::Checker;
use crate::query::{Kind, Query};
use crate::reference::ReferencePath;
use crate::template::Template;
use crate::time;

/// The largest number of seconds AWS accepts in a field.
pub(super) const MAX_SECONDS: u64 = 99_999_999;

/// Fields of each state type (measured on `ValidateStateMachineDefinition`), besides `Type`,
/// `Comment` and `QueryLanguage`.
pub(super) fn allowed(state_type: &str) -> Option<&'static [&'static str]> {
    Some(match state_type {
        "Pass" => &[
            "InputPath",
            "OutputPath",
            "Result",
            "ResultPath",
            "Parameters",
            "Output",
            "Assign",
            "Next",
            "End",
        ],
        "Task" => &[
            "InputPath",
            "OutputPath",
            "ResultPath",
            "Parameters",
            "Arguments",
            "Output",
            "Assign",
            "Resource",
            "Credentials",
            "ResultSelector",
            "Retry",
            "Catch",
            "TimeoutSeconds",
            "TimeoutSecondsPath",
            "HeartbeatSeconds",
            "HeartbeatSecondsPath",
            "Next",
            "End",
        ],
        "Wait" => &[
            "InputPath",
            "OutputPath",
            "Output",
            "Assign",
            "Seconds",
            "Timestamp",
            "SecondsPath",
            "TimestampPath",
            "Next",
            "End",
        ],
        "Parallel" => &[
            "InputPath",
            "OutputPath",
            "ResultPath",
            "Parameters",
            "Arguments",
            "Output",
            "Assign",
            "ResultSelector",
            "Retry",
            "Catch",
            "Branches",
            "Next",
            "End",
        ],
        "Map" => &[
            "InputPath",
            "OutputPath",
            "ResultPath",
            "Parameters",
            "Output",
            "Assign",
            "ResultSelector",
            "Retry",
            "Catch",
            "ItemProcessor",
            "Iterator",
            "ItemsPath",
            "Items",
            "ItemSelector",
            "ItemReader",
            "ItemBatcher",
            "ResultWriter",
            "MaxConcurrency",
            "MaxConcurrencyPath",
            "ToleratedFailurePercentage",
            "ToleratedFailurePercentagePath",
            "ToleratedFailureCount",
            "ToleratedFailureCountPath",
            "Label",
            "Next",
            "End",
        ],
        "Choice" => &[
            "InputPath",
            "OutputPath",
            "Output",
            "Assign",
            "Choices",
            "Default",
        ],
        "Succeed" => &["InputPath", "OutputPath", "Output"],
        "Fail" => &["Error", "Cause", "ErrorPath", "CausePath"],
        _ => return None,
    })
}

/// Fields that only one of the query languages has.
pub(super) const JSONPATH_ONLY: [&str; 16] = [
    "InputPath",
    "OutputPath",
    "ResultPath",
    "Parameters",
    "ResultSelector",
    "Result",
    "ItemsPath",
    "TimeoutSecondsPath",
    "HeartbeatSecondsPath",
    "SecondsPath",
    "TimestampPath",
    "MaxConcurrencyPath",
    "ToleratedFailurePercentagePath",
    "ToleratedFailureCountPath",
    "ErrorPath",
    "CausePath",
];
pub(super) const JSONATA_ONLY: [&str; 3] = ["Arguments", "Output", "Items"];

pub(super) fn string(checker: &mut Checker, value: &Value, field: &str, at: &str) {
    if value.get(field).is_some_and(|found| !found.is_string()) {
        checker.schema("Expected value of type String", format!("{at}/{field}"));
    }
}

pub(super) fn required(checker: &mut Checker, value: &Value, fields: &[&str], at: &str) {
    let missing: Vec<&str> = fields
        .iter()
        .copied()
        .filter(|field| value.get(field).is_none())
        .collect();
    if !missing.is_empty() {
        checker.schema(
            format!("These fields are required: [{}]", missing.join(", ")),
            at,
        );
    }
}

pub(super) fn one_of(checker: &mut Checker, value: &Value, field: &str, at: &str, words: &[&str]) {
    match value.get(field) {
        None => {}
        Some(Value::String(word)) if words.contains(&word.as_str()) => {}
        Some(_) => {
            let message = format!(
                "Value should be one of the following: [{}]",
                words.join(", ")
            );
            checker.schema(message, format!("{at}/{field}"));
        }
    }
}

/// At most one of some fields.
pub(super) fn exclusive(checker: &mut Checker, value: &Value, fields: &[&str], at: &str) {
    if fields
        .iter()
        .filter(|field| value.get(field).is_some())
        .count()
        > 1
    {
        let message = format!(
            "There should only be one of the following fields: [{}]",
            fields.join(", ")
        );
        checker.schema(message, at);
    }
}

/// Exactly one of some fields.
pub(super) fn exactly_one(checker: &mut Checker, value: &Value, fields: &[&str], at: &str) {
    if fields.iter().all(|field| value.get(field).is_none()) {
        let message = format!(
            "This object should have only one of the following fields: [{}]",
            fields.join(", ")
        );
        checker.schema(message, at);
    }
    exclusive(checker, value, fields, at);
}

pub(super) fn integer(
    checker: &mut Checker,
    value: &Value,
    field: &str,
    at: &str,
    least: u64,
    most: u64,
) {
    let Some(found) = value.get(field) else {
        return;
    };
    let place = format!("{at}/{field}");
    match (found.as_u64(), found.as_i64()) {
        (Some(number), _) if number < least => {
            checker.schema(format!("Minimum value is {least}"), place);
        }
        (Some(number), _) if number > most => {
            checker.schema(format!("Maximum value is {most}"), place);
        }
        (Some(_), _) => {}
        (None, Some(_)) => checker.schema(format!("Minimum value is {least}"), place),
        (None, None) => checker.schema("Expected value of type Integer", place),
    }
}

pub(super) fn number(
    checker: &mut Checker,
    value: &Value,
    field: &str,
    at: &str,
    least: f64,
    most: f64,
) {
    let Some(found) = value.get(field) else {
        return;
    };
    let place = format!("{at}/{field}");
    match found.as_f64() {
        None => checker.schema("Expected value of type Number", place),
        Some(number) if number < least => {
            checker.schema(format!("Minimum value is {least:.1}"), place);
        }
        Some(number) if number > most => {
            checker.schema(format!("Maximum value is {most:.1}"), place);
        }
        Some(_) => {}
    }
}

/// `InputPath` and its like: a path, a context path, a variable or a call; maybe null.
pub(super) fn path(checker: &mut Checker, value: &Value, field: &str, at: &str, null: bool) {
    let Some(found) = value.get(field) else {
        return;
    };
    let place = format!("{at}/{field}");
    match found {
        Value::Null if null => {}
        Value::String(text) => {
            if Query::parse(text).is_err() {
                checker.schema("Value must be a valid JSONPath.", place);
            }
        }
        _ => checker.schema("Expected value of type String", place),
    }
}

/// A path to a single node: the input's, a variable's, and where `context` says so the context's.
pub(super) fn reference(
    checker: &mut Checker,
    value: &Value,
    field: &str,
    at: &str,
    context: bool,
) {
    let Some(found) = value.get(field) else {
        return;
    };
    let place = format!("{at}/{field}");
    let Some(text) = found.as_str() else {
        checker.schema("Expected value of type String", place);
        return;
    };
    if !text.starts_with('$') {
        let message = "Value is not a Reference Path: Reference path didn't start with '$'";
        checker.schema(message, place);
        return;
    }
    let single = match Query::parse_path(text) {
        Err(_) => false,
        Ok(query) => match query.kind() {
            Kind::Input(path) | Kind::Variable(_, path) => path.is_reference(),
            Kind::Context(path) => context && path.is_definite(),
            Kind::Call(_) => false,
        },
    };
    if !single {
        checker.schema("Value is not a Reference Path", place);
    }
}

/// `ResultPath`: null, or a place in the input.
pub(super) fn result_path(checker: &mut Checker, value: &Value, at: &str) {
    let Some(found) = value.get("ResultPath") else {
        return;
    };
    let place = format!("{at}/ResultPath");
    match found {
        Value::Null => {}
        Value::String(text) if !text.starts_with('$') => {
            let message = "Value is not a Reference Path: Reference path didn't start with '$'";
            checker.schema(message, place);
        }
        Value::String(text) if ReferencePath::parse(text).is_ok() => {}
        Value::String(_) => checker.schema("Value is not a Reference Path", place),
        _ => checker.schema("Expected value of type String", place),
    }
}

/// A payload template.
pub(super) fn template(checker: &mut Checker, value: &Value, field: &str, at: &str) {
    let Some(found) = value.get(field) else {
        return;
    };
    let place = format!("{at}/{field}");
    if let Err(faults) = Template::parse(found) {
        for (below, name) in faults {
            let message = format!(
                "The value for the field '{name}' must be a valid JSONPath or a valid intrinsic \
                 function call"
            );
            checker.schema(message, format!("{place}{below}"));
        }
    }
}

/// `Assign`: an object whose members name variables.
pub(super) fn assign(checker: &mut Checker, value: &Value, at: &str) {
    let Some(found) = value.get("Assign") else {
        return;
    };
    let place = format!("{at}/Assign");
    let Some(members) = found.as_object() else {
        checker.schema("Expected value of type Object", place);
        return;
    };
    for member in members.keys() {
        let name = member.strip_suffix(".$").unwrap_or(member);
        let here = format!("{place}/{member}");
        let valid = name.starts_with(|c: char| c.is_alphabetic())
            && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if name == "states" {
            let message = "Cannot assign to reserved variable '$states'.";
            checker.report("RESERVED_VARIABLE_NAME", message, &here);
        } else if !valid {
            let message = format!(
                "Invalid variable name '{name}': the variable name contains invalid characters."
            );
            checker.report("INVALID_VARIABLE_NAME", message, &here);
        } else if name.chars().count() > 80 {
            let message = format!("Invalid variable name '{name}': the variable name is too long.");
            checker.report("INVALID_VARIABLE_NAME", message, &here);
        }
    }
    template(checker, value, "Assign", at);
}

pub(super) fn timestamp(checker: &mut Checker, value: &Value, field: &str, at: &str) {
    let Some(found) = value.get(field) else {
        return;
    };
    if found.as_str().and_then(time::parse).is_none() {
        checker.schema(
            "String does not match RFC3339 timestamp",
            format!("{at}/{field}"),
        );
    }
}
