//! The order of the phases, as `infra/state-machine/checkpoint.asl.json` has it: what the
//! tests need of a workflow engine, and no more. (The file itself is run by the tests of
//! the engine and of `embedded`.)

use std::collections::BTreeMap;

use control::{Control, Effect, Phase};
use model::Refusal;
use serde_json::{Value, json};

/// With what the tokens of this engine begin, so that they are found wherever they turn up.
pub(crate) const TOKENS: &str = "task-token-of-";

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    Validate,
    Allocate,
    Follow,
    Execute,
    Fence,
    Verify,
    Commit,
    Park,
    Abandon,
    Reject,
    Committed,
    Merged,
    Superseded,
    Failed,
    Rejected,
}

impl At {
    pub(crate) fn is_end(self) -> bool {
        matches!(
            self,
            Self::Committed | Self::Merged | Self::Superseded | Self::Failed | Self::Rejected
        )
    }

    fn waits_for_token(self) -> bool {
        matches!(
            self,
            Self::Follow | Self::Execute | Self::Verify | Self::Park
        )
    }
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) run: Value,
    pub(crate) group: Value,
    pub(crate) at: At,
    pub(crate) placement: u32,
    pub(crate) attempt: u32,
    pub(crate) error: Value,
    /// The token it waits at.
    pub(crate) waiting: Option<String>,
    /// What was told at the token.
    heard: Option<Result<Value, (String, String)>>,
    tokens: u32,
}

/// All runs.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) runs: BTreeMap<String, Run>,
}

impl Machine {
    /// Takes effects from the outbox and applies them; tells the control plane only where
    /// `tell`, else they come again.
    pub(crate) async fn deliver(
        &mut self,
        control: &Control,
        tell: bool,
    ) -> Result<usize, Refusal> {
        let effects = control.pending_effects(1000).await?;
        let mut ids = Vec::new();
        for (id, effect) in effects {
            ids.push(id);
            self.apply(effect);
        }
        if tell {
            control.effects_told(&ids).await?;
        }
        Ok(ids.len())
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::StartRun { run, input } => {
                self.runs.entry(run.to_string()).or_insert_with(|| Run {
                    run: input["run"].clone(),
                    group: input["group"].clone(),
                    at: At::Validate,
                    placement: 0,
                    attempt: 0,
                    error: json!({}),
                    waiting: None,
                    heard: None,
                    tokens: 0,
                });
            }
            Effect::TaskSucceeded { token, output } => self.hear(&token, Ok(output)),
            Effect::TaskFailed {
                token,
                error,
                cause,
            } => self.hear(&token, Err((error, cause))),
        }
    }

    fn hear(&mut self, token: &str, answer: Result<Value, (String, String)>) {
        // An old token is no error.
        if let Some(run) = self
            .runs
            .values_mut()
            .find(|run| run.waiting.as_deref() == Some(token))
            && run.heard.is_none()
        {
            run.heard = Some(answer);
        }
    }

    /// Names of runs that can make a step.
    pub(crate) fn ready(&self) -> Vec<String> {
        self.runs
            .iter()
            .filter(|(_, run)| !run.at.is_end() && (run.waiting.is_none() || run.heard.is_some()))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Makes a step of a run. Where `twice`, the invocation is delivered twice.
    pub(crate) async fn step(&mut self, control: &Control, name: &str, twice: bool) {
        let Some(run) = self.runs.get_mut(name) else {
            return;
        };
        if run.waiting.is_some() {
            if let Some(heard) = run.heard.take() {
                run.waiting = None;
                go_on(run, heard);
            }
            return;
        }
        let (phase, op) = match run.at {
            At::Validate => (Phase::Validate, "check"),
            At::Allocate => (Phase::Allocate, "place"),
            At::Follow => (Phase::Allocate, "follow"),
            At::Execute => (Phase::Execute, "dispatch"),
            At::Fence => (Phase::Execute, "fence"),
            At::Verify => (Phase::Verify, "dispatch"),
            At::Commit => (Phase::Verify, "commit"),
            At::Park => (Phase::Verify, "park"),
            At::Abandon => (Phase::Execute, "abandon"),
            At::Reject => (Phase::Allocate, "reject"),
            _ => return,
        };
        run.tokens += 1;
        let token = format!("{TOKENS}{name}-{}", run.tokens);
        let payload = json!({
            "op": op, "run": run.run, "group": run.group, "placement": run.placement,
            "attempt": run.attempt, "error": run.error, "taskToken": token,
        });
        if twice {
            let _ = control.run_phase(phase, payload.clone()).await;
        }
        let answer = control.run_phase(phase, payload).await;
        let answer = match answer {
            // Retriers: the run stays where it is and tries again.
            Err(refusal) if refusal.code.is_retryable() => return,
            Err(refusal) => Err((refusal.code.to_string(), refusal.message)),
            Ok(_) if run.at.waits_for_token() => {
                run.waiting = Some(token);
                run.heard = None;
                return;
            }
            Ok(output) => Ok(output),
        };
        go_on(run, answer);
    }

    /// Steps and deliveries until nothing moves any more.
    pub(crate) async fn settle(&mut self, control: &Control) -> Result<(), Refusal> {
        loop {
            let mut moved = self.deliver(control, true).await?;
            for name in self.ready() {
                let before = self.place(&name);
                self.step(control, &name, false).await;
                moved += usize::from(before != self.place(&name));
            }
            if moved == 0 {
                return Ok(());
            }
        }
    }

    fn place(&self, name: &str) -> (At, bool, u32) {
        let run = &self.runs[name];
        (run.at, run.waiting.is_some(), run.placement)
    }

    pub(crate) fn at(&self, group: model::GroupId) -> At {
        self.runs[&group.to_string()].at
    }
}

/// Transitions and catchers.
fn go_on(run: &mut Run, answer: Result<Value, (String, String)>) {
    let answer = match answer {
        Ok(output) => Ok(output),
        Err((error, cause)) => {
            run.error = json!({"Error": error, "Cause": cause});
            Err(error)
        }
    };
    run.at = match (run.at, answer) {
        (At::Validate, Ok(_)) | (At::Follow, Ok(_)) => At::Allocate,
        (At::Validate | At::Allocate | At::Follow | At::Execute, Err(error))
            if error == "Tapemark.Superseded" =>
        {
            At::Superseded
        }
        (At::Validate | At::Allocate | At::Follow, Err(_)) => At::Reject,
        (At::Allocate, Ok(output)) => match output["outcome"].as_str() {
            Some("merged") => At::Merged,
            Some("wait") => At::Follow,
            // The state that waits leads back; an early step asks again, and waits on.
            Some("deferred") => At::Allocate,
            _ => At::Execute,
        },
        (At::Execute, Ok(_)) => At::Verify,
        (At::Execute, Err(error)) if error == "Tapemark.Cancelled" => At::Abandon,
        (At::Execute, Err(_)) => At::Fence,
        (At::Fence, Ok(output)) => match output["way"].as_str() {
            Some("attempt") if run.attempt < 4 => {
                run.attempt += 1;
                At::Execute
            }
            Some("placement") if run.placement < 2 => {
                run.placement += 1;
                run.attempt = 0;
                At::Allocate
            }
            _ => At::Abandon,
        },
        (At::Fence, Err(_)) => At::Park,
        (At::Verify, Ok(_)) => At::Commit,
        (At::Verify, Err(error))
            if !matches!(error.as_str(), "Tapemark.Internal" | "Tapemark.KeyMissing") =>
        {
            At::Fence
        }
        (At::Verify, Err(_)) => At::Park,
        (At::Commit, Ok(_)) => At::Committed,
        (At::Commit, Err(_)) => At::Park,
        (At::Park, Ok(output)) => match output["decision"].as_str() {
            Some("resume") => {
                run.placement += 1;
                run.attempt = 0;
                At::Allocate
            }
            Some("committed") => At::Committed,
            _ => At::Abandon,
        },
        (At::Park, Err(_)) => At::Abandon,
        (At::Abandon, _) => At::Failed,
        (At::Reject, _) => At::Rejected,
        (at, _) => at,
    };
}
