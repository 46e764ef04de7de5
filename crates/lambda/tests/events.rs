//! Every file of `events/` through the real handlers, with the outcome that
//! `events/expected.json` names: no example rots.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use control::ports::{Clock, Randomness};
use control::testing::World;
use control::{Control, Effect, Phase, Principal, parse_submission};
use events_function::{Batch, CloudEvent, Listeners};
use jiff::Timestamp;
use lambda::http::HttpFunction;
use lambda::{Failure, Function, PhaseFunction};
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use model::{Bytes, Code, Refusal};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events")
}

fn read(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

struct Then;

impl Clock for Then {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_767_225_600).unwrap()
    }
}

/// Ids as `tapemark up --aws-endpoints --seed` gives them.
struct Counting(AtomicU8);

impl Randomness for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0);
        *buffer.last_mut().unwrap() = self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The samples, as the seed of `tapemark up --aws-endpoints` has them.
async fn seeded() -> (World, Control) {
    let world = World::new(1);
    let services = ["payments", "search"];
    let control = world.set_up(4, Bytes::gib(100), &services).await.unwrap();
    let content = b"payments, release 1.0\n";
    let samples: [(&str, &str, &[u8], bool); 4] = [
        ("payments", "1.0", content, true),
        ("payments", "1.1", b"payments, release 1.1\n", true),
        ("payments", "1.2", content, false),
        ("nobody", "1.0", content, true),
    ];
    for (number, (service, version, declared, is_there)) in (1_u8..).zip(samples) {
        let mut member = world.member(service, version, declared);
        let source = world.objects.put_source("payments/1.0/app.tar", content);
        let missing = "file:///sources/nowhere".to_owned();
        member["artifacts"][0]["source"] = if is_there { source } else { missing }.into();
        let submission = world.submission(&format!("sample/{number}"), &[member]);
        let mut ports = world.ports();
        ports.clock = Arc::new(Then);
        ports.randomness = Arc::new(Counting(AtomicU8::new(number << 4)));
        let submission = parse_submission(submission).unwrap();
        let control = Control::new(ports);
        control
            .submit(&Principal::Operator, submission)
            .await
            .unwrap();
    }
    (world, control)
}

/// What became of an event.
#[derive(Debug)]
enum Outcome {
    Answered(Value),
    Failed(String),
    Http(u16, bool, String),
    Stream {
        told: u64,
        published: u64,
        left: Vec<String>,
    },
}

/// The functions over one control plane.
struct Functions {
    control: Control,
    agent: HttpFunction,
}

#[derive(Default)]
struct Heard {
    told: AtomicU64,
    published: Mutex<Vec<CloudEvent>>,
    down: Option<String>,
}

impl Heard {
    fn up(&self, what: &str) -> Result<(), Refusal> {
        match self.down.as_deref() {
            Some(down) if down == what => Err(Refusal::new(Code::Transient, "down")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Listeners for Heard {
    async fn tell(&self, _effect: Effect) -> Result<bool, Refusal> {
        self.up("machine")?;
        self.told.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    async fn publish(&self, events: Vec<CloudEvent>) -> Result<bool, Refusal> {
        self.up("bus")?;
        self.published.lock().unwrap().extend(events);
        Ok(true)
    }
}

#[async_trait]
impl sweep_function::Machine for Heard {
    async fn tell(&self, effect: Effect) -> Result<bool, Refusal> {
        Listeners::tell(self, effect).await
    }
}

fn quiet(name: &'static str) -> Function {
    Function::with_output(name, Box::new(std::io::sink()))
}

fn answered<T: serde::Serialize>(answer: Result<T, Failure>) -> Outcome {
    match answer {
        Ok(answer) => Outcome::Answered(serde_json::to_value(answer).unwrap()),
        Err(failure) => Outcome::Failed(Diagnostic::from(failure).error_type),
    }
}

impl Functions {
    fn new(control: Control) -> Self {
        Self {
            agent: agent_function::function(quiet("agent"), control.clone()),
            control,
        }
    }

    async fn invoke(&self, name: &str, down: Option<&str>) -> Outcome {
        let event = read(name);
        let control = self.control.clone();
        let heard = Heard {
            down: down.map(str::to_owned),
            ..Heard::default()
        };
        let event_of = |payload| LambdaEvent::new(payload, Context::default());
        let phase = |name, phase| PhaseFunction::new(quiet(name), control.clone(), phase);
        match name.split('/').next().unwrap() {
            "validate" => answered(
                phase("validate", Phase::Validate)
                    .handle(event_of(event))
                    .await,
            ),
            "allocate" => answered(
                phase("allocate", Phase::Allocate)
                    .handle(event_of(event))
                    .await,
            ),
            "execute" => answered(
                phase("execute", Phase::Execute)
                    .handle(event_of(event))
                    .await,
            ),
            "verify" => answered(phase("verify", Phase::Verify).handle(event_of(event)).await),
            "agent" => http(&self.agent, &event).await,
            "sweep" => {
                let function = quiet("sweep");
                let event = event_of(event);
                answered(sweep_function::sweep(&function, &control, &heard, event).await)
            }
            "events" => {
                let batch: Batch = serde_json::from_value(event).unwrap();
                let event = LambdaEvent::new(batch, Context::default());
                let function = quiet("events");
                let left = events_function::events(&function, &control, &heard, event).await;
                let left = left.unwrap().batch_item_failures.into_iter();
                Outcome::Stream {
                    told: heard.told.load(Ordering::Relaxed),
                    published: heard.published.lock().unwrap().len() as u64,
                    left: left.map(|item| item.item_identifier).collect(),
                }
            }
            other => panic!("no function {other}"),
        }
    }
}

async fn http(function: &HttpFunction, event: &Value) -> Outcome {
    let request = lambda_http::request::from_str(&event.to_string()).unwrap();
    let answer = function.handle(request).await.unwrap();
    let replayed = answer.headers().contains_key("idempotency-replayed");
    let status = answer.status().as_u16();
    let body = match answer.into_body() {
        lambda_http::Body::Text(text) => text,
        other => format!("{other:?}"),
    };
    Outcome::Http(status, replayed, body)
}

fn check(outcome: &Outcome, expected: &Value) -> bool {
    match outcome {
        Outcome::Answered(answer) => expected.get("ok") == Some(answer),
        Outcome::Failed(error) => expected["error"] == json!(error),
        Outcome::Http(status, replayed, body) => {
            expected["status"] == json!(status)
                && expected["contains"]
                    .as_str()
                    .is_some_and(|part| body.contains(part))
                && expected["replayed"].as_bool().unwrap_or(false) == *replayed
        }
        Outcome::Stream {
            told,
            published,
            left,
        } => {
            let expected_left: Vec<&str> = expected["left"].as_str().into_iter().collect();
            expected["told"] == json!(told)
                && expected["published"] == json!(published)
                && *left == expected_left
        }
    }
}

#[tokio::test]
async fn every_event_has_the_outcome_that_stands_beside_it() {
    let expected = read("expected.json");
    let mut wrong = BTreeMap::new();
    for (name, expected) in expected.as_object().unwrap() {
        // The function of the API has a test of its own beside it: this one links no compiler.
        if name.starts_with("api/") {
            continue;
        }
        let (_world, control) = seeded().await;
        let functions = Functions::new(control);
        for before in expected["after"].as_array().into_iter().flatten() {
            functions.invoke(before.as_str().unwrap(), None).await;
        }
        let outcome = functions.invoke(name, expected["down"].as_str()).await;
        if !check(&outcome, expected) {
            wrong.insert(name, format!("expected {expected}, found {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_has_an_outcome() {
    let expected = read("expected.json");
    let named: BTreeSet<String> = expected.as_object().unwrap().keys().cloned().collect();
    let mut there = BTreeSet::new();
    for function in std::fs::read_dir(folder()).unwrap() {
        let function = function.unwrap();
        let folder_name = function.file_name().into_string().unwrap();
        // Its function has a test of its own beside it: this one links no compiler.
        if !function.file_type().unwrap().is_dir() || folder_name == "compile" {
            continue;
        }
        for file in std::fs::read_dir(function.path()).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            there.insert(format!("{folder_name}/{file}"));
        }
    }
    assert_eq!(there, named);
}

#[tokio::test]
async fn a_leaf_becomes_a_cloud_event() {
    let heard = Heard::default();
    let batch: Batch = serde_json::from_value(read("events/leaves.json")).unwrap();
    let event = LambdaEvent::new(batch, Context::default());
    let control = World::new(1).control();
    events_function::events(&quiet("events"), &control, &heard, event)
        .await
        .unwrap();
    let published = serde_json::to_value(&*heard.published.lock().unwrap()).unwrap();
    let first = &published[0];
    assert_eq!(first["specversion"], "1.0");
    assert_eq!(first["id"], "7");
    assert_eq!(first["source"], "tapemark/ledger");
    assert_eq!(first["type"], "tapemark.committed");
    assert_eq!(first["time"], "2026-11-22T12:00:00Z");
    assert_eq!(
        first["subject"],
        "checkpoint/019b76da-a800-7000-8000-000000000010"
    );
    assert_eq!(first["data"]["service"], "payments");
    assert_eq!(published[1]["id"], "8");
}

async fn sweep(control: &Control, heard: &Heard) -> Outcome {
    let event = LambdaEvent::new(read("sweep/schedule.json"), Context::default());
    answered(sweep_function::sweep(&quiet("sweep"), control, heard, event).await)
}

#[tokio::test]
async fn what_the_sweep_could_not_tell_it_tells_a_minute_later() {
    let (_world, control) = seeded().await;
    let down = Heard {
        down: Some("machine".to_owned()),
        ..Heard::default()
    };
    let outcome = sweep(&control, &down).await;
    assert!(
        matches!(&outcome, Outcome::Failed(code) if code == "Tapemark.Transient"),
        "{outcome:?}"
    );
    for told in [4, 0] {
        let heard = Heard::default();
        let outcome = sweep(&control, &heard).await;
        let answer = json!({ "told": told });
        assert!(
            matches!(&outcome, Outcome::Answered(found) if *found == answer),
            "expected {answer}, found {outcome:?}"
        );
        assert_eq!(heard.told.load(Ordering::Relaxed), told);
    }
}

#[tokio::test]
async fn what_the_stream_told_the_sweep_does_not_tell_again() {
    let (_world, control) = seeded().await;
    let (id, effect) = control.pending_effects(1).await.unwrap().remove(0);
    let mut event = read("events/effect.json");
    let record = &mut event["Records"][0]["dynamodb"];
    record["Keys"]["sk"]["S"] = json!(id);
    record["NewImage"]["sk"]["S"] = json!(id);
    record["NewImage"]["body"]["S"] = json!(json!({"id": id, "effect": effect}).to_string());
    let batch: Batch = serde_json::from_value(event).unwrap();
    let event = LambdaEvent::new(batch, Context::default());
    let heard = Heard::default();
    let left = events_function::events(&quiet("events"), &control, &heard, event).await;
    assert!(left.unwrap().batch_item_failures.is_empty());
    assert_eq!(heard.told.load(Ordering::Relaxed), 1);
    let outcome = sweep(&control, &Heard::default()).await;
    assert!(
        matches!(&outcome, Outcome::Answered(found) if *found == json!({ "told": 3 })),
        "{outcome:?}"
    );
}
