//! Checking a definition: all faults, with AWS's codes, messages and places.
//!
//! Codes and sentences are those of `ValidateStateMachineDefinition` where a recorded answer is
//! known. Three codes are this engine's own, for what AWS has and it has not (yet):
//! `UNSUPPORTED_QUERY_LANGUAGE`, `UNSUPPORTED_MAP_MODE` and `UNSUPPORTED_FIELD`.

mod choice;
mod fields;
mod graph;
mod states;

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;

use crate::limits::MAX_DEFINITION_BYTES;

/// One finding about a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// `ERROR` (the definition is refused) or `WARNING`.
    pub severity: &'static str,
    /// AWS's code, such as `SCHEMA_VALIDATION_FAILED`.
    pub code: &'static str,
    /// What is wrong, in a sentence.
    pub message: String,
    /// Where, as a pointer such as `/States/Ship/Choices[0]/Next`; none for the whole definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error(
        code: &'static str,
        message: impl Into<String>,
        location: Option<String>,
    ) -> Self {
        Diagnostic {
            severity: "ERROR",
            code,
            message: message.into(),
            location,
        }
    }

    /// Whether it refuses the definition.
    pub fn is_error(&self) -> bool {
        self.severity == "ERROR"
    }
}

pub(crate) const SCHEMA: &str = "SCHEMA_VALIDATION_FAILED";

/// Checks a definition: the document, when it is one, and everything wrong with it.
pub fn validate(text: &str) -> (Option<Value>, Vec<Diagnostic>) {
    let not_an_object = || {
        vec![Diagnostic::error(
            SCHEMA,
            "Definition must be a valid JSON object",
            None,
        )]
    };
    if text.len() > MAX_DEFINITION_BYTES {
        let message = format!("Definition must have at most {MAX_DEFINITION_BYTES} bytes");
        return (None, vec![Diagnostic::error(SCHEMA, message, None)]);
    }
    if text.trim().is_empty() {
        return (None, not_an_object());
    }
    let document = match serde_json::from_str::<Value>(text) {
        Ok(document @ Value::Object(_)) => document,
        Ok(_) => return (None, not_an_object()),
        Err(error) => return (None, vec![not_json(text, &error)]),
    };
    let mut checker = Checker::default();
    checker.machine(&document);
    graph::check(&document, &mut checker.diagnostics);
    checker.diagnostics.append(&mut checker.unsupported);
    (Some(document), checker.diagnostics)
}

/// The answer of a JSON parser, in the words of the one AWS uses for a stray word.
fn not_json(text: &str, error: &serde_json::Error) -> Diagnostic {
    let shown: String = text.chars().take(500).collect();
    let left = text.chars().count() - shown.chars().count();
    let cut = if left > 0 {
        format!("[truncated {left} chars]")
    } else {
        String::new()
    };
    let start = text.len() - text.trim_start().len();
    let word: String = text[start..]
        .chars()
        .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
        .collect();
    let stray = word.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '$');
    let (line, column) = if stray {
        let before = &text[..start + word.len()];
        let line = before.matches('\n').count() + 1;
        (
            line,
            before.chars().rev().take_while(|c| *c != '\n').count() + 1,
        )
    } else {
        (error.line(), error.column())
    };
    let location = format!("[Source: (String)\"{shown}\"{cut}; line: {line}, column: {column}]");
    let what = if stray {
        format!(
            "Unrecognized token '{word}': was expecting (JSON String, Number, Array, Object or \
             token 'null', 'true' or 'false')"
        )
    } else {
        error.to_string()
    };
    Diagnostic::error(
        "INVALID_JSON_DESCRIPTION",
        format!("{what}\n at {location}"),
        Some(location),
    )
}

/// Collects findings while it walks a definition.
#[derive(Default)]
pub(crate) struct Checker {
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) unsupported: Vec<Diagnostic>,
    names: HashSet<String>,
    labels: HashSet<String>,
}

impl Checker {
    pub(crate) fn schema(&mut self, message: impl Into<String>, location: impl Into<String>) {
        self.diagnostics
            .push(Diagnostic::error(SCHEMA, message, Some(location.into())));
    }

    pub(crate) fn report(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        location: &str,
    ) {
        self.diagnostics
            .push(Diagnostic::error(code, message, Some(location.to_owned())));
    }

    pub(crate) fn lacks(&mut self, code: &'static str, message: impl Into<String>, location: &str) {
        self.unsupported
            .push(Diagnostic::error(code, message, Some(location.to_owned())));
    }

    fn machine(&mut self, document: &Value) {
        const KNOWN: [&str; 6] = [
            "Comment",
            "QueryLanguage",
            "StartAt",
            "TimeoutSeconds",
            "Version",
            "States",
        ];
        if let Some(members) = document.as_object() {
            for name in members
                .keys()
                .filter(|name| !KNOWN.contains(&name.as_str()))
            {
                self.schema(format!("Field '{name}' is not supported"), "/");
            }
        }
        fields::string(self, document, "Comment", "");
        fields::one_of(
            self,
            document,
            "QueryLanguage",
            "",
            &["JSONPath", "JSONata"],
        );
        fields::one_of(self, document, "Version", "", &["1.0"]);
        fields::integer(self, document, "TimeoutSeconds", "", 0, fields::MAX_SECONDS);
        let jsonata = document.get("QueryLanguage").and_then(Value::as_str) == Some("JSONata");
        if jsonata {
            let message = "QueryLanguage 'JSONata' is not supported by this engine yet";
            self.lacks("UNSUPPORTED_QUERY_LANGUAGE", message, "/QueryLanguage");
        }
        self.scope(document, "", jsonata);
    }

    /// The machine itself, a branch, or an iterator.
    pub(crate) fn scope(&mut self, document: &Value, at: &str, jsonata: bool) {
        let place = if at.is_empty() { "/" } else { at };
        let missing: Vec<&str> = ["States", "StartAt"]
            .into_iter()
            .filter(|field| document.get(field).is_none())
            .collect();
        if !missing.is_empty() {
            self.schema(
                format!("These fields are required: [{}]", missing.join(", ")),
                place,
            );
        }
        fields::string(self, document, "StartAt", at);
        let Some(states) = document.get("States") else {
            return;
        };
        let Some(states) = states.as_object() else {
            self.schema("Expected value of type Object", format!("{at}/States"));
            return;
        };
        if states.is_empty() {
            self.schema("Value cannot be empty", format!("{at}/States"));
        }
        for (name, state) in states {
            let here = format!("{at}/States/{name}");
            if name.chars().count() > crate::limits::MAX_NAME_CHARS {
                let message = format!(
                    "State name '{name}' exceeds the 80-character limit allowed by the service"
                );
                self.report("INVALID_STATE_NAME", message, &here);
            }
            if !self.names.insert(name.clone()) {
                self.report(
                    "DUPLICATE_STATE_NAME",
                    format!("Duplicate State name: {name}"),
                    &here,
                );
            }
            self.state(state, &here, jsonata);
        }
    }

    pub(crate) fn label(&mut self, label: &str, at: &str) {
        if label.chars().count() > 40 {
            let message = format!(
                "Label name '{label}' exceeds the 40-character limit allowed by the service"
            );
            self.report("INVALID_LABEL_NAME", message, at);
        }
        if !self.labels.insert(label.to_owned()) {
            self.report(
                "DUPLICATE_LABEL_NAME",
                format!("Duplicate Label name: {label}"),
                at,
            );
        }
    }
}
