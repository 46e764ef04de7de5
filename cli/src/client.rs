//! The API's first client: GraphQL over HTTP, and downloads.

pub(crate) mod types;

use std::time::Duration;

use model::Code;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::failure::{Failure, No};

/// How long an answer may take: longer than the API gives itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// How long publishing may take: longer than the API gives itself.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(330);
/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a question is asked again when nobody answers.
const TRIES: u32 = 3;
/// The longest answer taken: a page of 2,000 artifacts is 5 MB, a run's history of 25,000
/// events a few times that.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// A client of one stack.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    connection: Connection,
}

impl Client {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub(crate) fn new(connection: Connection) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .no_proxy()
            .user_agent(concat!("tapemark/", env!("CARGO_PKG_VERSION")));
        // Reading the system's certificates takes longer than a question on this machine.
        let http = if connection.url.starts_with("https:") {
            http.build()?
        } else {
            http.tls_certs_only([]).build()?
        };
        Ok(Self { http, connection })
    }

    /// Where the stack is.
    pub(crate) fn url(&self) -> &str {
        &self.connection.url
    }

    /// Asks one GraphQL question and gives one field of its `data`. Asked again where the
    /// connection fails: every question and order of the API may be repeated or says that
    /// it was.
    ///
    /// # Errors
    /// [`Failure::Refused`] with the API's reasons, [`Failure::Unreachable`] without an
    /// answer.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        field: &str,
        query: &str,
        variables: Value,
    ) -> Result<T, Failure> {
        let body = json!({ "query": query, "variables": variables });
        let mut wait = Duration::from_millis(100);
        let mut tries = 0;
        let (status, bytes) = loop {
            tries += 1;
            match self.post(&body).await {
                Ok(answer) => break answer,
                // Only a connection that was never made is sure not to have done anything.
                Err(error) if error.is_connect() && tries < TRIES => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => return Err(self.unreachable(&error)),
            }
        };
        let mut answer: Value = serde_json::from_slice(&bytes).map_err(|_| {
            Failure::Unreachable(format!(
                "{}: expected an answer of the Tapemark API, found HTTP {status} without JSON",
                self.connection.url
            ))
        })?;
        if let Some(errors) = answer.get("errors").and_then(Value::as_array)
            && !errors.is_empty()
        {
            return Err(Failure::Refused(errors.iter().flat_map(reasons).collect()));
        }
        let value = answer
            .pointer_mut(&format!("/data/{field}"))
            .map(Value::take);
        serde_json::from_value(value.unwrap_or_default()).map_err(|error| {
            Failure::no(
                Code::Internal,
                format!("{field}: expected an answer as the schema says, found {error}"),
            )
        })
    }

    async fn post(&self, body: &Value) -> Result<(StatusCode, Vec<u8>), reqwest::Error> {
        let mut request = self
            .http
            .post(format!("{}/graphql", self.connection.url))
            .header("accept", "application/graphql-response+json")
            .timeout(ANSWER_TIMEOUT)
            .json(body);
        if let Some(token) = &self.connection.token {
            request = request.bearer_auth(token);
        }
        let mut response = request.send().await?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                break;
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((status, bytes))
    }

    /// Publishes a component. Not asked again by itself: compiling may take minutes.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) async fn publish(
        &self,
        name: &str,
        version: &str,
        limits: &model::Limits,
        component: Vec<u8>,
    ) -> Result<model::Release, Failure> {
        let mut url = reqwest::Url::parse(&self.connection.url)?;
        url.path_segments_mut()
            .map_err(|()| Failure::no(Code::Internal, "expected a URL with a path, found none"))?
            .pop_if_empty()
            .extend(["resolvers", "components", name, version]);
        url.query_pairs_mut()
            .append_pair("limits", &serde_json::to_string(limits)?);
        let mut request = self
            .http
            .put(url)
            .header("content-type", "application/wasm")
            .timeout(PUBLISH_TIMEOUT)
            .body(component);
        if let Some(token) = &self.connection.token {
            request = request.bearer_auth(token);
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let answer = response.bytes().await.unwrap_or_default();
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|error| {
                Failure::no(
                    Code::Internal,
                    format!("{name}: expected a release, found {error}"),
                )
            });
        }
        Err(refused_with(name, status, &answer))
    }

    /// Begins the download of a restored artifact.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) async fn download(
        &self,
        base: &str,
        name: &str,
    ) -> Result<reqwest::Response, Failure> {
        let mut url = reqwest::Url::parse(&format!("{}{base}", self.connection.url))?;
        url.path_segments_mut()
            .map_err(|()| Failure::no(Code::Internal, "expected a URL with a path, found none"))?
            .pop_if_empty()
            .extend(name.split('/'));
        let mut request = self.http.get(url);
        if let Some(token) = &self.connection.token {
            request = request.bearer_auth(token);
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let answer = response.bytes().await.unwrap_or_default();
        Err(refused_with(name, status, &answer))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        Failure::Unreachable(format!(
            "{}: expected an answer, found none: {cause}",
            self.connection.url
        ))
    }
}

/// What an answer outside of GraphQL says that did not do what was asked.
fn refused_with(what: &str, status: StatusCode, answer: &[u8]) -> Failure {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let list: Vec<No> = answer["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(reasons)
        .collect();
    if list.is_empty() {
        Failure::no(
            Code::Internal,
            format!("{what}: expected it done, found HTTP {status} without a reason"),
        )
    } else {
        Failure::Refused(list)
    }
}

/// The reasons of one GraphQL error.
fn reasons(error: &Value) -> Vec<No> {
    let extensions = &error["extensions"];
    if let Ok(list) = serde_json::from_value::<Vec<No>>(extensions["refusals"].clone())
        && !list.is_empty()
    {
        return list;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    vec![No {
        code: extensions["code"]
            .as_str()
            .unwrap_or(Code::Internal.as_str())
            .to_owned(),
        message: text(&error["message"]),
        hint: text(&extensions["hint"]),
        field: extensions["field"].as_str().map(str::to_owned),
    }]
}
