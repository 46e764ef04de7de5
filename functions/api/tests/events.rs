//! Every file of `events/api` through the real handler, with the outcome that
//! `events/expected.json` names, under the built-in policies.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use api::RunHistory;
use async_trait::async_trait;
use authz::Policies;
use control::testing::World;
use lambda::Function;
use lambda::http::HttpFunction;
use model::{Bytes, Code, Refusal, RunId};
use serde_json::{Value, json};

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let text = std::fs::read_to_string(path.join(name)).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

struct NoRuns;

#[async_trait]
impl RunHistory for NoRuns {
    async fn history(&self, run: &RunId) -> Result<Vec<Value>, Refusal> {
        Err(Refusal::new(Code::NotFound, format!("no run {run}")))
    }
}

async fn function() -> HttpFunction {
    let world = World::new(1);
    let control = world
        .set_up(4, Bytes::gib(100), &["payments", "search"])
        .await
        .unwrap()
        .with_authority(Arc::new(Policies::built_in()));
    api_function::function(
        Function::with_output("api", Box::new(std::io::sink())),
        control,
        Arc::new(NoRuns),
        "lib".parse().unwrap(),
    )
}

/// Status, whether the answer was given before, and its body.
async fn invoke(function: &HttpFunction, event: &Value) -> (u16, bool, String) {
    let request = lambda_http::request::from_str(&event.to_string()).unwrap();
    let answer = function.handle(request).await.unwrap();
    let is_replayed = answer.headers().contains_key("idempotency-replayed");
    let status = answer.status().as_u16();
    let body = match answer.into_body() {
        lambda_http::Body::Text(text) => text,
        other => format!("{other:?}"),
    };
    (status, is_replayed, body)
}

#[tokio::test]
async fn every_request_has_the_answer_that_stands_beside_it() {
    let all = read("expected.json");
    let mut wrong = BTreeMap::new();
    let of_api = all.as_object().unwrap().iter();
    let of_api: Vec<_> = of_api
        .filter(|(name, _)| name.starts_with("api/"))
        .collect();
    assert!(of_api.len() >= 11, "found {}", of_api.len());
    for (name, expected) in of_api {
        let function = function().await;
        for before in expected["after"].as_array().into_iter().flatten() {
            invoke(&function, &read(before.as_str().unwrap())).await;
        }
        let (status, is_replayed, body) = invoke(&function, &read(name)).await;
        let part = expected["contains"].as_str().unwrap();
        if expected["status"] != json!(status)
            || !body.contains(part)
            || expected["replayed"].as_bool().unwrap_or(false) != is_replayed
        {
            let found = format!("expected {expected}, found {status} {is_replayed} {body}");
            wrong.insert(name, found);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_token_in_a_header_is_nobodys_word() {
    let mut event = read("api/register-none-unauthorized.json");
    event["headers"]["authorization"] = json!("Bearer eyJhbGciOiJub25lIn0.e30.");
    let (status, _, body) = invoke(&function().await, &event).await;
    assert_eq!(status, 401, "{body}");
    assert!(body.contains("Tapemark.Unauthorized"), "{body}");
}
