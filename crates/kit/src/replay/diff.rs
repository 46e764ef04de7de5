//! How two decisions on one set differ, and why that matters.

use std::collections::BTreeMap;

use model::{Action, CheckpointId, ConflictSet, Decision};
use serde::Serialize;

use policy::age;

/// How far apart two decisions are; later ones matter more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Degree {
    /// Byte for byte the same.
    Same,
    /// The same actions in the same order; only the words differ.
    Reason,
    /// The same actions; the numbers of their places differ, the sequence does not.
    Number,
    /// The same actions in another sequence.
    Order,
    /// Something else becomes of a request.
    Action,
}

/// One request that is decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The request.
    pub id: CheckpointId,
    /// Its service.
    pub service: String,
    /// What became of it: `proceed`, `supersede BY`, `merge INTO`, `defer UNTIL`,
    /// `reject CODE`; `nothing` where it had no verdict.
    pub from: String,
    /// What would become of it.
    pub to: String,
    /// Why, in the words of the new decision.
    pub reason: String,
}

/// What differs between two decisions on one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How far apart they are.
    pub degree: Degree,
    /// Each request decided otherwise, by id. For [`Degree::Order`], those whose place in
    /// the sequence changed.
    pub changes: Vec<Change>,
}

/// Compares what was decided with what would be.
pub fn compare(set: &ConflictSet, from: &Decision, to: &Decision) -> Difference {
    let [old, new] = [from, to].map(by_id);
    let mut changes = Vec::new();
    let mut numbers_differ = false;
    for c in &set.contenders {
        let [a, b] = [&old, &new].map(|side| side.get(&c.id).map(|(action, _)| *action));
        if let (Some(Action::Proceed { order: a }), Some(Action::Proceed { order: b })) = (a, b) {
            numbers_differ |= a != b;
            continue;
        }
        let [a, b] = [a, b].map(|action| action.map_or("nothing".to_owned(), name));
        if a != b {
            changes.push(Change {
                id: c.id,
                service: c.service.to_string(),
                from: a,
                to: b,
                reason: new.get(&c.id).map_or("", |(_, reason)| reason).to_owned(),
            });
        }
    }
    if !changes.is_empty() {
        changes.sort_by_key(|change| change.id);
        let degree = Degree::Action;
        return Difference { degree, changes };
    }
    let [before, after] = [&old, &new].map(|side| sequence(set, side));
    if before != after {
        let place = |of: &[Vec<CheckpointId>], id| of.iter().position(|step| step.contains(&id));
        changes = set
            .contenders
            .iter()
            .filter_map(|c| {
                let [a, b] = [&before, &after].map(|of| place(of, c.id));
                (a != b).then(|| Change {
                    id: c.id,
                    service: c.service.to_string(),
                    from: in_line(a),
                    to: in_line(b),
                    reason: new.get(&c.id).map_or("", |(_, reason)| reason).to_owned(),
                })
            })
            .collect();
        changes.sort_by_key(|change| change.id);
        let degree = Degree::Order;
        return Difference { degree, changes };
    }
    let degree = if numbers_differ {
        Degree::Number
    } else if old == new && from.reason == to.reason {
        Degree::Same
    } else {
        Degree::Reason
    };
    Difference { degree, changes }
}

fn by_id(decision: &Decision) -> BTreeMap<CheckpointId, (&Action, &str)> {
    let each = decision.verdicts.iter();
    each.map(|v| (v.id, (&v.action, v.reason.as_str())))
        .collect()
}

/// The groups that go ahead, first to last: by order, and by age where orders are equal.
fn sequence(
    set: &ConflictSet,
    verdicts: &BTreeMap<CheckpointId, (&Action, &str)>,
) -> Vec<Vec<CheckpointId>> {
    let mut steps: BTreeMap<_, Vec<CheckpointId>> = BTreeMap::new();
    for c in &set.contenders {
        if let Some((Action::Proceed { order }, _)) = verdicts.get(&c.id) {
            steps.entry((*order, age(c))).or_default().push(c.id);
        }
    }
    let mut steps: Vec<_> = steps.into_values().collect();
    for step in &mut steps {
        step.sort_unstable();
    }
    steps
}

fn in_line(place: Option<usize>) -> String {
    place.map_or("not in line".to_owned(), |n| format!("place {}", n + 1))
}

fn name(action: &Action) -> String {
    match action {
        Action::Supersede { by } => format!("supersede {by}"),
        Action::Merge { into } => format!("merge {into}"),
        Action::Defer { until } => format!("defer {until}"),
        Action::Reject { refusal } => format!("reject {}", refusal.code.as_str()),
        other => other.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided() -> (ConflictSet, Decision) {
        let set = policy::sample(3, 24);
        let decision = policy::priority_deadline(&set);
        (set, decision)
    }

    fn proceeding(decision: &Decision) -> Vec<usize> {
        let each = decision.verdicts.iter().enumerate();
        each.filter(|(_, v)| matches!(v.action, Action::Proceed { .. }))
            .map(|(n, _)| n)
            .collect()
    }

    #[test]
    fn a_decision_is_the_same_as_itself_in_any_order_of_verdicts() {
        let (set, decision) = decided();
        let mut turned = decision.clone();
        turned.verdicts.reverse();
        assert_eq!(compare(&set, &decision, &turned).degree, Degree::Same);
    }

    #[test]
    fn other_words_are_no_more_than_that() {
        let (set, decision) = decided();
        let mut other = decision.clone();
        other.verdicts[0].reason = "because".to_owned();
        assert_eq!(compare(&set, &decision, &other).degree, Degree::Reason);
        let mut other = decision.clone();
        other.reason = "because".to_owned();
        assert_eq!(compare(&set, &decision, &other).degree, Degree::Reason);
    }

    #[test]
    fn other_numbers_in_the_same_sequence_change_nothing_on_tape() {
        let (set, decision) = decided();
        let mut other = decision.clone();
        for verdict in &mut other.verdicts {
            if let Action::Proceed { order } = &mut verdict.action {
                *order += 1;
            }
        }
        assert_eq!(compare(&set, &decision, &other).degree, Degree::Number);
    }

    #[test]
    fn another_sequence_names_who_moved() {
        let (set, decision) = decided();
        let mut other = decision.clone();
        let last = *proceeding(&other).last().unwrap();
        let moved = other.verdicts[last].id;
        let group = |id| set.contenders.iter().find(|c| c.id == id).unwrap().group;
        for verdict in &mut other.verdicts {
            if let Action::Proceed { order } = &mut verdict.action {
                *order = u64::from(group(verdict.id) != group(moved));
            }
        }
        let difference = compare(&set, &decision, &other);
        assert_eq!(difference.degree, Degree::Order);
        let first = difference.changes.iter().find(|c| c.id == moved).unwrap();
        assert_eq!(first.to, "place 1");
    }

    #[test]
    fn another_action_says_from_what_to_what_and_why() {
        let (set, decision) = decided();
        let mut other = decision.clone();
        let n = proceeding(&other)[0];
        other.verdicts[n].action = Action::Reject {
            refusal: model::Refusal::new(model::Code::LineageFork, "x"),
        };
        other.verdicts[n].reason = "no more of these".to_owned();
        let difference = compare(&set, &decision, &other);
        assert_eq!(difference.degree, Degree::Action);
        assert_eq!(difference.changes.len(), 1);
        let change = &difference.changes[0];
        assert_eq!(change.from, "proceed");
        assert_eq!(change.to, "reject Tapemark.LineageFork");
        assert_eq!(change.reason, "no more of these");
        other.verdicts.remove(n);
        assert_eq!(compare(&set, &decision, &other).changes[0].to, "nothing");
    }
}
