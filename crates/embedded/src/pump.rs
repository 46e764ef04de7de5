//! Carries effects from the catalogue to the runner, and sweeps.
//!
//! An effect is written in the same transaction as the state change it follows from, so it
//! cannot be lost; it is forgotten only after the runner took it, so it may come twice,
//! which the runner does not mind.

use std::time::Duration;

use control::{Control, Effect};
use model::Refusal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Runner, RunnerError};

/// The most effects taken up at a time; all of them go into few flushes of the disk.
const BATCH: u32 = 256;
/// How long to wait after the catalogue could not be asked.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells effects until cancelled: when the bell rings, and at least every `poll`.
pub(crate) async fn tell_effects(
    control: Control,
    runner: Runner,
    poll: Duration,
    stop: CancellationToken,
) {
    let bell = control.effects_bell();
    loop {
        // Registered before the look, so that a ring during it is heard.
        let rung = bell.notified();
        tokio::pin!(rung);
        rung.as_mut().enable();
        let wait = match drain(&control, &runner, &stop).await {
            Ok(()) => poll,
            Err(refusal) => {
                tracing::warn!(%refusal, "effects could not be told");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => continue,
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = rung => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn drain(
    control: &Control,
    runner: &Runner,
    stop: &CancellationToken,
) -> Result<(), Refusal> {
    while !stop.is_cancelled() {
        let effects = control.pending_effects(BATCH).await?;
        if effects.is_empty() {
            return Ok(());
        }
        let mut telling = JoinSet::new();
        for (id, effect) in effects {
            let runner = runner.clone();
            telling.spawn(async move { tell(&runner, effect).await.map(|()| id) });
        }
        let mut told = Vec::new();
        let mut failed = None;
        while let Some(outcome) = telling.join_next().await {
            match outcome {
                Ok(Ok(id)) => told.push(id),
                Ok(Err(error)) => failed = Some(error.to_string()),
                Err(panic) => failed = Some(panic.to_string()),
            }
        }
        if !told.is_empty() {
            control.effects_told(&told).await?;
        }
        if let Some(why) = failed {
            return Err(Refusal::new(model::Code::Transient, why));
        }
    }
    Ok(())
}

/// Tells one effect. An error means: not told, try again.
async fn tell(runner: &Runner, effect: Effect) -> Result<(), RunnerError> {
    let outcome = match effect {
        Effect::StartRun { run, input } => runner.start_execution(&run, input).await.map(drop),
        Effect::TaskSucceeded { token, output } => {
            runner.task_succeeded(&token, output).await.map(drop)
        }
        Effect::TaskFailed {
            token,
            error,
            cause,
        } => runner.task_failed(&token, error, cause).await.map(drop),
    };
    match outcome {
        Err(error @ RunnerError::Unavailable(_)) => Err(error),
        // The same answer would come for ever: say so, and let the others pass.
        Err(error) => {
            tracing::error!(%error, "an effect cannot be carried out");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Sweeps every `every` until cancelled.
pub(crate) async fn sweep(
    control: Control,
    runner: Runner,
    every: Duration,
    keep: jiff::SignedDuration,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(refusal) = control.sweep().await {
            tracing::warn!(%refusal, "the sweep failed");
        }
        let before = jiff::Timestamp::now().saturating_sub(keep);
        match before.map(|before| runner.forget_ended(before, 100)) {
            Ok(forgetting) => {
                if let Err(error) = forgetting.await {
                    tracing::warn!(%error, "old executions could not be forgotten");
                }
            }
            Err(error) => tracing::warn!(%error, "the clock is out of range"),
        }
    }
}
