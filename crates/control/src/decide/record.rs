//! What is kept of decisions, in one transaction before any of them is applied: records
//! with their input, leaves of the ledger, the pools' history, the resolvers' health.
//!
//! Callers hold the combined turn, as commits do, so that the ledger's head is not fought
//! over within a process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use model::{
    Binding, Code, DecisionRecord, MAX_HISTORY, PastOutcome, PoolName, Refusal, canonical_json,
};
use serde_json::json;
use tokio::time::Instant;

use super::Facts;
use super::call::{Made, counts_for};
use crate::catalogue::{Answer, Seen, Tx, lost_race};
use crate::records::{BindingRecord, DecisionItem, HistoryRecord, InputItem};
use crate::{Control, keys};

/// At most so many decisions in one transaction, two items each; and so many bytes, of the
/// 4 MB that a transaction may have in DynamoDB.
const AT_ONCE: usize = 24;
const MAX_BYTES: usize = 2_500_000;

/// Decisions are tried to be recorded for so long. What they were made on grows old
/// meanwhile; the run asks again by itself.
const RECORD_WALL: Duration = Duration::from_secs(15);

impl Control {
    /// Records decisions.
    ///
    /// # Errors
    /// `Conflict` where others were faster each time; `Transient`. Nothing of a decision
    /// may be applied then; it may be recorded all the same.
    pub(super) async fn record(&self, made: &[Made], facts: Facts) -> Answer<()> {
        let mut facts = Some(facts);
        let mut left = made;
        while !left.is_empty() {
            let mut bytes = 0;
            let fits = left
                .iter()
                .take(AT_ONCE)
                .take_while(|made| {
                    let first = bytes == 0;
                    bytes += size(made);
                    first || bytes <= MAX_BYTES
                })
                .count();
            let (chunk, rest) = left.split_at(fits.max(1));
            self.record_chunk(chunk, &mut facts).await?;
            left = rest;
        }
        Ok(())
    }

    async fn record_chunk(&self, made: &[Made], facts: &mut Option<Facts>) -> Answer<()> {
        let begun = Instant::now();
        let mut lost = 0;
        while begun.elapsed() <= RECORD_WALL {
            let head = self.seen_head().await?;
            let (histories, bindings) = match facts.take() {
                Some(facts) => (facts.histories, facts.bindings),
                None => self.read_again(made).await?,
            };
            let mut tx = Tx::new();
            let mut leaves = Vec::with_capacity(made.len());
            for one in made {
                tx.create(&DecisionItem::new(&one.record, one.shadow.is_some()));
                tx.create(&InputItem {
                    id: one.record.id,
                    at: one.record.at,
                    input: one.input.clone(),
                });
                leaves.push(leaf(&one.record));
            }
            self.append_leaves(&mut tx, &head, leaves, 0);
            for (pool, seen) in histories {
                note_history(&mut tx, pool, seen, made);
            }
            for seen in bindings {
                note_health(&mut tx, seen, made, self.now());
            }
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer;
            }
            lost += 1;
            self.give_way(lost).await;
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    #[allow(clippy::type_complexity, reason = "two parts of `Facts`")]
    async fn read_again(
        &self,
        made: &[Made],
    ) -> Answer<(
        BTreeMap<PoolName, Option<Seen<HistoryRecord>>>,
        Vec<Seen<BindingRecord>>,
    )> {
        let mut histories = BTreeMap::new();
        let mut scopes = BTreeSet::new();
        for one in made {
            let pool = &one.record.pool;
            if !histories.contains_key(pool) {
                histories.insert(pool.clone(), self.history(pool).await?);
            }
            scopes.extend(one.record.scope.as_ref());
        }
        let bindings = self
            .get_all::<BindingRecord>(scopes.into_iter().map(keys::binding).collect())
            .await?;
        Ok((histories, bindings.into_iter().flatten().collect()))
    }

    pub(super) async fn history(&self, pool: &PoolName) -> Answer<Option<Seen<HistoryRecord>>> {
        self.get(&keys::history(pool)).await
    }
}

/// About how large a decision's items are.
fn size(made: &Made) -> usize {
    let verdicts = made.record.decision.verdicts.iter();
    let reasons: usize = verdicts.map(|verdict| 256 + verdict.reason.len()).sum();
    // The call's own decision may be another one.
    made.input.to_string().len() + 2 * reasons + 2048
}

fn note_history(tx: &mut Tx, pool: PoolName, seen: Option<Seen<HistoryRecord>>, made: &[Made]) {
    let new: Vec<&PastOutcome> = made
        .iter()
        .filter(|made| made.record.pool == pool)
        .flat_map(|made| &made.outcomes)
        .collect();
    if new.is_empty() {
        return;
    }
    let (mut outcomes, version) = match seen {
        Some(seen) => (seen.value.outcomes, Some(seen.version)),
        None => (Vec::new(), None),
    };
    outcomes.retain(|old| new.iter().all(|new| new.id != old.id));
    outcomes.extend(new.into_iter().cloned());
    outcomes.sort_by_key(|past| (std::cmp::Reverse(past.decided_at), past.id));
    outcomes.truncate(MAX_HISTORY);
    let record = HistoryRecord { pool, outcomes };
    match version {
        Some(version) => tx.replace(&record, version),
        None => tx.create(&record),
    }
}

/// Counts how the live resolver's calls ended, unless another one is live by now.
fn note_health(tx: &mut Tx, seen: Seen<BindingRecord>, made: &[Made], now: Timestamp) {
    let mut record = seen.value;
    let before = record.binding.clone();
    for (scope, release, healthy) in made.iter().filter_map(counts_for) {
        let binding = &mut record.binding;
        if *scope == binding.scope && *release == binding.live && binding.quarantined.is_none() {
            count(binding, healthy, now);
        }
    }
    if record.binding != before {
        tx.replace(&record, seen.version);
    }
}

fn count(binding: &mut Binding, healthy: bool, now: Timestamp) {
    binding.recent.insert(0, healthy);
    binding.recent.truncate(Binding::WINDOW);
    let failures = binding.recent.iter().filter(|healthy| !**healthy).count();
    if failures >= Binding::FAILURES {
        binding.quarantined = Some(now);
        tracing::error!(scope = %binding.scope, resolver = %binding.live, "quarantined");
    }
}

/// What the ledger says of a decision.
fn leaf(record: &DecisionRecord) -> String {
    let resolver = record.resolver.as_ref();
    canonical_json(&json!({
        "event": "decided",
        "id": record.id,
        "at": record.at,
        "pool": record.pool,
        "library": record.library,
        "groups": record.groups,
        "input": record.input,
        "scope": record.scope.as_ref().map(ToString::to_string),
        "resolver": resolver.map(ToString::to_string),
        "component": resolver.map(|resolver| resolver.component),
        "engine": record.call.engine,
        "limits": record.call.limits,
        "fuel": record.call.fuel,
        "outcome": record.call.outcome.name(),
        "output": record.call.output,
        "fallback": record.fallback,
        "decision": policy::digest(policy::canonical_decision(&record.decision)),
    }))
}
