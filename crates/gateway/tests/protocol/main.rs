//! The agent protocol over real HTTP: who may speak, how much, and what a no looks like.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

mod bodies;
mod enrolment;
mod strangers;

use std::time::Duration;

use control::testing::World;
use control::{Control, Principal};
use model::{AgentId, LibraryId};
use reqwest::StatusCode;
use serde_json::{Value, json};
use wire::SecretKey;

const OPERATOR: Principal = Principal::Operator;

const CALLS: [&str; 7] = [
    "inventory",
    "sessions/open",
    "sessions/ready",
    "sessions/claim",
    "sessions/renew",
    "sessions/complete",
    "sessions/close",
];

/// A gateway on a port of its own, and agents that it knows.
struct Gateway {
    world: World,
    control: Control,
    library: LibraryId,
    address: std::net::SocketAddr,
    client: reqwest::Client,
    /// The keys of `agent-1` and `agent-2`.
    keys: [SecretKey; 2],
}

/// Who signs, and what may be wrong with it.
#[derive(Clone)]
struct Signer {
    id: String,
    key: SecretKey,
    /// Seconds that its clock is ahead.
    ahead: i64,
}

impl Gateway {
    async fn start() -> Self {
        let world = World::new(5);
        let control = world.set_up(1, model::Bytes::gib(1), &["a"]).await.unwrap();
        let pool = control.pool(&OPERATOR, &"main".parse().unwrap()).await;
        let library = pool.unwrap().library;
        let keys = [SecretKey::generate(), SecretKey::generate()];
        for (n, key) in keys.iter().enumerate() {
            let id = format!("agent-{}", n + 1).parse().unwrap();
            control
                .register_agent(&OPERATOR, &id, &library, key.public())
                .await
                .unwrap();
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = gateway::router(control.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            world,
            control,
            library,
            address,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            keys,
        }
    }

    /// `agent-1` or `agent-2`.
    fn agent(&self, n: usize) -> Signer {
        Signer {
            id: format!("agent-{n}"),
            key: self.keys[n - 1].clone(),
            ahead: 0,
        }
    }

    /// The three fields of a question, as this signer signs it now.
    fn sign(&self, by: &Signer, call: &str, body: &[u8]) -> wire::Signed {
        let path = format!("/agent/v1/{call}");
        let now = self.control.time().as_second() + by.ahead;
        wire::sign(&by.key, &by.id, "POST", &path, body, now, "07")
    }

    fn unsigned(&self, call: &str, body: &[u8]) -> reqwest::RequestBuilder {
        let url = format!("http://{}/agent/v1/{call}", self.address);
        self.client.post(url).body(body.to_vec())
    }

    fn post(&self, by: &Signer, call: &str, body: &[u8]) -> reqwest::RequestBuilder {
        with(self.unsigned(call, body), &self.sign(by, call, body))
    }

    /// The status and the JSON of an answer to a signed question.
    async fn ask(&self, by: &Signer, call: &str, question: &Value) -> (StatusCode, Value) {
        send(self.post(by, call, question.to_string().as_bytes())).await
    }

    fn inventory(&self, agent: &str) -> Value {
        json!({
            "agent": agent, "library": self.library, "native_capacity": 18_000_000_000_000_u64,
            "slots": [
                { "element": 1000, "kind": "storage", "volume": "TM0001L9", "full": true },
                { "element": 1001, "kind": "storage", "volume": null, "full": false },
            ],
            "drives": [{ "serial": "DRIVE1", "element": 256, "volume": null, "fault": null }],
        })
    }

    fn pass(&self, seconds: u64) {
        self.world.clock.advance(Duration::from_secs(seconds));
    }
}

fn with(request: reqwest::RequestBuilder, signed: &wire::Signed) -> reqwest::RequestBuilder {
    request
        .header("content-digest", &signed.content_digest)
        .header("signature-input", &signed.signature_input)
        .header("signature", &signed.signature)
}

async fn send(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
    (status, json)
}

fn message(no: &Value) -> &str {
    no["message"].as_str().unwrap()
}

#[tokio::test]
async fn an_agent_that_signs_is_answered() {
    let gateway = Gateway::start().await;
    let one = gateway.agent(1);
    let (status, answer) = gateway
        .ask(&one, "inventory", &gateway.inventory("agent-1"))
        .await;
    assert_eq!(
        (status, &answer["registered"]),
        (StatusCode::OK, &json!(["TM0001L9"]))
    );
    let open = json!({
        "agent": "agent-1", "instance": "i", "library": gateway.library, "drive": "DRIVE1",
        "mounted": null, "wait_ms": 0,
    });
    assert_eq!(
        gateway.ask(&one, "sessions/open", &open).await,
        (StatusCode::OK, json!({ "session": null }))
    );
}

#[tokio::test]
async fn an_agent_speaks_for_itself_and_its_library_only() {
    let gateway = Gateway::start().await;
    let two = gateway.agent(2);
    let (status, no) = gateway
        .ask(&two, "inventory", &gateway.inventory("agent-1"))
        .await;
    assert_eq!(
        (status, &no["code"], message(&no)),
        (
            StatusCode::FORBIDDEN,
            &json!("Tapemark.Forbidden"),
            "expected agent agent-2, whose key this is, found agent-1"
        )
    );
    let mut elsewhere = gateway.inventory("agent-2");
    elsewhere["library"] = json!("elsewhere");
    let (status, no) = gateway.ask(&two, "inventory", &elsewhere).await;
    assert_eq!(
        (status, &no["field"]),
        (StatusCode::FORBIDDEN, &json!("library"))
    );
}

#[tokio::test]
async fn a_lost_fence_is_a_conflict() {
    let gateway = Gateway::start().await;
    let one = gateway.agent(1);
    let known = gateway
        .ask(&one, "inventory", &gateway.inventory("agent-1"))
        .await;
    assert_eq!(known.0, StatusCode::OK);
    let session = json!({
        "session": "01890a5d-ac96-774b-bcce-b302099a8057", "volume": "TM0001L9", "fence": 1,
        "moved": 0, "doing": "writing",
    });
    let (status, no) = gateway.ask(&one, "sessions/renew", &session).await;
    assert_eq!(
        (status, &no["code"]),
        (StatusCode::CONFLICT, &json!("Tapemark.FenceLost"))
    );
}

/// The rest of a session's story is in `embedded`, whose paper agent has work to do.
#[tokio::test]
async fn agents_are_noted_as_seen() {
    let gateway = Gateway::start().await;
    gateway
        .ask(
            &gateway.agent(1),
            "inventory",
            &gateway.inventory("agent-1"),
        )
        .await;
    let agents = gateway.control.agents(&OPERATOR).await.unwrap();
    let seen: Vec<_> = agents.iter().map(|a| a.last_seen.is_some()).collect();
    assert_eq!(seen, [true, false]);
    let id: AgentId = "agent-1".parse().unwrap();
    assert_eq!(agents[0].id, id);
}
