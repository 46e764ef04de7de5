//! Resolvers, what they are bound to, and what was decided.

use jiff::Timestamp;
use model::{
    Binding, Decision, DecisionId, DecisionRecord, Limits, PastOutcome, PoolName, Release,
    ShadowCall,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalogue::{Record, later, millis};
use crate::keys;
use crate::ports::Key;

/// For how long a decision can be looked up and made again: a quarter, so that a new
/// resolver can be tried on all of it. The ledger's leaf of it stays for ever.
const KEEP_DECISIONS_SECONDS: i64 = 92 * 24 * 3600;

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
    fn gsi2(&self) -> Option<Key> {
        let id = &self.release.id;
        let at = millis(self.release.published_at);
        Some(Key::new(
            keys::releases_of(&id.name),
            format!("{at:020}#{}", id.version),
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
    let verdicts = decision.verdicts.iter_mut();
    for reason in verdicts
        .map(|verdict| &mut verdict.reason)
        .chain([&mut decision.reason])
    {
        *reason = clip(reason, SHORT_REASON);
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
