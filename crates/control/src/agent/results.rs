//! Results: what became of work, recorded once, whoever reports it and however often.

use std::collections::BTreeMap;

use futures::future::join_all;
use model::work::{Complete, CompleteAnswer, Outcome, WorkResult};
use model::{Barcode, Bytes, Code, GroupId, Placement, Refusal, WorkKey};

use super::fence_lost;
use crate::catalogue::{Answer, Seen, TRIES, Tx, lost_race};
use crate::place::reserve_estimate;
use crate::ports::{Condition, MAX_WRITES};
use crate::records::{AskRecord, GroupRecord, Owner, Part, VolumeLease, VolumeMeta, WorkRecord};
use crate::{Control, RestoreState, keys};

/// Results of one owner that go into one transaction.
const TOGETHER: usize = MAX_WRITES - 10;

/// Who reports a result.
pub(crate) enum Reporter<'a> {
    /// The session that claimed it.
    Session(&'a Seen<VolumeLease>),
    /// A later session that found it on the tape.
    Finder(&'a Seen<VolumeLease>),
    /// The control plane itself: work on this volume that nobody can do.
    Control(&'a Barcode),
}

impl Reporter<'_> {
    const fn lease(&self) -> Option<&Seen<VolumeLease>> {
        match self {
            Self::Session(lease) | Self::Finder(lease) => Some(lease),
            Self::Control(_) => None,
        }
    }

    /// Whose work is reported.
    const fn volume(&self) -> &Barcode {
        match self {
            Self::Session(lease) | Self::Finder(lease) => &lease.value.barcode,
            Self::Control(volume) => volume,
        }
    }

    fn may_report(&self, work: &WorkRecord) -> Result<(), Refusal> {
        match (self, &work.claimed) {
            (Self::Control(_), _) | (Self::Finder(_), None) => Ok(()),
            (Self::Finder(lease), Some(claimed)) if claimed.fence < lease.value.fence => Ok(()),
            (Self::Session(lease), Some(claimed)) if claimed.fence == lease.value.fence => Ok(()),
            (_, claimed) => {
                let (yours, highest) = match (self.lease(), claimed) {
                    (Some(lease), Some(claimed)) => (lease.value.fence, claimed.fence),
                    (Some(lease), None) => (lease.value.fence, lease.value.fence),
                    _ => Default::default(),
                };
                Err(fence_lost(yours, highest))
            }
        }
    }
}

type Refused = Vec<(WorkKey, Refusal)>;

/// Results of one owner, with their work items.
type Reported = Vec<(Seen<WorkRecord>, Outcome)>;

impl Control {
    /// Takes results and the position behind them. Repeating a report changes nothing and
    /// gets the same answer. The position is written last: should the agent and the
    /// control plane both stop in between, the next session finds the batch behind the
    /// catalogued end and it is recognised there.
    ///
    /// # Errors
    /// `FenceLost`: nothing more is taken; `PositionMismatch` for a position before the
    /// catalogued one; `InvalidRequest` for more than 1,000 results.
    pub async fn complete(&self, question: Complete) -> Answer<CompleteAnswer> {
        if question.results.len() > 1000 {
            return Err(Refusal::new(
                Code::InvalidRequest,
                format!(
                    "expected at most 1,000 results, found {}",
                    question.results.len()
                ),
            ));
        }
        let lease = self.held(&question.session).await?;
        let refused = self
            .take_results(question.results, &Reporter::Session(&lease))
            .await?;
        if question.position.is_some() || question.used.is_some() {
            self.move_on(&lease, question.position, question.used)
                .await?;
        }
        let ack = self.ack(question.session.session).await?;
        Ok(CompleteAnswer {
            refused,
            expires: ack.expires,
        })
    }

    async fn move_on(
        &self,
        lease: &Seen<VolumeLease>,
        position: Option<model::VolumePosition>,
        used: Option<Bytes>,
    ) -> Answer<()> {
        let key = keys::volume(&lease.value.barcode);
        for _ in 0..TRIES {
            let Some(seen) = self.get::<VolumeMeta>(&key).await? else {
                return Ok(());
            };
            let mut volume = seen.value;
            if let Some(position) = &position {
                check_position(&volume, position)?;
                volume.position = Some(position.clone());
            }
            volume.used = used.unwrap_or(volume.used).max(volume.used);
            fill(&mut volume);
            let mut tx = Tx::new();
            tx.check(lease_key(lease), lease.version);
            tx.replace(&volume, seen.version);
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer;
            }
            self.still(lease).await?;
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// Records results; returns those that were not taken, with the reason.
    pub(crate) async fn take_results(
        &self,
        results: Vec<WorkResult>,
        reporter: &Reporter<'_>,
    ) -> Answer<Refused> {
        let keys = results
            .iter()
            .map(|r| keys::work(reporter.volume(), &r.key));
        let works = self.get_all::<WorkRecord>(keys.collect()).await?;
        let mut refused = Vec::new();
        let mut by_owner: BTreeMap<Target, Reported> = BTreeMap::new();
        for (result, work) in results.into_iter().zip(works) {
            let Some(work) = work else {
                if let Some(refusal) = self.unknown(&result).await? {
                    refused.push((result.key, refusal));
                }
                continue;
            };
            if let Err(refusal) = reporter.may_report(&work.value) {
                refused.push((result.key, refusal));
                continue;
            }
            let target = match work.value.owner {
                Owner::Group(id, ..) => Target::Group(id),
                Owner::Ask(id) => Target::Ask(id),
            };
            by_owner
                .entry(target)
                .or_default()
                .push((work, result.outcome));
        }
        let mut pieces = Vec::new();
        for (target, mut reported) in by_owner {
            while reported.len() > TOGETHER {
                let rest = reported.split_off(TOGETHER);
                pieces.push((target, std::mem::replace(&mut reported, rest)));
            }
            pieces.push((target, reported));
        }
        let plans = join_all(
            pieces
                .iter()
                .map(|(target, reported)| self.plan_results(*target, reported, reporter)),
        )
        .await;
        // Owners share transactions; those whose transaction lost a race go on alone.
        let mut batches: Vec<(Tx, Vec<usize>, Refused)> = Vec::new();
        for (n, plan) in plans.into_iter().enumerate() {
            let (tx, not_taken) = plan?;
            let target = pieces[n].0;
            let fits = batches.last().is_some_and(|(batch, ns, _)| {
                batch.len() + tx.len() < MAX_WRITES
                    && ns.iter().all(|other| pieces[*other].0 != target)
            });
            if !fits {
                batches.push(Default::default());
            }
            if let Some((batch, ns, all)) = batches.last_mut() {
                batch.append(tx);
                ns.push(n);
                all.extend(not_taken);
            }
        }
        let written = join_all(batches.into_iter().map(|(mut tx, ns, not_taken)| async {
            if tx.len() == 0 {
                return (Ok(()), ns, not_taken);
            }
            if let Some(lease) = reporter.lease() {
                tx.check(lease_key(lease), lease.version);
            }
            (self.transact(tx).await, ns, not_taken)
        }))
        .await;
        for (answer, ns, not_taken) in written {
            if lost_race(&answer) {
                for n in ns {
                    let (target, reported) = &pieces[n];
                    refused.extend(self.results_alone(*target, reported, reporter).await?);
                }
            } else {
                answer?;
                refused.extend(not_taken);
            }
        }
        Ok(refused)
    }

    async fn results_alone(
        &self,
        target: Target,
        reported: &Reported,
        reporter: &Reporter<'_>,
    ) -> Answer<Refused> {
        for _ in 0..TRIES {
            if let Some(lease) = reporter.lease() {
                self.still(lease).await?;
            }
            // The items too may have changed: taken back, or superseded.
            let works = self
                .get_all::<WorkRecord>(
                    reported
                        .iter()
                        .map(|(work, _)| keys::work(reporter.volume(), &work.value.key))
                        .collect(),
                )
                .await?;
            let mut refused = Vec::new();
            let mut left = Vec::new();
            for ((old, outcome), work) in reported.iter().zip(works) {
                match work {
                    Some(work) => match reporter.may_report(&work.value) {
                        Ok(()) => left.push((work, outcome.clone())),
                        Err(refusal) => refused.push((work.value.key, refusal)),
                    },
                    None => {
                        let result = WorkResult {
                            key: old.value.key.clone(),
                            outcome: outcome.clone(),
                        };
                        if let Some(refusal) = self.unknown(&result).await? {
                            refused.push((result.key, refusal));
                        }
                    }
                }
            }
            let (mut tx, not_taken) = self.plan_results(target, &left, reporter).await?;
            refused.extend(not_taken);
            if tx.len() == 0 {
                return Ok(refused);
            }
            if let Some(lease) = reporter.lease() {
                tx.check(lease_key(lease), lease.version);
            }
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer.map(|()| refused);
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    async fn plan_results(
        &self,
        target: Target,
        reported: &Reported,
        reporter: &Reporter<'_>,
    ) -> Answer<(Tx, Refused)> {
        let mut tx = Tx::new();
        let mut refused = Vec::new();
        let mut results = Vec::new();
        for (work, outcome) in reported {
            if let Outcome::Returned = outcome {
                let open = WorkRecord {
                    claimed: None,
                    // It was not tried: that wears nothing out.
                    grants: work.value.grants.saturating_sub(1),
                    ..work.value.clone()
                };
                tx.replace(&open, work.version);
            } else {
                results.push((work, outcome));
            }
        }
        if results.is_empty() {
            return Ok((tx, refused));
        }
        match target {
            Target::Group(id) => {
                self.plan_group(id, results, reporter, &mut tx, &mut refused)
                    .await?;
            }
            Target::Ask(id) => self.plan_ask(id, results, &mut tx).await?,
        }
        Ok((tx, refused))
    }

    async fn plan_group(
        &self,
        id: GroupId,
        results: Vec<(&Seen<WorkRecord>, &Outcome)>,
        reporter: &Reporter<'_>,
        tx: &mut Tx,
        refused: &mut Refused,
    ) -> Answer<()> {
        let seen = self.group_record(id).await?;
        let mut record = seen.value;
        let mut taken = false;
        for (work, outcome) in results {
            let key = &work.value.key;
            let part = match work.value.owner {
                Owner::Group(_, m, p) => part_mut(&mut record, m, p),
                Owner::Ask(_) => None,
            };
            let Some((checkpoint, part)) = part else {
                // The group came to its end: nobody wants the item any more.
                refused.push((key.clone(), not_known(key)));
                tx.delete(
                    keys::work(&work.value.volume, key),
                    Condition::Version(work.version),
                );
                continue;
            };
            match outcome {
                Outcome::Written { placement } => {
                    if let Err(refusal) = fits_part(placement, key, checkpoint, part, reporter) {
                        refused.push((key.clone(), refusal));
                        continue;
                    }
                    part.written = Some(placement.clone());
                    part.failed = None;
                }
                Outcome::Verified {
                    content,
                    artifacts,
                    bytes,
                } => {
                    let size = part.to.minus(part.from);
                    if Some(*content) == part.expected
                        && *artifacts == part.ranges
                        && *bytes == size
                    {
                        part.verified = true;
                        part.failed = None;
                    } else {
                        part.failed = Some(Refusal::new(
                            Code::VerifyMismatch,
                            format!(
                                "checkpoint {checkpoint} on {}: expected {size} bytes in {} ranges \
                                 with digest {}, found {bytes} in {artifacts} with {content}",
                                part.volume,
                                part.ranges,
                                part.expected.map_or_else(String::new, |d| d.to_string()),
                            ),
                        ));
                    }
                }
                Outcome::Failed { refusal } => part.failed = Some(refusal.clone()),
                Outcome::Restored { .. } | Outcome::Scanned { .. } | Outcome::Returned => {
                    refused.push((key.clone(), wrong_kind(key)));
                    continue;
                }
            }
            taken = true;
            tx.delete(
                keys::work(&work.value.volume, key),
                Condition::Version(work.version),
            );
        }
        if taken {
            self.tell_result(tx, &mut record);
            tx.replace(&record, seen.version);
        }
        Ok(())
    }

    async fn plan_ask(
        &self,
        id: model::RestoreId,
        results: Vec<(&Seen<WorkRecord>, &Outcome)>,
        tx: &mut Tx,
    ) -> Answer<()> {
        let seen = self
            .get::<AskRecord>(&keys::ask(id))
            .await?
            .ok_or_else(|| Refusal::new(Code::Internal, format!("no request {id}")))?;
        let mut ask = seen.value;
        for (work, outcome) in results {
            let key = &work.value.key;
            ask.waiting.retain(|waiting| waiting != key);
            tx.delete(
                keys::work(&work.value.volume, key),
                Condition::Version(work.version),
            );
            let failure = match (outcome, &work.value.task) {
                (Outcome::Restored { artifacts, bytes }, _) => {
                    ask.artifacts = ask.artifacts.saturating_add(*artifacts);
                    ask.bytes = ask.bytes.plus(*bytes);
                    None
                }
                (
                    Outcome::Verified {
                        content,
                        artifacts,
                        bytes,
                    },
                    crate::records::Task::Verify(order),
                ) => {
                    ask.artifacts = ask.artifacts.saturating_add(*artifacts);
                    ask.bytes = ask.bytes.plus(*bytes);
                    (*content != order.expected).then(|| {
                        Refusal::new(
                            Code::VerifyMismatch,
                            format!(
                                "volume {}: expected digest {}, found {content}",
                                work.value.volume, order.expected
                            ),
                        )
                    })
                }
                (Outcome::Scanned { report }, _) => {
                    self.ports
                        .objects
                        .put_document(&keys::scan_document(id), report.clone().into_bytes())
                        .await?;
                    None
                }
                (Outcome::Failed { refusal }, _) => Some(refusal.clone()),
                _ => Some(wrong_kind(key)),
            };
            if let Some(refusal) = failure {
                ask.state = RestoreState::Failed { refusal };
            }
        }
        if ask.waiting.is_empty() {
            if ask.state == RestoreState::Waiting {
                ask.state = RestoreState::Done;
            }
            ask.finished_at = Some(self.now());
        }
        tx.replace(&ask, seen.version);
        Ok(())
    }

    /// Why a result whose item is gone is not taken; none where it was taken before.
    async fn unknown(&self, result: &WorkResult) -> Answer<Option<Refusal>> {
        let refusal = not_known(&result.key);
        let Some((run, phase, m, part)) = slot(&result.key) else {
            return Ok(Some(refusal));
        };
        let Some(seen) = self.get::<GroupRecord>(&keys::group(run)).await? else {
            return Ok(Some(refusal));
        };
        let record = seen.value;
        let known = record
            .members
            .get(m)
            .and_then(|member| member.parts.iter().find(|p| p.part == part))
            .is_some_and(|p| match (&result.outcome, phase) {
                (Outcome::Written { placement }, "write") => p.written.as_ref() == Some(placement),
                (Outcome::Verified { .. }, "verify") => p.verified || p.failed.is_some(),
                (Outcome::Failed { refusal }, _) => p.failed.as_ref() == Some(refusal),
                _ => false,
            });
        Ok((!known).then_some(refusal))
    }
}

/// Whose results go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Group(GroupId),
    Ask(model::RestoreId),
}

fn lease_key(lease: &Seen<VolumeLease>) -> crate::ports::Key {
    keys::volume_lease(&lease.value.barcode)
}

/// Group, phase, member and part of a key as `execute` makes them.
fn slot(key: &WorkKey) -> Option<(GroupId, &str, usize, u32)> {
    let mut words = key.as_str().split('/');
    let run = words.next()?.parse().ok()?;
    let phase = words.next()?;
    let mut last = words.nth(2)?.split('.');
    let member = last.next()?.parse().ok()?;
    let part = last.nth(1)?.parse().ok()?;
    Some((run, phase, member, part))
}

fn part_mut(record: &mut GroupRecord, m: u32, p: u32) -> Option<(model::CheckpointId, &mut Part)> {
    if record.group.lifecycle.state().is_final() {
        return None;
    }
    let member = record.members.get_mut(usize::try_from(m).ok()?)?;
    let part = member.parts.get_mut(usize::try_from(p).ok()?)?;
    Some((member.checkpoint.id, part))
}

/// A placement must be what was ordered, where it was ordered, under the fence of the
/// session that reports it or, for one that was found, a lower one.
fn fits_part(
    placement: &Placement,
    key: &WorkKey,
    checkpoint: model::CheckpointId,
    part: &Part,
    reporter: &Reporter<'_>,
) -> Result<(), Refusal> {
    let fence_fits = match reporter {
        Reporter::Session(lease) => placement.fence == lease.value.fence,
        Reporter::Finder(lease) => placement.fence < lease.value.fence,
        Reporter::Control(_) => false,
    };
    let fits = placement.work == *key
        && placement.checkpoint == checkpoint
        && (placement.copy, placement.part, placement.parts) == (part.copy, part.part, part.parts)
        && placement.volume == part.volume
        && !placement.segments.is_empty()
        && fence_fits;
    if fits {
        return Ok(());
    }
    Err(Refusal::new(
        Code::InvalidRequest,
        format!(
            "expected a placement of part {} of {checkpoint} on {} for {key}, found part {} of {} \
             on {} for {} under fence {}",
            part.part,
            part.volume,
            placement.part,
            placement.checkpoint,
            placement.volume,
            placement.work,
            placement.fence
        ),
    ))
}

fn not_known(key: &WorkKey) -> Refusal {
    Refusal::new(
        Code::FenceLost,
        format!("work item {key} is not this session's any more"),
    )
}

fn wrong_kind(key: &WorkKey) -> Refusal {
    Refusal::new(
        Code::InvalidRequest,
        format!("the result of {key} is of another kind than its order"),
    )
}

/// The data end where the catalogue says, or behind it, never before it.
pub(super) fn check_position(volume: &VolumeMeta, position: &model::VolumePosition) -> Answer<()> {
    let Some(known) = &volume.position else {
        return Ok(());
    };
    if position.next >= known.next && position.manifests >= known.manifests {
        return Ok(());
    }
    Err(Refusal::new(
        Code::PositionMismatch,
        format!(
            "volume {}: expected the end of data at record {} or later with {} manifests or \
             more, found record {} with {}",
            volume.barcode, known.next, known.manifests, position.next, position.manifests
        ),
    ))
}

/// A volume without room for even an empty checkpoint takes no more.
pub(super) fn fill(volume: &mut VolumeMeta) {
    if volume.capacity.minus(volume.used) < reserve_estimate(Bytes::ZERO, 1)
        && let Ok(full) = volume.lifecycle.apply(model::VolumeEvent::Fill)
    {
        volume.lifecycle = full;
    }
}
