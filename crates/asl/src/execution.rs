//! An execution: its state, its history, and the ways to move it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::Value;

use crate::command::{
    Command, Env, Identity, Input, Outcome, Record, Refused, Step, Task, TaskKey, TimerId,
};
use crate::engine::Kernel;
use crate::event::{EventId, HistoryEvent};
use crate::json::{Data, too_deep};
use crate::limits::{MAX_DATA_BYTES, MAX_NAME_CHARS};
use crate::machine::Machine;

/// One execution of a machine.
///
/// It is moved by [`Execution::step`], which is a pure function of what came before, the input,
/// the time and one seed. The [`Record`]s of all accepted steps are the execution: persist them
/// in order, and [`Execution::replay`] gives back the same state, the same history and the same
/// pending commands. History events are derived from them and need not be stored.
#[derive(Debug)]
pub struct Execution {
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) digest: String,
    pub(crate) history: Vec<HistoryEvent>,
    pub(crate) input: Option<Data>,
    pub(crate) started: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) steps: u64,
    pub(crate) chains: BTreeMap<u32, Chain>,
    pub(crate) next_chain: u32,
    pub(crate) tasks: BTreeMap<EventId, OpenTask>,
    pub(crate) tokens: BTreeMap<Arc<str>, EventId>,
    pub(crate) timers: BTreeMap<TimerId, Timer>,
    pub(crate) next_timer: u64,
    pub(crate) outcome: Option<Outcome>,
}

/// One line of control: the machine's own, a Parallel's branch, or a Map's iteration.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) parent: Option<(u32, usize)>,
    pub(crate) scope: usize,
    /// The last event of the chain: what the next one points back to.
    pub(crate) last: EventId,
    /// The last event recorded, asides included: what an event that ends things points back to.
    pub(crate) tail: EventId,
    pub(crate) variables: IndexMap<String, Value>,
    pub(crate) item: Option<Arc<MapItem>>,
    /// Where to go next, when between states.
    pub(crate) goto: Option<(Arc<str>, Data)>,
    pub(crate) active: Option<Active>,
}

#[derive(Debug)]
pub(crate) struct MapItem {
    pub(crate) index: u64,
    pub(crate) value: Value,
}

/// The state a chain is in.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) name: Arc<str>,
    pub(crate) entered: EventId,
    pub(crate) entered_at: Timestamp,
    pub(crate) raw: Data,
    /// How often each retrier was used in this visit.
    pub(crate) used: Vec<u64>,
    pub(crate) retries: u64,
    pub(crate) waiting: Waiting,
}

#[derive(Debug)]
pub(crate) enum Waiting {
    /// To be run (again).
    Ready,
    Task(EventId),
    /// A Wait state's timer.
    Wait(TimerId),
    /// The delay before a retry.
    Backoff(TimerId),
    Children(Children),
}

#[derive(Debug)]
pub(crate) struct Children {
    pub(crate) open: BTreeMap<usize, u32>,
    pub(crate) results: Vec<Option<Value>>,
    /// The highest event of the children so far.
    pub(crate) last: EventId,
    /// Iterations that have not started: their indexes and items.
    pub(crate) waiting: VecDeque<(usize, Value)>,
    /// What a Map's ItemSelector reads.
    pub(crate) input: Data,
}

#[derive(Debug, Clone)]
pub(crate) struct OpenTask {
    pub(crate) task: Task,
    pub(crate) chain: u32,
    pub(crate) timeout: Option<TimerId>,
    pub(crate) heartbeat: Option<TimerId>,
    pub(crate) started: bool,
    pub(crate) submitted: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Timer {
    pub(crate) at: Timestamp,
    pub(crate) purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Wait(u32),
    Backoff(u32),
    TaskTimeout(EventId),
    Heartbeat(EventId),
    Execution,
}

impl Default for Execution {
    fn default() -> Self {
        Execution::new()
    }
}

impl Execution {
    /// An execution to which nothing happened yet.
    pub fn new() -> Self {
        Execution {
            identity: None,
            digest: String::new(),
            history: Vec::new(),
            input: None,
            started: Timestamp::UNIX_EPOCH,
            now: Timestamp::UNIX_EPOCH,
            steps: 0,
            chains: BTreeMap::new(),
            next_chain: 0,
            tasks: BTreeMap::new(),
            tokens: BTreeMap::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            outcome: None,
        }
    }

    /// Moves the execution by one input.
    ///
    /// # Errors
    /// When the input does not fit; the execution is unchanged and no seed was drawn.
    pub fn step(
        &mut self,
        machine: &Machine,
        input: Input,
        env: &mut Env<'_>,
    ) -> Result<Step, Refused> {
        self.admit(machine, &input)?;
        let record = Record {
            number: self.steps,
            at: if self.steps == 0 {
                env.now
            } else {
                env.now.max(self.now)
            },
            seed: env.random.seed(),
            definition: (self.steps == 0).then(|| machine.digest().to_owned()),
            input,
        };
        Ok(self.run(machine, record))
    }

    /// Repeats a recorded step.
    ///
    /// # Errors
    /// When the record does not follow the ones before; the execution is unchanged.
    pub fn apply(&mut self, machine: &Machine, record: Record) -> Result<Step, Refused> {
        if record.number != self.steps {
            return Err(Refused::OutOfOrder {
                expected: self.steps,
                found: record.number,
            });
        }
        if let Some(expected) = &record.definition
            && *expected != machine.digest()
        {
            let expected = expected.clone();
            return Err(Refused::OtherDefinition {
                expected,
                found: machine.digest().to_owned(),
            });
        }
        self.admit(machine, &record.input)?;
        Ok(self.run(machine, record))
    }

    /// Repeats a whole log.
    ///
    /// # Errors
    /// When the log is not one of this machine.
    pub fn replay(
        machine: &Machine,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, Refused> {
        let mut execution = Execution::new();
        for record in records {
            execution.apply(machine, record)?;
        }
        Ok(execution)
    }

    /// The commands that still matter: open tasks and set timers, or the end. What a runner
    /// carries out after it loaded an execution; repeating one is harmless.
    pub fn pending(&self) -> Vec<Command> {
        if let Some(outcome) = &self.outcome {
            return vec![Command::Complete(outcome.clone())];
        }
        let tasks = self
            .tasks
            .values()
            .map(|open| Command::Schedule(open.task.clone()));
        let timers = self
            .timers
            .iter()
            .map(|(&timer, set)| Command::SetTimer { timer, at: set.at });
        tasks.chain(timers).collect()
    }

    /// All events so far.
    pub fn history(&self) -> &[HistoryEvent] {
        &self.history
    }

    /// Who it is; `None` before the start.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }

    /// How it ended; `None` while it runs.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// AWS's word for how it is: `RUNNING`, or that of its [`Outcome`].
    pub fn status(&self) -> &'static str {
        self.outcome.as_ref().map_or("RUNNING", Outcome::status)
    }

    /// How many steps were taken: the number of the next record.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The open tasks, in the order they were scheduled.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().map(|open| &open.task)
    }

    /// An open task.
    pub fn task(&self, key: &TaskKey) -> Option<&Task> {
        self.find(key)
            .and_then(|id| self.tasks.get(&id))
            .map(|open| &open.task)
    }

    /// The earliest timer that is set.
    pub fn next_timer(&self) -> Option<(TimerId, Timestamp)> {
        self.timers
            .iter()
            .map(|(&id, timer)| (id, timer.at))
            .min_by_key(|&(id, at)| (at, id))
    }

    /// The states control is in, outermost first.
    pub fn active_states(&self) -> impl Iterator<Item = &str> {
        self.chains
            .values()
            .filter_map(|chain| chain.active.as_ref())
            .map(|active| &*active.name)
    }

    pub(crate) fn find(&self, key: &TaskKey) -> Option<EventId> {
        match key {
            TaskKey::Scheduled(id) => self.tasks.contains_key(id).then_some(*id),
            TaskKey::Token(token) => self.tokens.get(token.as_str()).copied(),
        }
    }

    fn run(&mut self, machine: &Machine, record: Record) -> Step {
        let from = self.history.len();
        self.steps += 1;
        self.now = record.at;
        if let Some(definition) = &record.definition {
            self.digest = definition.clone();
        }
        let commands = Kernel::new(machine, self, record.seed).step(&record.input);
        Step {
            events: self.history[from..].to_vec(),
            commands,
            record,
        }
    }

    /// Whether an input may come now.
    fn admit(&self, machine: &Machine, input: &Input) -> Result<(), Refused> {
        if let Input::Start { identity, input } = input {
            if self.steps > 0 {
                return Err(Refused::AlreadyStarted);
            }
            for name in [&identity.name, &identity.state_machine_name] {
                if name.chars().count() > MAX_NAME_CHARS {
                    return Err(Refused::NameTooLong(name.clone()));
                }
            }
            if too_deep(input) {
                return Err(Refused::TooDeep);
            }
            let bytes = input.to_string().len();
            if bytes > MAX_DATA_BYTES {
                return Err(Refused::InputTooLarge { bytes });
            }
            return Ok(());
        }
        if self.steps == 0 {
            return Err(Refused::NotStarted);
        }
        if self.outcome.is_some() {
            return Err(Refused::Over);
        }
        if self.digest != machine.digest() {
            let expected = self.digest.clone();
            return Err(Refused::OtherDefinition {
                expected,
                found: machine.digest().to_owned(),
            });
        }
        match input {
            Input::TaskSubmitted { output, .. } | Input::TaskSucceeded { output, .. }
                if too_deep(output) =>
            {
                return Err(Refused::TooDeep);
            }
            _ => {}
        }
        match input {
            Input::TaskStarted { task, .. }
            | Input::TaskSubmitted { task, .. }
            | Input::TaskSucceeded { task, .. }
            | Input::TaskFailed { task, .. }
            | Input::TaskTimedOut { task }
            | Input::TaskHeartbeat { task } => {
                self.find(task).map(|_| ()).ok_or(Refused::NoSuchTask)
            }
            Input::TimerFired { timer } => self
                .timers
                .contains_key(timer)
                .then_some(())
                .ok_or(Refused::NoSuchTimer),
            Input::Start { .. } | Input::Abort { .. } => Ok(()),
        }
    }
}

/// [`Execution::step`] as a plain function.
///
/// # Errors
/// When the input does not fit; the execution is unchanged.
pub fn step(
    machine: &Machine,
    execution: &mut Execution,
    input: Input,
    env: &mut Env<'_>,
) -> Result<Step, Refused> {
    execution.step(machine, input, env)
}
