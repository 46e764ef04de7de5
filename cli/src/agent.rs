//! `tapemark agent`: the tape agent in this process.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use tapemark_agent::AgentConfig;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// What `tapemark agent` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct AgentArgs {
    /// The agent's configuration, TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// End at once when standard input ends: the parent process is gone
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
}

/// Runs the agent until a signal says to stop.
///
/// # Errors
/// When the configuration, the journal or the hardware does not allow to begin.
pub(crate) async fn agent(args: AgentArgs) -> Result<(), Failure> {
    let config = AgentConfig::load(&args.config)?;
    if args.with_parent {
        // A thread of its own: the runtime would wait for a read that never ends.
        std::thread::spawn(die_with_parent);
    }
    tapemark_agent::run(config, stopped()?).await?;
    Ok(())
}

/// Ready when the process is asked to stop.
///
/// # Errors
/// When signals cannot be listened to.
pub(crate) fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let signal = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!(signal, "asked to stop");
    })
}

/// The parent holds the other end of standard input and never writes to it. When the
/// kernel closes it, the parent is dead, and an agent without its control plane would only
/// stand in the way of the next one. Ending like a crash is safe: an agent may be killed at
/// any moment.
fn die_with_parent() {
    let mut buffer = [0; 64];
    let mut stdin = std::io::stdin();
    while matches!(stdin.read(&mut buffer), Ok(n) if n > 0) {}
    tracing::warn!("the parent process is gone");
    std::process::exit(1);
}
