//! An agent that speaks the real protocol over HTTP and writes to lists instead of tapes.

use std::collections::BTreeMap;

use model::work::{
    Ack, Claim, ClaimAnswer, Close, Complete, CompleteAnswer, Inventory, InventoryAnswer,
    OpenAnswer, OpenSession, Order, Outcome, SeenDrive, SessionReady, SessionRef, WorkItem,
    WorkKind, WorkResult, part_text,
};
use model::{
    Barcode, Bytes, Fence, Placement, RecordNo, SegmentExtent, SegmentNo, Sha256, Slot, SlotKind,
    VolumePosition, VolumeUuid, WriteSession,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Digest as _;
use wire::SecretKey;

/// What is on one tape, and the highest fence that wrote there.
#[derive(Default)]
pub(crate) struct Tape {
    uuid: Option<VolumeUuid>,
    written: Vec<(Placement, Sha256, u32, Bytes)>,
    fence: Fence,
}

pub(crate) type Tapes = BTreeMap<Barcode, Tape>;

/// The stack is gone: killed, or it refused.
#[derive(Debug)]
pub(crate) struct Gone(pub(crate) String);

/// The line to the stack. At its last call the stack is killed while it answers.
pub(crate) struct Line<'a> {
    pub(crate) address: String,
    /// The agent's key.
    pub(crate) key: SecretKey,
    /// The key of another agent of the same installation.
    pub(crate) other: SecretKey,
    pub(crate) client: reqwest::Client,
    pub(crate) calls_left: Option<usize>,
    pub(crate) kill: &'a mut (dyn FnMut() + Send),
}

impl Line<'_> {
    fn signed(
        &self,
        agent: &str,
        key: &SecretKey,
        call: &str,
        question: &impl Serialize,
    ) -> reqwest::RequestBuilder {
        let body = serde_json::to_vec(question).unwrap();
        let path = format!("/agent/v1/{call}");
        let now = jiff::Timestamp::now().as_second();
        let signed = wire::sign(key, agent, "POST", &path, &body, now, "07");
        self.client
            .post(format!("http://{}{path}", self.address))
            .header("content-digest", signed.content_digest)
            .header("signature-input", signed.signature_input)
            .header("signature", signed.signature)
            .body(body)
    }

    /// An agent that is enrolled here too gets nothing of this session, whatever it knows.
    async fn others_are_refused(&self, session: &SessionRef) {
        let mut renew = serde_json::to_value(session).unwrap();
        renew["moved"] = 0.into();
        renew["doing"] = "stealing".into();
        for call in ["renew", "ready", "claim", "complete", "close"] {
            let mut question = renew.clone();
            question["kinds"] = serde_json::json!(["write"]);
            question["max_items"] = 1.into();
            question["max_bytes"] = 1.into();
            question["wait_ms"] = 0.into();
            question["results"] = serde_json::json!([]);
            question["found"] = serde_json::json!([]);
            question["labelled"] = false.into();
            question["abandoned"] = 0.into();
            question["used"] = 0.into();
            let position = serde_json::to_value(Tape::default().position()).unwrap();
            question["position"] = position;
            let call = format!("sessions/{call}");
            let request = self.signed("agent-2", &self.other, &call, &question);
            let answer = request.send().await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            assert_eq!(status, reqwest::StatusCode::FORBIDDEN, "{call}: {text}");
            assert!(text.contains("another agent's"), "{call}: {text}");
        }
    }

    async fn ask<A: DeserializeOwned>(
        &mut self,
        call: &str,
        question: &impl Serialize,
    ) -> Result<A, Gone> {
        let request = self.signed("agent-1", &self.key, call, question);
        let gone = |error: reqwest::Error| Gone(error.to_string());
        if let Some(left) = &mut self.calls_left {
            if *left == 0 {
                let answer = tokio::spawn(request.send());
                tokio::task::yield_now().await;
                (self.kill)();
                let _ = answer.await;
                return Err(Gone(format!("killed during {call}")));
            }
            *left -= 1;
        }
        let answer = request.send().await.map_err(gone)?;
        let status = answer.status();
        let text = answer.text().await.map_err(gone)?;
        assert!(status.is_success(), "{call}: {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap())
    }
}

impl Tape {
    fn position(&self) -> VolumePosition {
        VolumePosition {
            next: RecordNo(2 + 3 * self.written.len() as u64),
            last_manifest: self
                .written
                .last()
                .map(|(placement, ..)| placement.manifest),
            manifests: self.written.len() as u64,
        }
    }

    fn used(&self) -> Bytes {
        self.written
            .iter()
            .map(|(placement, ..)| placement.bytes())
            .sum()
    }

    fn work(&mut self, session: &WriteSession, item: &WorkItem) -> Outcome {
        match &item.order {
            Order::Write(order) => {
                let ranges = order
                    .artifacts
                    .iter()
                    .map(|a| (&a.name, a.sha256, a.size, a.range));
                let content = sha256(part_text(ranges).as_bytes());
                for artifact in &order.artifacts {
                    let path = artifact.fetch.strip_prefix("file://").unwrap();
                    let pinned = std::fs::read(path).unwrap();
                    assert_eq!(
                        sha256(&pinned),
                        artifact.sha256,
                        "the pin holds what was declared"
                    );
                }
                let bytes: Bytes = order.artifacts.iter().map(|a| a.range.length).sum();
                let first = self.position().next;
                let placement = Placement {
                    work: item.key.clone(),
                    checkpoint: order.checkpoint,
                    copy: order.copy,
                    part: order.part,
                    parts: order.parts,
                    volume: session.volume.clone(),
                    volume_uuid: session.uuid,
                    fence: session.fence,
                    segments: vec![SegmentExtent {
                        no: SegmentNo(0),
                        first,
                        records: 2,
                        bytes: Bytes(1 << 20),
                        sha256: content,
                    }],
                    manifest: sha256(format!("{}{first}", item.key).as_bytes()),
                };
                self.written.push((
                    placement.clone(),
                    content,
                    order.artifacts.len() as u32,
                    bytes,
                ));
                Outcome::Written { placement }
            }
            Order::Verify(order) => {
                let found = self
                    .written
                    .iter()
                    .find(|(placement, ..)| *placement == order.placement);
                let (_, content, artifacts, bytes) = found.expect("what is verified was written");
                Outcome::Verified {
                    content: *content,
                    artifacts: *artifacts,
                    bytes: *bytes,
                }
            }
            other => panic!("nobody asked for {other:?}"),
        }
    }

    pub(crate) fn checkpoints(&self) -> impl Iterator<Item = model::CheckpointId> {
        self.written
            .iter()
            .map(|(placement, ..)| placement.checkpoint)
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// One life of the agent, until the stack is gone or everything is done.
pub(crate) async fn live(
    line: &mut Line<'_>,
    instance: &str,
    tapes: &mut Tapes,
    is_done: impl Fn() -> bool,
) -> Result<(), Gone> {
    let volumes = (1..=3u16).map(|n| Slot {
        element: 1000 + n,
        kind: SlotKind::Storage,
        volume: Some(format!("TM000{n}L9").parse().unwrap()),
        full: true,
    });
    let _: InventoryAnswer = line
        .ask(
            "inventory",
            &Inventory {
                agent: "agent-1".parse().unwrap(),
                library: "lib".parse().unwrap(),
                slots: volumes.collect(),
                drives: vec![SeenDrive {
                    serial: "D1".parse().unwrap(),
                    element: 256,
                    volume: None,
                    fault: None,
                }],
                native_capacity: Bytes::gib(1),
            },
        )
        .await?;
    while !is_done() {
        let opened: OpenAnswer = line
            .ask(
                "sessions/open",
                &OpenSession {
                    agent: "agent-1".parse().unwrap(),
                    instance: instance.to_owned(),
                    library: "lib".parse().unwrap(),
                    drive: "D1".parse().unwrap(),
                    mounted: None,
                    wait_ms: 200,
                },
            )
            .await?;
        if let Some(session) = opened.session {
            hold(line, session, tapes).await?;
        }
    }
    Ok(())
}

/// One session from its grant to its end.
async fn hold(line: &mut Line<'_>, session: WriteSession, tapes: &mut Tapes) -> Result<(), Gone> {
    let tape = tapes.entry(session.volume.clone()).or_default();
    let labelled = tape.uuid.is_none();
    assert_eq!(
        *tape.uuid.get_or_insert(session.uuid),
        session.uuid,
        "the label of another tape"
    );
    assert!(
        tape.fence < session.fence,
        "each session has a higher fence than the one before"
    );
    tape.fence = session.fence;
    let reference = SessionRef {
        session: session.id,
        volume: session.volume.clone(),
        fence: session.fence,
    };
    let known = session
        .position
        .as_ref()
        .map_or(0, |position| position.manifests) as usize;
    let _: Ack = line
        .ask(
            "sessions/ready",
            &SessionReady {
                session: reference.clone(),
                position: tape.position(),
                labelled,
                found: tape.written[known..]
                    .iter()
                    .map(|(placement, ..)| placement.clone())
                    .collect(),
                abandoned: Bytes(0),
                used: tape.used(),
            },
        )
        .await?;
    if line.calls_left.is_none() {
        line.others_are_refused(&reference).await;
    }
    loop {
        let claimed: ClaimAnswer = line
            .ask(
                "sessions/claim",
                &Claim {
                    session: reference.clone(),
                    kinds: vec![WorkKind::Verify, WorkKind::Write],
                    max_items: 7,
                    max_bytes: Bytes::gib(1),
                    wait_ms: 0,
                },
            )
            .await?;
        if claimed.items.is_empty() {
            break;
        }
        let results = claimed
            .items
            .iter()
            .map(|item| WorkResult {
                key: item.key.clone(),
                outcome: tape.work(&session, item),
            })
            .collect();
        let answer: CompleteAnswer = line
            .ask(
                "sessions/complete",
                &Complete {
                    session: reference.clone(),
                    position: Some(tape.position()),
                    used: Some(tape.used()),
                    results,
                },
            )
            .await?;
        assert_eq!(
            answer.refused,
            [],
            "results of a session that holds its fence count"
        );
    }
    let close = Close {
        session: reference,
        volume_fault: None,
        drive_fault: None,
    };
    let _: Ack = line.ask("sessions/close", &close).await?;
    Ok(())
}
