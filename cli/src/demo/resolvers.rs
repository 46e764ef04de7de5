//! Who decided what: the default resolver all of it, and another one beside it without
//! effect, so that its decisions can be compared.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use model::{DecisionRecord, Verdict};
use serde::Serialize;
use serde_json::{Value, json};

use super::report::Quantiles;
use crate::client::Client;
use crate::command::resolver::decisions::{action, differing, fetch, resolver};
use crate::failure::Failure;
use crate::out::{Style, table};
use crate::submit::poll;

/// What decides: every installation has it from its start.
pub(super) const LIVE: &str = "priority-deadline";
/// What is tried out. Of two requests with the same content it keeps the newer one, where
/// the default keeps the older.
pub(super) const SHADOW: &str = "last-writer";
/// How long the shadow may take to be compiled, in the background.
const PATIENCE: SignedDuration = SignedDuration::from_secs(120);

/// What became of the calls.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Decided {
    /// How many decisions, one for each round of requests.
    pub(super) decisions: usize,
    /// How many of them each resolver made.
    pub(super) by: BTreeMap<String, usize>,
    /// How many a fallback made.
    pub(super) fallbacks: usize,
    /// Fuel of a call.
    pub(super) fuel: Quantiles,
    /// Wall time of a call, in microseconds.
    pub(super) wall_us: Quantiles,
    /// What the shadow made of it.
    pub(super) shadow: Shadowed,
}

/// The shadow's part.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Shadowed {
    /// Which resolver.
    pub(super) resolver: String,
    /// How many decisions it made.
    pub(super) decided: usize,
    /// How many of them differ from what was done.
    pub(super) differing: usize,
    /// How many of its calls failed.
    pub(super) failed: usize,
    /// One decision in which they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) example: Option<Example>,
}

/// A decision in which live and shadow differ.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Example {
    decision: String,
    requests: Vec<Request>,
}

/// One request that they decide differently.
#[derive(Clone, Debug, Serialize)]
struct Request {
    id: String,
    service: String,
    live: Said,
    shadow: Said,
}

/// What was said of a request.
#[derive(Clone, Debug, Serialize)]
struct Said {
    action: String,
    reason: String,
}

impl From<&Verdict> for Said {
    fn from(verdict: &Verdict) -> Self {
        Self {
            action: action(&verdict.action),
            reason: verdict.reason.clone(),
        }
    }
}

/// Begins the shadow, as soon as it is compiled.
pub(super) async fn begin(client: &Client, library: &str) -> Result<(), Failure> {
    let query = "query($n: String!) { resolver(name: $n) { name } }";
    let ready = || async {
        match client
            .ask::<Value>("resolver", query, json!({ "n": SHADOW }))
            .await
        {
            Ok(_) => Ok(true),
            Err(failure) if failure.is(model::Code::NotFound) => Ok(false),
            Err(failure) => Err(failure),
        }
    };
    poll(SHADOW, PATIENCE, ready, |ready| *ready).await?;
    let order = "mutation($s: String!, $n: String!) { \
                 shadowResolver(scope: $s, name: $n) { scope } }";
    let variables = json!({ "s": format!("library:{library}"), "n": SHADOW });
    client
        .ask::<Value>("shadowResolver", order, variables)
        .await?;
    Ok(())
}

/// Reads every decision and says what became of the calls.
pub(super) async fn decided(client: &Client) -> Result<Decided, Failure> {
    let list = fetch(client, None, None, false).await?;
    let records: Vec<&DecisionRecord> = list.iter().map(|one| &one.record).collect();
    let mut decided = Decided {
        decisions: records.len(),
        ..Decided::default()
    };
    let (mut fuel, mut wall) = (Vec::new(), Vec::new());
    let mut example: Option<&DecisionRecord> = None;
    for &record in &records {
        match record.fallback {
            None => *decided.by.entry(resolver(record)).or_default() += 1,
            Some(_) => decided.fallbacks += 1,
        }
        fuel.extend(record.call.fuel.map(|fuel| fuel as f64));
        wall.push(record.call.wall_us as f64);
        let Some(shadow) = &record.shadow else {
            continue;
        };
        decided.shadow.resolver = shadow.release.to_string();
        if shadow.call.outcome == model::CallOutcome::Decided {
            decided.shadow.decided += 1;
        } else {
            decided.shadow.failed += 1;
        }
        if shadow.differs {
            decided.shadow.differing += 1;
            // The smallest one is the easiest to read.
            if example.is_none_or(|best| record.contenders < best.contenders) {
                example = Some(record);
            }
        }
    }
    decided.fuel = Quantiles::of(fuel);
    decided.wall_us = Quantiles::of(wall);
    if let Some(record) = example {
        decided.shadow.example = Some(explain(client, record).await?);
    }
    Ok(decided)
}

async fn explain(client: &Client, record: &DecisionRecord) -> Result<Example, Failure> {
    let theirs = record
        .shadow
        .as_ref()
        .and_then(|shadow| shadow.call.decision.as_ref());
    let mut requests = Vec::new();
    for (live, shadow) in theirs.map_or_else(Vec::new, |d| differing(&record.decision, d)) {
        let query = "query($id: UUID!) { checkpoint(id: $id) { service version } }";
        let found: Value = client
            .ask("checkpoint", query, json!({ "id": live.id }))
            .await?;
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        requests.push(Request {
            id: live.id.to_string(),
            service: format!("{} {}", text("service"), text("version")),
            live: live.into(),
            shadow: shadow.into(),
        });
    }
    Ok(Example {
        decision: record.id.to_string(),
        requests,
    })
}

impl Decided {
    /// What must be so: the default decided everything, and the shadow saw it.
    pub(super) fn judge(&self, failed: &mut Vec<String>) {
        let mut must = |fine: bool, what: String| {
            if !fine {
                failed.push(what);
            }
        };
        let by_default: usize = self
            .by
            .iter()
            .filter(|(name, _)| name.starts_with(&format!("{LIVE}@")))
            .map(|(_, count)| count)
            .sum();
        must(
            self.decisions > 0 && by_default == self.decisions,
            format!(
                "decisions: expected all {} by {LIVE}, found {by_default}",
                self.decisions
            ),
        );
        must(
            self.fallbacks == 0,
            format!("fallbacks: expected none, found {}", self.fallbacks),
        );
        must(
            self.shadow.differing > 0 && self.shadow.failed == 0,
            format!(
                "shadow {SHADOW}: expected differences and no failure, found {} and {}",
                self.shadow.differing, self.shadow.failed
            ),
        );
    }

    /// Lines for the table of the report.
    pub(super) fn rows(&self) -> Vec<[String; 2]> {
        let by: Vec<String> = self
            .by
            .iter()
            .map(|(name, count)| format!("{count} by {name}"))
            .collect();
        vec![
            [
                "decisions".to_owned(),
                format!("{}, {} fallbacks", by.join(", "), self.fallbacks),
            ],
            [
                "  fuel p50 / p99".to_owned(),
                format!("{:.0} / {:.0}", self.fuel.p50, self.fuel.p99),
            ],
            [
                "  wall p50 / p99".to_owned(),
                format!(
                    "{:?} / {:?}",
                    Duration::from_micros(self.wall_us.p50 as u64),
                    Duration::from_micros(self.wall_us.p99 as u64)
                ),
            ],
            [
                format!("  shadow {}", self.shadow.resolver),
                format!(
                    "{} decided, {} differ",
                    self.shadow.decided, self.shadow.differing
                ),
            ],
        ]
    }

    /// One difference in full.
    pub(super) fn example(&self, style: Style) -> String {
        let Some(example) = &self.shadow.example else {
            return String::new();
        };
        let mut rows = Vec::new();
        for request in &example.requests {
            let who = [
                format!("{} ({})", request.service, request.id),
                String::new(),
            ];
            let said = [(LIVE, &request.live), (SHADOW, &request.shadow)];
            for (who, (name, said)) in who.into_iter().zip(said) {
                let action = format!("{}: {}", said.action, said.reason);
                rows.push(vec![who, name.to_owned(), action]);
            }
        }
        let head = format!("decision {}", example.decision);
        format!(
            "\n{}",
            table(style, &[head.as_str(), "RESOLVER", "ACTION"], &rows)
        )
    }
}
