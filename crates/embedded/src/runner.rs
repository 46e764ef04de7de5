//! Runs the state machine: a durable home for [`asl`] executions.
//!
//! An execution *is* the log of its accepted inputs. Each input is appended to the store
//! before anything it asks for is done, through the same writer as the catalogue, so that
//! one flush serves many executions. After a crash at any moment [`Runner::open`] replays
//! what is running and asks for everything again that has no answer yet: phases are
//! idempotent, task tokens stay what they were, and an answer that comes twice counts once.

mod definition;
mod live;
mod log;
mod timers;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use control::ports::{Cursor, Randomness};
use control::{Control, Phase};
use jiff::Timestamp;
use model::{Refusal, RunId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::{Store, StoreError};
use live::Inner;

/// What carries out the phases of a checkpoint.
#[async_trait]
pub trait Handlers: Send + Sync {
    /// One phase function. May be called again with the same input, also when an earlier
    /// call did its work and its answer was lost.
    ///
    /// # Errors
    /// A refusal; its code is the error that `ErrorEquals` in the state machine matches.
    async fn invoke(&self, phase: Phase, input: Value) -> Result<Value, Refusal>;
}

#[async_trait]
impl Handlers for Control {
    async fn invoke(&self, phase: Phase, input: Value) -> Result<Value, Refusal> {
        self.run_phase(phase, input).await
    }
}

/// A clock that can also wait: what timers run on.
#[async_trait]
pub trait Alarm: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Returns at a moment, or earlier.
    async fn until(&self, at: Timestamp);
}

/// The longest sleep at a time, so that a clock that was set, or a machine that slept, is
/// noticed soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

#[async_trait]
impl Alarm for crate::SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn until(&self, at: Timestamp) {
        let left = at.duration_since(Timestamp::now());
        let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}

/// How an execution is: AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Not over.
    Running,
    /// Over, with an output.
    Succeeded,
    /// Over, with an error that no state caught.
    Failed,
    /// The machine's own time limit passed.
    TimedOut,
    /// Stopped from outside.
    Aborted,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Aborted,
    ];

    /// AWS's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
            Self::Aborted => "ABORTED",
        }
    }
}

/// An execution, seen from outside.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExecutionView {
    /// Its name.
    pub run: RunId,
    /// How it is.
    pub status: Status,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The states it is in, outermost first; empty when it is over.
    pub states: Vec<String>,
    /// Its output, when it succeeded.
    pub output: Option<Value>,
    /// The error's name, when it failed.
    pub error: Option<String>,
    /// A text about the error.
    pub cause: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where to go on, where there is more.
    pub next: Option<Cursor>,
}

/// What became of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs.
    New,
    /// It was started before, with the same input; nothing was done.
    Known,
}

/// What became of a task's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The execution goes on with it.
    Taken,
    /// No open task has this token: it was used, it timed out, or it never was.
    Unknown,
}

/// Why the runner did not do as asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// The definition cannot be run.
    #[error("state machine: {}", .0.join("; "))]
    Definition(Vec<String>),
    /// The name was used for another input.
    #[error("execution {0} was started with another input")]
    NameTaken(RunId),
    /// The engine does not take the input.
    #[error("execution refused: {0}")]
    Refused(#[from] asl::Refused),
    /// There is no such execution.
    #[error("no execution {0}")]
    NotFound(RunId),
    /// The cursor is not one of this list.
    #[error("the cursor belongs to another list")]
    Cursor,
    /// A list of 1 to 1,000 can be asked for.
    #[error("expected a limit of 1 to 1000, found {0}")]
    Limit(u32),
    /// The store could not be asked, or the runner is closing.
    #[error("executions unavailable: {0}")]
    Unavailable(String),
}

impl From<StoreError> for RunnerError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.0)
    }
}

/// The runner's limits.
#[derive(Clone, Copy, Debug)]
pub struct RunnerOptions {
    /// The most phases at work at once; the rest wait in the order they came.
    pub invocations: usize,
    /// How long a phase may take where its state names no timeout (Lambda's limit: 900 s).
    pub longest_invocation: Duration,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        Self {
            invocations: 64,
            longest_invocation: Duration::from_secs(900),
        }
    }
}

/// What the runner needs of the world.
pub(crate) struct RunnerPorts {
    pub(crate) store: Arc<Store>,
    pub(crate) handlers: Arc<dyn Handlers>,
    pub(crate) alarm: Arc<dyn Alarm>,
    pub(crate) randomness: Arc<dyn Randomness>,
}

/// The runner. Clones are the same runner.
#[derive(Clone)]
pub struct Runner {
    inner: Arc<Inner>,
}

impl Runner {
    /// A runner with a file of its own. [`crate::Stack`] keeps executions in the
    /// catalogue's file instead, so that both share their flushes.
    ///
    /// # Errors
    /// [`RunnerError::Unavailable`] where the file cannot be opened,
    /// [`RunnerError::Definition`] where the definition cannot be run.
    pub async fn on_file(
        file: &std::path::Path,
        handlers: Arc<dyn Handlers>,
        definition: &str,
        options: RunnerOptions,
    ) -> Result<Self, RunnerError> {
        let ports = RunnerPorts {
            store: Arc::new(Store::open(file)?),
            handlers,
            alarm: Arc::new(crate::SystemClock),
            randomness: Arc::new(crate::SystemRandomness),
        };
        Self::open(ports, definition, options).await
    }

    /// Reads the definition, takes up what was running, and goes on with it.
    pub(crate) async fn open(
        ports: RunnerPorts,
        definition: &str,
        options: RunnerOptions,
    ) -> Result<Self, RunnerError> {
        let inner = Inner::new(ports, definition, options)?;
        let inner = Arc::new(inner);
        inner.recover().await?;
        inner.watch_timers();
        Ok(Self { inner })
    }

    /// Starts an execution. The name is its idempotency key: a second start with the same
    /// input changes nothing.
    ///
    /// # Errors
    /// [`RunnerError::NameTaken`] for a known name with another input,
    /// [`RunnerError::Refused`] for an input that is too large or too deep.
    pub async fn start_execution(&self, run: &RunId, input: Value) -> Result<Started, RunnerError> {
        let run = run.clone();
        self.detached(async move |inner| inner.start(&run, input).await)
            .await
    }

    /// SendTaskSuccess.
    ///
    /// # Errors
    /// [`RunnerError::Unavailable`]: it is not known whether it was taken. Say it again.
    pub async fn task_succeeded(&self, token: &str, output: Value) -> Result<Told, RunnerError> {
        self.tell(token, |task| asl::Input::TaskSucceeded { task, output })
            .await
    }

    /// SendTaskFailure.
    ///
    /// # Errors
    /// [`RunnerError::Unavailable`]: it is not known whether it was taken. Say it again.
    pub async fn task_failed(
        &self,
        token: &str,
        error: String,
        cause: String,
    ) -> Result<Told, RunnerError> {
        let (error, cause) = (Some(error), Some(cause));
        self.tell(token, |task| asl::Input::TaskFailed { task, error, cause })
            .await
    }

    /// SendTaskHeartbeat.
    ///
    /// # Errors
    /// [`RunnerError::Unavailable`].
    pub async fn task_heartbeat(&self, token: &str) -> Result<Told, RunnerError> {
        self.tell(token, |task| asl::Input::TaskHeartbeat { task })
            .await
    }

    /// StopExecution. One that is over stays as it is.
    ///
    /// # Errors
    /// [`RunnerError::NotFound`], [`RunnerError::Unavailable`].
    pub async fn stop_execution(
        &self,
        run: &RunId,
        error: Option<String>,
        cause: Option<String>,
    ) -> Result<(), RunnerError> {
        let run = run.clone();
        self.detached(async move |inner| inner.stop_execution(&run, error, cause).await)
            .await
    }

    /// An execution as it is now.
    ///
    /// # Errors
    /// [`RunnerError::NotFound`], [`RunnerError::Unavailable`].
    pub async fn describe(&self, run: &RunId) -> Result<ExecutionView, RunnerError> {
        self.inner.describe(run).await
    }

    /// All events of an execution so far, in the shape of GetExecutionHistory.
    ///
    /// # Errors
    /// [`RunnerError::NotFound`], [`RunnerError::Unavailable`].
    pub async fn history(&self, run: &RunId) -> Result<Vec<Value>, RunnerError> {
        self.inner.history(run).await
    }

    /// Names of executions of a status, newest first; at most `limit` (1 to 1,000).
    ///
    /// # Errors
    /// [`RunnerError::Limit`], [`RunnerError::Cursor`], [`RunnerError::Unavailable`].
    pub fn list(
        &self,
        status: Status,
        limit: u32,
        after: Option<&Cursor>,
    ) -> Result<Page<RunId>, RunnerError> {
        if !(1..=1000).contains(&limit) {
            return Err(RunnerError::Limit(limit));
        }
        let page = log::list(&self.inner.store, status, limit as usize, after)?;
        let items = page
            .items
            .iter()
            .filter_map(|run| run.parse().ok())
            .collect();
        Ok(Page {
            items,
            next: page.next,
        })
    }

    /// Forgets executions that are over and began before a moment, at most `limit` of
    /// them; says how many. Step Functions keeps them 90 days.
    ///
    /// # Errors
    /// [`RunnerError::Unavailable`].
    pub async fn forget_ended(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, RunnerError> {
        Ok(log::forget(&self.inner.store, before, limit).await?)
    }

    /// How many executions run now.
    pub fn running(&self) -> usize {
        self.inner.running()
    }

    /// Waits until an execution is over.
    ///
    /// # Errors
    /// [`RunnerError::NotFound`], [`RunnerError::Unavailable`] when the runner closes first.
    pub async fn ended(&self, run: &RunId) -> Result<ExecutionView, RunnerError> {
        self.inner.ended(run).await
    }

    /// Begins nothing new, lets phases at work finish for at most so long, and stops. What
    /// was not finished is done again after the next start.
    pub async fn shutdown(&self, at_most: Duration) {
        self.inner.shutdown(at_most).await;
    }

    async fn tell(
        &self,
        token: &str,
        input: impl FnOnce(asl::TaskKey) -> asl::Input,
    ) -> Result<Told, RunnerError> {
        let token: Arc<str> = token.into();
        let input = input(asl::TaskKey::Token(token.to_string()));
        self.detached(async move |inner| inner.tell(&token, input).await)
            .await
    }

    /// Does something to its end even where the caller goes away in the middle: a step that
    /// was taken must be written.
    async fn detached<T: Send + 'static, Work>(
        &self,
        work: impl FnOnce(Arc<Inner>) -> Work,
    ) -> Result<T, RunnerError>
    where
        Work: Future<Output = Result<T, RunnerError>> + Send + 'static,
    {
        let work = work(self.inner.clone());
        self.inner.spawn(work).await.map_err(|_| live::closing())?
    }
}
