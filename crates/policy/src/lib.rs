//! What every decision on a conflict set must keep, what the conflicts are, and the
//! native form of the default policy.
//!
//! Pure functions of a [`ConflictSet`]: no I/O, no clock, no randomness. Whoever decides
//! a set, a WASM component or a native function, is checked with [`check_decision`]
//! before anything is applied; so a resolver can reorder, merge, supersede, defer or
//! refuse, and can never lose, split or corrupt.
//!
//! ```
//! use model::{ConflictSet, Decision};
//!
//! let set = ConflictSet {
//!     now: jiff::Timestamp::UNIX_EPOCH,
//!     library: "lib".parse().unwrap(),
//!     pool: "main".parse().unwrap(),
//!     contenders: Vec::new(),
//!     volumes: Vec::new(),
//!     drives: Vec::new(),
//!     conflicts: Vec::new(),
//!     history: Vec::new(),
//! };
//! let decision: Decision = policy::priority_deadline(&set);
//! assert_eq!(policy::check_decision(&set, &decision), Ok(()));
//! ```

mod canonical;
mod detect;
mod invariants;
mod native;
mod sample;

use jiff::Timestamp;
use model::{ConflictSet, Contender, Decision, GroupId};

pub use canonical::{canonical_decision, canonical_set, digest, sort_set};
pub use detect::find_conflicts;
pub use invariants::{LONGEST_DEFER, Violation, check_decision};
pub use native::{DEFER_AGAIN, decide_by_fallback, order, priority_deadline};
pub use sample::sample;

/// Two contenders of one lineage: same service, same branch.
pub fn same_lineage(a: &Contender, b: &Contender) -> bool {
    a.service == b.service && a.branch == b.branch
}

/// By age, the same for all members of a group: a total order of groups.
pub fn age(c: &Contender) -> (Timestamp, GroupId) {
    (c.submitted_at, c.group)
}

/// True where one of the group's members is settled: then all of it proceeds.
pub fn is_settled(set: &ConflictSet, group: GroupId) -> bool {
    set.contenders.iter().any(|c| c.group == group && c.settled)
}

/// The two decisions do the same, whatever reasons they give.
pub fn same_actions(a: &Decision, b: &Decision) -> bool {
    let actions = |decision: &Decision| {
        let mut actions: Vec<_> = decision
            .verdicts
            .iter()
            .map(|verdict| (verdict.id, verdict.action.clone()))
            .collect();
        for (_, action) in &mut actions {
            if let model::Action::Reject { refusal } = action {
                refusal.message.clear();
            }
        }
        actions.sort_by_key(|(id, _)| *id);
        actions
    };
    actions(a) == actions(b)
}
