//! Parallel and Map: starting children and gathering what they give.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::context::Extra;
use super::states::plain;
use super::{Fault, Kernel};
use crate::command::{Command, Outcome};
use crate::event::{Details, EventId};
use crate::execution::{Children, MapItem, Waiting};
use crate::json::Data;
use crate::limits::MAX_INLINE_CONCURRENCY;
use crate::machine::{Items, Kind, Map, Seconds, Work};
use crate::template::TemplateError;

impl Kernel<'_> {
    pub(super) fn fork(
        &mut self,
        id: u32,
        branches: &[usize],
        work: &Work,
        input: &Data,
    ) -> Result<(), Fault> {
        let input = match &work.parameters {
            None => input.clone(),
            Some(template) => {
                let filled = self.fill(id, template, input.value(), Extra::default())?;
                self.accept(id, filled)?
            }
        };
        let started = self.publish(id, "ParallelStateStarted", Details::None);
        let item = self.x.chains.get(&id).and_then(|chain| chain.item.clone());
        let mut open = BTreeMap::new();
        for (index, &scope) in branches.iter().enumerate() {
            let child = self.open_chain(Some((id, index)), scope, started, item.clone());
            open.insert(index, child);
            let start_at = self
                .machine
                .scopes
                .get(scope)
                .map(|scope| scope.start_at.clone());
            if let Some(start_at) = start_at {
                self.go(child, start_at, input.clone());
            }
        }
        let children = Children {
            open,
            results: vec![None; branches.len()],
            last: started,
            waiting: VecDeque::new(),
            input,
        };
        self.set_waiting(id, Waiting::Children(children));
        Ok(())
    }

    pub(super) fn iterate(&mut self, id: u32, map: &Map, input: &Data) -> Result<(), Fault> {
        let limit = self.concurrency(id, map, input)?;
        let items = self.items(id, &map.items, input)?;
        let length = items.len();
        let details = Details::Length {
            length: length as u64,
        };
        let started = self.publish(id, "MapStateStarted", details);
        let children = Children {
            open: BTreeMap::new(),
            results: vec![None; length],
            last: started,
            waiting: items.into_iter().enumerate().collect(),
            input: input.clone(),
        };
        self.set_waiting(id, Waiting::Children(children));
        let most = if limit == 0 {
            MAX_INLINE_CONCURRENCY
        } else {
            limit.min(MAX_INLINE_CONCURRENCY)
        };
        let first = most.min(length);
        for _ in 0..first {
            self.start_iteration(id, map, started)?;
        }
        if length == 0 {
            self.gathered(id)
        } else {
            Ok(())
        }
    }

    /// How many iterations may run at once; 0 for all.
    fn concurrency(&self, id: u32, map: &Map, input: &Data) -> Result<usize, Fault> {
        let query = match &map.concurrency {
            None => return Ok(0),
            Some(Seconds::Fixed(number)) => return Ok(usize::try_from(*number).unwrap_or(0)),
            Some(Seconds::Path(query)) => query,
        };
        let value = self.select(id, query, input.value()).map_err(|error| {
            self.template_fault(id, &TemplateError::new(&error, "MaxConcurrencyPath"))
        })?;
        let number = match &value {
            Value::String(text) => text.parse::<i64>().ok(),
            other => other.as_i64(),
        };
        match number {
            Some(number) if number >= 0 => Ok(usize::try_from(number).unwrap_or(0)),
            Some(number) => {
                let message = format!(
                    "Expected non-negative integer for MaxConcurrency, got '{number}' instead."
                );
                Err(self.runtime(id, &message))
            }
            None => {
                let message = format!(
                    "The MaxConcurrencyPath field refers to value \"{}\" which is not a valid \
                     integer: {}",
                    plain(&value),
                    query.text()
                );
                Err(self.runtime(id, &message))
            }
        }
    }

    fn items(&self, id: u32, items: &Items, input: &Data) -> Result<Vec<Value>, Fault> {
        let (value, path) = match items {
            Items::Whole => (input.value().clone(), "$"),
            Items::Reference(path) => {
                let found = path
                    .read(input.value())
                    .map_err(|message| self.conflict(id, &message))?;
                (found.clone(), path.text())
            }
            Items::Query(query) => {
                let found = self
                    .select(id, query, input.value())
                    .map_err(|error| self.path_fault(id, &error))?;
                (found, query.text())
            }
        };
        match value {
            Value::Array(items) => Ok(items),
            _ => Err(self.runtime(
                id,
                &format!("Reference path \"{path}\" must point to array."),
            )),
        }
    }

    /// Starts the next iteration of a Map, if one waits; `previous` is what its start points to.
    fn start_iteration(&mut self, id: u32, map: &Map, previous: EventId) -> Result<(), Fault> {
        let Some(children) = self.children(id) else {
            return Ok(());
        };
        let Some((index, value)) = children.waiting.pop_front() else {
            return Ok(());
        };
        let whole = children.input.clone();
        let item = Arc::new(MapItem {
            index: index as u64,
            value,
        });
        let input = match &map.selector {
            None => Data::new(item.value.clone()),
            Some(selector) => {
                let extra = Extra {
                    token: None,
                    item: Some(&item),
                };
                let filled = self.fill(id, selector, whole.value(), extra)?;
                self.accept(id, filled)?
            }
        };
        let Some(name) = self.state(id).map(|state| state.name.clone()) else {
            return Ok(());
        };
        let child = self.open_chain(Some((id, index)), map.scope, previous, Some(item));
        if let Some(children) = self.children(id) {
            children.open.insert(index, child);
        }
        let details = Details::Iteration {
            name,
            index: index as u64,
        };
        self.publish(child, "MapIterationStarted", details);
        let start_at = self
            .machine
            .scopes
            .get(map.scope)
            .map(|scope| scope.start_at.clone());
        if let Some(start_at) = start_at {
            self.go(child, start_at, input);
        }
        Ok(())
    }

    pub(super) fn children(&mut self, id: u32) -> Option<&mut Children> {
        match &mut self.x.chains.get_mut(&id)?.active.as_mut()?.waiting {
            Waiting::Children(children) => Some(children),
            _ => None,
        }
    }

    /// A chain came to its end.
    pub(super) fn finish(&mut self, id: u32, output: Data) {
        let Some(chain) = self.x.chains.get(&id) else {
            return;
        };
        let Some((parent, index)) = chain.parent else {
            let previous = chain.tail;
            let details = Details::Output {
                output: output.text(),
            };
            self.end(
                "ExecutionSucceeded",
                previous,
                details,
                Outcome::Succeeded { output },
            );
            return;
        };
        let before = chain.last;
        let Some(state) = self.state(parent) else {
            return;
        };
        if let Kind::Map(_) = &state.kind {
            let details = Details::Iteration {
                name: state.name.clone(),
                index: index as u64,
            };
            self.publish(id, "MapIterationSucceeded", details);
        }
        let last = self.x.chains.remove(&id).map_or(before, |chain| chain.last);
        let Some(children) = self.children(parent) else {
            return;
        };
        children.open.remove(&index);
        children.last = children.last.max(last);
        if let Some(place) = children.results.get_mut(index) {
            *place = Some(output.value().clone());
        }
        let done = children.open.is_empty() && children.waiting.is_empty();
        let result = match &state.kind {
            _ if done => self.gathered(parent),
            Kind::Map(map) => self.start_iteration(parent, map, before),
            _ => Ok(()),
        };
        if let Err(fault) = result {
            self.fault(parent, fault);
        }
    }

    /// All children of a Parallel or Map succeeded.
    fn gathered(&mut self, id: u32) -> Result<(), Fault> {
        let Some(state) = self.state(id) else {
            return Ok(());
        };
        let Some(children) = self.children(id) else {
            return Ok(());
        };
        let last = children.last;
        let results = std::mem::take(&mut children.results);
        let result: Value = results.into_iter().map(Option::unwrap_or_default).collect();
        if let Some(chain) = self.x.chains.get_mut(&id) {
            chain.last = last;
            chain.tail = last;
        }
        let name = match &state.kind {
            Kind::Map(_) => "MapStateSucceeded",
            _ => "ParallelStateSucceeded",
        };
        self.aside(id, name, last);
        self.complete(id, result)
    }

    /// Drops a chain and all below it, with their tasks and timers.
    pub(super) fn drop_chain(&mut self, id: u32) {
        let Some(chain) = self.x.chains.remove(&id) else {
            return;
        };
        match chain.active.map(|active| active.waiting) {
            Some(Waiting::Task(task)) => {
                if let Some(open) = self.close_task(task) {
                    self.commands.push(Command::Cancel {
                        task,
                        token: open.task.token,
                    });
                }
            }
            Some(Waiting::Wait(timer) | Waiting::Backoff(timer)) => self.cancel_timer(timer),
            Some(Waiting::Children(children)) => {
                for child in children.open.into_values() {
                    self.drop_chain(child);
                }
            }
            Some(Waiting::Ready) | None => {}
        }
    }
}
