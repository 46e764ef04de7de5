//! An agent that writes to lists instead of tapes.

use std::collections::BTreeMap;

use control::Control;
use model::work::{
    Claim, Close, Complete, OpenSession, Order, Outcome, SessionReady, SessionRef, WorkItem,
    WorkKind, WorkResult, part_text,
};
use model::{
    Barcode, Bytes, DriveSerial, Fence, Placement, RecordNo, Refusal, SegmentExtent, SegmentNo,
    Sha256, VolumePosition, VolumeUuid, WriteSession,
};
use sha2::Digest as _;

/// A tape: what was written, in order. `durable` of them are behind a synchronous mark.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {
    pub(crate) uuid: Option<VolumeUuid>,
    pub(crate) written: Vec<Written>,
    /// The highest fence that wrote.
    pub(crate) fence: Fence,
    /// Read-backs give other digests.
    pub(crate) rotten: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) placement: Placement,
    /// What a read-back gives.
    pub(crate) content: Sha256,
    pub(crate) artifacts: u32,
    pub(crate) bytes: Bytes,
}

impl Tape {
    pub(crate) fn position(&self) -> VolumePosition {
        VolumePosition {
            next: RecordNo(2 + 3 * self.written.len() as u64),
            last_manifest: self.written.last().map(|w| w.placement.manifest),
            manifests: self.written.len() as u64,
        }
    }

    pub(crate) fn used(&self) -> Bytes {
        self.written.iter().map(|w| w.placement.bytes()).sum()
    }
}

/// All tapes of the library.
pub(crate) type Tapes = BTreeMap<Barcode, Tape>;

/// An agent's loop for one drive.
pub(crate) struct Agent {
    pub(crate) drive: DriveSerial,
    pub(crate) instance: String,
    pub(crate) mounted: Option<Barcode>,
    pub(crate) session: Option<WriteSession>,
    pub(crate) claimed: Vec<WorkItem>,
    /// Done and not reported.
    pub(crate) unreported: Vec<WorkResult>,
}

pub(crate) fn sha256(text: &str) -> Sha256 {
    Sha256(sha2::Sha256::digest(text.as_bytes()).into())
}

impl Agent {
    pub(crate) fn new(drive: &str, instance: &str) -> Self {
        Self {
            drive: drive.parse().unwrap(),
            instance: instance.to_owned(),
            mounted: None,
            session: None,
            claimed: Vec::new(),
            unreported: Vec::new(),
        }
    }

    /// The process dies and starts again: it remembers nothing.
    pub(crate) fn restart(&mut self, instance: String) {
        self.instance = instance;
        self.session = None;
        self.claimed.clear();
        self.unreported.clear();
    }

    pub(crate) fn reference(&self) -> SessionRef {
        let session = self.session.as_ref().unwrap();
        SessionRef {
            session: session.id,
            volume: session.volume.clone(),
            fence: session.fence,
        }
    }

    pub(crate) async fn open(&mut self, control: &Control) -> Result<bool, Refusal> {
        let answer = control
            .open_session(OpenSession {
                agent: "agent".parse().unwrap(),
                instance: self.instance.clone(),
                library: "lib".parse().unwrap(),
                drive: self.drive.clone(),
                mounted: self.mounted.clone(),
                wait_ms: 0,
            })
            .await?;
        self.session = answer.session;
        if let Some(session) = &self.session {
            self.mounted = Some(session.volume.clone());
        }
        Ok(self.session.is_some())
    }

    /// Proves the volume as a real agent would.
    pub(crate) async fn ready(
        &mut self,
        control: &Control,
        tapes: &mut Tapes,
    ) -> Result<(), Refusal> {
        let session = self.session.clone().unwrap();
        let tape = tapes.entry(session.volume.clone()).or_default();
        let labelled = tape.uuid.is_none();
        if labelled {
            assert_eq!(
                session.position, None,
                "a blank tape where data are expected"
            );
            tape.uuid = Some(session.uuid);
        }
        assert_eq!(tape.uuid, Some(session.uuid), "the label of another tape");
        assert!(tape.fence < session.fence, "a fence that is not higher");
        tape.fence = session.fence;
        let known = session.position.map_or(0, |position| position.manifests) as usize;
        let found = tape.written[known..]
            .iter()
            .map(|w| w.placement.clone())
            .collect();
        control
            .session_ready(SessionReady {
                session: self.reference(),
                position: tape.position(),
                labelled,
                found,
                abandoned: Bytes::ZERO,
                used: tape.used(),
            })
            .await?;
        Ok(())
    }

    pub(crate) async fn claim(
        &mut self,
        control: &Control,
        max_items: u32,
    ) -> Result<usize, Refusal> {
        let answer = control
            .claim(Claim {
                session: self.reference(),
                kinds: vec![
                    WorkKind::Restore,
                    WorkKind::Verify,
                    WorkKind::Write,
                    WorkKind::Scan,
                ],
                max_items,
                max_bytes: Bytes::gib(32),
                wait_ms: 0,
            })
            .await?;
        self.claimed.extend(answer.items);
        Ok(self.claimed.len())
    }

    /// Does the first claimed item, on the tape or from it.
    pub(crate) fn work(&mut self, tapes: &mut Tapes) {
        let Some(session) = self.session.clone() else {
            return;
        };
        if self.claimed.is_empty() {
            return;
        }
        let item = self.claimed.remove(0);
        let tape = tapes.entry(session.volume.clone()).or_default();
        if tape.fence > session.fence {
            // Another session has the tape: the drive refuses.
            return;
        }
        let outcome = match &item.order {
            Order::Write(_) => Outcome::Written {
                placement: write(tape, &session, &item),
            },
            Order::Verify(order) => read(tape, &order.placement),
            Order::Restore(order) => match read(tape, &order.placement) {
                Outcome::Verified {
                    artifacts, bytes, ..
                } => Outcome::Restored { artifacts, bytes },
                other => other,
            },
            Order::Scan => Outcome::Scanned {
                report: format!("{{\"manifests\":{}}}", tape.written.len()),
            },
        };
        self.unreported.push(WorkResult {
            key: item.key,
            outcome,
        });
    }

    /// Reports everything not reported; keeps it where the answer did not come.
    pub(crate) async fn report(
        &mut self,
        control: &Control,
        tapes: &Tapes,
    ) -> Result<Vec<Refusal>, Refusal> {
        let session = self.session.as_ref().unwrap();
        let tape = &tapes[&session.volume];
        let answer = control
            .complete(Complete {
                session: self.reference(),
                position: Some(tape.position()),
                used: Some(tape.used()),
                results: self.unreported.clone(),
            })
            .await?;
        self.unreported.clear();
        Ok(answer
            .refused
            .into_iter()
            .map(|(_, refusal)| refusal)
            .collect())
    }

    pub(crate) async fn close(
        &mut self,
        control: &Control,
        volume_fault: Option<Refusal>,
    ) -> Result<(), Refusal> {
        let session = self.reference();
        self.session = None;
        self.claimed.clear();
        self.unreported.clear();
        control
            .close_session(Close {
                session,
                volume_fault,
                drive_fault: None,
            })
            .await?;
        Ok(())
    }

    /// Does all work there is, and closes.
    pub(crate) async fn run(
        &mut self,
        control: &Control,
        tapes: &mut Tapes,
    ) -> Result<usize, Refusal> {
        let mut done = 0;
        if self.session.is_none() {
            if !self.open(control).await? {
                return Ok(0);
            }
            self.ready(control, tapes).await?;
        }
        while self.claim(control, 200).await? > 0 {
            while !self.claimed.is_empty() {
                self.work(tapes);
                done += 1;
            }
            let refused = self.report(control, tapes).await?;
            assert!(refused.is_empty(), "{refused:?}");
        }
        self.close(control, None).await?;
        Ok(done)
    }
}

fn write(tape: &mut Tape, session: &WriteSession, item: &WorkItem) -> Placement {
    let Order::Write(order) = &item.order else {
        unreachable!("the caller looked");
    };
    let text = part_text(
        order
            .artifacts
            .iter()
            .map(|a| (&a.name, a.sha256, a.size, a.range)),
    );
    let bytes: Bytes = order.artifacts.iter().map(|a| a.range.length).sum();
    let first = tape.position().next;
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
            bytes: Bytes(bytes.0.next_multiple_of(512 << 10) + (512 << 10)),
            sha256: sha256(&text),
        }],
        manifest: sha256(&format!("{}{first}", item.key)),
    };
    tape.written.push(Written {
        placement: placement.clone(),
        content: sha256(&text),
        artifacts: order.artifacts.len() as u32,
        bytes,
    });
    placement
}

fn read(tape: &Tape, placement: &Placement) -> Outcome {
    let Some(found) = tape.written.iter().find(|w| w.placement == *placement) else {
        return Outcome::Failed {
            refusal: Refusal::new(model::Code::MediaError, "nothing is there"),
        };
    };
    Outcome::Verified {
        content: if tape.rotten {
            Sha256::EMPTY
        } else {
            found.content
        },
        artifacts: found.artifacts,
        bytes: found.bytes,
    }
}
