//! The agent protocol over real HTTP: who may speak, how much, and what a no looks like.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use std::sync::Arc;
use std::time::Duration;

use control::ports::Ports;
use control::{Control, Principal};
use embedded::{LocalObjects, LocalQueue, LocalTable, SystemClock, SystemRandomness};
use gateway::{AgentTokens, agent_router};
use model::{Bytes, Pool};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CALLS: [&str; 7] = [
    "inventory",
    "sessions/open",
    "sessions/ready",
    "sessions/claim",
    "sessions/renew",
    "sessions/complete",
    "sessions/close",
];

struct Gateway {
    _directory: tempfile::TempDir,
    address: std::net::SocketAddr,
    client: reqwest::Client,
}

impl Gateway {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let table = LocalTable::open(&directory.path().join("catalogue.redb")).unwrap();
        let control = Control::new(Ports {
            table: Arc::new(table),
            objects: Arc::new(LocalObjects::open(directory.path(), &[], None).unwrap()),
            queue: Arc::new(LocalQueue::default()),
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
            ledger: Arc::new(control::ledger::HashChain),
            resolvers: Arc::new(control::ports::NoResolvers),
        });
        let pool = Pool {
            name: "main".parse().unwrap(),
            library: "lib".parse().unwrap(),
            copies: 1,
            reserve: Bytes(0),
            write_drives: 1,
            fallback: model::Fallback::BuiltIn,
        };
        control.put_pool(&Principal::Operator, pool).await.unwrap();
        let tokens = AgentTokens::new()
            .with("agent-1".parse().unwrap(), "first token")
            .with("agent-2".parse().unwrap(), "second token");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, agent_router(control, tokens)).await });
        Self {
            _directory: directory,
            address,
            client: reqwest::Client::new(),
        }
    }

    fn post(&self, call: &str, token: Option<&str>) -> reqwest::RequestBuilder {
        let request = self
            .client
            .post(format!("http://{}/agent/v1/{call}", self.address));
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// The status and the JSON of an answer.
    async fn ask(&self, request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
        (status, json)
    }
}

fn inventory(agent: &str) -> Value {
    json!({
        "agent": agent, "library": "lib", "native_capacity": 18_000_000_000_000_u64,
        "slots": [
            { "element": 1000, "kind": "storage", "volume": "TM0001L9", "full": true },
            { "element": 1001, "kind": "storage", "volume": null, "full": false },
        ],
        "drives": [{ "serial": "DRIVE1", "element": 256, "volume": null, "fault": null }],
    })
}

#[tokio::test]
async fn an_agent_with_its_token_is_answered() {
    let gateway = Gateway::start().await;
    let request = gateway
        .post("inventory", Some("first token"))
        .json(&inventory("agent-1"));
    let (status, answer) = gateway.ask(request).await;
    assert_eq!(
        (status, &answer["registered"]),
        (StatusCode::OK, &json!(["TM0001L9"]))
    );

    let request = gateway
        .post("sessions/open", Some("first token"))
        .json(&json!({
            "agent": "agent-1", "instance": "i", "library": "lib", "drive": "DRIVE1",
            "mounted": null, "wait_ms": 0,
        }));
    let (status, answer) = gateway.ask(request).await;
    assert_eq!(
        (status, answer),
        (StatusCode::OK, json!({ "session": null }))
    );
}

#[tokio::test]
async fn strangers_get_nothing() {
    let gateway = Gateway::start().await;
    for call in CALLS {
        for token in [
            None,
            Some(""),
            Some("first toke"),
            Some("first token2"),
            Some("other"),
        ] {
            let (status, no) = gateway
                .ask(gateway.post(call, token).body("not even JSON"))
                .await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{call} with {token:?}");
            assert_eq!(no["code"], "Tapemark.Unauthorized");
        }
        let basic = gateway
            .post(call, None)
            .header("authorization", "Basic first token");
        assert_eq!(
            gateway.ask(basic).await.0,
            StatusCode::UNAUTHORIZED,
            "{call}"
        );
    }
    let answer = gateway.post("inventory", None).send().await.unwrap();
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn an_agent_speaks_for_itself_only() {
    let gateway = Gateway::start().await;
    let request = gateway
        .post("inventory", Some("second token"))
        .json(&inventory("agent-1"));
    let (status, no) = gateway.ask(request).await;
    assert_eq!(
        (status, &no["code"]),
        (StatusCode::FORBIDDEN, &json!("Tapemark.Forbidden"))
    );
    assert_eq!(
        no["message"],
        "expected agent agent-2, whose token this is, found agent-1"
    );
}

#[tokio::test]
async fn a_question_that_is_none_is_refused_with_the_reason() {
    let gateway = Gateway::start().await;
    for call in CALLS {
        for body in ["", "{", "[]", "{\"agent\": 1}", "\u{0}"] {
            let request = gateway.post(call, Some("first token")).body(body);
            let (status, no) = gateway.ask(request).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{call}: {body:?}");
            assert_eq!(no["code"], "Tapemark.InvalidRequest");
            assert!(
                no["message"].as_str().unwrap().starts_with("body: "),
                "{no}"
            );
        }
    }
}

#[tokio::test]
async fn a_question_without_end_is_cut_off() {
    let gateway = Gateway::start().await;
    let large = "x".repeat((4 << 20) + 1);
    let (status, no) = gateway
        .ask(
            gateway
                .post("sessions/claim", Some("first token"))
                .body(large),
        )
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(no["code"], "Tapemark.InvalidRequest");
    assert_eq!(
        no["message"],
        "body: expected at most 4194304 bytes, found more"
    );
}

/// The time is virtual: it passes when nobody has anything to do but wait.
#[tokio::test]
async fn a_question_that_stands_still_is_given_up() {
    let gateway = Gateway::start().await;
    // The table works on threads of its own, which virtual time does not wait for.
    tokio::time::pause();
    for call in CALLS {
        let begun = tokio::time::Instant::now();
        let head = format!(
            "POST /agent/v1/{call} HTTP/1.1\r\nHost: tapemark\r\n\
             Authorization: Bearer first token\r\nContent-Length: 100\r\n\r\n{{"
        );
        let mut connection = TcpStream::connect(gateway.address).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        // To its end: the connection is closed too.
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{call}: {answer}");
        assert!(
            answer.contains("\"Tapemark.Transient\""),
            "{call}: {answer}"
        );
        assert!(begun.elapsed() >= Duration::from_secs(60), "{call}");
    }
}

#[tokio::test]
async fn a_lost_fence_is_a_conflict() {
    let gateway = Gateway::start().await;
    let known = gateway
        .post("inventory", Some("first token"))
        .json(&inventory("agent-1"));
    assert_eq!(gateway.ask(known).await.0, StatusCode::OK);
    let session = json!({
        "session": "01890a5d-ac96-774b-bcce-b302099a8057", "volume": "TM0001L9", "fence": 1,
        "moved": 0, "doing": "writing",
    });
    let (status, no) = gateway
        .ask(
            gateway
                .post("sessions/renew", Some("first token"))
                .json(&session),
        )
        .await;
    assert_eq!(
        (status, &no["code"]),
        (StatusCode::CONFLICT, &json!("Tapemark.FenceLost"))
    );
}
