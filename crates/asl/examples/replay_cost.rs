//! What it costs to load executions again: 847 logs of about 40 events each.
use asl::{Command, CountingSource, Env, Execution, Identity, Input, Machine, Record, TaskKey};
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let task = |name: &str, next: &str| {
        serde_json::json!({ "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 60,
            "Parameters": { "FunctionName": name, "Payload.$": "$" }, "ResultPath": "$.r", "Next": next })
    };
    let names = ["A", "B", "C", "D", "E", "F", "G"];
    let mut states = serde_json::Map::new();
    for (index, name) in names.iter().enumerate() {
        states.insert(
            (*name).to_owned(),
            task(name, names.get(index + 1).unwrap_or(&"Z")),
        );
    }
    states.insert("Z".to_owned(), serde_json::json!({ "Type": "Succeed" }));
    let definition = serde_json::json!({ "StartAt": "A", "States": states }).to_string();
    let machine = Machine::parse(&definition).map_err(|found| format!("{found:?}"))?;
    let mut random = CountingSource::new(1);
    let mut logs: Vec<Vec<Record>> = Vec::new();
    let live = std::time::Instant::now();
    let (mut steps, mut events) = (0, 0);
    for number in 0..847 {
        let mut run = Execution::new();
        let mut log = Vec::new();
        let mut env = Env {
            now: jiff::Timestamp::UNIX_EPOCH,
            random: &mut random,
        };
        let identity = Identity::local("bench", &number.to_string());
        let mut next = Some(Input::Start {
            identity,
            input: serde_json::json!({ "n": number }),
        });
        while let Some(input) = next.take() {
            let step = run.step(&machine, input, &mut env)?;
            log.push(step.record);
            next = step.commands.into_iter().find_map(|command| match command {
                Command::Schedule(task) => Some(Input::TaskSucceeded {
                    task: TaskKey::Scheduled(task.id),
                    output: serde_json::json!({ "ok": true }),
                }),
                _ => None,
            });
        }
        steps += log.len();
        events += run.history().len();
        logs.push(log);
    }
    let live = live.elapsed();
    let again = std::time::Instant::now();
    for log in logs {
        Execution::replay(&machine, log)?;
    }
    writeln!(
        std::io::stdout(),
        "847 executions, {steps} steps, {events} events: live {live:?}, replayed in {:?}",
        again.elapsed()
    )?;
    Ok(())
}
