//! The command line.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::agent::AgentArgs;
use crate::command::asl::AslCommand;
use crate::command::checkpoint::{
    GroupCommand, ListArgs, ParkedDecision, RunCommand, StatusArgs, VerifyArgs,
};
use crate::command::installation::TokenCommand;
use crate::command::ledger::LedgerCommand;
use crate::command::library::{DriveCommand, PoolCommand, VolumeCommand};
use crate::command::resolver::ResolverCommand;
use crate::command::service::ServiceCommand;
use crate::connection::ConnectionArgs;
use crate::demo::DemoArgs;
use crate::restore::RestoreArgs;
use crate::submit::SubmitArgs;
use crate::up::UpArgs;

/// Tapemark makes a release restorable: it writes the exact deployment artifacts of your
/// services onto tape, reads them back, and brings them back when they are needed.
#[derive(Parser, Debug)]
#[command(name = "tapemark", version, max_term_width = 100)]
#[command(after_help = "\
Begin with:
  tapemark demo                                   see it all happen, nothing to set up
  tapemark up --allow-root .                      run it on this machine
  tapemark service register payments
  tapemark submit --service payments --version 1.0 --wait build/
  tapemark restore ID --to DIR

Exit codes:
  0  done
  1  refused, failed, or not as expected
  2  the command line is wrong
  3  the stack does not answer
  4  the token is missing, unknown, or not for this
  5  --timeout passed before the work was done
  6  bytes are not the bytes of the catalogue

Environment:
  TAPEMARK_URL, TAPEMARK_TOKEN, TAPEMARK_DATA     as --url, --token, --data
  TAPEMARK_LOG                                    what to log, as in info or control=debug
  NO_COLOR                                        no colours")]
pub(crate) struct Cli {
    /// One JSON document on standard output; reasons as JSON on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// See it all happen: hundreds of services to a simulated library and back
    Demo(DemoArgs),
    /// Run the whole stack on this machine, until interrupted
    Up(UpArgs),
    /// Submit the artifacts of one service, or of several together
    Submit(SubmitArgs),
    /// Show a checkpoint, a group, or the installation
    Status(StatusArgs),
    /// List checkpoints, newest first
    List(ListArgs),
    /// Bring artifacts back from tape, and prove them
    Restore(RestoreArgs),
    /// Have a checkpoint read back from tape and compared again
    Verify(VerifyArgs),
    /// Call off what the agent has not begun
    Cancel {
        /// The id of the group, or of one of its checkpoints
        id: String,
    },
    /// Decide a parked group
    Decide {
        /// The id of the group, or of one of its checkpoints
        id: String,
        /// What is to become of it
        decision: ParkedDecision,
    },
    /// Groups
    #[command(subcommand)]
    Group(GroupCommand),
    /// Runs of the state machine
    #[command(subcommand)]
    Run(RunCommand),
    /// Services
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Volumes
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Drives
    #[command(subcommand)]
    Drive(DriveCommand),
    /// Pools of volumes
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Conflict resolvers
    #[command(subcommand)]
    Resolver(ResolverCommand),
    /// The append-only log of what was committed
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Bearer tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Agents that drive libraries: enrol, list, revoke; with --config, run one
    Agent(AgentArgs),
    /// The state machine engine
    #[command(subcommand)]
    Asl(AslCommand),
    /// Write completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the manual page
    #[command(hide = true)]
    Man,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "submit",
            "submit --service a --version 1",
            "submit --service a x",
            "submit --group a=1:x --service b --version 1",
            "submit --service a --version 1 --priority 10 x",
            "token create ci",
            "token create ci --operator --service a",
            "status --wait",
            "decide x maybe",
        ] {
            let words = std::iter::once("tapemark").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
        for line in [
            "submit --service a --version 1 x y --wait",
            "submit --group a=1:x b=2:y --wait --json",
            "submit --group release.toml",
            "--json list",
            "token create ci --service a --service b",
        ] {
            let words = std::iter::once("tapemark").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
