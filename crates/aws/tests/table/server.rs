//! DynamoDB in this process, and a proxy in front of it that misbehaves as told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws::{Backoff, DynamoTable};
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use dynoxide::Database;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const TABLE: &str = "tapemark";

/// What becomes of a request.
pub(crate) enum Fault {
    /// It is done, and the answer is lost.
    Lose,
    /// It is not done: this status, error and further members of the answer.
    Refuse(u16, &'static str, Value),
    /// It is not done by this request, but this one is done first, and then it is.
    After(Vec<control::ports::Write>),
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Such as `PutItem`.
    pub(crate) operation: String,
    pub(crate) body: Value,
}

/// What the proxy does next, and what it saw.
#[derive(Default)]
pub(crate) struct Script {
    faults: Mutex<VecDeque<(&'static str, Fault)>>,
    seen: Mutex<Vec<Seen>>,
}

impl Script {
    /// The next request of that operation goes so; several of one operation in turn.
    pub(crate) fn next(&self, operation: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push_back((operation, fault));
    }

    /// What arrived since last asked.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    pub(crate) fn operations(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.operation).collect()
    }

    fn take(&self, operation: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let at = faults.iter().position(|(of, _)| *of == operation)?;
        faults.remove(at).map(|(_, fault)| fault)
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

pub(crate) fn client(endpoint: &str) -> aws_sdk_dynamodb::Client {
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "testtest", None, None, "test"))
        .retry_config(aws::table_retries().with_initial_backoff(Duration::from_millis(1)))
        .timeout_config(aws::table_timeouts())
        .endpoint_url(endpoint)
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// Pauses that cost a test nothing.
pub(crate) const QUICK: Backoff = Backoff {
    attempts: 8,
    base: Duration::ZERO,
    cap: Duration::ZERO,
};

/// The table at an endpoint, through a client of its own.
pub(crate) fn at(endpoint: &str) -> DynamoTable {
    DynamoTable::with_client(client(endpoint), TABLE).with_backoff(QUICK)
}

/// An empty table in a database of its own, and where it is.
pub(crate) async fn endpoint() -> (String, DynamoTable) {
    let (listener, endpoint) = listen().await;
    tokio::spawn(dynoxide::server::serve_on(
        listener,
        Database::memory().unwrap(),
    ));
    let table = at(&endpoint);
    aws::schema::create_table(table.client(), TABLE)
        .await
        .unwrap();
    (endpoint, table)
}

/// An empty table in a database of its own.
pub(crate) async fn table() -> DynamoTable {
    endpoint().await.1
}

struct Proxy {
    script: Arc<Script>,
    target: String,
    http: reqwest::Client,
    /// Past the proxy.
    direct: DynamoTable,
}

/// A table behind a proxy, the script of the proxy, and the same table past it.
pub(crate) async fn behind_proxy() -> (DynamoTable, Arc<Script>, DynamoTable) {
    let (target, direct) = endpoint().await;
    let script = Arc::new(Script::default());
    let (listener, front) = listen().await;
    let proxy = Arc::new(Proxy {
        script: script.clone(),
        target,
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        direct: direct.clone(),
    });
    let app = Router::new().fallback(forward).with_state(proxy);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (at(&front), script, direct)
}

async fn forward(
    State(proxy): State<Arc<Proxy>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let target = headers["x-amz-target"].to_str().unwrap().to_owned();
    let operation = target.rsplit('.').next().unwrap().to_owned();
    proxy.script.seen.lock().unwrap().push(Seen {
        operation: operation.clone(),
        body: serde_json::from_slice(&body).unwrap(),
    });
    let fault = proxy.script.take(&operation);
    match &fault {
        Some(Fault::Refuse(status, name, more)) => {
            let mut answer = json!({
                "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"),
                "message": name,
            });
            answer
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().cloned().unwrap_or_default());
            return Response::builder()
                .status(*status)
                .header("content-type", "application/x-amz-json-1.0")
                .body(Body::from(answer.to_string()))
                .unwrap();
        }
        Some(Fault::After(writes)) => {
            use control::ports::Table as _;
            proxy.direct.transact(writes.clone()).await.unwrap();
        }
        Some(Fault::Lose) | None => {}
    }
    let answer = proxy
        .http
        .post(&proxy.target)
        .header("x-amz-target", target)
        .header("content-type", "application/x-amz-json-1.0")
        .header("authorization", headers["authorization"].clone())
        .header("x-amz-date", headers["x-amz-date"].clone())
        .body(body)
        .send()
        .await
        .unwrap();
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
    let body = answer.bytes().await.unwrap();
    if let Some(Fault::Lose) = fault {
        assert!(status.is_success(), "the request was to be done: {body:?}");
        // Headers go out, and then the connection is cut.
        let cut = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
        return Response::new(Body::from_stream(cut));
    }
    Response::builder()
        .status(status)
        .header("content-type", "application/x-amz-json-1.0")
        .body(Body::from(body))
        .unwrap()
}

/// An item as a conflict's answer has it.
pub(crate) fn wire(item: &std::collections::HashMap<String, AttributeValue>) -> Value {
    item.iter()
        .map(|(name, value)| {
            let value = match value {
                AttributeValue::S(text) => json!({ "S": text }),
                AttributeValue::N(number) => json!({ "N": number }),
                other => panic!("{other:?}"),
            };
            (name.clone(), value)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}
