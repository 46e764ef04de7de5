//! Replay: the log of records is the execution, wherever the process dies.

use asl::{
    Command, CountingSource, Env, Execution, Identity, Input, Machine, Record, Refused, TaskKey,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{FUNCTION, one, pass};

fn machine() -> Machine {
    let write = json!({ "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Parameters": { "FunctionName": "write", "Payload": { "token.$": "$$.Task.Token", "n.$": "$" } },
        "TimeoutSeconds": 600, "HeartbeatSeconds": 60, "End": true,
        "Retry": [{ "ErrorEquals": ["Busy"], "MaxAttempts": 3, "JitterStrategy": "FULL" }],
        "Catch": [{ "ErrorEquals": ["States.ALL"], "ResultPath": null, "Next": "Skipped" }] });
    let each =
        json!({ "StartAt": "Write", "States": { "Write": write, "Skipped": pass(json!({})) } });
    let side = json!({ "StartAt": "Pause", "States": {
        "Pause": { "Type": "Wait", "Seconds": 30, "Next": "Note" },
        "Note": { "Type": "Task", "Resource": FUNCTION, "End": true,
            "Retry": [{ "ErrorEquals": ["States.ALL"], "MaxAttempts": 2 }] } } });
    let definition = json!({ "StartAt": "Begin", "TimeoutSeconds": 86400, "States": {
        "Begin": { "Type": "Pass", "Assign": { "id.$": "States.UUID()" }, "Next": "Fork" },
        "Fork": { "Type": "Parallel", "Next": "End", "Branches": [
            { "StartAt": "Each", "States": { "Each": {
                "Type": "Map", "MaxConcurrency": 2, "ItemProcessor": each, "End": true } } }, side],
            "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Failed" }] },
        "End": pass(json!({ "Parameters": { "id.$": "$id", "all.$": "$" } })),
        "Failed": { "Type": "Fail", "ErrorPath": "$.Error", "CausePath": "$.Cause" } } });
    Machine::parse(&definition.to_string()).expect("the machine is valid")
}

/// A small generator for the simulation's own choices.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A runner whose only durable thing is the log. Its memory is lost at random moments: before a
/// step's record is appended, after that but before its commands, or between steps.
struct Runner {
    machine: Machine,
    log: Vec<String>,
    execution: Execution,
    todo: Vec<Command>,
    random: CountingSource,
    now: Timestamp,
}

impl Runner {
    fn new(seed: u64) -> Self {
        Runner {
            machine: machine(),
            log: Vec::new(),
            execution: Execution::new(),
            todo: Vec::new(),
            random: CountingSource::new(seed),
            now: "2026-01-01T00:00:00Z".parse().expect("a timestamp"),
        }
    }

    /// The process dies and comes back: all it has is the log.
    fn restart(&mut self) {
        let before = self.execution.history().len();
        let records = self
            .log
            .iter()
            .map(|line| serde_json::from_str::<Record>(line).expect("a record"));
        self.execution = Execution::replay(&self.machine, records).expect("its own log");
        assert!(self.execution.history().len() <= before || self.log.is_empty() || before == 0);
        self.todo = self.execution.pending();
    }

    fn take(&mut self, input: Input, dice: &mut Dice) {
        let mut env = Env {
            now: self.now,
            random: &mut self.random,
        };
        let step = match self.execution.step(&self.machine, input, &mut env) {
            Ok(step) => step,
            Err(Refused::NoSuchTask | Refused::NoSuchTimer | Refused::Over) => return,
            Err(other) => panic!("unexpected: {other}"),
        };
        if dice.roll(8) == 0 {
            // Dies before the append: the step never happened.
            self.restart();
            return;
        }
        self.log
            .push(serde_json::to_string(&step.record).expect("a record is JSON"));
        if dice.roll(8) == 0 {
            self.restart();
            return;
        }
        self.todo.extend(step.commands);
    }

    fn run(&mut self, dice: &mut Dice) {
        while self.log.is_empty() {
            let identity = Identity::local("machine", "run");
            self.take(
                Input::Start {
                    identity,
                    input: json!([1, 2, 3]),
                },
                dice,
            );
        }
        for _ in 0..5_000 {
            if self.execution.outcome().is_some() {
                return;
            }
            if dice.roll(20) == 0 {
                self.restart();
            }
            // Time passes, or something that was asked for happens, maybe twice.
            let scheduled: Vec<_> = self
                .todo
                .iter()
                .filter_map(|command| match command {
                    Command::Schedule(task) => Some(task.clone()),
                    _ => None,
                })
                .collect();
            let pick = scheduled.get(dice.roll(scheduled.len().max(1) as u64) as usize);
            let input = match (dice.roll(7), pick) {
                (0 | 1, _) | (_, None) => {
                    let Some((timer, at)) = self.execution.next_timer() else {
                        continue;
                    };
                    self.now = self.now.max(at);
                    Input::TimerFired { timer }
                }
                (2, Some(task)) => Input::TaskStarted {
                    task: TaskKey::Scheduled(task.id),
                    worker: None,
                },
                (3, Some(task)) => Input::TaskHeartbeat {
                    task: TaskKey::Token(task.token.to_string()),
                },
                (4, Some(task)) => Input::TaskFailed {
                    task: TaskKey::Scheduled(task.id),
                    error: Some(["Busy", "Broken"][dice.roll(2) as usize].to_owned()),
                    cause: None,
                },
                (_, Some(task)) => Input::TaskSucceeded {
                    task: TaskKey::Token(task.token.to_string()),
                    output: task.input.value().clone(),
                },
            };
            self.now = self
                .now
                .saturating_add(SignedDuration::from_secs(dice.roll(5) as i64))
                .expect("time");
            self.take(input, dice);
        }
        panic!(
            "the execution does not end: {:?}",
            self.execution.active_states().collect::<Vec<_>>()
        );
    }
}

#[test]
fn every_execution_ends_wherever_its_runner_dies_and_its_log_tells_the_same_story() {
    let (mut succeeded, mut failed) = (0, 0);
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut runner = Runner::new(seed);
        runner.run(&mut dice);
        let live = runner.execution.history().to_vec();
        runner.restart();
        assert_eq!(runner.execution.history(), live, "seed {seed}");
        assert_well_formed(&live, seed);
        match runner.execution.status() {
            "SUCCEEDED" => succeeded += 1,
            _ => failed += 1,
        }
    }
    assert!(
        succeeded > 20 && failed > 20,
        "both ends are met: {succeeded} and {failed}"
    );
}

/// Ids count up, every event points back, and each scheduled task ends at most once.
fn assert_well_formed(history: &[asl::HistoryEvent], seed: u64) {
    for (index, event) in history.iter().enumerate() {
        assert_eq!(event.id.0, index as u64 + 1, "seed {seed}");
        assert!(event.previous < event.id, "seed {seed}");
    }
    let count = |kind: &str| history.iter().filter(|event| event.kind == kind).count();
    let ends = count("TaskSucceeded") + count("TaskFailed") + count("TaskTimedOut");
    assert!(ends <= count("TaskScheduled"), "seed {seed}");
    assert!(
        count("MapIterationSucceeded") <= count("MapIterationStarted"),
        "seed {seed}"
    );
    let over = |event: &asl::HistoryEvent| {
        matches!(
            event.kind,
            "ExecutionSucceeded" | "ExecutionFailed" | "ExecutionTimedOut"
        )
    };
    assert_eq!(
        history.iter().filter(|event| over(event)).count(),
        1,
        "seed {seed}"
    );
    assert!(history.last().is_some_and(over), "seed {seed}");
}

#[test]
fn replaying_any_part_of_a_log_is_where_the_live_execution_was() {
    let machine = machine();
    let mut random = CountingSource::new(3);
    let mut live = Execution::new();
    let mut log: Vec<Record> = Vec::new();
    let mut now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
    let mut inputs = vec![Input::Start {
        identity: Identity::local("m", "r"),
        input: json!([1, 2]),
    }];
    while let Some(input) = inputs.pop() {
        let mut env = Env {
            now,
            random: &mut random,
        };
        let step = live.step(&machine, input, &mut env).expect("it fits");
        log.push(step.record);
        let again = Execution::replay(&machine, log.clone()).expect("its own log");
        assert_eq!(again.history(), live.history());
        assert_eq!(again.pending(), live.pending());
        assert_eq!(again.status(), live.status());
        assert_eq!(again.steps(), log.len() as u64);
        if let Some(task) = live.tasks().next() {
            let task = TaskKey::Scheduled(task.id);
            inputs.push(match log.len() % 3 {
                0 => Input::TaskFailed {
                    task,
                    error: Some("Busy".to_owned()),
                    cause: None,
                },
                1 => Input::TaskSubmitted {
                    task,
                    output: json!({}),
                },
                _ => Input::TaskSucceeded {
                    task,
                    output: json!("ok"),
                },
            });
        } else if let Some((timer, at)) = live.next_timer() {
            now = at;
            inputs.push(Input::TimerFired { timer });
        }
        if live.outcome().is_some() {
            break;
        }
    }
    assert_eq!(live.status(), "SUCCEEDED");
    assert_eq!(live.pending().len(), 1, "the end is all there is to tell");
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let machine = Machine::parse(
        &one(json!({ "Type": "Task", "Resource": FUNCTION, "End": true })).to_string(),
    )
    .expect("valid");
    let other = Machine::parse(&one(json!({ "Type": "Succeed" })).to_string()).expect("valid");
    let mut random = CountingSource::new(1);
    let mut env = Env {
        now: "2026-01-01T00:00:00Z".parse().expect("a timestamp"),
        random: &mut random,
    };
    let start = |input: Value| Input::Start {
        identity: Identity::local("m", "r"),
        input,
    };
    let gone = Input::TaskHeartbeat {
        task: TaskKey::Token("no such".to_owned()),
    };
    let mut run = Execution::new();
    assert_eq!(
        run.step(&machine, gone.clone(), &mut env),
        Err(Refused::NotStarted)
    );
    let large = start(json!("x".repeat(262_143)));
    assert_eq!(
        run.step(&machine, large, &mut env),
        Err(Refused::InputTooLarge { bytes: 262_145 })
    );
    let long = Input::Start {
        identity: Identity::local("m", &"n".repeat(81)),
        input: json!(1),
    };
    assert!(matches!(
        run.step(&machine, long, &mut env),
        Err(Refused::NameTooLong(_))
    ));
    assert_eq!(run.steps(), 0);
    let step = run
        .step(&machine, start(json!(1)), &mut env)
        .expect("it starts");
    assert_eq!(
        run.step(&machine, start(json!(1)), &mut env),
        Err(Refused::AlreadyStarted)
    );
    assert_eq!(
        run.step(&machine, gone.clone(), &mut env),
        Err(Refused::NoSuchTask)
    );
    assert!(matches!(
        run.step(&other, gone.clone(), &mut env),
        Err(Refused::OtherDefinition { .. })
    ));
    assert!(matches!(
        run.apply(&machine, step.record.clone()),
        Err(Refused::OutOfOrder { .. })
    ));
    assert!(matches!(
        Execution::replay(&other, [step.record]),
        Err(Refused::OtherDefinition { .. })
    ));
    assert_eq!((run.steps(), run.history().len()), (1, 3));
    let stop = Input::Abort {
        error: Some("Stopped".to_owned()),
        cause: None,
    };
    let step = run.step(&machine, stop, &mut env).expect("it stops");
    assert_eq!(step.events[0].kind, "ExecutionAborted");
    assert!(matches!(
        step.commands[..],
        [Command::Cancel { .. }, Command::Complete(_)]
    ));
    assert_eq!(run.status(), "ABORTED");
    assert_eq!(run.step(&machine, gone, &mut env), Err(Refused::Over));
}

#[test]
fn a_heartbeat_moves_its_timer_and_not_the_timeout() {
    let state = json!({ "Type": "Task", "Resource": FUNCTION, "TimeoutSeconds": 100, "HeartbeatSeconds": 10, "End": true });
    let machine = Machine::parse(&one(state).to_string()).expect("valid");
    let mut random = CountingSource::new(1);
    let zero: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
    let mut run = Execution::new();
    let mut take = |run: &mut Execution, seconds: i64, input: Input| {
        let now = zero + SignedDuration::from_secs(seconds);
        run.step(
            &machine,
            input,
            &mut Env {
                now,
                random: &mut random,
            },
        )
        .expect("it fits")
        .commands
    };
    take(
        &mut run,
        0,
        Input::Start {
            identity: Identity::local("m", "r"),
            input: json!(1),
        },
    );
    let task = TaskKey::Scheduled(run.tasks().next().expect("a task").id);
    let (timer, first) = run.next_timer().expect("a heartbeat timer");
    assert_eq!(first, zero + SignedDuration::from_secs(10));
    for beat in 1..=12 {
        take(
            &mut run,
            beat * 8,
            Input::TaskHeartbeat { task: task.clone() },
        );
    }
    assert_eq!(run.history().len(), 3, "heartbeats leave no event");
    let early = take(&mut run, 97, Input::TimerFired { timer });
    assert_eq!(
        early,
        [Command::SetTimer {
            timer,
            at: zero + SignedDuration::from_secs(106)
        }]
    );
    let (timeout, at) = run.next_timer().expect("the timeout");
    assert_eq!(
        at,
        zero + SignedDuration::from_secs(100),
        "the timeout stands"
    );
    take(&mut run, 100, Input::TimerFired { timer: timeout });
    assert_eq!(run.status(), "FAILED");
}

#[test]
fn a_clock_that_goes_back_is_held() {
    let machine =
        Machine::parse(&one(json!({ "Type": "Wait", "Seconds": 10, "End": true })).to_string())
            .expect("valid");
    let mut random = CountingSource::new(1);
    let mut run = Execution::new();
    let late: Timestamp = "2026-01-02T00:00:00Z".parse().expect("a timestamp");
    let early: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
    let start = Input::Start {
        identity: Identity::local("m", "r"),
        input: json!(1),
    };
    run.step(
        &machine,
        start,
        &mut Env {
            now: late,
            random: &mut random,
        },
    )
    .expect("it starts");
    let (timer, _) = run.next_timer().expect("a timer");
    let step = run
        .step(
            &machine,
            Input::TimerFired { timer },
            &mut Env {
                now: early,
                random: &mut random,
            },
        )
        .expect("it fits");
    assert_eq!(step.record.at, late);
    assert_eq!(run.status(), "RUNNING");
}

#[test]
fn tokens_cannot_be_told_from_one_another_without_the_seed() {
    let machine = Machine::parse(
        &one(json!({ "Type": "Task", "Resource": FUNCTION, "End": true })).to_string(),
    )
    .expect("valid");
    let mut seen = std::collections::BTreeSet::new();
    for base in 0..100 {
        let mut random = CountingSource::new(base);
        let mut run = Execution::new();
        let start = Input::Start {
            identity: Identity::local("m", "r"),
            input: json!(1),
        };
        let now = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
        run.step(
            &machine,
            start,
            &mut Env {
                now,
                random: &mut random,
            },
        )
        .expect("it starts");
        let token = run.tasks().next().expect("a task").token.clone();
        assert_eq!(token.len(), 64);
        seen.insert(token);
    }
    assert_eq!(seen.len(), 100);
}

#[test]
fn machines_and_executions_can_be_moved_between_threads() {
    fn moves<T: Send + Sync>() {}
    moves::<Machine>();
    moves::<Execution>();
    moves::<Command>();
    moves::<Record>();
}
