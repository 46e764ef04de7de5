//! Documents that pass between states: a JSON value with its text made at most once.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::limits::MAX_DEPTH;

/// A JSON document shared by states and history events.
///
/// Cloning is cheap, and the compact text (which is what histories hold and what the size limit
/// counts) is produced once, on first use.
#[derive(Clone)]
pub struct Data(Arc<Inner>);

struct Inner {
    value: Value,
    text: OnceLock<Arc<str>>,
}

impl Data {
    /// Wraps a value.
    pub fn new(value: Value) -> Self {
        Data(Arc::new(Inner {
            value,
            text: OnceLock::new(),
        }))
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.0.value
    }

    /// The compact JSON text: no spaces, members in their order.
    pub fn text(&self) -> Arc<str> {
        self.0
            .text
            .get_or_init(|| Arc::from(self.0.value.to_string()))
            .clone()
    }

    /// Length of [`Data::text`] in bytes of UTF-8.
    pub fn bytes(&self) -> usize {
        self.0
            .text
            .get_or_init(|| Arc::from(self.0.value.to_string()))
            .len()
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.value == other.0.value
    }
}

/// Whether a value nests deeper than the engine accepts ([`MAX_DEPTH`]); the walk itself never
/// goes deeper than that.
pub(crate) fn too_deep(value: &Value) -> bool {
    fn walk(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left == 0 || items.iter().any(|v| walk(v, left - 1)),
            Value::Object(members) => left == 0 || members.values().any(|v| walk(v, left - 1)),
            _ => false,
        }
    }
    walk(value, MAX_DEPTH)
}
