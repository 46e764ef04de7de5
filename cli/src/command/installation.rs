//! The installation itself: `token`, `completions`, `man`.

use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;
use serde_json::json;

use crate::client::Client;
use crate::client::types::{NewToken, Token};
use crate::failure::Failure;
use crate::out::{Out, table};

/// What `tapemark token` is told.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum TokenCommand {
    /// Make a token; its text is shown once
    Create {
        /// Its name
        name: String,
        /// A service it may act for, may be given several times
        #[arg(long, value_name = "NAME", required_unless_present = "operator")]
        service: Vec<String>,
        /// It may do everything
        #[arg(long, conflicts_with = "service")]
        operator: bool,
    },
    /// List all tokens, without their texts
    List,
    /// Forget a token
    Revoke {
        /// Its name
        name: String,
    },
}

/// Carries out `tapemark token`.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn token(
    out: &Out,
    client: &Client,
    command: TokenCommand,
) -> Result<(), Failure> {
    match command {
        TokenCommand::Create {
            name,
            service,
            operator,
        } => {
            let scope = if operator {
                json!({ "operator": true })
            } else {
                json!({ "services": service })
            };
            let order = "mutation($n: String!, $s: ScopeInput!) { \
                         createToken(name: $n, scope: $s) { name token } }";
            let token: NewToken = client
                .ask("createToken", order, json!({ "n": name, "s": scope }))
                .await?;
            out.show(&token, |_| format!("{}\n", token.token))
        }
        TokenCommand::List => {
            let query = "{ tokens { name operator services createdAt } }";
            let list: Vec<Token> = client.ask("tokens", query, json!({})).await?;
            out.show(&json!({ "tokens": list }), |style| {
                let rows: Vec<Vec<String>> = list
                    .iter()
                    .map(|token| {
                        let scope = if token.operator {
                            "everything".to_owned()
                        } else {
                            token.services.join(",")
                        };
                        vec![token.name.clone(), scope, token.created_at.clone()]
                    })
                    .collect();
                table(style, &["TOKEN", "FOR", "CREATED"], &rows)
            })
        }
        TokenCommand::Revoke { name } => {
            let order = "mutation($n: String!) { revokeToken(name: $n) }";
            let revoked: bool = client
                .ask("revokeToken", order, json!({ "n": name }))
                .await?;
            out.show(&json!({ "name": name, "revoked": revoked }), |_| {
                format!("{name} revoked\n")
            })
        }
    }
}

/// Writes completions for a shell.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn completions(out: &Out, shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(
        shell,
        &mut crate::args::Cli::command(),
        "tapemark",
        &mut text,
    );
    out.text(&String::from_utf8_lossy(&text))
}

/// Writes the manual page (roff).
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn man(out: &Out) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(crate::args::Cli::command()).render(&mut text)?;
    out.text(&String::from_utf8_lossy(&text))
}
