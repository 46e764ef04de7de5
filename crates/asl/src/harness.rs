//! Running a definition on a virtual clock, with task outcomes from a table.
//!
//! Everything here is JSON in, JSON out, so that a command line is only a shell around it:
//! waits, retry delays and timeouts take no time, and the same case always gives the same answer.
//!
//! ```
//! let definition = r#"{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}"#;
//! let result = asl::harness::run_case(definition, serde_json::json!({"n": 1}), None);
//! assert_eq!(result["status"], "SUCCEEDED");
//! assert_eq!(result["output"], serde_json::json!({"n": 1}));
//! ```

mod script;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::command::{Command, Env, Identity, Input, Outcome, Task, TaskKey, TaskKind, TimerId};
use crate::execution::Execution;
use crate::machine::{Machine, Pattern};
use crate::random::CountingSource;
use crate::validate::{Diagnostic, validate};
use script::{Answer, Script};

/// Inputs one case may take before it is given up.
const MAX_INPUTS: usize = 200_000;

/// Where the virtual clock starts: 2024-01-01T00:00:00Z.
const CLOCK_START: i64 = 1_704_067_200;

/// Runs a definition to its end.
///
/// `tasks` is an array of `{"state", "attempt", "iteration"?, "resource"?, "parameters"?,
/// "outcome"}`, where the outcome is `{"output"}`, `{"error", "cause"}` or `{"timeout": true}`.
/// Entries are used up in order for each state (and, where `iteration` is given, for that index of
/// the innermost Map).
///
/// The answer has `status`, `output`, `error`, `cause` and `events`. The status is AWS's
/// (`SUCCEEDED`, `FAILED`, `TIMED_OUT`), `INVALID_DEFINITION` with `diagnostics` when the
/// definition is refused, or `ERROR` when the case itself is at fault, such as a task without a
/// scripted outcome. `parameter_mismatches` is there when a task was given other parameters than
/// its entry says.
pub fn run_case(definition: &str, input: Value, tasks: Option<Value>) -> Value {
    let machine = match Machine::parse(definition) {
        Ok(machine) => machine,
        Err(diagnostics) => return invalid(&diagnostics),
    };
    match Script::parse(tasks) {
        Ok(script) => Run::new(&machine, script).finish(input),
        Err(message) => fault("InvalidTasks", message, Vec::new()),
    }
}

/// Checks a definition: `{"result": "OK" | "FAIL", "diagnostics": […]}`.
pub fn validate_text(text: &str) -> Value {
    let (_, diagnostics) = validate(text);
    let failed = diagnostics.iter().any(Diagnostic::is_error);
    json!({ "result": if failed { "FAIL" } else { "OK" }, "diagnostics": diagnostics })
}

/// Runs one line of a batch, `{"id", "definition", "input", "tasks"?}` with the definition an
/// object or its text, and gives one line: the answer of [`run_case`] with the `id` added.
/// Whatever the line holds, there is an answer.
pub fn batch_line(line: &str) -> String {
    let answer = catch_unwind(AssertUnwindSafe(|| batch_case(line))).unwrap_or_else(|_| {
        let id = serde_json::from_str::<Value>(line)
            .ok()
            .and_then(|case| case.get("id").cloned());
        with_id(
            id,
            fault(
                "Internal",
                "the engine failed on this case".to_owned(),
                Vec::new(),
            ),
        )
    });
    answer.to_string()
}

fn batch_case(line: &str) -> Value {
    let mut case = match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(case)) => case,
        Ok(_) => {
            return with_id(
                None,
                fault("InvalidCase", "a case is an object".to_owned(), Vec::new()),
            );
        }
        Err(error) => return with_id(None, fault("InvalidCase", error.to_string(), Vec::new())),
    };
    let id = case.remove("id");
    let input = case.remove("input").unwrap_or_else(|| json!({}));
    let tasks = case.remove("tasks");
    let answer = match case.remove("definition") {
        Some(Value::String(text)) => run_case(&text, input, tasks),
        Some(definition) => run_case(&definition.to_string(), input, tasks),
        None => fault(
            "InvalidCase",
            "the case has no definition".to_owned(),
            Vec::new(),
        ),
    };
    with_id(id, answer)
}

fn with_id(id: Option<Value>, answer: Value) -> Value {
    let mut whole = Map::new();
    whole.insert("id".to_owned(), id.unwrap_or(Value::Null));
    if let Value::Object(members) = answer {
        whole.extend(members);
    }
    Value::Object(whole)
}

fn answer(status: &str, output: Value, error: Value, cause: Value, events: Vec<Value>) -> Value {
    json!({ "status": status, "output": output, "error": error, "cause": cause, "events": events })
}

fn fault(error: &str, cause: String, events: Vec<Value>) -> Value {
    answer(
        "ERROR",
        Value::Null,
        Value::from(error),
        Value::from(cause),
        events,
    )
}

fn invalid(diagnostics: &[Diagnostic]) -> Value {
    let all: Vec<String> = diagnostics
        .iter()
        .map(|found| match &found.location {
            Some(location) => format!("{}: {} at {location}", found.code, found.message),
            None => format!("{}: {} at null", found.code, found.message),
        })
        .collect();
    let cause = format!("Invalid State Machine Definition: '{}'", all.join(", "));
    let mut whole = answer(
        "INVALID_DEFINITION",
        Value::Null,
        Value::from("InvalidDefinition"),
        Value::from(cause),
        Vec::new(),
    );
    if let Some(members) = whole.as_object_mut() {
        members.insert("diagnostics".to_owned(), json!(diagnostics));
    }
    whole
}

/// One case under way.
struct Run<'m> {
    machine: &'m Machine,
    script: Script,
    execution: Execution,
    random: CountingSource,
    now: Timestamp,
    /// What will happen: by moment, then in the order it was planned.
    agenda: BTreeMap<(Timestamp, u64), Planned>,
    planned: u64,
    timers: HashMap<TimerId, (Timestamp, u64)>,
    mismatches: Vec<Value>,
    fault: Option<(&'static str, String)>,
}

enum Planned {
    Input(Box<Input>),
    /// The task starts; its outcome is then looked up.
    Begin(Box<Task>),
}

impl<'m> Run<'m> {
    fn new(machine: &'m Machine, script: Script) -> Self {
        Run {
            machine,
            script,
            execution: Execution::new(),
            random: CountingSource::new(1),
            now: Timestamp::from_second(CLOCK_START).unwrap_or(Timestamp::UNIX_EPOCH),
            agenda: BTreeMap::new(),
            planned: 0,
            timers: HashMap::new(),
            mismatches: Vec::new(),
            fault: None,
        }
    }

    fn finish(mut self, input: Value) -> Value {
        let mut identity = Identity::local("StateMachine", "execution");
        identity.role = "arn:aws:iam::000000000000:role/StepFunctionsRole".to_owned();
        self.take(Input::Start { identity, input });
        for _ in 0..MAX_INPUTS {
            if self.fault.is_some() || self.execution.outcome().is_some() {
                return self.answer();
            }
            let Some(((at, _), planned)) = self.agenda.pop_first() else {
                self.fault = Some(("Stuck", "the execution waits for nothing".to_owned()));
                continue;
            };
            self.now = self.now.max(at);
            match planned {
                Planned::Input(input) => self.take(*input),
                Planned::Begin(task) => self.begin(&task),
            }
        }
        self.fault = Some((
            "TooLong",
            format!("the case takes more than {MAX_INPUTS} inputs"),
        ));
        self.answer()
    }

    fn take(&mut self, input: Input) {
        let mut env = Env {
            now: self.now,
            random: &mut self.random,
        };
        match self.execution.step(self.machine, input, &mut env) {
            Ok(step) => step
                .commands
                .into_iter()
                .for_each(|command| self.obey(command)),
            Err(refused) if self.execution.steps() == 0 => {
                self.fault = Some(("Refused", refused.to_string()));
            }
            // An outcome planned for a task that was cut meanwhile.
            Err(_) => {}
        }
    }

    fn plan(&mut self, at: Timestamp, planned: Planned) -> (Timestamp, u64) {
        let key = (at, self.planned);
        self.planned += 1;
        self.agenda.insert(key, planned);
        key
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Schedule(task) => {
                self.plan(self.now, Planned::Begin(Box::new(task)));
            }
            Command::SetTimer { timer, at } => {
                self.forget(timer);
                let key = self.plan(at, Planned::Input(Box::new(Input::TimerFired { timer })));
                self.timers.insert(timer, key);
            }
            Command::CancelTimer { timer } => self.forget(timer),
            Command::Cancel { .. } | Command::Complete(_) => {}
        }
    }

    fn forget(&mut self, timer: TimerId) {
        if let Some(key) = self.timers.remove(&timer) {
            self.agenda.remove(&key);
        }
    }

    fn begin(&mut self, task: &Task) {
        let key = TaskKey::Scheduled(task.id);
        if self.execution.task(&key).is_none() {
            return;
        }
        let Some(entry) = self.script.next(task) else {
            let cause = format!(
                "no scripted outcome is left for state '{}' (try {}, resource {})",
                task.state,
                task.retries + 1,
                task.resource
            );
            self.fault = Some(("UnscriptedTask", cause));
            return;
        };
        if let Some(expected) = &entry.parameters
            && let Some(mismatch) = script::compare(task, expected)
        {
            self.mismatches.push(mismatch);
        }
        self.take(Input::TaskStarted {
            task: key.clone(),
            worker: None,
        });
        let waits = matches!(
            &task.kind,
            TaskKind::Service {
                pattern: Pattern::Callback | Pattern::Sync,
                ..
            }
        );
        if waits && !entry.fails_to_submit(task) {
            let input = Input::TaskSubmitted {
                task: key.clone(),
                output: json!({}),
            };
            self.plan(self.now, Planned::Input(Box::new(input)));
        }
        match entry.answer {
            Answer::Output(output) => {
                let input = Input::TaskSucceeded { task: key, output };
                self.plan(self.now, Planned::Input(Box::new(input)));
            }
            Answer::Error { error, cause } => {
                let input = Input::TaskFailed {
                    task: key,
                    error,
                    cause,
                };
                self.plan(self.now, Planned::Input(Box::new(input)));
            }
            // A timer of the engine will do it: the task's, or else the machine's.
            Answer::Timeout
                if task.timeout.or(task.heartbeat).is_some()
                    || self.machine.timeout_seconds().is_some() => {}
            Answer::Timeout => {
                self.plan(
                    self.now,
                    Planned::Input(Box::new(Input::TaskTimedOut { task: key })),
                );
            }
        }
    }

    fn answer(self) -> Value {
        let events = self
            .execution
            .history()
            .iter()
            .map(|event| event.to_json())
            .collect();
        let word =
            |word: &Option<std::sync::Arc<str>>| word.as_deref().map_or(Value::Null, Value::from);
        let null = Value::Null;
        let mut whole = match (self.fault, self.execution.outcome()) {
            (Some((error, cause)), _) => fault(error, cause, events),
            (None, Some(outcome)) => {
                let status = outcome.status();
                match outcome {
                    Outcome::Succeeded { output } => {
                        answer(status, output.value().clone(), null.clone(), null, events)
                    }
                    Outcome::Failed { error, cause } | Outcome::Aborted { error, cause } => {
                        answer(status, null, word(error), word(cause), events)
                    }
                    Outcome::TimedOut => answer(status, null.clone(), null.clone(), null, events),
                }
            }
            (None, None) => fault("Stuck", "the execution did not end".to_owned(), events),
        };
        if let (false, Some(members)) = (self.mismatches.is_empty(), whole.as_object_mut()) {
            members.insert(
                "parameter_mismatches".to_owned(),
                Value::Array(self.mismatches),
            );
        }
        whole
    }
}
