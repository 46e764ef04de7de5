//! Where the stack is and who asks: flags, then environment, then the files that
//! `tapemark up` leaves in its data directory.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;

/// The file with the URL of the running stack.
pub(crate) const URL_FILE: &str = "url";
/// The file with the operator's token.
pub(crate) const TOKEN_FILE: &str = "keys/operator.token";

/// How to reach the stack.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConnectionArgs {
    /// URL of the stack [default: what `tapemark up` left in the data directory]
    #[arg(long, env = "TAPEMARK_URL", global = true, help_heading = "Connection")]
    pub(crate) url: Option<String>,
    /// Bearer token [default: the operator token in the data directory]
    #[arg(
        long,
        env = "TAPEMARK_TOKEN",
        hide_env_values = true,
        global = true,
        help_heading = "Connection"
    )]
    pub(crate) token: Option<String>,
    /// Data directory of `tapemark up` [default: ./.tapemark if there, else
    /// ~/.local/share/tapemark]
    #[arg(
        long,
        env = "TAPEMARK_DATA",
        global = true,
        value_name = "DIR",
        help_heading = "Connection"
    )]
    pub(crate) data: Option<PathBuf>,
}

/// Where the stack is and what to say to be let in.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Without a slash at the end.
    pub(crate) url: String,
    /// The bearer token.
    pub(crate) token: Option<String>,
}

impl ConnectionArgs {
    /// The data directory: named, or `./.tapemark` where there is one, or the user's.
    pub(crate) fn data_dir(&self) -> PathBuf {
        if let Some(dir) = &self.data {
            return dir.clone();
        }
        let here = PathBuf::from(".tapemark");
        if here.is_dir() {
            return here;
        }
        let share = std::env::var_os("XDG_DATA_HOME")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")));
        share.map_or(here, |share| share.join("tapemark"))
    }

    /// Where the stack is.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] where no URL is known at all.
    pub(crate) fn find(&self) -> Result<Connection, Failure> {
        let dir = self.data_dir();
        let read = |name: &str| {
            std::fs::read_to_string(dir.join(name))
                .ok()
                .map(|text| text.trim().to_owned())
        };
        let url = self.url.clone().or_else(|| read(URL_FILE)).ok_or_else(|| {
            Failure::Unreachable(format!(
                "expected the URL of a stack in --url, TAPEMARK_URL or {}, found none",
                dir.join(URL_FILE).display()
            ))
        })?;
        // The token of one stack is not shown to another.
        let own = self.url.is_none() || read(URL_FILE).as_deref() == self.url.as_deref();
        let token = self
            .token
            .clone()
            .or_else(|| own.then(|| read(TOKEN_FILE)).flatten());
        Ok(Connection {
            url: url.trim_end_matches('/').to_owned(),
            token,
        })
    }
}
