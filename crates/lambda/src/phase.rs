//! The functions that the state machine invokes.

use std::sync::Arc;

use control::{Control, Phase};
use lambda_runtime::{Context, LambdaEvent};
use model::{Code, Refusal};
use serde_json::Value;

use crate::invocation::{About, MAX_ANSWER_BYTES};
use crate::{Failure, Function, remaining};

/// What a phase answers at most: the largest input and output of a state (Step Functions
/// quotas, 262,144 bytes), which is much less than Lambda's own limit.
const MAX_STATE_BYTES: usize = 262_144;
const _: () = assert!(MAX_STATE_BYTES < MAX_ANSWER_BYTES);

/// One phase as a function: the payload of `infra/state-machine/checkpoint.asl.json` in, the
/// result or a refusal by its code out.
#[derive(Clone)]
pub struct PhaseFunction {
    function: Arc<Function>,
    control: Control,
    phase: Phase,
}

impl PhaseFunction {
    /// A phase of a control plane.
    pub fn new(function: Function, control: Control, phase: Phase) -> Self {
        Self {
            function: Arc::new(function),
            control,
            phase,
        }
    }

    /// One invocation. Shadows of resolvers that became due in it are asked before it
    /// answers, because a function is frozen after; they have what is left of its time.
    ///
    /// # Errors
    /// What the phase refuses with; see `Control::run_phase`.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Value, Failure> {
        let (payload, context) = event.into_parts();
        let answer = self
            .function
            .invoke_about(&context, about(&payload), async |_| {
                let answer = self.control.run_phase(self.phase, payload).await?;
                checked(answer)
            })
            .await;
        if self.phase == Phase::Allocate {
            self.shadows(&context).await;
        }
        answer
    }

    async fn shadows(&self, context: &Context) {
        let shadows = self.control.run_shadows();
        match remaining(context, std::time::SystemTime::now()) {
            None => shadows.await,
            Some(within) => {
                // A shadow is a sample: what there is no time for is not asked.
                if tokio::time::timeout(within, shadows).await.is_err() {
                    tracing::warn!("shadows were left out: no time");
                }
            }
        }
    }
}

/// Operation, run and group of a payload, for log lines; never the task token.
pub fn ids(payload: &Value) -> (&str, Option<&str>, Option<&str>) {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    (text("op").unwrap_or("none"), text("run"), text("group"))
}

fn about(payload: &Value) -> About {
    let (op, run, group) = ids(payload);
    let short = |text: &str| text.chars().take(80).collect::<String>();
    // A dimension of a metric: what is no operation must not make new ones.
    let known = [
        "check", "place", "follow", "reject", "dispatch", "fence", "abandon", "commit", "park",
    ];
    About {
        op: if known.contains(&op) { op } else { "unknown" }.to_owned(),
        run: run.map(short),
        group: group.map(short),
    }
}

/// Refuses what the state machine could not carry on.
fn checked(answer: Value) -> Result<Value, Refusal> {
    let bytes = answer.to_string().len();
    if bytes <= MAX_STATE_BYTES {
        return Ok(answer);
    }
    Err(Refusal::new(
        Code::Internal,
        format!("expected a result of at most {MAX_STATE_BYTES} bytes, found {bytes}"),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_that_no_state_carries_is_refused() {
        assert!(checked(json!({"a": 1})).is_ok());
        let refusal = checked(json!("x".repeat(MAX_STATE_BYTES))).unwrap_err();
        assert_eq!(refusal.code, Code::Internal);
        assert!(refusal.message.contains("262146"), "{refusal}");
    }

    #[test]
    fn log_lines_know_ids_and_no_token() {
        let about = about(&json!({
            "op": "dispatch", "run": "r", "group": 5, "taskToken": "secret"
        }));
        assert_eq!(about.op, "dispatch");
        assert_eq!(about.run.as_deref(), Some("r"));
        assert_eq!(about.group, None);
        assert_eq!(super::about(&json!({"op": "drop table"})).op, "unknown");
        assert_eq!(super::about(&json!([])).op, "unknown");
    }
}
