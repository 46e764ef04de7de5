//! Verify: has what was written read back; and waits for an operator where the machine
//! knows no way.

use model::{Code, LifecycleEvent, Refusal, State};
use serde_json::{Value, json};

use super::{Input, ended};
use crate::Control;
use crate::catalogue::{Answer, TRIES, Tx, lost_race};
use crate::outbox::Effect;
use crate::records::{Step, StepKind};

impl Control {
    /// Hands the unverified parts of a group to the agent; the token is answered when the
    /// last one has a result.
    pub(crate) async fn dispatch_verifies(&self, input: &Input) -> Answer<Value> {
        self.dispatch(input, StepKind::Verify).await
    }

    /// Parks a run until an operator decides.
    pub(crate) async fn park(&self, input: &Input) -> Answer<Value> {
        let token = input.token()?;
        let refusal = input.refusal();
        for _ in 0..TRIES {
            let seen = self.group_record(input.group).await?;
            let mut record = seen.value;
            let mut tx = Tx::new();
            match record.group.lifecycle.state() {
                // What parking was asked for has come about: nothing is left to decide.
                State::Committed => tx.tell(&self.effect(Effect::TaskSucceeded {
                    token: token.clone(),
                    output: json!({"decision": "committed"}),
                })),
                State::Parked { .. } => {}
                _ => {
                    if let Some(refusal) = ended(&record) {
                        return Err(refusal);
                    }
                    let work = self.work_of(&record).await?;
                    self.take_back(work).await?;
                    record.group.lifecycle = record
                        .group
                        .lifecycle
                        .apply(LifecycleEvent::Park(refusal.clone()))
                        .map_err(super::illegal)?;
                    tracing::warn!(run = %record.group.run, %refusal, "parked");
                }
            }
            if *record.group.lifecycle.state() != State::Committed {
                record.step = Some(Step {
                    kind: StepKind::Park,
                    placement: input.placement,
                    attempt: input.attempt,
                    token: token.clone(),
                });
                tx.replace(&record, seen.version);
            }
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer.map(|()| json!({}));
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }
}
