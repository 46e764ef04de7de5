//! Recorded decisions, made again: `replay`; and records to try things with: `sample`.
//! Both offline.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use indicatif::HumanCount;
use kit::records::{self, RecordsError};
use kit::replay::{Actions, Cause, Diff, Settings, Source, Summary};
use kit::score::Score;
use kit::subject::{Component, Native, Subject};
use model::{Code, MAX_CONTENDERS, Refusal};
use resolver::Allocation;
use serde_json::json;

use super::local;
use crate::failure::Failure;
use crate::out::{Out, Style, table};

/// What `tapemark resolver replay` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReplayArgs {
    /// The records, as tapemark resolver record and sample write them; - for standard input
    records: PathBuf,
    /// What decides again: a component, or native for the built-in policy
    #[arg(long, value_name = "COMPONENT")]
    with: PathBuf,
    /// How many differing decisions are shown; all are counted
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    limit_diffs: u16,
    /// How many threads decide; one a core without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: Option<u16>,
    /// Take the records' word for the digests of their inputs
    #[arg(long)]
    trust_inputs: bool,
}

/// What `tapemark resolver sample` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct SampleArgs {
    /// How many records
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    count: u64,
    /// How many requests contend in each
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(0..=MAX_CONTENDERS as i64))]
    size: u16,
    /// Where the pseudo-random sets start: the same gives the same file
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Carries out `tapemark resolver replay`.
///
/// # Errors
/// [`Code::InvalidRequest`] for a file that is none of records; exit code 6 where the same
/// component decided otherwise than recorded: it, or this host, is not deterministic.
pub(crate) fn replay(out: &Out, args: &ReplayArgs) -> Result<(), Failure> {
    let mut settings = Settings {
        keep: usize::from(args.limit_diffs),
        check_inputs: !args.trust_inputs,
        ..Settings::default()
    };
    if let Some(threads) = args.threads.and_then(|n| NonZeroUsize::new(n.into())) {
        settings.threads = threads;
    }
    let subject: Box<dyn Subject> = if local::is_native(&args.with) {
        Box::new(Native::PRIORITY_DEADLINE)
    } else {
        let component = local::read_component(&args.with)?;
        let instances = u32::try_from(settings.threads.get()).unwrap_or(u32::MAX);
        let pooling = Allocation::Pooling { instances };
        Box::new(Component::compile(&component, pooling).map_err(local::host)?)
    };
    let spinner = out.spinner("replaying");
    let progress = |done| spinner.set_message(format!("{} decided", HumanCount(done)));
    let done = if args.records.as_os_str() == "-" {
        let lines = Source::Lines(BufReader::new(std::io::stdin()));
        kit::replay::replay(lines, &*subject, &settings, progress)
    } else {
        let file = File::open(&args.records)
            .with_context(|| format!("cannot open {}", args.records.display()))?;
        let lines = Source::Lines(BufReader::with_capacity(1 << 20, file));
        kit::replay::replay(lines, &*subject, &settings, progress)
    };
    spinner.finish_and_clear();
    let summary = done.map_err(|error| wrong_records(args, &error))?;
    let faults = summary.of(Cause::Fault);
    out.show(&summary, |style| text(style, &summary))?;
    if faults == 0 {
        return Ok(());
    }
    let refusal = Refusal::new(
        Code::ResolverInvalid,
        format!(
            "expected {} to decide as it did when recorded, found {faults} decisions that differ",
            args.with.display()
        ),
    );
    Err(Failure::Mismatch(vec![refusal.into()]))
}

fn wrong_records(args: &ReplayArgs, error: &RecordsError) -> Failure {
    Failure::no(
        Code::InvalidRequest,
        format!("{}: {error}", args.records.display()),
    )
}

fn text(style: Style, summary: &Summary) -> String {
    let mut text = String::new();
    for diff in &summary.diffs {
        text.push_str(&diff_text(style, diff));
    }
    if summary.more_diffs > 0 {
        text.push_str(&format!(
            "{} more decisions differ: --limit-diffs shows more\n",
            HumanCount(summary.more_diffs)
        ));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let rows: Vec<Vec<String>> = [
        (Cause::Same, "the same"),
        (Cause::Reason, "other words"),
        (Cause::Number, "other numbers, same sequence"),
        (Cause::Order, "another sequence"),
        (Cause::Action, "another action"),
        (Cause::Outcome, "another outcome of the call"),
        (Cause::Fault, "NOT DETERMINISTIC"),
    ]
    .into_iter()
    .filter(|(cause, _)| summary.of(*cause) > 0)
    .map(|(cause, name)| vec![name.to_owned(), HumanCount(summary.of(cause)).to_string()])
    .collect();
    text.push_str(&table(style, &["DECISIONS", "COUNT"], &rows));
    text.push('\n');
    let rows = change_rows(summary);
    text.push_str(&table(style, &["REQUESTS", "WAS", "WOULD BE"], &rows));
    for (transition, count) in &summary.transitions {
        text.push_str(&format!("  {} {transition}\n", HumanCount(*count)));
    }
    if summary.not_replayable > 0 {
        text.push_str(&format!(
            "{} recorded calls ran out of wall time or were not made: they prove nothing\n",
            HumanCount(summary.not_replayable)
        ));
    }
    text.push_str(&format!(
        "{} records in {:.1} s: {:.0} a second on {} threads\n",
        HumanCount(summary.records),
        summary.seconds,
        summary.per_second,
        summary.threads
    ));
    text
}

/// What would have changed: requests by action, then cost by the model.
fn change_rows(summary: &Summary) -> Vec<Vec<String>> {
    let row = |name: &str, was: u64, now: u64| {
        vec![
            name.to_owned(),
            HumanCount(was).to_string(),
            HumanCount(now).to_string(),
        ]
    };
    let (was, now): (&Actions, &Actions) = (&summary.was, &summary.now);
    let mut rows = vec![
        row("proceed", was.proceed, now.proceed),
        row("superseded", was.supersede, now.supersede),
        row("merged", was.merge, now.merge),
        row("deferred", was.defer, now.defer),
        row("refused", was.reject, now.reject),
    ];
    if summary.changed() > 0 {
        let (was, now): (&Score, &Score) = (&summary.score_was, &summary.score_now);
        let hours = |millis: u64| millis / 3_600_000;
        rows.push(row("late *", was.late.into(), now.late.into()));
        rows.push(row(
            "weighted hours late *",
            hours(was.weighted_tardiness),
            hours(now.weighted_tardiness),
        ));
        rows.push(row("mounts *", was.mounts.into(), now.mounts.into()));
        rows.push(vec![
            "* of decisions that differ, by a model".to_owned(),
            String::new(),
            String::new(),
        ]);
    }
    rows
}

fn diff_text(style: Style, diff: &Diff) -> String {
    let mut text = format!(
        "{} line {}, {}, {} requests",
        style.bold(&diff.record.to_string()),
        diff.line,
        diff.at,
        diff.contenders
    );
    if diff.cause == Cause::Fault {
        text.push_str(&format!("  {}", style.red("not deterministic")));
    }
    if diff.was != diff.now || diff.cause == Cause::Fault {
        text.push_str(&format!("  {} -> {}", diff.was, diff.now));
    }
    if diff.not_replayable {
        text.push_str("  (the recorded call cannot be replayed)");
    }
    text.push('\n');
    for change in &diff.changes {
        text.push_str(&format!(
            "  {}  {}  {} -> {}  {}\n",
            change.id,
            change.service,
            change.from,
            style.bold(&change.to),
            style.dim(&change.reason)
        ));
    }
    if diff.more > 0 {
        text.push_str(&format!("  and {} more\n", diff.more));
    }
    text
}

/// Carries out `tapemark resolver sample`.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn sample(out: &Out, args: &SampleArgs) -> Result<(), Failure> {
    let context = || format!("cannot write {}", args.out.display());
    let file = File::create(&args.out).with_context(context)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let bar = out.count_bar("sampling", args.count);
    for index in 0..args.count {
        let record = kit::generate::record(args.seed, index, args.size.into());
        records::write(&mut file, &record).with_context(context)?;
        bar.inc(1);
    }
    file.flush().with_context(context)?;
    bar.finish_and_clear();
    let shown = json!({
        "file": args.out, "records": args.count, "size": args.size, "seed": args.seed,
    });
    out.show(&shown, |_| {
        format!(
            "{} records in {}, decided by the built-in policy\n",
            HumanCount(args.count),
            args.out.display()
        )
    })
}
