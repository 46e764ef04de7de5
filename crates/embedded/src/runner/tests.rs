mod crash;
mod life;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use control::Phase;
use jiff::{SignedDuration, Timestamp};
use model::{Code, Refusal, RunId};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Alarm, Handlers, Runner, RunnerError, RunnerOptions, RunnerPorts};
use crate::store::{Plug, Store};

/// A phase with retries, a pause, a task token, and a plain function call.
const STORY: &str = r#"{
  "StartAt": "Validate",
  "States": {
    "Validate": {
      "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
      "Parameters": {
        "FunctionName": "${ValidateFunctionArn}",
        "Payload": { "run.$": "$$.Execution.Name" }
      },
      "ResultSelector": { "plan.$": "$.Payload.plan" }, "ResultPath": "$.validated",
      "Retry": [{
        "ErrorEquals": ["Tapemark.Transient"], "IntervalSeconds": 1, "BackoffRate": 2.0,
        "MaxAttempts": 5, "JitterStrategy": "FULL"
      }],
      "Catch": [{ "ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Rejected" }],
      "Next": "Pause"
    },
    "Pause": { "Type": "Wait", "Seconds": 30, "Next": "Execute" },
    "Execute": {
      "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
      "Parameters": {
        "FunctionName": "${ExecuteFunctionArn}",
        "Payload": { "run.$": "$$.Execution.Name", "token.$": "$$.Task.Token" }
      },
      "ResultPath": "$.executed", "Next": "Verify"
    },
    "Verify": { "Type": "Task", "Resource": "${VerifyFunctionArn}", "End": true },
    "Rejected": { "Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause" }
  }
}"#;

const START: &str = "2026-01-01T00:00:00Z";

/// Time that flies: whoever waits for a moment is there at once.
struct Flying(Mutex<Timestamp>);

#[async_trait]
impl Alarm for Flying {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }

    async fn until(&self, at: Timestamp) {
        let mut now = self.0.lock();
        *now = at.max(*now);
    }
}

/// Time that moves when it is told to.
struct Standing {
    now: Mutex<Timestamp>,
    moved: Notify,
}

impl Standing {
    fn new() -> Self {
        Self {
            now: Mutex::new(START.parse().unwrap()),
            moved: Notify::new(),
        }
    }

    fn pass(&self, seconds: i64) -> Timestamp {
        let mut now = self.now.lock();
        *now = now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self.moved.notify_waiters();
        *now
    }
}

#[async_trait]
impl Alarm for Standing {
    fn now(&self) -> Timestamp {
        *self.now.lock()
    }

    async fn until(&self, at: Timestamp) {
        loop {
            let moved = self.moved.notified();
            if self.now() >= at {
                return;
            }
            moved.await;
        }
    }
}

/// The rest of the world: it outlives the runner's crashes, as the catalogue does.
#[derive(Default)]
struct World {
    /// How often each phase was called for each run.
    calls: Mutex<BTreeMap<(String, String), u32>>,
    /// The open work of each run, by its task token.
    dispatched: Mutex<BTreeMap<String, String>>,
    /// Runs that were verified: a second time changes nothing.
    verified: Mutex<BTreeMap<String, Value>>,
    bell: Notify,
}

impl World {
    fn calls(&self, phase: Phase, run: &str) -> u32 {
        let key = (format!("{phase:?}"), run.to_owned());
        self.calls.lock().get(&key).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Handlers for World {
    async fn invoke(&self, phase: Phase, input: Value) -> Result<Value, Refusal> {
        let run = match &input["run"] {
            Value::String(run) => run.clone(),
            _ => input["name"].as_str().unwrap().to_owned(),
        };
        let count = {
            let mut calls = self.calls.lock();
            let count = calls
                .entry((format!("{phase:?}"), run.clone()))
                .or_default();
            *count += 1;
            *count
        };
        match phase {
            Phase::Validate if count <= 2 => Err(Refusal::new(Code::Transient, "not yet")),
            Phase::Validate => Ok(json!({ "plan": format!("plan of {run}") })),
            Phase::Execute => {
                let token = input["token"].as_str().unwrap().to_owned();
                let mut dispatched = self.dispatched.lock();
                let first = dispatched.entry(run).or_insert_with(|| token.clone());
                assert_eq!(*first, token, "a crash changes no token");
                drop(dispatched);
                self.bell.notify_one();
                Ok(json!("accepted"))
            }
            Phase::Verify => {
                let done = json!({ "name": run, "done": true });
                self.verified.lock().insert(run, done.clone());
                Ok(done)
            }
            Phase::Allocate => panic!("allocate breaks off"),
        }
    }
}

/// Randomness that a test can repeat.
struct Counting(Mutex<u64>);

impl control::ports::Randomness for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let mut next = self.0.lock();
            *next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
        }
    }
}

fn run(name: &str) -> RunId {
    name.parse().unwrap()
}

async fn open(
    file: &Path,
    definition: &str,
    handlers: Arc<dyn Handlers>,
    alarm: Arc<dyn Alarm>,
    plug: Option<Plug>,
) -> Result<Runner, RunnerError> {
    let ports = RunnerPorts {
        store: Arc::new(Store::open_with(file, plug)?),
        handlers,
        alarm,
        randomness: Arc::new(crate::SystemRandomness),
    };
    Runner::open(ports, definition, RunnerOptions::default()).await
}

fn flying() -> Arc<Flying> {
    Arc::new(Flying(Mutex::new(START.parse().unwrap())))
}

fn types(history: &[Value]) -> Vec<&str> {
    history
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect()
}
