//! The agent protocol over HTTP: nine calls below `/agent/v1/`.
//!
//! It checks who asks and how much, and hands the question to `control`. It never decides
//! anything, binds no port, and names no vendor: one machine and a function on AWS serve
//! the same router.
//!
//! # Who asks
//!
//! Every question is signed (RFC 9421; `wire` says how it looks) with an Ed25519 key of an
//! agent that is enrolled, or, to enrol, with the key that it brings. The signature is
//! checked before the body is read, the digest of the body after. A question is taken
//! within 300 s of its signing; within that time the same question may come again, and
//! does no harm: all calls are idempotent under their session and fence, and the rest is
//! told in docs/decisions/0007-agent-identity.md. No list of nonces is kept: it would not
//! be shared between functions, and would turn the retry after a lost answer into a refusal.
//!
//! Keys are read from the catalogue at most every [`CACHE_FOR`]: a revocation takes effect
//! within that time. A call that names a session must come from the session's agent.
//!
//! # How much
//!
//! Bodies may be gzip, both ways; what counts is the size unpacked. A function on AWS
//! answers with at most 6 MB, base64 included: an answer of more than [`MAX_ANSWER_BYTES`]
//! as it is sent is refused with `AnswerTooLarge` in every mode, so that none is found out there.
//!
//! ```
//! # fn serve(control: control::Control) -> axum::Router {
//! gateway::router(control)
//! # }
//! ```

mod body;
mod refusal;
mod speaker;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use control::Control;
use model::agents::{Enrol, Rotate, rotation_text};
use model::work::{Claim, Close, Complete, Inventory, OpenSession, Renew, SessionReady};
use model::{Code, Refusal};
use serde::de::DeserializeOwned;

use body::{answer, read, unpack};
use refusal::No;
use speaker::{Says, Speaker, Speakers};

pub use body::MAX_ANSWER_BYTES;
pub use speaker::{CACHE_FOR, WINDOW};

/// The largest question in bytes, unpacked: an inventory of 10,000 slots has about 1.2 MB.
const MAX_BODY_BYTES: usize = 4 << 20;
/// The largest question that carries results: a scan's report of at most 16 MiB travels as
/// a JSON string, which can double it.
const MAX_RESULTS_BYTES: usize = 40 << 20;
/// The largest question of somebody not known yet.
const MAX_ENROL_BYTES: usize = 16 << 10;

/// The calls of [`model::work`] and [`model::agents`] over a control plane.
///
/// A refusal is answered with its JSON as body and a status by its code: 400, 401, 403,
/// 404, 408, 409, 413, 429, 500 or 503. A question that is not there whole after 60 seconds
/// is a 408.
pub fn router(control: Control) -> Router {
    let gateway = Arc::new(Gateway {
        speakers: Speakers::new(control.clone()),
        control,
    });
    Router::new()
        .route("/agent/v1/enrol", post(enrol))
        .route("/agent/v1/rotate", post(rotate))
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
    speakers: Speakers,
}

type Call = State<Arc<Gateway>>;

/// Takes one question, and answers it.
macro_rules! call {
    ($name:ident, $question:ty, $most:expr, $says:expr, $method:ident) => {
        async fn $name(State(gateway): Call, request: Request) -> Response {
            let gzip = body::takes_gzip(request.headers());
            let says: fn(&$question) -> Says<'_> = $says;
            match gateway.question::<$question>(request, $most, says).await {
                Ok((question, _)) => answer(gateway.control.$method(question).await, gzip).await,
                Err(no) => no.into_response(),
            }
        }
    };
}

call!(
    inventory,
    Inventory,
    MAX_BODY_BYTES,
    |q| Says::Library(&q.agent, &q.library),
    inventory
);
call!(
    open,
    OpenSession,
    MAX_BODY_BYTES,
    |q| Says::Library(&q.agent, &q.library),
    open_session
);
call!(
    ready,
    SessionReady,
    MAX_RESULTS_BYTES,
    |q| Says::Session(&q.session),
    session_ready
);
call!(
    claim,
    Claim,
    MAX_BODY_BYTES,
    |q| Says::Session(&q.session),
    claim
);
call!(
    renew,
    Renew,
    MAX_BODY_BYTES,
    |q| Says::Session(&q.session),
    renew
);
call!(
    complete,
    Complete,
    MAX_RESULTS_BYTES,
    |q| Says::Session(&q.session),
    complete
);
call!(
    close,
    Close,
    MAX_BODY_BYTES,
    |q| Says::Session(&q.session),
    close_session
);

async fn enrol(State(gateway): Call, request: Request) -> Response {
    match gateway.stranger(request).await {
        Ok(question) => {
            let agent = question.agent.clone();
            let enrolled = gateway.control.enrol(question).await;
            gateway.speakers.forget(&agent);
            answer(enrolled, false).await
        }
        Err(no) => no.into_response(),
    }
}

async fn rotate(State(gateway): Call, request: Request) -> Response {
    let says: fn(&Rotate) -> Says<'_> = |q| Says::Agent(&q.agent);
    match gateway.question(request, MAX_ENROL_BYTES, says).await {
        Ok((question, speaker)) => {
            let rotated = match proven(&question) {
                Ok(()) => gateway.control.rotate_agent(&question, &speaker.key).await,
                Err(refusal) => Err(refusal),
            };
            gateway.speakers.forget(&question.agent);
            answer(rotated, false).await
        }
        Err(no) => no.into_response(),
    }
}

/// Refuses a key whose secret the agent has not shown to hold.
fn proven(question: &Rotate) -> Result<(), Refusal> {
    let text = rotation_text(&question.agent, &question.key);
    let mut proof = [0; 64];
    let holds = hex::decode_to_slice(&question.proof, &mut proof).is_ok()
        && wire::is_signature(&question.key, text.as_bytes(), &proof);
    if holds {
        return Ok(());
    }
    let text = "expected the new key's signature over the rotation, in hexadecimal";
    Err(Refusal::new(Code::Unauthorized, text).at("proof"))
}

impl Gateway {
    /// Checks the signature, then reads the question; nothing is read for strangers.
    async fn question<T: DeserializeOwned>(
        &self,
        request: Request,
        most: usize,
        says: fn(&T) -> Says<'_>,
    ) -> Result<(T, Speaker), No> {
        let (parts, body) = request.into_parts();
        let (speaker, presented) = self.speakers.of(&parts).await.map_err(No::of)?;
        let bytes = read(body, most).await?;
        speaker::same_body(&presented, &bytes).map_err(No::of)?;
        let question: T = parse(&unpack(&parts.headers, bytes, most).await?)?;
        self.speakers
            .check(&speaker, says(&question))
            .await
            .map_err(No::of)?;
        Ok((question, speaker))
    }

    /// Reads a question whose signer is not known yet: the key stands in it.
    async fn stranger(&self, request: Request) -> Result<Enrol, No> {
        let (parts, body) = request.into_parts();
        let presented = self.speakers.presented(&parts).map_err(No::of)?;
        let bytes = read(body, MAX_ENROL_BYTES).await?;
        speaker::same_body(&presented, &bytes).map_err(No::of)?;
        let question: Enrol = parse(&unpack(&parts.headers, bytes, MAX_ENROL_BYTES).await?)?;
        let signed = presented.key_id() == question.agent.as_str()
            && presented.is_by(&question.key, parts.method.as_str(), parts.uri.path());
        if signed {
            return Ok(question);
        }
        let text = "expected a question signed with the key that it brings, by the agent it names";
        Err(No::of(Refusal::new(Code::Unauthorized, text).at("key")))
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, No> {
    serde_json::from_slice(body)
        .map_err(|error| No::of(Refusal::new(Code::InvalidRequest, format!("body: {error}"))))
}
