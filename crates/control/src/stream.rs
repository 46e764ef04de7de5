//! What the table's stream of changes means: effects to be told, leaves of the ledger to be
//! published. For whoever reads that stream; on one machine nobody has to.

use jiff::Timestamp;
use model::{Code, Refusal};
use serde_json::Value;

use crate::Effect;
use crate::catalogue::Answer;
use crate::keys;
use crate::outbox::EffectRecord;
use crate::ports::Key;
use crate::records::LeavesRecord;

/// An item that is new in the table.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// An effect to be told, and then forgotten under this id: [`crate::Control::effects_told`].
    Effect(String, Effect),
    /// Leaves of the ledger, in order.
    Leaves(Vec<Leaf>),
    /// Something that nobody outside has to know.
    Other,
}

/// A leaf of the ledger, as an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// Its index, from 0, unique for ever.
    pub index: u64,
    /// What happened: `committed`, `decided`, …
    pub event: String,
    /// What it happened to, such as `checkpoint/<id>`.
    pub subject: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
    /// All of it.
    pub leaf: Value,
}

impl News {
    /// What a new item says, by its key and its record.
    ///
    /// # Errors
    /// `Internal` where the key promises a record that is not there: the same item will
    /// never say more.
    pub fn of(key: &Key, record: Value) -> Answer<Self> {
        if key.pk == keys::OUTBOX {
            let EffectRecord { id, effect } =
                serde_json::from_value(record).map_err(|error| damaged(key, &error))?;
            return Ok(Self::Effect(id, effect));
        }
        if !(key.pk.starts_with("LDG#") && key.sk.starts_with("LEAF#")) {
            return Ok(Self::Other);
        }
        let record: LeavesRecord =
            serde_json::from_value(record).map_err(|error| damaged(key, &error))?;
        let leaves = record.leaves.iter().zip(record.first..);
        let leaves =
            leaves.map(|(text, index)| leaf(text, index).map_err(|error| damaged(key, &error)));
        Ok(Self::Leaves(leaves.collect::<Answer<_>>()?))
    }
}

fn damaged(key: &Key, error: &serde_json::Error) -> Refusal {
    Refusal::new(
        Code::Internal,
        format!("expected a record at {}/{}: {error}", key.pk, key.sk),
    )
}

fn leaf(text: &str, index: u64) -> Result<Leaf, serde_json::Error> {
    let leaf: Value = serde_json::from_str(text)?;
    let member = |name: &str| leaf.get(name).and_then(Value::as_str);
    let event = member("event").unwrap_or("unnamed").to_owned();
    let subject = ["checkpoint", "agent"]
        .iter()
        .find_map(|name| Some(format!("{name}/{}", member(name)?)))
        .or_else(|| (event == "decided").then(|| Some(format!("decision/{}", member("id")?)))?);
    let at = ["committed_at", "at"]
        .iter()
        .find_map(|name| member(name)?.parse().ok());
    Ok(Leaf {
        index,
        event,
        subject,
        at,
        leaf,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_are_events_in_order() {
        let leaves = [
            json!({"event": "committed", "checkpoint": "c-1", "committed_at": "2026-11-22T10:00:00Z"}),
            json!({"event": "decided", "id": "d-1", "at": "2026-11-22T10:00:01Z"}),
        ];
        let record = json!({"first": 9, "leaves": leaves.map(|leaf| leaf.to_string())});
        let key = keys::ledger_leaves(9);
        let Ok(News::Leaves(found)) = News::of(&key, record) else {
            panic!("expected leaves");
        };
        let seen: Vec<_> = found
            .iter()
            .map(|leaf| (leaf.index, leaf.event.as_str(), leaf.subject.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                (9, "committed", Some("checkpoint/c-1")),
                (10, "decided", Some("decision/d-1")),
            ]
        );
        assert!(found.iter().all(|leaf| leaf.at.is_some()));
    }

    #[test]
    fn what_is_not_for_outside_is_told_apart_from_what_is_damaged() {
        let other = Key::new("CP#1", "META");
        assert_eq!(News::of(&other, json!({"first": 1})), Ok(News::Other));
        for key in [keys::ledger_leaves(0), Key::new(keys::OUTBOX, "id")] {
            let refusal = News::of(&key, json!({"odd": 1})).unwrap_err();
            assert_eq!(refusal.code, Code::Internal);
            assert!(refusal.message.contains(&key.pk), "{refusal}");
        }
    }

    #[test]
    fn an_effect_is_known_by_its_id() {
        let effect =
            json!({"id": "e-1", "effect": {"effect": "task_succeeded", "token": "t", "output": 1}});
        let news = News::of(&Key::new(keys::OUTBOX, "e-1"), effect).unwrap();
        assert!(matches!(news, News::Effect(id, Effect::TaskSucceeded { .. }) if id == "e-1"));
    }
}
