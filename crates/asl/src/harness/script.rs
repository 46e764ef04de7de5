//! The table of task outcomes, and the comparison of parameters.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use crate::command::{Task, TaskKind};

/// Differences listed for one task.
const MAX_DIFFERENCES: usize = 20;

/// Outcomes not used yet, by state.
pub(super) struct Script {
    entries: HashMap<String, VecDeque<Entry>>,
}

pub(super) struct Entry {
    iteration: Option<u64>,
    pub(super) parameters: Option<Value>,
    pub(super) answer: Answer,
}

pub(super) enum Answer {
    Output(Value),
    Error {
        error: Option<String>,
        cause: Option<String>,
    },
    Timeout,
}

impl Script {
    pub(super) fn parse(tasks: Option<Value>) -> Result<Self, String> {
        let list = match tasks {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(_) => return Err("'tasks' is an array".to_owned()),
        };
        let mut entries: HashMap<String, VecDeque<Entry>> = HashMap::new();
        for (index, mut item) in list.into_iter().enumerate() {
            let state = item.get("state").and_then(Value::as_str).map(str::to_owned);
            let state = state.ok_or_else(|| format!("tasks[{index}] has no 'state'"))?;
            let answer = answer(item.get_mut("outcome").map(Value::take))
                .map_err(|what| format!("tasks[{index}]: {what}"))?;
            let entry = Entry {
                iteration: item.get("iteration").and_then(Value::as_u64),
                parameters: item.get_mut("parameters").map(Value::take),
                answer,
            };
            entries.entry(state).or_default().push_back(entry);
        }
        Ok(Script { entries })
    }

    /// The next outcome for a task: of its own iteration, or of any where none is named.
    pub(super) fn next(&mut self, task: &Task) -> Option<Entry> {
        let left = self.entries.get_mut(&*task.state)?;
        let fits = |entry: &Entry| entry.iteration.is_none() || entry.iteration == task.iteration;
        let at = left.iter().position(fits)?;
        left.remove(at)
    }
}

impl Entry {
    /// Whether the error is one of the service's own, so that the call was never accepted.
    pub(super) fn fails_to_submit(&self, task: &Task) -> bool {
        match (&self.answer, &task.kind) {
            (
                Answer::Error {
                    error: Some(error), ..
                },
                TaskKind::Service { resource_type, .. },
            ) => {
                let service = match resource_type.rsplit(':').next().unwrap_or_default() {
                    // A nested execution that fails has errors `States.…`, and was submitted.
                    "states" => "StepFunctions",
                    service => service,
                };
                error
                    .split_once('.')
                    .is_some_and(|(prefix, _)| prefix.eq_ignore_ascii_case(service))
            }
            _ => false,
        }
    }
}

fn answer(outcome: Option<Value>) -> Result<Answer, String> {
    let Some(Value::Object(mut outcome)) = outcome else {
        return Err("'outcome' is an object".to_owned());
    };
    if outcome.get("timeout").and_then(Value::as_bool) == Some(true) {
        return Ok(Answer::Timeout);
    }
    if let Some(output) = outcome.remove("output") {
        return Ok(Answer::Output(output));
    }
    let text = |value: Option<Value>| match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
    };
    // A failure may come with neither: SendTaskFailure needs none.
    let (error, cause) = (outcome.remove("error"), outcome.remove("cause"));
    Ok(Answer::Error {
        error: text(error),
        cause: text(cause),
    })
}

/// What differs between the parameters of an entry and those the engine resolved. A task's token
/// cannot be known beforehand, so any text stands for it.
pub(super) fn compare(task: &Task, expected: &Value) -> Option<Value> {
    let mut found = Vec::new();
    differences(expected, task.input.value(), &task.token, "", &mut found);
    if found.is_empty() {
        return None;
    }
    Some(json!({
        "state": &*task.state,
        "attempt": task.retries + 1,
        "iteration": task.iteration,
        "expected": expected,
        "actual": task.input.value(),
        "differences": found,
    }))
}

fn differences(expected: &Value, actual: &Value, token: &str, at: &str, found: &mut Vec<Value>) {
    if found.len() >= MAX_DIFFERENCES || expected == actual {
        return;
    }
    match (expected, actual) {
        (Value::Object(wanted), Value::Object(given)) => {
            for (name, value) in wanted {
                let here = format!("{at}/{name}");
                match given.get(name) {
                    Some(other) => differences(value, other, token, &here, found),
                    None => found.push(json!({ "path": here, "expected": value })),
                }
            }
            for (name, value) in given {
                if !wanted.contains_key(name) {
                    found.push(json!({ "path": format!("{at}/{name}"), "actual": value }));
                }
            }
        }
        (Value::Array(wanted), Value::Array(given)) if wanted.len() == given.len() => {
            for (index, (value, other)) in wanted.iter().zip(given).enumerate() {
                differences(value, other, token, &format!("{at}/{index}"), found);
            }
        }
        (Value::Number(wanted), Value::Number(given)) if wanted.as_f64() == given.as_f64() => {}
        (Value::String(_), Value::String(given)) if given.contains(token) => {}
        _ => found.push(json!({ "path": at, "expected": expected, "actual": actual })),
    }
}
