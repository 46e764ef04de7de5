//! Transitions: every target exists, every state is reached, and the workflow can end.

use std::collections::HashSet;

use serde_json::Value;

use super::Diagnostic;

pub(super) fn check(document: &Value, diagnostics: &mut Vec<Diagnostic>) {
    let Some(states) = document.get("States").and_then(Value::as_object) else {
        return;
    };
    let sound = diagnostics.is_empty();
    targets(document, "", diagnostics);
    let ends = |state: &Value| match state.get("Type").and_then(Value::as_str) {
        Some("Succeed" | "Fail") => true,
        Some(_) => state.get("End").and_then(Value::as_bool) == Some(true),
        None => false,
    };
    if !states.values().any(ends) {
        // Then, and after faults of fields, AWS does not go on to look for unreachable ones.
        let message = "Workflow has no terminal state";
        diagnostics.push(Diagnostic::error("MISSING_END_STATE", message, None));
        return;
    }
    if sound {
        reached(document, "", diagnostics);
    }
}

/// Where a state goes: each target with the place that names it.
fn edges<'a>(state: &'a Value, at: &str) -> Vec<(String, &'a str)> {
    let mut all = Vec::new();
    let mut add = |place: String, target: Option<&'a Value>| {
        if let Some(target) = target.and_then(Value::as_str) {
            all.push((place, target));
        }
    };
    add(format!("{at}/Next"), state.get("Next"));
    for field in ["Choices", "Catch"] {
        let items = state
            .get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for (index, item) in items.enumerate() {
            add(format!("{at}/{field}[{index}]/Next"), item.get("Next"));
        }
    }
    add(format!("{at}/Default"), state.get("Default"));
    all
}

/// The scopes inside a state, with their places.
fn inner<'a>(state: &'a Value, at: &str) -> Vec<(String, &'a Value)> {
    let mut all = Vec::new();
    let branches = state
        .get("Branches")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for (index, branch) in branches.enumerate() {
        all.push((format!("{at}/Branches[{index}]"), branch));
    }
    for field in ["ItemProcessor", "Iterator"] {
        if let Some(processor) = state.get(field) {
            all.push((format!("{at}/{field}"), processor));
        }
    }
    all
}

fn targets(scope: &Value, at: &str, diagnostics: &mut Vec<Diagnostic>) {
    let Some(states) = scope.get("States").and_then(Value::as_object) else {
        return;
    };
    let mut missing = |place: String, target: &str| {
        if !states.contains_key(target) {
            let message = format!("Missing 'Next' target: {target}");
            diagnostics.push(Diagnostic::error(
                "MISSING_TRANSITION_TARGET",
                message,
                Some(place),
            ));
        }
    };
    if let Some(start) = scope.get("StartAt").and_then(Value::as_str) {
        missing(format!("{at}/StartAt"), start);
    }
    for (name, state) in states {
        for (place, target) in edges(state, &format!("{at}/States/{name}")) {
            missing(place, target);
        }
    }
    for (name, state) in states {
        for (place, scope) in inner(state, &format!("{at}/States/{name}")) {
            targets(scope, &place, diagnostics);
        }
    }
}

fn reached(scope: &Value, at: &str, diagnostics: &mut Vec<Diagnostic>) {
    let Some(states) = scope.get("States").and_then(Value::as_object) else {
        return;
    };
    let mut seen: HashSet<&str> = HashSet::new();
    let mut left: Vec<&str> = scope
        .get("StartAt")
        .and_then(Value::as_str)
        .into_iter()
        .collect();
    while let Some(name) = left.pop() {
        if let (true, Some(state)) = (seen.insert(name), states.get(name)) {
            left.extend(edges(state, "").into_iter().map(|(_, target)| target));
        }
    }
    for (name, state) in states {
        let here = format!("{at}/States/{name}");
        if !seen.contains(name.as_str()) {
            let message = format!("State \"{name}\" is not reachable.");
            diagnostics.push(Diagnostic::error(
                "MISSING_TRANSITION_TARGET",
                message,
                Some(here.clone()),
            ));
        }
        for (place, scope) in inner(state, &here) {
            reached(scope, &place, diagnostics);
        }
    }
}
