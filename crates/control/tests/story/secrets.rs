//! Secrets stand in no log, however much is logged.

use std::io::Write;
use std::sync::{Arc, Mutex};

use control::Effect;
use model::agents::Enrol;
use model::work::OrderedArtifact;
use model::{AgentKey, Bytes, Sha256};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::*;
use crate::machine::TOKENS;

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

impl Log {
    /// Everything that this thread logs while the guard lives, spans included.
    fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
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
        let guard = tracing::subscriber::set_default(everything);
        (log, guard)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn a_checkpoint_from_submission_to_restore_logs_no_secret() -> Test {
    let (log, _guard) = Log::listen();
    let mut stage = Stage::new(21, 2, Bytes::gib(1), &["a"]).await?;
    let mut json = stage.world.sample("a", "1");
    json["idempotency_key"] = "idempotency-key-of-mine".into();
    let submitted = stage.submit(json).await;
    stage.finish().await?;
    let id = submitted.checkpoints[0];
    stage.control.restore(&OPERATOR, id, Vec::new()).await?;
    stage.finish().await?;
    let tenant = Principal::Services(vec!["b".parse()?]);
    stage.control.checkpoint(&tenant, id).await.unwrap_err();

    let agent: model::AgentId = "edge-9".parse()?;
    let library = stage
        .control
        .pool(&OPERATOR, &"main".parse()?)
        .await?
        .library;
    let issued = stage
        .control
        .issue_enrolment_code(&OPERATOR, &agent, &library)
        .await?;
    let enrol = |code: &model::agents::CodeText| Enrol {
        agent: agent.clone(),
        code: code.clone(),
        key: AgentKey([7; 32]),
    };
    tracing::info!(question = ?enrol(&issued.code), issued = ?issued, "as a careless line would");
    stage.control.enrol(enrol(&issued.code)).await?;
    let wrong = model::agents::CodeText::new("0123456789abcdef0123456789abcdef");
    stage.control.enrol(enrol(&wrong)).await.unwrap_err();

    let text = log.text();
    // It listened: commits, sessions and refusals are there.
    for expected in ["committed", "session granted", "not authorized", "enrolled"] {
        assert!(text.contains(expected), "{expected} is not in the log");
    }
    for secret in [
        TOKENS,
        "idempotency-key-of-mine",
        "file:///pinned/",
        "file:///delivered/",
        issued.code.plain(),
        wrong.plain(),
    ] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    Ok(())
}

#[test]
fn what_is_printed_for_debugging_leaves_secrets_out() {
    let token = "AQDEAAAAKgAAAAMAAAAAAAAAAf";
    let told = [
        Effect::TaskSucceeded {
            token: token.to_owned(),
            output: serde_json::json!({"state": "written"}),
        },
        Effect::TaskFailed {
            token: token.to_owned(),
            error: "Tapemark.MediaError".to_owned(),
            cause: "a cause".to_owned(),
        },
    ];
    assert!(!format!("{told:?}").contains(token));
    let artifact = OrderedArtifact {
        name: "a".parse().unwrap(),
        source: "s3://b/k?versionId=1".parse().unwrap(),
        size: Bytes(1),
        sha256: Sha256([1; 32]),
        range: model::ArtifactRange {
            artifact: 0,
            offset: Bytes::ZERO,
            length: Bytes(1),
        },
        fetch: "https://b.s3.amazonaws.com/k?X-Amz-Signature=f00d&X-Amz-Security-Token=beef"
            .to_owned(),
    };
    let shown = format!("{artifact:?}");
    assert!(shown.contains("https://b.s3.amazonaws.com/k"), "{shown}");
    assert!(
        !shown.contains("f00d") && !shown.contains("beef"),
        "{shown}"
    );
}
