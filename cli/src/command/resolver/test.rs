//! The conformance kit: `test`, offline.

use std::path::PathBuf;

use clap::Args;
use kit::conformance::{Candidate, Report, Settings, Status, bless, conform, load};
use kit::subject::{Component, Subject};
use model::{Code, Limits, Refusal};
use resolver::HostError;
use serde_json::json;

use super::local;
use crate::failure::Failure;
use crate::out::{Out, Style};

/// What `tapemark resolver test` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct TestArgs {
    /// The component; `native` for the built-in policy
    component: PathBuf,
    /// Golden cases: every *.json of this folder. Without it `cases` beside the component or
    /// in this folder, where there is one
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Write down what is decided now as what the cases expect
    #[arg(long)]
    bless: bool,
    /// Write a JUnit report into this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// A tenth of the sampled sets and of the repetitions
    #[arg(long)]
    quick: bool,
    /// Fuel for a decision, where it is to be published with another than the default
    #[arg(long, value_name = "FUEL")]
    fuel: Option<u64>,
    /// Wall time for a decision in milliseconds
    #[arg(long, value_name = "MS")]
    wall_ms: Option<u32>,
}

/// Carries out `tapemark resolver test`.
///
/// # Errors
/// [`Code::ResolverInvalid`] where a check failed: the report is printed before.
pub(crate) fn test(out: &Out, args: &TestArgs) -> Result<(), Failure> {
    let limits = limits(args.fuel, args.wall_ms)?;
    let mut settings = if args.quick {
        Settings::quick()
    } else {
        Settings::full()
    };
    settings.limits = limits;
    let mut cases = match &args.cases {
        Some(directory) => load(directory)?,
        None => {
            let beside = args.component.parent().map(|folder| folder.join("cases"));
            let above = args.component.parent().and_then(|folder| folder.parent());
            let above = above.map(|folder| folder.join("cases"));
            let found = [beside, above, Some(PathBuf::from("cases"))];
            match found.into_iter().flatten().find(|folder| folder.is_dir()) {
                Some(directory) => load(&directory)?,
                None => Vec::new(),
            }
        }
    };
    let spinner = out.spinner("testing");
    let report = if local::is_native(&args.component) {
        let native = kit::subject::Native::PRIORITY_DEADLINE;
        blessed(out, args, &mut cases, &native, &limits)?;
        settings.cases = cases.into_iter().map(|(_, case)| case).collect();
        let candidate = Candidate {
            inspection: None,
            subject: Ok(&native),
            twin: None,
        };
        conform(&candidate, &settings)
    } else {
        let bytes = local::read_component(&args.component)?;
        let inspection = resolver::inspect(&bytes).map_err(local::refused)?;
        let twins = if inspection.findings.is_empty() {
            Component::twins(&bytes).map_err(refusal)
        } else {
            let why = "it breaks the contract: see above";
            Err(Refusal::new(Code::ResolverInvalid, why))
        };
        if let Ok([subject, _]) = &twins {
            blessed(out, args, &mut cases, subject, &limits)?;
        }
        settings.cases = cases.into_iter().map(|(_, case)| case).collect();
        let candidate = Candidate {
            inspection: Some(&inspection),
            subject: match &twins {
                Ok([subject, _]) => Ok(subject),
                Err(refusal) => Err(refusal.clone()),
            },
            twin: twins.as_ref().ok().map(|[_, twin]| twin as &dyn Subject),
        };
        conform(&candidate, &settings)
    };
    spinner.finish_and_clear();
    if let Some(file) = &args.junit {
        local::write(file, report.to_junit().as_bytes())?;
    }
    show(out, &report)
}

fn show(out: &Out, report: &Report) -> Result<(), Failure> {
    let failed = report.status() == Status::Fail;
    let mut value = serde_json::to_value(report)?;
    value["status"] = json!(report.status());
    out.show(&value, |style| {
        report.to_text(|status, word| painted(style, status, word))
    })?;
    if failed {
        return Err(Failure::Silent);
    }
    Ok(())
}

fn painted(style: Style, status: Status, word: &str) -> String {
    match status {
        Status::Pass => style.green(word),
        Status::Warn => style.bold(word),
        Status::Fail => style.red(word),
        Status::Skip => style.dim(word),
    }
}

fn blessed(
    out: &Out,
    args: &TestArgs,
    cases: &mut [(PathBuf, kit::conformance::Case)],
    subject: &dyn Subject,
    limits: &Limits,
) -> Result<(), Failure> {
    if !args.bless {
        return Ok(());
    }
    for path in bless(cases, subject, limits)? {
        out.note(&format!("blessed {}", path.display()));
    }
    Ok(())
}

fn refusal(error: HostError) -> Refusal {
    match error {
        HostError::Refused(refusal) => refusal,
        other => Refusal::new(Code::ResolverInvalid, other.to_string()),
    }
}

/// The defaults, with what was asked for instead.
pub(super) fn limits(fuel: Option<u64>, wall_ms: Option<u32>) -> Result<Limits, Failure> {
    let mut limits = Limits::DEFAULT;
    limits.fuel = fuel.unwrap_or(limits.fuel);
    limits.wall_ms = wall_ms.unwrap_or(limits.wall_ms);
    match limits.beyond_cap() {
        None => Ok(limits),
        Some((name, cap)) => {
            let name = name.replace('_', "-");
            Err(Failure::Usage(format!("--{name}: expected 1 to {cap}")))
        }
    }
}
