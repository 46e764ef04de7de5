//! The begin of a session's work: the volume is proven, and what an earlier session left
//! behind is sorted out.

use model::work::{Ack, Outcome, SessionReady, WorkResult};
use model::{Bytes, Code, Fence, Refusal, VolumeEvent, VolumeState};

use super::results::{check_position, fill};
use crate::agent::Reporter;
use crate::catalogue::{Answer, TRIES, Tx, lost_race};
use crate::records::{VolumeLease, VolumeMeta};
use crate::{Control, keys};

impl Control {
    /// Takes the agent's proof of the volume. Placements found behind the catalogued end
    /// of data are adopted where their work item is still wanted, and counted as
    /// abandoned bytes where not; what earlier sessions had claimed becomes open again.
    ///
    /// # Errors
    /// `FenceLost`; `PositionMismatch` where the data end before the catalogued end: the
    /// agent is to close with that fault.
    pub async fn session_ready(&self, question: SessionReady) -> Answer<Ack> {
        let lease = self.held(&question.session).await?;
        let barcode = &lease.value.barcode;
        let key = keys::volume(barcode);
        let volume = self
            .get::<VolumeMeta>(&key)
            .await?
            .ok_or_else(|| Refusal::new(Code::NotFound, format!("no volume {barcode}")))?;
        check_position(&volume.value, &question.position)?;
        let results = question
            .found
            .iter()
            .map(|placement| WorkResult {
                key: placement.work.clone(),
                outcome: Outcome::Written {
                    placement: placement.clone(),
                },
            })
            .collect();
        let unwanted = self
            .take_results(results, &Reporter::Finder(&lease))
            .await?;
        let below = Fence(lease.value.fence.0.saturating_sub(1));
        self.reopen_claimed(barcode, below).await?;

        let lost: Bytes = question
            .found
            .iter()
            .filter(|placement| unwanted.iter().any(|(key, _)| *key == placement.work))
            .map(model::Placement::bytes)
            .sum::<Bytes>()
            .plus(question.abandoned);
        for _ in 0..TRIES {
            let lease = self.held(&question.session).await?;
            let Some(hold) = lease.value.hold.clone() else {
                return Err(super::fence_lost(question.session.fence, lease.value.fence));
            };
            if hold.ready {
                // Reported before: its bytes are counted already.
                return self.ack(question.session.session).await;
            }
            let turn = self.combined.turn.lock().await;
            let mut accounts = self.accounts([barcode.clone()]).await?;
            accounts.abandoned(barcode, lost);
            let Some(seen) = self.get::<VolumeMeta>(&key).await? else {
                break;
            };
            let mut volume = seen.value;
            if *volume.lifecycle.state() == VolumeState::Scratch
                && let Ok(labelled) = volume.lifecycle.apply(VolumeEvent::Label)
            {
                volume.lifecycle = labelled;
                volume.uuid = volume.uuid.or(volume.drawn);
            }
            volume.position = Some(question.position.clone());
            volume.used = question.used.max(volume.used);
            fill(&mut volume);
            let mut tx = Tx::new();
            tx.replace(&volume, seen.version);
            tx.replace(
                &VolumeLease {
                    hold: Some(crate::records::Hold {
                        ready: true,
                        ..hold
                    }),
                    ..lease.value
                },
                lease.version,
            );
            accounts.write(&mut tx);
            let answer = self.transact(tx).await;
            drop(turn);
            if !lost_race(&answer) {
                answer?;
                tracing::info!(
                    volume = %barcode,
                    found = question.found.len(),
                    unwanted = unwanted.len(),
                    "session ready"
                );
                return self.ack(question.session.session).await;
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }
}
