//! Sessions: an agent's exclusive hold on a drive and a volume, from grant to end.

use std::time::Duration;

use model::work::{Ack, Close, MAX_WAIT_MS, OpenAnswer, OpenSession, Renew, WorkKind};
use model::{
    Barcode, Bytes, Code, LibraryId, Pool, Refusal, SessionId, VolumeState, VolumeUuid,
    WriteSession,
};

use crate::agent::{MAX_GRANTS, Reporter};
use crate::catalogue::{Answer, Seen, TRIES, Tx, later, lost_race, millis};
use crate::ports::{Condition, Index, MAX_WRITES, SortKeys};
use crate::records::{
    Beat, Claimed, DriveLease, DriveMeta, Hold, VolumeLease, VolumeMeta, WorkRecord,
};
use crate::{Control, keys};

/// At most so many volumes with open work are looked at for one drive.
const VOLUMES_LOOKED_AT: usize = 64;
/// At most so many are looked at to answer whether others wait.
const OTHERS_LOOKED_AT: usize = 8;

/// A volume with open work, and its most urgent item.
struct Waiting {
    volume: Barcode,
    line: String,
    kind: WorkKind,
}

impl Control {
    /// Grants a session for a drive where there is work: on the volume that is mounted,
    /// if it has some, else on the one with the most urgent item. Waits up to `wait_ms`.
    ///
    /// A session of an earlier life of the same agent is ended at once, another agent's
    /// only when its lease ran out.
    ///
    /// # Errors
    /// `NotFound` for a drive that no inventory showed; `DriveFault` for one that is down;
    /// `Busy` while another agent's session holds it.
    pub async fn open_session(&self, question: OpenSession) -> Answer<OpenAnswer> {
        let deadline = self.wait_until(question.wait_ms);
        loop {
            let ticket = self.ports.queue.ticket(&question.library);
            for _ in 0..TRIES {
                let answer = self.try_open(&question).await;
                if lost_race(&answer) {
                    continue;
                }
                if let Some(session) = answer? {
                    return Ok(OpenAnswer {
                        session: Some(session),
                    });
                }
                break;
            }
            if !self.wait(&question.library, ticket, deadline).await {
                return Ok(OpenAnswer { session: None });
            }
        }
    }

    /// Unix milliseconds at which a poll ends.
    pub(super) fn wait_until(&self, wait_ms: u64) -> u64 {
        millis(self.now()) + wait_ms.min(MAX_WAIT_MS)
    }

    /// Waits for work. False where the time is up.
    pub(super) async fn wait(&self, library: &LibraryId, ticket: u64, deadline: u64) -> bool {
        let left = deadline.saturating_sub(millis(self.now()));
        if left == 0 {
            return false;
        }
        self.ports
            .queue
            .wait(library, ticket, Duration::from_millis(left))
            .await;
        true
    }

    async fn try_open(&self, question: &OpenSession) -> Answer<Option<WriteSession>> {
        let library = &question.library;
        let unknown = || {
            Refusal::new(
                Code::NotFound,
                format!("expected drive {} in an inventory first", question.drive),
            )
        };
        let drive = self
            .get::<DriveMeta>(&keys::drive(library, &question.drive))
            .await?
            .ok_or_else(unknown)?;
        if let Some(fault) = &drive.value.down {
            return Err(Refusal::new(
                Code::DriveFault,
                format!("drive {} is down: {fault}", question.drive),
            ));
        }
        let lease = self
            .get::<DriveLease>(&keys::drive_lease(library, &question.drive))
            .await?
            .ok_or_else(unknown)?;
        if let Some((session, volume)) = &lease.value.hold {
            if !self.may_end(*session, volume, question).await? {
                return Err(Refusal::new(
                    Code::Busy,
                    format!(
                        "drive {} is held by another agent's session",
                        question.drive
                    ),
                ));
            }
            self.end_session(*session, volume).await?;
            return Err(Refusal::new(Code::Conflict, "an earlier session was ended"));
        }
        if drive.value.volume != question.mounted {
            let mut meta = drive.value.clone();
            meta.volume = question.mounted.clone();
            let mut tx = Tx::new();
            tx.replace(&meta, drive.version);
            self.transact(tx).await?;
            return Err(Refusal::new(
                Code::Conflict,
                "the drive's record was updated",
            ));
        }
        let mut waiting = self.waiting(library, VOLUMES_LOOKED_AT).await?;
        waiting.sort_by(|a, b| {
            let elsewhere = |w: &Waiting| question.mounted.as_ref() != Some(&w.volume);
            (elsewhere(a), &a.line).cmp(&(elsewhere(b), &b.line))
        });
        if waiting.is_empty() {
            return Ok(None);
        }
        let in_other_drives = self.mounted_elsewhere(library, question).await?;
        for candidate in waiting {
            let here = question.mounted.as_ref() == Some(&candidate.volume);
            if !here && in_other_drives.contains(&candidate.volume) {
                continue;
            }
            if let Some(session) = self.grant(question, &drive, &lease, candidate).await? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// True where the session is over for the one who asks: it belongs to the same agent,
    /// which would not ask if it still held the drive in this life; or its lease ran out.
    async fn may_end(
        &self,
        session: SessionId,
        volume: &Barcode,
        question: &OpenSession,
    ) -> Answer<bool> {
        let lease = self.get::<VolumeLease>(&keys::volume_lease(volume)).await?;
        let same_agent = lease.is_some_and(|seen| {
            seen.value
                .hold
                .is_some_and(|hold| hold.session == session && hold.agent == question.agent)
        });
        Ok(same_agent || self.has_expired(session).await?)
    }

    async fn has_expired(&self, session: SessionId) -> Answer<bool> {
        let beat = self.beat(session).await?;
        Ok(beat.is_none_or(|seen| seen.value.expires <= self.now()))
    }

    /// Volumes in other drives that are up: those drives ask for themselves.
    async fn mounted_elsewhere(
        &self,
        library: &LibraryId,
        question: &OpenSession,
    ) -> Answer<Vec<Barcode>> {
        let page = self
            .ports
            .table
            .query(&crate::catalogue::query(
                Index::Gsi1,
                keys::drives_of(library),
                SortKeys::All,
                1000,
            ))
            .await?;
        let mut volumes = Vec::new();
        for item in page.items.into_iter().filter(|item| item.key.sk == "META") {
            let drive = crate::catalogue::from_item::<DriveMeta>(item)?.value;
            if drive.serial != question.drive && drive.down.is_none() {
                volumes.extend(drive.volume);
            }
        }
        Ok(volumes)
    }

    /// Volumes with open work, each with its first item: a loose scan of the index, one
    /// query a volume however many items it has.
    async fn waiting(&self, library: &LibraryId, at_most: usize) -> Answer<Vec<Waiting>> {
        let mut found: Vec<Waiting> = Vec::new();
        let mut from = String::new();
        while found.len() < at_most {
            let first = self
                .first::<WorkRecord>(
                    Index::Gsi1,
                    keys::open_work(library),
                    SortKeys::Between(from.clone(), "~".to_owned()),
                    1,
                )
                .await?;
            let Some(item) = first.into_iter().next() else {
                break;
            };
            let work = item.value;
            // `$` is the character after `#`: behind all items of the kind, or volume.
            from = format!(
                "{}$",
                keys::open_prefix(&work.volume, work.kind).trim_end_matches('#')
            );
            match found.last_mut().filter(|last| last.volume == work.volume) {
                Some(last) if last.line <= work.line => {}
                Some(last) => {
                    last.line = work.line;
                    last.kind = work.kind;
                }
                None => found.push(Waiting {
                    volume: work.volume,
                    line: work.line,
                    kind: work.kind,
                }),
            }
        }
        Ok(found)
    }

    /// True where other volumes have open work and no session.
    pub(super) async fn others_waiting(&self, library: &LibraryId, own: &Barcode) -> Answer<bool> {
        for other in self.waiting(library, OTHERS_LOOKED_AT).await? {
            if other.volume == *own {
                continue;
            }
            let lease = self
                .get::<VolumeLease>(&keys::volume_lease(&other.volume))
                .await?;
            if lease.is_some_and(|seen| seen.value.hold.is_none()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the drive's and the volume's lease in one transaction. None where the volume
    /// cannot be had or has no work that can be done.
    async fn grant(
        &self,
        question: &OpenSession,
        drive: &Seen<DriveMeta>,
        drive_lease: &Seen<DriveLease>,
        candidate: Waiting,
    ) -> Answer<Option<WriteSession>> {
        let barcode = &candidate.volume;
        let (Some(volume), Some(lease)) = (
            self.get::<VolumeMeta>(&keys::volume(barcode)).await?,
            self.get::<VolumeLease>(&keys::volume_lease(barcode))
                .await?,
        ) else {
            return Ok(None);
        };
        if let Some(hold) = &lease.value.hold {
            let old_life = hold.agent == question.agent && hold.instance != question.instance;
            if !old_life && !self.has_expired(hold.session).await? {
                return Ok(None);
            }
            self.end_session(hold.session, barcode).await?;
            return Err(Refusal::new(Code::Conflict, "an earlier session was ended"));
        }
        if !volume.value.takes_more() && candidate.kind == WorkKind::Write {
            self.fail_open_writes(&volume.value).await?;
            return Err(Refusal::new(
                Code::Conflict,
                "work was taken off the volume",
            ));
        }
        if !volume.value.present
            || matches!(
                volume.value.lifecycle.state(),
                VolumeState::Withdrawn { .. }
            )
        {
            return Ok(None);
        }
        let reserve = match self.get::<Pool>(&keys::pool(&volume.value.pool)).await? {
            Some(pool) => pool.value.reserve,
            None => Bytes::ZERO,
        };
        let fence = lease.value.fence.max(drive_lease.value.fence).next();
        let session = self.fresh(SessionId::from_parts);
        let expires = self.lease_end();
        let mut meta = volume.value.clone();
        let uuid = match meta.uuid.or(meta.drawn) {
            Some(uuid) => uuid,
            None => {
                let uuid = self.fresh(VolumeUuid::from_parts);
                meta.drawn = Some(uuid);
                uuid
            }
        };
        let mut tx = Tx::new();
        if meta == volume.value {
            tx.check(keys::volume(barcode), volume.version);
        } else {
            tx.replace(&meta, volume.version);
        }
        tx.replace(
            &VolumeLease {
                fence,
                hold: Some(Hold {
                    session,
                    agent: question.agent.clone(),
                    instance: question.instance.clone(),
                    drive: question.drive.clone(),
                    ready: false,
                }),
                ..lease.value
            },
            lease.version,
        );
        tx.replace(
            &DriveLease {
                fence,
                hold: Some((session, barcode.clone())),
                ..drive_lease.value.clone()
            },
            drive_lease.version,
        );
        tx.replace(
            &DriveMeta {
                volume: Some(barcode.clone()),
                ..drive.value.clone()
            },
            drive.version,
        );
        tx.create(&Beat {
            session,
            library: question.library.clone(),
            drive: question.drive.clone(),
            volume: barcode.clone(),
            fence,
            expires,
            moved: Bytes::ZERO,
            doing: "opening".to_owned(),
        });
        self.transact(tx).await?;
        tracing::info!(%session, volume = %barcode, drive = %question.drive, %fence, "session granted");
        Ok(Some(WriteSession {
            id: session,
            fence,
            library: question.library.clone(),
            drive: question.drive.clone(),
            volume: barcode.clone(),
            pool: meta.pool.clone(),
            writable: meta.lifecycle.is_writable(),
            uuid,
            position: meta.position.clone(),
            capacity: meta.capacity.minus(reserve),
            expires,
        }))
    }

    fn lease_end(&self) -> jiff::Timestamp {
        let seconds = i64::try_from(self.settings.lease.as_secs()).unwrap_or(i64::MAX);
        later(self.now(), seconds)
    }

    /// A sign of life: the lease is extended.
    ///
    /// # Errors
    /// `FenceLost` where the session does not hold the volume any more.
    pub async fn renew(&self, question: Renew) -> Answer<Ack> {
        for _ in 0..TRIES {
            let lease = self.held(&question.session).await?;
            let Some(seen) = self.beat(question.session.session).await? else {
                return Err(super::fence_lost(question.session.fence, lease.value.fence));
            };
            let mut beat = seen.value;
            beat.expires = self.lease_end();
            beat.moved = question.moved;
            beat.doing = question.doing.chars().take(200).collect();
            let mut tx = Tx::new();
            tx.check(keys::volume_lease(&beat.volume), lease.version);
            tx.replace(&beat, seen.version);
            let answer = self.transact(tx).await;
            if lost_race(&answer) {
                continue;
            }
            answer?;
            return Ok(Ack {
                expires: beat.expires,
                yield_requested: self.more_urgent_elsewhere(&beat).await?,
            });
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// True where a volume without a drive has work more urgent than all open work here,
    /// and no drive is free.
    async fn more_urgent_elsewhere(&self, beat: &Beat) -> Answer<bool> {
        let waiting = self.waiting(&beat.library, OTHERS_LOOKED_AT).await?;
        let here = waiting
            .iter()
            .find(|w| w.volume == beat.volume)
            .map(|w| w.line.clone());
        for other in &waiting {
            let sooner = here.as_ref().is_none_or(|line| other.line < *line);
            if other.volume == beat.volume || !sooner {
                continue;
            }
            let lease = self
                .get::<VolumeLease>(&keys::volume_lease(&other.volume))
                .await?;
            if lease.is_some_and(|seen| seen.value.hold.is_none()) {
                return Ok(!self.drive_is_free(&beat.library).await?);
            }
        }
        Ok(false)
    }

    async fn drive_is_free(&self, library: &LibraryId) -> Answer<bool> {
        let (drives, _) = self.drives_of(library).await?;
        Ok(drives
            .iter()
            .any(|(meta, lease)| meta.down.is_none() && lease.hold.is_none()))
    }

    /// Ends a session. Claimed items without a result become open again. With a fault of
    /// the volume, it takes no more, and what is not verified on it is placed anew; with
    /// a fault of the drive, the drive is taken down.
    ///
    /// # Errors
    /// `FenceLost` where the session does not hold the volume any more: it is over
    /// already.
    pub async fn close_session(&self, question: Close) -> Answer<Ack> {
        let lease = self.held(&question.session).await?;
        let drive = lease.value.hold.as_ref().map(|hold| hold.drive.clone());
        let library = lease.value.library.clone();
        let mut faulty = None;
        if let Some(refusal) = &question.volume_fault {
            faulty = Some(self.fault_volume(&lease, refusal).await?);
        }
        if let Some(drive) = drive {
            self.note_drive(&library, &drive, question.drive_fault.as_ref())
                .await?;
        }
        self.end_session(question.session.session, &question.session.volume)
            .await?;
        if let Some(volume) = faulty {
            self.fail_open_writes(&volume).await?;
            self.fail_open_verifies(&volume).await?;
        }
        self.ports.queue.ring(&library);
        Ok(Ack {
            expires: self.now(),
            yield_requested: false,
        })
    }

    async fn fault_volume(
        &self,
        lease: &Seen<VolumeLease>,
        refusal: &Refusal,
    ) -> Answer<VolumeMeta> {
        let barcode = &lease.value.barcode;
        for _ in 0..TRIES {
            let Some(seen) = self.get::<VolumeMeta>(&keys::volume(barcode)).await? else {
                break;
            };
            let mut volume = seen.value;
            // A blank volume that cannot even be labelled is not full: it is in doubt.
            volume.lifecycle = volume.lifecycle.after_fault(refusal.clone());
            let mut tx = Tx::new();
            tx.check(keys::volume_lease(barcode), lease.version);
            tx.replace(&volume, seen.version);
            let answer = self.transact(tx).await;
            if lost_race(&answer) {
                self.still(lease).await?;
                continue;
            }
            answer?;
            tracing::warn!(volume = %barcode, %refusal, state = volume.lifecycle.state().name(), "takes no more");
            return Ok(volume);
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// The lease as it was seen, or `FenceLost`.
    pub(super) async fn still(&self, lease: &Seen<VolumeLease>) -> Answer<()> {
        let now = self
            .get::<VolumeLease>(&keys::volume_lease(&lease.value.barcode))
            .await?;
        match now {
            Some(now) if now.version == lease.version => Ok(()),
            Some(now) => Err(super::fence_lost(lease.value.fence, now.value.fence)),
            None => Err(super::fence_lost(lease.value.fence, lease.value.fence)),
        }
    }

    async fn note_drive(
        &self,
        library: &LibraryId,
        drive: &model::DriveSerial,
        fault: Option<&Refusal>,
    ) -> Answer<()> {
        for _ in 0..TRIES {
            let Some(seen) = self.get::<DriveMeta>(&keys::drive(library, drive)).await? else {
                return Ok(());
            };
            let mut meta = seen.value.clone();
            match fault {
                Some(fault) => {
                    meta.down = Some(fault.clone());
                    meta.faults += 1;
                }
                None => meta.faults = 0,
            }
            if meta == seen.value {
                return Ok(());
            }
            let mut tx = Tx::new();
            tx.replace(&meta, seen.version);
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer;
            }
        }
        Ok(())
    }

    /// Makes the session powerless, opens what it had claimed, then forgets it: in this
    /// order, so that a crash in between leaves its sign of life to be swept.
    pub(crate) async fn end_session(&self, session: SessionId, barcode: &Barcode) -> Answer<()> {
        let lease = self
            .get::<VolumeLease>(&keys::volume_lease(barcode))
            .await?;
        let beat = self.beat(session).await?;
        let mut fence = beat.as_ref().map(|seen| seen.value.fence);
        if let Some(lease) = lease.filter(|seen| {
            seen.value
                .hold
                .as_ref()
                .is_some_and(|hold| hold.session == session)
        }) {
            fence = Some(lease.value.fence);
            let drive = lease.value.hold.as_ref().map(|hold| hold.drive.clone());
            let mut tx = Tx::new();
            if let Some(drive) = drive {
                let key = keys::drive_lease(&lease.value.library, &drive);
                if let Some(seen) = self.get::<DriveLease>(&key).await?
                    && seen
                        .value
                        .hold
                        .as_ref()
                        .is_some_and(|(held, _)| *held == session)
                {
                    tx.replace(
                        &DriveLease {
                            hold: None,
                            ..seen.value
                        },
                        seen.version,
                    );
                }
            }
            tx.replace(
                &VolumeLease {
                    hold: None,
                    ..lease.value
                },
                lease.version,
            );
            self.transact(tx).await?;
            tracing::info!(%session, volume = %barcode, "session ended");
        }
        if let Some(fence) = fence {
            self.reopen_claimed(barcode, fence).await?;
        }
        let mut tx = Tx::new();
        tx.delete(keys::beat(session), Condition::None);
        self.transact(tx).await
    }

    /// Items claimed under this fence or a lower one become open again; those claimed
    /// too often without a result are failed.
    pub(super) async fn reopen_claimed(
        &self,
        barcode: &Barcode,
        fence: model::Fence,
    ) -> Answer<()> {
        let mut library = None;
        loop {
            let claimed = self
                .first::<WorkRecord>(
                    Index::Gsi1,
                    keys::claimed_work(barcode),
                    SortKeys::Between(String::new(), format!("{:020}$", fence.0)),
                    1000,
                )
                .await?;
            if claimed.is_empty() {
                break;
            }
            let mut worn = Vec::new();
            let mut again = Vec::new();
            for seen in claimed {
                library = Some(seen.value.library.clone());
                if seen.value.grants >= MAX_GRANTS {
                    worn.push(seen);
                } else {
                    again.push(seen);
                }
            }
            for chunk in again.chunks(MAX_WRITES) {
                let mut tx = Tx::new();
                for seen in chunk {
                    let open = WorkRecord {
                        claimed: None,
                        ..seen.value.clone()
                    };
                    tx.replace(&open, seen.version);
                }
                let answer = self.transact(tx).await;
                if !lost_race(&answer) {
                    answer?;
                }
            }
            let refusal = Refusal::new(
                Code::AgentLost,
                format!("claimed {MAX_GRANTS} times without a result"),
            );
            self.fail_items(worn, &refusal).await?;
        }
        if let Some(library) = library {
            self.ports.queue.ring(&library);
        }
        Ok(())
    }

    /// Fails open write items of a volume that takes no more.
    async fn fail_open_writes(&self, volume: &VolumeMeta) -> Answer<()> {
        let refusal = match volume.lifecycle.state() {
            VolumeState::Full => Refusal::new(
                Code::VolumeFull,
                format!("volume {} takes no more", volume.barcode),
            ),
            _ => doubt(volume),
        };
        self.fail_open(volume, WorkKind::Write, &refusal).await
    }

    /// Fails open read-backs of a volume in doubt: what is not proven on it is written
    /// elsewhere.
    async fn fail_open_verifies(&self, volume: &VolumeMeta) -> Answer<()> {
        if matches!(
            volume.lifecycle.state(),
            VolumeState::ReadOnly { .. } | VolumeState::Withdrawn { .. }
        ) {
            return self
                .fail_open(volume, WorkKind::Verify, &doubt(volume))
                .await;
        }
        Ok(())
    }

    async fn fail_open(
        &self,
        volume: &VolumeMeta,
        kind: WorkKind,
        refusal: &Refusal,
    ) -> Answer<()> {
        loop {
            let items = self
                .first::<WorkRecord>(
                    Index::Gsi1,
                    keys::open_work(&volume.library),
                    SortKeys::Prefix(keys::open_prefix(&volume.barcode, kind)),
                    200,
                )
                .await?;
            if items.is_empty() {
                return Ok(());
            }
            self.fail_items(items, refusal).await?;
        }
    }

    pub(super) async fn fail_items(
        &self,
        items: Vec<Seen<WorkRecord>>,
        refusal: &Refusal,
    ) -> Answer<()> {
        if items.is_empty() {
            return Ok(());
        }
        let results = items
            .into_iter()
            .map(|seen| model::work::WorkResult {
                key: seen.value.key,
                outcome: model::work::Outcome::Failed {
                    refusal: refusal.clone(),
                },
            })
            .collect();
        self.take_results(results, &Reporter::Control).await?;
        Ok(())
    }
}

fn doubt(volume: &VolumeMeta) -> Refusal {
    let why = match volume.lifecycle.state() {
        VolumeState::ReadOnly { refusal } | VolumeState::Withdrawn { refusal } => {
            refusal.to_string()
        }
        state => state.name().to_owned(),
    };
    Refusal::new(
        Code::MediaError,
        format!("volume {} takes no more: {why}", volume.barcode),
    )
}

impl Claimed {
    pub(super) const fn new(session: SessionId, fence: model::Fence) -> Self {
        Self { session, fence }
    }
}
