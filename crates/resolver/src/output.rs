//! The digest of a decision, fast: it is taken of every call, and replay makes millions.
//!
//! The text is that of [`policy::canonical_decision`], written without building a tree of
//! values first (which takes longer than many a resolver). A test holds the two against
//! each other.

use std::fmt::Write as _;

use model::{Action, Decision, Refusal, Sha256, Verdict};

/// SHA-256 of the canonical decision, whose verdicts are sorted by id.
pub(crate) fn digest(decision: &Decision) -> Sha256 {
    match text(decision) {
        Some(text) => policy::digest(&text),
        None => policy::digest(policy::canonical_decision(decision)),
    }
}

/// None for what is not known here: an action of a later model, or verdicts out of order.
fn text(decision: &Decision) -> Option<String> {
    if !decision.verdicts.is_sorted_by_key(|verdict| verdict.id) {
        return None;
    }
    let mut text = String::with_capacity(200 * (decision.verdicts.len() + 1));
    text.push('{');
    if !decision.reason.is_empty() {
        text.push_str("\"reason\":");
        string(&mut text, &decision.reason)?;
        text.push(',');
    }
    text.push_str("\"verdicts\":[");
    for (n, one) in decision.verdicts.iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        verdict(&mut text, one)?;
    }
    text.push_str("]}");
    Some(text)
}

/// Names in the order of the alphabet, which differs from action to action.
fn verdict(text: &mut String, verdict: &Verdict) -> Option<()> {
    let id = verdict.id;
    write!(text, "{{\"action\":\"{}\"", verdict.action.name()).ok()?;
    match &verdict.action {
        Action::Supersede { by } => write!(text, ",\"by\":\"{by}\",\"id\":\"{id}\"").ok()?,
        Action::Merge { into } => write!(text, ",\"id\":\"{id}\",\"into\":\"{into}\"").ok()?,
        Action::Proceed { order } => write!(text, ",\"id\":\"{id}\",\"order\":{order}").ok()?,
        Action::Defer { .. } | Action::Reject { .. } => write!(text, ",\"id\":\"{id}\"").ok()?,
        _ => return None,
    }
    text.push_str(",\"reason\":");
    string(text, &verdict.reason)?;
    match &verdict.action {
        Action::Defer { until } => write!(text, ",\"until\":\"{until}\"").ok()?,
        Action::Reject { refusal } => refused(text, refusal)?,
        _ => {}
    }
    text.push('}');
    Some(())
}

fn refused(text: &mut String, refusal: &Refusal) -> Option<()> {
    write!(text, ",\"refusal\":{{\"code\":\"{}\"", refusal.code).ok()?;
    if let Some(field) = &refusal.field {
        text.push_str(",\"field\":");
        string(text, field)?;
    }
    text.push_str(",\"message\":");
    string(text, &refusal.message)?;
    text.push('}');
    Some(())
}

fn string(text: &mut String, value: &str) -> Option<()> {
    text.push_str(&serde_json::to_string(value).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::{CheckpointId, Code};
    use proptest::prelude::*;

    use super::*;

    fn actions() -> impl Strategy<Value = Action> {
        let id = any::<[u8; 10]>().prop_map(|b| CheckpointId::from_parts(7, &b));
        prop_oneof![
            any::<u64>().prop_map(|order| Action::Proceed { order }),
            id.clone().prop_map(|by| Action::Supersede { by }),
            id.prop_map(|into| Action::Merge { into }),
            (0..1i64 << 47).prop_map(|ms| Action::Defer {
                until: Timestamp::from_millisecond(ms).unwrap()
            }),
            (any::<String>(), any::<Option<String>>()).prop_map(|(message, field)| {
                let mut refusal = Refusal::new(Code::PolicyRefused, message);
                refusal.field = field;
                Action::Reject { refusal }
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn the_text_is_the_canonical_one(
            reason in any::<String>(),
            verdicts in prop::collection::vec((any::<[u8; 10]>(), actions(), any::<String>()), 0..8),
        ) {
            let mut decision = Decision {
                reason,
                verdicts: verdicts
                    .into_iter()
                    .map(|(id, action, reason)| {
                        let id = CheckpointId::from_parts(9, &id);
                        Verdict { id, action, reason }
                    })
                    .collect(),
            };
            prop_assert_eq!(digest(&decision), policy::digest(policy::canonical_decision(&decision)));
            decision.verdicts.sort_by_key(|verdict| verdict.id);
            prop_assert_eq!(text(&decision), Some(policy::canonical_decision(&decision)));
        }
    }
}
