//! The step itself: one input in, events and commands out, nothing else touched.

mod context;
mod failure;
mod flow;
mod states;
mod tasks;
mod timers;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use crate::command::{Command, Identity, Input, Outcome};
use crate::event::{Details, EventId, HistoryEvent};
use crate::execution::{Active, Chain, Execution, Purpose, Waiting};
use crate::json::Data;
use crate::limits::MAX_EVENTS;
use crate::machine::{Kind, Machine, State};
use crate::random::{Draw, Seed};

/// Moves one step may take. Each move of a loop records an event, and the history is limited, so
/// only a retrier without delay on a state that fails before it records anything gets this far.
const MAX_MOVES: u32 = 200_000;

/// Works on one execution for the length of one step.
pub(crate) struct Kernel<'m> {
    machine: &'m Machine,
    x: &'m mut Execution,
    draw: RefCell<Draw>,
    commands: Vec<Command>,
    /// Chains to be moved, in order.
    ready: VecDeque<u32>,
    /// Whether the history is full.
    full: bool,
    /// Moves left in this step: an end for loops that record nothing.
    moves: u32,
}

/// Why a state did not succeed.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) error: Option<Arc<str>>,
    pub(crate) cause: Option<Arc<str>>,
    /// Another name the error may be caught by.
    pub(crate) alias: Option<&'static str>,
    /// Neither retried nor caught: it ends the execution from any depth.
    pub(crate) fatal: bool,
}

impl Fault {
    fn new(error: &str, cause: impl Into<Arc<str>>) -> Self {
        Fault {
            error: Some(error.into()),
            cause: Some(cause.into()),
            alias: None,
            fatal: false,
        }
    }
}

impl<'m> Kernel<'m> {
    pub(crate) fn new(machine: &'m Machine, x: &'m mut Execution, seed: Seed) -> Self {
        Kernel {
            machine,
            x,
            draw: RefCell::new(Draw::new(seed)),
            commands: Vec::new(),
            ready: VecDeque::new(),
            full: false,
            moves: MAX_MOVES,
        }
    }

    /// Takes an input that was admitted.
    pub(crate) fn step(mut self, input: &Input) -> Vec<Command> {
        match input {
            Input::Start { identity, input } => self.start(identity, input),
            Input::TaskStarted { task, worker } => {
                self.with_task(task, |kernel, id| {
                    kernel.task_started(id, worker.as_deref())
                });
            }
            Input::TaskSubmitted { task, output } => {
                self.with_task(task, |kernel, id| kernel.task_submitted(id, output));
            }
            Input::TaskSucceeded { task, output } => {
                self.with_task(task, |kernel, id| kernel.task_succeeded(id, output));
            }
            Input::TaskFailed { task, error, cause } => self.with_task(task, |kernel, id| {
                kernel.task_failed(id, error.as_deref(), cause.as_deref());
            }),
            Input::TaskTimedOut { task } => {
                self.with_task(task, |kernel, id| kernel.task_timed_out(id, None));
            }
            Input::TaskHeartbeat { task } => {
                self.with_task(task, |kernel, id| kernel.beat(id));
            }
            Input::TimerFired { timer } => self.timer_fired(*timer),
            Input::Abort { error, cause } => {
                let error: Option<Arc<str>> = error.as_deref().map(Arc::from);
                let cause: Option<Arc<str>> = cause.as_deref().map(Arc::from);
                let details = Details::Failure {
                    error: error.clone(),
                    cause: cause.clone(),
                };
                self.end(
                    "ExecutionAborted",
                    EventId(0),
                    details,
                    Outcome::Aborted { error, cause },
                );
            }
        }
        self.drive();
        self.commands
    }

    fn with_task(&mut self, task: &crate::command::TaskKey, then: impl FnOnce(&mut Self, EventId)) {
        if let Some(id) = self.x.find(task) {
            then(self, id);
        }
    }

    fn start(&mut self, identity: &Identity, input: &Value) {
        let data = Data::new(input.clone());
        self.x.started = self.x.now;
        self.x.identity = Some(Arc::new(identity.clone()));
        self.x.input = Some(data.clone());
        let details = Details::ExecutionStarted {
            input: data.text(),
            role_arn: identity.role.as_str().into(),
        };
        self.append("ExecutionStarted", EventId(0), details);
        if let Some(seconds) = self.machine.timeout {
            self.set_timer(crate::time::after(self.x.now, seconds), Purpose::Execution);
        }
        // AWS leaves the first state's Entered event unchained.
        let start_at = self.machine.scopes[0].start_at.clone();
        let chain = self.open_chain(None, 0, EventId(0), None);
        self.go(chain, start_at, data);
    }

    /// Moves chains until each waits for something.
    fn drive(&mut self) {
        while let Some(id) = self.ready.pop_front() {
            while self.x.outcome.is_none() && self.turn(id) {
                if self.full {
                    self.overflow();
                }
            }
        }
        if self.full {
            self.overflow();
        }
    }

    /// One move of a chain; whether it can move on.
    fn turn(&mut self, id: u32) -> bool {
        self.moves = self.moves.saturating_sub(1);
        if self.moves == 0 {
            self.full = true;
        }
        let Some(chain) = self.x.chains.get_mut(&id) else {
            return false;
        };
        if let Some((name, data)) = chain.goto.take() {
            self.enter(id, name, data);
            return true;
        }
        let waits =
            !matches!(&chain.active, Some(active) if matches!(active.waiting, Waiting::Ready));
        if waits {
            return false;
        }
        if let Err(fault) = self.work(id) {
            self.fault(id, fault);
        }
        true
    }

    /// Ends the execution because its history is full.
    fn overflow(&mut self) {
        if self.x.outcome.is_some() {
            return;
        }
        let last = EventId(self.x.history.len() as u64);
        let cause =
            format!("The execution reached the maximum number of history events ({MAX_EVENTS}).");
        self.end_failed(last, Some("States.Runtime".into()), Some(cause.into()));
    }

    fn open_chain(
        &mut self,
        parent: Option<(u32, usize)>,
        scope: usize,
        last: EventId,
        item: Option<Arc<crate::execution::MapItem>>,
    ) -> u32 {
        let id = self.x.next_chain;
        self.x.next_chain += 1;
        let chain = Chain {
            parent,
            scope,
            last,
            tail: last,
            variables: IndexMap::new(),
            item,
            goto: None,
            active: None,
        };
        self.x.chains.insert(id, chain);
        id
    }

    /// Sends a chain to a state, after all that is ready now.
    fn go(&mut self, id: u32, name: Arc<str>, data: Data) {
        if let Some(chain) = self.x.chains.get_mut(&id) {
            chain.goto = Some((name, data));
            self.ready.push_back(id);
        }
    }

    /// Sends a chain to a state at once.
    fn go_on(&mut self, id: u32, name: Arc<str>, data: Data) {
        if let Some(chain) = self.x.chains.get_mut(&id) {
            chain.goto = Some((name, data));
            self.ready.push_front(id);
        }
    }

    fn enter(&mut self, id: u32, name: Arc<str>, data: Data) {
        let Some(state) = self.state_named(id, &name) else {
            return;
        };
        let details = Details::StateEntered {
            name: name.clone(),
            input: data.text(),
        };
        let entered = self.publish(id, events(&state.kind).entered, details);
        let entered_at = self.x.now;
        if let Some(chain) = self.x.chains.get_mut(&id) {
            chain.active = Some(Active {
                name,
                entered,
                entered_at,
                raw: data,
                used: Vec::new(),
                retries: 0,
                waiting: Waiting::Ready,
            });
        }
    }

    fn state_named(&self, id: u32, name: &str) -> Option<&'m State> {
        let chain = self.x.chains.get(&id)?;
        self.machine.scopes.get(chain.scope)?.states.get(name)
    }

    /// The state a chain is in.
    fn state(&self, id: u32) -> Option<&'m State> {
        let name = self.x.chains.get(&id)?.active.as_ref()?.name.clone();
        self.state_named(id, &name)
    }

    /// Leaves the chain's state with an output.
    fn exit(
        &mut self,
        id: u32,
        output: Data,
        assigned: Vec<(String, Value)>,
        next: Option<Arc<str>>,
    ) {
        let Some(state) = self.state(id) else { return };
        let texts: BTreeMap<String, String> = assigned
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect();
        let details = Details::StateExited {
            name: state.name.clone(),
            output: output.text(),
            assigned: texts,
        };
        self.publish(id, events(&state.kind).exited, details);
        if let Some(chain) = self.x.chains.get_mut(&id) {
            chain.active = None;
            chain.variables.extend(assigned);
        }
        match next {
            Some(next) => self.go_on(id, next, output),
            None => self.finish(id, output),
        }
    }

    /// Records an event that continues a chain.
    fn publish(&mut self, id: u32, kind: &'static str, details: Details) -> EventId {
        let previous = self
            .x
            .chains
            .get(&id)
            .map_or(EventId(0), |chain| chain.last);
        let event = self.append(kind, previous, details);
        if let Some(chain) = self.x.chains.get_mut(&id) {
            chain.last = event;
            chain.tail = event;
        }
        event
    }

    /// Records an event that a chain passes by: the next one points back past it.
    fn aside(&mut self, id: u32, kind: &'static str, previous: EventId) {
        let event = self.append(kind, previous, Details::None);
        if let Some(chain) = self.x.chains.get_mut(&id) {
            chain.tail = event;
        }
    }

    fn append(&mut self, kind: &'static str, previous: EventId, details: Details) -> EventId {
        if self.x.outcome.is_some() || self.x.history.len() + 1 >= MAX_EVENTS {
            // The last place is kept for the event that ends the execution.
            self.full = self.x.outcome.is_none();
            return EventId(self.x.history.len() as u64);
        }
        self.force(kind, previous, details)
    }

    fn force(&mut self, kind: &'static str, previous: EventId, details: Details) -> EventId {
        let id = EventId(self.x.history.len() as u64 + 1);
        self.x.history.push(HistoryEvent {
            id,
            previous,
            at: self.x.now,
            kind,
            details,
        });
        id
    }

    fn end_failed(&mut self, previous: EventId, error: Option<Arc<str>>, cause: Option<Arc<str>>) {
        let details = Details::Failure {
            error: error.clone(),
            cause: cause.clone(),
        };
        self.end(
            "ExecutionFailed",
            previous,
            details,
            Outcome::Failed { error, cause },
        );
    }

    /// Records the end of the execution and drops whatever is open.
    fn end(&mut self, kind: &'static str, previous: EventId, details: Details, outcome: Outcome) {
        if self.x.outcome.is_some() {
            return;
        }
        self.force(kind, previous, details);
        for (id, open) in std::mem::take(&mut self.x.tasks) {
            self.commands.push(Command::Cancel {
                task: id,
                token: open.task.token,
            });
        }
        for timer in std::mem::take(&mut self.x.timers).into_keys() {
            self.commands.push(Command::CancelTimer { timer });
        }
        self.x.tokens.clear();
        self.x.chains.clear();
        self.ready.clear();
        self.full = false;
        self.x.outcome = Some(outcome.clone());
        self.commands.push(Command::Complete(outcome));
    }
}

/// The names of a state type's events.
pub(crate) struct Events {
    pub(crate) entered: &'static str,
    pub(crate) exited: &'static str,
    pub(crate) aborted: &'static str,
}

pub(crate) fn events(kind: &Kind) -> Events {
    macro_rules! named {
        ($name:literal) => {
            Events {
                entered: concat!($name, "StateEntered"),
                exited: concat!($name, "StateExited"),
                aborted: concat!($name, "StateAborted"),
            }
        };
    }
    match kind {
        Kind::Pass { .. } => named!("Pass"),
        Kind::Task(_) => named!("Task"),
        Kind::Choice { .. } => named!("Choice"),
        Kind::Wait(_) => named!("Wait"),
        Kind::Succeed => named!("Succeed"),
        Kind::Fail { .. } => named!("Fail"),
        Kind::Parallel { .. } => named!("Parallel"),
        Kind::Map(_) => named!("Map"),
    }
}
