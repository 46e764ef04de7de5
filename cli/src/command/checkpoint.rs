//! Checkpoints and groups: `status`, `list`, `group`, `verify`, `cancel`, `decide`, `run`.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use jiff::SignedDuration;
use model::Code;
use serde_json::{Value, json};

use crate::client::Client;
use crate::client::types::{
    CHECKPOINT, Checkpoint, Drive, GROUP, Group, LedgerHead, Page, RESTORE, Restore, VOLUME, Volume,
};
use crate::failure::{Failure, No};
use crate::out::{Out, Style, bytes, table};
use crate::restore::wait_for_restore;
use crate::submit::{show_group, state, wait_for_group, waits};

/// The largest page that the API gives.
const PAGE: u32 = 200;

/// What `tapemark status` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// The id of a checkpoint or of a group; without one: the installation
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Wait until nothing will change any more, and fail unless it is committed
    #[arg(long, requires = "id")]
    wait: bool,
    /// Give up waiting after this long
    #[arg(long, value_name = "DURATION", default_value = "1h", requires = "wait")]
    timeout: SignedDuration,
}

/// What `tapemark list` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// Only of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// At most so many, newest first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on behind this cursor (`next` of the answer before)
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

/// What `tapemark group` is told.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum GroupCommand {
    /// Show a group with its members
    Show {
        /// The id of the group, or of one of its checkpoints
        id: String,
    },
}

/// What `tapemark run` is told.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum RunCommand {
    /// The events of a run, with the names of the Step Functions history
    History {
        /// The id of the group, or of one of its checkpoints
        id: String,
    },
}

/// What `tapemark verify` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// The id of a committed checkpoint
    id: String,
    /// Give up waiting for the tape after this long
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    timeout: SignedDuration,
}

/// What is to become of a parked group.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum ParkedDecision {
    /// Go on: it is placed anew
    Resume,
    /// Give up: what was written is abandoned
    Abandon,
}

/// A checkpoint by id.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn checkpoint(client: &Client, id: &str) -> Result<Checkpoint, Failure> {
    let query = format!("query($id: UUID!) {{ checkpoint(id: $id) {{ {CHECKPOINT} }} }}");
    client.ask("checkpoint", &query, json!({ "id": id })).await
}

/// The group that an id names: its own, or a member's.
async fn group_of(client: &Client, id: &str) -> Result<Group, Failure> {
    match crate::submit::group(client, id).await {
        Err(failure) if failure.is(Code::NotFound) => {
            let query = format!(
                "query($id: UUID!) {{ group(target: {{ checkpoint: $id }}) {{ {GROUP} }} }}"
            );
            client.ask("group", &query, json!({ "id": id })).await
        }
        answer => answer,
    }
}

/// Shows a checkpoint, a group, or the installation.
///
/// # Errors
/// As [`Client::ask`]; with `--wait` also where it is not committed.
pub(crate) async fn status(out: &Out, client: &Client, args: StatusArgs) -> Result<(), Failure> {
    let Some(id) = &args.id else {
        return overview(out, client).await;
    };
    if args.wait {
        let group = group_of(client, id).await?;
        let group = wait_for_group(out, client, &group.id, args.timeout).await?;
        if group.state != "committed" {
            show(out, client, id).await?;
            return Err(Failure::Silent);
        }
    }
    show(out, client, id).await
}

async fn show(out: &Out, client: &Client, id: &str) -> Result<(), Failure> {
    match checkpoint(client, id).await {
        Ok(found) => out.show(&found, |style| show_checkpoint(style, &found)),
        Err(failure) if failure.is(Code::NotFound) => {
            match crate::submit::group(client, id).await {
                Ok(group) => out.show(&group, |style| show_group(style, &group)),
                Err(no) if no.is(Code::NotFound) => Err(failure),
                Err(other) => Err(other),
            }
        }
        Err(failure) => Err(failure),
    }
}

fn reasons(text: &mut String, style: Style, refusals: &[No]) {
    for no in refusals {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {} {}", style.red(&no.code), no.message);
        let _ = writeln!(text, "    {} {}", style.dim("hint:"), no.hint);
    }
}

fn show_checkpoint(style: Style, found: &Checkpoint) -> String {
    let mut text = format!(
        "{}  {} {}  {}\n",
        style.bold(&found.id),
        found.service,
        found.version,
        state(style, &found.state)
    );
    reasons(&mut text, style, &found.refusals);
    text.push_str(&waits(found.group.deferred.as_ref()));
    let mut line = |name: &str, value: &str| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    line(
        "has",
        &format!("{} artifacts, {}", found.artifact_count, bytes(found.bytes)),
    );
    line("content", &found.content);
    for (name, value) in [
        ("parent", &found.parent),
        ("branch", &found.branch),
        ("superseded", &found.superseded_by),
        ("merged into", &found.merged_into),
    ] {
        if let Some(value) = value {
            line(name, value);
        }
    }
    line("submitted", &found.submitted_at);
    for (name, value) in [
        ("staged", &found.staged_at),
        ("committed", &found.committed_at),
    ] {
        if let Some(value) = value {
            line(name, value);
        }
    }
    if let Some(index) = found.ledger_index {
        line("ledger", &format!("leaf {index}"));
    }
    if let Some(decision) = &found.group.decision {
        line("decided", &format!("tapemark resolver decision {decision}"));
    }
    for placement in &found.placements {
        let first = placement
            .segments
            .first()
            .map_or(0, |segment| segment.first_record);
        let copy = format!("copy {}", placement.copy);
        line(
            &copy,
            &format!(
                "{} from record {first}, {} segments, {} (part {} of {})",
                placement.volume,
                placement.segments.len(),
                bytes(placement.bytes),
                placement.part + 1,
                placement.parts
            ),
        );
    }
    text
}

async fn overview(out: &Out, client: &Client) -> Result<(), Failure> {
    let volumes = format!("{{ volumes {{ {VOLUME} }} }}");
    let volumes: Vec<Volume> = client.ask("volumes", &volumes, json!({})).await?;
    let drives: Vec<Drive> = client
        .ask(
            "drives",
            "{ drives { serial library element state volume } }",
            json!({}),
        )
        .await?;
    let head: LedgerHead = client
        .ask(
            "ledgerHead",
            "{ ledgerHead { size root committed } }",
            json!({}),
        )
        .await?;
    let sum = |pick: fn(&Volume) -> u64| volumes.iter().map(pick).fold(0, u64::saturating_add);
    let answer = json!({
        "committed": head.committed,
        "ledger": head,
        "drives": drives,
        "volumes": volumes.len(),
        "used": sum(|volume| volume.used),
        "free": sum(|volume| volume.free),
    });
    out.show(&answer, |style| {
        let mut text = format!(
            "{} checkpoints committed; {} volumes, {} used, {} free\n",
            style.bold(&head.committed.to_string()),
            volumes.len(),
            bytes(sum(|volume| volume.used)),
            bytes(sum(|volume| volume.free)),
        );
        let rows: Vec<Vec<String>> = drives.iter().map(super::library::drive_row).collect();
        text.push_str(&table(style, &super::library::DRIVE_HEAD, &rows));
        text
    })
}

/// Lists checkpoints, newest first.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn list(out: &Out, client: &Client, args: ListArgs) -> Result<(), Failure> {
    let query = format!(
        "query($service: String, $first: Int!, $after: String) {{ \
         checkpoints(service: $service, first: $first, after: $after) {{ \
         nodes {{ {CHECKPOINT} }} pageInfo {{ hasNextPage endCursor }} }} }}"
    );
    let mut found: Vec<Checkpoint> = Vec::new();
    let mut after = args.after;
    let mut more = true;
    while more && found.len() < args.limit as usize {
        let first = (args.limit - found.len() as u32).min(PAGE);
        let variables = json!({ "service": args.service, "first": first, "after": after });
        let page: Page<Checkpoint> = client.ask("checkpoints", &query, variables).await?;
        found.extend(page.nodes);
        more = page.page_info.has_next_page;
        after = page.page_info.end_cursor;
    }
    let next = after.filter(|_| more);
    out.show(&json!({ "checkpoints": found, "next": next }), |style| {
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|one| {
                vec![
                    one.id.clone(),
                    one.service.clone(),
                    one.version.clone(),
                    one.state.clone(),
                    bytes(one.bytes),
                    one.submitted_at.clone(),
                ]
            })
            .collect();
        let head = [
            "CHECKPOINT",
            "SERVICE",
            "VERSION",
            "STATE",
            "SIZE",
            "SUBMITTED",
        ];
        let mut text = table(style, &head, &rows);
        if let Some(next) = &next {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{} --after {next}", style.dim("more:"));
        }
        text
    })
}

/// Shows a group.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn group(
    out: &Out,
    client: &Client,
    command: GroupCommand,
) -> Result<(), Failure> {
    let GroupCommand::Show { id } = command;
    let group = group_of(client, &id).await?;
    out.show(&group, |style| {
        let mut text = show_group(style, &group);
        reasons(&mut text, style, &group.refusals);
        text
    })
}

/// Shows a run's history.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn run(out: &Out, client: &Client, command: RunCommand) -> Result<(), Failure> {
    let RunCommand::History { id } = command;
    let group = group_of(client, &id).await?;
    let events: Vec<Value> = client
        .ask(
            "runHistory",
            "query($id: UUID!) { runHistory(group: $id) }",
            json!({ "id": group.id }),
        )
        .await?;
    out.show(&json!({ "run": group.run, "events": events }), |style| {
        let rows: Vec<Vec<String>> = events
            .iter()
            .map(|event| {
                let cell = |name: &str| match &event[name] {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                };
                let state = ["stateEnteredEventDetails", "stateExitedEventDetails"]
                    .iter()
                    .find_map(|details| event[*details]["name"].as_str())
                    .unwrap_or_default();
                vec![
                    cell("id"),
                    cell("timestamp"),
                    cell("type"),
                    state.to_owned(),
                ]
            })
            .collect();
        table(style, &["ID", "TIME", "TYPE", "STATE"], &rows)
    })
}

/// Has a checkpoint read back from tape and compared again.
///
/// # Errors
/// The reason where it does not match, or as [`Client::ask`].
pub(crate) async fn verify(out: &Out, client: &Client, args: VerifyArgs) -> Result<(), Failure> {
    let order = format!("mutation($id: UUID!) {{ verify(checkpoint: $id) {{ {RESTORE} }} }}");
    let request: Restore = client
        .ask("verify", &order, json!({ "id": args.id }))
        .await?;
    let line = out.spinner("waits for the tape");
    let done = wait_for_restore(client, &request.id, args.timeout).await;
    line.finish_and_clear();
    let done = done?;
    out.show(&done, |style| {
        format!(
            "{} {} artifacts, {} read back from tape, each equal to its SHA-256\n",
            style.green("verified"),
            done.artifacts,
            bytes(done.bytes)
        )
    })
}

/// Calls a group off.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn cancel(out: &Out, client: &Client, id: &str) -> Result<(), Failure> {
    let id = group_of(client, id).await?.id;
    let order =
        format!("mutation($id: UUID!) {{ cancel(target: {{ group: $id }}) {{ {GROUP} }} }}");
    let group: Group = client.ask("cancel", &order, json!({ "id": id })).await?;
    out.show(&group, |style| show_group(style, &group))
}

/// Decides a parked group.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn decide(
    out: &Out,
    client: &Client,
    id: &str,
    decision: ParkedDecision,
) -> Result<(), Failure> {
    let id = group_of(client, id).await?.id;
    let decision = match decision {
        ParkedDecision::Resume => "RESUME",
        ParkedDecision::Abandon => "ABANDON",
    };
    let order = format!(
        "mutation($id: UUID!, $decision: ParkedDecision!) {{ \
         decideParked(target: {{ group: $id }}, decision: $decision) {{ {GROUP} }} }}"
    );
    let group: Group = client
        .ask(
            "decideParked",
            &order,
            json!({ "id": id, "decision": decision }),
        )
        .await?;
    out.show(&group, |style| show_group(style, &group))
}
