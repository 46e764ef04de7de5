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

/// Calls a function; the number of arguments was checked when the call was compiled.
pub(super) fn call(function: Function, given: &[Given], view: &View<'_>) -> Result<Value, String> {
    match function {
        Function::Format => format(given).map(Value::String),
        Function::StringToJson => string_to_json(text(&given[0], "the argument")?),
        Function::JsonToString => Ok(Value::String(crate::java::json(&given[0].value))),
        Function::Array => Ok(given.iter().map(|g| g.value.clone()).collect()),
        Function::ArrayPartition => array::partition(given),
        Function::ArrayContains => array::contains(given),
        Function::ArrayRange => array::range(given),
        Function::ArrayGetItem => array::get_item(given),
        Function::ArrayLength => Ok(Value::from(array::items(&given[0], "the argument")?.len())),
        Function::ArrayUnique => array::unique(given),
        Function::Base64Encode => Ok(Value::String(
            STANDARD.encode(short_text(&given[0])?.as_bytes()),
        )),
        Function::Base64Decode => {
            let bytes = STANDARD
                .decode(short_text(&given[0])?)
                .map_err(|e| e.to_string())?;
            Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Function::Hash => hash(given),
        Function::JsonMerge => merge(given),
        Function::MathRandom => array::random(given, view),
        Function::MathAdd => array::add(given),
        Function::StringSplit => split(given),
        Function::Uuid => Ok(Value::String(view.draw.borrow_mut().uuid())),
    }
}

fn text<'a>(given: &'a Given, what: &str) -> Result<&'a str, String> {
    given
        .value
        .as_str()
        .ok_or_else(|| format!("{what} must be a string, but is {}", given.value))
}

fn short_text(given: &Given) -> Result<&str, String> {
    let text = text(given, "the argument")?;
    if text.chars().count() > MAX_INTRINSIC_TEXT {
        return Err(format!(
            "the argument may have at most {MAX_INTRINSIC_TEXT} characters"
        ));
    }
    Ok(text)
}

/// `{}` takes the next argument; `\{`, `\}`, `\'` and `\\` stand for themselves.
fn format(given: &[Given]) -> Result<String, String> {
    let template = match &given[0].written {
        Some(written) => written.as_str(),
        None => text(&given[0], "the template")?,
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
            '{' if chars.peek() == Some(&'}') => {
                chars.next();
                let value = values
                    .next()
                    .ok_or("there are more occurrences of {} than arguments")?;
                crate::java::show(&value.value, &mut out);
            }
            other => out.push(other),
        }
    }
    if values.next().is_some() {
        return Err("there are more arguments than occurrences of {}".to_owned());
    }
    Ok(out)
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
    serde_json::from_str(text).map_err(|e| format!("the text is not JSON: {e}"))
}

fn hash(given: &[Given]) -> Result<Value, String> {
    let data = short_text(&given[0])?.as_bytes();
    let digest = match text(&given[1], "the algorithm")? {
        "MD5" => hex::encode(Md5::digest(data)),
        "SHA-1" => hex::encode(Sha1::digest(data)),
        "SHA-256" => hex::encode(Sha256::digest(data)),
        "SHA-384" => hex::encode(Sha384::digest(data)),
        "SHA-512" => hex::encode(Sha512::digest(data)),
        other => return Err(format!("'{other}' is not a hash algorithm")),
    };
    Ok(Value::String(digest))
}

/// A shallow merge: the second object's members win. Deep merging is not offered by AWS.
fn merge(given: &[Given]) -> Result<Value, String> {
    let object = |given: &Given| {
        given
            .value
            .as_object()
            .cloned()
            .ok_or_else(|| format!("expected an object, but found {}", given.value))
    };
    let mut merged = object(&given[0])?;
    let second = object(&given[1])?;
    match given[2].value {
        Value::Bool(false) => {}
        Value::Bool(true) => return Err("deep merging is not supported".to_owned()),
        ref other => {
            return Err(format!(
                "the third argument must be a boolean, but is {other}"
            ));
        }
    }
    merged.extend(second);
    Ok(Value::Object(merged))
}

/// Splits on *any* of the delimiter's characters and drops empty parts.
fn split(given: &[Given]) -> Result<Value, String> {
    let whole = text(&given[0], "the text")?;
    let delimiters = text(&given[1], "the delimiter")?;
    let parts = whole
        .split(|c| delimiters.contains(c))
        .filter(|part| !part.is_empty());
    Ok(parts.map(Value::from).collect())
}
