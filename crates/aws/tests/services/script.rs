//! A server that answers as it is told, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// How a request is answered.
pub(crate) enum Answer {
    Ok(Value),
    /// Status, code, and further members.
    No(u16, &'static str),
    /// It is done, and the answer is cut off.
    Lost,
    /// As a function of Lambda answers that failed.
    FunctionError(Value),
    /// Held until this is notified, then an empty answer.
    Held(Arc<Notify>),
}

pub(crate) struct Server {
    pub(crate) endpoint: String,
    answers: Mutex<VecDeque<(&'static str, Answer)>>,
    asked: Mutex<Vec<(String, Value)>>,
    came: Notify,
}

impl Server {
    pub(crate) async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            answers: Mutex::default(),
            asked: Mutex::default(),
            came: Notify::new(),
        });
        let app = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    /// The next request of that operation is answered so; several in turn.
    pub(crate) fn next(&self, operation: &'static str, answer: Answer) {
        self.answers.lock().unwrap().push_back((operation, answer));
    }

    /// What was asked since last looked.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    pub(crate) fn operations(&self) -> Vec<String> {
        self.asked().into_iter().map(|(name, _)| name).collect()
    }

    /// Waits until so many requests came.
    pub(crate) async fn until(&self, count: usize) {
        loop {
            let came = self.came.notified();
            if self.asked.lock().unwrap().len() >= count {
                return;
            }
            came.await;
        }
    }

    /// True where nothing is left of the script.
    pub(crate) fn is_done(&self) -> bool {
        self.answers.lock().unwrap().is_empty()
    }
}

async fn answer(
    State(server): State<Arc<Server>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let operation = match headers.get("x-amz-target") {
        Some(target) => target.to_str().unwrap().rsplit('.').next().unwrap(),
        None => uri.path(),
    };
    let question = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let next = {
        server
            .asked
            .lock()
            .unwrap()
            .push((operation.to_owned(), question));
        let mut answers = server.answers.lock().unwrap();
        let at = answers.iter().position(|(of, _)| operation.contains(of));
        at.and_then(|at| answers.remove(at))
    };
    server.came.notify_waiters();
    let answer = Response::builder().header("content-type", "application/x-amz-json-1.0");
    match next.map(|(_, answer)| answer) {
        Some(Answer::Ok(value)) => answer.body(Body::from(value.to_string())),
        Some(Answer::No(status, code)) => answer
            .status(status)
            .header("x-amzn-errortype", code)
            .body(Body::from(
                json!({ "__type": code, "message": "as scripted" }).to_string(),
            )),
        Some(Answer::Lost) => {
            let cut =
                futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
            answer.body(Body::from_stream(cut))
        }
        Some(Answer::FunctionError(value)) => answer
            .header("x-amz-function-error", "Unhandled")
            .body(Body::from(value.to_string())),
        Some(Answer::Held(until)) => {
            until.notified().await;
            answer.body(Body::from("{}"))
        }
        None => answer
            .status(400)
            .header("x-amzn-errortype", "NotInTheScript")
            .body(Body::from(
                json!({ "__type": "NotInTheScript" }).to_string(),
            )),
    }
    .unwrap()
}

/// A client of a service at a server, with three tries and pauses that cost a test nothing.
macro_rules! client {
    ($sdk:ident, $endpoint:expr) => {{
        use $sdk::config::retry::RetryConfig;
        use $sdk::config::{BehaviorVersion, Builder, Credentials, Region};
        let retries = RetryConfig::standard()
            .with_max_attempts(3)
            .with_initial_backoff($crate::script::SHORT);
        $sdk::Client::from_conf(
            Builder::new()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("eu-central-1"))
                .credentials_provider(Credentials::new("test", "testtest", None, None, "test"))
                .retry_config(retries)
                .endpoint_url($endpoint)
                .build(),
        )
    }};
}
pub(crate) use client;

pub(crate) const SHORT: Duration = Duration::from_millis(1);
