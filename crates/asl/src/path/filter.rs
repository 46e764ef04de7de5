//! Filters: `[?(@.price < 10 && @.kind == 'book')]`.

use std::borrow::Cow;
use std::cell::Cell;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::JsonPath;
use super::eval::{burn, find};
use super::parse::{Cursor, path};

/// Levels of parentheses and negations in one filter.
const MAX_NESTING: usize = 16;

#[derive(Debug, Clone)]
pub(crate) enum Filter {
    Or(Box<Filter>, Box<Filter>),
    And(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Exists(Operand),
    Compare(Operand, Comparison, Operand),
    Matches(Operand, Regex),
}

#[derive(Debug, Clone)]
pub(crate) enum Operand {
    Literal(Value),
    /// `@…`
    Here(JsonPath),
    /// `$…`
    Root(JsonPath),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    SubsetOf,
    AnyOf,
    NoneOf,
    Size,
    Empty,
    Contains,
}

impl Filter {
    /// Whether a node passes.
    ///
    /// # Errors
    /// When the path's fuel is spent.
    pub(crate) fn accepts(
        &self,
        here: &Value,
        root: &Value,
        fuel: &Cell<usize>,
    ) -> Result<bool, String> {
        Ok(match self {
            Filter::Or(a, b) => a.accepts(here, root, fuel)? || b.accepts(here, root, fuel)?,
            Filter::And(a, b) => a.accepts(here, root, fuel)? && b.accepts(here, root, fuel)?,
            Filter::Not(inner) => !inner.accepts(here, root, fuel)?,
            Filter::Exists(operand) => operand.value(here, root, fuel)?.is_some(),
            Filter::Matches(operand, regex) => match operand.value(here, root, fuel)?.as_deref() {
                Some(Value::String(text)) => regex.is_match(text),
                _ => false,
            },
            Filter::Compare(left, comparison, right) => {
                let left = left.value(here, root, fuel)?;
                let right = right.value(here, root, fuel)?;
                match (left, right) {
                    (Some(left), Some(right)) => compare(&left, *comparison, &right, fuel)?,
                    // A path that leads nowhere differs from everything.
                    _ => *comparison == Comparison::NotEqual,
                }
            }
        })
    }
}

impl Operand {
    fn value<'a>(
        &'a self,
        here: &'a Value,
        root: &'a Value,
        fuel: &Cell<usize>,
    ) -> Result<Option<Cow<'a, Value>>, String> {
        let (path, from) = match self {
            Operand::Literal(value) => return Ok(Some(Cow::Borrowed(value))),
            Operand::Here(path) => (path, here),
            Operand::Root(path) => (path, root),
        };
        match find(path, from, fuel) {
            Ok(found) => Ok(found),
            Err(spent) if fuel.get() == 0 => Err(spent),
            Err(_) => Ok(None),
        }
    }
}

fn compare(
    left: &Value,
    comparison: Comparison,
    right: &Value,
    fuel: &Cell<usize>,
) -> Result<bool, String> {
    use Comparison as C;
    fn list(value: &Value) -> &[Value] {
        value.as_array().map_or(&[], Vec::as_slice)
    }
    burn(
        fuel,
        (list(left).len() + 1).saturating_mul(list(right).len() + 1),
    )?;
    let holds = |items: &[Value], wanted: &Value| items.iter().any(|item| same(item, wanted));
    Ok(match comparison {
        C::Equal => same(left, right),
        C::NotEqual => !same(left, right),
        C::Less => order(left, right).is_some_and(|o| o.is_lt()),
        C::LessOrEqual => order(left, right).is_some_and(|o| o.is_le()),
        C::Greater => order(left, right).is_some_and(|o| o.is_gt()),
        C::GreaterOrEqual => order(left, right).is_some_and(|o| o.is_ge()),
        C::In => holds(list(right), left),
        C::NotIn => !holds(list(right), left),
        C::SubsetOf => left.is_array() && list(left).iter().all(|v| holds(list(right), v)),
        C::AnyOf => list(left).iter().any(|v| holds(list(right), v)),
        C::NoneOf => left.is_array() && !list(left).iter().any(|v| holds(list(right), v)),
        C::Size => match left {
            Value::Array(items) => right.as_u64() == Some(items.len() as u64),
            Value::String(text) => right.as_u64() == Some(text.chars().count() as u64),
            _ => false,
        },
        C::Empty => match left {
            Value::Array(items) => right.as_bool() == Some(items.is_empty()),
            Value::String(text) => right.as_bool() == Some(text.is_empty()),
            _ => false,
        },
        C::Contains => match (left, right) {
            (Value::Array(items), wanted) => holds(items, wanted),
            (Value::String(text), Value::String(wanted)) => text.contains(wanted.as_str()),
            _ => false,
        },
    })
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(_), Value::Number(_)) => order(left, right).is_some_and(|o| o.is_eq()),
        _ => left == right,
    }
}

/// The order of two numbers or two strings; nothing else has one.
pub(crate) fn order(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => Some(a.encode_utf16().cmp(b.encode_utf16())),
        _ => None,
    }
}

/// Parses up to the closing parenthesis of `[?(`, which is left for the caller.
pub(super) fn parse_filter(cursor: &mut Cursor) -> Result<Filter, String> {
    either(cursor, MAX_NESTING)
}

fn either(cursor: &mut Cursor, left: usize) -> Result<Filter, String> {
    let mut filter = both(cursor, left)?;
    loop {
        cursor.blanks();
        if !cursor.take_str("||") {
            return Ok(filter);
        }
        filter = Filter::Or(Box::new(filter), Box::new(both(cursor, left)?));
    }
}

fn both(cursor: &mut Cursor, left: usize) -> Result<Filter, String> {
    let mut filter = single(cursor, left)?;
    loop {
        cursor.blanks();
        if !cursor.take_str("&&") {
            return Ok(filter);
        }
        filter = Filter::And(Box::new(filter), Box::new(single(cursor, left)?));
    }
}

fn single(cursor: &mut Cursor, left: usize) -> Result<Filter, String> {
    let deeper = left.checked_sub(1).ok_or("a filter nests too deeply")?;
    cursor.blanks();
    if cursor.take('!') {
        return Ok(Filter::Not(Box::new(single(cursor, deeper)?)));
    }
    if cursor.take('(') {
        let inner = either(cursor, deeper)?;
        cursor.blanks();
        if !cursor.take(')') {
            return Err(format!("expected ')' at position {}", cursor.at));
        }
        return Ok(inner);
    }
    let first = operand(cursor, deeper)?;
    cursor.blanks();
    if cursor.take_str("=~") {
        cursor.blanks();
        return Ok(Filter::Matches(first, regex(cursor)?));
    }
    match comparison(cursor) {
        Some(comparison) => {
            cursor.blanks();
            let second = operand(cursor, deeper)?;
            Ok(Filter::Compare(first, comparison, second))
        }
        None if matches!(first, Operand::Literal(_)) => {
            Err("a filter compares something".to_owned())
        }
        None => Ok(Filter::Exists(first)),
    }
}

fn comparison(cursor: &mut Cursor) -> Option<Comparison> {
    use Comparison as C;
    const SYMBOLS: [(&str, Comparison); 8] = [
        ("===", C::Equal),
        ("!==", C::NotEqual),
        ("==", C::Equal),
        ("!=", C::NotEqual),
        ("<=", C::LessOrEqual),
        (">=", C::GreaterOrEqual),
        ("<", C::Less),
        (">", C::Greater),
    ];
    const WORDS: [(&str, Comparison); 8] = [
        ("in", C::In),
        ("nin", C::NotIn),
        ("subsetof", C::SubsetOf),
        ("anyof", C::AnyOf),
        ("noneof", C::NoneOf),
        ("size", C::Size),
        ("empty", C::Empty),
        ("contains", C::Contains),
    ];
    for (symbol, comparison) in SYMBOLS {
        if cursor.take_str(symbol) {
            return Some(comparison);
        }
    }
    let mut word = String::new();
    while let Some(c) = cursor.ahead(word.len()).filter(char::is_ascii_alphabetic) {
        word.push(c.to_ascii_lowercase());
    }
    let (_, comparison) = WORDS.into_iter().find(|(name, _)| *name == word)?;
    cursor.at += word.len();
    Some(comparison)
}

fn operand(cursor: &mut Cursor, left: usize) -> Result<Operand, String> {
    let deeper = left.checked_sub(1).ok_or("a filter nests too deeply")?;
    match cursor.peek() {
        Some('@') => Ok(Operand::Here(path(cursor, "@")?)),
        Some('$') => Ok(Operand::Root(path(cursor, "$")?)),
        Some('\'' | '"') => Ok(Operand::Literal(Value::String(cursor.quoted()?))),
        Some('[') => {
            cursor.at += 1;
            let mut items = Vec::new();
            loop {
                cursor.blanks();
                if cursor.take(']') {
                    return Ok(Operand::Literal(Value::Array(items)));
                }
                match operand(cursor, deeper)? {
                    Operand::Literal(value) => items.push(value),
                    _ => return Err("a list in a filter holds literals".to_owned()),
                }
                cursor.blanks();
                cursor.take(',');
            }
        }
        _ => {
            for (word, value) in [
                ("true", Value::Bool(true)),
                ("false", Value::Bool(false)),
                ("null", Value::Null),
            ] {
                if cursor.take_str(word) {
                    return Ok(Operand::Literal(value));
                }
            }
            let start = cursor.at;
            while cursor
                .peek()
                .is_some_and(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'))
            {
                cursor.at += 1;
            }
            let digits: String = cursor.chars[start..cursor.at].iter().collect();
            match serde_json::from_str::<serde_json::Number>(&digits) {
                Ok(number) => Ok(Operand::Literal(Value::Number(number))),
                Err(_) => Err(format!("expected a value at position {start}")),
            }
        }
    }
}

/// `/pattern/i`; Java's `matches` wants the whole text.
fn regex(cursor: &mut Cursor) -> Result<Regex, String> {
    if !cursor.take('/') {
        return Err("a pattern is written /…/".to_owned());
    }
    let mut pattern = String::new();
    loop {
        match cursor.peek() {
            None => return Err("a pattern does not end".to_owned()),
            Some('/') => {
                cursor.at += 1;
                break;
            }
            Some('\\') if cursor.ahead(1) == Some('/') => {
                pattern.push('/');
                cursor.at += 2;
            }
            Some(c) => {
                pattern.push(c);
                cursor.at += 1;
            }
        }
    }
    let ignore_case = cursor.take('i');
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .case_insensitive(ignore_case)
        .size_limit(1 << 18)
        .nest_limit(32)
        .build()
        .map_err(|e| format!("pattern: {e}"))
}
