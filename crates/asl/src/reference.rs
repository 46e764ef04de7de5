//! Reference Paths: where `ResultPath` writes and `ItemsPath` reads.

use serde_json::{Map, Value};

use crate::path::{JsonPath, Step};

/// A path that names exactly one place.
#[derive(Debug, Clone)]
pub(crate) struct ReferencePath {
    steps: Vec<Place>,
    text: String,
}

#[derive(Debug, Clone)]
enum Place {
    Member(String),
    Item(usize),
}

impl ReferencePath {
    /// Compiles a reference path.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let path = JsonPath::parse(text)?;
        Self::from_path(&path).ok_or_else(|| "Value is not a Reference Path".to_owned())
    }

    pub(crate) fn from_path(path: &JsonPath) -> Option<Self> {
        if !path.is_reference() {
            return None;
        }
        let steps = path.steps().iter().filter_map(|step| match step {
            Step::Property(names) => names.first().cloned().map(Place::Member),
            Step::Index(indexes) => indexes
                .first()
                .and_then(|i| usize::try_from(*i).ok())
                .map(Place::Item),
            _ => None,
        });
        Some(ReferencePath {
            steps: steps.collect(),
            text: path.text().to_owned(),
        })
    }

    pub(crate) fn is_root(&self) -> bool {
        self.steps.is_empty()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Reads the place.
    ///
    /// # Errors
    /// AWS's message for a place that is not there: the step that fails and the whole document.
    pub(crate) fn read<'a>(&self, document: &'a Value) -> Result<&'a Value, String> {
        let mut here = document;
        for step in &self.steps {
            let next = match step {
                Place::Member(name) => here.get(name.as_str()),
                Place::Item(index) => here.get(*index),
            };
            here = next.ok_or_else(|| refusal(step, document))?;
        }
        Ok(here)
    }

    /// A copy of `document` with `value` at the place; members on the way are made, items are not.
    ///
    /// # Errors
    /// AWS's message for a place that cannot be: the step that fails and the whole document.
    pub(crate) fn write(&self, document: &Value, value: Value) -> Result<Value, String> {
        let mut copy = document.clone();
        let mut here = &mut copy;
        let mut left = self.steps.iter().peekable();
        while let Some(step) = left.next() {
            let fits = match step {
                Place::Member(_) => here.is_object(),
                Place::Item(index) => here.get(*index).is_some(),
            };
            if !fits {
                return Err(refusal(step, document));
            }
            here = match step {
                Place::Member(name) => {
                    let made = &mut here[name.as_str()];
                    if left.peek().is_some() && made.is_null() {
                        *made = Value::Object(Map::new());
                    }
                    made
                }
                Place::Item(index) => &mut here[*index],
            };
        }
        *here = value;
        Ok(copy)
    }
}

fn refusal(step: &Place, document: &Value) -> String {
    match step {
        Place::Member(name) => format!("Unable to apply step \"{name}\" to input {document}"),
        Place::Item(index) => format!("Unable to apply step \"{index}\" to input {document}"),
    }
}
