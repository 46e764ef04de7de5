//! Having tasks done.

use super::*;

impl Inner {
    pub(super) fn schedule(self: &Arc<Self>, run: &Arc<Run>, live: &mut Live, task: asl::Task) {
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
