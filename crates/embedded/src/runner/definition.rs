//! The state machine's text made ready for one machine: names of functions put in.

use std::collections::HashMap;

use control::Phase;
use serde_json::{Value, json};

use super::RunnerError;

/// The phase functions: their placeholder in the definition, as `template.yaml` names it in
/// `DefinitionSubstitutions`, and the function's name.
const FUNCTIONS: [(&str, Phase, &str); 4] = [
    ("${ValidateFunctionArn}", Phase::Validate, "validate"),
    ("${AllocateFunctionArn}", Phase::Allocate, "allocate"),
    ("${ExecuteFunctionArn}", Phase::Execute, "execute"),
    ("${VerifyFunctionArn}", Phase::Verify, "verify"),
];

const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:tapemark-";

/// Puts the functions' names into a definition and compiles it.
pub(super) fn compile(text: &str) -> Result<(String, asl::Machine), RunnerError> {
    let mut text = text.to_owned();
    for (placeholder, _, name) in FUNCTIONS {
        text = text.replace(placeholder, &format!("{ARN}{name}"));
    }
    if let Some(at) = text.find("${") {
        let name: String = text[at..]
            .chars()
            .take_while(|c| *c != '"')
            .take(80)
            .collect();
        return Err(RunnerError::Definition(vec![format!(
            "expected only the placeholders of the four phase functions, found {name}"
        )]));
    }
    let machine = parse(&text)?;
    Ok((text, machine))
}

/// Compiles a definition whose names are put in already.
pub(super) fn parse(text: &str) -> Result<asl::Machine, RunnerError> {
    asl::Machine::parse(text).map_err(|diagnostics| {
        RunnerError::Definition(diagnostics.iter().map(|d| format!("{d:?}")).collect())
    })
}

/// What a task asks for.
pub(super) struct Call {
    pub(super) phase: Phase,
    pub(super) payload: Value,
    /// True for the `lambda:invoke` integration, whose answer has an envelope.
    wrapped: bool,
}

impl Call {
    /// Reads a task; the text says why it cannot be done here.
    pub(super) fn of(task: &asl::Task) -> Result<Self, String> {
        let (function, payload, wrapped) = match &task.kind {
            asl::TaskKind::Lambda => (&*task.resource, task.input.value().clone(), false),
            asl::TaskKind::Service {
                resource_type,
                resource,
                ..
            } if &**resource_type == "lambda" && resource.starts_with("invoke") => {
                let input = task.input.value();
                let name = input
                    .get("FunctionName")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let payload = input.get("Payload").cloned().unwrap_or_else(|| json!({}));
                (name, payload, true)
            }
            _ => return Err(format!("{} cannot be called on one machine", task.resource)),
        };
        let phase = FUNCTIONS
            .iter()
            .find(|(_, _, name)| function.strip_prefix(ARN) == Some(name))
            .map(|(_, phase, _)| *phase)
            .ok_or_else(|| format!("there is no function {function:?}"))?;
        Ok(Self {
            phase,
            payload,
            wrapped,
        })
    }

    /// The task's result, as Step Functions has it.
    pub(super) fn result(wrapped: bool, output: Value) -> Value {
        if wrapped {
            json!({ "ExecutedVersion": "$LATEST", "Payload": output, "StatusCode": 200 })
        } else {
            output
        }
    }

    pub(super) fn is_wrapped(&self) -> bool {
        self.wrapped
    }
}

/// Compiled definitions by digest: executions go on with the one they began with.
#[derive(Default)]
pub(super) struct Machines(HashMap<String, std::sync::Arc<asl::Machine>>);

impl Machines {
    pub(super) fn add(&mut self, machine: std::sync::Arc<asl::Machine>) {
        self.0.insert(machine.digest().to_owned(), machine);
    }

    pub(super) fn get(&self, digest: &str) -> Option<std::sync::Arc<asl::Machine>> {
        self.0.get(digest).cloned()
    }
}
