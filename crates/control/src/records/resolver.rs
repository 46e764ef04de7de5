//! Resolvers, what they are bound to, and what was decided.

use jiff::Timestamp;
use model::{
    Action, Binding, Decision, DecisionId, DecisionRecord, Limits, PastOutcome, PoolName, Release,
    ShadowCall,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalogue::{Record, later, millis};
use crate::keys;
use crate::ports::Key;

/// For how long a decision can be looked up and made again: a quarter, so that a new
/// resolver can be tried on all of it. The ledger's leaf of it stays for ever.
pub(crate) const KEEP_DECISIONS_SECONDS: i64 = 92 * 24 * 3600;

/// The largest record of a decision as JSON: below an item's 400 KB, with room for keys.
const MAX_RECORD_BYTES: usize = 380_000;

/// What is left of a reason where they are too long for an item, in bytes.
const SHORT_REASON: usize = 64;

/// A published resolver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReleaseRecord {
    pub(crate) release: Release,
}

impl Record for ReleaseRecord {
    fn key(&self) -> Key {
        keys::release(&self.release.id.name, &self.release.id.version)
    }
    fn gsi1(&self) -> Option<Key> {
        let id = &self.release.id;
        let at = millis(self.release.published_at);
        Some(Key::new(
            keys::RELEASES,
            format!("{}#{at:020}#{}", id.name, id.version),
        ))
    }
}

/// What decides for a scope. A release's limits never change, so they are kept here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BindingRecord {
    pub(crate) binding: Binding,
    pub(crate) limits: Limits,
    pub(crate) shadow_limits: Limits,
}

impl Record for BindingRecord {
    fn key(&self) -> Key {
        keys::binding(&self.binding.scope)
    }
}

/// A decision as it is stored: nothing twice, and within the size of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DecisionItem {
    record: DecisionRecord,
    /// True where the call's decision is the one of the record.
    same: bool,
    /// True where a shadow was asked as well.
    pub(crate) shadowed: bool,
}

impl DecisionItem {
    pub(crate) fn new(record: &DecisionRecord, shadowed: bool) -> Self {
        let mut record = record.clone();
        let same = record.call.decision.as_ref() == Some(&record.decision);
        if same {
            record.call.decision = None;
        }
        let large = |record: &DecisionRecord| {
            serde_json::to_string(record).map_or(0, |text| text.len()) > MAX_RECORD_BYTES
        };
        if large(&record) {
            if let Some(decision) = &mut record.call.decision {
                shorten(decision);
            }
            shorten(&mut record.decision);
        }
        Self {
            record,
            same,
            shadowed,
        }
    }

    pub(crate) const fn id(&self) -> DecisionId {
        self.record.id
    }

    pub(crate) fn into_record(self, shadow: Option<ShadowCall>) -> DecisionRecord {
        let mut record = self.record;
        if self.same {
            record.call.decision = Some(record.decision.clone());
        }
        record.shadow = shadow;
        record
    }
}

/// Shortens the reasons; what is done, and the digest of what was said, stay.
fn shorten(decision: &mut Decision) {
    decision.reason = clip(&decision.reason, SHORT_REASON);
    for verdict in &mut decision.verdicts {
        verdict.reason = clip(&verdict.reason, SHORT_REASON);
        if let Action::Reject { refusal } = &mut verdict.action {
            refusal.message = clip(&refusal.message, SHORT_REASON);
            refusal.field = refusal
                .field
                .as_deref()
                .map(|field| clip(field, SHORT_REASON));
        }
    }
}

/// At most `bytes` of a text, without control characters, which take six bytes each as
/// JSON.
pub(crate) fn clip(text: &str, bytes: usize) -> String {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end]
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

impl Record for DecisionItem {
    fn key(&self) -> Key {
        keys::decision(self.record.id)
    }
    fn gsi2(&self) -> Option<Key> {
        Some(Key::new(keys::DECISIONS, self.record.id.to_string()))
    }
    fn expires_at(&self) -> Option<Timestamp> {
        Some(later(self.record.at, KEEP_DECISIONS_SECONDS))
    }
}

/// The conflict set of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputItem {
    pub(crate) id: DecisionId,
    pub(crate) at: Timestamp,
    /// Its canonical text, parsed: as a text in JSON it could take twice the room.
    pub(crate) input: Value,
}

impl Record for InputItem {
    fn key(&self) -> Key {
        keys::decision_input(self.id)
    }
    fn expires_at(&self) -> Option<Timestamp> {
        Some(later(self.at, KEEP_DECISIONS_SECONDS))
    }
}

/// What a shadow would have decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShadowItem {
    pub(crate) id: DecisionId,
    pub(crate) at: Timestamp,
    pub(crate) shadow: ShadowCall,
}

impl ShadowItem {
    pub(crate) fn new(id: DecisionId, at: Timestamp, mut shadow: ShadowCall) -> Self {
        let large = serde_json::to_string(&shadow).map_or(0, |text| text.len());
        if large > MAX_RECORD_BYTES
            && let Some(decision) = &mut shadow.call.decision
        {
            shorten(decision);
        }
        Self { id, at, shadow }
    }
}

impl Record for ShadowItem {
    fn key(&self) -> Key {
        keys::decision_shadow(self.id)
    }
    fn expires_at(&self) -> Option<Timestamp> {
        Some(later(self.at, KEEP_DECISIONS_SECONDS))
    }
}

/// What was decided last in a pool, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryRecord {
    pub(crate) pool: PoolName,
    pub(crate) outcomes: Vec<PastOutcome>,
}

impl Record for HistoryRecord {
    fn key(&self) -> Key {
        keys::history(&self.pool)
    }
}

#[cfg(test)]
mod tests {
    use model::{Call, CallOutcome, CheckpointId, Code, EngineId, Refusal, Sha256, Verdict};

    use super::*;

    #[test]
    fn the_largest_decision_fits_an_item_and_says_the_same() {
        let verdicts = (0..=255).map(|n| Verdict {
            id: CheckpointId::from_parts(n, &[7; 10]),
            action: Action::Reject {
                refusal: Refusal::new(Code::PolicyRefused, "\u{1}".repeat(1100)).at("x"),
            },
            reason: "\u{1}é".repeat(340),
        });
        let decision = Decision {
            verdicts: verdicts.collect(),
            reason: "\u{2}".repeat(1024),
        };
        let record = DecisionRecord {
            id: DecisionId::from_parts(1, &[1; 10]),
            at: Timestamp::UNIX_EPOCH,
            pool: "main".parse().unwrap(),
            library: "lib".parse().unwrap(),
            groups: vec![model::GroupId::from_parts(1, &[1; 10]); 64],
            contenders: 256,
            input: Sha256([0; 32]),
            scope: None,
            resolver: None,
            call: Call {
                engine: EngineId {
                    version: "x".to_owned(),
                    compatibility: String::new(),
                },
                limits: Limits::DEFAULT,
                outcome: CallOutcome::Decided,
                fuel: None,
                wall_us: 0,
                decision: Some(decision.clone()),
                output: None,
            },
            fallback: None,
            decision,
            shadow: None,
        };
        let mut other = record.clone();
        other.decision.verdicts.pop();
        for (record, same) in [(record, true), (other, false)] {
            let item = DecisionItem::new(&record, false);
            assert!(serde_json::to_string(&item).unwrap().len() < 390_000);
            let kept = item.into_record(None);
            assert!(policy::same_actions(&kept.decision, &record.decision));
            let called = kept.call.decision.unwrap();
            assert_eq!(called == kept.decision, same);
        }
        let small = DecisionItem::new(&tiny(), true);
        assert_eq!(small.into_record(None), tiny());
    }

    fn tiny() -> DecisionRecord {
        serde_json::from_value(serde_json::json!({
            "id": "019b76da-a800-7000-8000-000000000000",
            "at": "2026-01-01T00:00:00Z",
            "pool": "main", "library": "lib", "groups": [], "contenders": 0,
            "input": "00".repeat(32), "scope": null, "resolver": null,
            "call": {
                "engine": {"version": "native", "compatibility": ""},
                "limits": Limits::DEFAULT, "outcome": "out_of_fuel", "fuel": 3, "wall_us": 1,
                "decision": null, "output": null,
            },
            "fallback": "defer",
            "decision": {"verdicts": [], "reason": "fallback"},
            "shadow": null,
        }))
        .unwrap()
    }
}
