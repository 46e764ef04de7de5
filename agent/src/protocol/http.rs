//! The protocol over HTTP: one JSON `POST` a question.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use model::work::{
    Ack, Claim, ClaimAnswer, Close, Complete, CompleteAnswer, Inventory, InventoryAnswer,
    OpenAnswer, OpenSession, Renew, SessionReady,
};
use model::{Code, Refusal};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{CallError, ControlPlane};

/// How long an answer may take beyond the `wait_ms` of its question.
const ROUND_TRIP: Duration = Duration::from_secs(15);
/// The longest answer taken: 1,000 items of 10,000 artifacts would be more, but a claim is
/// limited by the agent, and one item of 10,000 artifacts with presigned URLs is 20 MB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A bearer token. Never shown in `Debug` output or logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// A token without the white space around it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The control plane behind a URL.
#[derive(Clone, Debug)]
pub struct HttpControl {
    client: reqwest::Client,
    base: String,
    token: Token,
}

impl HttpControl {
    /// A client for the control plane at `url`, for example `http://127.0.0.1:7400`; the
    /// paths of the protocol are added behind it.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(url: &str, token: Token) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            base: format!("{}/agent/v1/", url.trim_end_matches('/')),
            token,
        })
    }

    async fn ask<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
        wait_ms: u64,
    ) -> Result<A, CallError> {
        let unreachable = |error: reqwest::Error| CallError::Unreachable(describe(&error));
        let mut response = self
            .client
            .post(format!("{}{path}", self.base))
            .bearer_auth(&self.token.0)
            .timeout(Duration::from_millis(wait_ms) + ROUND_TRIP)
            .json(question)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(CallError::Unreachable(format!(
                    "the answer to {path} is longer than {MAX_ANSWER_BYTES} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                CallError::Unreachable(format!("the answer to {path} is not as agreed: {error}"))
            });
        }
        Err(match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => CallError::Refused(refusal),
            Err(_) if status == reqwest::StatusCode::UNAUTHORIZED => {
                CallError::Refused(Refusal::new(
                    Code::Unauthorized,
                    format!("the control plane does not accept the agent's token for {path}"),
                ))
            }
            Err(_) => CallError::Unreachable(format!("{path} answered HTTP {status}")),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", Token::new(" secret\n")), "Token(…)");
        assert_eq!(Token::new(" secret\n").0, "secret");
    }
}
