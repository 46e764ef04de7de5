//! What expressions see: the context object, variables, and faults worded as AWS words them.

use serde_json::{Map, Value, json};

use super::{Fault, Kernel};
use crate::execution::MapItem;
use crate::json::{Data, too_deep};
use crate::limits::MAX_DATA_BYTES;
use crate::machine::{Filter, Kind, Target};
use crate::query::{Query, QueryError, View};
use crate::template::{Template, TemplateError};
use crate::time;

/// What only some expressions see.
#[derive(Default, Clone, Copy)]
pub(super) struct Extra<'a> {
    pub(super) token: Option<&'a str>,
    pub(super) item: Option<&'a MapItem>,
}

impl Kernel<'_> {
    pub(super) fn view<T>(
        &self,
        id: u32,
        input: &Value,
        extra: Extra<'_>,
        then: impl FnOnce(&View<'_>) -> T,
    ) -> T {
        let context = || self.context(id, extra);
        let variable = |name: &str| self.variable(id, name);
        then(&View::new(input, &context, &variable, &self.draw))
    }

    fn context(&self, id: u32, extra: Extra<'_>) -> Value {
        let mut context = Map::new();
        if let Some(identity) = &self.x.identity {
            context.insert(
                "Execution".to_owned(),
                json!({
                    "Id": identity.execution,
                    "Input": self.x.input.as_ref().map(Data::value),
                    "StartTime": time::text(self.x.started),
                    "Name": identity.name,
                    "RoleArn": identity.role,
                    "RedriveCount": identity.redrives,
                }),
            );
            context.insert(
                "StateMachine".to_owned(),
                json!({ "Id": identity.state_machine, "Name": identity.state_machine_name }),
            );
        }
        let chain = self.x.chains.get(&id);
        if let Some(active) = chain.and_then(|chain| chain.active.as_ref()) {
            let mut state = json!({
                "Name": &*active.name,
                "EnteredTime": time::text(active.entered_at),
            });
            let counts = self.state(id).is_some_and(|state| {
                matches!(
                    state.kind,
                    Kind::Task(_) | Kind::Parallel { .. } | Kind::Map(_)
                )
            });
            if let (true, Some(members)) = (counts, state.as_object_mut()) {
                members.insert("RetryCount".to_owned(), Value::from(active.retries));
            }
            context.insert("State".to_owned(), state);
        }
        if let Some(token) = extra.token {
            context.insert("Task".to_owned(), json!({ "Token": token }));
        }
        // Only the selector of the Map sees the item; the states of the iteration do not.
        if let Some(item) = extra.item {
            let item = json!({ "Item": { "Index": item.index, "Value": item.value } });
            context.insert("Map".to_owned(), item);
        }
        Value::Object(context)
    }

    /// A variable of the chain or of one around it.
    fn variable(&self, id: u32, name: &str) -> Option<Value> {
        let mut at = Some(id);
        while let Some(chain) = at.and_then(|id| self.x.chains.get(&id)) {
            if let Some(value) = chain.variables.get(name) {
                return Some(value.clone());
            }
            at = chain.parent.map(|(parent, _)| parent);
        }
        None
    }

    /// A cause with the sentence AWS puts before it.
    pub(super) fn cause(&self, id: u32, message: &str) -> String {
        match self
            .x
            .chains
            .get(&id)
            .and_then(|chain| chain.active.as_ref())
        {
            Some(active) => format!(
                "An error occurred while executing the state '{}' (entered at the event id #{}). \
                 {message}",
                active.name, active.entered.0
            ),
            None => message.to_owned(),
        }
    }

    /// `States.Runtime`: nothing retries or catches it.
    pub(super) fn runtime(&self, id: u32, message: &str) -> Fault {
        let mut fault = Fault::new("States.Runtime", self.cause(id, message));
        fault.fatal = true;
        fault
    }

    pub(super) fn template_fault(&self, id: u32, error: &TemplateError) -> Fault {
        self.runtime(id, &error.message)
    }

    /// The fault of a field that is a path by itself, such as `InputPath`.
    pub(super) fn path_fault(&self, id: u32, error: &QueryError) -> Fault {
        match error {
            QueryError::Missing { path, message, .. } => {
                self.runtime(id, &format!("Invalid path '{path}' : {message}"))
            }
            QueryError::NullInput | QueryError::Function(_) => {
                self.template_fault(id, &TemplateError::new(error, ""))
            }
        }
    }

    pub(super) fn fill(
        &self,
        id: u32,
        template: &Template,
        input: &Value,
        extra: Extra<'_>,
    ) -> Result<Value, Fault> {
        self.view(id, input, extra, |view| template.fill(view))
            .map_err(|error| self.template_fault(id, &error))
    }

    pub(super) fn assign(
        &self,
        id: u32,
        template: Option<&Template>,
        input: &Value,
    ) -> Result<Vec<(String, Value)>, Fault> {
        match template {
            None => Ok(Vec::new()),
            Some(template) => self
                .view(id, input, Extra::default(), |view| {
                    template.fill_members(view)
                })
                .map_err(|error| self.template_fault(id, &error)),
        }
    }

    pub(super) fn select(
        &self,
        id: u32,
        query: &Query,
        input: &Value,
    ) -> Result<Value, QueryError> {
        self.view(id, input, Extra::default(), |view| query.value(view))
    }

    /// Applies `InputPath` or `OutputPath`.
    pub(super) fn filter(&self, id: u32, filter: &Filter, data: &Data) -> Result<Data, Fault> {
        match filter {
            Filter::Whole => Ok(data.clone()),
            Filter::Nothing => Ok(Data::new(json!({}))),
            Filter::Select(query) => match self.select(id, query, data.value()) {
                Ok(value) => self.accept(id, value),
                Err(error) => Err(self.path_fault(id, &error)),
            },
        }
    }

    /// Puts a result where `ResultPath` says, into the state's raw input.
    pub(super) fn place(
        &self,
        id: u32,
        target: &Target,
        raw: &Data,
        result: Data,
    ) -> Result<Data, Fault> {
        match target {
            Target::Replace => Ok(result),
            Target::Discard => Ok(raw.clone()),
            Target::At(path) => match path.write(raw.value(), result.value().clone()) {
                Ok(value) => self.accept(id, value),
                Err(message) => Err(self.conflict(id, &message)),
            },
        }
    }

    /// A reference path that cannot be followed. Step Functions reports another name than the
    /// language's own `States.ResultPathMatchFailure`; both are caught.
    pub(super) fn conflict(&self, id: u32, message: &str) -> Fault {
        let mut fault = Fault::new("States.ReferencePathConflict", self.cause(id, message));
        fault.alias = Some("States.ResultPathMatchFailure");
        fault
    }

    /// Refuses documents that are too large or too deep to go on.
    pub(super) fn accept(&self, id: u32, value: Value) -> Result<Data, Fault> {
        if too_deep(&value) {
            return Err(self.runtime(id, "The document nests deeper than 256 levels."));
        }
        let data = Data::new(value);
        if data.bytes() > MAX_DATA_BYTES {
            let name = self
                .state(id)
                .map_or_else(String::new, |state| state.name.to_string());
            let mut fault = Fault::new("States.DataLimitExceeded", too_large(&name));
            fault.fatal = true;
            return Err(fault);
        }
        Ok(data)
    }
}

pub(super) fn too_large(what: &str) -> String {
    format!(
        "The state/task '{what}' returned a result with a size exceeding the maximum number of \
         bytes service limit."
    )
}
