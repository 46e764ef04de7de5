//! Walking a document, with the outcomes and messages of Jayway's JsonPath 2.

use std::borrow::Cow;
use std::cell::Cell;

use serde_json::Value;

use super::{Found, Function, JsonPath, Step};

/// Nodes one selection may visit: `$..*..*..*` on a large document would never end otherwise.
const MAX_VISITS: usize = 1_000_000;

/// A node: `None` is Java's null, which Jackson gives for an index beyond the end.
type Node<'a> = Option<&'a Value>;

pub(super) fn select(path: &JsonPath, root: &Value) -> Result<Found, String> {
    let fuel = Cell::new(MAX_VISITS);
    match find(path, root, &fuel)? {
        Some(value) => Ok(Found::Value(value.into_owned())),
        None => Ok(Found::BeyondEnd),
    }
}

/// Selects without copying what it need not. `None` is Java's null. The fuel is shared with the
/// filters of the path, whose own paths it pays for too.
pub(super) fn find<'a>(
    path: &JsonPath,
    root: &'a Value,
    fuel: &Cell<usize>,
) -> Result<Option<Cow<'a, Value>>, String> {
    let mut walk = Walk {
        root,
        steps: &path.steps,
        hits: Vec::new(),
        fuel,
        absent: false,
    };
    match walk.step(0, Some(root), "$", true) {
        Ok(()) => {}
        // Step Functions answers a path that could select several nodes with none of them.
        Err(_) if walk.absent && !path.is_definite() => walk.hits.clear(),
        Err(message) => return Err(message),
    }
    let hits = walk.hits;
    let found = if path.is_definite() {
        match hits.last() {
            None => return Err(format!("No results for path: {}", describe(path))),
            Some(node) => node.clone(),
        }
    } else {
        let all = hits
            .into_iter()
            .map(|node| node.map_or(Value::Null, Cow::into_owned));
        Some(Cow::Owned(Value::Array(all.collect())))
    };
    match path.function {
        None => Ok(found),
        Some(function) => {
            let value = found.unwrap_or(Cow::Owned(Value::Null));
            apply(function, &value).map(|value| Some(Cow::Owned(value)))
        }
    }
}

/// Pays for visits.
pub(super) fn burn(fuel: &Cell<usize>, visits: usize) -> Result<(), String> {
    match fuel.get().checked_sub(visits) {
        Some(left) => {
            fuel.set(left);
            Ok(())
        }
        None => {
            fuel.set(0);
            Err("the path visits too many nodes".to_owned())
        }
    }
}

fn describe(path: &JsonPath) -> String {
    let steps: String = path.steps.iter().map(Step::describe).collect();
    format!("${steps}")
}

struct Walk<'a, 'p> {
    root: &'a Value,
    steps: &'p [Step],
    hits: Vec<Option<Cow<'a, Value>>>,
    fuel: &'p Cell<usize>,
    /// Whether the walk failed because something on the way is not there.
    absent: bool,
}

impl<'a, 'p> Walk<'a, 'p> {
    /// Applies the steps from `at` on to one node. `definite` says whether all steps before are.
    fn step(
        &mut self,
        at: usize,
        node: Node<'a>,
        place: &str,
        definite: bool,
    ) -> Result<(), String> {
        let steps = self.steps;
        burn(self.fuel, 1)?;
        let Some(step) = steps.get(at) else {
            self.hits.push(node.map(Cow::Borrowed));
            return Ok(());
        };
        match step {
            Step::Property(names) => self.property(at, names, node, place, definite),
            Step::Wildcard => {
                match node {
                    Some(Value::Object(members)) => {
                        for (name, value) in members {
                            self.lenient(at + 1, Some(value), &format!("{place}['{name}']"))?;
                        }
                    }
                    Some(Value::Array(items)) => {
                        for (index, value) in items.iter().enumerate() {
                            self.lenient(at + 1, Some(value), &format!("{place}[{index}]"))?;
                        }
                    }
                    _ => {}
                }
                Ok(())
            }
            Step::Index(indexes) => {
                let Some(items) = self.array(node, step, place, definite)? else {
                    return Ok(());
                };
                let single = indexes.len() == 1;
                for &index in indexes {
                    let resolved = if index < 0 {
                        index + items.len() as i64
                    } else {
                        index
                    };
                    let item = usize::try_from(resolved).ok().and_then(|i| items.get(i));
                    self.step(
                        at + 1,
                        item,
                        &format!("{place}[{index}]"),
                        definite && single,
                    )?;
                }
                Ok(())
            }
            Step::Slice(from, to) => {
                let Some(items) = self.array(node, step, place, definite)? else {
                    return Ok(());
                };
                let length = items.len() as i64;
                let from_end = |end: i64| if end < 0 { end + length } else { end };
                // With both ends, Jayway counts only the items from the end, not the ends.
                let (from, to) = match (*from, *to) {
                    (Some(from), Some(to)) => (from, to.min(length)),
                    (from, to) => (
                        from_end(from.unwrap_or(0)).max(0),
                        from_end(to.unwrap_or(length)).min(length),
                    ),
                };
                for index in from..to {
                    let item = usize::try_from(from_end(index))
                        .ok()
                        .and_then(|i| items.get(i));
                    self.lenient(at + 1, item, &format!("{place}[{index}]"))?;
                }
                Ok(())
            }
            Step::Filter(filter) => {
                match node {
                    Some(value @ Value::Object(_)) => {
                        if filter.accepts(value, self.root, self.fuel)? {
                            self.lenient(at + 1, node, place)?;
                        }
                    }
                    Some(Value::Array(items)) => {
                        for (index, item) in items.iter().enumerate() {
                            if filter.accepts(item, self.root, self.fuel)? {
                                self.lenient(at + 1, Some(item), &format!("{place}[{index}]"))?;
                            }
                        }
                    }
                    _ if !definite => {}
                    other => {
                        return Err(format!(
                            "Filter: {} can not be applied to primitives. Current context is: {}",
                            step.describe(),
                            show(other)
                        ));
                    }
                }
                Ok(())
            }
            Step::Scan => match node {
                Some(value) => self.scan(at + 1, value, place),
                None => Ok(()),
            },
        }
    }

    /// A step after an indefinite one: what it does not find is left out.
    fn lenient(&mut self, at: usize, node: Node<'a>, place: &str) -> Result<(), String> {
        self.step(at, node, place, false)
    }

    fn property(
        &mut self,
        at: usize,
        names: &'p [String],
        node: Node<'a>,
        place: &str,
        definite: bool,
    ) -> Result<(), String> {
        let Some(Value::Object(members)) = node else {
            if !definite {
                return Ok(());
            }
            self.absent = true;
            return Err(format!(
                "Expected to find an object with property {} in path {place} but found '{}'. This \
                 is not a json object according to the JsonProvider: \
                 'com.jayway.jsonpath.spi.json.JacksonJsonNodeJsonProvider'.",
                self.steps[at].describe(),
                java_class(node)
            ));
        };
        let leaf = at + 1 == self.steps.len();
        if let [name] = names {
            let here = format!("{place}['{name}']");
            return match members.get(name) {
                Some(value) => self.step(at + 1, Some(value), &here, definite),
                None if leaf || !definite => Ok(()),
                None => {
                    self.absent = true;
                    Err(format!("Missing property in path {here}"))
                }
            };
        }
        if leaf {
            let named = names.iter().filter_map(|name| members.get_key_value(name));
            let merged = named.map(|(name, value)| (name.clone(), value.clone()));
            burn(self.fuel, names.len())?;
            let merged = Value::Object(merged.collect());
            self.hits.push(Some(Cow::Owned(merged)));
            return Ok(());
        }
        for name in names {
            if let Some(value) = members.get(name) {
                self.lenient(at + 1, Some(value), &format!("{place}['{name}']"))?;
            }
        }
        Ok(())
    }

    /// `..` followed by the step at `at`, on this node and all below it.
    fn scan(&mut self, at: usize, value: &'a Value, place: &str) -> Result<(), String> {
        burn(self.fuel, 1)?;
        if self.scan_applies(at, value)? {
            match value {
                // A list that fits is gone through whole, whatever the step would pick of it.
                Value::Array(items) if at + 1 < self.steps.len() => {
                    for (index, item) in items.iter().enumerate() {
                        self.lenient(at + 1, Some(item), &format!("{place}[{index}]"))?;
                    }
                }
                _ => self.lenient(at, Some(value), place)?,
            }
        }
        match value {
            Value::Object(members) => {
                for (name, below) in members {
                    self.scan(at, below, &format!("{place}['{name}']"))?;
                }
            }
            Value::Array(items) => {
                for (index, below) in items.iter().enumerate() {
                    self.scan(at, below, &format!("{place}[{index}]"))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn scan_applies(&self, at: usize, value: &Value) -> Result<bool, String> {
        Ok(match (self.steps.get(at), value) {
            (Some(Step::Property(names)), Value::Object(members)) => {
                let leaf = at + 1 == self.steps.len();
                names.iter().all(|name| members.contains_key(name)) || (names.len() > 1 && !leaf)
            }
            (Some(Step::Index(_) | Step::Slice(..)), Value::Array(_)) => true,
            (Some(Step::Wildcard), Value::Array(_) | Value::Object(_)) => true,
            (Some(Step::Filter(filter)), Value::Array(_) | Value::Object(_)) => {
                filter.accepts(value, self.root, self.fuel)?
            }
            _ => false,
        })
    }

    fn array(
        &mut self,
        node: Node<'a>,
        step: &Step,
        place: &str,
        definite: bool,
    ) -> Result<Option<&'a Vec<Value>>, String> {
        match node {
            Some(Value::Array(items)) => Ok(Some(items)),
            _ if !definite => Ok(None),
            None => {
                self.absent = true;
                Err(format!("The path {place} is null"))
            }
            Some(other) => Err(format!(
                "Filter: {} can only be applied to arrays. Current context is: {other}",
                step.describe()
            )),
        }
    }
}

fn show(node: Node<'_>) -> String {
    node.map_or_else(|| "null".to_owned(), Value::to_string)
}

fn java_class(node: Node<'_>) -> String {
    let class = match node {
        None => return "null".to_owned(),
        Some(Value::Null) => "NullNode",
        Some(Value::Bool(_)) => "BooleanNode",
        Some(Value::String(_)) => "TextNode",
        Some(Value::Array(_)) => "ArrayNode",
        Some(Value::Object(_)) => "ObjectNode",
        Some(Value::Number(number)) if number.is_f64() => "DoubleNode",
        Some(Value::Number(number)) => match number.as_i64() {
            Some(small) if i32::try_from(small).is_ok() => "IntNode",
            Some(_) => "LongNode",
            None => "BigIntegerNode",
        },
    };
    format!("com.fasterxml.jackson.databind.node.{class}")
}

fn apply(function: Function, value: &Value) -> Result<Value, String> {
    let numbers = || -> Result<Vec<f64>, String> {
        let numbers: Vec<f64> = value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_f64)
            .collect();
        if numbers.is_empty() {
            return Err(
                "Aggregation function attempted to calculate value using empty array".to_owned(),
            );
        }
        Ok(numbers)
    };
    match function {
        Function::Length => Ok(match value {
            Value::Array(items) => Value::from(items.len()),
            Value::Object(members) => Value::from(members.len()),
            Value::String(text) => Value::from(text.chars().count()),
            _ => Value::Null,
        }),
        Function::Keys => Ok(match value {
            Value::Object(members) => members.keys().cloned().map(Value::from).collect(),
            _ => Value::Null,
        }),
        Function::First => Ok(value
            .as_array()
            .and_then(|a| a.first())
            .cloned()
            .unwrap_or(Value::Null)),
        Function::Last => Ok(value
            .as_array()
            .and_then(|a| a.last())
            .cloned()
            .unwrap_or(Value::Null)),
        Function::Min => Ok(Value::from(
            numbers()?.into_iter().fold(f64::INFINITY, f64::min),
        )),
        Function::Max => Ok(Value::from(
            numbers()?.into_iter().fold(f64::NEG_INFINITY, f64::max),
        )),
        Function::Sum => Ok(Value::from(numbers()?.into_iter().sum::<f64>())),
        Function::Avg => {
            let numbers = numbers()?;
            Ok(Value::from(
                numbers.iter().sum::<f64>() / numbers.len() as f64,
            ))
        }
    }
}
