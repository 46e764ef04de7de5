//! The append-only log: `ledger`.

use clap::Subcommand;
use control::ledger::{HashChain, verify_chain};
use control::ports::{Ledger, LedgerHead as Head};
use model::Code;
use serde_json::json;

use crate::client::Client;
use crate::client::types::LedgerHead;
use crate::failure::{Failure, No};
use crate::out::Out;

/// The most leaves that the API gives at once.
const PAGE: u64 = 1_000;

/// What `tapemark ledger` is told.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum LedgerCommand {
    /// Show the head
    Head,
    /// Compute the head anew from every leaf, and compare
    Verify,
}

/// True for the leaf of a committed checkpoint: the others are of decisions.
fn is_commit(leaf: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(leaf).is_ok_and(|leaf| leaf["event"] == "committed")
}

async fn head(client: &Client) -> Result<LedgerHead, Failure> {
    client
        .ask(
            "ledgerHead",
            "{ ledgerHead { size root committed } }",
            json!({}),
        )
        .await
}

/// Carries out `tapemark ledger`.
///
/// # Errors
/// [`Failure::Mismatch`] where the leaves do not lead to the head, or as [`Client::ask`].
pub(crate) async fn ledger(
    out: &Out,
    client: &Client,
    command: LedgerCommand,
) -> Result<(), Failure> {
    let said = head(client).await?;
    if matches!(command, LedgerCommand::Head) {
        return out.show(&said, |_| {
            format!(
                "{} leaves, {} of them commits, root {}\n",
                said.size, said.committed, said.root
            )
        });
    }
    let root = said
        .root
        .parse()
        .map_err(|error: String| Failure::no(Code::Internal, error))?;
    let claimed = Head {
        size: said.size,
        root,
    };
    let bar = out.count_bar("leaves", said.size);
    let mut found = HashChain.empty();
    let mut committed = 0_u64;
    while found.size < claimed.size {
        let first = PAGE.min(claimed.size - found.size);
        let query =
            "query($from: Long!, $first: Int!) { ledgerLeaves(from: $from, first: $first) }";
        let leaves: Vec<String> = client
            .ask(
                "ledgerLeaves",
                query,
                json!({ "from": found.size, "first": first }),
            )
            .await?;
        if leaves.is_empty() {
            break;
        }
        for leaf in leaves.iter().take(first as usize) {
            found = HashChain.append(&found, leaf.as_bytes());
            committed += u64::from(is_commit(leaf));
        }
        bar.set_position(found.size);
    }
    bar.finish_and_clear();
    verify_chain(&HashChain, &found, [], &claimed)
        .map_err(|refusal| Failure::Mismatch(vec![No::from(refusal)]))?;
    out.show(
        &json!({
            "size": said.size, "committed": committed, "root": said.root, "verified": true,
        }),
        |style| {
            format!(
                "{} {} leaves, {committed} of them commits, lead to root {}\n",
                style.green("verified"),
                said.size,
                said.root
            )
        },
    )
}
