//! `tapemark submit`: from files to a submission, and on to tape.

mod gather;
mod plan;
mod wait;

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::Client;
use crate::client::types::{Group, Submitted};
use crate::failure::Failure;
use crate::out::Out;

pub(crate) use gather::{gather, hash};
pub(crate) use wait::{group, poll, show_group, state, wait_for_group, waits};

/// How often a submission that was refused before is tried again under the next key.
const MAX_AGAIN: u32 = 100;

/// What `tapemark submit` is told.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Files are taken by their names, directories with everything in them (names relative to the
directory). A symbolic link is followed where it leads to a file; one that leads to a directory
or to nothing is refused, so that nothing is left out unseen.

Several services in one submission become restorable together or not at all:
  tapemark submit --group payments=1.4.2:build/payments ledger=2.0.0:build/ledger
or from a file (TOML or JSON):
  [[members]]
  service = \"payments\"
  version = \"1.4.2\"
  paths = [\"build/payments\"]

Running the same command again is safe: the default idempotency key is made of the content.
A submission that was refused before is tried again.")]
pub(crate) struct SubmitArgs {
    /// The service
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "group",
        requires = "version"
    )]
    pub(crate) service: Option<String>,
    /// The version of the service
    #[arg(long, value_name = "V", requires = "service")]
    pub(crate) version: Option<String>,
    /// Files and directories
    #[arg(value_name = "PATH", required_unless_present = "group")]
    pub(crate) paths: Vec<PathBuf>,
    /// Several services in one submission: SERVICE=VERSION:PATH[,PATH…], or a .toml or .json
    /// file, or - for JSON on standard input
    #[arg(long, value_name = "SPEC|FILE", num_args = 1.., conflicts_with_all = ["service", "paths"])]
    pub(crate) group: Vec<String>,
    /// The id of the checkpoint this one follows
    #[arg(long, value_name = "ID", conflicts_with = "group")]
    pub(crate) parent: Option<String>,
    /// A declared branch, for two histories side by side
    #[arg(long, value_name = "V", conflicts_with = "group")]
    pub(crate) branch: Option<String>,
    /// How urgent, 0 to 9 [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=9))]
    pub(crate) priority: Option<u8>,
    /// After which it is of no use: a time (2026-11-22T18:00:00Z) or a duration from now (2h)
    #[arg(long, value_name = "TIME")]
    pub(crate) deadline: Option<String>,
    /// For how long to keep it [default: the service's first class]
    #[arg(long, value_name = "CLASS")]
    pub(crate) retention: Option<String>,
    /// A free label, may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// Under which a repetition is recognised [default: made of the content]
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Wait until it is on tape, and fail unless it is
    #[arg(long)]
    pub(crate) wait: bool,
    /// Give up waiting after this long
    #[arg(long, value_name = "DURATION", default_value = "1h", requires = "wait")]
    pub(crate) timeout: jiff::SignedDuration,
}

/// Submits, and waits where asked to.
///
/// # Errors
/// Every reason why not.
pub(crate) async fn submit(out: &Out, client: &Client, args: SubmitArgs) -> Result<(), Failure> {
    let members = plan::members(&args)?;
    let members = gather(out, members).await?;
    let mut input = json!({ "members": members });
    if let Some(priority) = args.priority {
        input["priority"] = priority.into();
    }
    if let Some(text) = &args.deadline {
        input["deadline"] = deadline(text)?.to_string().into();
    }
    if let Some(class) = &args.retention {
        input["retention"] = class.as_str().into();
    }
    if !args.label.is_empty() {
        input["labels"] = labels(&args.label)?;
    }
    let (submitted, known) = match &args.idempotency_key {
        Some(key) => (send(client, &input, key).await?, None),
        None => send_again(client, &input).await?,
    };
    if !args.wait {
        let group = match known {
            Some(group) => group,
            None => group(client, &submitted.group).await?,
        };
        return out.show(&with_repeated(&group, submitted.repeated)?, |style| {
            show_group(style, &group)
        });
    }
    let group = wait_for_group(out, client, &submitted.group, args.timeout).await?;
    out.show(&with_repeated(&group, submitted.repeated)?, |style| {
        show_group(style, &group)
    })?;
    if group.state == "committed" {
        return Ok(());
    }
    // With --json the reasons stand in the answer; for people they go to standard error.
    Err(if out.json || group.refusals.is_empty() {
        Failure::Silent
    } else {
        Failure::Refused(group.refusals)
    })
}

fn with_repeated(group: &Group, repeated: bool) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(group)?;
    value["repeated"] = repeated.into();
    Ok(value)
}

fn deadline(text: &str) -> Result<Timestamp, Failure> {
    let expected = || {
        Failure::Usage(format!(
            "--deadline: expected a time such as 2026-11-22T18:00:00Z or a duration such as 2h, \
             found {text:?}"
        ))
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_| expected())?;
    Timestamp::now().checked_add(span).map_err(|_| expected())
}

fn labels(texts: &[String]) -> Result<Value, Failure> {
    let pairs: Result<Vec<Value>, Failure> = texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(json!({ "name": name, "value": value })),
            _ => Err(Failure::Usage(format!(
                "--label: expected NAME=VALUE, found {text:?}"
            ))),
        })
        .collect();
    Ok(Value::Array(pairs?))
}

/// A key that two equal submissions share: 128 bits of the SHA-256 of the payload.
fn content_key(input: &Value) -> String {
    let digest = Sha256::digest(input.to_string().as_bytes());
    let half: String = digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("content-{half}")
}

/// Submits under a key.
///
/// # Errors
/// Every reason why not.
pub(crate) async fn send(client: &Client, input: &Value, key: &str) -> Result<Submitted, Failure> {
    let mut input = input.clone();
    input["idempotencyKey"] = key.into();
    client
        .ask(
            "submit",
            "mutation($input: SubmitInput!) { submit(input: $input) \
             { group checkpoints repeated } }",
            json!({ "input": input }),
        )
        .await
}

/// Submits under a key made of the content. Where that was submitted before and refused,
/// the reason may be gone by now: it is submitted again, under the next key.
async fn send_again(client: &Client, input: &Value) -> Result<(Submitted, Option<Group>), Failure> {
    let key = content_key(input);
    for again in 1..=MAX_AGAIN {
        let key = if again == 1 {
            key.clone()
        } else {
            format!("{key}.{again}")
        };
        let submitted = send(client, input, &key).await?;
        if !submitted.repeated {
            return Ok((submitted, None));
        }
        let group = group(client, &submitted.group).await?;
        if !matches!(group.state.as_str(), "rejected" | "failed") {
            return Ok((submitted, Some(group)));
        }
    }
    Err(Failure::Usage(format!(
        "this content was refused {MAX_AGAIN} times; name an --idempotency-key to try once more"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_key_is_the_contents() {
        let one = json!({ "members": [{ "service": "a" }] });
        assert_eq!(content_key(&one), content_key(&one.clone()));
        assert_ne!(content_key(&one), content_key(&json!({ "members": [] })));
        assert!(content_key(&one).parse::<model::IdempotencyKey>().is_ok());
    }

    #[test]
    fn deadlines_and_labels_say_what_they_want() {
        assert!(deadline("2030-01-01T00:00:00Z").is_ok());
        assert!(deadline("2h").is_ok());
        assert!(deadline("soon").is_err());
        assert!(labels(&["a=b=c".into()]).is_ok());
        assert!(labels(&["a".into()]).is_err());
    }
}
