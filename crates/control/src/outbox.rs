//! What the workflow engine has to be told: written with the state change that causes
//! it, deleted once told. Telling is at least once; each effect may be told twice.

use model::{Code, Refusal, RunId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalogue::{Answer, Record, Tx};
use crate::ports::{Condition, Index, Key, MAX_WRITES, SortKeys};
use crate::{Control, keys};

/// Something that has to be told to the workflow engine, durable until told.
/// `Debug` leaves task tokens out: who has one can end the task.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Start the state machine. Telling it twice starts one run: the name is the key.
    StartRun {
        /// The run's name.
        run: RunId,
        /// The execution's input.
        input: Value,
    },
    /// SendTaskSuccess. The token may have been answered before, or be of a task that is
    /// over: that is no error.
    TaskSucceeded {
        /// The task token.
        token: String,
        /// The task's output.
        output: Value,
    },
    /// SendTaskFailure. As with success, an old token is no error.
    TaskFailed {
        /// The task token.
        token: String,
        /// The error name: a code such as `Tapemark.MediaError`.
        error: String,
        /// What happened, for humans.
        cause: String,
    },
}

impl std::fmt::Debug for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Its input names run and group only.
            Self::StartRun { run, .. } => write!(f, "StartRun({run})"),
            Self::TaskSucceeded { output, .. } => write!(f, "TaskSucceeded({output})"),
            Self::TaskFailed { error, .. } => write!(f, "TaskFailed({error})"),
        }
    }
}

impl Effect {
    pub(crate) fn failed(token: String, refusal: &Refusal) -> Self {
        Self::TaskFailed {
            token,
            error: refusal.code.to_string(),
            cause: refusal.message.clone(),
        }
    }
}

/// An effect as it lies in the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EffectRecord {
    pub(crate) id: String,
    pub(crate) effect: Effect,
}

impl Record for EffectRecord {
    fn key(&self) -> Key {
        Key::new(keys::OUTBOX, self.id.clone())
    }
}

impl Control {
    /// Effects not told yet, oldest first, at most `limit` (1 to 1,000).
    ///
    /// # Errors
    /// `Transient` where the catalogue could not be asked.
    pub async fn pending_effects(&self, limit: u32) -> Answer<Vec<(String, Effect)>> {
        let records = self
            .first::<EffectRecord>(
                Index::Main,
                keys::OUTBOX.to_owned(),
                SortKeys::All,
                limit.clamp(1, 1000),
            )
            .await?;
        Ok(records
            .into_iter()
            .map(|seen| (seen.value.id, seen.value.effect))
            .collect())
    }

    /// Forgets effects that were told. Forgetting twice is no error.
    ///
    /// # Errors
    /// `InvalidRequest` for more than 1,000 ids; `Transient` where the catalogue could
    /// not be asked.
    pub async fn effects_told(&self, ids: &[String]) -> Answer<()> {
        if ids.len() > 1000 {
            return Err(Refusal::new(
                Code::InvalidRequest,
                format!("expected at most 1,000 ids, found {}", ids.len()),
            ));
        }
        for ids in ids.chunks(MAX_WRITES) {
            let mut tx = Tx::new();
            for id in ids {
                tx.delete(Key::new(keys::OUTBOX, id.clone()), Condition::None);
            }
            self.transact(tx).await?;
        }
        Ok(())
    }
}
