//! Executions in memory: taking inputs, carrying out commands.

mod perform;
mod recover;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use asl::{Command, Env, Execution, Identity, Input, Outcome, Record, Seed, TaskKey, TimerId};
use control::ports::Randomness;
use jiff::{SignedDuration, Timestamp};
use model::{Code, RunId};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::definition::{self, Call, Machines};
use super::log::{self, Begun, Header};
use super::timers::Timers;
use super::{
    Alarm, ExecutionView, Handlers, RunnerError, RunnerOptions, RunnerPorts, Started, Status, Told,
};
use crate::store::Store;

/// The name of the state machine in ARNs.
const MACHINE_NAME: &str = "checkpoint";

pub(super) struct Inner {
    pub(super) store: Arc<Store>,
    handlers: Arc<dyn Handlers>,
    alarm: Arc<dyn Alarm>,
    randomness: Arc<dyn Randomness>,
    options: RunnerOptions,
    /// The definition for new executions.
    definition: String,
    machine: Arc<asl::Machine>,
    machines: Mutex<Machines>,
    runs: RwLock<HashMap<Arc<str>, Arc<Run>>>,
    /// Which execution an open token belongs to.
    tokens: Mutex<HashMap<Arc<str>, Arc<Run>>>,
    timers: Timers,
    permits: Semaphore,
    tasks: TaskTracker,
    /// Nothing new begins.
    draining: CancellationToken,
    /// Nothing moves any more.
    halted: CancellationToken,
}

/// One execution in memory, until it is over.
struct Run {
    name: Arc<str>,
    machine: Arc<asl::Machine>,
    header: Header,
    live: AsyncMutex<Live>,
    over: Notify,
}

struct Live {
    execution: Execution,
    /// Steps that change nothing outside; they go along with the next one that does.
    unwritten: Vec<Record>,
    tokens: Vec<Arc<str>>,
    timers: HashMap<TimerId, Timestamp>,
}

/// Whether a step has to be durable before the call returns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Urgency {
    Durable,
    /// Losing it in a crash loses a history event and nothing else.
    Lazy,
}

struct Seeds<'a>(&'a dyn Randomness);

impl asl::RandomSource for Seeds<'_> {
    fn seed(&mut self) -> Seed {
        let mut seed = [0; 32];
        self.0.fill(&mut seed);
        Seed(seed)
    }
}

pub(super) fn closing() -> RunnerError {
    RunnerError::Unavailable("the runner is closing".to_owned())
}

impl Inner {
    pub(super) fn new(
        ports: RunnerPorts,
        definition: &str,
        options: RunnerOptions,
    ) -> Result<Self, RunnerError> {
        let RunnerPorts {
            store,
            handlers,
            alarm,
            randomness,
        } = ports;
        let (definition, machine) = definition::compile(definition)?;
        let machine = Arc::new(machine);
        let mut machines = Machines::default();
        machines.add(machine.clone());
        Ok(Self {
            store,
            handlers,
            alarm,
            randomness,
            options,
            definition,
            machine,
            machines: Mutex::new(machines),
            runs: RwLock::default(),
            tokens: Mutex::default(),
            timers: Timers::default(),
            permits: Semaphore::new(options.invocations),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            halted: CancellationToken::new(),
        })
    }

    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn(work)
    }

    pub(super) fn running(&self) -> usize {
        self.runs.read().len()
    }

    fn find(&self, run: &str) -> Option<Arc<Run>> {
        self.runs.read().get(run).cloned()
    }

    pub(super) async fn start(
        self: &Arc<Self>,
        name: &RunId,
        input: Value,
    ) -> Result<Started, RunnerError> {
        if self.draining.is_cancelled() {
            return Err(closing());
        }
        let mut execution = Execution::new();
        let identity = Identity::local(MACHINE_NAME, name.as_str());
        let start = Input::Start {
            identity,
            input: input.clone(),
        };
        let step = self.step(&self.machine, &mut execution, start)?;
        let header = Header {
            definition: self.machine.digest().to_owned(),
            status: Status::Running,
            started_at: step.record.at,
            ended_at: None,
            output: None,
            error: None,
            cause: None,
        };
        let begun = log::begin(
            &self.store,
            name.as_str(),
            header.clone(),
            &step.record,
            &self.definition,
        )
        .await?;
        if let Begun::Known(first) = begun {
            return if log::first_input(&first)? == input {
                Ok(Started::Known)
            } else {
                Err(RunnerError::NameTaken(name.clone()))
            };
        }
        let run = self.admit(
            name.as_str().into(),
            self.machine.clone(),
            header,
            execution,
        );
        let mut live = run.live.lock().await;
        if let Some(ended) = live.ended(&run) {
            // It was over at once: a machine without a single task.
            log::append(&self.store, &run.name, &[], Some(ended)).await?;
        }
        self.carry_out(&run, &mut live, step.commands);
        Ok(Started::New)
    }

    fn admit(
        &self,
        name: Arc<str>,
        machine: Arc<asl::Machine>,
        header: Header,
        execution: Execution,
    ) -> Arc<Run> {
        let live = Live {
            execution,
            unwritten: Vec::new(),
            tokens: Vec::new(),
            timers: HashMap::new(),
        };
        let run = Arc::new(Run {
            name: name.clone(),
            machine,
            header,
            live: AsyncMutex::new(live),
            over: Notify::new(),
        });
        self.runs.write().insert(name, run.clone());
        run
    }

    fn step(
        &self,
        machine: &asl::Machine,
        execution: &mut Execution,
        input: Input,
    ) -> Result<asl::Step, asl::Refused> {
        let mut seeds = Seeds(self.randomness.as_ref());
        let mut env = Env {
            now: self.alarm.now(),
            random: &mut seeds,
        };
        execution.step(machine, input, &mut env)
    }

    /// Takes one input: steps, writes, does. A refused input changes nothing.
    async fn advance(
        self: &Arc<Self>,
        run: &Arc<Run>,
        input: Input,
        urgency: Urgency,
    ) -> Result<Told, RunnerError> {
        if self.halted.is_cancelled() {
            return Err(closing());
        }
        let used = match &input {
            Input::TaskSucceeded { task, .. } | Input::TaskFailed { task, .. } => {
                Some(task.clone())
            }
            _ => None,
        };
        let mut live = run.live.lock().await;
        let used = used.and_then(|key| Some(live.execution.task(&key)?.token.clone()));
        let step = match self.step(&run.machine, &mut live.execution, input) {
            Ok(step) => step,
            Err(refused) => {
                tracing::debug!(run = %run.name, %refused, "an answer came too late");
                return Ok(Told::Unknown);
            }
        };
        live.unwritten.push(step.record);
        if urgency == Urgency::Durable {
            self.write(run, &mut live).await?;
        }
        if let Some(token) = used {
            self.tokens.lock().remove(&token);
            live.tokens.retain(|open| *open != token);
        }
        self.carry_out(run, &mut live, step.commands);
        Ok(Told::Taken)
    }

    async fn write(&self, run: &Run, live: &mut Live) -> Result<(), RunnerError> {
        let ended = live.ended(run);
        if let Err(error) = log::append(&self.store, &run.name, &live.unwritten, ended).await {
            // Memory is ahead of the disk now. Nothing may be done from it any more: only
            // a new start, which reads the disk, knows what is so.
            self.draining.cancel();
            self.halted.cancel();
            tracing::error!(%error, run = %run.name, "executions stop: a step could not be written");
            return Err(error.into());
        }
        live.unwritten.clear();
        Ok(())
    }

    fn carry_out(self: &Arc<Self>, run: &Arc<Run>, live: &mut Live, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Schedule(task) => self.schedule(run, live, task),
                Command::Cancel { token, .. } => {
                    self.tokens.lock().remove(&token);
                    live.tokens.retain(|open| *open != token);
                }
                Command::SetTimer { timer, at } => {
                    if let Some(before) = live.timers.insert(timer, at) {
                        self.timers.remove(before, &run.name, timer);
                    }
                    self.timers.set(at, &run.name, timer);
                }
                Command::CancelTimer { timer } => {
                    if let Some(at) = live.timers.remove(&timer) {
                        self.timers.remove(at, &run.name, timer);
                    }
                }
                Command::Complete(outcome) => {
                    tracing::info!(run = %run.name, status = outcome.status(), "execution over");
                    self.runs.write().remove(&run.name);
                    let mut tokens = self.tokens.lock();
                    for token in live.tokens.drain(..) {
                        tokens.remove(&token);
                    }
                    drop(tokens);
                    for (timer, at) in live.timers.drain() {
                        self.timers.remove(at, &run.name, timer);
                    }
                    run.over.notify_waiters();
                }
            }
        }
    }

    pub(super) async fn tell(
        self: &Arc<Self>,
        token: &Arc<str>,
        input: Input,
    ) -> Result<Told, RunnerError> {
        let Some(run) = self.tokens.lock().get(token).cloned() else {
            tracing::info!("a task's outcome came for a token that is not open");
            return Ok(Told::Unknown);
        };
        let urgency = match input {
            Input::TaskHeartbeat { .. } => Urgency::Lazy,
            _ => Urgency::Durable,
        };
        self.advance(&run, input, urgency).await
    }

    pub(super) async fn stop_execution(
        self: &Arc<Self>,
        name: &RunId,
        error: Option<String>,
        cause: Option<String>,
    ) -> Result<(), RunnerError> {
        match self.find(name.as_str()) {
            Some(run) => {
                let abort = Input::Abort { error, cause };
                self.advance(&run, abort, Urgency::Durable)
                    .await
                    .map(|_| ())
            }
            None => self.header(name).map(|_| ()),
        }
    }

    /// Fires timers at their moments until the runner closes.
    pub(super) fn watch_timers(self: &Arc<Self>) {
        let inner = self.clone();
        self.spawn(async move {
            loop {
                for (name, timer) in inner.timers.due(inner.alarm.now()) {
                    let Some(run) = inner.find(&name) else {
                        continue;
                    };
                    let inner = inner.clone();
                    inner.clone().spawn(async move {
                        run.live.lock().await.timers.remove(&timer);
                        let fired = Input::TimerFired { timer };
                        // Unwritten, it comes due again after the next start.
                        let _ = inner.advance(&run, fired, Urgency::Durable).await;
                    });
                }
                let next = inner.timers.next();
                let moment = async {
                    match next {
                        Some(at) => inner.alarm.until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = inner.draining.cancelled() => return,
                    () = inner.timers.changed.notified() => {}
                    () = moment => {}
                }
            }
        });
    }

    fn header(&self, name: &RunId) -> Result<Header, RunnerError> {
        let header = log::header(&self.store, name.as_str())?;
        header.ok_or_else(|| RunnerError::NotFound(name.clone()))
    }

    pub(super) async fn describe(&self, name: &RunId) -> Result<ExecutionView, RunnerError> {
        let states = match self.find(name.as_str()) {
            Some(run) => {
                let live = run.live.lock().await;
                live.execution.active_states().map(str::to_owned).collect()
            }
            None => Vec::new(),
        };
        let header = self.header(name)?;
        Ok(ExecutionView {
            run: name.clone(),
            status: header.status,
            started_at: header.started_at,
            ended_at: header.ended_at,
            states: if header.status == Status::Running {
                states
            } else {
                Vec::new()
            },
            output: header.output,
            error: header.error,
            cause: header.cause,
        })
    }

    pub(super) async fn history(&self, name: &RunId) -> Result<Vec<Value>, RunnerError> {
        let events = |execution: &Execution| {
            execution
                .history()
                .iter()
                .map(asl::HistoryEvent::to_json)
                .collect()
        };
        if let Some(run) = self.find(name.as_str()) {
            return Ok(events(&run.live.lock().await.execution));
        }
        self.header(name)?;
        Ok(events(&self.load(name.as_str())?.2))
    }

    pub(super) async fn ended(&self, name: &RunId) -> Result<ExecutionView, RunnerError> {
        while let Some(run) = self.find(name.as_str()) {
            let over = run.over.notified();
            tokio::pin!(over);
            over.as_mut().enable();
            if self.find(name.as_str()).is_none() {
                break;
            }
            tokio::select! {
                () = self.draining.cancelled() => return Err(closing()),
                () = over => {}
            }
        }
        self.describe(name).await
    }

    pub(super) async fn shutdown(&self, at_most: Duration) {
        // Answers of phases at work are still taken; what they lead to waits for the next
        // start.
        self.draining.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(at_most, self.tasks.wait()).await;
        self.halted.cancel();
    }

    #[cfg(test)]
    pub(super) fn open_timers(&self) -> usize {
        self.timers.len()
    }

    #[cfg(test)]
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    #[cfg(test)]
    pub(super) fn open_tokens(&self) -> usize {
        self.tokens.lock().len()
    }
}

impl Live {
    /// The header before and after the end, where the end has come.
    fn ended(&self, run: &Run) -> Option<(Header, Header)> {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let before = run.header.clone();
        let mut after = before.clone();
        match self.execution.outcome()? {
            Outcome::Succeeded { output } => {
                after.status = Status::Succeeded;
                after.output = Some(output.value().clone());
            }
            Outcome::Failed { error, cause } => {
                after.status = Status::Failed;
                (after.error, after.cause) = (text(error), text(cause));
            }
            Outcome::TimedOut => after.status = Status::TimedOut,
            Outcome::Aborted { error, cause } => {
                after.status = Status::Aborted;
                (after.error, after.cause) = (text(error), text(cause));
            }
        }
        after.ended_at = self.execution.history().last().map(|event| event.at);
        Some((before, after))
    }
}
