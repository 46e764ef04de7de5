//! Expressions: what may stand behind a `….$` key or in a `…Path` field.

use std::cell::{OnceCell, RefCell};
use std::sync::Arc;

use serde_json::Value;

use crate::intrinsic::Call;
use crate::path::{Found, JsonPath};
use crate::random::Draw;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    kind: Kind,
    text: Arc<str>,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// `$.…`: the state's input or result.
    Input(JsonPath),
    /// `$$.…`: the context object.
    Context(JsonPath),
    /// `$name.…`: a variable.
    Variable(Arc<str>, JsonPath),
    /// `States.Name(…)`.
    Call(Call),
}

/// What expressions can see.
pub(crate) struct View<'a> {
    pub(crate) input: &'a Value,
    pub(crate) context: &'a dyn Fn() -> Value,
    pub(crate) variable: &'a dyn Fn(&str) -> Option<Value>,
    pub(crate) draw: &'a RefCell<Draw>,
    made: OnceCell<Value>,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        input: &'a Value,
        context: &'a dyn Fn() -> Value,
        variable: &'a dyn Fn(&str) -> Option<Value>,
        draw: &'a RefCell<Draw>,
    ) -> Self {
        View {
            input,
            context,
            variable,
            draw,
            made: OnceCell::new(),
        }
    }

    fn context(&self) -> &Value {
        self.made.get_or_init(self.context)
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum QueryError {
    /// A path led nowhere in `document`; `message` is Jayway's.
    Missing {
        path: String,
        message: String,
        document: String,
    },
    /// A path was applied to an input that is null.
    NullInput,
    /// An intrinsic function failed; the message names the whole expression.
    Function(String),
}

impl Query {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let kind = if text.starts_with("States.") {
            Kind::Call(Call::parse(text)?)
        } else {
            parse_path(text)?
        };
        Ok(Query {
            kind,
            text: text.into(),
        })
    }

    /// Compiles an expression that may only be a path.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse_path(text: &str) -> Result<Self, String> {
        Ok(Query {
            kind: parse_path(text)?,
            text: text.into(),
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether the expression is the plain input: `$`.
    pub(crate) fn is_root(&self) -> bool {
        matches!(&self.kind, Kind::Input(path) if path.is_root())
    }

    /// The value, with an index beyond the end still told apart from null.
    pub(crate) fn find(&self, view: &View<'_>) -> Result<Found, QueryError> {
        match &self.kind {
            Kind::Call(call) => call.run(view).map(Found::Value),
            path => select(path, &self.text, view),
        }
    }

    /// The value, with an index beyond the end read as null.
    pub(crate) fn value(&self, view: &View<'_>) -> Result<Value, QueryError> {
        self.find(view).map(Found::or_null)
    }
}

/// Compiles a path of any of the three kinds.
pub(crate) fn parse_path(text: &str) -> Result<Kind, String> {
    if let Some(rest) = text.strip_prefix("$$") {
        return Ok(Kind::Context(JsonPath::parse(&format!("${rest}"))?));
    }
    let Some(rest) = text.strip_prefix('$') else {
        return Err("a path starts with '$'".to_owned());
    };
    if rest.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let (name, path) = rest.split_at(end);
        return Ok(Kind::Variable(
            name.into(),
            JsonPath::parse(&format!("${path}"))?,
        ));
    }
    Ok(Kind::Input(JsonPath::parse(text)?))
}

/// Selects with a path of any of the three kinds.
pub(crate) fn select(kind: &Kind, text: &str, view: &View<'_>) -> Result<Found, QueryError> {
    let missing = |message: String, document: &Value| QueryError::Missing {
        path: text.to_owned(),
        message,
        document: document.to_string(),
    };
    match kind {
        Kind::Input(_) if view.input.is_null() => Err(QueryError::NullInput),
        Kind::Input(path) if path.is_root() => Ok(Found::Value(view.input.clone())),
        Kind::Input(path) => path.select(view.input).map_err(|m| missing(m, view.input)),
        Kind::Context(path) => path
            .select(view.context())
            .map_err(|m| missing(m, view.context())),
        Kind::Variable(name, path) => match (view.variable)(name) {
            Some(value) => path.select(&value).map_err(|m| missing(m, &value)),
            None => Err(missing(
                format!("The variable '${name}' is not assigned"),
                view.input,
            )),
        },
        Kind::Call(call) => call.run(view).map(Found::Value),
    }
}
