//! Shadows: a resolver that is tried out beside the live one.
//!
//! A shadow is asked after the round that it shadows has been applied, one at a time, by a
//! task of its own: no run waits for it, and nothing that it does counts for the live
//! resolver. What it decided goes beside the record of the decision; the ledger has no
//! leaf of it, for the ledger tells what was done, and a shadow does nothing. A shadow that
//! was due when the process died is not asked later: it is a sample.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use model::{
    CallOutcome, ConflictSet, Decision, DecisionId, DecisionRecord, Limits, ReleaseRef, Scope,
    ShadowCall,
};

use crate::catalogue::{Answer, TRIES, Tx, lost_race};
use crate::records::{BindingRecord, ShadowItem};
use crate::{Control, keys};

/// The most that wait; what comes then is not asked. At 256 KiB each: 16 MiB.
const WAITING: usize = 64;

/// A decision that a shadow is to make as well.
pub(super) struct ShadowJob {
    id: DecisionId,
    at: Timestamp,
    scope: Scope,
    release: ReleaseRef,
    limits: Limits,
    set: Arc<ConflictSet>,
    applied: Decision,
}

impl ShadowJob {
    /// Whether a decision is among those that the binding's shadow sees: chosen by the
    /// input, so that the same input is chosen again.
    pub(super) fn due(
        record: &BindingRecord,
        decision: &DecisionRecord,
        set: &Arc<ConflictSet>,
    ) -> Option<Self> {
        let shadow = record.binding.shadow.as_ref()?;
        let [a, b, c, d, ..] = decision.input.0;
        let among = u32::from_be_bytes([a, b, c, d]) % 100 < u32::from(shadow.percent);
        let over = shadow.until.is_some_and(|until| until <= decision.at);
        (among && !over).then(|| Self {
            id: decision.id,
            at: decision.at,
            scope: record.binding.scope.clone(),
            release: shadow.release.clone(),
            limits: record.shadow_limits,
            set: Arc::clone(set),
            applied: decision.decision.clone(),
        })
    }
}

/// Shadows that wait.
#[derive(Default)]
pub(crate) struct Shadows {
    waiting: Mutex<VecDeque<ShadowJob>>,
    turn: tokio::sync::Mutex<()>,
}

impl Shadows {
    pub(super) fn add(&self, job: ShadowJob) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING {
            waiting.push_back(job);
        }
    }

    fn next(&self) -> Option<ShadowJob> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    }

    fn is_empty(&self) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.is_empty()
    }
}

impl Control {
    /// Asks the shadows that are due, and waits for those that are asked already. They are
    /// asked by themselves; this is for whoever is about to stop, or to be frozen.
    pub async fn run_shadows(&self) {
        let _turn = self.combined.shadows.turn.lock().await;
        while let Some(job) = self.combined.shadows.next() {
            let id = job.id;
            if let Err(error) = self.run_shadow(job).await {
                tracing::warn!(decision = %id, %error, "what a shadow decided was not kept");
            }
        }
    }

    /// Has the shadows that are due asked beside everything else.
    pub(crate) fn start_shadows(&self) {
        if self.combined.shadows.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let control = self.clone();
            runtime.spawn(async move { control.run_shadows().await });
        }
    }

    async fn run_shadow(&self, job: ShadowJob) -> Answer<()> {
        let call = self.checked(&job.release, &job.set, job.limits).await;
        let decided = call.outcome == CallOutcome::Decided;
        let differs = decided
            && call
                .decision
                .as_ref()
                .is_some_and(|decision| !policy::same_actions(decision, &job.applied));
        let shadow = ShadowCall {
            release: job.release.clone(),
            call,
            differs,
        };
        let item = ShadowItem::new(job.id, job.at, shadow);
        for _ in 0..TRIES {
            // Those who record decisions write the binding too.
            let _turn = self.combined.turn.lock().await;
            let mut tx = Tx::new();
            tx.create(&item);
            // Somebody may have ended or promoted it meanwhile: then nobody counts.
            let seen = self
                .get::<BindingRecord>(&keys::binding(&job.scope))
                .await?;
            if let Some(mut seen) = seen
                && let Some(shadow) = &mut seen.value.binding.shadow
                && shadow.release == job.release
            {
                shadow.decided += u64::from(decided);
                shadow.differing += u64::from(differs);
                shadow.failed += u64::from(!decided);
                tx.replace(&seen.value, seen.version);
            }
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer;
            }
            if self
                .ports
                .table
                .get(&keys::decision_shadow(job.id))
                .await?
                .is_some()
            {
                return Ok(());
            }
        }
        Ok(())
    }
}
