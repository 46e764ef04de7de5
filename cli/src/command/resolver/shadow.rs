//! A resolver beside the live one: `shadow`, which begins it, and without a release says
//! how it went so far.

use clap::Args;
use jiff::Timestamp;
use model::{DecisionRecord, Scope, Verdict};
use serde_json::{Value, json};

use super::decisions::{action, differing, fetch, trouble};
use super::list::bindings;
use super::types::{BINDING, Binding, Named};
use crate::client::Client;
use crate::failure::Failure;
use crate::out::{Out, Style, table};

/// How many decisions back differences are looked for.
const LOOK_BACK: u32 = 1_000;
/// How many differing decisions are shown.
const SHOWN: usize = 10;

/// What `tapemark resolver shadow` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShadowArgs {
    /// For what: service:NAME, pool:NAME or library:NAME
    scope: Scope,
    /// Which release is tried out; without it the shadow so far is reported
    #[arg(value_name = "NAME[@VERSION]")]
    release: Option<Named>,
    /// How many of a hundred decisions it sees
    #[arg(long, value_name = "PERCENT", default_value_t = 100, requires = "release", value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
    /// When it ends by itself, as in 2026-12-01T00:00:00Z
    #[arg(long, value_name = "TIME", requires = "release")]
    until: Option<Timestamp>,
}

/// Carries out `tapemark resolver shadow`.
///
/// # Errors
/// [`model::Code::NotFound`] for a report where there is no shadow; as [`Client::ask`].
pub(crate) async fn shadow(out: &Out, client: &Client, args: ShadowArgs) -> Result<(), Failure> {
    let Some(release) = args.release else {
        return report(out, client, &args.scope).await;
    };
    let order = format!(
        "mutation($s: String!, $n: String!, $v: String, $p: Int!, $u: Timestamp) {{ \
         shadowResolver(scope: $s, name: $n, version: $v, percent: $p, until: $u) \
         {{ {BINDING} }} }}"
    );
    let variables = json!({
        "s": args.scope.to_string(), "n": release.name, "v": release.version,
        "p": args.percent, "u": args.until,
    });
    let binding: Binding = client.ask("shadowResolver", &order, variables).await?;
    out.show(&binding, |style| super::bind::text(style, &binding))
}

/// A decision in which live and shadow differ, and the verdicts that do.
struct Difference<'a> {
    record: &'a DecisionRecord,
    verdicts: Vec<(&'a Verdict, &'a Verdict)>,
}

async fn report(out: &Out, client: &Client, scope: &Scope) -> Result<(), Failure> {
    let name = scope.to_string();
    let binding = bindings(client)
        .await?
        .into_iter()
        .find(|binding| binding.scope == name);
    let Some(shadow) = binding.as_ref().and_then(|binding| binding.shadow.as_ref()) else {
        return Err(Failure::no(
            model::Code::NotFound,
            format!("scope: expected one with a shadow, found {name} without"),
        ));
    };
    let list = fetch(client, Some(LOOK_BACK), shadow.since.parse().ok(), false).await?;
    let mut differences = Vec::new();
    let mut failures = Vec::new();
    for one in &list {
        let record = &one.record;
        let Some(call) = record.shadow.as_ref().filter(|call| {
            record.scope.as_ref() == Some(scope)
                && call.release.component.to_hex() == shadow.release.component
        }) else {
            continue;
        };
        match &call.call.decision {
            Some(theirs) if call.differs => differences.push(Difference {
                record,
                verdicts: differing(&record.decision, theirs),
            }),
            _ => failures.extend(trouble(&call.call.outcome)),
        }
    }
    differences.truncate(SHOWN);
    failures.truncate(SHOWN);
    let json = json!({
        "scope": name,
        "live": binding.as_ref().map(|binding| &binding.live),
        "shadow": shadow,
        "differences": differences.iter().map(as_json).collect::<Vec<_>>(),
        "failures": failures,
    });
    out.show(&json, |style| {
        let mut text = format!(
            "{}  shadow {} since {}\n  {} decided, {} differ, {} failed\n",
            style.bold(&name),
            shadow.release,
            shadow.since,
            shadow.decided,
            shadow.differing,
            shadow.failed
        );
        for failure in &failures {
            text.push_str(&format!("  {} {failure}\n", style.red("failed:")));
        }
        for difference in &differences {
            text.push_str(&as_text(style, difference));
        }
        text
    })
}

fn as_json(difference: &Difference<'_>) -> Value {
    let verdicts: Vec<Value> = difference
        .verdicts
        .iter()
        .map(|(live, shadow)| json!({ "id": live.id, "live": live, "shadow": shadow }))
        .collect();
    json!({ "decision": difference.record.id, "at": difference.record.at, "verdicts": verdicts })
}

fn as_text(style: Style, difference: &Difference<'_>) -> String {
    let rows: Vec<Vec<String>> = difference
        .verdicts
        .iter()
        .flat_map(|(live, shadow)| {
            let row = |who: &str, verdict: &Verdict| {
                vec![
                    verdict.id.to_string(),
                    who.to_owned(),
                    action(&verdict.action),
                    verdict.reason.clone(),
                ]
            };
            [row("live", live), row("shadow", shadow)]
        })
        .collect();
    format!(
        "decision {} at {}\n{}",
        difference.record.id,
        difference.record.at,
        table(style, &["REQUEST", "", "ACTION", "REASON"], &rows)
    )
}
