//! The phase functions: what the state machine's tasks invoke.
//!
//! Every operation may be invoked again after it succeeded (the engine retries what it
//! heard no answer from), so each one first looks where the group stands, and answers
//! what it answered before where its work is done.

mod allocate;
mod commit;
mod execute;
mod fence;
mod follow;
mod validate;
mod verify;

use model::{Code, GroupId, Refusal, RunId, State};
use serde::Deserialize;
use serde_json::Value;

use crate::catalogue::{Answer, Seen};
use crate::records::GroupRecord;
use crate::{Control, Phase, keys};

pub(crate) use allocate::{AllocateAsk, PoolView};
pub(crate) use commit::CommitAsk;
pub(crate) use execute::{ranges, work_keys};

/// The payload of an invocation.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Input {
    op: String,
    run: RunId,
    pub(crate) group: GroupId,
    #[serde(default)]
    pub(crate) placement: u32,
    #[serde(default)]
    pub(crate) attempt: u32,
    #[serde(default, rename = "taskToken")]
    token: Option<String>,
    #[serde(default)]
    error: Option<MachineError>,
}

/// What a catcher caught.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct MachineError {
    #[serde(default, rename = "Error")]
    error: Option<String>,
    #[serde(default, rename = "Cause")]
    cause: Option<String>,
}

impl Input {
    fn token(&self) -> Answer<String> {
        self.token.clone().ok_or_else(|| {
            Refusal::new(Code::InvalidRequest, "expected a task token, found none").at("taskToken")
        })
    }

    /// What went wrong, as a refusal.
    fn refusal(&self) -> Refusal {
        let error = self.error.clone().unwrap_or_default();
        let name = error.error.unwrap_or_else(|| Code::Internal.to_string());
        let cause = error.cause.unwrap_or_default();
        // A function's failure arrives as a JSON text with the message in it.
        let cause = serde_json::from_str::<Value>(&cause)
            .ok()
            .and_then(|value| value["errorMessage"].as_str().map(str::to_owned))
            .unwrap_or(cause);
        match name.parse::<Code>() {
            Ok(code) => Refusal::new(code, cause),
            Err(_) => Refusal::new(Code::Internal, format!("{name}: {cause}")),
        }
    }
}

impl Control {
    /// Runs one phase function. The refusal's code is the error name of the state
    /// machine, its message the cause.
    ///
    /// # Errors
    /// `InvalidRequest` for a payload or an operation that does not exist; whatever the
    /// phase refuses with.
    pub async fn run_phase(&self, phase: Phase, input: Value) -> Answer<Value> {
        let input: Input = serde_json::from_value(input)
            .map_err(|error| Refusal::new(Code::InvalidRequest, format!("payload: {error}")))?;
        tracing::trace!(run = %input.run, ?phase, op = input.op, "invoked");
        match (phase, input.op.as_str()) {
            (Phase::Validate, "check") => self.validate(&input).await,
            (Phase::Allocate, "place") => self.allocate(&input).await,
            (Phase::Allocate, "follow") => self.follow(&input).await,
            (Phase::Allocate, "reject") | (Phase::Execute, "abandon") => self.give_up(&input).await,
            (Phase::Execute, "dispatch") => self.dispatch_writes(&input).await,
            (Phase::Execute, "fence") => self.judge(&input).await,
            (Phase::Verify, "dispatch") => self.dispatch_verifies(&input).await,
            (Phase::Verify, "commit") => self.commit(&input).await,
            (Phase::Verify, "park") => self.park(&input).await,
            (phase, op) => Err(Refusal::new(
                Code::InvalidRequest,
                format!("expected an operation of {phase:?}, found {op:?}"),
            )
            .at("op")),
        }
    }

    pub(crate) async fn group_record(&self, id: GroupId) -> Answer<Seen<GroupRecord>> {
        self.get(&keys::group(id)).await?.ok_or_else(|| {
            Refusal::new(Code::NotFound, format!("expected a group {id}, found none"))
        })
    }
}

/// Why a run has to stop: its group came to its end without it.
pub(crate) fn ended(record: &GroupRecord) -> Option<Refusal> {
    match record.group.lifecycle.state() {
        State::Superseded { by } => Some(Refusal::new(
            Code::Superseded,
            format!("checkpoint {by} took its place"),
        )),
        State::Rejected { refusal } | State::Failed { refusal } => Some(refusal.clone()),
        _ => None,
    }
}

/// A step that the state machine does not allow: a bug, or a stale invocation.
pub(crate) fn illegal(error: model::IllegalTransition) -> Refusal {
    Refusal::new(Code::Internal, error.to_string())
}
