//! Requests outside runs: restores, re-verifications, scans.

use std::collections::BTreeSet;

use model::work::{RestoreOrder, VerifyOrder, WorkKind};
use model::{
    Artifact, ArtifactName, Barcode, Bytes, CheckpointId, Code, LibraryId, Placement, Refusal,
    RestoreId, ServiceName, State, VolumeState, WorkKey,
};
use uuid::Uuid;

use crate::authority::{Action, Resource};
use crate::catalogue::{Answer, Tx};
use crate::phases::ranges;
use crate::ports::MAX_WRITES;
use crate::records::{
    AskRecord, CheckpointRecord, MemberRecord, Owner, Part, Task, VolumeMeta, WorkRecord,
};
use crate::{Control, Principal, RestoreState, RestoreView, keys};

/// A merged checkpoint may stand for others that were merged into it; never so many.
const LONGEST_CHAIN: usize = 16;
/// The place in line of a restore: people wait for it, so before all but the most urgent
/// writes (priority 8).
const RESTORE_LINE: u64 = 1 << 60;
/// Re-verifications and scans go behind everything else (priority 0).
const IDLE_LINE: u64 = 9 << 60;

/// A committed checkpoint and what is known of its parts.
struct Committed {
    record: CheckpointRecord,
    member: MemberRecord,
}

impl Control {
    /// Asks for artifacts back, all where `only` is empty. A merged checkpoint restores
    /// what it was merged into.
    ///
    /// # Errors
    /// `NotFound` for the checkpoint or one of the names; `Forbidden`; `NotRestorable`
    /// for what is not committed; `VolumeMissing` where a volume is not in the library.
    pub async fn restore(
        &self,
        who: &Principal,
        id: CheckpointId,
        only: Vec<ArtifactName>,
    ) -> Answer<RestoreId> {
        let found = self.committed(who, Action::Restore, id).await?;
        let artifacts = self.manifest(found.record.checkpoint.id).await?;
        let chosen = indices(&artifacts, &only)?;
        let ask = self.fresh(RestoreId::from_parts);
        let deliver = self.ports.objects.delivery_url(ask).await?;
        let mut items = Vec::new();
        for (placement, part) in found.parts() {
            let wanted = ranges(&artifacts, part.from, part.to)
                .into_iter()
                .any(|range| chosen.is_empty() || chosen.contains(&range.artifact));
            if !wanted {
                continue;
            }
            let order = RestoreOrder {
                restore: ask,
                placement: placement.clone(),
                only: only.clone(),
                deliver: deliver.clone(),
            };
            let task = Task::Restore(Box::new(order));
            items.push((WorkKind::Restore, RESTORE_LINE, placement, part, task));
        }
        self.ask(ask, Some((id, &found)), Some(deliver), items)
            .await?;
        Ok(ask)
    }

    /// Asks for a committed checkpoint to be read back again and compared.
    ///
    /// # Errors
    /// As [`Control::restore`].
    pub async fn reverify(&self, who: &Principal, id: CheckpointId) -> Answer<RestoreId> {
        let found = self.committed(who, Action::VerifyCheckpoint, id).await?;
        let ask = self.fresh(RestoreId::from_parts);
        let mut items = Vec::new();
        for (placement, part) in found.parts() {
            let expected = part.expected.ok_or_else(|| {
                Refusal::new(
                    Code::Internal,
                    format!("{id} has no digest to compare with"),
                )
            })?;
            let task = Task::Verify(Box::new(VerifyOrder {
                placement: placement.clone(),
                expected,
            }));
            items.push((WorkKind::Verify, IDLE_LINE, placement, part, task));
        }
        self.ask(ask, Some((id, &found)), None, items).await?;
        Ok(ask)
    }

    /// Asks for a volume to be listed from the medium alone. The report is read with
    /// [`Control::scan_report`].
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`; `BlankVolume` for a volume that
    /// was never labelled; `VolumeMissing`.
    pub async fn scan_volume(&self, who: &Principal, barcode: &Barcode) -> Answer<RestoreId> {
        self.authorize(who, Action::ScanVolume, Resource::Volume(barcode))?;
        let seen = self
            .get::<VolumeMeta>(&keys::volume(barcode))
            .await?
            .ok_or_else(|| Refusal::new(Code::NotFound, format!("no volume {barcode}")))?;
        if *seen.value.lifecycle.state() == VolumeState::Scratch {
            return Err(Refusal::new(
                Code::BlankVolume,
                format!("volume {barcode}: expected a label, found none"),
            ));
        }
        let library = usable(&seen.value)?;
        let ask = self.fresh(RestoreId::from_parts);
        let work = work_record(ask, "scan", 0, library, barcode.clone(), Task::Scan)?;
        let work = WorkRecord {
            kind: WorkKind::Scan,
            line: line(IDLE_LINE, ask, 0),
            ..work
        };
        self.register_ask(ask_record(self, ask), vec![work]).await?;
        Ok(ask)
    }

    /// How far a request is.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` for a request about another's checkpoint.
    pub async fn restore_view(&self, who: &Principal, id: RestoreId) -> Answer<RestoreView> {
        let ask = self.own_ask(who, Action::ViewRestore, id).await?;
        Ok(shown(ask))
    }

    /// What was brought back, for who fetches it. [`RestoreView::delivered`] says where it
    /// is, and may be an address that opens it to whoever has it.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` for who may not fetch it.
    pub async fn delivered(&self, who: &Principal, id: RestoreId) -> Answer<RestoreView> {
        let ask = self.own_ask(who, Action::DownloadRestore, id).await?;
        Ok(shown(ask))
    }

    /// The JSON report of a scan that is done.
    ///
    /// # Errors
    /// `NotFound` where there is none (yet); `Forbidden`.
    pub async fn scan_report(&self, who: &Principal, id: RestoreId) -> Answer<String> {
        self.authorize(who, Action::ViewScan, Resource::Installation)?;
        let ask = self.own_ask(who, Action::ViewRestore, id).await?;
        if ask.checkpoint.is_some() || ask.state != RestoreState::Done {
            return Err(Refusal::new(
                Code::NotFound,
                format!("expected a scan {id} that is done, found none"),
            ));
        }
        let body = self
            .ports
            .objects
            .document(&keys::scan_document(id))
            .await?;
        String::from_utf8(body).map_err(|error| Refusal::new(Code::Internal, error.to_string()))
    }

    async fn own_ask(&self, who: &Principal, action: Action, id: RestoreId) -> Answer<AskRecord> {
        let seen = self
            .get::<AskRecord>(&keys::ask(id))
            .await?
            .ok_or_else(|| Refusal::new(Code::NotFound, format!("no request {id}")))?;
        match (seen.value.checkpoint, &seen.value.service) {
            (Some(id), Some(service)) => {
                self.authorize(who, action, Resource::Checkpoint { id, service })?;
            }
            _ => self.authorize(who, Action::ViewScan, Resource::Installation)?,
        }
        Ok(seen.value)
    }

    /// The checkpoint itself, or what stands for it, if it is committed.
    async fn committed(
        &self,
        who: &Principal,
        action: Action,
        id: CheckpointId,
    ) -> Answer<Committed> {
        let mut at = id;
        for _ in 0..LONGEST_CHAIN {
            let record = self.checkpoint_record(who, action, at).await?;
            let group = self.group_record(record.checkpoint.group).await?.value;
            let index = record.checkpoint.index as usize;
            let member =
                group.members.into_iter().nth(index).ok_or_else(|| {
                    Refusal::new(Code::Internal, format!("{at} is not in its group"))
                })?;
            match (group.group.lifecycle.state(), member.merged_into) {
                (State::Committed, _) => return Ok(Committed { record, member }),
                (State::Merged { .. }, Some(into)) => at = into,
                (state, _) => {
                    return Err(Refusal::new(
                        Code::NotRestorable,
                        format!("expected {at} to be committed, found it {}", state.name()),
                    ));
                }
            }
        }
        Err(Refusal::new(
            Code::Internal,
            format!("{id} is merged more than {LONGEST_CHAIN} times"),
        ))
    }

    async fn ask(
        &self,
        ask: RestoreId,
        about: Option<(CheckpointId, &Committed)>,
        deliver: Option<String>,
        items: Vec<(WorkKind, u64, &Placement, &Part, Task)>,
    ) -> Answer<()> {
        let mut works = Vec::new();
        for (n, (kind, urgency, placement, part, task)) in items.into_iter().enumerate() {
            let volume = self
                .get::<VolumeMeta>(&keys::volume(&placement.volume))
                .await?
                .ok_or_else(|| {
                    Refusal::new(
                        Code::VolumeMissing,
                        format!("volume {} is not in the catalogue", placement.volume),
                    )
                })?;
            let library = usable(&volume.value)?;
            let phase = if kind == WorkKind::Restore {
                "restore"
            } else {
                "verify"
            };
            let work = work_record(ask, phase, n, library, placement.volume.clone(), task)?;
            works.push(WorkRecord {
                kind,
                // In the order in which they lie on the volume.
                line: line(
                    urgency,
                    ask,
                    placement.first_record().map_or(0, |first| first.0),
                ),
                bytes: part.to.minus(part.from),
                artifacts: part.ranges,
                ..work
            });
        }
        if works.len() > MAX_WRITES - 1 {
            return Err(Refusal::new(
                Code::Busy,
                format!(
                    "expected at most {} parts, found {}",
                    MAX_WRITES - 1,
                    works.len()
                ),
            ));
        }
        let mut record = ask_record(self, ask);
        record.checkpoint = about.map(|(id, _)| id);
        record.service = about.map(|(_, found)| found.service().clone());
        record.deliver = deliver;
        self.register_ask(record, works).await
    }

    async fn register_ask(&self, mut ask: AskRecord, works: Vec<WorkRecord>) -> Answer<()> {
        ask.waiting = works.iter().map(|work| work.key.clone()).collect();
        let libraries: BTreeSet<LibraryId> =
            works.iter().map(|work| work.library.clone()).collect();
        let mut tx = Tx::new();
        if works.is_empty() {
            ask.state = RestoreState::Done;
            ask.finished_at = Some(ask.requested_at);
        }
        tx.create(&ask);
        for work in &works {
            tx.create(work);
        }
        self.transact(tx).await?;
        for library in &libraries {
            self.ports.queue.ring(library).await;
        }
        Ok(())
    }
}

impl Committed {
    fn service(&self) -> &ServiceName {
        &self.record.checkpoint.service
    }

    /// Each placement of the first copy with what is known of its part.
    fn parts(&self) -> impl Iterator<Item = (&Placement, &Part)> {
        self.record.placements.iter().filter_map(|placement| {
            let same = |part: &&Part| part.copy == placement.copy && part.part == placement.part;
            Some((placement, self.member.parts.iter().find(same)?))
        })
    }
}

fn shown(ask: AskRecord) -> RestoreView {
    let done = ask.state == RestoreState::Done;
    RestoreView {
        id: ask.id,
        checkpoint: ask.checkpoint.unwrap_or(CheckpointId(Uuid::nil())),
        state: ask.state,
        requested_at: ask.requested_at,
        finished_at: ask.finished_at,
        delivered: ask.deliver.filter(|_| done),
        artifacts: ask.artifacts,
        bytes: ask.bytes,
    }
}

fn ask_record(control: &Control, id: RestoreId) -> AskRecord {
    AskRecord {
        id,
        checkpoint: None,
        service: None,
        state: RestoreState::Waiting,
        requested_at: control.now(),
        finished_at: None,
        deliver: None,
        waiting: Vec::new(),
        artifacts: 0,
        bytes: Bytes::ZERO,
    }
}

fn line(urgency: u64, ask: RestoreId, first: u64) -> String {
    format!("{urgency:020}#{ask}#{first:020}")
}

fn work_record(
    ask: RestoreId,
    phase: &str,
    n: usize,
    library: LibraryId,
    volume: Barcode,
    task: Task,
) -> Answer<WorkRecord> {
    let key = format!("ask-{ask}/{phase}/0/0/{n}")
        .parse::<WorkKey>()
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    Ok(WorkRecord {
        key,
        owner: Owner::Ask(ask),
        library,
        volume,
        kind: WorkKind::Scan,
        line: String::new(),
        bytes: Bytes::ZERO,
        artifacts: 1,
        task,
        claimed: None,
        grants: 0,
    })
}

/// The library of a volume that can be read.
fn usable(volume: &VolumeMeta) -> Answer<LibraryId> {
    if !volume.present {
        return Err(Refusal::new(
            Code::VolumeMissing,
            format!(
                "expected volume {} in the library, found it gone",
                volume.barcode
            ),
        ));
    }
    if let VolumeState::Withdrawn { refusal } = volume.lifecycle.state() {
        return Err(Refusal::new(
            Code::VolumeMissing,
            format!("volume {} is withdrawn: {refusal}", volume.barcode),
        ));
    }
    Ok(volume.library.clone())
}

/// The indices of the named artifacts; empty for all.
fn indices(artifacts: &[Artifact], only: &[ArtifactName]) -> Answer<BTreeSet<u32>> {
    only.iter()
        .enumerate()
        .map(|(n, name)| {
            artifacts
                .iter()
                .zip(0..)
                .find(|(artifact, _)| artifact.name == *name)
                .map(|(_, index)| index)
                .ok_or_else(|| {
                    Refusal::new(
                        Code::NotFound,
                        format!("expected an artifact {name} in the checkpoint, found none"),
                    )
                    .at(format!("only[{n}]"))
                })
        })
        .collect()
}
