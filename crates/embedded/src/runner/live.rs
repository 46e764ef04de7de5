//! Executions in memory: taking inputs, carrying out commands.

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
/// How long, at most, timers that came due while nobody ran are held back for tasks that
/// are asked for again.
const LONGEST_GRACE: SignedDuration = SignedDuration::from_secs(300);

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

    fn schedule(self: &Arc<Self>, run: &Arc<Run>, live: &mut Live, task: asl::Task) {
        if waits_for_token(&task) {
            self.tokens.lock().insert(task.token.clone(), run.clone());
            live.tokens.push(task.token.clone());
        }
        let (inner, run) = (self.clone(), run.clone());
        self.spawn(async move { inner.perform(&run, task).await });
    }

    /// Has a task done, and takes the answer.
    async fn perform(self: &Arc<Self>, run: &Arc<Run>, task: asl::Task) {
        let key = TaskKey::Scheduled(task.id);
        let failed = |error: &str, cause: String| Input::TaskFailed {
            task: key.clone(),
            error: Some(error.to_owned()),
            cause: Some(cause),
        };
        let call = match Call::of(&task) {
            Ok(call) => call,
            Err(why) => {
                let _ = self
                    .advance(run, failed("States.Runtime", why), Urgency::Durable)
                    .await;
                return;
            }
        };
        // The semaphore is fair: whoever came first goes first.
        let permit = tokio::select! {
            () = self.draining.cancelled() => return,
            permit = self.permits.acquire() => permit,
        };
        if run.live.lock().await.execution.task(&key).is_none() {
            return;
        }
        let limit = task
            .timeout
            .map_or(self.options.longest_invocation, Duration::from_secs);
        let (handlers, phase, wrapped) = (self.handlers.clone(), call.phase, call.is_wrapped());
        let payload = call.payload;
        let invocation = tokio::spawn(async move { handlers.invoke(phase, payload).await });
        let invocation = AbortOnDropHandle::new(invocation);
        let answer = tokio::time::timeout(limit, invocation).await;
        drop(permit);
        let (input, urgency) = match answer {
            Ok(Ok(Ok(output))) => {
                let output = Call::result(wrapped, output);
                if waits_for_token(&task) {
                    (Input::TaskSubmitted { task: key, output }, Urgency::Lazy)
                } else {
                    (Input::TaskSucceeded { task: key, output }, Urgency::Durable)
                }
            }
            Ok(Ok(Err(refusal))) => {
                let code = refusal.code.as_str();
                let cause = json!({ "errorMessage": refusal.message, "errorType": code });
                (failed(code, cause.to_string()), Urgency::Durable)
            }
            Ok(Err(panic)) => {
                tracing::error!(run = %run.name, state = %task.state, %panic, "a phase broke off");
                let code = Code::Transient.as_str();
                let cause = json!({ "errorMessage": "the phase broke off", "errorType": code });
                (failed(code, cause.to_string()), Urgency::Durable)
            }
            Err(_) => (Input::TaskTimedOut { task: key }, Urgency::Durable),
        };
        // What cannot be written now is asked for again after the next start.
        let _ = self.advance(run, input, urgency).await;
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

    /// Replays everything that runs, then goes on with it.
    pub(super) async fn recover(self: &Arc<Self>) -> Result<(), RunnerError> {
        let mut after = None;
        let mut recovered = Vec::new();
        loop {
            let page = log::list(&self.store, Status::Running, 1000, after.as_ref())?;
            for name in page.items {
                match self.load(&name) {
                    Ok((machine, header, execution)) => {
                        recovered.push(self.admit(name.into(), machine, header, execution));
                    }
                    // One that cannot be replayed must not keep the others from running.
                    Err(error) => {
                        tracing::error!(run = %name, %error, "an execution cannot go on");
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if !recovered.is_empty() {
            tracing::info!(executions = recovered.len(), "going on where it stopped");
        }
        // The oldest first, as before.
        for run in recovered.iter().rev() {
            let mut live = run.live.lock().await;
            if let Some(ended) = live.ended(run) {
                // Begun and over in one step, and stopped before the end was written.
                log::append(&self.store, &run.name, &[], Some(ended)).await?;
            }
            let not_before = self.alarm.now().saturating_add(grace(&live.execution));
            let not_before = not_before.unwrap_or(Timestamp::MAX);
            let mut commands = live.execution.pending();
            for command in &mut commands {
                if let Command::SetTimer { at, .. } = command {
                    *at = (*at).max(not_before);
                }
            }
            self.carry_out(run, &mut live, commands);
        }
        Ok(())
    }

    fn load(&self, name: &str) -> Result<(Arc<asl::Machine>, Header, Execution), RunnerError> {
        let missing = || RunnerError::Unavailable(format!("execution {name} has no header"));
        let header = log::header(&self.store, name)?.ok_or_else(missing)?;
        let machine = self.machine_of(&header.definition)?;
        let execution = Execution::replay(&machine, log::records(&self.store, name)?)?;
        Ok((machine, header, execution))
    }

    fn machine_of(&self, digest: &str) -> Result<Arc<asl::Machine>, RunnerError> {
        if let Some(machine) = self.machines.lock().get(digest) {
            return Ok(machine);
        }
        let missing = || RunnerError::Definition(vec![format!("definition {digest} is not kept")]);
        let text = log::definition(&self.store, digest)?.ok_or_else(missing)?;
        let machine = Arc::new(definition::parse(&text)?);
        self.machines.lock().add(machine.clone());
        Ok(machine)
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

fn waits_for_token(task: &asl::Task) -> bool {
    matches!(
        task.kind,
        asl::TaskKind::Service {
            pattern: asl::Pattern::Callback,
            ..
        }
    )
}

/// For how long timers of an execution are held back after a start. Its open tasks are
/// asked for again and deserve the time they would have had, instead of a timeout for the
/// time in which nobody ran.
fn grace(execution: &Execution) -> SignedDuration {
    let limits = execution
        .tasks()
        .flat_map(|task| [task.timeout, task.heartbeat]);
    let longest = limits.flatten().max().unwrap_or(0);
    let longest = i64::try_from(longest).unwrap_or(i64::MAX);
    SignedDuration::from_secs(longest).min(LONGEST_GRACE)
}
