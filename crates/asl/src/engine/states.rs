//! What each state type does when control is in it.

use std::sync::Arc;

use serde_json::Value;

use super::context::Extra;
use super::{Fault, Kernel};
use crate::execution::{Purpose, Waiting};
use crate::json::Data;
use crate::machine::{Kind, Seconds, State, Until, Word, Work};
use crate::query::Query;
use crate::time;

impl Kernel<'_> {
    /// Runs the state a chain is in, from its input on.
    pub(super) fn work(&mut self, id: u32) -> Result<(), Fault> {
        let Some(state) = self.state(id) else {
            return Ok(());
        };
        let Some(raw) = self.raw(id) else {
            return Ok(());
        };
        if let Kind::Fail { error, cause } = &state.kind {
            let fault = Fault {
                error: self.word(id, error, &raw, "ErrorPath")?,
                cause: self.word(id, cause, &raw, "CausePath")?,
                alias: None,
                fatal: false,
            };
            return Err(fault);
        }
        let input = self.filter(id, &state.input_path, &raw)?;
        match &state.kind {
            Kind::Pass {
                result,
                parameters,
                result_path,
            } => {
                let mut found = input;
                if let Some(parameters) = parameters {
                    let filled = self.fill(id, parameters, found.value(), Extra::default())?;
                    found = self.accept(id, filled)?;
                }
                if let Some(result) = result {
                    found = Data::new(result.clone());
                }
                let assigned = self.assign(id, state.assign.as_ref(), found.value())?;
                let placed = self.place(id, result_path, &raw, found)?;
                self.leave(id, state, placed, assigned)
            }
            Kind::Succeed => self.leave(id, state, input, Vec::new()),
            Kind::Choice { rules, default } => {
                let mut chosen = default.clone();
                let mut assign = state.assign.as_ref();
                for rule in rules {
                    let holds = self
                        .view(id, input.value(), Extra::default(), |view| {
                            rule.condition.holds(view)
                        })
                        .map_err(|message| self.runtime(id, &message))?;
                    if holds {
                        chosen = Some(rule.next.clone());
                        assign = rule.assign.as_ref();
                        break;
                    }
                }
                let Some(next) = chosen else {
                    let message = "Failed to transition out of the state. The state does not \
                                   point to a next state.";
                    return Err(self.runtime(id, message));
                };
                let assigned = self.assign(id, assign, input.value())?;
                let output = self.filter(id, &state.output_path, &input)?;
                self.exit(id, output, assigned, Some(next));
                Ok(())
            }
            Kind::Wait(until) => self.wait(id, state, until, &input),
            Kind::Task(task) => self.schedule(id, task, &input),
            Kind::Parallel { branches, work } => self.fork(id, branches, work, &input),
            Kind::Map(map) => self.iterate(id, map, &input),
            Kind::Fail { .. } => Ok(()),
        }
    }

    pub(super) fn raw(&self, id: u32) -> Option<Data> {
        self.x
            .chains
            .get(&id)?
            .active
            .as_ref()
            .map(|active| active.raw.clone())
    }

    /// Applies `OutputPath` and goes on.
    fn leave(
        &mut self,
        id: u32,
        state: &State,
        output: Data,
        assigned: Vec<(String, Value)>,
    ) -> Result<(), Fault> {
        let output = self.filter(id, &state.output_path, &output)?;
        self.exit(id, output, assigned, state.next.clone());
        Ok(())
    }

    /// Takes the result of a Task, Parallel or Map on its way out of the state.
    pub(super) fn complete(&mut self, id: u32, result: Value) -> Result<(), Fault> {
        let Some(state) = self.state(id) else {
            return Ok(());
        };
        let Some(raw) = self.raw(id) else {
            return Ok(());
        };
        let Some(work) = work_of(state) else {
            return Ok(());
        };
        let assigned = self.assign(id, state.assign.as_ref(), &result)?;
        let selected = match &work.selector {
            None => result,
            Some(selector) => self.fill(id, selector, &result, Extra::default())?,
        };
        let selected = self.accept(id, selected)?;
        let placed = self.place(id, &work.result_path, &raw, selected)?;
        self.leave(id, state, placed, assigned)
    }

    fn wait(&mut self, id: u32, state: &State, until: &Until, input: &Data) -> Result<(), Fault> {
        let at = match until {
            Until::Seconds(seconds) => time::after(self.x.now, *seconds),
            Until::Timestamp(at) => *at,
            Until::SecondsPath(query) => {
                let value = self.wait_value(id, query, input, "SecondsPath")?;
                match (value.as_u64(), value.is_i64()) {
                    (Some(seconds), _) => time::after(self.x.now, seconds),
                    (None, true) => {
                        let message = format!(
                            "The SecondsPath parameter references a negative value: {} == {value}",
                            query.text()
                        );
                        return Err(self.runtime(id, &message));
                    }
                    (None, false) => {
                        let message = format!(
                            "The SecondsPath parameter cannot be parsed as a long value: {} == {}",
                            query.text(),
                            plain(&value)
                        );
                        return Err(self.runtime(id, &message));
                    }
                }
            }
            Until::TimestampPath(query) => {
                let value = self.wait_value(id, query, input, "TimestampPath")?;
                match value.as_str().and_then(time::parse) {
                    Some(at) => at,
                    None => {
                        let message = format!(
                            "The TimestampPath parameter does not reference a valid ISO-8601 \
                             extended offset date-time format string: {} == {}",
                            query.text(),
                            plain(&value)
                        );
                        return Err(self.runtime(id, &message));
                    }
                }
            }
        };
        if at <= self.x.now {
            return self.waited(id, state);
        }
        let timer = self.set_timer(at, Purpose::Wait(id));
        self.set_waiting(id, Waiting::Wait(timer));
        Ok(())
    }

    fn wait_value(
        &self,
        id: u32,
        query: &Query,
        input: &Data,
        field: &str,
    ) -> Result<Value, Fault> {
        self.select(id, query, input.value()).map_err(|_| {
            let message = format!(
                "The {field} parameter does not reference an input value: {}",
                query.text()
            );
            self.runtime(id, &message)
        })
    }

    /// The wait is over.
    pub(super) fn waited(&mut self, id: u32, state: &State) -> Result<(), Fault> {
        let Some(raw) = self.raw(id) else {
            return Ok(());
        };
        let input = self.filter(id, &state.input_path, &raw)?;
        let assigned = self.assign(id, state.assign.as_ref(), input.value())?;
        self.leave(id, state, input, assigned)
    }

    pub(super) fn set_waiting(&mut self, id: u32, waiting: Waiting) {
        let active = self
            .x
            .chains
            .get_mut(&id)
            .and_then(|chain| chain.active.as_mut());
        if let Some(active) = active {
            active.waiting = waiting;
        }
    }

    fn word(
        &self,
        id: u32,
        word: &Word,
        input: &Data,
        field: &str,
    ) -> Result<Option<Arc<str>>, Fault> {
        match word {
            Word::None => Ok(None),
            Word::Fixed(text) => Ok(Some(text.clone())),
            Word::Path(query) => match self.select(id, query, input.value()) {
                Ok(Value::String(text)) => Ok(Some(text.into())),
                Ok(other) => {
                    let message = format!(
                        "The {field} field does not reference a string value: {} == {other}",
                        query.text()
                    );
                    Err(self.runtime(id, &message))
                }
                Err(error) => {
                    let error = crate::template::TemplateError::new(&error, field);
                    Err(self.template_fault(id, &error))
                }
            },
        }
    }

    /// A positive number of seconds for a task.
    pub(super) fn seconds(
        &self,
        id: u32,
        seconds: Option<&Seconds>,
        input: &Data,
        field: &str,
    ) -> Result<Option<u64>, Fault> {
        match seconds {
            None => Ok(None),
            Some(Seconds::Fixed(number)) => Ok(Some(*number)),
            Some(Seconds::Path(query)) => {
                let value = self
                    .select(id, query, input.value())
                    .map_err(|error| self.path_fault(id, &error))?;
                match value.as_u64() {
                    Some(number) if number > 0 => Ok(Some(number)),
                    _ => {
                        let message = format!(
                            "The {field} parameter does not reference a positive integer: {} == {}",
                            query.text(),
                            plain(&value)
                        );
                        Err(self.runtime(id, &message))
                    }
                }
            }
        }
    }
}

pub(super) fn work_of(state: &State) -> Option<&Work> {
    match &state.kind {
        Kind::Task(task) => Some(&task.work),
        Kind::Parallel { work, .. } => Some(work),
        Kind::Map(map) => Some(&map.work),
        _ => None,
    }
}

/// A value as causes show it: texts without their quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
