//! The stream of the table: effects are told to the state machine, leaves of the ledger are
//! published as CloudEvents.
//!
//! Records of a shard come in order and are dealt with in order. The first that cannot be
//! dealt with now ends the batch: its sequence number is the answer, and Lambda sends it and
//! all after it again (`ReportBatchItemFailures`). A record that can never be read is logged
//! as an error, counted and passed over, or nothing after it would ever be dealt with. What
//! was told stays told: all of it may come twice, to machines and consumers that do not mind.

mod cloudevent;
mod record;

use async_trait::async_trait;
use control::{Control, Effect, Leaf, News};
use lambda::{Failure, Function, Tally};
use lambda_runtime::LambdaEvent;
use model::{Code, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use cloudevent::{CloudEvent, SOURCE};

/// Who hears of it.
#[async_trait]
pub trait Listeners: Send + Sync {
    /// Tells the state machine one effect; false where it can never be told.
    ///
    /// # Errors
    /// Where it may be told later.
    async fn tell(&self, effect: Effect) -> Result<bool, Refusal>;

    /// Publishes events; false for what can never be published.
    ///
    /// # Errors
    /// Where any of them may be published later; some of them may be on the bus.
    async fn publish(&self, events: Vec<CloudEvent>) -> Result<bool, Refusal>;
}

/// A batch of the stream. Records are read one by one: one that is damaged must not take
/// the others with it.
#[derive(Clone, Debug, Deserialize)]
pub struct Batch {
    /// In the order of the shard.
    #[serde(rename = "Records")]
    pub records: Vec<Value>,
}

/// What has to come again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// None, or the first.
    pub batch_item_failures: Vec<Item>,
}

/// One record by its sequence number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The sequence number.
    pub item_identifier: String,
}

/// One invocation.
///
/// # Errors
/// `Transient` where the function's time was over: the whole batch comes again. Also where
/// the first record that failed has no number to be named by.
pub async fn events(
    function: &Function,
    control: &Control,
    listeners: &dyn Listeners,
    event: LambdaEvent<Batch>,
) -> Result<Left, Failure> {
    let (batch, context) = event.into_parts();
    function
        .invoke(&context, "batch", async |tally| {
            let mut told = Vec::new();
            let stopped = deal(listeners, &batch.records, &mut told, tally).await;
            // What is not forgotten now is told again by the sweep, which does no harm.
            if let Err(refusal) = control.effects_told(&told).await {
                tracing::warn!(%refusal, "effects were told and not forgotten");
            }
            match stopped {
                None => Ok(Left::default()),
                Some((at, refusal)) => match record::sequence(&batch.records[at]) {
                    Some(number) => Ok(Left {
                        batch_item_failures: vec![Item {
                            item_identifier: number.to_owned(),
                        }],
                    }),
                    None => Err(refusal),
                },
            }
        })
        .await
}

/// Deals with records in order, up to the first that has to come again.
async fn deal(
    listeners: &dyn Listeners,
    records: &[Value],
    told: &mut Vec<String>,
    tally: &mut Tally,
) -> Option<(usize, Refusal)> {
    for (at, record) in records.iter().enumerate() {
        let news = match record::news(record) {
            Ok(news) => news,
            Err(refusal) => {
                let number = record::sequence(record);
                tracing::error!(number, %refusal, "a record of the stream is passed over");
                tally.count("Undecodable", 1);
                continue;
            }
        };
        let dealt = match news {
            News::Effect(id, effect) => tell(listeners, id, effect, told, tally).await,
            News::Leaves(leaves) => publish(listeners, leaves, tally).await,
            News::Other => Ok(()),
        };
        if let Err(refusal) = dealt {
            tracing::warn!(number = record::sequence(record), %refusal, "the batch stops here");
            return Some((at, refusal));
        }
    }
    None
}

async fn tell(
    listeners: &dyn Listeners,
    id: String,
    effect: Effect,
    told: &mut Vec<String>,
    tally: &mut Tally,
) -> Result<(), Refusal> {
    match listeners.tell(effect).await {
        Ok(true) => {
            tally.of("tell").count("Done", 1);
            tally.count("EffectsTold", 1);
            told.push(id);
        }
        // Told or not, it ends here: nobody could ever do better. The run waits, and its
        // own time limit ends it.
        Ok(false) => {
            tally.count("EffectsRefused", 1);
            told.push(id);
        }
        Err(refusal) => {
            tally.of("tell").refused(&refusal);
            return Err(refusal);
        }
    }
    Ok(())
}

async fn publish(
    listeners: &dyn Listeners,
    leaves: Vec<Leaf>,
    tally: &mut Tally,
) -> Result<(), Refusal> {
    let count = leaves.len() as u64;
    let events = leaves.into_iter().map(CloudEvent::of).collect();
    match listeners.publish(events).await {
        Ok(true) => {
            tally.of("publish").count("Done", 1);
            tally.count("LeavesPublished", count);
            Ok(())
        }
        Ok(false) => {
            tally.count("LeavesRefused", 1);
            Ok(())
        }
        Err(refusal) => {
            tally.of("publish").refused(&refusal);
            Err(refusal)
        }
    }
}

/// A record that is none.
fn damaged(what: &str) -> Refusal {
    Refusal::new(Code::Internal, format!("stream record: expected {what}"))
}
