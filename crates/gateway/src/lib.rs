//! The agent protocol over HTTP: seven calls below `/agent/v1/`.
//!
//! It checks who asks and how much, and hands the question to `control`. It never decides
//! anything, binds no port, and names no vendor: one machine and a function on AWS serve
//! the same router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use control::Control;
use model::work::{Claim, Close, Complete, Inventory, OpenSession, Renew, SessionReady};
use model::{AgentId, Code, Refusal};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// The largest question in bytes: an inventory of 10,000 slots has about 1.2 MB.
const MAX_BODY_BYTES: usize = 4 << 20;
/// The largest question that carries results: a scan's report of at most 16 MiB travels as
/// a JSON string, which can double it.
const MAX_RESULTS_BYTES: usize = 40 << 20;

/// The longest a question may be on its way. The largest needs 5.6 Mbit/s to make it, an
/// ordinary one next to nothing; an agent whose line stands still asks again.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Who may speak the agent protocol, by the digests of their bearer tokens.
#[derive(Clone, Default)]
pub struct AgentTokens(Vec<(AgentId, [u8; 32])>);

impl AgentTokens {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also this agent, with this token. Only the token's SHA-256 is kept.
    #[must_use]
    pub fn with(mut self, agent: AgentId, token: &str) -> Self {
        self.0.push((agent, Sha256::digest(token).into()));
        self
    }

    /// Whose token it is. Takes the same time for every token: digests are compared whole,
    /// and all of them.
    fn owner(&self, token: &str) -> Option<&AgentId> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut owner = None;
        for (agent, known) in &self.0 {
            let differing = known
                .iter()
                .zip(&digest)
                .fold(0, |sum, (a, b)| sum | (a ^ b));
            if std::hint::black_box(differing) == 0 {
                owner = Some(agent);
            }
        }
        owner
    }
}

/// The agent protocol over a control plane.
pub fn router(control: Control) -> Router {
    agent_router(control, AgentTokens::new())
}

/// The seven calls of [`model::work`] for agents with one of these tokens.
///
/// Inventories and openings name an agent, which must be the token's own. The other calls
/// name a session and its fence instead; any of the agents may speak for a session whose
/// id and fence it knows.
///
/// A refusal is answered with its JSON as body and a status by its code: 400, 401, 403,
/// 404, 408, 409, 413, 429, 500 or 503. A question that is not there whole after 60 seconds
/// is a 408.
pub fn agent_router(control: Control, tokens: AgentTokens) -> Router {
    let gateway = Arc::new(Gateway { control, tokens });
    Router::new()
        .route("/agent/v1/inventory", post(inventory))
        .route("/agent/v1/sessions/open", post(open))
        .route("/agent/v1/sessions/ready", post(ready))
        .route("/agent/v1/sessions/claim", post(claim))
        .route("/agent/v1/sessions/renew", post(renew))
        .route("/agent/v1/sessions/complete", post(complete))
        .route("/agent/v1/sessions/close", post(close))
        .with_state(gateway)
}

struct Gateway {
    control: Control,
    tokens: AgentTokens,
}

type Call = State<Arc<Gateway>>;

async fn inventory(State(gateway): Call, request: Request) -> Response {
    let question = gateway.question::<Inventory>(request, MAX_BODY_BYTES, |q| Some(&q.agent));
    match question.await {
        Ok(question) => answer(gateway.control.inventory(question).await),
        Err(no) => no.into_response(),
    }
}

async fn open(State(gateway): Call, request: Request) -> Response {
    let question = gateway.question::<OpenSession>(request, MAX_BODY_BYTES, |q| Some(&q.agent));
    match question.await {
        Ok(question) => answer(gateway.control.open_session(question).await),
        Err(no) => no.into_response(),
    }
}

async fn ready(State(gateway): Call, request: Request) -> Response {
    match gateway
        .question::<SessionReady>(request, MAX_RESULTS_BYTES, |_| None)
        .await
    {
        Ok(question) => answer(gateway.control.session_ready(question).await),
        Err(no) => no.into_response(),
    }
}

async fn claim(State(gateway): Call, request: Request) -> Response {
    match gateway
        .question::<Claim>(request, MAX_BODY_BYTES, |_| None)
        .await
    {
        Ok(question) => answer(gateway.control.claim(question).await),
        Err(no) => no.into_response(),
    }
}

async fn renew(State(gateway): Call, request: Request) -> Response {
    match gateway
        .question::<Renew>(request, MAX_BODY_BYTES, |_| None)
        .await
    {
        Ok(question) => answer(gateway.control.renew(question).await),
        Err(no) => no.into_response(),
    }
}

async fn complete(State(gateway): Call, request: Request) -> Response {
    match gateway
        .question::<Complete>(request, MAX_RESULTS_BYTES, |_| None)
        .await
    {
        Ok(question) => answer(gateway.control.complete(question).await),
        Err(no) => no.into_response(),
    }
}

async fn close(State(gateway): Call, request: Request) -> Response {
    match gateway
        .question::<Close>(request, MAX_BODY_BYTES, |_| None)
        .await
    {
        Ok(question) => answer(gateway.control.close_session(question).await),
        Err(no) => no.into_response(),
    }
}

impl Gateway {
    /// Checks the token, then reads the question; nothing is read for strangers.
    async fn question<T: DeserializeOwned>(
        &self,
        request: Request,
        most: usize,
        speaks_as: impl FnOnce(&T) -> Option<&AgentId>,
    ) -> Result<T, No> {
        let owner = bearer(request.headers()).and_then(|token| self.tokens.owner(token));
        let Some(owner) = owner else {
            return Err(No::of(Refusal::new(
                Code::Unauthorized,
                "expected `Authorization: Bearer` with an agent's token",
            )));
        };
        let body = read(request.into_body(), most).await?;
        let question: T = serde_json::from_slice(&body).map_err(|error| {
            No::of(Refusal::new(Code::InvalidRequest, format!("body: {error}")))
        })?;
        match speaks_as(&question) {
            Some(agent) if agent != owner => Err(No::of(
                Refusal::new(
                    Code::Forbidden,
                    format!("expected agent {owner}, whose token this is, found {agent}"),
                )
                .at("agent"),
            )),
            _ => Ok(question),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn read(body: Body, most: usize) -> Result<axum::body::Bytes, No> {
    let Ok(read) = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, most)).await else {
        let text =
            format!("body: expected all of it within {BODY_TIMEOUT:?}, found it still on its way");
        return Err(No {
            status: StatusCode::REQUEST_TIMEOUT,
            refusal: Refusal::new(Code::Transient, text),
        });
    };
    read.map_err(|error| {
        let is_too_large = std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("length limit"));
        let refusal = |text: String| Refusal::new(Code::InvalidRequest, text);
        if is_too_large {
            No {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                refusal: refusal(format!("body: expected at most {most} bytes, found more")),
            }
        } else {
            No::of(refusal(format!(
                "body: it could not be read to its end: {error}"
            )))
        }
    })
}

fn answer<T: Serialize>(result: Result<T, Refusal>) -> Response {
    match result {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(refusal) => No::of(refusal).into_response(),
    }
}

/// A refusal on its way out.
struct No {
    status: StatusCode,
    refusal: Refusal,
}

impl No {
    fn of(refusal: Refusal) -> Self {
        Self {
            status: status_of(refusal.code),
            refusal,
        }
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.refusal)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// The HTTP status of a refusal.
fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound | Code::VolumeMissing => StatusCode::NOT_FOUND,
        Code::FenceLost | Code::Conflict | Code::AgentLost => StatusCode::CONFLICT,
        Code::Busy => StatusCode::TOO_MANY_REQUESTS,
        Code::Transient | Code::NoCapacity => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}
