//! What the runner itself costs: `cargo run --release -p embedded --example runs [RUNS]`.
//!
//! Each run goes through a machine of the shape of the real one (four function calls, two
//! dispatches with task tokens) with phases that answer at once. Prints one JSON object.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use control::Phase;
use embedded::{Handlers, Runner, RunnerOptions};
use model::{Refusal, RunId};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const MACHINE: &str = r#"{
  "StartAt": "Begin",
  "States": {
    "Begin": { "Type": "Pass", "Parameters": { "job.$": "$", "run": { "id.$": "$$.Execution.Name" } },
      "Next": "Validate" },
    "Validate": { "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {
      "FunctionName": "${ValidateFunctionArn}", "Payload": { "input.$": "$" } },
      "ResultSelector": { "out.$": "$.Payload" }, "ResultPath": "$.validated", "Next": "Allocate" },
    "Allocate": { "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {
      "FunctionName": "${AllocateFunctionArn}", "Payload": { "input.$": "$" } },
      "ResultSelector": { "out.$": "$.Payload" }, "ResultPath": "$.allocated", "Next": "Execute" },
    "Execute": { "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
      "Parameters": { "FunctionName": "${ExecuteFunctionArn}",
        "Payload": { "token.$": "$$.Task.Token", "input.$": "$" } },
      "ResultPath": "$.executed", "Next": "Verify" },
    "Verify": { "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
      "Parameters": { "FunctionName": "${VerifyFunctionArn}",
        "Payload": { "token.$": "$$.Task.Token", "input.$": "$" } },
      "ResultPath": "$.verified", "Next": "Commit" },
    "Commit": { "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {
      "FunctionName": "${VerifyFunctionArn}", "Payload": { "input.$": "$" } },
      "ResultPath": null, "Next": "Release" },
    "Release": { "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {
      "FunctionName": "${AllocateFunctionArn}", "Payload": { "input.$": "$" } },
      "ResultPath": null, "Next": "Done" },
    "Done": { "Type": "Succeed" }
  }
}"#;

/// Phases that answer at once; tokens go to an agent that answers them at once.
struct Ready(mpsc::UnboundedSender<String>);

#[async_trait]
impl Handlers for Ready {
    async fn invoke(&self, _: Phase, input: Value) -> Result<Value, Refusal> {
        if let Some(token) = input["token"].as_str() {
            let _ = self.0.send(token.to_owned());
        }
        Ok(json!({ "group": "01890a5d-ac96-774b-bcce-b302099a8057", "placements": [1, 2] }))
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs: usize = std::env::args()
        .nth(1)
        .map_or(Ok(847), |text| text.parse())?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("runs.redb");
    let (tokens, mut open) = mpsc::unbounded_channel();
    let phases = Arc::new(Ready(tokens));
    let runner = Runner::on_file(&file, phases, MACHINE, RunnerOptions::default()).await?;
    let agent = runner.clone();
    tokio::spawn(async move {
        while let Some(token) = open.recv().await {
            let agent = agent.clone();
            tokio::spawn(async move { agent.task_succeeded(&token, json!({ "ok": true })).await });
        }
    });

    let began = Instant::now();
    let starts = (0..runs).map(|n| {
        let runner = runner.clone();
        tokio::spawn(async move {
            let run: RunId = format!("run-{n:06}")
                .parse()
                .expect("the name is within the rules");
            runner.start_execution(&run, json!({ "group": n })).await?;
            runner.ended(&run).await
        })
    });
    let mut events = 0;
    for start in starts.collect::<Vec<_>>() {
        let view = start.await??;
        if events == 0 {
            events = runner.history(&view.run).await?.len();
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(&file)?.len();
    let numbers = json!({
        "runs": runs, "seconds": seconds, "runs_per_second": runs as f64 / seconds,
        "events_per_run": events, "bytes_per_run": bytes / runs as u64,
    });
    // An example is a program: its output is its purpose.
    #[allow(clippy::print_stdout)]
    {
        println!("{numbers}");
    }
    Ok(())
}
