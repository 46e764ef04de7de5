//! One invocation: its span, its time, its metrics.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use lambda_runtime::Context;
use model::{Code, Refusal};
use telemetry::{Metric, Metrics, Unit};
use tracing::Instrument as _;

use crate::{Failure, Tally};

/// The largest answer of a function (Lambda quotas: 6 MB, which is 6,291,556 bytes), with
/// some room for what Lambda counts beside the payload.
pub const MAX_ANSWER_BYTES: usize = 6_291_556 - 4_096;
/// What is kept of an invocation's time to answer in: an answer that says `Transient` is
/// retried by name, a function that was killed is not.
const TO_ANSWER: Duration = Duration::from_millis(500);

/// What a function keeps between invocations.
pub struct Function {
    name: &'static str,
    /// The span's own: with `metrics` written through it, none interleave.
    out: Mutex<Box<dyn Write + Send>>,
    warm: AtomicBool,
}

/// What belongs to an invocation: shown in its log lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) op: String,
    pub(crate) run: Option<String>,
    pub(crate) group: Option<String>,
}

impl Function {
    /// A function by its folder's name; metrics go to the standard output, where Lambda
    /// collects them.
    pub fn new(name: &'static str) -> Self {
        Self::with_output(name, Box::new(std::io::stdout()))
    }

    /// The same, with metrics written elsewhere.
    pub fn with_output(name: &'static str, out: Box<dyn Write + Send>) -> Self {
        Self {
            name,
            out: Mutex::new(out),
            warm: AtomicBool::new(false),
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Does the work of one invocation within its time, in a span of its own, and tells its
    /// metrics. `op` is what the phase dimension says, of few values.
    ///
    /// # Errors
    /// What the work refuses with; `Transient` where it did not end in time.
    pub async fn invoke<T>(
        &self,
        context: &Context,
        op: &str,
        work: impl AsyncFnOnce(&mut Tally) -> Result<T, Refusal>,
    ) -> Result<T, Failure> {
        let about = About {
            op: op.to_owned(),
            ..About::default()
        };
        self.invoke_about(context, about, work).await
    }

    pub(crate) async fn invoke_about<T>(
        &self,
        context: &Context,
        about: About,
        work: impl AsyncFnOnce(&mut Tally) -> Result<T, Refusal>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let cold_start = !self.warm.swap(true, Ordering::Relaxed);
        let span = tracing::info_span!(
            "invocation",
            function = %context.env_config.function_name,
            version = %context.env_config.version,
            request_id = %context.request_id,
            cold_start,
            trace_id = context.xray_trace_id.as_deref(),
            op = %about.op,
            run = about.run.as_deref(),
            group = about.group.as_deref(),
        );
        let mut tally = Tally::new();
        let within = remaining(context, SystemTime::now());
        let answer = async {
            let work = work(&mut tally);
            let answer = match within {
                None => work.await,
                Some(within) => tokio::time::timeout(within, work)
                    .await
                    .unwrap_or_else(|_| Err(too_slow(within))),
            };
            match &answer {
                Ok(_) => tracing::info!(ms = began.elapsed().as_millis(), "done"),
                Err(refusal) => tracing::warn!(
                    code = %refusal.code,
                    field = refusal.field.as_deref(),
                    ms = began.elapsed().as_millis(),
                    "{}", refusal.message
                ),
            }
            answer
        }
        .instrument(span)
        .await;
        match &answer {
            Ok(_) => tally.count("Done", 1),
            Err(refusal) => tally.refused(refusal),
        }
        self.tell(context, &about.op, cold_start, began.elapsed(), &tally);
        answer.map_err(Failure)
    }

    fn tell(&self, context: &Context, op: &str, cold: bool, took: Duration, tally: &Tally) {
        let mut metrics = self.metrics(context, op);
        let ms = took.as_secs_f64() * 1e3;
        metrics.add(Metric::new(
            "Duration",
            Unit::Milliseconds,
            (ms * 1e3).round() / 1e3,
        ));
        metrics.add(Metric::new(
            "ColdStart",
            Unit::Count,
            f64::from(u8::from(cold)),
        ));
        let mut told = vec![lines(metrics, tally)];
        for (op, tally) in tally.within() {
            told.push(lines(self.metrics(context, op), tally));
        }
        let mut out = self
            .out
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Without an output there is nowhere to say so either.
        let _ = writeln!(out, "{}", told.join("\n")).and_then(|()| out.flush());
    }

    /// Under the dimensions that the alarms of `template.yaml` name.
    fn metrics(&self, context: &Context, op: &str) -> Metrics {
        let name = match context.env_config.function_name.as_str() {
            "" => self.name,
            name => name,
        };
        let mut metrics = Metrics::new("Tapemark", [("FunctionName", name), ("Op", op)]);
        metrics.property("service", "tapemark");
        metrics.property("request_id", context.request_id.as_str());
        metrics
    }
}

fn lines(mut metrics: Metrics, tally: &Tally) -> String {
    for metric in tally.metrics() {
        metrics.add(metric);
    }
    metrics.to_line(Timestamp::now())
}

/// What is left of an invocation's time, less what its answer needs. None where there is no
/// deadline, as in tests.
pub fn remaining(context: &Context, now: SystemTime) -> Option<Duration> {
    if context.deadline == 0 {
        return None;
    }
    let left = context.deadline().duration_since(now).unwrap_or_default();
    Some(left.saturating_sub(TO_ANSWER))
}

fn too_slow(within: Duration) -> Refusal {
    Refusal::new(
        Code::Transient,
        format!("expected an answer within {within:.1?}, found the work still going on"),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        fn lines(&self) -> Vec<Value> {
            let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        }
    }

    #[tokio::test]
    async fn the_first_invocation_is_the_cold_one() {
        let kept = Kept::default();
        let function = Function::with_output("validate", Box::new(kept.clone()));
        for cold in [1, 0, 0] {
            let context = Context::default();
            let answer = function.invoke(&context, "check", async |_| Ok(5)).await;
            assert_eq!(answer, Ok(5));
            let lines = kept.lines();
            assert_eq!(lines.len(), 1);
            assert_eq!(lines[0]["ColdStart"], cold);
            assert_eq!(lines[0]["FunctionName"], "validate");
            assert_eq!(lines[0]["Op"], "check");
            assert_eq!(lines[0]["Done"], 1);
        }
    }

    #[tokio::test]
    async fn refusals_are_counted_by_code() {
        let kept = Kept::default();
        let function = Function::with_output("verify", Box::new(kept.clone()));
        let refuse = async |tally: &mut Tally| {
            tally.count("EffectsTold", 2);
            Err::<(), _>(Refusal::new(Code::Transient, "away"))
        };
        let answer = function.invoke(&Context::default(), "commit", refuse).await;
        assert_eq!(answer.unwrap_err().0.code, Code::Transient);
        let lines = kept.lines();
        assert_eq!(lines[0]["EffectsTold"], 2);
        assert_eq!(lines[0]["TransientErrors"], 1);
        assert_eq!(lines[0]["Refused"], 1);
        assert_eq!(lines[0].get("Done"), None);
        assert_eq!(lines[1]["Refusals"], 1);
        assert_eq!(lines[1]["Code"], "Tapemark.Transient");
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_would_be_killed_answers_before() {
        let function = Function::with_output("execute", Box::new(std::io::sink()));
        let mut context = Context::default();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        context.deadline = u64::try_from(now.as_millis()).unwrap() + 3_000;
        let answer = function
            .invoke(&context, "dispatch", async |_| {
                std::future::pending::<()>().await;
                Ok(())
            })
            .await;
        assert_eq!(answer.unwrap_err().0.code, Code::Transient);
    }

    #[test]
    fn time_to_answer_is_kept_back() {
        let mut context = Context::default();
        assert_eq!(remaining(&context, SystemTime::now()), None);
        context.deadline = 10_000;
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(
            remaining(&context, at(4_000)),
            Some(Duration::from_millis(5_500))
        );
        assert_eq!(remaining(&context, at(20_000)), Some(Duration::ZERO));
    }
}
