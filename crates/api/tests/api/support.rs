//! A served API over a control plane in memory.

use std::sync::Arc;

use api::{Api, Caller, FileTokens, RunHistory, Scope, TokenStore};
use async_trait::async_trait;
use control::authority::{Authority, Native};
use control::testing::World;
use model::{Bytes, Code, Refusal, RunId};
use serde_json::{Value, json};

/// Knows no run.
struct NoRuns;

#[async_trait]
impl RunHistory for NoRuns {
    async fn history(&self, run: &RunId) -> Result<Vec<Value>, Refusal> {
        Err(Refusal::new(Code::NotFound, format!("no run {run}")))
    }
}

/// A served API.
pub struct Server {
    /// What it stands on.
    pub world: World,
    /// Where.
    pub url: String,
    /// A token that may do everything.
    pub operator: String,
    /// A token for the service `payments`.
    pub scoped: String,
    _dir: tempfile::TempDir,
}

/// Serves the API on a free port until the test ends: services `payments` and `ledger`, and
/// two blank volumes of 1 GiB.
pub async fn serve() -> Server {
    serve_behind(Arc::new(Native), |router| router).await
}

/// Serves the API behind something that has checked the token: every request is this
/// caller's.
pub async fn serve_to(caller: Caller) -> Server {
    serve_under(caller, Arc::new(Native)).await
}

/// The same, where this authority says who may do what.
pub async fn serve_under(caller: Caller, authority: Arc<dyn Authority>) -> Server {
    serve_behind(authority, |router| router.layer(axum::Extension(caller))).await
}

async fn serve_behind(
    authority: Arc<dyn Authority>,
    wrap: impl FnOnce(axum::Router) -> axum::Router,
) -> Server {
    let world = World::new(7);
    let control = world
        .set_up(2, Bytes::gib(1), &["payments", "ledger"])
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let tokens = FileTokens::open(dir.path().join("tokens.json")).unwrap();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let operator = tokens.create("operator", Scope::Operator, now).unwrap();
    let services = Scope::Services(vec!["payments".parse().unwrap()]);
    let scoped = tokens.create("payments", services, now).unwrap();
    let api = Api {
        clock: world.ports().clock,
        control: control.with_authority(authority),
        tokens: Arc::new(tokens),
        runs: Arc::new(NoRuns),
        library: "lib".parse().unwrap(),
        local: true,
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = wrap(api::router(api));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Server {
        world,
        url,
        operator: operator.expose().to_owned(),
        scoped: scoped.expose().to_owned(),
        _dir: dir,
    }
}

/// A client that asks nobody but the server.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl Server {
    /// The answer to a question, whatever it is.
    pub async fn ask(&self, token: &str, query: &str, variables: Value) -> Value {
        let response = client()
            .post(format!("{}/graphql", self.url))
            .header("content-type", "application/json")
            .bearer_auth(token)
            .body(json!({ "query": query, "variables": variables }).to_string())
            .send()
            .await
            .unwrap();
        response.json().await.unwrap()
    }

    /// A checkpoint of one artifact, as the input of a submission.
    pub fn sample(&self, service: &str, version: &str, key: &str) -> Value {
        let content = format!("{service} {version}");
        json!({
            "idempotencyKey": key,
            "members": [self.world.member(service, version, content.as_bytes())],
        })
    }
}

/// Submits, and asks for what came of it.
pub const SUBMIT: &str =
    "mutation($i: SubmitInput!) { submit(input: $i) { group checkpoints repeated } }";
