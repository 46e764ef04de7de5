//! Execute: a run's placements become work items for the agent.

use model::work::{VerifyOrder, WorkKind, WriteOrder, part_text};
use model::{
    Artifact, ArtifactRange, Barcode, Bytes, Code, LifecycleEvent, Refusal, State, VolumeState,
    WorkKey,
};
use serde_json::{Value, json};

use super::{Input, ended, illegal};
use crate::catalogue::{Answer, Seen, TRIES, Tx, lost_race};
use crate::outbox::Effect;
use crate::ports::{Key, MAX_WRITES};
use crate::records::{
    GroupRecord, MemberRecord, Owner, Part, Step, StepKind, Task, VolumeMeta, WorkRecord,
};
use crate::{Control, digest, keys};

impl Control {
    /// Hands the unwritten parts of a group to the agent; the token is answered when the
    /// last one has a result.
    pub(crate) async fn dispatch_writes(&self, input: &Input) -> Answer<Value> {
        self.dispatch(input, StepKind::Write).await
    }

    pub(super) async fn dispatch(&self, input: &Input, kind: StepKind) -> Answer<Value> {
        let token = input.token()?;
        for _ in 0..TRIES {
            let seen = self.group_record(input.group).await?;
            if let Some(refusal) = ended(&seen.value) {
                return Err(refusal);
            }
            let answer = self.dispatch_once(input, kind, &token, seen).await;
            if !lost_race(&answer) {
                return answer;
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    async fn dispatch_once(
        &self,
        input: &Input,
        kind: StepKind,
        token: &str,
        seen: Seen<GroupRecord>,
    ) -> Answer<Value> {
        let mut record = seen.value;
        if record.placement != input.placement {
            return Err(Refusal::new(
                Code::Internal,
                format!(
                    "expected placement {}, found {}",
                    record.placement, input.placement
                ),
            ));
        }
        let repeated = record.step.as_ref().is_some_and(|step| {
            step.kind == kind && step.placement == input.placement && step.attempt == input.attempt
        });
        if !repeated {
            // What an attempt before left behind: an invocation of it may have come late.
            let before = self.work_of(&record).await?;
            self.take_back(before).await?;
            self.still_usable(&record, kind).await?;
            self.enter(&mut record, kind).await?;
        }
        record.step = Some(Step {
            kind,
            placement: input.placement,
            attempt: input.attempt,
            token: token.to_owned(),
        });
        let items = work_items(&record, kind, input.attempt)?;
        let mut tx = Tx::new();
        if items.is_empty() {
            // All have results already: an earlier token was told, perhaps in vain.
            self.tell_result(&mut tx, &mut record);
        }
        tx.replace(&record, seen.version);
        let count = items.len();
        // The items of a repeated dispatch are there, but for a crash between the
        // transactions of a dispatch that needs several.
        let mut rest: Vec<WorkRecord> = Vec::new();
        if !repeated && count < MAX_WRITES - 2 {
            for item in &items {
                tx.create(item);
            }
        } else {
            rest = items;
        }
        self.transact(tx).await?;
        for item in rest {
            let mut tx = Tx::new();
            tx.create(&item);
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                answer?;
            }
        }
        if let Some(library) = &record.library {
            self.ports.queue.ring(library).await;
        }
        Ok(json!({"items": count}))
    }

    /// The group's state moves on, and what read-back must give is computed.
    async fn enter(&self, record: &mut GroupRecord, kind: StepKind) -> Answer<()> {
        if kind == StepKind::Verify {
            return Ok(());
        }
        // After a failed read-back that is tried again, all is written already.
        if *record.group.lifecycle.state() != State::Written {
            record.group.lifecycle = record
                .group
                .lifecycle
                .apply(LifecycleEvent::Execute)
                .map_err(illegal)?;
        }
        for member in &mut record.members {
            if member.parts.iter().all(|part| part.expected.is_some()) {
                continue;
            }
            let artifacts = self.manifest(member.checkpoint.id).await?;
            for part in &mut member.parts {
                let ranges = ranges(&artifacts, part.from, part.to);
                part.ranges = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
                part.expected = Some(digest(range_text(&artifacts, &ranges).as_bytes()));
            }
        }
        Ok(())
    }

    /// The volumes must still be what the placement took them for.
    async fn still_usable(&self, record: &GroupRecord, kind: StepKind) -> Answer<()> {
        let volumes = self.metas(&record.volumes()).await?;
        for part in record.parts().filter(|part| is_open(part, kind)) {
            if let Some(refusal) = unusable(&volumes, part) {
                return Err(refusal);
            }
        }
        Ok(())
    }

    pub(crate) async fn metas(&self, volumes: &[Barcode]) -> Answer<Vec<VolumeMeta>> {
        let found = self
            .get_all::<VolumeMeta>(volumes.iter().map(keys::volume).collect())
            .await?;
        Ok(found.into_iter().flatten().map(|seen| seen.value).collect())
    }

    /// Where no part is without a result: moves the group on and tells the run.
    pub(crate) fn tell_result(&self, tx: &mut Tx, record: &mut GroupRecord) {
        let Some(step) = &record.step else { return };
        if record.parts().any(|part| is_open(part, step.kind)) {
            return;
        }
        let failed = record.parts().find_map(|part| part.failed.clone());
        let effect = match &failed {
            Some(refusal) => Effect::failed(step.token.clone(), refusal),
            None => {
                let event = match step.kind {
                    StepKind::Write => LifecycleEvent::Write,
                    _ => LifecycleEvent::Verify,
                };
                // A repeated telling finds the group moved on already.
                if let Ok(next) = record.group.lifecycle.apply(event) {
                    record.group.lifecycle = next;
                }
                Effect::TaskSucceeded {
                    token: step.token.clone(),
                    output: json!({"parts": record.parts().count()}),
                }
            }
        };
        tx.tell(&self.effect(effect));
    }
}

/// True where a step still waits for a part.
pub(crate) fn is_open(part: &Part, kind: StepKind) -> bool {
    part.failed.is_none()
        && match kind {
            StepKind::Write => part.written.is_none(),
            StepKind::Verify => part.written.is_some() && !part.verified,
            _ => false,
        }
}

/// Why a part cannot be written to or proven on its volume any more.
pub(crate) fn unusable(volumes: &[VolumeMeta], part: &Part) -> Option<Refusal> {
    let volume = volumes.iter().find(|v| v.barcode == part.volume)?;
    if part.verified {
        return None;
    }
    match volume.lifecycle.state() {
        VolumeState::ReadOnly { refusal } | VolumeState::Withdrawn { refusal } => {
            Some(Refusal::new(
                Code::MediaError,
                format!(
                    "volume {} is {}: {refusal}",
                    volume.barcode,
                    volume.lifecycle.state().name()
                ),
            ))
        }
        VolumeState::Full if part.written.is_none() => Some(Refusal::new(
            Code::VolumeFull,
            format!("volume {} takes no more", volume.barcode),
        )),
        _ if !volume.present => Some(Refusal::new(
            Code::VolumeMissing,
            format!("volume {} is not in the library", volume.barcode),
        )),
        _ => None,
    }
}

/// Where the items lie of the parts that a step still waits for.
pub(crate) fn work_keys(record: &GroupRecord, step: &Step) -> Answer<Vec<Key>> {
    let phase = match step.kind {
        StepKind::Write => "write",
        _ => "verify",
    };
    let mut keys = Vec::new();
    for (m, member) in record.members.iter().enumerate() {
        for part in member.parts.iter().filter(|part| is_open(part, step.kind)) {
            let key = work_key(record, phase, step.attempt, m, part)?;
            keys.push(keys::work(&part.volume, &key));
        }
    }
    Ok(keys)
}

/// The key of a part's item: the same for all invocations of one attempt.
fn work_key(
    record: &GroupRecord,
    phase: &str,
    attempt: u32,
    member: usize,
    part: &Part,
) -> Answer<WorkKey> {
    format!(
        "{}/{phase}/{}/{attempt}/{member}.{}.{}",
        record.group.run, record.placement, part.copy, part.part
    )
    .parse()
    .map_err(|error: model::InvalidId| Refusal::new(Code::Internal, error.to_string()))
}

fn work_items(record: &GroupRecord, kind: StepKind, attempt: u32) -> Answer<Vec<WorkRecord>> {
    let Some(library) = &record.library else {
        return Err(Refusal::new(Code::Internal, "a placed group has a library"));
    };
    let mut items = Vec::new();
    for (m, member) in record.members.iter().enumerate() {
        for (p, part) in member.parts.iter().enumerate() {
            if !is_open(part, kind) {
                continue;
            }
            let (phase, work_kind, task) = match (&part.written, part.expected) {
                (Some(placement), Some(expected)) => (
                    "verify",
                    WorkKind::Verify,
                    Task::Verify(Box::new(VerifyOrder {
                        placement: placement.clone(),
                        expected,
                    })),
                ),
                (None, _) => (
                    "write",
                    WorkKind::Write,
                    Task::Write(
                        Box::new(write_order(record, member, part)),
                        part.from,
                        part.to,
                    ),
                ),
                (Some(_), None) => {
                    return Err(Refusal::new(
                        Code::Internal,
                        "a written part was dispatched",
                    ));
                }
            };
            items.push(WorkRecord {
                key: work_key(record, phase, attempt, m, part)?,
                owner: Owner::Group(
                    record.group.id,
                    u32::try_from(m).unwrap_or(u32::MAX),
                    u32::try_from(p).unwrap_or(u32::MAX),
                ),
                library: library.clone(),
                volume: part.volume.clone(),
                kind: work_kind,
                // Members of a group stand together: nothing sorts between them.
                line: format!("{:020}#{}#{m:02}#{p:05}", record.order, record.group.id),
                bytes: part.to.minus(part.from),
                artifacts: part.ranges,
                task,
                claimed: None,
                grants: 0,
            });
        }
    }
    Ok(items)
}

fn write_order(record: &GroupRecord, member: &MemberRecord, part: &Part) -> WriteOrder {
    let c = &member.checkpoint;
    WriteOrder {
        checkpoint: c.id,
        group: c.group,
        group_index: c.index,
        group_size: u32::try_from(record.members.len()).unwrap_or(u32::MAX),
        run: record.group.run.clone(),
        service: c.service.clone(),
        version: c.version.clone(),
        parent: c.parent,
        copy: part.copy,
        part: part.part,
        parts: part.parts,
        content: c.content,
        submitted_at: c.submitted_at,
        artifacts: Vec::new(),
    }
}

/// Which bytes of which artifacts the bytes `from..to` of all of them laid end to end
/// are. An empty artifact belongs to the part that begins at or before it, and to the
/// last part at the very end.
pub(crate) fn ranges(artifacts: &[Artifact], from: Bytes, to: Bytes) -> Vec<ArtifactRange> {
    let total: Bytes = artifacts.iter().map(|artifact| artifact.size).sum();
    let mut ranges = Vec::new();
    let mut at = Bytes::ZERO;
    for (artifact, n) in artifacts.iter().zip(0..) {
        let end = at.plus(artifact.size);
        let offset = from.max(at);
        let length = to.min(end).minus(offset);
        let empty_here =
            artifact.size == Bytes::ZERO && from <= at && (at < to || (at == to && to == total));
        if length > Bytes::ZERO || empty_here {
            ranges.push(ArtifactRange {
                artifact: n,
                offset: offset.minus(at),
                length,
            });
        }
        at = end;
    }
    ranges
}

/// The text whose digest a read-back of these ranges gives.
pub(crate) fn range_text(artifacts: &[Artifact], ranges: &[ArtifactRange]) -> String {
    part_text(ranges.iter().filter_map(|range| {
        let artifact = artifacts.get(usize::try_from(range.artifact).ok()?)?;
        Some((&artifact.name, artifact.sha256, artifact.size, *range))
    }))
}

#[cfg(test)]
mod tests {
    use model::Sha256;
    use proptest::prelude::*;

    use super::*;

    fn artifacts(sizes: &[u64]) -> Vec<Artifact> {
        let artifact = |(n, size): (usize, &u64)| Artifact {
            name: format!("a{n}").parse().unwrap(),
            source: format!("file:///a{n}").parse().unwrap(),
            size: Bytes(*size),
            sha256: Sha256::EMPTY,
        };
        sizes.iter().enumerate().map(artifact).collect()
    }

    proptest! {
        /// However a checkpoint is cut, its parts hold each byte and each empty artifact
        /// exactly once, in order.
        #[test]
        fn parts_cover_everything_once(
            sizes in prop::collection::vec(0_u64..20, 1..12),
            cuts in prop::collection::vec(0_u64..200, 0..5),
        ) {
            let artifacts = artifacts(&sizes);
            let total: u64 = sizes.iter().sum();
            let mut cuts: Vec<_> = cuts
                .into_iter()
                .filter(|cut| *cut > 0 && *cut < total)
                .chain([0, total])
                .collect();
            cuts.sort_unstable();
            cuts.dedup();
            if cuts.len() == 1 {
                cuts.push(total);
            }
            let mut seen = vec![0; sizes.len()];
            let mut times = vec![0; sizes.len()];
            for pair in cuts.windows(2) {
                for range in ranges(&artifacts, Bytes(pair[0]), Bytes(pair[1])) {
                    let n = range.artifact as usize;
                    prop_assert_eq!(range.offset.0, seen[n]);
                    seen[n] += range.length.0;
                    times[n] += 1;
                }
            }
            prop_assert_eq!(&seen, &sizes);
            for (size, times) in sizes.iter().zip(times) {
                prop_assert!(times > 0 && (*size > 0 || times == 1));
            }
        }
    }
}
