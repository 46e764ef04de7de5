//! JSONPath as Step Functions has it: Jayway's dialect over Jackson trees, with its messages.
//!
//! The messages matter because AWS quotes them in the cause of a failed execution. The parser
//! refuses what this module does not evaluate, so an unsupported path is an error of the
//! definition and never a surprise at run time.

mod eval;
mod filter;
mod parse;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use filter::{Filter, order};

/// A compiled path. It always starts at `$`; what `$` means is the caller's business.
#[derive(Debug, Clone)]
pub(crate) struct JsonPath {
    steps: Vec<Step>,
    function: Option<Function>,
    text: Arc<str>,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// `.name`, `['name']` or `['a','b']`.
    Property(Vec<String>),
    /// `.*` or `[*]`.
    Wildcard,
    /// `[0]`, `[-1]` or `[0,2]`.
    Index(Vec<i64>),
    /// `[from:to]`.
    Slice(Option<i64>, Option<i64>),
    /// `..`: the steps after it apply to every container below.
    Scan,
    /// `[?(…)]`.
    Filter(Filter),
}

/// A function that ends a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Length,
    Min,
    Max,
    Avg,
    Sum,
    Keys,
    First,
    Last,
}

/// What a path selects.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// A value (an array of all matches when the path is not definite).
    Value(Value),
    /// An index beyond the end of an array, which Jackson answers with Java's null: a payload
    /// template makes JSON null of it, an intrinsic function calls it missing.
    BeyondEnd,
}

impl Found {
    /// The value, with an index beyond the end read as null.
    pub(crate) fn or_null(self) -> Value {
        match self {
            Found::Value(value) => value,
            Found::BeyondEnd => Value::Null,
        }
    }
}

impl JsonPath {
    /// Compiles a path that starts with `$`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        parse::parse(text)
    }

    /// The whole document: `$`.
    pub(crate) fn is_root(&self) -> bool {
        self.steps.is_empty() && self.function.is_none()
    }

    /// Whether the path selects at most one node. Several names at its end make one object.
    pub(crate) fn is_definite(&self) -> bool {
        match self.steps.split_last() {
            None => true,
            Some((last, before)) => {
                before.iter().all(Step::is_definite)
                    && (last.is_definite() || matches!(last, Step::Property(_)))
            }
        }
    }

    /// Whether the path is a Reference Path: it can only name one node, by members and
    /// non-negative indexes.
    pub(crate) fn is_reference(&self) -> bool {
        self.function.is_none()
            && self.steps.iter().all(|step| match step {
                Step::Property(names) => names.len() == 1,
                Step::Index(indexes) => indexes.len() == 1 && indexes[0] >= 0,
                _ => false,
            })
    }

    /// Selects from a document.
    ///
    /// # Errors
    /// Jayway's message for a path that leads nowhere.
    pub(crate) fn select(&self, root: &Value) -> Result<Found, String> {
        eval::select(self, root)
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl Step {
    fn is_definite(&self) -> bool {
        match self {
            Step::Property(names) => names.len() == 1,
            Step::Index(indexes) => indexes.len() == 1,
            _ => false,
        }
    }

    /// The step as Jayway prints it.
    fn describe(&self) -> String {
        match self {
            Step::Property(names) => {
                let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
                format!("[{}]", names.join(","))
            }
            Step::Wildcard => "[*]".to_owned(),
            Step::Index(indexes) => {
                let indexes: Vec<String> = indexes.iter().map(i64::to_string).collect();
                format!("[{}]", indexes.join(","))
            }
            Step::Slice(from, to) => {
                let show = |end: &Option<i64>| end.map(|n| n.to_string()).unwrap_or_default();
                format!("[{}:{}]", show(from), show(to))
            }
            Step::Scan => "..".to_owned(),
            Step::Filter(_) => "[?]".to_owned(),
        }
    }
}
