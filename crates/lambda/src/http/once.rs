//! `Idempotency-Key`: an order that is sent again gets the answer of the first time.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use control::{Begun, Control, Order};
use model::{Code, Refusal, Sha256};
use serde_json::{Value, json};
use sha2::Digest as _;

use super::{GATEWAY, lambda_context, refused};
use crate::remaining;

/// The header (IETF draft *The Idempotency-Key HTTP Header Field*).
const HEADER: &str = "idempotency-key";
/// Says that an answer was given before.
const REPLAYED: &str = "idempotency-replayed";
/// The largest body with a key: larger ones are components, whose names are their keys.
const MAX_BODY_BYTES: usize = 6 << 20;

/// The same router, in which a POST with an `Idempotency-Key` is carried out once: a repeat
/// gets the stored answer, another order under the same key is refused, and so is a repeat
/// while the first is under way. `caller` says whose key it is; requests of nobody pass, and
/// are refused further in.
pub fn once(router: Router, control: Control, caller: fn(&Request) -> Option<String>) -> Router {
    router.layer(middleware::from_fn_with_state((control, caller), keep))
}

type Kept = State<(Control, fn(&Request) -> Option<String>)>;

async fn keep(State((control, caller)): Kept, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(HEADER) {
        return next.run(request).await;
    }
    let Some(caller) = caller(&request) else {
        return next.run(request).await;
    };
    match carry_out(&control, &caller, request, next).await {
        Ok(response) => response,
        Err(refusal) => refused(&refusal),
    }
}

async fn carry_out(
    control: &Control,
    caller: &str,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let invalid = |text: &str| Refusal::new(Code::InvalidRequest, text).at("Idempotency-Key");
    let key = key(request.headers()).ok_or_else(|| invalid("expected one, of printable ASCII"))?;
    let within = lambda_context(request.extensions())
        .and_then(|context| remaining(context, SystemTime::now()))
        .map_or(GATEWAY, |left| left.min(GATEWAY));
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| {
        Refusal::new(
            Code::InvalidRequest,
            format!("body: expected at most {MAX_BODY_BYTES} bytes, found more"),
        )
    })?;
    let payload = sha2::Sha256::new()
        .chain_update(parts.uri.path().as_bytes())
        .chain_update([0])
        .chain_update(&body)
        .finalize();
    let order = Order {
        caller,
        key: &key,
        payload: Sha256(payload.into()),
        within: within + Duration::from_secs(1),
    };
    let attempt = match control.begin_order(order).await? {
        Begun::Done(answer) => return replayed(&answer),
        Begun::New(attempt) => attempt,
    };
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, crate::MAX_ANSWER_BYTES).await;
    // What a fault of ours broke off may be tried again, and so may what was refused before
    // anything was done; only an answer is kept.
    let kept = match &body {
        Ok(body) if parts.status.is_success() && !is_transient(body) => Some(json!({
            "status": parts.status.as_u16(),
            "type": parts.headers.get("content-type").and_then(|value| value.to_str().ok()),
            "body": String::from_utf8_lossy(body),
        })),
        _ => None,
    };
    let written = match kept {
        Some(answer) => control.finish_order(attempt, answer).await,
        None => control.forget_order(attempt).await,
    };
    if let Err(refusal) = written {
        // The order was carried out and its caller is told; a repeat waits for the attempt's
        // time to be over.
        tracing::warn!(%refusal, "the answer of an order was not kept");
    }
    let body = body.map_err(|_| {
        Refusal::new(
            Code::AnswerTooLarge,
            format!(
                "expected an answer of at most {} bytes, found more",
                crate::MAX_ANSWER_BYTES
            ),
        )
    })?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// The key; a string of structured fields may have its quotes.
fn key(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(HEADER).iter();
    let text = values.next()?.to_str().ok()?.trim();
    let unquoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    values
        .next()
        .is_none()
        .then(|| unquoted.unwrap_or(text).to_owned())
}

/// GraphQL answers with 200 what went wrong inside; what may be tried again must not be
/// kept.
fn is_transient(body: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    let errors = answer.get("errors").and_then(Value::as_array);
    errors.is_some_and(|errors| {
        errors.iter().any(|error| {
            let code = error.pointer("/extensions/code").and_then(Value::as_str);
            let code = code.and_then(|text| text.parse::<Code>().ok());
            code.is_some_and(|code| code.is_retryable() || code == Code::Internal)
        })
    })
}

fn replayed(answer: &Value) -> Result<Response, Refusal> {
    let odd = || Refusal::new(Code::Internal, "an answer was kept that is none");
    let status = answer["status"]
        .as_u64()
        .and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok())
        .ok_or_else(odd)?;
    let body = answer["body"].as_str().ok_or_else(odd)?.to_owned();
    let kind = answer["type"]
        .as_str()
        .unwrap_or("application/json")
        .to_owned();
    Ok((
        status,
        [("content-type", kind), (REPLAYED, "true".to_owned())],
        body,
    )
        .into_response())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::routing::post;
    use control::testing::World;
    use lambda_http::tower::ServiceExt as _;
    use tokio::sync::Notify;

    use super::*;

    struct Served {
        router: Router,
        calls: Arc<AtomicU32>,
        world: World,
        gate: Arc<Notify>,
    }

    /// Answers with the number of the call; what the body says may go wrong.
    fn served() -> Served {
        let world = World::new(1);
        let calls = Arc::new(AtomicU32::new(0));
        let gate = Arc::new(Notify::new());
        let (counted, waits) = (calls.clone(), gate.clone());
        let router = Router::new().route(
            "/graphql",
            post(async move |body: String| {
                let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
                match body.as_str() {
                    "hang" => {
                        waits.notified().await;
                        "released".into_response()
                    }
                    "break" => (StatusCode::INTERNAL_SERVER_ERROR, "broken").into_response(),
                    "busy" => axum::Json(json!({"data": null, "errors": [
                        {"message": "m", "extensions": {"code": "Tapemark.Transient"}}]}))
                    .into_response(),
                    _ => axum::Json(json!({"data": {"call": call}})).into_response(),
                }
            }),
        );
        Served {
            router: once(router, world.control(), |request| {
                let caller = request.headers().get("x-caller")?;
                Some(caller.to_str().ok()?.to_owned())
            }),
            calls,
            world,
            gate,
        }
    }

    impl Served {
        async fn post(&self, caller: &str, key: &str, body: &'static str) -> (u16, bool, String) {
            let request = Request::post("/graphql")
                .header("x-caller", caller)
                .header("Idempotency-Key", key)
                .body(Body::from(body))
                .unwrap();
            let answer = self.router.clone().oneshot(request).await.unwrap();
            let status = answer.status().as_u16();
            let replayed = answer.headers().contains_key(REPLAYED);
            let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
            (status, replayed, String::from_utf8(body.to_vec()).unwrap())
        }

        fn calls(&self) -> u32 {
            self.calls.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_repeat_gets_the_stored_answer_and_nothing_is_done_again() {
        let served = served();
        let first = served.post("ci", "k", "order").await;
        let again = served.post("ci", "\"k\"", "order").await;
        assert_eq!((first.0, first.1), (200, false));
        assert_eq!(again, (200, true, first.2));
        assert_eq!(served.calls(), 1);
        served.post("somebody else", "k", "order").await;
        assert_eq!(served.calls(), 2);
    }

    #[tokio::test]
    async fn another_order_under_the_same_key_is_refused() {
        let served = served();
        served.post("ci", "k", "order").await;
        let (status, _, body) = served.post("ci", "k", "another").await;
        assert_eq!(status, 422);
        assert!(body.contains("Tapemark.IdempotencyMismatch"), "{body}");
        assert_eq!(served.calls(), 1);
    }

    #[tokio::test]
    async fn a_repeat_of_what_is_under_way_is_refused_not_queued() {
        let served = served();
        let first = served.post("ci", "k", "hang");
        let second = async {
            while served.calls() == 0 {
                tokio::task::yield_now().await;
            }
            let second = served.post("ci", "k", "hang").await;
            served.gate.notify_one();
            second
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!(second.0, 409);
        assert!(second.2.contains("Tapemark.Conflict"), "{}", second.2);
        assert_eq!((first.0, served.calls()), (200, 1));
    }

    #[tokio::test]
    async fn what_failed_may_be_tried_again() {
        let served = served();
        for order in ["break", "busy"] {
            let before = served.calls();
            served.post("ci", order, order).await;
            served.post("ci", order, order).await;
            assert_eq!(served.calls(), before + 2, "{order}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_its_time_only() {
        let served = served();
        served.post("ci", "k", "order").await;
        served
            .world
            .clock
            .advance(Duration::from_secs(7 * 24 * 3600));
        let (_, replayed, _) = served.post("ci", "k", "another").await;
        assert!(!replayed);
        assert_eq!(served.calls(), 2);
    }

    #[tokio::test]
    async fn without_a_key_everything_is_done_as_often_as_it_is_asked() {
        let served = served();
        for _ in 0..2 {
            let request = Request::post("/graphql").header("x-caller", "ci");
            let request = request.body(Body::from("order")).unwrap();
            served.router.clone().oneshot(request).await.unwrap();
        }
        assert_eq!(served.calls(), 2);
    }
}
