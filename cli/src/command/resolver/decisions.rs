//! What was decided, by whom, and why: `decisions`, `decision`, `record`.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use model::{Action, Call, CallOutcome, ConflictSet, Decision, DecisionRecord, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::Client;
use crate::client::types::Page;
use crate::failure::Failure;
use crate::out::{Out, Style, table};

/// How many decisions are fetched together with their inputs, each up to 256 KiB.
const INPUTS_AT_ONCE: u32 = 50;

/// What `tapemark resolver decisions` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct DecisionsArgs {
    /// How many, newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// What `tapemark resolver decision` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct DecisionArgs {
    /// The id of the decision
    id: String,
}

/// What `tapemark resolver record` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct RecordArgs {
    /// Where the records go: JSON Lines, oldest first
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Only decisions from then on, as in 2026-11-22T15:31:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
}

/// One decision, with what it was decided on where that was asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recorded {
    /// Its record.
    pub(crate) record: DecisionRecord,
    /// What it was decided on.
    #[serde(default)]
    pub(crate) conflict_set: Option<ConflictSet>,
}

impl Recorded {
    /// As one line of a records file, which `replay` and `train` read.
    fn line(&self) -> Value {
        json!({ "record": self.record, "input": self.conflict_set })
    }
}

/// Decisions, newest first: at most `limit`, and none before `since`.
pub(crate) async fn fetch(
    client: &Client,
    limit: Option<u32>,
    since: Option<Timestamp>,
    with_inputs: bool,
) -> Result<Vec<Recorded>, Failure> {
    let (page, fields) = if with_inputs {
        (INPUTS_AT_ONCE, "record conflictSet")
    } else {
        (200, "record")
    };
    let query = format!(
        "query($first: Int!, $after: String) {{ \
         resolverDecisions(first: $first, after: $after) {{ nodes {{ {fields} }} \
         pageInfo {{ hasNextPage endCursor }} }} }}"
    );
    let mut list: Vec<Recorded> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let room = limit.map_or(page, |limit| page.min(limit - list.len() as u32));
        let found: Page<Recorded> = client
            .ask(
                "resolverDecisions",
                &query,
                json!({ "first": room, "after": after }),
            )
            .await?;
        for one in found.nodes {
            if since.is_some_and(|since| one.record.at < since) {
                return Ok(list);
            }
            list.push(one);
        }
        let full = limit.is_some_and(|limit| list.len() >= limit as usize);
        if full || !found.page_info.has_next_page {
            return Ok(list);
        }
        after = found.page_info.end_cursor;
    }
}

/// Carries out `tapemark resolver decisions`.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn decisions(
    out: &Out,
    client: &Client,
    args: DecisionsArgs,
) -> Result<(), Failure> {
    let list = fetch(client, Some(args.limit), None, false).await?;
    let records: Vec<&DecisionRecord> = list.iter().map(|one| &one.record).collect();
    out.show(&json!({ "decisions": records }), |style| {
        let rows: Vec<Vec<String>> = records.iter().map(|record| row(record)).collect();
        let head = [
            "DECISION",
            "AT",
            "POOL",
            "REQUESTS",
            "RESOLVER",
            "OUTCOME",
            "DECIDED BY",
            "FUEL",
            "WALL",
        ];
        table(style, &head, &rows)
    })
}

fn row(record: &DecisionRecord) -> Vec<String> {
    vec![
        record.id.to_string(),
        record.at.to_string(),
        record.pool.to_string(),
        record.contenders.to_string(),
        resolver(record),
        record.call.outcome.name().to_owned(),
        decided_by(record),
        fuel(&record.call),
        format!("{} us", record.call.wall_us),
    ]
}

/// The resolver that was to decide.
pub(crate) fn resolver(record: &DecisionRecord) -> String {
    record
        .resolver
        .as_ref()
        .map_or_else(|| "native".to_owned(), ToString::to_string)
}

fn decided_by(record: &DecisionRecord) -> String {
    match record.fallback {
        None => resolver(record),
        Some(fallback) => format!("fallback {}", plain(&fallback)),
    }
}

fn fuel(call: &Call) -> String {
    call.fuel.map_or_else(String::new, |fuel| fuel.to_string())
}

/// A value of an enum as everywhere outside of the code.
pub(crate) fn plain(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

/// An action in words.
pub(crate) fn action(action: &Action) -> String {
    match action {
        Action::Proceed { order } => format!("proceed, order {order}"),
        Action::Supersede { by } => format!("superseded by {by}"),
        Action::Merge { into } => format!("merged into {into}"),
        Action::Defer { until } => format!("deferred until {until}"),
        Action::Reject { refusal } => format!("rejected: {}", refusal.code.as_str()),
        other => other.name().to_owned(),
    }
}

/// Why a call did not decide; nothing where it did.
pub(crate) fn trouble(outcome: &CallOutcome) -> Option<String> {
    match outcome {
        CallOutcome::Decided => None,
        CallOutcome::Error { code, message } => Some(format!("{code}: {message}")),
        CallOutcome::Invalid { violation } => Some(violation.clone()),
        CallOutcome::Trap { kind, message } => Some(format!("{kind}: {message}")),
        CallOutcome::Unavailable { why } => Some(why.clone()),
        CallOutcome::OutOfFuel => Some("it used all its fuel".to_owned()),
        CallOutcome::TimedOut => Some("it used all its wall time".to_owned()),
        other => Some(other.name().to_owned()),
    }
}

/// The verdicts of two decisions in which the actions differ.
pub(crate) fn differing<'a>(
    live: &'a Decision,
    shadow: &'a Decision,
) -> Vec<(&'a Verdict, &'a Verdict)> {
    live.verdicts
        .iter()
        .filter_map(|one| {
            let other = shadow.verdicts.iter().find(|other| other.id == one.id)?;
            (one.action != other.action).then_some((one, other))
        })
        .collect()
}

/// Carries out `tapemark resolver decision`.
///
/// # Errors
/// [`Failure::Usage`] where the id is none; as [`Client::ask`].
pub(crate) async fn decision(
    out: &Out,
    client: &Client,
    args: DecisionArgs,
) -> Result<(), Failure> {
    let query = "query($id: UUID!) { resolverDecision(id: $id) { record conflictSet } }";
    let one: Recorded = client
        .ask("resolverDecision", query, json!({ "id": args.id }))
        .await?;
    out.show(&one.line(), |style| explain(style, &one))
}

fn explain(style: Style, one: &Recorded) -> String {
    let record = &one.record;
    let mut text = format!("{}  {}\n", style.bold(&record.id.to_string()), record.at);
    let call = |call: &Call| {
        let fuel = call.fuel.map_or_else(
            || "native".to_owned(),
            |fuel| format!("{fuel} of {} fuel", call.limits.fuel),
        );
        format!(
            "{}, {fuel}, {} us of {} ms",
            call.outcome.name(),
            call.wall_us,
            call.limits.wall_ms
        )
    };
    let mut lines = vec![
        ("pool", format!("{} of {}", record.pool, record.library)),
        (
            "scope",
            record
                .scope
                .as_ref()
                .map_or_else(|| "none is bound".to_owned(), ToString::to_string),
        ),
        ("resolver", resolver(record)),
        ("call", call(&record.call)),
        ("engine", record.call.engine.version.clone()),
        ("input", record.input.to_hex()),
    ];
    if let Some(why) = trouble(&record.call.outcome) {
        lines.push(("why not", style.red(&why)));
    }
    lines.push(("decided by", decided_by(record)));
    if !record.decision.reason.is_empty() {
        lines.push(("guided by", record.decision.reason.clone()));
    }
    if let Some(shadow) = &record.shadow {
        let differs = if shadow.differs { "differs" } else { "agrees" };
        lines.push((
            "shadow",
            format!("{}: {differs}, {}", shadow.release, call(&shadow.call)),
        ));
    }
    for (name, value) in lines {
        text.push_str(&format!("  {name:<12}{value}\n"));
    }
    let rows: Vec<Vec<String>> = record
        .decision
        .verdicts
        .iter()
        .map(|verdict| {
            let who = one
                .conflict_set
                .iter()
                .flat_map(|set| &set.contenders)
                .find(|contender| contender.id == verdict.id);
            vec![
                verdict.id.to_string(),
                who.map_or_else(String::new, |who| {
                    format!("{} {}", who.service, who.version)
                }),
                action(&verdict.action),
                verdict.reason.clone(),
            ]
        })
        .collect();
    text.push_str(&table(
        style,
        &["REQUEST", "SERVICE", "ACTION", "REASON"],
        &rows,
    ));
    let other = record
        .shadow
        .as_ref()
        .and_then(|shadow| shadow.call.decision.as_ref());
    for (_, theirs) in other.map_or_else(Vec::new, |other| differing(&record.decision, other)) {
        text.push_str(&format!(
            "shadow on {}: {} ({})\n",
            theirs.id,
            action(&theirs.action),
            theirs.reason
        ));
    }
    text
}

/// Carries out `tapemark resolver record`: the file is there as a whole or not at all.
///
/// # Errors
/// When the file cannot be written; as [`Client::ask`].
pub(crate) async fn record(out: &Out, client: &Client, args: RecordArgs) -> Result<(), Failure> {
    let list = fetch(client, None, args.since, true).await?;
    let directory = args
        .out
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| std::path::Path::new("."));
    let named = |error: std::io::Error| {
        Failure::Usage(format!(
            "--out: expected a file that can be written, found {}: {error}",
            args.out.display()
        ))
    };
    let part = tempfile::NamedTempFile::new_in(directory).map_err(named)?;
    let mut file = BufWriter::new(part);
    for one in list.iter().rev() {
        serde_json::to_writer(&mut file, &one.line())?;
        file.write_all(b"\n")?;
    }
    let part = file.into_inner().map_err(|error| error.into_error())?;
    part.persist(&args.out).map_err(|lost| named(lost.error))?;
    let done = json!({ "records": list.len(), "file": args.out });
    out.show(&done, |_| {
        format!("{} decisions in {}\n", list.len(), args.out.display())
    })
}
