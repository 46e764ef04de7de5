//! The API's client: the few GraphQL questions that the benchmark asks.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::files::Artifact;

/// A GraphQL endpoint and who asks.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: String,
    token: String,
}

/// One submission's answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Submitted {
    /// The group.
    pub group: String,
}

/// Where a group stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// True where nothing will change any more.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// `COMMITTED`, one hopes.
    pub state: String,
    /// Why not.
    pub refusals: Vec<Value>,
    /// When the control plane took it.
    pub submitted_at: Timestamp,
    /// When all its artifacts were pinned.
    pub staged_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
}

/// The fields of [`Group`].
const GROUP: &str = "final state submittedAt stagedAt finishedAt refusals { code message }";

impl Client {
    /// A client for a stack at `url` such as `http://127.0.0.1:7400`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(url: &str, token: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .timeout(Duration::from_secs(120))
            .build()?;
        let endpoint = format!("{}/graphql", url.trim_end_matches('/'));
        Ok(Self {
            http,
            endpoint,
            token: token.to_owned(),
        })
    }

    /// Asks, and hands out `data`.
    async fn ask(&self, query: &str, variables: Value) -> anyhow::Result<Value> {
        let answer: Value = self
            .http
            .post(&self.endpoint)
            .bearer_auth(&self.token)
            .header("accept", "application/graphql-response+json")
            .json(&json!({ "query": query, "variables": variables }))
            .send()
            .await
            .with_context(|| format!("asking {}", self.endpoint))?
            .json()
            .await?;
        match answer {
            Value::Object(mut answer) if !answer.contains_key("errors") => answer
                .remove("data")
                .context("expected data in the answer, found none"),
            answer => anyhow::bail!("the API refused: {}", answer["errors"]),
        }
    }

    /// Registers services by name.
    ///
    /// # Errors
    /// When the API cannot be asked or refuses.
    pub async fn register_services(&self, names: &[String]) -> anyhow::Result<()> {
        // The API takes at most 1,000 at once.
        for names in names.chunks(1_000) {
            let services: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
            let query = "mutation($services: [ServiceInput!]!) { registerServices(services: $services) { name } }";
            self.ask(query, json!({ "services": services })).await?;
        }
        Ok(())
    }

    /// Submits one checkpoint of one artifact.
    ///
    /// # Errors
    /// When the API cannot be asked or refuses.
    pub async fn submit(
        &self,
        service: &str,
        branch: &str,
        artifact: &Artifact,
    ) -> anyhow::Result<Submitted> {
        let input = json!({
            "idempotencyKey": format!("bench-{service}-{branch}"),
            "members": [{
                "service": service,
                "version": format!("1.0.0-{branch}"),
                "branch": branch,
                "artifacts": [{
                    "name": "release.bin",
                    "source": format!("file://{}", artifact.path.display()),
                    "size": artifact.size.0,
                    "sha256": artifact.sha256,
                }],
            }],
        });
        let query = "mutation($input: SubmitInput!) { submit(input: $input) { group } }";
        let mut data = self.ask(query, json!({ "input": input })).await?;
        serde_json::from_value(data["submit"].take()).context("reading the answer to submit")
    }

    /// Where groups stand, in the order of their ids.
    ///
    /// # Errors
    /// When the API cannot be asked or refuses.
    pub async fn groups(&self, ids: &[String]) -> anyhow::Result<Vec<Group>> {
        let one = |(index, id): (usize, &String)| {
            format!("g{index}: group(target: {{ group: \"{id}\" }}) {{ {GROUP} }} ")
        };
        let query: String = ids.iter().enumerate().map(one).collect();
        let mut data = self.ask(&format!("{{ {query}}}"), json!({})).await?;
        (0..ids.len())
            .map(|index| {
                serde_json::from_value(data[format!("g{index}")].take())
                    .with_context(|| format!("reading the state of group {}", ids[index]))
            })
            .collect()
    }

    /// True where the API answers and knows volumes: the agent has reported an inventory.
    pub async fn is_ready(&self) -> bool {
        match self.ask("{ volumes { barcode } }", json!({})).await {
            Ok(data) => data["volumes"]
                .as_array()
                .is_some_and(|volumes| !volumes.is_empty()),
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use axum::extract::State;
    use axum::routing::post;
    use axum::{Json, Router};

    use super::*;

    /// An API that gives these answers in turn and keeps the questions.
    #[derive(Clone, Default)]
    struct Script {
        answers: Arc<Mutex<VecDeque<Value>>>,
        questions: Arc<Mutex<Vec<Value>>>,
    }

    async fn answer(State(script): State<Script>, Json(question): Json<Value>) -> Json<Value> {
        script.questions.lock().unwrap().push(question);
        Json(script.answers.lock().unwrap().pop_front().unwrap())
    }

    async fn serve(answers: impl IntoIterator<Item = Value>) -> (Client, Script) {
        let script = Script::default();
        script.answers.lock().unwrap().extend(answers);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/graphql", post(answer))
            .with_state(script.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        (Client::new(&url, "secret").unwrap(), script)
    }

    fn group(is_final: bool) -> Value {
        json!({
            "final": is_final,
            "state": if is_final { "COMMITTED" } else { "EXECUTING" },
            "refusals": [],
            "submittedAt": "2026-01-01T00:00:00Z",
            "stagedAt": "2026-01-01T00:00:01Z",
            "finishedAt": is_final.then_some("2026-01-01T00:00:03Z"),
        })
    }

    #[tokio::test]
    async fn groups_are_asked_for_until_all_are_final() {
        let (client, script) = serve([
            json!({ "data": { "g0": group(true), "g1": group(false) } }),
            json!({ "data": { "g0": group(true), "g1": group(true) } }),
        ])
        .await;
        let ids = ["one".to_owned(), "two".to_owned()];
        let groups = super::super::until_final(&client, &ids).await.unwrap();
        assert_eq!(groups.len(), 2);
        assert!(
            groups
                .iter()
                .all(|group| group.is_final && group.state == "COMMITTED")
        );
        let questions = script.questions.lock().unwrap();
        assert_eq!(questions.len(), 2);
        let query = questions[0]["query"].as_str().unwrap();
        assert!(
            query.contains("g1: group(target: { group: \"two\" })"),
            "{query}"
        );
    }

    #[tokio::test]
    async fn a_submission_names_its_artifact_and_hands_out_its_group() {
        let (client, script) = serve([json!({ "data": { "submit": { "group": "g" } } })]).await;
        let artifact = Artifact {
            path: "/tmp/a.bin".into(),
            size: model::Bytes(7),
            sha256: "00".repeat(32),
        };
        assert_eq!(
            client.submit("svc", "b1", &artifact).await.unwrap().group,
            "g"
        );
        let questions = script.questions.lock().unwrap();
        let member = &questions[0]["variables"]["input"]["members"][0];
        assert_eq!(member["artifacts"][0]["source"], "file:///tmp/a.bin");
        assert_eq!(member["branch"], "b1");
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_with_its_reason() {
        let (client, _) = serve([json!({ "errors": [{ "message": "unknown service" }] })]).await;
        let error = client
            .register_services(&["svc".to_owned()])
            .await
            .unwrap_err();
        assert!(error.to_string().contains("unknown service"), "{error}");
    }
}
