//! `tapemark-agent`: the tape agent as a daemon.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tapemark_agent::AgentConfig;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Drives a tape library for Tapemark.
///
/// Stops on SIGTERM or SIGINT after the batches under way are durable and reported. May be
/// killed at any moment: the next start finds what is on tape.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Arguments {
    /// The configuration, TOML
    #[arg(
        long,
        value_name = "FILE",
        env = "TAPEMARK_AGENT_CONFIG",
        required = true
    )]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Order>,
}

/// What to do instead of driving the library.
#[derive(Subcommand)]
enum Order {
    /// Make a key and have it taken by the control plane; may be done again
    Enrol {
        /// Where the control plane is; the configuration may say it
        #[arg(long)]
        url: Option<String>,
        /// The code, as `tapemark agent enrol-code` shows it
        #[arg(long, env = "TAPEMARK_ENROL_CODE", hide_env_values = true)]
        code: String,
        /// Certificates (PEM) to trust besides the system's
        #[arg(long, value_name = "FILE")]
        ca_file: Option<PathBuf>,
        /// The configuration, begun where there is none
        #[arg(long, value_name = "FILE", env = "TAPEMARK_AGENT_CONFIG")]
        config: PathBuf,
    },
    /// Change the key; the agent may run meanwhile, and it may be done again
    Rotate {
        /// The configuration
        #[arg(long, value_name = "FILE", env = "TAPEMARK_AGENT_CONFIG")]
        config: PathBuf,
    },
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
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    match (arguments.command, arguments.config) {
        (Some(order), _) => runtime.block_on(carry_out(order)),
        (None, Some(config)) => {
            let config = AgentConfig::load(&config)?;
            runtime.block_on(async { tapemark_agent::run(config, stopped()?).await })
        }
        (None, None) => anyhow::bail!("--config: expected the agent's configuration"),
    }
}

async fn carry_out(order: Order) -> anyhow::Result<()> {
    let text = match order {
        Order::Enrol {
            url,
            code,
            ca_file,
            config,
        } => {
            let enrolled =
                tapemark_agent::enrol(url.as_deref(), &code, ca_file.as_deref(), &config).await?;
            let config = config.display();
            let next = if enrolled.wrote_config {
                format!("Fill in {config}, then run: tapemark-agent --config {config}")
            } else {
                format!("Now run: tapemark-agent --config {config}")
            };
            format!(
                "agent {} is enrolled for library {}; its key is {}\n{next}\n",
                enrolled.agent,
                enrolled.library,
                enrolled.key_file.display()
            )
        }
        Order::Rotate { config } => {
            let answer = tapemark_agent::rotate(&config).await?;
            format!(
                "the key is changed; the one before is good until {:.0}\n",
                answer.previous_until
            )
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
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
