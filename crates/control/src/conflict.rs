//! Conflicts: requests that cannot all be honoured as asked.
//!
//! A [`Resolver`] decides a set of contenders. Whatever it decides is checked against
//! the invariants ([`check_decision`]) before anything is applied; a decision that breaks
//! one is thrown away and the built-in policy decides instead. So a resolver can reorder,
//! merge, supersede, defer or refuse; it can never lose, split or corrupt.

mod collect;

use model::{ConflictSet, Decision};
use policy::{check_decision, priority_deadline};

pub(crate) use collect::{Gathered, is_settled};

/// Decides conflict sets.
pub trait Resolver: Send + Sync {
    /// A verdict for each contender.
    ///
    /// # Errors
    /// A text for the log; the built-in policy decides instead.
    fn decide(&self, set: &ConflictSet) -> Result<Decision, String>;
}

/// The built-in policy as a [`Resolver`].
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultPolicy;

impl Resolver for DefaultPolicy {
    fn decide(&self, set: &ConflictSet) -> Result<Decision, String> {
        Ok(priority_deadline(set))
    }
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
    priority_deadline(set)
}
