//! One decision: the call, the check of what came of it, and the fallback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{
    Call, CallOutcome, ConflictSet, Decision, DecisionId, DecisionRecord, EngineId, Fallback,
    GroupId, Limits, MAX_REASON_BYTES, PastOutcome, ReleaseRef, Scope, Sha256,
};
use serde_json::Value;

use super::Together;
use super::shadow::ShadowJob;
use crate::Control;
use crate::conflict::Other;
use crate::ports::START_WITHIN;
use crate::records::{BindingRecord, clip};

/// A port that keeps neither to [`START_WITHIN`] nor to the wall time of a call is given up
/// so much later than both: loading the component may take time too.
const GRACE: Duration = Duration::from_secs(3);

/// The most bytes of why a resolver did not decide, as told in each verdict.
const MAX_WHY: usize = 240;

/// The most bytes of labels that a past outcome keeps: 64 outcomes have to fit.
const MAX_PAST_LABELS: usize = 512;

/// A decision that was made and is not recorded yet.
pub(super) struct Made {
    pub(super) record: DecisionRecord,
    pub(super) input: Value,
    pub(super) asks: Vec<usize>,
    pub(super) groups: BTreeMap<GroupId, Other>,
    pub(super) outcomes: Vec<PastOutcome>,
    /// Whether the live resolver decided, where it was called. `Unavailable` is no call: an
    /// input that cannot be handed over, a queue that is full, a component whose files are
    /// gone say nothing of how the resolver decides, and quarantine would not mend them.
    pub(super) healthy: Option<bool>,
    pub(super) shadow: Option<ShadowJob>,
}

impl Control {
    /// Has a set decided by whoever is bound.
    pub(super) async fn make(
        &self,
        together: Together,
        binding: Option<&BindingRecord>,
        fallback: Fallback,
    ) -> Made {
        let set = together.set;
        let bound = binding.map(|record| &record.binding);
        let call = match binding {
            None => native(&set),
            Some(record) => match record.binding.quarantined {
                Some(since) => not_called(
                    record.limits,
                    format!("{} is in quarantine since {since}", record.binding.live),
                ),
                None => {
                    self.checked(&record.binding.live, &set, record.limits)
                        .await
                }
            },
        };
        let healthy = bound
            .filter(|bound| bound.quarantined.is_none())
            .and(match call.outcome {
                CallOutcome::Decided => Some(true),
                CallOutcome::Unavailable { .. } => None,
                _ => Some(false),
            });
        let (decision, fallback) = match (&call.outcome, &call.decision) {
            (CallOutcome::Decided, Some(decision)) => (decision.clone(), None),
            _ => {
                let why = clip(&why(&call.outcome), MAX_WHY);
                tracing::warn!(
                    pool = %set.pool,
                    resolver = bound.map(|bound| bound.live.to_string()),
                    %why,
                    ?fallback,
                    "the resolver did not decide"
                );
                let (decision, used) = fall_back(&set, fallback, &why);
                (decision, Some(used))
            }
        };
        let record = DecisionRecord {
            id: self.fresh(DecisionId::from_parts),
            at: set.now,
            pool: set.pool.clone(),
            library: set.library.clone(),
            groups: together.asking,
            contenders: u32::try_from(set.contenders.len()).unwrap_or(u32::MAX),
            input: policy::digest(&together.text),
            scope: bound.map(|bound| bound.scope.clone()),
            resolver: bound.map(|bound| bound.live.clone()),
            call,
            fallback,
            decision,
            shadow: None,
        };
        tracing::debug!(
            decision = %record.id,
            contenders = record.contenders,
            outcome = record.call.outcome.name(),
            "decided"
        );
        Made {
            outcomes: outcomes(&set, &record),
            shadow: binding.and_then(|binding| ShadowJob::due(binding, &record, &set)),
            input: serde_json::from_str(&together.text).expect("canonical JSON is JSON"),
            asks: together.asks,
            groups: together.groups,
            healthy,
            record,
        }
    }

    /// A call that decided only if what it decided keeps the invariants, whatever the port
    /// says, and within its time. How long the port may take to start it counts apart.
    pub(super) async fn checked(
        &self,
        release: &ReleaseRef,
        set: &Arc<ConflictSet>,
        limits: Limits,
    ) -> Call {
        let begun = Instant::now();
        // A port that cannot start the call in time says so itself.
        let at_most = START_WITHIN + Duration::from_millis(limits.wall_ms.into()) + GRACE;
        let asked = self
            .ports
            .resolvers
            .call(release.component, Arc::clone(set), limits);
        let Ok(mut call) = tokio::time::timeout(at_most, asked).await else {
            let mut call = not_called(limits, String::new());
            call.outcome = CallOutcome::TimedOut;
            call.wall_us = micros(begun);
            return call;
        };
        bound_texts(&mut call.outcome);
        let Some(decision) = &mut call.decision else {
            if call.outcome == CallOutcome::Decided {
                call.outcome = CallOutcome::Invalid {
                    violation: "expected a decision, found none".to_owned(),
                };
            }
            return call;
        };
        if call.outcome == CallOutcome::Decided
            && let Err(violation) = valid(set, decision)
        {
            call.outcome = CallOutcome::Invalid {
                violation: clip(&violation, MAX_REASON_BYTES),
            };
        }
        decision.verdicts.sort_by_key(|verdict| verdict.id);
        call.output = Some(output(decision));
        if decision.verdicts.len() > set.contenders.len() {
            // Too large to be kept; its digest stands.
            call.decision = None;
        }
        call
    }
}

fn valid(set: &ConflictSet, decision: &Decision) -> Result<(), String> {
    let reasons = decision.verdicts.iter().map(|verdict| &verdict.reason);
    if let Some(reason) = reasons
        .chain([&decision.reason])
        .find(|reason| reason.len() > MAX_REASON_BYTES)
    {
        return Err(format!(
            "expected a reason of at most {MAX_REASON_BYTES} bytes, found {}",
            reason.len()
        ));
    }
    for verdict in &decision.verdicts {
        // A code of the resolver's own, a colon, and the reason again.
        if let model::Action::Reject { refusal } = &verdict.action
            && refusal.message.len() > 2 * MAX_REASON_BYTES
        {
            return Err(format!(
                "expected a refusal of at most {} bytes, found {}",
                2 * MAX_REASON_BYTES,
                refusal.message.len()
            ));
        }
    }
    policy::check_decision(set, decision).map_err(|violation| violation.to_string())
}

/// The fallback's decision and which fallback that was: one that broke an invariant
/// itself, which none does, would defer.
fn fall_back(set: &ConflictSet, fallback: Fallback, why: &str) -> (Decision, Fallback) {
    let decision = policy::decide_by_fallback(set, fallback, why);
    match policy::check_decision(set, &decision) {
        Ok(()) => (decision, fallback),
        Err(violation) => {
            tracing::error!(?fallback, %violation, "the fallback's decision is not used");
            let decision = policy::decide_by_fallback(set, Fallback::Defer, why);
            (decision, Fallback::Defer)
        }
    }
}

fn output(decision: &Decision) -> Sha256 {
    policy::digest(policy::canonical_decision(decision))
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The native policy, as a call.
fn native(set: &ConflictSet) -> Call {
    let begun = Instant::now();
    let decision = policy::priority_deadline(set);
    let outcome = match policy::check_decision(set, &decision) {
        Ok(()) => CallOutcome::Decided,
        Err(violation) => CallOutcome::Invalid {
            violation: violation.to_string(),
        },
    };
    Call {
        engine: EngineId {
            version: "native".to_owned(),
            compatibility: env!("CARGO_PKG_VERSION").to_owned(),
        },
        limits: Limits::DEFAULT,
        outcome,
        fuel: None,
        wall_us: micros(begun),
        output: Some(output(&decision)),
        decision: Some(decision),
    }
}

fn not_called(limits: Limits, why: String) -> Call {
    Call {
        engine: EngineId {
            version: "none".to_owned(),
            compatibility: String::new(),
        },
        limits,
        outcome: CallOutcome::Unavailable { why },
        fuel: None,
        wall_us: 0,
        decision: None,
        output: None,
    }
}

fn why(outcome: &CallOutcome) -> String {
    match outcome {
        CallOutcome::Error { code, message } => format!("error {code}: {message}"),
        CallOutcome::Invalid { violation } => format!("invalid: {violation}"),
        CallOutcome::Trap { kind, message } => format!("trap {kind}: {message}"),
        CallOutcome::OutOfFuel => "out of fuel".to_owned(),
        CallOutcome::TimedOut => "out of wall time".to_owned(),
        CallOutcome::Unavailable { why } => format!("unavailable: {why}"),
        outcome => outcome.name().to_owned(),
    }
}

/// What a resolver says when it fails is kept as a record keeps reasons.
fn bound_texts(outcome: &mut CallOutcome) {
    let texts: [Option<&mut String>; 2] = match outcome {
        CallOutcome::Error { code, message } => [Some(code), Some(message)],
        CallOutcome::Trap { kind, message } => [Some(kind), Some(message)],
        CallOutcome::Invalid { violation } => [Some(violation), None],
        CallOutcome::Unavailable { why } => [Some(why), None],
        _ => [None, None],
    };
    for text in texts.into_iter().flatten() {
        *text = clip(text, MAX_REASON_BYTES);
    }
}

/// What becomes of those who asked, for the pool's history.
fn outcomes(set: &ConflictSet, record: &DecisionRecord) -> Vec<PastOutcome> {
    let asked = set
        .contenders
        .iter()
        .filter(|c| record.groups.contains(&c.group));
    asked
        .filter_map(|c| {
            let verdict = record.decision.verdicts.iter().find(|v| v.id == c.id)?;
            let mut room = MAX_PAST_LABELS;
            let labels = c.labels.iter().filter(|(name, value)| {
                let size = name.len() + value.len();
                let fits = size <= room;
                room -= if fits { size } else { 0 };
                fits
            });
            Some(PastOutcome {
                id: c.id,
                service: c.service.clone(),
                outcome: verdict.action.name().to_owned(),
                bytes: c.bytes,
                priority: c.priority,
                submitted_at: c.submitted_at,
                decided_at: set.now,
                labels: labels.map(|(k, v)| (k.clone(), v.clone())).collect(),
            })
        })
        .collect()
}

/// Whose health a call counts for.
pub(super) fn counts_for(made: &Made) -> Option<(&Scope, &ReleaseRef, bool)> {
    let healthy = made.healthy?;
    Some((
        made.record.scope.as_ref()?,
        made.record.resolver.as_ref()?,
        healthy,
    ))
}
