//! What a component is: `inspect`, offline.

use std::path::{Path, PathBuf};

use clap::Args;
use kit::subject::Component;
use model::{CallOutcome, Limits, ResolverInfo};
use resolver::Allocation;
use serde_json::json;

use super::local;
use crate::failure::{Failure, No};
use crate::out::{Out, bytes};

/// What `tapemark resolver inspect` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArgs {
    /// The component
    component: PathBuf,
}

/// Carries out `tapemark resolver inspect`.
///
/// # Errors
/// As [`show`].
pub(crate) fn inspect(out: &Out, args: &InspectArgs) -> Result<(), Failure> {
    show(out, &args.component, &Limits::DEFAULT)
}

/// Says what a component is.
///
/// # Errors
/// `ResolverInvalid` where it breaks the contract, after all of it is printed.
pub(super) fn show(out: &Out, path: &Path, limits: &Limits) -> Result<(), Failure> {
    let component = local::read_component(path)?;
    let found = resolver::inspect(&component).map_err(local::refused)?;
    let described = if found.findings.is_empty() {
        let loaded = Component::compile(&component, Allocation::OnDemand).map_err(local::host)?;
        Some(loaded.host.describe(&loaded.loaded, limits))
    } else {
        None
    };
    let info = described.as_ref().and_then(|said| said.as_ref().ok());
    let failed = described.as_ref().and_then(|said| said.as_ref().err());
    let mut shown = serde_json::to_value(&found)?;
    shown["info"] = json!(info);
    shown["limits"] = json!(limits);
    shown["describe_failed"] = json!(failed);
    out.show(&shown, |style| {
        let list = |names: &[String]| {
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        };
        let mut text = info.map_or(String::new(), |info: &ResolverInfo| {
            let name = format!("{} {}", info.name, info.version);
            format!("{}  {}\n", style.bold(&name), info.summary)
        });
        let rows = [
            ("component", found.component.to_string()),
            ("size", bytes(found.bytes.0)),
            (
                "interface",
                found
                    .interface
                    .clone()
                    .unwrap_or("none we serve".to_owned()),
            ),
            ("imports", list(&found.imports)),
            ("exports", list(&found.exports)),
            ("made by", list(&found.producers)),
            (
                "limits",
                format!(
                    "{} fuel, {} ms, {} memory, {} table elements, {} passed",
                    limits.fuel,
                    limits.wall_ms,
                    bytes(limits.memory.0),
                    limits.table_elements,
                    bytes(limits.hostcall_fuel)
                ),
            ),
        ];
        for (name, value) in rows {
            text.push_str(&format!("{} {value}\n", style.dim(&format!("{name:<10}"))));
        }
        text
    })?;
    if !found.findings.is_empty() {
        let all = found.findings.into_iter().map(No::from).collect();
        return Err(Failure::Refused(all));
    }
    if let Some(ended) = failed {
        return Err(cannot_describe(ended));
    }
    Ok(())
}

fn cannot_describe(ended: &CallOutcome) -> Failure {
    Failure::no(
        model::Code::ResolverInvalid,
        format!(
            "describe: expected name, version and summary, found {}",
            kit::replay::outcome(ended)
        ),
    )
}
