//! A session after its grant: signs of life, its end, and what happens to the work it
//! leaves behind.

use model::work::{Ack, Close, Outcome, Renew, WorkKind, WorkResult};
use model::{Barcode, Code, Fence, LibraryId, Refusal, SessionId, VolumeState};

use super::session::OTHERS_LOOKED_AT;
use crate::agent::{MAX_GRANTS, Reporter};
use crate::catalogue::{Answer, Seen, TRIES, Tx, lost_race, query};
use crate::ports::{Condition, Index, MAX_WRITES, SortKeys};
use crate::records::{Beat, DriveLease, DriveMeta, VolumeLease, VolumeMeta, WorkRecord};
use crate::{Control, keys};

impl Control {
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
        self.ports.queue.ring(&library).await;
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
    /// too often without a result are failed. Nothing is claimed under such a fence any
    /// more: each claim checks the lease, which has changed since.
    pub(super) async fn reopen_claimed(&self, barcode: &Barcode, fence: Fence) -> Answer<()> {
        let mut library = None;
        for _ in 0..TRIES {
            let claimed = self.work_on(barcode, |work| {
                let by = work.claimed.as_ref();
                by.is_some_and(|claimed| claimed.fence <= fence)
            });
            let claimed = claimed.await?;
            if claimed.is_empty() {
                if let Some(library) = library {
                    self.ports.queue.ring(&library).await;
                }
                return Ok(());
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
            self.fail_items(barcode, worn, &refusal).await?;
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// The work items of a volume that fit, open or claimed. It reads the volume's own
    /// partition: what was written before is there.
    async fn work_on(
        &self,
        barcode: &Barcode,
        fits: impl Fn(&WorkRecord) -> bool + Send,
    ) -> Answer<Vec<Seen<WorkRecord>>> {
        let prefix = SortKeys::Prefix(keys::WORK_PREFIX.to_owned());
        let mut question = query(Index::Main, keys::volume_pk(barcode), prefix, 1000);
        let mut all = Vec::new();
        loop {
            let (found, next) = self.page::<WorkRecord>(question.clone()).await?;
            all.extend(found.into_iter().filter(|seen| fits(&seen.value)));
            question.after = next;
            if question.after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Fails open write items of a volume that takes no more. True where there were some.
    pub(super) async fn fail_open_writes(&self, volume: &VolumeMeta) -> Answer<bool> {
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
    /// elsewhere. True where there were some.
    pub(super) async fn fail_open_verifies(&self, volume: &VolumeMeta) -> Answer<bool> {
        if matches!(
            volume.lifecycle.state(),
            VolumeState::ReadOnly { .. } | VolumeState::Withdrawn { .. }
        ) {
            return self
                .fail_open(volume, WorkKind::Verify, &doubt(volume))
                .await;
        }
        Ok(false)
    }

    /// What is dispatched a moment later, by one who saw the volume before, is failed by
    /// whoever looks for work next.
    async fn fail_open(
        &self,
        volume: &VolumeMeta,
        kind: WorkKind,
        refusal: &Refusal,
    ) -> Answer<bool> {
        let open = self.work_on(&volume.barcode, |work| {
            work.claimed.is_none() && work.kind == kind
        });
        let open = open.await?;
        let some = !open.is_empty();
        self.fail_items(&volume.barcode, open, refusal).await?;
        Ok(some)
    }

    pub(super) async fn fail_items(
        &self,
        volume: &Barcode,
        items: Vec<Seen<WorkRecord>>,
        refusal: &Refusal,
    ) -> Answer<()> {
        if items.is_empty() {
            return Ok(());
        }
        let results = items
            .into_iter()
            .map(|seen| WorkResult {
                key: seen.value.key,
                outcome: Outcome::Failed {
                    refusal: refusal.clone(),
                },
            })
            .collect();
        self.take_results(results, &Reporter::Control(volume))
            .await?;
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
