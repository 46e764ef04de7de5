//! Submission: a request gets its ids and a run that will carry it.

use futures::stream::{self, StreamExt, TryStreamExt};
use model::work::part_text;
use model::{
    Artifact, ArtifactRange, Bytes, Checkpoint, CheckpointId, Code, Group, GroupId, GroupOutcome,
    Lifecycle, PoolName, Refusal, RunId, Service, Sha256, Submission, canonical_json,
};
use serde_json::json;

use crate::authority::{Action, Resource};
use crate::catalogue::{Answer, READS_AT_ONCE, Seen, TRIES, Tx, later, lost_race};
use crate::outbox::Effect;
use crate::records::{CheckpointRecord, GroupRecord, IdempotencyRecord, MemberRecord};
use crate::{Control, Principal, digest, keys, parse};

/// The most bytes of a manifest document.
const MAX_DOCUMENT: usize = 16 << 20;

impl Control {
    /// Registers a submission under fresh ids and sees to it that a run starts. The same
    /// idempotency key with the same payload gives the first answer again.
    ///
    /// Only what could not be stored is refused here; the thirteen checks are the run's
    /// first phase, and their refusals stand in [`Group::refusals`].
    ///
    /// # Errors
    /// `InvalidRequest` for broken limits, `Forbidden` for services that are not the
    /// caller's, `IdempotencyMismatch`; `Transient` where the catalogue could not be asked.
    pub async fn submit(
        &self,
        who: &Principal,
        submission: Submission,
    ) -> Result<GroupOutcome, Vec<Refusal>> {
        let mut refusals = parse::limits(&submission);
        refusals.extend(self.forbidden(who, &submission));
        if !refusals.is_empty() {
            return Err(parse::cap(refusals));
        }
        self.submit_checked(who, &submission)
            .await
            .map_err(|refusal| vec![refusal])
    }

    async fn submit_checked(
        &self,
        who: &Principal,
        submission: &Submission,
    ) -> Answer<GroupOutcome> {
        let payload = payload_digest(submission);
        let mut stored = None;
        for _ in 0..TRIES {
            let earlier = self
                .get::<IdempotencyRecord>(&keys::idempotency(&submission.idempotency_key))
                .await?;
            let now = self.now();
            if let Some(earlier) = earlier.as_ref().filter(|seen| seen.value.expires > now) {
                return self.repeated(who, &earlier.value, payload);
            }
            let (group, members) = match stored.take() {
                Some(prepared) => prepared,
                None => self.prepare(who, submission, payload).await?,
            };
            let answer = self.register(&group, &members, earlier.as_ref()).await;
            if !lost_race(&answer) {
                return answer.map(|()| GroupOutcome {
                    group: group.group.id,
                    checkpoints: group.group.checkpoints,
                    repeated: false,
                });
            }
            stored = Some((group, members));
        }
        Err(Refusal::new(
            Code::Conflict,
            "the idempotency key is in use by another request at this moment",
        ))
    }

    /// Everything that the transaction will write; the manifests are written already.
    async fn prepare(
        &self,
        who: &Principal,
        submission: &Submission,
        payload: Sha256,
    ) -> Answer<(GroupRecord, Vec<CheckpointRecord>)> {
        let now = self.now();
        let services = self
            .get_all::<Service>(
                submission
                    .members
                    .iter()
                    .map(|member| keys::service(&member.service))
                    .collect(),
            )
            .await?;
        let id = self.fresh(GroupId::from_parts);
        let mut members = Vec::with_capacity(submission.members.len());
        let mut documents = Vec::with_capacity(submission.members.len());
        for (index, (member, service)) in submission.members.iter().zip(&services).enumerate() {
            let default = service
                .as_ref()
                .and_then(|seen| seen.value.retention.first().cloned())
                .unwrap_or_default();
            let checkpoint = Checkpoint {
                id: self.fresh(CheckpointId::from_parts),
                group: id,
                index: u32::try_from(index).unwrap_or(u32::MAX),
                service: member.service.clone(),
                version: member.version.clone(),
                parent: member.parent,
                branch: member.branch.clone(),
                content: digest(Artifact::content_text(&member.artifacts).as_bytes()),
                artifacts: u32::try_from(member.artifacts.len()).unwrap_or(u32::MAX),
                bytes: member.artifacts.iter().map(|artifact| artifact.size).sum(),
                retention: submission.retention.clone().unwrap_or(default),
                submitted_at: now,
                committed_at: None,
                ledger_index: None,
            };
            documents.push((checkpoint.id, document(&member.artifacts, index)?));
            members.push(MemberRecord {
                checkpoint,
                whole: digest(whole_text(&member.artifacts).as_bytes()),
                provenance: member.provenance.clone(),
                parts: Vec::new(),
                merged_into: None,
            });
        }
        stream::iter(documents)
            .map(|(id, body)| async move {
                self.ports
                    .objects
                    .put_document(&keys::manifest_document(id), body)
                    .await
            })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect::<()>()
            .await?;
        let checkpoints = members
            .iter()
            .map(|member| CheckpointRecord {
                checkpoint: member.checkpoint.clone(),
                placements: Vec::new(),
            })
            .collect();
        let pool = services
            .iter()
            .flatten()
            .map(|seen| seen.value.pool.clone())
            .next();
        let group = GroupRecord {
            group: Group {
                id,
                run: run_of(id),
                checkpoints: members.iter().map(|member| member.checkpoint.id).collect(),
                lifecycle: Lifecycle::submitted(),
                priority: submission.priority,
                deadline: submission.deadline,
                labels: submission.labels.clone(),
                pool: pool.unwrap_or_else(no_pool),
                bytes: members.iter().map(|member| member.checkpoint.bytes).sum(),
                submitted_at: now,
                staged_at: None,
                finished_at: None,
                refusals: Vec::new(),
                decision: None,
                deferred: None,
            },
            members,
            expected_members: submission.expected_members,
            idempotency: submission.idempotency_key.clone(),
            payload,
            // What was authorised at the door: check 2 holds the run to it.
            submitted_by: (!who.is_operator()).then(|| {
                let members = submission.members.iter();
                members.map(|member| member.service.clone()).collect()
            }),
            library: None,
            placement: 0,
            order: 0,
            step: None,
            avoid: Vec::new(),
            followers: Vec::new(),
        };
        Ok((group, checkpoints))
    }

    async fn register(
        &self,
        group: &GroupRecord,
        members: &[CheckpointRecord],
        expired: Option<&Seen<IdempotencyRecord>>,
    ) -> Answer<()> {
        let seconds = i64::try_from(self.settings.idempotency.as_secs()).unwrap_or(i64::MAX);
        let idempotency = IdempotencyRecord {
            key: group.idempotency.clone(),
            payload: group.payload,
            group: group.group.id,
            checkpoints: group.group.checkpoints.clone(),
            services: group
                .members
                .iter()
                .map(|member| member.checkpoint.service.clone())
                .collect(),
            expires: later(self.now(), seconds),
        };
        let mut tx = Tx::new();
        match expired {
            Some(seen) => tx.replace(&idempotency, seen.version),
            None => tx.create(&idempotency),
        }
        tx.create(group);
        for member in members {
            tx.create(member);
        }
        tx.tell(&self.effect(Effect::StartRun {
            run: group.group.run.clone(),
            input: json!({"run": group.group.run, "group": group.group.id}),
        }));
        self.transact(tx).await
    }

    fn forbidden(&self, who: &Principal, submission: &Submission) -> Vec<Refusal> {
        let members = submission.members.iter().enumerate();
        members
            .filter_map(|(m, member)| {
                let on = Resource::Service(&member.service);
                let refusal = self.authorize(who, Action::Submit, on).err()?;
                Some(refusal.at(format!("members[{m}].service")))
            })
            .collect()
    }

    fn repeated(
        &self,
        who: &Principal,
        earlier: &IdempotencyRecord,
        payload: Sha256,
    ) -> Answer<GroupOutcome> {
        // Who may not submit the first one must not learn its ids either.
        let mut services = earlier.services.iter();
        let mine = services.all(|name| self.permits(who, Action::Submit, Resource::Service(name)));
        if !mine || earlier.payload != payload {
            return Err(Refusal::new(
                Code::IdempotencyMismatch,
                "expected the payload that the key was first used with, found another one",
            )
            .at("idempotency_key"));
        }
        Ok(GroupOutcome {
            group: earlier.group,
            checkpoints: earlier.checkpoints.clone(),
            repeated: true,
        })
    }

    /// The artifact list of a checkpoint.
    pub(crate) async fn manifest(&self, id: CheckpointId) -> Answer<Vec<Artifact>> {
        let name = keys::manifest_document(id);
        let body = self.ports.objects.document(&name).await.map_err(|error| {
            let refusal = Refusal::from(error);
            match refusal.code {
                Code::Transient => refusal,
                _ => Refusal::new(Code::Internal, format!("{name}: {}", refusal.message)),
            }
        })?;
        serde_json::from_slice(&body)
            .map_err(|error| Refusal::new(Code::Internal, format!("{name}: {error}")))
    }
}

fn no_pool() -> PoolName {
    "unassigned"
        .parse()
        .expect("a pool's name may have small letters")
}

/// The run that carries a group is named after it: starting it twice starts it once.
fn run_of(group: GroupId) -> RunId {
    group
        .to_string()
        .parse()
        .expect("a UUID has 36 characters of 0-9 a-f -")
}

/// The digest of everything but the key.
fn payload_digest(submission: &Submission) -> Sha256 {
    let mut value = serde_json::to_value(submission)
        .expect("a submission serialises: its map keys are strings");
    if let Some(object) = value.as_object_mut() {
        object.remove("idempotency_key");
    }
    digest(canonical_json(&value).as_bytes())
}

fn document(artifacts: &[Artifact], member: usize) -> Answer<Vec<u8>> {
    let body = serde_json::to_vec(artifacts).expect("artifacts serialise: they have no maps");
    if body.len() > MAX_DOCUMENT {
        return Err(Refusal::new(
            Code::InvalidRequest,
            format!(
                "expected an artifact list of at most {MAX_DOCUMENT} bytes as JSON, found {}",
                body.len()
            ),
        )
        .at(format!("members[{member}].artifacts")));
    }
    Ok(body)
}

/// What a read-back of all artifacts in one part gives.
fn whole_text(artifacts: &[Artifact]) -> String {
    part_text(artifacts.iter().zip(0..).map(|(artifact, n)| {
        let whole = ArtifactRange {
            artifact: n,
            offset: Bytes::ZERO,
            length: artifact.size,
        };
        (&artifact.name, artifact.sha256, artifact.size, whole)
    }))
}
