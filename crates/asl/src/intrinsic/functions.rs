//! What each function does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{Function, Given, array};
use crate::limits::MAX_INTRINSIC_TEXT;
use crate::query::View;

/// What AWS says of arguments a function cannot use.
pub(super) fn invalid(function: Function) -> String {
    format!("Invalid arguments in States.{}", function.name())
}

/// What AWS says of more or fewer arguments than a function takes.
pub(super) fn miscounted(function: Function) -> String {
    let told = invalid(function);
    match function {
        Function::JsonToString => format!("{told}: only a single argument is allowed."),
        _ => told,
    }
}

/// Calls a function with as many arguments as it takes.
pub(super) fn call(function: Function, given: &[Given], view: &View<'_>) -> Result<Value, String> {
    let value = match function {
        Function::Format => return format(given).map(Value::String),
        Function::StringToJson => match given[0].value.as_str() {
            Some(text) => return string_to_json(text),
            None => None,
        },
        Function::JsonToString => Some(Value::String(crate::java::json(&given[0].value))),
        Function::Array => Some(given.iter().map(|g| g.value.clone()).collect()),
        Function::ArrayPartition => array::partition(given),
        Function::ArrayContains => array::contains(given),
        Function::ArrayRange => array::range(given),
        Function::ArrayGetItem => array::get_item(given),
        Function::ArrayLength => given[0].value.as_array().map(|items| items.len().into()),
        Function::ArrayUnique => array::unique(given),
        Function::Base64Encode => short_text(&given[0]).map(|text| STANDARD.encode(text).into()),
        Function::Base64Decode => short_text(&given[0])
            .map(|text| String::from_utf8_lossy(&decode(text)).into_owned().into()),
        Function::Hash => hash(given),
        Function::JsonMerge => merge(given),
        Function::MathRandom => array::random(given, view),
        Function::MathAdd => array::add(given),
        Function::StringSplit => split(given),
        Function::Uuid => Some(Value::String(view.draw.borrow_mut().uuid())),
    };
    value.ok_or_else(|| invalid(function))
}

fn short_text(given: &Given) -> Option<&str> {
    let text = given.value.as_str()?;
    (text.chars().count() <= MAX_INTRINSIC_TEXT).then_some(text)
}

/// Base 64 as AWS reads it: other characters are passed over, padding ends it, both alphabets do.
fn decode(text: &str) -> Vec<u8> {
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0u32);
    for c in text.bytes().take_while(|c| *c != b'=') {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => continue,
        };
        bits = (bits << 6 | u32::from(six)) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}

/// `{}` takes the next argument; `\{`, `\}`, `\'` and `\\` stand for themselves.
fn format(given: &[Given]) -> Result<String, String> {
    let template = match &given[0].written {
        Some(written) => written.clone(),
        None => shown(&given[0].value),
    };
    let unmatched = |lone: char, other: char| {
        format!("Invalid template in States.Format: matching '{other}' not found for '{lone}'.")
    };
    let miscounted = || {
        "Invalid arguments in States.Format: number of arguments do not match the occurrences of {}."
            .to_owned()
    };
    let mut values = given[1..].iter();
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.peek() {
                Some(&next @ ('{' | '}' | '\'' | '\\')) => {
                    out.push(next);
                    chars.next();
                }
                _ => out.push('\\'),
            },
            '{' if chars.next_if_eq(&'}').is_some() => {
                let given = values.next().ok_or_else(miscounted)?;
                if given.parsed {
                    out.push_str(&crate::java::json(&given.value));
                } else {
                    crate::java::show(&given.value, &mut out);
                }
            }
            '{' => return Err(unmatched('{', '}')),
            '}' => return Err(unmatched('}', '{')),
            other => out.push(other),
        }
    }
    match values.next() {
        Some(_) => Err(miscounted()),
        None => Ok(out),
    }
}

fn shown(value: &Value) -> String {
    let mut out = String::new();
    crate::java::show(value, &mut out);
    out
}

/// Empty or blank text is null.
fn string_to_json(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    if text.trim() == "-0" {
        // An integer to AWS, a float to serde_json.
        return Ok(Value::from(0));
    }
    serde_json::from_str(text).map_err(|error| {
        format!(
            "Cannot convert String to Json in States.StringToJson, caused by: {}",
            crate::java::json_error(text, &error)
        )
    })
}

/// Data that is no text is hashed as Java shows it.
fn hash(given: &[Given]) -> Option<Value> {
    let text = shown(&given[0].value);
    if text.chars().count() > MAX_INTRINSIC_TEXT {
        return None;
    }
    let data = text.as_bytes();
    let digest = match given[1].value.as_str()? {
        "MD5" => hex::encode(Md5::digest(data)),
        "SHA-1" => hex::encode(Sha1::digest(data)),
        "SHA-256" => hex::encode(Sha256::digest(data)),
        "SHA-384" => hex::encode(Sha384::digest(data)),
        "SHA-512" => hex::encode(Sha512::digest(data)),
        _ => return None,
    };
    Some(Value::String(digest))
}

/// A shallow merge: the second object's members win. Deep merging is not offered by AWS, and
/// what is not `true` does not ask for it.
fn merge(given: &[Given]) -> Option<Value> {
    let mut merged = given[0].value.as_object()?.clone();
    let second = given[1].value.as_object()?.clone();
    if given[2].value == Value::Bool(true) {
        return None;
    }
    merged.extend(second);
    Some(Value::Object(merged))
}

/// Splits on *any* of the delimiter's characters and drops empty parts.
fn split(given: &[Given]) -> Option<Value> {
    let whole = given[0].value.as_str()?;
    let delimiters = given[1].value.as_str()?;
    let parts = whole
        .split(|c| delimiters.contains(c))
        .filter(|part| !part.is_empty());
    Some(parts.map(Value::from).collect())
}
