//! Histories as Step Functions tells them.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_sfn::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_sfn::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sfn::error::BoxError;
use jiff::Timestamp;
use model::{Code, Refusal, RunId};
use serde_json::Value;

use super::{StepFunctions, explain};

/// Events of one page (API reference, GetExecutionHistory: at most 1,000).
const PAGE: i32 = 1_000;
/// The most pages: an execution has at most 25,000 events (developer guide, *Quotas*), and a
/// page may be shorter than asked for.
const MAX_PAGES: usize = 100;

impl StepFunctions {
    /// All events of an execution so far, in order, as the API of Step Functions names them;
    /// times as RFC 3339 with milliseconds.
    ///
    /// # Errors
    /// `NotFound`, `Transient`, `Internal`.
    pub async fn history(&self, run: &RunId) -> Result<Vec<Value>, Refusal> {
        let execution = self.execution(run)?;
        let mut events = Vec::new();
        let mut next = None;
        for _ in 0..MAX_PAGES {
            let wire = Wire::default();
            let page = self
                .client
                .get_execution_history()
                .execution_arn(&execution)
                .max_results(PAGE)
                .include_execution_data(true)
                .set_next_token(next)
                .customize()
                .interceptor(wire.clone())
                .send()
                .await
                .map_err(|error| explain(&error, run.as_str()))?;
            events.extend(wire.events().ok_or_else(|| {
                let message = format!("{run}: expected a page of events, found something else");
                Refusal::new(Code::Internal, message)
            })?);
            next = page.next_token;
            if next.is_none() {
                return Ok(events);
            }
        }
        Err(Refusal::new(
            Code::Internal,
            format!("{run}: expected at most {MAX_PAGES} pages of events, found more"),
        ))
    }
}

/// Keeps the answer as it came. The SDK has a type for each of some sixty kinds of events,
/// and none that can be written out again; kinds that it does not know yet are lost in it.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<Option<Value>>>);

impl Wire {
    fn events(&self) -> Option<Vec<Value>> {
        let mut answer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Value::Array(mut events) = answer.as_mut()?.get_mut("events")?.take() else {
            return None;
        };
        events.iter_mut().for_each(date);
        Some(events)
    }
}

impl Intercept for Wire {
    fn name(&self) -> &'static str {
        "TapemarkWire"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _runtime_components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response().body().bytes();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            answer.and_then(|bytes| serde_json::from_slice(bytes).ok());
        Ok(())
    }
}

/// Seconds since 1970 become a date.
fn date(event: &mut Value) {
    let Some(at) = event.get_mut("timestamp") else {
        return;
    };
    let time = at
        .as_f64()
        .and_then(|seconds| Timestamp::from_millisecond((seconds * 1_000.0).round() as i64).ok());
    if let Some(time) = time {
        *at = Value::from(format!("{time:.3}"));
    }
}
