//! After a failed step: take its work back, judge the media, say how to go on. And the
//! undo of everything: giving a group up.

use model::{Barcode, Code, Refusal};
use serde_json::{Value, json};

use super::Input;
use super::execute::unusable;
use crate::catalogue::{Answer, Seen, TRIES, Tx, lost_race};
use crate::finish::giving_up;
use crate::ports::{Condition, MAX_WRITES};
use crate::records::{GroupRecord, UnpinRecord, VolumeMeta, WorkRecord};
use crate::{Control, keys};

/// What `CanResume` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The same volume, another try.
    Attempt,
    /// Another volume.
    Placement,
    /// No way.
    Abandon,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Placement => "placement",
            Self::Abandon => "abandon",
        }
    }
}

/// How a failure of this kind can be answered.
const fn way_for(code: Code) -> Way {
    match code {
        Code::MediaError
        | Code::VolumeFull
        | Code::VolumeMissing
        | Code::VerifyMismatch
        | Code::LabelMismatch
        | Code::WrongVolume
        | Code::BlankVolume
        | Code::ForeignVolume
        | Code::PositionMismatch
        | Code::FormatInvalid => Way::Placement,
        Code::FenceLost
        | Code::AgentLost
        | Code::DriveFault
        | Code::ChangerFault
        | Code::Transient
        | Code::Conflict
        | Code::Busy => Way::Attempt,
        _ => Way::Abandon,
    }
}

/// Failures that cast doubt on the volume itself.
const fn is_suspect(code: Code) -> bool {
    matches!(
        code,
        Code::MediaError
            | Code::VolumeFull
            | Code::VerifyMismatch
            | Code::LabelMismatch
            | Code::BlankVolume
            | Code::ForeignVolume
            | Code::PositionMismatch
            | Code::FormatInvalid
    )
}

impl Control {
    /// Takes open and claimed items of the step back, so that no result of it counts any
    /// more; marks volumes that failed; lets go of failed parts. What is written and
    /// sound is kept.
    pub(crate) async fn judge(&self, input: &Input) -> Answer<Value> {
        let caught = input.refusal();
        for _ in 0..TRIES {
            let seen = self.group_record(input.group).await?;
            let record = &seen.value;
            if record.group.lifecycle.state().is_final() {
                return Ok(json!({"way": Way::Abandon.name()}));
            }
            let work = self.work_of(record).await?;
            self.take_back(work).await?;
            self.suspect(record).await?;
            let volumes = self.metas(&record.volumes()).await?;
            let answer = self.judge_once(input, &caught, &seen, &volumes).await;
            if !lost_race(&answer) {
                return answer;
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    async fn judge_once(
        &self,
        input: &Input,
        caught: &Refusal,
        seen: &Seen<GroupRecord>,
        volumes: &[VolumeMeta],
    ) -> Answer<Value> {
        let _turn = self.combined.turn.lock().await;
        let mut record = seen.value.clone();
        let mut accounts = self.accounts(record.volumes()).await?;
        let mut ways = Vec::new();
        let mut avoid: Vec<Barcode> = Vec::new();
        for member in &mut record.members {
            let mut anew = false;
            for part in &mut member.parts {
                let failed = part.failed.take().or_else(|| unusable(volumes, part));
                let Some(refusal) = failed else { continue };
                let mut way = way_for(refusal.code);
                if way == Way::Attempt && unusable(volumes, part).is_some() {
                    way = Way::Placement;
                }
                if way == Way::Placement {
                    avoid.push(part.volume.clone());
                    anew = true;
                }
                ways.push(way);
            }
            if anew {
                for part in &mut member.parts {
                    accounts.abandon(part);
                }
                member.parts.clear();
            }
        }
        record.avoid.extend(avoid);
        record.avoid.sort_unstable();
        record.avoid.dedup();
        record.step = None;
        let way = if ways.contains(&Way::Abandon) {
            Way::Abandon
        } else if record.members.iter().any(|member| member.parts.is_empty()) {
            Way::Placement
        } else if ways.contains(&Way::Attempt) {
            Way::Attempt
        } else {
            // No part says what failed: what the machine caught does, such as a timeout.
            match way_for(caught.code) {
                Way::Abandon if !caught.message.starts_with("States.") => Way::Abandon,
                _ => Way::Attempt,
            }
        };
        let mut tx = Tx::new();
        tx.replace(&record, seen.version);
        accounts.write(&mut tx);
        self.transact(tx).await?;
        tracing::info!(
            run = %record.group.run,
            placement = input.placement,
            attempt = input.attempt,
            way = way.name(),
            error = %caught,
            "fenced"
        );
        Ok(json!({"way": way.name()}))
    }

    /// Deletes work items, whoever holds them: a result that comes later is refused, and
    /// what it wrote is an abandoned span.
    pub(crate) async fn take_back(&self, work: Vec<Seen<WorkRecord>>) -> Answer<()> {
        for work in work.chunks(MAX_WRITES) {
            let mut tx = Tx::new();
            for item in work {
                tx.delete(
                    keys::work(&item.value.volume, &item.value.key),
                    Condition::Version(item.version),
                );
            }
            self.transact(tx).await?;
        }
        Ok(())
    }

    /// Volumes whose parts failed in a way that casts doubt on them take no more.
    async fn suspect(&self, record: &GroupRecord) -> Answer<()> {
        for part in record.parts() {
            let Some(refusal) = part.failed.as_ref().filter(|r| is_suspect(r.code)) else {
                continue;
            };
            let Some(seen) = self.get::<VolumeMeta>(&keys::volume(&part.volume)).await? else {
                continue;
            };
            if !seen.value.lifecycle.is_writable() {
                continue;
            }
            let mut volume = seen.value;
            volume.lifecycle = volume.lifecycle.after_fault(refusal.clone());
            let mut tx = Tx::new();
            tx.replace(&volume, seen.version);
            self.transact(tx).await?;
            tracing::warn!(volume = %volume.barcode, %refusal, "takes no more");
        }
        Ok(())
    }

    /// Gives a group up: refused where nothing was written, failed where something was.
    pub(crate) async fn give_up(&self, input: &Input) -> Answer<Value> {
        let refusal = input.refusal();
        for _ in 0..TRIES {
            let seen = self.group_record(input.group).await?;
            if seen.value.group.lifecycle.state().is_final() {
                self.unpin(&UnpinRecord::of(&seen.value.group)).await;
                return Ok(json!({"state": seen.value.group.lifecycle.state().name()}));
            }
            let work = self.work_of(&seen.value).await?;
            let answer = self.end_with(seen, work, &refusal, None).await;
            if !lost_race(&answer) {
                answer?;
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// Brings a group to its end for a reason, together with its work items as they were
    /// seen. Where `tell`, the run hears of it at the token it waits at.
    pub(crate) async fn end_with(
        &self,
        mut seen: Seen<GroupRecord>,
        work: Vec<Seen<WorkRecord>>,
        refusal: &Refusal,
        tell: Option<&Refusal>,
    ) -> Answer<()> {
        let Some(event) = giving_up(&seen.value, refusal) else {
            return Err(Refusal::new(
                Code::Internal,
                format!(
                    "cannot be given up while {}",
                    seen.value.group.lifecycle.state().name()
                ),
            ));
        };
        if seen.value.group.refusals.is_empty() {
            seen.value.group.refusals = vec![refusal.clone()];
        }
        let _turn = self.combined.turn.lock().await;
        let mut accounts = self.accounts(seen.value.volumes()).await?;
        let mut tx = Tx::new();
        self.finish(&mut tx, &mut accounts, &seen, event, tell)?;
        accounts.write(&mut tx);
        // Items that find no room here are deleted when an agent reports on them.
        for item in work.iter().take(MAX_WRITES - tx.len()) {
            tx.delete(
                keys::work(&item.value.volume, &item.value.key),
                Condition::Version(item.version),
            );
        }
        self.transact(tx).await?;
        self.unpin(&UnpinRecord::of(&seen.value.group)).await;
        Ok(())
    }
}
