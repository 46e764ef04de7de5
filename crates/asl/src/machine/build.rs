//! From checked JSON to compiled states. Whatever is missing here was refused by the checks, so
//! an `Option` that turns out empty is a definition the checks should have refused.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::{
    Catcher, Filter, Items, Kind, Map, Resource, Retrier, Rule, Scope, Seconds, State, Target,
    Task, Until, Word, Work,
};
use crate::choice::{Condition, Operand, Operator, Pattern, Test};
use crate::query::Query;
use crate::reference::ReferencePath;
use crate::template::Template;
use crate::time;

/// All scopes of a definition and the machine's timeout.
pub(super) fn scopes(document: &Value) -> Option<(Vec<Scope>, Option<u64>)> {
    let mut builder = Builder { scopes: Vec::new() };
    builder.scope(document)?;
    let scopes = builder.scopes.into_iter().collect::<Option<Vec<_>>>()?;
    // Zero is accepted and means no limit.
    let timeout = document.get("TimeoutSeconds").and_then(Value::as_u64);
    Some((scopes, timeout.filter(|seconds| *seconds > 0)))
}

struct Builder {
    scopes: Vec<Option<Scope>>,
}

impl Builder {
    fn scope(&mut self, document: &Value) -> Option<usize> {
        let number = self.scopes.len();
        self.scopes.push(None);
        let mut states = IndexMap::new();
        for (name, state) in document.get("States")?.as_object()? {
            let name: Arc<str> = name.as_str().into();
            states.insert(name.clone(), self.state(name, state)?);
        }
        let start_at = text(document, "StartAt")?;
        if let Some(place) = self.scopes.get_mut(number) {
            *place = Some(Scope { start_at, states });
        }
        Some(number)
    }

    fn state(&mut self, name: Arc<str>, state: &Value) -> Option<State> {
        let kind = match state.get("Type")?.as_str()? {
            "Pass" => Kind::Pass {
                result: state.get("Result").cloned(),
                parameters: template(state, "Parameters")?,
                result_path: target(state)?,
            },
            "Task" => Kind::Task(Box::new(Task {
                resource: Resource::parse(state.get("Resource")?.as_str()?),
                timeout: seconds(state, "TimeoutSeconds")?,
                heartbeat: seconds(state, "HeartbeatSeconds")?,
                credentials: template(state, "Credentials")?,
                work: work(state, "Parameters")?,
            })),
            "Choice" => Kind::Choice {
                rules: state
                    .get("Choices")?
                    .as_array()?
                    .iter()
                    .map(rule)
                    .collect::<Option<Vec<_>>>()?,
                default: text(state, "Default"),
            },
            "Wait" => Kind::Wait(until(state)?),
            "Succeed" => Kind::Succeed,
            "Fail" => Kind::Fail {
                error: word(state, "Error")?,
                cause: word(state, "Cause")?,
            },
            "Parallel" => {
                let branches = state.get("Branches")?.as_array()?;
                let branches = branches
                    .iter()
                    .map(|b| self.scope(b))
                    .collect::<Option<Vec<_>>>()?;
                Kind::Parallel {
                    branches,
                    work: work(state, "Parameters")?,
                }
            }
            "Map" => {
                let processor = state
                    .get("ItemProcessor")
                    .or_else(|| state.get("Iterator"))?;
                let selector = match template(state, "ItemSelector")? {
                    Some(selector) => Some(selector),
                    None => template(state, "Parameters")?,
                };
                Kind::Map(Box::new(Map {
                    scope: self.scope(processor)?,
                    items: items(state)?,
                    selector,
                    concurrency: seconds(state, "MaxConcurrency")?,
                    work: work(state, "")?,
                }))
            }
            _ => return None,
        };
        Some(State {
            name,
            input_path: filter(state, "InputPath")?,
            output_path: filter(state, "OutputPath")?,
            assign: template(state, "Assign")?,
            next: text(state, "Next"),
            kind,
        })
    }
}

fn text(value: &Value, field: &str) -> Option<Arc<str>> {
    value.get(field).and_then(Value::as_str).map(Arc::from)
}

/// A template that may be absent: `Some(None)`.
fn template(value: &Value, field: &str) -> Option<Option<Template>> {
    match value.get(field) {
        None => Some(None),
        Some(template) => Template::parse(template).ok().map(Some),
    }
}

fn filter(state: &Value, field: &str) -> Option<Filter> {
    match state.get(field) {
        None => Some(Filter::Whole),
        Some(Value::Null) => Some(Filter::Nothing),
        Some(path) => {
            let query = Query::parse(path.as_str()?).ok()?;
            Some(if query.is_root() {
                Filter::Whole
            } else {
                Filter::Select(query)
            })
        }
    }
}

fn target(state: &Value) -> Option<Target> {
    match state.get("ResultPath") {
        None => Some(Target::Replace),
        Some(Value::Null) => Some(Target::Discard),
        Some(path) => {
            let path = ReferencePath::parse(path.as_str()?).ok()?;
            Some(if path.is_root() {
                Target::Replace
            } else {
                Target::At(path)
            })
        }
    }
}

fn items(state: &Value) -> Option<Items> {
    let Some(path) = state.get("ItemsPath") else {
        return Some(Items::Whole);
    };
    let text = path.as_str()?;
    match ReferencePath::parse(text) {
        Ok(path) if path.is_root() => Some(Items::Whole),
        Ok(path) => Some(Items::Reference(path)),
        Err(_) => Query::parse_path(text).ok().map(Items::Query),
    }
}

/// A number or its `…Path`; absent is `Some(None)`.
fn seconds(state: &Value, field: &str) -> Option<Option<Seconds>> {
    if let Some(number) = state.get(field) {
        return Some(Some(Seconds::Fixed(number.as_u64()?)));
    }
    match state.get(format!("{field}Path").as_str()) {
        None => Some(None),
        Some(path) => Query::parse(path.as_str()?)
            .ok()
            .map(|query| Some(Seconds::Path(query))),
    }
}

fn word(state: &Value, field: &str) -> Option<Word> {
    if let Some(word) = text(state, field) {
        return Some(Word::Fixed(word));
    }
    match state.get(format!("{field}Path").as_str()) {
        None => Some(Word::None),
        Some(path) => Query::parse(path.as_str()?).ok().map(Word::Path),
    }
}

fn until(state: &Value) -> Option<Until> {
    if let Some(seconds) = state.get("Seconds") {
        return seconds.as_u64().map(Until::Seconds);
    }
    if let Some(at) = state.get("Timestamp") {
        return time::parse(at.as_str()?).map(Until::Timestamp);
    }
    if let Some(path) = state.get("SecondsPath") {
        return Query::parse(path.as_str()?).ok().map(Until::SecondsPath);
    }
    Query::parse(state.get("TimestampPath")?.as_str()?)
        .ok()
        .map(Until::TimestampPath)
}

fn work(state: &Value, parameters: &str) -> Option<Work> {
    Some(Work {
        parameters: template(state, parameters)?,
        selector: template(state, "ResultSelector")?,
        result_path: target(state)?,
        retry: list(state, "Retry").map(retrier).collect::<Option<_>>()?,
        catch: list(state, "Catch").map(catcher).collect::<Option<_>>()?,
    })
}

fn list<'a>(state: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    state
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn errors(value: &Value) -> Vec<String> {
    list(value, "ErrorEquals")
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn retrier(value: &Value) -> Option<Retrier> {
    let number = |field: &str, default: u64| match value.get(field) {
        None => Some(default),
        Some(number) => number.as_u64(),
    };
    Some(Retrier {
        errors: errors(value),
        interval: number("IntervalSeconds", 1)?,
        attempts: number("MaxAttempts", 3)?,
        rate: value.get("BackoffRate").map_or(Some(2.0), Value::as_f64)?,
        ceiling: value.get("MaxDelaySeconds").and_then(Value::as_u64),
        jitter: value.get("JitterStrategy").and_then(Value::as_str) == Some("FULL"),
    })
}

fn catcher(value: &Value) -> Option<Catcher> {
    Some(Catcher {
        errors: errors(value),
        next: text(value, "Next")?,
        result_path: target(value)?,
        assign: template(value, "Assign")?,
    })
}

fn rule(value: &Value) -> Option<Rule> {
    Some(Rule {
        condition: condition(value)?,
        next: text(value, "Next")?,
        assign: template(value, "Assign")?,
    })
}

fn condition(value: &Value) -> Option<Condition> {
    let all = |list: &Value| {
        list.as_array()?
            .iter()
            .map(condition)
            .collect::<Option<Vec<_>>>()
    };
    if let Some(list) = value.get("And") {
        return all(list).map(Condition::And);
    }
    if let Some(list) = value.get("Or") {
        return all(list).map(Condition::Or);
    }
    if let Some(inner) = value.get("Not") {
        return condition(inner).map(|inner| Condition::Not(Box::new(inner)));
    }
    let variable = Query::parse(value.get("Variable")?.as_str()?).ok()?;
    let (name, operand) = value
        .as_object()?
        .iter()
        .find_map(|(name, operand)| Operator::named(name).map(|operator| (operator, operand)))?;
    let test = match name {
        Operator::Is(wanted) => Test::Is(wanted, operand.as_bool()?),
        Operator::Matches => Test::Matches(Pattern::parse(operand.as_str()?).ok()?),
        Operator::Compare {
            kind,
            relation,
            path: false,
        } => Test::Compare {
            kind,
            relation,
            with: Operand::Literal(operand.clone()),
        },
        Operator::Compare {
            kind,
            relation,
            path: true,
        } => {
            let path = Query::parse(operand.as_str()?).ok()?;
            Test::Compare {
                kind,
                relation,
                with: Operand::Path(path),
            }
        }
    };
    Some(Condition::Test { variable, test })
}
