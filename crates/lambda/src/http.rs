//! Functions behind an HTTP API: an axum router, one request an invocation.

mod once;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use control::patience;
use lambda_http::request::RequestContext;
use lambda_http::tower::ServiceExt as _;
use lambda_http::{Context, RequestExt as _};
use model::{Code, Refusal};

use crate::invocation::MAX_ANSWER_BYTES;
use crate::{Failure, Function, remaining};

pub use once::once;

/// The longest that API Gateway waits for us (HTTP API quotas, *Maximum integration
/// timeout*: 30 s; 29 s for REST APIs), less the way there and back.
const GATEWAY: Duration = Duration::from_secs(28);
/// What a long poll leaves for a last look into the table and the answer.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// A router as a function.
#[derive(Clone)]
pub struct HttpFunction {
    function: Arc<Function>,
    router: Router,
    op: fn(&str) -> &'static str,
}

impl HttpFunction {
    /// The function of a router. `op` names the operation of a path for metrics, one of few.
    pub fn new(function: Function, router: Router, op: fn(&str) -> &'static str) -> Self {
        Self {
            function: Arc::new(function),
            router,
            op,
        }
    }

    /// One request. Long polls end before the function's time and API Gateway's patience do.
    ///
    /// # Errors
    /// None: what fails is answered with a status and a refusal.
    pub async fn handle(
        &self,
        request: lambda_http::Request,
    ) -> Result<lambda_http::Response<lambda_http::Body>, Failure> {
        let context = request.lambda_context_ref().cloned().unwrap_or_default();
        let op = (self.op)(request.uri().path());
        let request = request.map(Body::new);
        let within =
            remaining(&context, SystemTime::now()).map_or(GATEWAY, |left| left.min(GATEWAY));
        let answered = self.function.invoke(&context, op, async |tally| {
            let router = self.router.clone();
            let answer =
                patience::within(within.saturating_sub(LAST_LOOK), router.oneshot(request));
            let response = match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            if response.status().is_server_error() {
                tally.count("ServerErrors", 1);
            }
            small(response).await
        });
        match answered.await {
            Ok(response) => Ok(response),
            Err(Failure(refusal)) => {
                let answer = small(refused(&refusal)).await;
                answer.map_err(Failure)
            }
        }
    }
}

/// A refusal of this layer as an answer: the refusal as JSON, as the agent protocol has it
/// and as the API's other paths do.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    use axum::http::StatusCode;
    let status = match refusal.code {
        Code::AnswerTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Conflict => StatusCode::CONFLICT,
        Code::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::InvalidRequest => StatusCode::BAD_REQUEST,
        Code::Transient => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let body = serde_json::json!({
        "code": refusal.code,
        "message": refusal.message,
        "field": refusal.field,
        "hint": refusal.code.hint(),
        "errors": [{
            "message": refusal.message,
            "extensions": {"code": refusal.code, "field": refusal.field, "hint": refusal.code.hint()},
        }],
    });
    (status, axum::Json(body)).into_response()
}

/// The answer as Lambda wants it, where Lambda takes it at all: text as a JSON string, all
/// else in base64, 6 MB in either form.
async fn small(response: Response) -> Result<lambda_http::Response<lambda_http::Body>, Refusal> {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, MAX_ANSWER_BYTES)
        .await
        .map_err(|_| too_large("more"))?;
    let is_text = !parts.headers.contains_key("content-encoding")
        && parts
            .headers
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.starts_with("text/") || kind.contains("json"));
    let headers: usize = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 8)
        .sum();
    let (body, size) = match std::str::from_utf8(&bytes) {
        Ok(text) if is_text => {
            let size = escaped(text);
            (lambda_http::Body::Text(text.to_owned()), size)
        }
        _ if bytes.is_empty() => (lambda_http::Body::Empty, 0),
        _ => (
            lambda_http::Body::Binary(bytes.to_vec()),
            bytes.len().div_ceil(3) * 4,
        ),
    };
    if size + headers > MAX_ANSWER_BYTES {
        return Err(too_large(&format!("{} on the wire", size + headers)));
    }
    Ok(lambda_http::Response::from_parts(parts, body))
}

/// The bytes of a text as a JSON string.
fn escaped(text: &str) -> usize {
    let extra = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() + 2 + text.bytes().map(extra).sum::<usize>()
}

fn too_large(found: &str) -> Refusal {
    Refusal::new(
        Code::AnswerTooLarge,
        format!("expected an answer of at most {MAX_ANSWER_BYTES} bytes, found {found}"),
    )
}

/// The claims of a token that the HTTP API's JWT authorizer has checked; none where the
/// route has no authorizer. No header can stand for them: they are not of the request but
/// of its context, which API Gateway writes.
pub fn claims(context: Option<&RequestContext>) -> Option<Vec<(String, String)>> {
    let jwt = context?.authorizer()?.jwt.as_ref()?;
    let claims = jwt.claims.iter();
    Some(
        claims
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

/// Where an HTTP function's router finds the context of API Gateway and of Lambda: in the
/// extensions of the request.
pub fn request_context(extensions: &axum::http::Extensions) -> Option<&RequestContext> {
    extensions.get::<RequestContext>()
}

/// The invocation that a request came with.
pub fn lambda_context(extensions: &axum::http::Extensions) -> Option<&Context> {
    extensions.get::<Context>()
}

/// Polls Lambda for requests until the process is told to end.
///
/// # Errors
/// Where the Runtime API cannot be asked.
pub async fn serve(
    started: crate::Started,
    function: HttpFunction,
) -> Result<(), lambda_runtime::Error> {
    crate::serve::watch_for_the_end(started.clone()).await;
    lambda_http::run(lambda_http::service_fn(move |request| {
        let function = function.clone();
        let started = started.clone();
        async move {
            let answer = function.handle(request).await;
            started.flush();
            answer
        }
    }))
    .await
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use serde_json::{Value, json};

    use super::*;

    async fn ask(router: Router) -> (u16, Value) {
        let function = Function::with_output("api", Box::new(std::io::sink()));
        let function = HttpFunction::new(function, router, |_| "test");
        let event = json!({
            "version": "2.0", "routeKey": "GET /", "rawPath": "/", "rawQueryString": "",
            "headers": {}, "isBase64Encoded": false,
            "requestContext": {
                "accountId": "1", "apiId": "a", "domainName": "d", "domainPrefix": "p",
                "http": {"method": "GET", "path": "/", "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.1", "userAgent": "t"},
                "requestId": "r", "routeKey": "GET /", "stage": "$default",
                "time": "22/Nov/2026:10:00:00 +0000", "timeEpoch": 1_795_000_000_000_u64
            }
        });
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        let answer = function.handle(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = match answer.into_body() {
            lambda_http::Body::Text(text) => serde_json::from_str(&text).unwrap_or(text.into()),
            lambda_http::Body::Binary(bytes) => json!({"binary": bytes.len()}),
            _ => Value::Null,
        };
        (status, body)
    }

    fn answering(make: fn() -> Response) -> Router {
        Router::new().route("/", get(async move || make()))
    }

    #[tokio::test]
    async fn an_answer_that_lambda_would_not_carry_is_refused_by_name() {
        for make in [
            || "x".repeat(MAX_ANSWER_BYTES + 1).into_response(),
            // Half as much, but each byte takes two on the wire.
            || "\"".repeat(MAX_ANSWER_BYTES / 2 + 1).into_response(),
            // Three quarters of it fill it in base64.
            || vec![0xff_u8; MAX_ANSWER_BYTES / 4 * 3].into_response(),
        ] {
            let (status, body) = ask(answering(make)).await;
            assert_eq!(
                (status, &body["code"]),
                (413, &json!("Tapemark.AnswerTooLarge"))
            );
        }
        let (status, body) = ask(answering(|| vec![0xff_u8; 3_000_000].into_response())).await;
        assert_eq!((status, body), (200, json!({"binary": 3_000_000})));
    }

    #[test]
    fn the_size_of_a_text_is_that_of_its_json() {
        for text in [
            "",
            "plain",
            "\"quoted\\\"",
            "\u{1}\u{1f}\n\t\r\u{8}\u{c}",
            "größe €",
        ] {
            assert_eq!(escaped(text), json!(text).to_string().len(), "{text:?}");
        }
    }
}
