//! The agent as a whole: one worker a drive, one watch over the slots, one way to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use model::work::Inventory;
use model::{AgentId, Refusal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::config::{AgentConfig, BatchLimits, ControlConfig, LibraryConfig, Pace, Timing};
use crate::data::{DataPath, Keys};
use crate::identity;
use crate::journal::Journal;
use crate::kill::KillPoints;
use crate::lease::Clock;
use crate::library::{Hardware, Library};
use crate::protocol::{CallError, ControlPlane, HttpControl};
use crate::simulated;
use crate::worker::drive_worker;

/// What all parts of one agent share.
pub(crate) struct Context {
    pub(crate) agent: AgentId,
    /// This life of the agent.
    pub(crate) instance: String,
    pub(crate) control: Arc<dyn ControlPlane>,
    pub(crate) library: Library,
    pub(crate) journal: Arc<Journal>,
    pub(crate) data: DataPath,
    pub(crate) batch: BatchLimits,
    pub(crate) pace: Pace,
    pub(crate) clock: Clock,
    pub(crate) kill: KillPoints,
    pub(crate) stop: watch::Receiver<bool>,
    /// Something was moved: look at the slots.
    pub(crate) moved: Notify,
}

impl Context {
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    pub(crate) async fn until_stopping(&self) {
        // An error means that the sender is gone, which is a stop too.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// Waits, unless the agent stops first.
    pub(crate) async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.until_stopping() => {}
        }
    }
}

/// What an agent works with. [`run`] makes them from a configuration; tests bring their own.
pub struct Parts {
    /// The control plane.
    pub control: Arc<dyn ControlPlane>,
    /// The library's transports.
    pub hardware: Hardware,
    /// The time.
    pub clock: Clock,
    /// Where to die, in tests.
    pub kill: KillPoints,
}

/// Runs an agent until `shutdown` is ready: then every drive finishes its batch, makes it
/// durable, reports it and lets its volume go. May be killed at any moment instead.
///
/// # Errors
/// When the configuration, the journal or the hardware does not allow to begin, and when a
/// part of the agent panicked.
pub async fn run(config: AgentConfig, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let ControlConfig {
        url,
        key_file,
        ca_file,
    } = &config.control;
    let key = identity::load(key_file)?;
    let control = HttpControl::new(url, config.agent.clone(), key, ca_file.as_deref())?;
    let control = control.with_key_file(key_file);
    let parts = Parts {
        control: Arc::new(control),
        hardware: simulated::open(&config.library)?,
        clock: Arc::new(Timestamp::now),
        kill: KillPoints::from_env().map_err(anyhow::Error::msg)?,
    };
    run_with(config, parts, shutdown).await
}

/// [`run`] with parts of the caller's making.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    config: AgentConfig,
    parts: Parts,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    config.check()?;
    let (journal, left_open) = Journal::open(&config.journal_dir)?;
    for session in left_open {
        tracing::info!(%session, "an earlier life was cut off in this session");
    }
    let library = Library::new(config.library.id().clone(), parts.hardware)
        .with_context(|| format!("asking the drives of library {}", config.library.id()))?;
    let keys = Keys::load(&config.recipients, config.identity_file.as_deref())?;
    let mut instance = [0; 16];
    getrandom::fill(&mut instance).map_err(|error| anyhow::anyhow!("random numbers: {error}"))?;
    let (stop_sender, stop) = watch::channel(false);
    let mut batch = config.batch;
    if matches!(&config.library, LibraryConfig::Simulated(sim) if sim.timing == Timing::Off) {
        // A simulated filemark costs nothing; do not wait for a first measurement to say so.
        batch.sync_cost = Duration::ZERO;
    }
    let ctx = Arc::new(Context {
        agent: config.agent.clone(),
        instance: hex::encode(instance),
        control: parts.control,
        library,
        journal: Arc::new(journal),
        data: DataPath::new(
            keys,
            &config.restore_roots,
            config.control.ca_file.as_deref(),
        )?,
        batch,
        pace: config.pace,
        clock: parts.clock,
        kill: parts.kill,
        stop,
        moved: Notify::new(),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(run_parts(Arc::clone(&ctx)));
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown, if !*stop_sender.borrow() => {
                tracing::info!("stopping: batches under way are finished first");
                stop_sender.send_replace(true);
            }
            ended = tasks.join_next() => match ended {
                Some(result) => result.context("a part of the agent failed")??,
                None => return Ok(()),
            }
        }
    }
}

/// Reports the inventory, then works with all drives, and goes on watching the slots.
async fn run_parts(ctx: Arc<Context>) -> anyhow::Result<()> {
    let mut last = None;
    let mut wait = Duration::from_millis(100);
    while !ctx.is_stopping() && !report_inventory(&ctx, &mut last).await {
        ctx.pause(wait).await;
        wait = (wait * 2).min(Duration::from_secs(10));
    }
    let mut workers = JoinSet::new();
    for drive in ctx.library.drives() {
        workers.spawn(drive_worker(Arc::clone(&ctx), drive.clone()));
    }
    loop {
        tokio::select! {
            ended = workers.join_next() => match ended {
                Some(result) => result.context("a drive's worker failed")?,
                None => return Ok(()),
            },
            () = watch_for_change(&ctx), if !ctx.is_stopping() => {
                report_inventory(&ctx, &mut last).await;
            }
        }
    }
}

async fn watch_for_change(ctx: &Context) {
    tokio::select! {
        () = ctx.moved.notified() => {}
        () = tokio::time::sleep(ctx.pace.inventory) => {}
        () = ctx.until_stopping() => {}
    }
}

/// Looks at the library and reports what stands where, if it changed. True when the
/// control plane knows.
async fn report_inventory(ctx: &Arc<Context>, last: &mut Option<Inventory>) -> bool {
    let looking = Arc::clone(ctx);
    let seen = tokio::task::spawn_blocking(move || looking.library.inventory()).await;
    let (slots, drives) = match seen {
        Ok(Ok(seen)) => seen,
        Ok(Err(refusal)) => {
            tracing::error!(%refusal, "the changer does not say what stands where");
            return false;
        }
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let question = Inventory {
        agent: ctx.agent.clone(),
        library: ctx.library.id().clone(),
        slots,
        drives,
        native_capacity: ctx.library.native_capacity(),
    };
    if last.as_ref() == Some(&question) {
        return true;
    }
    match ctx.control.inventory(&question).await {
        Ok(answer) => {
            if !answer.registered.is_empty() {
                tracing::info!(volumes = ?answer.registered, "registered");
            }
            if !answer.missing.is_empty() {
                tracing::warn!(volumes = ?answer.missing, "missing from the library");
            }
            *last = Some(question);
            true
        }
        Err(CallError::Refused(refusal)) => complain(&refusal),
        Err(error) => {
            tracing::warn!(%error, "the inventory was not reported");
            false
        }
    }
}

fn complain(refusal: &Refusal) -> bool {
    tracing::error!(%refusal, hint = refusal.code.hint(), "the control plane refused the inventory");
    false
}
