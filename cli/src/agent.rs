//! `tapemark agent`: the tape agent in this process, and what operators do with agents.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use tapemark_agent::AgentConfig;
use tokio::signal::unix::{SignalKind, signal};

use crate::client::Client;
use crate::client::types::{Agent, EnrolmentCode};
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::out::{Out, Style, table};

/// What `tapemark agent` is told.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct AgentArgs {
    /// The agent's configuration, TOML: runs the agent, until interrupted
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) config: Option<PathBuf>,
    /// End at once when standard input ends: the parent process is gone
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
    #[command(subcommand)]
    pub(crate) command: Option<AgentCommand>,
}

/// What an operator does with agents.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum AgentCommand {
    /// Issue a code with which an agent enrols once, within an hour; shown once
    EnrolCode {
        /// The agent's name
        agent: String,
        /// The library it is to drive; the installation's own unless said otherwise
        #[arg(long, value_name = "LIBRARY")]
        library: Option<String>,
    },
    /// List all agents: their state, their keys, when they were heard
    List,
    /// Take an agent's right to speak; it takes effect within five seconds
    Revoke {
        /// The agent's name
        agent: String,
    },
}

/// The fields of an agent, as a selection set.
const FIELDS: &str = "id library state keys { key since until } createdAt changedAt lastSeen \
                      codeExpiresAt";

/// Carries out `tapemark agent`.
///
/// # Errors
/// As [`Client::ask`]; for the agent itself, when the configuration, the journal or the
/// hardware does not allow to begin.
pub(crate) async fn agent(
    out: &Out,
    connection: &ConnectionArgs,
    args: AgentArgs,
) -> Result<(), Failure> {
    match (args.command, args.config) {
        (Some(command), _) => manage(out, &Client::new(connection.find()?)?, command).await,
        (None, Some(config)) => run(&config, args.with_parent).await,
        (None, None) => Err(Failure::Usage(
            "--config: expected the agent's configuration".to_owned(),
        )),
    }
}

async fn manage(out: &Out, client: &Client, command: AgentCommand) -> Result<(), Failure> {
    match command {
        AgentCommand::EnrolCode { agent, library } => {
            let order = "mutation($a: String!, $l: String) { createEnrolmentCode(agent: $a, \
                         library: $l) { agent library code expiresAt } }";
            let code: EnrolmentCode = client
                .ask(
                    "createEnrolmentCode",
                    order,
                    json!({ "a": agent, "l": library }),
                )
                .await?;
            out.note(&format!(
                "good once, until {}; on the agent's machine:\n  tapemark-agent enrol --url {} \
                 --config agent.toml --code {}",
                code.expires_at,
                client.url(),
                code.code
            ));
            out.show(&code, |_| format!("{}\n", code.code))
        }
        AgentCommand::List => {
            let query = format!("{{ agents {{ {FIELDS} }} }}");
            let list: Vec<Agent> = client.ask("agents", &query, json!({})).await?;
            out.show(&json!({ "agents": list }), |style| rows(style, &list))
        }
        AgentCommand::Revoke { agent } => {
            let order =
                format!("mutation($a: String!) {{ revokeAgent(agent: $a) {{ {FIELDS} }} }}");
            let agent: Agent = client
                .ask("revokeAgent", &order, json!({ "a": agent }))
                .await?;
            out.show(&agent, |_| {
                format!(
                    "{} revoked; it is refused within 5 s, and its drives are free once its \
                     leases run out\n",
                    agent.id
                )
            })
        }
    }
}

fn rows(style: Style, list: &[Agent]) -> String {
    let rows: Vec<Vec<String>> = list
        .iter()
        .map(|agent| {
            let key = agent.keys.first().map(|held| held.key.as_str());
            vec![
                agent.id.clone(),
                agent.library.clone(),
                agent.state.to_lowercase(),
                key.unwrap_or_default().chars().take(16).collect(),
                agent.last_seen.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(
        style,
        &["AGENT", "LIBRARY", "STATE", "KEY", "LAST SEEN"],
        &rows,
    )
}

/// Runs the agent until a signal says to stop.
async fn run(config: &Path, with_parent: bool) -> Result<(), Failure> {
    let config = AgentConfig::load(config)?;
    if with_parent {
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
