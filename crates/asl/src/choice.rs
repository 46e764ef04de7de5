//! Choice rules: one comparison, or `And`, `Or`, `Not` of others.

use std::cmp::Ordering;

use serde_json::Value;

use crate::path::Found;
use crate::query::{Query, View};
use crate::time;

/// A compiled condition.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Test { variable: Query, test: Test },
}

#[derive(Debug, Clone)]
pub(crate) enum Test {
    Is(Trait, bool),
    Matches(Pattern),
    Compare {
        kind: Kind,
        relation: Relation,
        with: Operand,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Operand {
    Literal(Value),
    Path(Query),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trait {
    Null,
    Present,
    Numeric,
    String,
    Boolean,
    Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Numeric,
    Boolean,
    Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What an operator's name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Is(Trait),
    Matches,
    Compare {
        kind: Kind,
        relation: Relation,
        path: bool,
    },
}

impl Operator {
    /// The operator of a name such as `NumericLessThanEqualsPath`; there are 39.
    pub(crate) fn named(name: &str) -> Option<Operator> {
        let is = match name {
            "IsNull" => Some(Trait::Null),
            "IsPresent" => Some(Trait::Present),
            "IsNumeric" => Some(Trait::Numeric),
            "IsString" => Some(Trait::String),
            "IsBoolean" => Some(Trait::Boolean),
            "IsTimestamp" => Some(Trait::Timestamp),
            _ => None,
        };
        if let Some(wanted) = is {
            return Some(Operator::Is(wanted));
        }
        if name == "StringMatches" {
            return Some(Operator::Matches);
        }
        let (stem, path) = match name.strip_suffix("Path") {
            Some(stem) => (stem, true),
            None => (name, false),
        };
        const KINDS: [(&str, Kind); 4] = [
            ("String", Kind::String),
            ("Numeric", Kind::Numeric),
            ("Boolean", Kind::Boolean),
            ("Timestamp", Kind::Timestamp),
        ];
        let (relation, kind) = KINDS
            .into_iter()
            .find_map(|(prefix, kind)| stem.strip_prefix(prefix).map(|rest| (rest, kind)))?;
        let relation = match relation {
            "Equals" => Relation::Equal,
            "LessThan" => Relation::Less,
            "LessThanEquals" => Relation::LessOrEqual,
            "GreaterThan" => Relation::Greater,
            "GreaterThanEquals" => Relation::GreaterOrEqual,
            _ => return None,
        };
        if kind == Kind::Boolean && relation != Relation::Equal {
            return None;
        }
        Some(Operator::Compare {
            kind,
            relation,
            path,
        })
    }
}

impl Condition {
    /// Whether the condition holds.
    ///
    /// # Errors
    /// The cause (without its prefix) when a path leads nowhere.
    pub(crate) fn holds(&self, view: &View<'_>) -> Result<bool, String> {
        match self {
            Condition::And(all) => {
                for condition in all {
                    if !condition.holds(view)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Or(any) => {
                for condition in any {
                    if condition.holds(view)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::Not(inner) => Ok(!inner.holds(view)?),
            Condition::Test { variable, test } => {
                if let Test::Is(Trait::Present, wanted) = test {
                    let present = matches!(variable.find(view), Ok(Found::Value(_)));
                    return Ok(present == *wanted);
                }
                let value = required(variable, view)?;
                test.holds(&value, view)
            }
        }
    }
}

impl Test {
    fn holds(&self, value: &Value, view: &View<'_>) -> Result<bool, String> {
        match self {
            Test::Is(wanted, expected) => Ok(has_trait(value, *wanted) == *expected),
            Test::Matches(pattern) => Ok(value.as_str().is_some_and(|text| pattern.matches(text))),
            Test::Compare {
                kind,
                relation,
                with,
            } => {
                let other = match with {
                    Operand::Literal(literal) => literal.clone(),
                    Operand::Path(path) => required(path, view)?,
                };
                Ok(order(*kind, value, &other).is_some_and(|found| relation.accepts(found)))
            }
        }
    }
}

impl Relation {
    fn accepts(self, found: Ordering) -> bool {
        match self {
            Relation::Equal => found.is_eq(),
            Relation::Less => found.is_lt(),
            Relation::LessOrEqual => found.is_le(),
            Relation::Greater => found.is_gt(),
            Relation::GreaterOrEqual => found.is_ge(),
        }
    }
}

fn required(path: &Query, view: &View<'_>) -> Result<Value, String> {
    match path.find(view) {
        Ok(Found::Value(value)) => Ok(value),
        _ => Err(format!(
            "Invalid path '{}': The choice state's condition path references an invalid value.",
            path.text()
        )),
    }
}

fn has_trait(value: &Value, wanted: Trait) -> bool {
    match wanted {
        Trait::Null => value.is_null(),
        Trait::Present => true,
        Trait::Numeric => value.is_number(),
        Trait::String => value.is_string(),
        Trait::Boolean => value.is_boolean(),
        Trait::Timestamp => value
            .as_str()
            .is_some_and(|text| time::parse(text).is_some()),
    }
}

/// The order of two values of one kind; values of other types have none, so nothing matches.
fn order(kind: Kind, left: &Value, right: &Value) -> Option<Ordering> {
    match kind {
        Kind::String if left.is_string() => crate::path::order(left, right),
        Kind::Numeric if left.is_number() => crate::path::order(left, right),
        Kind::Boolean => Some(left.as_bool()?.cmp(&right.as_bool()?)),
        Kind::Timestamp => Some(time::parse(left.as_str()?)?.cmp(&time::parse(right.as_str()?)?)),
        _ => None,
    }
}

/// A `StringMatches` pattern: `*` is any text, `\*` an asterisk, `\\` a backslash.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// Texts between the asterisks.
    parts: Vec<String>,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A backslash before anything else, or at the end.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = vec![String::new()];
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let literal = match c {
                '*' => {
                    parts.push(String::new());
                    continue;
                }
                '\\' => match chars.next() {
                    Some(next @ ('*' | '\\')) => next,
                    _ => return Err("a backslash is followed by '*' or a backslash".to_owned()),
                },
                other => other,
            };
            if let Some(part) = parts.last_mut() {
                part.push(literal);
            }
        }
        Ok(Pattern { parts })
    }

    fn matches(&self, text: &str) -> bool {
        let (Some(first), Some(last)) = (self.parts.first(), self.parts.last()) else {
            return false;
        };
        if self.parts.len() == 1 {
            return text == first;
        }
        let Some(rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else {
            return false;
        };
        for part in &self.parts[1..self.parts.len() - 1] {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}
