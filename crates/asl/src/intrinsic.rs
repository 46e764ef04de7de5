//! Intrinsic functions: `States.Format('{} of {}', $.n, $.total)`.

mod array;
mod functions;
mod parse;

use std::sync::Arc;

use serde_json::Value;

use crate::path::Found;
use crate::query::{Kind, QueryError, View, select};

/// A compiled call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    function: Function,
    arguments: Vec<Argument>,
    /// The whole expression, which causes quote even when an inner call failed.
    text: Arc<str>,
}

#[derive(Debug, Clone)]
pub(crate) enum Argument {
    /// A quoted text: with its escapes resolved, and as it was written (for `States.Format`).
    Text {
        plain: String,
        written: String,
    },
    Literal(Value),
    Path(Kind, String),
    Call(Box<Call>),
}

/// The functions of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Format,
    StringToJson,
    JsonToString,
    Array,
    ArrayPartition,
    ArrayContains,
    ArrayRange,
    ArrayGetItem,
    ArrayLength,
    ArrayUnique,
    Base64Encode,
    Base64Decode,
    Hash,
    JsonMerge,
    MathRandom,
    MathAdd,
    StringSplit,
    Uuid,
}

impl Function {
    const ALL: [(&'static str, Function); 18] = [
        ("Format", Function::Format),
        ("StringToJson", Function::StringToJson),
        ("JsonToString", Function::JsonToString),
        ("Array", Function::Array),
        ("ArrayPartition", Function::ArrayPartition),
        ("ArrayContains", Function::ArrayContains),
        ("ArrayRange", Function::ArrayRange),
        ("ArrayGetItem", Function::ArrayGetItem),
        ("ArrayLength", Function::ArrayLength),
        ("ArrayUnique", Function::ArrayUnique),
        ("Base64Encode", Function::Base64Encode),
        ("Base64Decode", Function::Base64Decode),
        ("Hash", Function::Hash),
        ("JsonMerge", Function::JsonMerge),
        ("MathRandom", Function::MathRandom),
        ("MathAdd", Function::MathAdd),
        ("StringSplit", Function::StringSplit),
        ("UUID", Function::Uuid),
    ];

    fn named(name: &str) -> Option<Function> {
        Self::ALL
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, function)| function)
    }

    fn name(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find(|(_, function)| *function == self)
            .map_or("", |(name, _)| name)
    }

    /// How many arguments a call may have.
    fn arity(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Function::Format => 1..=usize::MAX,
            Function::Array => 0..=usize::MAX,
            Function::StringToJson
            | Function::JsonToString
            | Function::ArrayLength
            | Function::ArrayUnique
            | Function::Base64Encode
            | Function::Base64Decode => 1..=1,
            Function::ArrayPartition
            | Function::ArrayContains
            | Function::ArrayGetItem
            | Function::Hash
            | Function::MathAdd
            | Function::StringSplit => 2..=2,
            Function::ArrayRange | Function::JsonMerge => 3..=3,
            Function::MathRandom => 2..=3,
            // Whatever it is given.
            Function::Uuid => 0..=usize::MAX,
        }
    }
}

/// An argument as a function gets it.
pub(crate) struct Given {
    pub(crate) value: Value,
    /// A quoted text as it was written, escapes and all.
    pub(crate) written: Option<String>,
    /// Whether the value was read from a text of JSON: it then shows as JSON.
    pub(crate) parsed: bool,
}

/// Why a call has no value.
pub(crate) struct Fault {
    message: String,
    missing: bool,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault {
            message,
            missing: false,
        }
    }
}

impl Call {
    /// Compiles a call. How many arguments it has is only looked at when it runs.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        parse::parse(text)
    }

    /// Evaluates the call.
    pub(crate) fn run(&self, view: &View<'_>) -> Result<Value, QueryError> {
        self.evaluate(view).map_err(|fault| {
            let (text, message) = (&self.text, fault.message);
            QueryError::Function(if fault.missing {
                format!("The function '{text}' had the following error: {message}")
            } else {
                format!(
                    "There was an error while evaluating the intrinsic function: {text}. {message}"
                )
            })
        })
    }

    fn evaluate(&self, view: &View<'_>) -> Result<Value, Fault> {
        let mut given = Vec::with_capacity(self.arguments.len());
        for argument in &self.arguments {
            let (value, written, parsed) = match argument {
                Argument::Text { plain, written } => {
                    (Value::String(plain.clone()), Some(written.clone()), false)
                }
                Argument::Literal(value) => (value.clone(), None, false),
                Argument::Call(inner) => {
                    let parsed = matches!(inner.function, Function::StringToJson);
                    (inner.evaluate(view)?, None, parsed)
                }
                Argument::Path(kind, text) => (argument_value(kind, text, view)?, None, false),
            };
            given.push(Given {
                value,
                written,
                parsed,
            });
        }
        if !self.function.arity().contains(&given.len()) {
            return Err(functions::miscounted(self.function).into());
        }
        Ok(functions::call(self.function, &given, view)?)
    }
}

/// The value of a path argument. Unlike in a payload template, an index beyond the end of an
/// array is a miss here, and a miss in the context object is told as one in the input, with one
/// `$` less.
fn argument_value(kind: &Kind, text: &str, view: &View<'_>) -> Result<Value, Fault> {
    let told = match kind {
        Kind::Context(_) => &text[1..],
        _ => text,
    };
    let miss = |document: &str| Fault {
        message: format!(
            "The JsonPath argument for the field '{told}' could not be found in the input \
             '{document}'"
        ),
        missing: true,
    };
    match select(kind, text, view) {
        Ok(Found::Value(value)) => Ok(value),
        Ok(Found::BeyondEnd) => Err(miss(&view.input.to_string())),
        // A filter on a value of the wrong kind speaks for itself.
        Err(QueryError::Missing { message, .. }) if message.starts_with("Filter: ") => Err(Fault {
            message,
            missing: true,
        }),
        Err(QueryError::Missing { .. }) if matches!(kind, Kind::Context(_)) => {
            Err(miss(&view.input.to_string()))
        }
        Err(QueryError::Missing { document, .. }) => Err(miss(&document)),
        // A call is no path by itself: the whole input is an argument like any other.
        Err(QueryError::NullInput) if text == "$" => Ok(Value::Null),
        Err(QueryError::NullInput) => Err(miss("null")),
        Err(QueryError::Function(message)) => Err(message.into()),
    }
}
