//! The functions on arrays and numbers.

use serde_json::Value;

use super::Given;
use crate::java::{first_below, hash_order, same_text};
use crate::limits::MAX_RANGE_ITEMS;
use crate::query::View;
use crate::random::seeded_bits;

/// A number without its fraction.
fn whole(given: &Given) -> Option<i64> {
    given.value.as_i64().or_else(|| {
        let number = given.value.as_f64()?;
        (number.abs() < 9.0e18).then_some(number as i64)
    })
}

/// A 32-bit number rounded half up, towards plus infinity, as Java's `Math.round` does.
fn rounded(given: &Given) -> Option<i32> {
    let number = given.value.as_i64().or_else(|| {
        let number = given.value.as_f64()?;
        (number.abs() < 9.0e18).then_some((number + 0.5).floor() as i64)
    })?;
    number.try_into().ok()
}

pub(super) fn partition(given: &[Given]) -> Option<Value> {
    let items = given[0].value.as_array()?;
    let size = usize::try_from(whole(&given[1])?).ok()?;
    if size == 0 {
        return None;
    }
    let chunks = items.chunks(size).map(|chunk| Value::Array(chunk.to_vec()));
    Some(chunks.collect())
}

/// Items are the same when Java shows them alike, so `"true"` is found as `true`.
pub(super) fn contains(given: &[Given]) -> Option<Value> {
    let items = given[0].value.as_array()?;
    let found = items.iter().any(|item| same_text(item, &given[1].value));
    Some(Value::Bool(found))
}

pub(super) fn range(given: &[Given]) -> Option<Value> {
    let (first, last, step) = (whole(&given[0])?, whole(&given[1])?, whole(&given[2])?);
    let span = (i128::from(last) - i128::from(first)).checked_div(i128::from(step))?;
    let on_the_way = (step > 0 && first <= last) || (step < 0 && first >= last);
    let count = if on_the_way { span + 1 } else { 0 };
    if count > MAX_RANGE_ITEMS as i128 {
        return None;
    }
    let count = count as i64;
    Some((0..count).map(|i| Value::from(first + i * step)).collect())
}

/// An array without items has null everywhere.
pub(super) fn get_item(given: &[Given]) -> Option<Value> {
    let items = given[0].value.as_array()?;
    let index = whole(&given[1])?;
    if items.is_empty() {
        return Some(Value::Null);
    }
    items.get(usize::try_from(index).ok()?).cloned()
}

/// The different items in the order of a Java `HashSet`.
pub(super) fn unique(given: &[Given]) -> Option<Value> {
    let items = given[0].value.as_array()?;
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<Value> = items
        .iter()
        .filter(|item| seen.insert(canonical(item)))
        .cloned()
        .collect();
    hash_order(&mut kept, items.len());
    Some(Value::Array(kept))
}

pub(super) fn add(given: &[Given]) -> Option<Value> {
    let (a, b) = (rounded(&given[0])?, rounded(&given[1])?);
    a.checked_add(b).map(Value::from)
}

pub(super) fn random(given: &[Given], view: &View<'_>) -> Option<Value> {
    let (from, to) = (whole(&given[0])?, whole(&given[1])?);
    let seed = match given.get(2) {
        None => None,
        Some(seed) => Some(whole(seed)?),
    };
    let span = i128::from(to) - i128::from(from);
    if span <= 0 {
        return None;
    }
    let offset = match (seed, i32::try_from(span)) {
        (None, _) => i128::from(view.draw.borrow_mut().bits()) % span,
        (Some(seed), Ok(bound)) => i128::from(first_below(seed, bound)),
        (Some(seed), Err(_)) => i128::from(seeded_bits(seed)) % span,
    };
    i64::try_from(i128::from(from) + offset)
        .ok()
        .map(Value::from)
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
