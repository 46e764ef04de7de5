//! Secrets that come in over HTTP stand in no log, however much is logged.

use std::io::Write;
use std::sync::{Arc, Mutex};

use reqwest::header;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::support::{SUBMIT, client, serve};

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn tokens_keys_and_guesses_are_not_logged() {
    let log = Log::default();
    let everything = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // With a single subscriber in the process, an event that a thread of another test comes
    // by first is off for all: tracing then asks that thread's, which is none.
    static SECOND: std::sync::OnceLock<tracing::Dispatch> = std::sync::OnceLock::new();
    SECOND.get_or_init(|| tracing::Dispatch::new(tracing_subscriber::registry()));
    // Server and client run on this thread.
    let _guard = tracing::subscriber::set_default(everything);
    let server = serve().await;

    let key = "an-idempotency-key-of-mine";
    let input = json!({ "i": server.sample("payments", "1", key) });
    let done = server.ask(&server.scoped, SUBMIT, input).await;
    let checkpoint = done["data"]["submit"]["checkpoints"][0].clone();
    let restore = "mutation($c: UUID!) { restore(checkpoint: $c) { id } }";
    server
        .ask(&server.scoped, restore, json!({ "c": checkpoint }))
        .await;

    let make =
        "mutation { createToken(name: \"ci\", scope: { services: [\"ledger\"] }) { token } }";
    let refused = server.ask(&server.scoped, make, json!({})).await;
    assert_eq!(
        refused["errors"][0]["extensions"]["code"],
        "Tapemark.Forbidden"
    );
    let made = server.ask(&server.operator, make, json!({})).await;
    let made = made["data"]["createToken"]["token"]
        .as_str()
        .unwrap()
        .to_owned();

    let guess = "tmk_aGuessThatMayBeAlmostRight";
    for authorization in [format!("Bearer {guess}"), format!("Basic {guess}")] {
        let answer: Value = client()
            .post(format!("{}/graphql", server.url))
            .header(header::AUTHORIZATION, authorization)
            .body("{}")
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert!(!answer.to_string().contains(guess), "{answer}");
    }

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    // It listened.
    assert!(
        text.contains("CreateToken"),
        "the refusal is not in the log"
    );
    for secret in [&server.operator, &server.scoped, &made, key, guess] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}
