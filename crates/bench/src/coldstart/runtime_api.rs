//! A Runtime API on loopback, for one process: says when it was asked for an event, hands
//! events in, and says how long each took (Lambda developer guide, *Using the Lambda runtime
//! API* and *Extensions API*).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// What a function has for one invocation.
const DEADLINE: Duration = Duration::from_secs(30);

/// How an invocation ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// From the moment the event was handed in.
    pub took: Duration,
    /// False where the function reported an error.
    pub is_ok: bool,
    /// What it said.
    pub body: Bytes,
}

/// The API of one process.
pub struct RuntimeApi {
    /// `AWS_LAMBDA_RUNTIME_API`
    pub address: SocketAddr,
    polls: mpsc::UnboundedReceiver<Instant>,
    events: mpsc::UnboundedSender<String>,
    answers: mpsc::UnboundedReceiver<Answer>,
    broken: mpsc::UnboundedReceiver<String>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Desk {
    polls: mpsc::UnboundedSender<Instant>,
    events: Mutex<mpsc::UnboundedReceiver<String>>,
    answers: mpsc::UnboundedSender<Answer>,
    broken: mpsc::UnboundedSender<String>,
    handed_in: Mutex<Instant>,
}

impl RuntimeApi {
    /// Listens on a free port.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (polled, polls) = mpsc::unbounded_channel();
        let (events, waiting) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let (broke, broken) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk {
            polls: polled,
            events: Mutex::new(waiting),
            answers: answered,
            broken: broke,
            handed_in: Mutex::new(Instant::now()),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{how}", post(answer))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .route("/2020-01-01/extension/register", post(register))
            .route(
                "/2020-01-01/extension/event/next",
                get(std::future::pending::<StatusCode>),
            )
            .with_state(desk);
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            address,
            polls,
            events,
            answers,
            broken,
            server,
        })
    }

    /// When the process asked for its next event.
    ///
    /// # Errors
    /// Where it says that it cannot start.
    pub async fn polled(&mut self) -> anyhow::Result<Instant> {
        tokio::select! {
            at = self.polls.recv() => at.context("the Runtime API is up"),
            Some(error) = self.broken.recv() => anyhow::bail!("it cannot start: {error}"),
        }
    }

    /// Hands in an event and waits until it is answered.
    ///
    /// # Errors
    /// Where the server is gone.
    pub async fn invoke(&mut self, event: &Value) -> anyhow::Result<Answer> {
        self.events.send(event.to_string())?;
        self.answers.recv().await.context("the Runtime API is up")
    }
}

async fn next(State(desk): State<Arc<Desk>>) -> Response {
    // Nobody listens only when the measurement is over.
    let _ = desk.polls.send(Instant::now());
    let Some(event) = desk.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let headers = [
        (
            "lambda-runtime-aws-request-id",
            "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
        ),
        (
            "lambda-runtime-deadline-ms",
            (now + DEADLINE).as_millis().to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:bench".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    *desk.handed_in.lock().await = Instant::now();
    (headers, event).into_response()
}

async fn answer(
    State(desk): State<Arc<Desk>>,
    Path((_, how)): Path<(String, String)>,
    body: Bytes,
) -> StatusCode {
    let took = desk.handed_in.lock().await.elapsed();
    let _ = desk.answers.send(Answer {
        took,
        is_ok: how == "response",
        body,
    });
    StatusCode::ACCEPTED
}

async fn init_error(State(desk): State<Arc<Desk>>, body: String) -> StatusCode {
    let _ = desk.broken.send(body);
    StatusCode::ACCEPTED
}

async fn register() -> Response {
    let headers = [
        (
            "lambda-extension-identifier",
            "c8ab5e4e-2a4c-4f3a-9d8a-7a1f2f3b4c5d",
        ),
        ("content-type", "application/json"),
    ];
    let body = r#"{"functionName":"bench","functionVersion":"$LATEST","handler":"bootstrap"}"#;
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn an_event_is_asked_for_handed_in_and_answered() {
        let mut api = RuntimeApi::start().await.unwrap();
        let base = format!("http://{}/2018-06-01/runtime", api.address);
        let function = tokio::spawn(async move {
            let client = reqwest::Client::new();
            let next = client.get(format!("{base}/invocation/next")).send();
            let next = next.await.unwrap();
            let id = next.headers()["lambda-runtime-aws-request-id"].clone();
            let id = id.to_str().unwrap();
            let event = next.text().await.unwrap();
            let answer = client.post(format!("{base}/invocation/{id}/error"));
            answer.body(event).send().await.unwrap().status()
        });
        api.polled().await.unwrap();
        let answer = api.invoke(&json!({ "op": "check" })).await.unwrap();
        assert!(!answer.is_ok);
        assert_eq!(answer.body, r#"{"op":"check"}"#);
        assert_eq!(function.await.unwrap(), 202);
    }

    #[tokio::test]
    async fn a_function_that_cannot_start_says_why() {
        let mut api = RuntimeApi::start().await.unwrap();
        let url = format!("http://{}/2018-06-01/runtime/init/error", api.address);
        let told = reqwest::Client::new()
            .post(url)
            .body("TAPEMARK_TABLE")
            .send();
        assert_eq!(told.await.unwrap().status(), 202);
        let error = api.polled().await.unwrap_err().to_string();
        assert!(error.contains("TAPEMARK_TABLE"), "{error}");
    }
}
