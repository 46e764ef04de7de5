//! The same state machine, the same answers of its functions: our engine and an emulator of
//! Step Functions go the same way through it, with the same data in every state.
//!
//! The functions are scripts: what each state's function answers, in order. On MiniStack they
//! are processes behind Lambda that ask this test; a task that waits for a token gets its
//! answer through `SendTaskSuccess` or `SendTaskFailure`.
//!
//! What is different about the copy that MiniStack runs, and why: it has function ARNs for the
//! placeholders; waits and retry delays take a thousandth of their time (`SFN_WAIT_SCALE`);
//! and in the story where nobody decides, the timeout of `Park` is 2 s, not 30 days. MiniStack
//! draws no jitter and swallows the failure of a function whose state waits for a token, so
//! such failures come here through the token.

#![allow(clippy::unwrap_used, clippy::panic)]

mod scenarios;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_stories::http::{Request, Response, Server};
use aws_stories::ministack::{Client, MiniStack};
use aws_stories::{need, repository};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use scenarios::{Answer, Scenario};
use serde_json::{Value, json};

const FUNCTIONS: [&str; 4] = ["Validate", "Allocate", "Execute", "Verify"];

/// Waits and delays of retries take this share of their time on MiniStack.
const SCALE: f64 = 0.001;

/// What came of an execution.
#[derive(Debug, PartialEq)]
struct Outcome {
    status: String,
    error: Value,
    cause: Value,
    output: Value,
    /// Each state entered, with its input.
    path: Vec<(String, Value)>,
}

fn definition() -> Value {
    let file = repository().join("infra/state-machine/checkpoint.asl.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn input(run: &str) -> Value {
    json!({ "run": run, "group": "01998d5e-0000-7000-8000-000000000001" })
}

/// The function and the operation of each task state: what a payload tells of its state.
fn operations(definition: &Value) -> BTreeMap<String, String> {
    let states = definition["States"].as_object().unwrap();
    let tasks = states.iter().filter(|(_, state)| state["Type"] == "Task");
    tasks
        .map(|(name, state)| {
            let function = state["Parameters"]["FunctionName"].as_str().unwrap();
            let function = function
                .trim_start_matches("${")
                .trim_end_matches("FunctionArn}");
            let op = state["Parameters"]["Payload"]["op"].as_str().unwrap();
            (name.clone(), format!("{function}/{op}"))
        })
        .collect()
}

/// How a function's failure looks to the state machine: its cause is the error as JSON.
fn function_error(code: &str, message: &str) -> Value {
    json!({ "errorType": code, "errorMessage": message })
}

/// What MiniStack adds to a timeout; Step Functions says nothing.
const TIMED_OUT: &str = "Task timed out waiting for callback";

/// Causes as values where they are JSON: the order of members says nothing.
fn unfold(value: &Value) -> Value {
    match value {
        Value::String(text) if text == TIMED_OUT => "".into(),
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ Value::Object(_)) => inner,
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(unfold).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), unfold(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn path(events: &[Value]) -> Vec<(String, Value)> {
    let entered = events
        .iter()
        .filter(|event| event["type"].as_str().unwrap().ends_with("StateEntered"));
    entered
        .map(|event| {
            let details = &event["stateEnteredEventDetails"];
            let input: Value = serde_json::from_str(details["input"].as_str().unwrap()).unwrap();
            (details["name"].as_str().unwrap().to_owned(), unfold(&input))
        })
        .collect()
}

fn on_our_engine(scenario: &Scenario, run: &str) -> Outcome {
    let definition = definition();
    let waits = |state: &str| {
        let resource = definition["States"][state]["Resource"].as_str().unwrap();
        resource.ends_with(".waitForTaskToken")
    };
    let tasks: Vec<Value> = scenario
        .answers
        .iter()
        .map(|(state, answer)| {
            let outcome = match answer {
                Answer::Done(output) if waits(state) => json!({ "output": output }),
                Answer::Done(output) => {
                    json!({ "output": { "StatusCode": 200, "Payload": output } })
                }
                Answer::No(code, message) if waits(state) => {
                    json!({ "error": code, "cause": message })
                }
                Answer::No(code, message) => {
                    json!({ "error": code, "cause": function_error(code, message).to_string() })
                }
                Answer::Never => json!({ "timeout": true }),
            };
            json!({ "state": state, "outcome": outcome })
        })
        .collect();
    let ran = asl::harness::run_case(&definition.to_string(), input(run), Some(tasks.into()));
    assert_ne!(ran["status"], "ERROR", "{}: {ran}", scenario.name);
    Outcome {
        status: ran["status"].as_str().unwrap().to_owned(),
        error: ran["error"].clone(),
        cause: unfold(&ran["cause"]),
        output: unfold(&ran["output"]),
        path: path(ran["events"].as_array().unwrap()),
    }
}

/// What functions still have to say: by run, then by `Function/op`, in order.
type Script = Arc<Mutex<BTreeMap<(String, String), Vec<Answer>>>>;

/// An emulated Step Functions whose functions say what a script says.
struct Emulated {
    script: Script,
    machine: String,
    client: Client,
    // In the order in which they end.
    stack: MiniStack,
    _server: Server,
}

impl Emulated {
    fn start() -> Self {
        let stack = MiniStack::start(SCALE);
        let client = stack.client();
        let script = Script::default();
        let server = {
            let (client, script) = (client.clone(), Arc::clone(&script));
            Server::start(move |request: &Request| play(&script, &client, request)).unwrap()
        };
        let archive = archive(stack.folder());
        let mut text = definition();
        text["States"]["Park"]["TimeoutSeconds"] = 2.into();
        let mut text = text.to_string();
        for name in FUNCTIONS {
            let environment = json!({ "SCRIPT": server.address() });
            let arn = client.create_function(name, &archive, &environment);
            text = text.replace(&format!("${{{name}FunctionArn}}"), &arn);
        }
        assert!(!text.contains("${"), "a placeholder is left: {text}");
        let created = client.call(
            "states",
            "AWSStepFunctions.CreateStateMachine",
            &json!({ "name": "checkpoint", "definition": text, "type": "STANDARD",
                     "roleArn": "arn:aws:iam::000000000000:role/any" }),
        );
        let machine = created.unwrap()["stateMachineArn"]
            .as_str()
            .unwrap()
            .to_owned();
        Self {
            script,
            machine,
            client,
            stack,
            _server: server,
        }
    }

    fn run(&mut self, scenario: &Scenario, run: &str) -> Outcome {
        let operations = operations(&definition());
        {
            let mut script = self.script.lock().unwrap();
            for (state, answer) in &scenario.answers {
                let key = (run.to_owned(), operations[*state].clone());
                script.entry(key).or_default().push(answer.clone());
            }
        }
        let arn = self.client.start_execution(&self.machine, run, &input(run));
        let client = self.client.clone();
        let ended = self.stack.until(&format!("an end of {run}"), || {
            let now = client.execution(&arn);
            (now["status"] != "RUNNING").then_some(now)
        });
        let unsaid: Vec<_> = {
            let script = self.script.lock().unwrap();
            let left = script
                .iter()
                .filter(|((of, _), left)| of == run && !left.is_empty());
            left.map(|((_, key), _)| key.clone()).collect()
        };
        assert!(unsaid.is_empty(), "{run}: not asked for: {unsaid:?}");
        // MiniStack shows an output of failures, too; Step Functions has none.
        let output = match ended["output"].as_str() {
            Some(text) if ended["status"] == "SUCCEEDED" => serde_json::from_str(text).unwrap(),
            _ => Value::Null,
        };
        Outcome {
            status: ended["status"].as_str().unwrap().to_owned(),
            error: ended["error"].clone(),
            cause: unfold(&ended["cause"]),
            output: unfold(&output),
            path: path(&self.client.history(&arn)),
        }
    }
}

/// The archive of the scripted function, in base64.
fn archive(folder: &std::path::Path) -> String {
    let place = folder.join("scripted");
    std::fs::create_dir(&place).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_scripted"), place.join("bootstrap")).unwrap();
    let zipped = Command::new("python3")
        .args(["-m", "zipfile", "-c", "function.zip", "bootstrap"])
        .current_dir(&place)
        .status();
    assert!(zipped.unwrap().success());
    STANDARD.encode(std::fs::read(place.join("function.zip")).unwrap())
}

/// Answers an event of a function by the script. Where the state waits for a token, the
/// function is done at once and the answer goes through the token.
fn play(script: &Script, client: &Client, request: &Request) -> Response {
    let event: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let run = event["run"].as_str().unwrap_or_default().to_owned();
    let op = event["op"].as_str().unwrap_or_default();
    let key = (
        run,
        format!("{}/{op}", request.target.trim_start_matches('/')),
    );
    let next = script
        .lock()
        .unwrap()
        .get_mut(&key)
        .filter(|left| !left.is_empty())
        .map(|left| left.remove(0));
    let next = next.unwrap_or_else(|| Answer::No("NotInTheScript", format!("{key:?}")));
    let Some(token) = event["taskToken"].as_str() else {
        return match next {
            Answer::Done(output) => Response::new(200, output.to_string().into_bytes()),
            Answer::No(code, message) => {
                Response::new(500, function_error(code, &message).to_string().into_bytes())
            }
            Answer::Never => panic!("a function that answers never: {key:?}"),
        };
    };
    let told = match next {
        Answer::Done(output) => client.call(
            "states",
            "AWSStepFunctions.SendTaskSuccess",
            &json!({ "taskToken": token, "output": output.to_string() }),
        ),
        Answer::No(code, message) => client.call(
            "states",
            "AWSStepFunctions.SendTaskFailure",
            &json!({ "taskToken": token, "error": code, "cause": message }),
        ),
        Answer::Never => Ok(Value::Null),
    };
    told.unwrap();
    Response::new(200, b"{}".to_vec())
}

#[test]
fn our_engine_goes_the_way_that_each_story_says() {
    for (n, scenario) in scenarios::all().iter().enumerate() {
        let outcome = on_our_engine(scenario, &format!("run-{n}"));
        let way: Vec<&str> = outcome.path.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(way, scenario.path, "{}", scenario.name);
        assert_eq!(outcome.status, scenario.status, "{}", scenario.name);
        let error = scenario.error.map_or(Value::Null, Value::from);
        assert_eq!(outcome.error, error, "{}", scenario.name);
    }
}

#[test]
fn an_emulator_of_step_functions_comes_to_the_same_in_each_story() {
    if !need(&["ministack"]) {
        return;
    }
    let mut emulated = Emulated::start();
    let seen = AtomicU64::new(0);
    for scenario in &scenarios::all() {
        let run = format!("run-{}", seen.fetch_add(1, Ordering::Relaxed));
        let begun = std::time::Instant::now();
        let (there, here) = (emulated.run(scenario, &run), on_our_engine(scenario, &run));
        assert_eq!(there, here, "{}", scenario.name);
        eprintln!("{}: {:?}", scenario.name, begun.elapsed());
    }
}
