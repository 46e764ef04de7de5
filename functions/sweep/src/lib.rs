//! What is done every minute so that nothing stays stuck: sessions whose lease ran out are
//! ended, and effects that the stream did not deliver are told.

use async_trait::async_trait;
use control::{Control, Effect};
use lambda::{Failure, Function, Tally};
use lambda_runtime::LambdaEvent;
use model::Refusal;
use serde_json::{Value, json};

/// At most so many effects in one go: at some 30 ms each within the minute.
const AT_ONCE: u32 = 256;

/// Who is told.
#[async_trait]
pub trait Machine: Send + Sync {
    /// Tells one effect; false where it can never be told.
    ///
    /// # Errors
    /// Where it may be told later.
    async fn tell(&self, effect: Effect) -> Result<bool, Refusal>;
}

/// One invocation.
///
/// # Errors
/// `Transient` where the catalogue or the state machine could not be asked, after everything
/// else was done; the next minute goes on.
pub async fn sweep(
    function: &Function,
    control: &Control,
    machine: &dyn Machine,
    event: LambdaEvent<Value>,
) -> Result<Value, Failure> {
    function
        .invoke(&event.context, "sweep", async |tally| {
            // Each does what it can whatever became of the other.
            let swept = control.sweep().await;
            let told = tell(control, machine, tally).await;
            swept?;
            Ok(json!({ "told": told? }))
        })
        .await
}

async fn tell(control: &Control, machine: &dyn Machine, tally: &mut Tally) -> Result<u64, Refusal> {
    let mut told = Vec::new();
    let mut failed = None;
    for (id, effect) in control.pending_effects(AT_ONCE).await? {
        match machine.tell(effect).await {
            Ok(true) => told.push(id),
            // Nobody could ever do better; the run's own time limit ends it.
            Ok(false) => {
                tally.count("EffectsRefused", 1);
                told.push(id);
            }
            Err(refusal) => {
                tracing::warn!(effect = id, %refusal, "an effect was not told");
                tally.of("tell").refused(&refusal);
                failed = Some(refusal);
            }
        }
    }
    control.effects_told(&told).await?;
    tally.count("EffectsTold", told.len() as u64);
    failed.map_or(Ok(told.len() as u64), Err)
}
