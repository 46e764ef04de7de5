//! What goes into a step and what comes out of it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{EventId, HistoryEvent};
use crate::json::Data;
use crate::machine::Pattern;
use crate::random::{RandomSource, Seed};

/// Who an execution is: what the context object and the history show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The execution's ARN (`$$.Execution.Id`).
    pub execution: String,
    /// The execution's name (`$$.Execution.Name`), at most 80 characters.
    pub name: String,
    /// The role it runs under (`$$.Execution.RoleArn`).
    pub role: String,
    /// The state machine's ARN (`$$.StateMachine.Id`).
    pub state_machine: String,
    /// The state machine's name (`$$.StateMachine.Name`).
    pub state_machine_name: String,
    /// The region that `TaskScheduled` events show.
    pub region: String,
    /// How often it was redriven (`$$.Execution.RedriveCount`).
    pub redrives: u64,
}

impl Identity {
    /// An identity with ARNs of the usual shape in an account of zeros.
    pub fn local(state_machine: &str, name: &str) -> Self {
        let region = "us-east-1";
        let prefix = format!("arn:aws:states:{region}:000000000000");
        Identity {
            execution: format!("{prefix}:execution:{state_machine}:{name}"),
            name: name.to_owned(),
            role: "arn:aws:iam::000000000000:role/local".to_owned(),
            state_machine: format!("{prefix}:stateMachine:{state_machine}"),
            state_machine_name: state_machine.to_owned(),
            region: region.to_owned(),
            redrives: 0,
        }
    }
}

/// Which task an input is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKey {
    /// By the number of its scheduled event.
    Scheduled(EventId),
    /// By its token.
    Token(String),
}

/// The number of a timer within its execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimerId(pub u64);

/// What may happen to an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Input {
    /// It starts; the first input, once.
    Start {
        /// Who it is.
        identity: Identity,
        /// Its input, at most 262,144 bytes.
        input: Value,
    },
    /// A worker took the task up.
    TaskStarted {
        /// The task.
        task: TaskKey,
        /// The worker's name, for activities.
        worker: Option<String>,
    },
    /// A `.sync` or `.waitForTaskToken` call was accepted and the wait for its end begins.
    TaskSubmitted {
        /// The task.
        task: TaskKey,
        /// The answer of the call.
        output: Value,
    },
    /// The task's result.
    TaskSucceeded {
        /// The task.
        task: TaskKey,
        /// The result, at most 262,144 bytes: a larger one becomes `States.DataLimitExceeded`.
        output: Value,
    },
    /// The task failed.
    TaskFailed {
        /// The task.
        task: TaskKey,
        /// The error's name, which `ErrorEquals` is compared with.
        error: Option<String>,
        /// A text about it.
        cause: Option<String>,
    },
    /// The worker saw a timeout before the engine's own timer fired.
    TaskTimedOut {
        /// The task.
        task: TaskKey,
    },
    /// The worker is alive. No event; the heartbeat timer starts anew, the timeout does not.
    TaskHeartbeat {
        /// The task.
        task: TaskKey,
    },
    /// A timer's moment has come. One that comes early is set again.
    TimerFired {
        /// The timer.
        timer: TimerId,
    },
    /// Somebody stops the execution.
    Abort {
        /// An error's name.
        error: Option<String>,
        /// A text about it.
        cause: Option<String>,
    },
}

/// What the caller is to do after a step was made durable.
///
/// All commands may be carried out more than once: after a crash [`crate::Execution::pending`]
/// gives those that still matter.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Have a task done.
    Schedule(Task),
    /// A task no longer matters; its outcome will be refused.
    Cancel {
        /// Its scheduled event.
        task: EventId,
        /// Its token.
        token: Arc<str>,
    },
    /// Give [`Input::TimerFired`] at a moment. Setting a timer again moves it.
    SetTimer {
        /// The timer.
        timer: TimerId,
        /// When.
        at: Timestamp,
    },
    /// A timer no longer matters.
    CancelTimer {
        /// The timer.
        timer: TimerId,
    },
    /// The execution is over.
    Complete(Outcome),
}

/// A task to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The number of its scheduled event.
    pub id: EventId,
    /// What `SendTaskSuccess` and its like name it by. Unguessable when seeds are.
    pub token: Arc<str>,
    /// The state that wants it.
    pub state: Arc<str>,
    /// How often this visit of the state tried before: `$$.State.RetryCount`.
    pub retries: u64,
    /// The index of the innermost Map iteration it belongs to.
    pub iteration: Option<u64>,
    /// The state's `Resource`.
    pub resource: Arc<str>,
    /// What it calls.
    pub kind: TaskKind,
    /// Its input: the filled-in `Parameters`.
    pub input: Data,
    /// Seconds it may take, when the state says.
    pub timeout: Option<u64>,
    /// Seconds between heartbeats, when the state says.
    pub heartbeat: Option<u64>,
}

/// What a task calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskKind {
    /// A function, named by the resource itself.
    Lambda,
    /// An activity: workers fetch it.
    Activity,
    /// A service integration `arn:aws:states:::type:resource`.
    Service {
        /// Such as `lambda`, `sqs` or `aws-sdk:s3`.
        resource_type: Arc<str>,
        /// Such as `invoke` or `sendMessage.waitForTaskToken`.
        resource: Arc<str>,
        /// How its end is known.
        pattern: Pattern,
    },
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With an output.
    Succeeded {
        /// The last state's output.
        output: Data,
    },
    /// With an error nobody caught; a Fail state may name neither error nor cause.
    Failed {
        /// The error's name.
        error: Option<Arc<str>>,
        /// A text about it.
        cause: Option<Arc<str>>,
    },
    /// The machine's `TimeoutSeconds` passed.
    TimedOut,
    /// It was stopped.
    Aborted {
        /// The error's name, if one was given.
        error: Option<Arc<str>>,
        /// A text about it, if one was given.
        cause: Option<Arc<str>>,
    },
}

impl Outcome {
    /// AWS's word: `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub fn status(&self) -> &'static str {
        match self {
            Outcome::Succeeded { .. } => "SUCCEEDED",
            Outcome::Failed { .. } => "FAILED",
            Outcome::TimedOut => "TIMED_OUT",
            Outcome::Aborted { .. } => "ABORTED",
        }
    }
}

/// Where time and randomness come from.
pub struct Env<'a> {
    /// The time of the step. It never goes back within an execution: an earlier one is read as
    /// the time of the step before.
    pub now: Timestamp,
    /// Gives one seed for each accepted step.
    pub random: &'a mut dyn RandomSource,
}

/// What a step depended on: all that has to be kept to repeat it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Position in the log, from 0.
    pub number: u64,
    /// The time of the step.
    pub at: Timestamp,
    /// The seed of the step.
    pub seed: Seed,
    /// SHA-256 of the definition; only the first record has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// What happened.
    pub input: Input,
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Append this to the execution's log, durably, before carrying out any command.
    pub record: Record,
    /// The events this step added to the history.
    pub events: Vec<HistoryEvent>,
    /// What to do now.
    pub commands: Vec<Command>,
}

/// Why an input was not accepted. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Only a fresh execution starts.
    #[error("the execution was started before")]
    AlreadyStarted,
    /// Anything else comes after the start.
    #[error("the execution was not started")]
    NotStarted,
    /// Nothing comes after the end.
    #[error("the execution is over")]
    Over,
    /// The task ended, was cancelled, or never was (`TaskDoesNotExist`, `TaskTimedOut`).
    #[error("no such task is open")]
    NoSuchTask,
    /// The timer was cancelled or has fired.
    #[error("no such timer is set")]
    NoSuchTimer,
    /// The input of an execution is limited.
    #[error("the input has {bytes} bytes; at most 262144 are allowed")]
    InputTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The name of an execution is limited.
    #[error("the name '{0}' has more than 80 characters")]
    NameTooLong(String),
    /// Documents that nest without end are refused.
    #[error("the document nests deeper than 256 levels")]
    TooDeep,
    /// The execution started with another definition.
    #[error("the execution started with definition {expected}, not {found}")]
    OtherDefinition {
        /// Digest the execution started with.
        expected: String,
        /// Digest of the machine given.
        found: String,
    },
    /// The log has a gap or was mixed up.
    #[error("record {found} came where {expected} was due")]
    OutOfOrder {
        /// The next number.
        expected: u64,
        /// The number found.
        found: u64,
    },
}
