//! `tapemark-agent`: the tape agent as a daemon.

use std::future::Future;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use tapemark_agent::AgentConfig;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Drives a tape library for Tapemark.
///
/// Stops on SIGTERM or SIGINT after the batches under way are durable and reported. May be
/// killed at any moment: the next start finds what is on tape.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, TOML
    #[arg(long, value_name = "FILE", env = "TAPEMARK_AGENT_CONFIG")]
    config: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().init();
    }
    let config = AgentConfig::load(&arguments.config)?;
    tokio::runtime::Runtime::new()
        .context("starting the runtime")?
        .block_on(async { tapemark_agent::run(config, stopped()?).await })
}

fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
