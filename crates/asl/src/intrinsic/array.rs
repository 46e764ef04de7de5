//! The functions on arrays and numbers.

use serde_json::{Number, Value};

use super::Given;
use crate::java::first_below;
use crate::limits::MAX_RANGE_ITEMS;
use crate::query::View;
use crate::random::seeded_bits;

pub(super) fn items<'a>(given: &'a Given, what: &str) -> Result<&'a Vec<Value>, String> {
    given
        .value
        .as_array()
        .ok_or_else(|| format!("{what} must be an array, but is {}", given.value))
}

/// A number rounded half up, towards plus infinity, as Java's `Math.round` does.
fn rounded(given: &Given, what: &str) -> Result<i64, String> {
    if let Some(number) = given.value.as_i64() {
        return Ok(number);
    }
    match given.value.as_f64() {
        Some(number) if number.abs() < 9.0e18 => Ok((number + 0.5).floor() as i64),
        _ => Err(format!("{what} must be a number, but is {}", given.value)),
    }
}

fn whole(given: &Given, what: &str) -> Result<i64, String> {
    given
        .value
        .as_i64()
        .ok_or_else(|| format!("{what} must be an integer, but is {}", given.value))
}

pub(super) fn partition(given: &[Given]) -> Result<Value, String> {
    let items = items(&given[0], "the first argument")?;
    let size = rounded(&given[1], "the chunk size")?;
    let size = usize::try_from(size).ok().filter(|size| *size > 0);
    let size = size.ok_or("the chunk size must be a positive integer")?;
    Ok(items
        .chunks(size)
        .map(|chunk| Value::Array(chunk.to_vec()))
        .collect())
}

pub(super) fn contains(given: &[Given]) -> Result<Value, String> {
    let items = items(&given[0], "the first argument")?;
    Ok(Value::Bool(items.contains(&given[1].value)))
}

pub(super) fn range(given: &[Given]) -> Result<Value, String> {
    let first = rounded(&given[0], "the first number")?;
    let last = rounded(&given[1], "the last number")?;
    let step = rounded(&given[2], "the increment")?;
    if step == 0 {
        return Err("the increment must not be zero".to_owned());
    }
    let span = (i128::from(last) - i128::from(first)) / i128::from(step);
    let on_the_way = (step > 0 && first <= last) || (step < 0 && first >= last);
    let count = if on_the_way { span + 1 } else { 0 };
    if count > MAX_RANGE_ITEMS as i128 {
        return Err(format!("a range may hold at most {MAX_RANGE_ITEMS} items"));
    }
    let count = count as i64;
    Ok((0..count).map(|i| Value::from(first + i * step)).collect())
}

pub(super) fn get_item(given: &[Given]) -> Result<Value, String> {
    let items = items(&given[0], "the first argument")?;
    let index = whole(&given[1], "the index")?;
    let item = usize::try_from(index)
        .ok()
        .and_then(|index| items.get(index));
    item.cloned().ok_or_else(|| {
        format!(
            "the index {index} is outside the array of {} items",
            items.len()
        )
    })
}

pub(super) fn unique(given: &[Given]) -> Result<Value, String> {
    let items = items(&given[0], "the argument")?;
    let mut seen = std::collections::HashSet::new();
    let kept = items.iter().filter(|item| seen.insert(canonical(item)));
    Ok(kept.cloned().collect())
}

pub(super) fn add(given: &[Given]) -> Result<Value, String> {
    let a = rounded(&given[0], "the first number")?;
    let b = rounded(&given[1], "the second number")?;
    a.checked_add(b)
        .map(Value::from)
        .ok_or_else(|| "the sum is out of range".to_owned())
}

pub(super) fn random(given: &[Given], view: &View<'_>) -> Result<Value, String> {
    let from = rounded(&given[0], "the start")?;
    let to = rounded(&given[1], "the end")?;
    let seed = match given.get(2) {
        None => None,
        Some(seed) => Some(rounded(seed, "the seed")?),
    };
    let span = i128::from(to) - i128::from(from);
    if span <= 0 {
        return Err("the start must be less than the end".to_owned());
    }
    let offset = match (seed, i32::try_from(span)) {
        (None, _) => i128::from(view.draw.borrow_mut().bits()) % span,
        (Some(seed), Ok(bound)) => i128::from(first_below(seed, bound)),
        (Some(seed), Err(_)) => i128::from(seeded_bits(seed)) % span,
    };
    let drawn = i128::from(from) + offset;
    i64::try_from(drawn)
        .map(|n| Value::Number(Number::from(n)))
        .map_err(|e| e.to_string())
}

/// A text that is the same for equal values, whatever the order of their members.
fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let mut members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{name:?}:{}", canonical(value)))
                .collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}
