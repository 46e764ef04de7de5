//! The life of a group, and so of each of its checkpoints, as a type whose values
//! are made by legal transitions only.

use serde::{Deserialize, Serialize};

use crate::{CheckpointId, Refusal};

/// Where a group stands on its way to tape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Accepted, nothing checked yet.
    Submitted,
    /// Checked, and every artifact pinned.
    Staged,
    /// Volume and capacity are reserved.
    Allocated,
    /// Its work items wait for the agent or are on their way to tape.
    Executing,
    /// Behind a synchronous filemark, with a proven position.
    Written,
    /// Read back from tape, all digests equal.
    Verified,
    /// In catalogue and ledger: restorable. Final.
    Committed,
    /// Refused before anything was written. Final.
    Rejected {
        /// Why.
        refusal: Refusal,
    },
    /// A newer request of the same lineage took its place. Final.
    Superseded {
        /// The first checkpoint of the group that took its place.
        by: CheckpointId,
    },
    /// The same content is, or is about to be, on tape under another id. Final.
    Merged {
        /// The checkpoint that stands for this one.
        into: CheckpointId,
    },
    /// Gave up after writing had begun; what was written is an abandoned span. Final.
    Failed {
        /// Why.
        refusal: Refusal,
    },
    /// Waits for an operator.
    Parked {
        /// Why.
        refusal: Refusal,
    },
}

impl State {
    /// The name of the state in API, CLI and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Staged => "staged",
            Self::Allocated => "allocated",
            Self::Executing => "executing",
            Self::Written => "written",
            Self::Verified => "verified",
            Self::Committed => "committed",
            Self::Rejected { .. } => "rejected",
            Self::Superseded { .. } => "superseded",
            Self::Merged { .. } => "merged",
            Self::Failed { .. } => "failed",
            Self::Parked { .. } => "parked",
        }
    }

    /// True where no transition leaves the state.
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Committed
                | Self::Rejected { .. }
                | Self::Superseded { .. }
                | Self::Merged { .. }
                | Self::Failed { .. }
        )
    }
}

/// What may happen to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifecycleEvent {
    /// All checks passed and all artifacts are pinned.
    Stage,
    /// A volume was chosen and capacity reserved. Also after a failed placement.
    Allocate,
    /// Work items were handed to the queue.
    Execute,
    /// Every work item is behind a synchronous filemark with a proven position.
    Write,
    /// Every digest was equal on read-back.
    Verify,
    /// Catalogue and ledger have it.
    Commit,
    /// Refused before writing.
    Reject(Refusal),
    /// A newer request took its place; possible until the agent claims the work.
    Supersede(CheckpointId),
    /// Another checkpoint has the same content; possible until allocation is done.
    Merge(CheckpointId),
    /// Gave up after writing began.
    Fail(Refusal),
    /// An operator has to decide.
    Park(Refusal),
    /// The operator said: go on. The group is placed again.
    Resume,
}

/// A transition that the life of a group does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a group that is {from} cannot {event}")]
pub struct IllegalTransition {
    /// The name of the state it is in.
    pub from: &'static str,
    /// What was to happen.
    pub event: &'static str,
}

/// A group's state together with the rule that only legal transitions change it.
///
/// Storage may hand a value back through serde; code can make one with
/// [`Lifecycle::submitted`] and [`Lifecycle::apply`] only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lifecycle(State);

impl Lifecycle {
    /// The beginning of every group.
    pub const fn submitted() -> Self {
        Self(State::Submitted)
    }

    /// Where the group stands.
    pub const fn state(&self) -> &State {
        &self.0
    }

    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalTransition`] where the state does not have that event.
    pub fn apply(&self, event: LifecycleEvent) -> Result<Self, IllegalTransition> {
        use LifecycleEvent as E;
        use State as S;
        let next = match (&self.0, event) {
            (S::Submitted, E::Stage) => S::Staged,
            // A placement that failed is given up and the group is placed anew.
            (S::Staged | S::Executing | S::Written | S::Verified, E::Allocate) => S::Allocated,
            (S::Allocated | S::Executing, E::Execute) => S::Executing,
            (S::Executing, E::Write) => S::Written,
            (S::Written, E::Verify) => S::Verified,
            (S::Verified, E::Commit) => S::Committed,
            (S::Submitted | S::Staged | S::Allocated, E::Reject(refusal)) => {
                S::Rejected { refusal }
            }
            (S::Submitted | S::Staged | S::Allocated | S::Executing, E::Supersede(by)) => {
                S::Superseded { by }
            }
            (S::Submitted | S::Staged, E::Merge(into)) => S::Merged { into },
            (
                S::Allocated | S::Executing | S::Written | S::Verified | S::Parked { .. },
                E::Fail(refusal),
            ) => S::Failed { refusal },
            (S::Allocated | S::Executing | S::Written | S::Verified, E::Park(refusal)) => {
                S::Parked { refusal }
            }
            (S::Parked { .. }, E::Resume) => S::Staged,
            (state, event) => {
                return Err(IllegalTransition {
                    from: state.name(),
                    event: event.name(),
                });
            }
        };
        Ok(Self(next))
    }
}

impl LifecycleEvent {
    const fn name(&self) -> &'static str {
        match self {
            Self::Stage => "be staged",
            Self::Allocate => "be allocated",
            Self::Execute => "be executed",
            Self::Write => "be written",
            Self::Verify => "be verified",
            Self::Commit => "be committed",
            Self::Reject(_) => "be rejected",
            Self::Supersede(_) => "be superseded",
            Self::Merge(_) => "be merged",
            Self::Fail(_) => "fail",
            Self::Park(_) => "be parked",
            Self::Resume => "be resumed",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Code;

    fn events() -> impl Strategy<Value = LifecycleEvent> {
        use LifecycleEvent as E;
        let id = CheckpointId::from_parts(1, &[0; 10]);
        let refusal = Refusal::new(Code::MediaError, "write error");
        prop::sample::select(vec![
            E::Stage,
            E::Allocate,
            E::Execute,
            E::Write,
            E::Verify,
            E::Commit,
            E::Reject(refusal.clone()),
            E::Supersede(id),
            E::Merge(id),
            E::Fail(refusal.clone()),
            E::Park(refusal),
            E::Resume,
        ])
    }

    proptest! {
        /// Committed is reached only through staged, allocated, written and verified,
        /// in that order since the last allocation, and nothing leaves a final state.
        #[test]
        fn committed_means_written_and_verified(story in prop::collection::vec(events(), 0..40)) {
            let mut life = Lifecycle::submitted();
            let mut since_allocation = Vec::new();
            for event in story {
                let was_final = life.state().is_final();
                if let Ok(next) = life.apply(event.clone()) {
                    prop_assert!(!was_final);
                    if event == LifecycleEvent::Allocate {
                        since_allocation.clear();
                    }
                    since_allocation.push(event);
                    life = next;
                }
            }
            if life.state() == &State::Committed {
                use LifecycleEvent as E;
                since_allocation.dedup();
                prop_assert_eq!(
                    since_allocation,
                    vec![E::Allocate, E::Execute, E::Write, E::Verify, E::Commit]
                );
            }
        }

        #[test]
        fn a_state_survives_its_json(story in prop::collection::vec(events(), 0..10)) {
            let life = story.into_iter().fold(Lifecycle::submitted(), |life, event| {
                life.apply(event).unwrap_or(life)
            });
            let text = serde_json::to_string(&life).unwrap();
            prop_assert_eq!(serde_json::from_str::<Lifecycle>(&text).unwrap(), life);
        }
    }
}
