//! What `sam build` built, as Lambda would run it: each bootstrap under the Runtime Interface
//! Emulator, against the services of a deployment on MiniStack.
//!
//! A panic is told by what it comes to in a function built with `panic = "abort"`: SIGABRT
//! while an event is under way. No event makes a function panic, and none may.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use aws_stories::deployment::{self, Deployment, built};
use aws_stories::events;
use aws_stories::http::{self, Request, Response, Server};
use aws_stories::lacking;
use aws_stories::process::signal;
use aws_stories::rie::{Answer, MAX_PAYLOAD, Rie, emulator};
use serde_json::{Value, json};

/// Those that a state machine calls, with an operation that needs a group.
const PHASES: [(&str, &str); 4] = [
    ("ValidateFunction", "check"),
    ("AllocateFunction", "place"),
    ("ExecuteFunction", "fence"),
    ("VerifyFunction", "commit"),
];

fn bootstrap(function: &str) -> PathBuf {
    built().join(function).join("bootstrap")
}

fn possible() -> bool {
    deployment::possible()
        && (emulator().is_some() || lacking("SAM's Runtime Interface Emulator; run .ci/setup"))
}

/// A function of a deployment under the emulator, its services at `endpoint`.
fn run(deployment: &Deployment, function: &str, timeout: u64, endpoint: &str) -> Rie {
    let mut environment = deployment.environment(function);
    environment.push(("AWS_ENDPOINT_URL".to_owned(), format!("http://{endpoint}")));
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    Rie::start(
        &bootstrap(function),
        Duration::from_secs(timeout),
        &environment,
        deployment.stack.folder(),
    )
}

/// An event of a phase, made so long.
fn phase_event(op: &str, length: usize) -> Vec<u8> {
    let mut event = events::phase(op);
    let padding = length.saturating_sub(event.to_string().len());
    event["error"]["Cause"] = "x".repeat(padding).into();
    event.to_string().into_bytes()
}

#[test]
fn a_phase_refuses_by_name_whatever_the_length_and_survives_garbage() {
    if !possible() {
        return;
    }
    let deployment = Deployment::start("file:///tmp");
    let endpoint = deployment.stack.address();

    for (function, op) in PHASES {
        let rie = run(&deployment, function, 30, &endpoint);
        let refused = rie.invoke(&phase_event(op, 0));
        let code = refused.error_type();
        assert!(code.starts_with("Tapemark."), "{function}: {refused:?}");
        let message = refused.json["errorMessage"].as_str().unwrap();
        assert!(!message.is_empty(), "{function}: {refused:?}");

        // As long as an event may be: read to its end, and refused for the same reason.
        let long = rie.invoke(&phase_event(op, MAX_PAYLOAD - 1024));
        assert_eq!(long.error_type(), code, "{function}: {}", long.text);

        garbage(function, &rie);
    }
}

#[test]
fn the_other_functions_answer_and_survive_garbage() {
    if !possible() {
        return;
    }
    let deployment = Deployment::start("file:///tmp");
    let endpoint = deployment.stack.address();
    for function in [
        "EventsFunction",
        "AgentFunction",
        "ApiFunction",
        "CompileFunction",
    ] {
        garbage(function, &run(&deployment, function, 30, &endpoint));
    }

    let sweep = run(&deployment, "SweepFunction", 55, &endpoint).invoke(b"{}");
    assert_eq!((sweep.status, sweep.error_type()), (200, ""), "{sweep:?}");

    let none = run(&deployment, "EventsFunction", 55, &endpoint).invoke(br#"{"Records":[]}"#);
    assert_eq!(none.json["batchItemFailures"], json!([]), "{none:?}");

    let api = run(&deployment, "ApiFunction", 30, &endpoint);
    let well = api.invoke(
        events::http("GET", "/healthz", &Value::Null)
            .to_string()
            .as_bytes(),
    );
    assert_eq!(well.json["statusCode"], 200, "{well:?}");
    // Without the claims of an authorizer nobody is anybody.
    let body = json!({ "query": "{ __typename }" });
    let nobody = api.invoke(
        events::http("POST", "/graphql", &body)
            .to_string()
            .as_bytes(),
    );
    assert_eq!(nobody.json["statusCode"], 401, "{nobody:?}");

    let agent = run(&deployment, "AgentFunction", 30, &endpoint);
    let event = events::http("POST", "/agent/v1/claim", &json!({}));
    let unsigned = agent.invoke(event.to_string().as_bytes());
    assert_eq!(unsigned.json["statusCode"], 401, "{unsigned:?}");
}

/// What is no event of the function's is refused, and the process lives on.
fn garbage(function: &str, rie: &Rie) {
    let mut process = None;
    for bytes in [&b"not json"[..], b"[]", b"\"\"", b"{\"op\":42}"] {
        let answer = rie.invoke(bytes);
        assert_eq!(answer.status, 200, "{function}: {answer:?}");
        assert_ne!(answer.error_type(), "", "{function}: {answer:?}");
        let now = rie.bootstrap();
        assert!(
            now.is_some() && (process.is_none() || process == now),
            "{function}"
        );
        process = now;
    }
}

/// Services that hold one request until they are told, and pass on all others.
struct Holding {
    server: Server,
    held: Receiver<()>,
    release: Option<Sender<()>>,
}

impl Holding {
    fn before(services: String) -> Self {
        let (seen, held) = channel();
        let (release, released) = channel::<()>();
        let first = Mutex::new(Some((seen, released)));
        let server = Server::answering(
            "127.0.0.1:0",
            move |request: &Request| -> Option<Response> {
                let first = first.lock().unwrap().take();
                if let Some((seen, released)) = first {
                    seen.send(()).ok()?;
                    // Ends when the other side is dropped.
                    let _ = released.recv();
                    return None;
                }
                http::send(&services, request).ok()
            },
        );
        Self {
            server: server.unwrap(),
            held,
            release: Some(release),
        }
    }

    fn until_held(&self) {
        self.held.recv_timeout(Duration::from_secs(30)).unwrap();
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.release = None;
    }
}

/// A function whose first event is held by its services, under an emulator that gives it so
/// many seconds.
fn held(deployment: &Deployment, timeout: u64) -> (Holding, Rie) {
    let services = Holding::before(deployment.stack.address());
    let at = services.server.address();
    let rie = run(deployment, "ValidateFunction", timeout, &at);
    (services, rie)
}

/// What becomes of an event when this signal comes in the middle of it.
fn signalled(services: &Holding, rie: &Rie, name: &str) -> Answer {
    std::thread::scope(|threads| {
        let asked = threads.spawn(|| rie.invoke(&phase_event("check", 0)));
        services.until_held();
        signal(name, &rie.bootstrap().unwrap().to_string());
        asked.join().unwrap()
    })
}

fn answers_again(rie: &Rie) {
    let next = rie.invoke(&phase_event("check", 0));
    let code = next.error_type();
    let own = code.starts_with("Tapemark.") && code != "Tapemark.Transient";
    assert!(own, "{next:?}");
}

#[test]
fn a_function_whose_services_hang_says_so_before_its_time_is_up() {
    if !possible() {
        return;
    }
    let deployment = Deployment::start("file:///tmp");
    // Too short to ask the services a second time.
    let (services, rie) = held(&deployment, 2);
    let late = rie.invoke(&phase_event("check", 0));
    assert_eq!(late.error_type(), "Tapemark.Transient", "{late:?}");
    services.until_held();
    answers_again(&rie);
}

#[test]
fn a_function_that_is_stuck_is_ended_in_time_and_the_next_event_is_answered() {
    if !possible() {
        return;
    }
    let deployment = Deployment::start("file:///tmp");
    let (services, rie) = held(&deployment, 5);
    let late = signalled(&services, &rie, "STOP");
    let says = late.text.contains("timed out after 5.00 seconds");
    assert!(says, "{late:?}");
    answers_again(&rie);
}

#[test]
fn a_function_that_aborts_says_so_and_the_next_event_is_answered() {
    if !possible() {
        return;
    }
    let deployment = Deployment::start("file:///tmp");
    let (services, rie) = held(&deployment, 60);
    let died = signalled(&services, &rie, "ABRT");
    assert_eq!(died.status, 502, "{died:?}");
    assert_eq!(died.error_type(), "Runtime.ExitError", "{died:?}");
    answers_again(&rie);
}
