//! The protocol over HTTP: one JSON `POST` a question.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use model::agents::{Enrol, EnrolAnswer, Rotate, RotateAnswer};
use model::work::{
    Ack, Claim, ClaimAnswer, Close, Complete, CompleteAnswer, Inventory, InventoryAnswer,
    OpenAnswer, OpenSession, Renew, SessionReady,
};
use model::{AgentId, Code, Refusal};
use parking_lot::RwLock;
use reqwest::{Response, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use wire::SecretKey;

use super::{CallError, ControlPlane};
use crate::identity;

/// How long an answer may take beyond the `wait_ms` of its question.
const ROUND_TRIP: Duration = Duration::from_secs(15);
/// The longest answer taken, unpacked: 1,000 items of 10,000 artifacts would be more, but a
/// claim is limited by the agent, and one item of 10,000 artifacts with presigned URLs is
/// 25 MB.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Questions up to here are sent as they are.
const WORTH_PACKING: usize = 4 << 10;
/// From here on packing leaves the runtime's threads alone.
const SLOW: usize = 64 << 10;

/// The control plane behind a URL.
#[derive(Clone, Debug)]
pub struct HttpControl {
    client: reqwest::Client,
    base: reqwest::Url,
    agent: AgentId,
    key: Arc<RwLock<SecretKey>>,
    /// Where to look for a newer key when this one is not good any more.
    key_file: Option<PathBuf>,
}

impl HttpControl {
    /// A client for the control plane at `url`, for example `http://127.0.0.1:7400`; the
    /// paths of the protocol are added behind it. Every question is signed with the key.
    ///
    /// # Errors
    /// When the URL is none or not http, or the HTTP client cannot be set up.
    pub fn new(
        url: &str,
        agent: AgentId,
        key: SecretKey,
        ca_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let base: reqwest::Url = format!("{}/agent/v1/", url.trim_end_matches('/'))
            .parse()
            .map_err(|error| anyhow::anyhow!("control.url: expected a URL: {error}"))?;
        anyhow::ensure!(
            matches!(base.scheme(), "http" | "https"),
            "control.url: expected http:// or https://, found {}://",
            base.scheme()
        );
        let client = crate::http::client(ca_file, |builder| {
            builder
                .connect_timeout(Duration::from_secs(5))
                .tcp_nodelay(true)
        })?;
        Ok(Self {
            client,
            base,
            agent,
            key: Arc::new(RwLock::new(key)),
            key_file: None,
        })
    }

    /// Reads the key again from this file when it is not good any more: it was changed.
    #[must_use]
    pub fn with_key_file(mut self, path: &Path) -> Self {
        self.key_file = Some(path.to_owned());
        self
    }

    /// Enrols.
    ///
    /// # Errors
    /// [`CallError`]; may be repeated.
    pub async fn enrol(&self, question: &Enrol) -> Result<EnrolAnswer, CallError> {
        self.ask("enrol", question, 0).await
    }

    /// Changes the key.
    ///
    /// # Errors
    /// [`CallError`]; may be repeated.
    pub async fn rotate(&self, question: &Rotate) -> Result<RotateAnswer, CallError> {
        self.ask("rotate", question, 0).await
    }

    async fn ask<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
        wait_ms: u64,
    ) -> Result<A, CallError> {
        let plain = serde_json::to_vec(question).map_err(|error| {
            CallError::Unreachable(format!("the question {path} is not JSON: {error}"))
        })?;
        let gzip = plain.len() > WORTH_PACKING;
        let body: bytes::Bytes = if gzip {
            aside(plain, |plain| wire::gzip(&plain)).await.into()
        } else {
            plain.into()
        };
        let mut response = self.send(path, &body, gzip, wait_ms).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.read_key_again() {
            response = self.send(path, &body, gzip, wait_ms).await?;
        }
        let status = response.status();
        let answer = read(path, response).await?;
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|error| {
                CallError::Unreachable(format!("the answer to {path} is not as agreed: {error}"))
            });
        }
        Err(refused(path, status, &answer, body.len()))
    }

    async fn send(
        &self,
        path: &str,
        body: &bytes::Bytes,
        gzip: bool,
        wait_ms: u64,
    ) -> Result<Response, CallError> {
        let url = self
            .base
            .join(path)
            .map_err(|error| CallError::Unreachable(format!("{path}: {error}")))?;
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)
            .map_err(|error| CallError::Unreachable(format!("random numbers: {error}")))?;
        let key = self.key.read().clone();
        let signed = wire::sign(
            &key,
            self.agent.as_str(),
            "POST",
            url.path(),
            body,
            Timestamp::now().as_second(),
            &hex::encode(nonce),
        );
        let mut request = self
            .client
            .post(url)
            .timeout(Duration::from_millis(wait_ms) + ROUND_TRIP)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT_ENCODING, "gzip")
            .header("content-digest", signed.content_digest)
            .header("signature-input", signed.signature_input)
            .header("signature", signed.signature)
            .body(body.clone());
        if gzip {
            request = request.header(header::CONTENT_ENCODING, "gzip");
        }
        request.send().await.map_err(unreachable)
    }

    /// True where the file has another key than the one in use.
    fn read_key_again(&self) -> bool {
        let Some(path) = &self.key_file else {
            return false;
        };
        match identity::load(path) {
            Ok(new) if new.public() != self.key.read().public() => {
                tracing::info!(key = %new.public(), "the key was changed");
                *self.key.write() = new;
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the key cannot be read again");
                false
            }
        }
    }
}

/// Works on much data away from the runtime's threads.
async fn aside<T: Send + 'static>(
    bytes: Vec<u8>,
    work: impl FnOnce(Vec<u8>) -> T + Send + 'static,
) -> T {
    if bytes.len() < SLOW {
        return work(bytes);
    }
    match tokio::task::spawn_blocking(move || work(bytes)).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn unreachable(error: reqwest::Error) -> CallError {
    CallError::Unreachable(describe(&error.without_url()))
}

/// The body of an answer, unpacked.
async fn read(path: &str, mut response: Response) -> Result<Vec<u8>, CallError> {
    let gzip = response
        .headers()
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(CallError::Unreachable(format!(
                "the answer to {path} is longer than {MAX_ANSWER_BYTES} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    if !gzip {
        return Ok(body);
    }
    aside(body, |body| wire::gunzip(&body, MAX_ANSWER_BYTES))
        .await
        .map_err(|error| CallError::Unreachable(format!("the answer to {path}: {error}")))
}

/// The control plane said no, or something before it did.
fn refused(path: &str, status: StatusCode, answer: &[u8], asked: usize) -> CallError {
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(answer) {
        return CallError::Refused(refusal);
    }
    match status {
        StatusCode::UNAUTHORIZED => CallError::Refused(Refusal::new(
            Code::Unauthorized,
            format!("the control plane does not accept the agent's signature for {path}"),
        )),
        // API Gateway takes 10 MB and a function 6; what is over them never reaches ours.
        StatusCode::PAYLOAD_TOO_LARGE => CallError::Refused(Refusal::new(
            Code::InvalidRequest,
            format!("the question {path} of {asked} bytes is more than the control plane takes"),
        )),
        _ => CallError::Unreachable(format!("{path} answered HTTP {status}")),
    }
}

/// The error with its causes, without the URL (it may name a tenant).
fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[async_trait]
impl ControlPlane for HttpControl {
    async fn inventory(&self, question: &Inventory) -> Result<InventoryAnswer, CallError> {
        self.ask("inventory", question, 0).await
    }

    async fn open(&self, question: &OpenSession) -> Result<OpenAnswer, CallError> {
        self.ask("sessions/open", question, question.wait_ms).await
    }

    async fn ready(&self, question: &SessionReady) -> Result<Ack, CallError> {
        self.ask("sessions/ready", question, 0).await
    }

    async fn claim(&self, question: &Claim) -> Result<ClaimAnswer, CallError> {
        self.ask("sessions/claim", question, question.wait_ms).await
    }

    async fn renew(&self, question: &Renew) -> Result<Ack, CallError> {
        self.ask("sessions/renew", question, 0).await
    }

    async fn complete(&self, question: &Complete) -> Result<CompleteAnswer, CallError> {
        self.ask("sessions/complete", question, 0).await
    }

    async fn close(&self, question: &Close) -> Result<Ack, CallError> {
        self.ask("sessions/close", question, 0).await
    }
}
