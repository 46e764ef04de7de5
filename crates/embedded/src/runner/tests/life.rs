//! What an execution does when nothing breaks, and what it costs when something does.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::runner::{Started, Status, Told};

async fn fresh(
    definition: &str,
    world: &Arc<World>,
    alarm: Arc<dyn Alarm>,
) -> (tempfile::TempDir, Runner) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs.redb");
    let runner = open(&file, definition, world.clone(), alarm, None)
        .await
        .unwrap();
    (directory, runner)
}

async fn token_of(world: &World, name: &str) -> String {
    loop {
        if let Some(token) = world.dispatched.lock().get(name) {
            return token.clone();
        }
        world.bell.notified().await;
    }
}

#[tokio::test]
async fn a_run_goes_its_way_and_leaves_its_history() {
    let world = Arc::new(World::default());
    let (_directory, runner) = fresh(STORY, &world, flying()).await;
    let input = json!({ "name": "run-1" });
    let started = runner
        .start_execution(&run("run-1"), input.clone())
        .await
        .unwrap();
    assert_eq!(started, Started::New);
    let token = token_of(&world, "run-1").await;
    let view = runner.describe(&run("run-1")).await.unwrap();
    assert_eq!(
        (view.status, view.states),
        (Status::Running, vec!["Execute".to_owned()])
    );

    assert_eq!(
        runner.task_succeeded("nonsense", json!(1)).await.unwrap(),
        Told::Unknown
    );
    assert_eq!(
        runner.task_succeeded(&token, json!("wrote")).await.unwrap(),
        Told::Taken
    );
    let view = runner.ended(&run("run-1")).await.unwrap();
    assert_eq!(view.status, Status::Succeeded);
    assert_eq!(view.output, Some(json!({ "name": "run-1", "done": true })));
    assert!(view.ended_at > Some(view.started_at));
    assert_eq!(
        runner.task_succeeded(&token, json!("again")).await.unwrap(),
        Told::Unknown
    );

    let history = runner.history(&run("run-1")).await.unwrap();
    assert_eq!(
        types(&history),
        [
            "ExecutionStarted",
            "TaskStateEntered",
            "TaskScheduled",
            "TaskStarted",
            "TaskFailed",
            "TaskScheduled",
            "TaskStarted",
            "TaskFailed",
            "TaskScheduled",
            "TaskStarted",
            "TaskSucceeded",
            "TaskStateExited",
            "WaitStateEntered",
            "WaitStateExited",
            "TaskStateEntered",
            "TaskScheduled",
            "TaskStarted",
            "TaskSubmitted",
            "TaskSucceeded",
            "TaskStateExited",
            "TaskStateEntered",
            "LambdaFunctionScheduled",
            "LambdaFunctionStarted",
            "LambdaFunctionSucceeded",
            "TaskStateExited",
            "ExecutionSucceeded",
        ]
    );
    let failed = &history[4]["taskFailedEventDetails"];
    assert_eq!(failed["error"], "Tapemark.Transient");
    let cause: Value = serde_json::from_str(failed["cause"].as_str().unwrap()).unwrap();
    assert_eq!(cause["errorMessage"], "not yet");

    assert_eq!(
        runner.start_execution(&run("run-1"), input).await.unwrap(),
        Started::Known
    );
    let other = runner
        .start_execution(&run("run-1"), json!({ "name": "x" }))
        .await;
    assert_eq!(other, Err(RunnerError::NameTaken(run("run-1"))));
    assert_eq!(
        world.calls(Phase::Validate, "run-1"),
        3,
        "a repeated start does nothing"
    );
}

#[tokio::test]
async fn what_is_over_leaves_memory() {
    let world = Arc::new(World::default());
    let (_directory, runner) = fresh(STORY, &world, flying()).await;
    for n in 0..20 {
        let name = format!("run-{n}");
        runner
            .start_execution(&run(&name), json!({ "name": name }))
            .await
            .unwrap();
    }
    for n in 0..20 {
        let name = format!("run-{n}");
        let token = token_of(&world, &name).await;
        if n % 2 == 0 {
            runner.task_succeeded(&token, json!(n)).await.unwrap();
        } else {
            let (error, cause) = ("Tapemark.MediaError".to_owned(), "bad spot".to_owned());
            runner.task_failed(&token, error, cause).await.unwrap();
        }
        let view = runner.ended(&run(&name)).await.unwrap();
        let expected = if n % 2 == 0 {
            Status::Succeeded
        } else {
            Status::Failed
        };
        assert_eq!(view.status, expected);
        if n % 2 == 1 {
            assert_eq!(view.error.as_deref(), Some("Tapemark.MediaError"));
            assert_eq!(view.cause.as_deref(), Some("bad spot"));
        }
    }
    assert_eq!(
        (
            runner.running(),
            runner.inner.open_timers(),
            runner.inner.open_tokens()
        ),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn lists_are_paged_and_old_executions_are_forgotten() {
    let world = Arc::new(World::default());
    let definition = r#"{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}"#;
    let alarm = Arc::new(Standing::new());
    let (_directory, runner) = fresh(definition, &world, alarm.clone()).await;
    for n in 0..7 {
        runner
            .start_execution(&run(&format!("run-{n}")), json!(n))
            .await
            .unwrap();
        alarm.pass(10);
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = runner.list(Status::Succeeded, 3, after.as_ref()).unwrap();
        assert!(page.items.len() <= 3);
        names.extend(page.items.iter().map(ToString::to_string));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(
        names,
        [
            "run-6", "run-5", "run-4", "run-3", "run-2", "run-1", "run-0"
        ]
    );
    assert!(
        runner
            .list(Status::Running, 10, None)
            .unwrap()
            .items
            .is_empty()
    );
    assert_eq!(
        runner.list(Status::Running, 0, None),
        Err(RunnerError::Limit(0))
    );

    let third = runner.describe(&run("run-3")).await.unwrap().started_at;
    assert_eq!(runner.forget_ended(third, 2).await.unwrap(), 2);
    assert_eq!(runner.forget_ended(third, 100).await.unwrap(), 1);
    assert_eq!(
        runner
            .list(Status::Succeeded, 10, None)
            .unwrap()
            .items
            .len(),
        4
    );
    let gone = runner.describe(&run("run-0")).await;
    assert_eq!(gone, Err(RunnerError::NotFound(run("run-0"))));
    assert!(runner.history(&run("run-0")).await.is_err());
}

#[tokio::test]
async fn heartbeats_move_their_timer_and_silence_times_out() {
    const LIMITED: &str = r#"{"StartAt": "Execute", "States": {"Execute": {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "HeartbeatSeconds": 60, "TimeoutSeconds": 3600,
        "Parameters": {"FunctionName": "${ExecuteFunctionArn}",
            "Payload": {"run.$": "$$.Execution.Name", "token.$": "$$.Task.Token"}},
        "End": true}}}"#;
    let world = Arc::new(World::default());
    let alarm = Arc::new(Standing::new());
    let (_directory, runner) = fresh(LIMITED, &world, alarm.clone()).await;
    runner.start_execution(&run("r"), json!({})).await.unwrap();
    let token = token_of(&world, "r").await;
    for _ in 0..5 {
        let now = alarm.pass(50);
        assert_eq!(runner.task_heartbeat(&token).await.unwrap(), Told::Taken);
        let due = now.checked_add(SignedDuration::from_secs(60)).unwrap();
        assert_eq!(runner.inner.next_timer(), Some(due));
        assert_eq!(
            runner.inner.open_timers(),
            2,
            "a heartbeat moves its timer and adds none"
        );
    }
    let heard = alarm.pass(0);
    alarm.pass(61);
    let view = runner.ended(&run("r")).await.unwrap();
    assert_eq!(
        (view.status, view.error.as_deref()),
        (Status::Failed, Some("States.Timeout"))
    );
    assert!(view.ended_at.unwrap().duration_since(heard) >= SignedDuration::from_secs(60));
    assert_eq!(runner.task_heartbeat(&token).await.unwrap(), Told::Unknown);
    assert_eq!(
        runner.task_succeeded(&token, json!(1)).await.unwrap(),
        Told::Unknown
    );
}

#[tokio::test]
async fn time_in_which_nobody_ran_is_not_held_against_a_task() {
    const LIMITED: &str = r#"{"StartAt": "Execute", "States": {"Execute": {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "TimeoutSeconds": 120,
        "Parameters": {"FunctionName": "${ExecuteFunctionArn}",
            "Payload": {"run.$": "$$.Execution.Name", "token.$": "$$.Task.Token"}},
        "End": true}}}"#;
    let world = Arc::new(World::default());
    let alarm = Arc::new(Standing::new());
    let (directory, runner) = fresh(LIMITED, &world, alarm.clone()).await;
    runner.start_execution(&run("r"), json!({})).await.unwrap();
    let token = token_of(&world, "r").await;
    runner.shutdown(std::time::Duration::from_secs(5)).await;
    drop(runner);

    let back = alarm.pass(7 * 24 * 3600);
    let file = directory.path().join("runs.redb");
    let runner = open(&file, LIMITED, world.clone(), alarm.clone(), None)
        .await
        .unwrap();
    let due = back.checked_add(SignedDuration::from_secs(120)).unwrap();
    assert_eq!(runner.inner.next_timer(), Some(due));
    assert_eq!(
        runner.task_succeeded(&token, json!("late")).await.unwrap(),
        Told::Taken
    );
    assert_eq!(
        runner.ended(&run("r")).await.unwrap().status,
        Status::Succeeded
    );
}

#[tokio::test]
async fn executions_go_on_with_the_definition_they_began_with() {
    let world = Arc::new(World::default());
    let (directory, runner) = fresh(STORY, &world, flying()).await;
    runner
        .start_execution(&run("old"), json!({ "name": "old" }))
        .await
        .unwrap();
    let token = token_of(&world, "old").await;
    runner.shutdown(std::time::Duration::from_secs(5)).await;
    drop(runner);

    let newer = r#"{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}"#;
    let file = directory.path().join("runs.redb");
    let runner = open(&file, newer, world.clone(), flying(), None)
        .await
        .unwrap();
    runner
        .start_execution(&run("new"), json!({}))
        .await
        .unwrap();
    assert_eq!(
        runner.ended(&run("new")).await.unwrap().output,
        Some(json!({}))
    );
    runner.task_succeeded(&token, json!("wrote")).await.unwrap();
    let view = runner.ended(&run("old")).await.unwrap();
    assert_eq!(view.output, Some(json!({ "name": "old", "done": true })));
}

#[tokio::test]
async fn a_phase_that_breaks_off_is_a_passing_fault() {
    let definition = r#"{"StartAt": "A", "States": {"A": {
        "Type": "Task", "Resource": "${AllocateFunctionArn}", "End": true}}}"#;
    let world = Arc::new(World::default());
    let (_directory, runner) = fresh(definition, &world, flying()).await;
    runner
        .start_execution(&run("r"), json!({ "name": "r" }))
        .await
        .unwrap();
    let view = runner.ended(&run("r")).await.unwrap();
    assert_eq!(view.error.as_deref(), Some("Tapemark.Transient"));
}

#[tokio::test]
async fn an_execution_can_be_stopped() {
    let world = Arc::new(World::default());
    let (_directory, runner) = fresh(STORY, &world, flying()).await;
    let missing = runner.stop_execution(&run("r"), None, None).await;
    assert_eq!(missing, Err(RunnerError::NotFound(run("r"))));
    runner
        .start_execution(&run("r"), json!({ "name": "r" }))
        .await
        .unwrap();
    token_of(&world, "r").await;
    runner
        .stop_execution(&run("r"), Some("Called.Off".to_owned()), None)
        .await
        .unwrap();
    let view = runner.ended(&run("r")).await.unwrap();
    assert_eq!(
        (view.status, view.error.as_deref()),
        (Status::Aborted, Some("Called.Off"))
    );
    runner.stop_execution(&run("r"), None, None).await.unwrap();
    assert_eq!(runner.inner.open_tokens(), 0);
}

#[tokio::test]
async fn a_definition_that_cannot_run_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let world = Arc::new(World::default());
    for (number, bad) in [
        "not JSON",
        r#"{"StartAt": "A", "States": {}}"#,
        r#"{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "${MailFunctionArn}", "End": true}}}"#,
    ]
    .iter()
    .enumerate()
    {
        let file = directory.path().join(number.to_string());
        let opened = open(&file, bad, world.clone(), flying(), None).await;
        assert!(matches!(opened.err(), Some(RunnerError::Definition(_))), "{bad}");
    }
}

/// Counts how many phases are at work at once.
#[derive(Default)]
struct Crowd {
    inside: AtomicUsize,
    most: AtomicUsize,
    order: Mutex<Vec<u64>>,
}

#[async_trait]
impl Handlers for Crowd {
    async fn invoke(&self, _: Phase, input: Value) -> Result<Value, Refusal> {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        self.order.lock().push(input.as_u64().unwrap());
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
        Ok(input)
    }
}

#[tokio::test]
async fn phases_at_work_are_bounded_and_served_in_order() {
    let definition = r#"{"StartAt": "A", "States": {"A": {
        "Type": "Task", "Resource": "${ValidateFunctionArn}", "End": true}}}"#;
    let directory = tempfile::tempdir().unwrap();
    let crowd = Arc::new(Crowd::default());
    let ports = RunnerPorts {
        store: Arc::new(Store::open(&directory.path().join("runs.redb")).unwrap()),
        handlers: crowd.clone(),
        alarm: flying(),
        randomness: Arc::new(Counting(Mutex::new(1))),
    };
    let options = RunnerOptions {
        invocations: 4,
        ..RunnerOptions::default()
    };
    let runner = Runner::open(ports, definition, options).await.unwrap();
    for n in 0..40 {
        runner
            .start_execution(&run(&format!("run-{n}")), json!(n))
            .await
            .unwrap();
    }
    for n in 0..40 {
        runner.ended(&run(&format!("run-{n}"))).await.unwrap();
    }
    assert!(crowd.most.load(Ordering::SeqCst) <= 4);
    let order = crowd.order.lock().clone();
    for (place, n) in order.iter().enumerate() {
        let distance = place.abs_diff(*n as usize);
        assert!(
            distance <= 4,
            "run {n} was served at place {place}: {order:?}"
        );
    }
}
