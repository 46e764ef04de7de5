//! The Amazon States Language, as a pure step function over a history.
//!
//! A [`Machine`] is a checked and compiled definition. An [`Execution`] is moved by inputs (it
//! starts, a task succeeds, a timer fires); each accepted input adds history events with AWS's
//! names, order and details, and gives commands (schedule a task, set a timer, done). Time and
//! randomness come with the input, so the log of accepted inputs *is* the execution: keep the
//! [`Record`]s, in order, and [`Execution::replay`] rebuilds state, history and pending commands.
//!
//! What it never does: read a clock, draw entropy, wait, perform I/O, know what a task means. It
//! knows nothing of the program around it.
//!
//! # Rules for a runner
//! 1. Append [`Step::record`] durably, then carry out [`Step::commands`].
//! 2. After a restart, [`Execution::replay`] and carry out [`Execution::pending`]; commands may
//!    be repeated, and late answers are [`Refused`] without harm.
//!
//! # How true to Step Functions it is
//! Event order, `previousEventId`, details, error names and causes follow recorded histories where
//! there is one; the tests say which facts these are. Assumed, for want of a recording: how events
//! of branches that run at the same moment interleave (each runs until it waits, in order), the
//! causes of `TimeoutSecondsPath` and its like that name no positive number, and the abort events of a
//! Parallel or Map inside a branch that is cut. JSONata, distributed Maps, item readers and
//! tolerated failures are refused by [`validate`] with codes of their own (`UNSUPPORTED_…`).
//!
//! ```
//! use asl::{Command, CountingSource, Env, Execution, Identity, Input, Machine, TaskKey};
//! let machine = Machine::parse(r#"{"StartAt": "Ship", "States": {"Ship": {"Type": "Task",
//!     "Resource": "arn:aws:lambda:us-east-1:000000000000:function:ship", "End": true}}}"#).expect("valid");
//! let mut random = CountingSource::new(7);
//! let mut env = Env { now: "2026-01-01T00:00:00Z".parse()?, random: &mut random };
//! let mut run = Execution::new();
//! let start = Input::Start { identity: Identity::local("shop", "1"), input: 42.into() };
//! let step = run.step(&machine, start, &mut env)?;
//! let Some(Command::Schedule(task)) = step.commands.first() else { panic!("nothing to do") };
//! let done = Input::TaskSucceeded { task: TaskKey::Scheduled(task.id), output: "sent".into() };
//! run.step(&machine, done, &mut env)?;
//! assert_eq!(run.status(), "SUCCEEDED");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod choice;
mod command;
mod engine;
mod event;
mod execution;
mod intrinsic;
mod java;
mod json;
pub mod limits;
mod machine;
mod path;
mod query;
mod random;
mod reference;
mod template;
mod time;
mod validate;

pub mod harness;

pub use command::{
    Command, Env, Identity, Input, Outcome, Record, Refused, Step, Task, TaskKey, TaskKind, TimerId,
};
pub use event::{Details, EventId, HistoryEvent};
pub use execution::{Execution, step};
pub use json::Data;
pub use machine::{Machine, Pattern};
pub use random::{CountingSource, RandomSource, Seed};
pub use validate::{Diagnostic, validate};
