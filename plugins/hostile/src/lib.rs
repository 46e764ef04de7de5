//! Everything a bad resolver might do, for the tests of the host.
//!
//! One component with all the attacks: the name of the set's pool says which. In any
//! other pool it decides well: all go ahead, by priority and deadline. What Rust cannot
//! say, the host's tests write in the text format: growing tables, strings that share one
//! buffer, code that runs when the component is instantiated.

mod attacks;
mod lies;

use std::sync::atomic::{AtomicU64, Ordering};

wit_bindgen::generate!({ path: "../wit", world: "resolver" });

use exports::tapemark::resolver::policy::Guest;
use tapemark::resolver::types::{
    Action, ConflictSet, Decision, Request, ResolverError, ResolverInfo, Verdict,
};

struct Hostile;

/// How often this instance was called: would give away a host that keeps instances.
static CALLS: AtomicU64 = AtomicU64::new(0);

impl Guest for Hostile {
    fn describe() -> ResolverInfo {
        ResolverInfo {
            name: "hostile".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "does whatever the name of the pool says".to_owned(),
            labels: Vec::new(),
        }
    }

    fn resolve(input: ConflictSet) -> Result<Decision, ResolverError> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed);
        let name = input.pool.clone();
        attacks::run(&name, &input);
        if let Some(answer) = lies::tell(&name, &input, calls) {
            return answer;
        }
        Ok(decide(&input, |request| {
            Action::Proceed(line(&input, request))
        }))
    }
}

/// The place in line of a request's group, as the contract's scale has it.
fn line(input: &ConflictSet, request: &Request) -> u64 {
    const LATEST: u64 = (1 << 48) - 1;
    let of_group = input.requests.iter().filter(|o| o.group == request.group);
    of_group
        .map(|o| (u64::from(9 - o.priority) << 48) | o.deadline.unwrap_or(LATEST).min(LATEST))
        .min()
        .unwrap_or(LATEST)
}

/// A verdict for each request.
fn decide(input: &ConflictSet, action: impl Fn(&Request) -> Action) -> Decision {
    let verdicts = input.requests.iter().map(|request| Verdict {
        id: request.id.clone(),
        action: action(request),
        reason: "because".to_owned(),
        labels: Vec::new(),
    });
    Decision {
        verdicts: verdicts.collect(),
        reason: "as the pool's name says".to_owned(),
        labels: Vec::new(),
    }
}

export!(Hostile);
