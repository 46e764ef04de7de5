//! Sessions: an agent's exclusive hold on a drive and a volume, and which one to grant.

use std::time::Duration;

use model::work::{MAX_WAIT_MS, OpenAnswer, OpenSession, WorkKind};
use model::{
    Barcode, Bytes, Code, LibraryId, Pool, Refusal, SessionId, VolumeState, VolumeUuid,
    WriteSession,
};

use crate::catalogue::{Answer, Seen, TRIES, Tx, later, lost_race, millis};
use crate::ports::{Index, SortKeys};
use crate::records::{
    Beat, Claimed, DriveLease, DriveMeta, Hold, VolumeLease, VolumeMeta, WorkRecord,
};
use crate::{Control, keys, patience};

/// At most so many volumes with open work are looked at for one drive.
const VOLUMES_LOOKED_AT: usize = 64;
/// At most so many are looked at to answer whether others wait.
pub(super) const OTHERS_LOOKED_AT: usize = 8;

/// A volume with open work, and its most urgent item.
pub(super) struct Waiting {
    pub(super) volume: Barcode,
    pub(super) line: String,
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
        let wait_ms = wait_ms.min(MAX_WAIT_MS).min(patience::limit_ms());
        millis(self.now()) + wait_ms
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
    pub(super) async fn waiting(
        &self,
        library: &LibraryId,
        at_most: usize,
    ) -> Answer<Vec<Waiting>> {
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
        let withdrawn = matches!(
            volume.value.lifecycle.state(),
            VolumeState::Withdrawn { .. }
        );
        let failed = match candidate.kind {
            WorkKind::Write if !volume.value.takes_more() => {
                Some(self.fail_open_writes(&volume.value).await?)
            }
            WorkKind::Verify if withdrawn => Some(self.fail_open_verifies(&volume.value).await?),
            _ => None,
        };
        // The index may show what is not there any more: then there is no need to begin anew.
        if failed == Some(true) {
            return Err(Refusal::new(
                Code::Conflict,
                "work was taken off the volume",
            ));
        }
        if !volume.value.present || withdrawn {
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

    pub(super) fn lease_end(&self) -> jiff::Timestamp {
        let seconds = i64::try_from(self.settings.lease.as_secs()).unwrap_or(i64::MAX);
        later(self.now(), seconds)
    }
}

impl Claimed {
    pub(super) const fn new(session: SessionId, fence: model::Fence) -> Self {
        Self { session, fence }
    }
}
