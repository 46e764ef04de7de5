//! A component goes to an installation: `publish`.

use std::path::PathBuf;

use clap::Args;
use kit::conformance::{Candidate, Check, Report, Settings, Status, conform};
use kit::subject::Component;
use model::{Limits, Refusal};
use resolver::{Allocation, inspect};

use super::local;
use super::types::Release;
use crate::client::Client;
use crate::failure::{Failure, No};
use crate::out::{Out, bytes};

/// What `tapemark resolver publish` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct PublishArgs {
    /// The component
    component: PathBuf,
    /// Its name [default: what the component says of itself]
    #[arg(long)]
    name: Option<String>,
    /// Its version, published once [default: what the component says of itself]
    #[arg(long)]
    version: Option<String>,
    /// Under which limits it is called: a JSON file such as {"fuel": 200000000}
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
    /// Publish it without the conformance kit, or in spite of it
    #[arg(long)]
    untested: bool,
}

/// Carries out `tapemark resolver publish`: tests the component here, then publishes it.
///
/// # Errors
/// [`model::Code::ResolverInvalid`] with every failed check; as [`Client::publish`].
pub(crate) async fn publish(out: &Out, client: &Client, args: PublishArgs) -> Result<(), Failure> {
    let component = local::read_component(&args.component)?;
    let limits = match &args.limits {
        None => Limits::DEFAULT,
        Some(path) => read_limits(path)?,
    };
    let inspection = inspect(&component).map_err(local::refused)?;
    if !inspection.findings.is_empty() {
        let list = inspection.findings.into_iter().map(No::from);
        return Err(Failure::Refused(list.collect()));
    }
    let named = args.name.clone().zip(args.version.clone());
    let (name, version) = match named {
        Some(named) if args.untested => named,
        _ => {
            let spinner = out.spinner("testing");
            let subject = Component::compile(&component, Allocation::OnDemand);
            let subject = subject.map_err(local::host)?;
            let info = if args.untested {
                let described = subject.host.describe(&subject.loaded, &limits);
                described.map_err(|outcome| {
                    Failure::no(
                        model::Code::ResolverInvalid,
                        format!("describe: expected what the component is, found {outcome:?}"),
                    )
                })?
            } else {
                let candidate = Candidate {
                    inspection: Some(&inspection),
                    subject: Ok(&subject),
                    twin: None,
                };
                let settings = Settings {
                    limits,
                    ..Settings::quick()
                };
                passed(conform(&candidate, &settings))?
            };
            spinner.finish_and_clear();
            (
                args.name.unwrap_or(info.name),
                args.version.unwrap_or(info.version),
            )
        }
    };
    let spinner = out.spinner("publishing");
    let release = client.publish(&name, &version, &limits, component).await;
    spinner.finish_and_clear();
    let release = Release::from(release?);
    out.show(&release, |style| {
        format!(
            "{} {}@{}, {}\n  component  {}\n  engine     {}\n",
            style.green("published"),
            release.name,
            release.version,
            bytes(release.bytes.0),
            release.component,
            release.engine
        )
    })
}

fn read_limits(path: &std::path::Path) -> Result<Limits, Failure> {
    let bad = |why: String| Failure::Usage(format!("--limits: {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let limits: Limits = serde_json::from_str(&text)
        .map_err(|error| bad(format!("expected a JSON object of limits: {error}")))?;
    match limits.beyond_cap() {
        None => Ok(limits),
        Some((field, cap)) => Err(bad(format!("{field}: expected 1 to {cap}"))),
    }
}

/// What the component says of itself, where no check failed.
fn passed(report: Report) -> Result<model::ResolverInfo, Failure> {
    let failed: Vec<No> = report
        .checks
        .iter()
        .filter(|check| check.status == Status::Fail)
        .map(|check| refused(check).into())
        .collect();
    match report.info {
        Some(info) if failed.is_empty() => Ok(info),
        _ if failed.is_empty() => Err(Failure::no(
            model::Code::ResolverInvalid,
            "describe: expected what the component is, found nothing",
        )),
        _ => Err(Failure::Refused(failed)),
    }
}

fn refused(check: &Check) -> Refusal {
    Refusal::new(
        model::Code::ResolverInvalid,
        format!("{}: {}", check.tried, check.found.join("; ")),
    )
    .at(check.name)
}
