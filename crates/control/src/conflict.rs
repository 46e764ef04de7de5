//! Conflicts: requests that cannot all be honoured as asked.
//!
//! A [`Resolver`] decides a set of contenders. Whatever it decides is checked against
//! the invariants ([`check_decision`]) before anything is applied; a decision that breaks
//! one is thrown away and the built-in policy decides instead. So a resolver can reorder,
//! merge, supersede, defer or refuse; it can never lose, split or corrupt.

mod collect;
mod detect;
mod invariants;
mod policy;

use jiff::Timestamp;
use model::{ConflictSet, Contender, Decision, GroupId};

pub(crate) use collect::{Gathered, is_settled};
pub use detect::find_conflicts;
pub use invariants::{Violation, check_decision};
pub(crate) use policy::order;
pub use policy::{DefaultPolicy, decide};

/// Decides conflict sets.
pub trait Resolver: Send + Sync {
    /// A verdict for each contender.
    ///
    /// # Errors
    /// A text for the log; the built-in policy decides instead.
    fn decide(&self, set: &ConflictSet) -> Result<Decision, String>;
}

/// The decision of `resolver` where it keeps the invariants, else that of the built-in
/// policy.
pub fn decide_checked(resolver: &dyn Resolver, set: &ConflictSet) -> Decision {
    let why = match resolver.decide(set) {
        Ok(decision) => match check_decision(set, &decision) {
            Ok(()) => return decision,
            Err(violation) => violation.to_string(),
        },
        Err(error) => error,
    };
    tracing::warn!(%why, "the resolver's decision is not used");
    decide(set)
}

/// Two contenders of one lineage: same service, same branch.
pub(crate) fn same_lineage(a: &Contender, b: &Contender) -> bool {
    a.service == b.service && a.branch == b.branch
}

/// By age, the same for all members of a group: a total order of groups.
pub(crate) fn age(c: &Contender) -> (Timestamp, GroupId) {
    (c.submitted_at, c.group)
}
