//! Logs of the long-running commands: JSON where nobody watches, text in a terminal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::Command;

/// The environment variable that says what to log.
const LOG: &str = "TAPEMARK_LOG";

/// Begins to log to standard error. Servers log from `info` on, other commands only what
/// `TAPEMARK_LOG` asks for.
pub(crate) fn start(command: &Command) {
    let default = match command {
        Command::Up(_) | Command::Agent(_) => "info",
        _ => "off",
    };
    let filter = EnvFilter::try_from_env(LOG).unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber is refused, which changes nothing.
    let _ = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().try_init()
    };
}
