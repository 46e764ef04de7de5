//! Checkpoints, groups, placements, restores.

use async_graphql::{ComplexObject, Context, Enum, Error, Json, Object, SimpleObject};
use control::{CheckpointView, RestoreState, RestoreView};
use model::{Group, Placement, State};

use super::{of, page};
use crate::error::OrRefused;
use crate::limits;
use crate::scalars::{Bytes, Long, Sha256, Timestamp, Uuid};

/// Where a checkpoint stands on its way to tape. All members of a group stand at the
/// same place.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckpointState {
    /// Accepted, nothing checked yet.
    Submitted,
    /// Checked, and every artifact pinned.
    Staged,
    /// Volume and capacity are reserved.
    Allocated,
    /// Waits for the agent or is on its way to tape.
    Executing,
    /// Behind a synchronous filemark, with a proven position.
    Written,
    /// Read back from tape, all digests equal.
    Verified,
    /// In catalogue and ledger: restorable. Final.
    Committed,
    /// Refused before anything was written. Final.
    Rejected,
    /// A newer request of the same lineage took its place. Final.
    Superseded,
    /// The same content is on tape under another id. Final.
    Merged,
    /// Gave up after writing had begun. Final.
    Failed,
    /// Waits for an operator.
    Parked,
}

impl CheckpointState {
    fn of(state: &State) -> Result<Self, Error> {
        Ok(match state {
            State::Submitted => Self::Submitted,
            State::Staged => Self::Staged,
            State::Allocated => Self::Allocated,
            State::Executing => Self::Executing,
            State::Written => Self::Written,
            State::Verified => Self::Verified,
            State::Committed => Self::Committed,
            State::Rejected { .. } => Self::Rejected,
            State::Superseded { .. } => Self::Superseded,
            State::Merged { .. } => Self::Merged,
            State::Failed { .. } => Self::Failed,
            State::Parked { .. } => Self::Parked,
            other => {
                return Err(Error::new(format!(
                    "no name for the state {}",
                    other.name()
                )));
            }
        })
    }
}

/// A "no" that explains itself.
#[derive(SimpleObject)]
pub(crate) struct Refusal {
    /// The stable code, `Tapemark.X`.
    code: String,
    /// What was expected and what was found.
    message: String,
    /// What to do next.
    hint: String,
    /// The path of the field, where it is about one.
    field: Option<String>,
    /// True where the same request may succeed later without a change.
    retryable: bool,
}

impl From<&model::Refusal> for Refusal {
    fn from(refusal: &model::Refusal) -> Self {
        Self {
            code: refusal.code.as_str().to_owned(),
            message: refusal.message.clone(),
            hint: refusal.code.hint().to_owned(),
            field: refusal.field.clone(),
            retryable: refusal.code.is_retryable(),
        }
    }
}

/// Every reason a group has: the state's own, then what validate found besides.
fn refusals(group: &Group) -> Vec<Refusal> {
    let own = match group.lifecycle.state() {
        State::Rejected { refusal } | State::Failed { refusal } | State::Parked { refusal } => {
            Some(refusal)
        }
        _ => None,
    };
    let found = group.refusals.iter();
    match own {
        Some(own) if !group.refusals.contains(own) => std::iter::once(own)
            .chain(found)
            .map(Refusal::from)
            .collect(),
        _ => found.map(Refusal::from).collect(),
    }
}

/// The artifacts of one service at one version.
pub(crate) struct Checkpoint {
    pub(crate) checkpoint: model::Checkpoint,
    pub(crate) group: Group,
    /// Known where the control plane said them along.
    pub(crate) placements: Option<Vec<Placement>>,
}

impl From<CheckpointView> for Checkpoint {
    fn from(view: CheckpointView) -> Self {
        Self {
            checkpoint: view.checkpoint,
            group: view.group,
            placements: Some(view.placements),
        }
    }
}

/// The artifacts of one service at one version.
#[Object]
impl Checkpoint {
    /// Its id, a UUIDv7: ids sort by the time of submission.
    async fn id(&self) -> Uuid {
        Uuid(self.checkpoint.id.0)
    }

    /// The service.
    async fn service(&self) -> &str {
        self.checkpoint.service.as_str()
    }

    /// The version of the service.
    async fn version(&self) -> &str {
        self.checkpoint.version.as_str()
    }

    /// Where it stands.
    async fn state(&self) -> Result<CheckpointState, Error> {
        CheckpointState::of(self.group.lifecycle.state())
    }

    /// Every reason, where it was refused, failed or parked.
    async fn refusals(&self) -> Vec<Refusal> {
        refusals(&self.group)
    }

    /// The checkpoint that took its place, where one did.
    async fn superseded_by(&self) -> Option<Uuid> {
        match self.group.lifecycle.state() {
            State::Superseded { by } => Some(Uuid(by.0)),
            _ => None,
        }
    }

    /// The checkpoint that stands for it, where one does. Restoring this one restores that.
    async fn merged_into(&self) -> Option<Uuid> {
        match self.group.lifecycle.state() {
            State::Merged { into } => Some(Uuid(into.0)),
            _ => None,
        }
    }

    /// The checkpoint it follows.
    async fn parent(&self) -> Option<Uuid> {
        self.checkpoint.parent.map(|id| Uuid(id.0))
    }

    /// Its branch, where one was declared.
    async fn branch(&self) -> Option<&str> {
        self.checkpoint.branch.as_ref().map(model::Version::as_str)
    }

    /// The digest of its artifacts' names, sizes and digests. Equal digests mean equal
    /// content.
    async fn content(&self) -> Sha256 {
        Sha256(self.checkpoint.content)
    }

    /// How many artifacts it has.
    async fn artifact_count(&self) -> u32 {
        self.checkpoint.artifacts
    }

    /// Its artifacts in the order of submission; at most 2,000 a page.
    #[graphql(complexity = "20 + first.unwrap_or(50).max(0) as usize * child_complexity / 50")]
    async fn artifacts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 2,000; 50 where absent.")] first: Option<i32>,
        #[graphql(desc = "The cursor of the last one seen.")] after: Option<String>,
    ) -> Result<page::Page<Artifact>, Error> {
        let (api, who) = of(ctx)?;
        let list = api
            .control
            .artifacts(who, self.checkpoint.id)
            .await
            .or_refused()?;
        page::slice(
            first,
            after,
            limits::MAX_ARTIFACT_PAGE,
            list,
            Artifact::from,
        )
    }

    /// The sum of its artifacts' sizes.
    async fn bytes(&self) -> Bytes {
        Bytes(self.checkpoint.bytes)
    }

    /// For how long it is kept.
    async fn retention(&self) -> &str {
        &self.checkpoint.retention.0
    }

    /// When it was submitted.
    async fn submitted_at(&self) -> Timestamp {
        Timestamp(self.checkpoint.submitted_at)
    }

    /// When all its artifacts were pinned.
    async fn staged_at(&self) -> Option<Timestamp> {
        self.group.staged_at.map(Timestamp)
    }

    /// When it was committed.
    async fn committed_at(&self) -> Option<Timestamp> {
        self.checkpoint.committed_at.map(Timestamp)
    }

    /// The index of its leaf in the ledger, once committed.
    async fn ledger_index(&self) -> Option<Long> {
        self.checkpoint.ledger_index.map(Long)
    }

    /// Where its copies lie on tape.
    async fn placements(&self, ctx: &Context<'_>) -> Result<Vec<PlacementNode>, Error> {
        let list = match &self.placements {
            Some(list) => list.clone(),
            None => {
                let (api, who) = of(ctx)?;
                api.control
                    .checkpoint(who, self.checkpoint.id)
                    .await
                    .or_refused()?
                    .placements
            }
        };
        Ok(list.into_iter().map(PlacementNode::from).collect())
    }

    /// The group it belongs to.
    async fn group(&self) -> GroupNode {
        GroupNode {
            group: self.group.clone(),
            members: None,
        }
    }
}

/// One named byte string of a release.
#[derive(SimpleObject)]
pub(crate) struct Artifact {
    /// Its name, unique within the checkpoint.
    name: String,
    /// Where the submitter had it.
    source: String,
    /// Its size.
    size: Bytes,
    /// The digest of its bytes.
    sha256: Sha256,
}

impl From<model::Artifact> for Artifact {
    fn from(artifact: model::Artifact) -> Self {
        Self {
            name: artifact.name.as_str().to_owned(),
            source: artifact.source.to_string(),
            size: Bytes(artifact.size),
            sha256: Sha256(artifact.sha256),
        }
    }
}

/// Where one part of one copy of a checkpoint lies.
#[derive(SimpleObject)]
#[graphql(name = "Placement")]
pub(crate) struct PlacementNode {
    /// Which copy, from 1.
    copy: u8,
    /// Which part, from 0.
    part: u32,
    /// How many parts: more than one where the checkpoint did not fit on one volume.
    parts: u32,
    /// The volume's barcode.
    volume: String,
    /// What the volume's label says.
    volume_uuid: Uuid,
    /// The fence under which it was written.
    fence: Long,
    /// The digest of the manifest on tape.
    manifest: Sha256,
    /// The bytes it takes on tape.
    bytes: Bytes,
    /// Its segments in order; the last one is the manifest.
    segments: Vec<Segment>,
}

/// One tar between two filemarks.
#[derive(SimpleObject)]
pub(crate) struct Segment {
    /// Its number in the placement.
    no: u32,
    /// The object number of its first record (READ POSITION).
    first_record: Long,
    /// How many records, without the filemark.
    records: Long,
    /// How many bytes the records hold.
    bytes: Bytes,
    /// The digest of those bytes.
    sha256: Sha256,
}

impl From<Placement> for PlacementNode {
    fn from(placement: Placement) -> Self {
        Self {
            copy: placement.copy.0,
            part: placement.part,
            parts: placement.parts,
            volume: placement.volume.as_str().to_owned(),
            volume_uuid: Uuid(placement.volume_uuid.0),
            fence: Long(placement.fence.0),
            manifest: Sha256(placement.manifest),
            bytes: Bytes(placement.bytes()),
            segments: placement
                .segments
                .iter()
                .map(|segment| Segment {
                    no: segment.no.0,
                    first_record: Long(segment.first.0),
                    records: Long(segment.records),
                    bytes: Bytes(segment.bytes),
                    sha256: Sha256(segment.sha256),
                })
                .collect(),
        }
    }
}

/// A label of a group.
#[derive(SimpleObject)]
pub(crate) struct Label {
    /// Its name.
    name: String,
    /// Its value.
    value: String,
}

/// Checkpoints that become restorable together or not at all.
pub(crate) struct GroupNode {
    pub(crate) group: Group,
    /// Known where the control plane said them along.
    pub(crate) members: Option<Vec<model::Checkpoint>>,
}

/// Checkpoints that become restorable together or not at all.
#[Object(name = "Group")]
impl GroupNode {
    /// Its id.
    async fn id(&self) -> Uuid {
        Uuid(self.group.id.0)
    }

    /// The run that carries it to tape.
    async fn run(&self) -> &str {
        self.group.run.as_str()
    }

    /// Where it stands, with all its members.
    async fn state(&self) -> Result<CheckpointState, Error> {
        CheckpointState::of(self.group.lifecycle.state())
    }

    /// True where nothing will change any more.
    #[graphql(name = "final")]
    async fn is_final(&self) -> bool {
        self.group.lifecycle.state().is_final()
    }

    /// Every reason, where it was refused, failed or parked.
    async fn refusals(&self) -> Vec<Refusal> {
        refusals(&self.group)
    }

    /// The ids of its members, in the order of submission.
    async fn checkpoint_ids(&self) -> Vec<Uuid> {
        self.group.checkpoints.iter().map(|id| Uuid(id.0)).collect()
    }

    /// Its members, in the order of submission (at most 24).
    #[graphql(complexity = "1 + 4 * child_complexity")]
    async fn checkpoints(&self, ctx: &Context<'_>) -> Result<Vec<Checkpoint>, Error> {
        let (group, members) = match &self.members {
            Some(members) => (self.group.clone(), members.clone()),
            None => {
                let (api, who) = of(ctx)?;
                api.control.group(who, self.group.id).await.or_refused()?
            }
        };
        Ok(members
            .into_iter()
            .map(|checkpoint| Checkpoint {
                checkpoint,
                group: group.clone(),
                placements: None,
            })
            .collect())
    }

    /// How urgent it is, 0 to 9.
    async fn priority(&self) -> u8 {
        self.group.priority.get()
    }

    /// When it is of no use any more.
    async fn deadline(&self) -> Option<Timestamp> {
        self.group.deadline.map(Timestamp)
    }

    /// Its labels, by name.
    async fn labels(&self) -> Vec<Label> {
        let labels = self.group.labels.iter();
        labels
            .map(|(name, value)| Label {
                name: name.clone(),
                value: value.clone(),
            })
            .collect()
    }

    /// The pool it goes to.
    async fn pool(&self) -> &str {
        self.group.pool.as_str()
    }

    /// The sum of all members' bytes.
    async fn bytes(&self) -> Bytes {
        Bytes(self.group.bytes)
    }

    /// When it was submitted.
    async fn submitted_at(&self) -> Timestamp {
        Timestamp(self.group.submitted_at)
    }

    /// When all artifacts were pinned.
    async fn staged_at(&self) -> Option<Timestamp> {
        self.group.staged_at.map(Timestamp)
    }

    /// When it became final.
    async fn finished_at(&self) -> Option<Timestamp> {
        self.group.finished_at.map(Timestamp)
    }

    /// Why it waits, where a decision on conflicts was to ask again later.
    async fn deferred(&self) -> Option<Deferred> {
        let deferred = self.group.deferred.as_ref()?;
        Some(Deferred {
            until: Timestamp(deferred.until),
            reason: deferred.reason.clone(),
            times: deferred.times,
        })
    }

    /// The decision on conflicts that was applied to it last; operators may ask for it.
    async fn decision(&self) -> Option<Uuid> {
        self.group.decision.map(|id| Uuid(id.0))
    }
}

/// Why a group waits.
#[derive(SimpleObject)]
pub(crate) struct Deferred {
    /// It is asked again then.
    until: Timestamp,
    /// Why, in the resolver's words.
    reason: String,
    /// How often in a row, this time included.
    times: u32,
}

/// How far a restore, a re-verification or a scan is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestState {
    /// Waits for the agent, or is being done.
    Waiting,
    /// Done.
    Done,
    /// Not to be done.
    Failed,
}

/// A request to read from tape: a restore, a re-verification or a scan.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct Restore {
    #[graphql(skip)]
    view: RestoreView,
    /// Its id.
    id: Uuid,
    /// How far it is.
    state: RequestState,
    /// Why it failed, where it did.
    refusal: Option<Refusal>,
    /// When it was asked for.
    requested_at: Timestamp,
    /// When it was done or failed.
    finished_at: Option<Timestamp>,
    /// How many artifacts were read.
    artifacts: u32,
    /// How many bytes were read.
    bytes: Bytes,
}

impl From<RestoreView> for Restore {
    fn from(view: RestoreView) -> Self {
        let (state, refusal) = match &view.state {
            RestoreState::Waiting => (RequestState::Waiting, None),
            RestoreState::Done => (RequestState::Done, None),
            RestoreState::Failed { refusal } => (RequestState::Failed, Some(refusal.into())),
        };
        Self {
            id: Uuid(view.id.0),
            state,
            refusal,
            requested_at: Timestamp(view.requested_at),
            finished_at: view.finished_at.map(Timestamp),
            artifacts: view.artifacts,
            bytes: Bytes(view.bytes),
            view,
        }
    }
}

#[ComplexObject]
impl Restore {
    /// Where the artifacts can be fetched once it is done: put an artifact's name behind
    /// it. Absent where nothing was asked to be brought back.
    async fn download_base(&self) -> Option<String> {
        self.view.delivered.as_ref()?;
        Some(format!("/v1/restores/{}/artifacts/", self.view.id))
    }

    /// What a scan found, once it is done.
    async fn report(&self, ctx: &Context<'_>) -> Result<Option<Json<serde_json::Value>>, Error> {
        let (api, who) = of(ctx)?;
        if self.state != RequestState::Done || self.view.delivered.is_some() {
            return Ok(None);
        }
        let text = match api.control.scan_report(who, self.view.id).await {
            Ok(text) => text,
            Err(refusal) if refusal.code == model::Code::NotFound => return Ok(None),
            Err(refusal) => return Err(crate::error::refused(refusal)),
        };
        let report = serde_json::from_str(&text).map_err(|error| {
            crate::error::refused(model::Refusal::new(
                model::Code::Internal,
                format!("the report: expected JSON, found {error}"),
            ))
        })?;
        Ok(Some(Json(report)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::describe;

    #[test]
    fn a_refusal_has_the_same_fields_in_data_and_in_errors() {
        let refusal = model::Refusal::new(model::Code::PoolFull, "expected room").at("members[0]");
        let as_data = Refusal::from(&refusal);
        let as_error = describe(&refusal);
        assert_eq!(as_error["code"], as_data.code);
        assert_eq!(as_error["message"], as_data.message);
        assert_eq!(as_error["hint"], as_data.hint);
        assert_eq!(as_error["field"], as_data.field.unwrap());
        assert_eq!(as_error["retryable"], as_data.retryable);
    }
}
