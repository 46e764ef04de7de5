//! What an order of writes costs on tape, and two ways to a cheaper one: a bounded search
//! ([`search`]) and a learned linear score ([`learned`]).
//!
//! Pure integer functions of their arguments: no I/O, no clock, no randomness but what a
//! seed gives, no dependencies. So the same code runs inside the resolver components
//! `genetic` and `learned`, in the trainer, and in the replay that scores decisions, and
//! says the same in each. It never decides who may go ahead: forks, supersedes and what
//! may be merged are the caller's, and reach it as jobs.
//!
//! ```
//! use schedule::{Claim, Job, Plan, Problem, Volume};
//!
//! let job = |gb: u64, due| Job {
//!     bytes: gb * 1_000_000_000,
//!     claims: vec![Claim { weight: schedule::weight(5), due }],
//!     ..Job::default()
//! };
//! let problem = Problem {
//!     jobs: vec![job(60, None), job(1, Some(20_000))],
//!     volumes: vec![Volume { free: 1 << 40, begun: true }],
//!     drives: vec![Some(0)],
//! };
//! let standard = problem.evaluate(&Plan::standard(&problem));
//! let found = schedule::search(&problem, 7);
//! assert!(found.cost < standard.cost);
//! assert_eq!(found.plan.line, [1, 0]);
//! ```

mod cost;
mod learned;
mod random;
mod round;
mod search;

pub use cost::{
    Claim, Cost, DEFER_MS, EMPTY_MOUNT_MS, EXCHANGE_MS, Job, LOCATE_MS, Outcome, Plan, Problem,
    REQUEST_MS, Volume, bytes_to_ms, weight,
};
pub use learned::{Candidate, FEATURE_NAMES, FEATURES, Features, features, line_by_score, score};
pub use random::{Random, seed};
pub use round::{Facts, Fate, PastFacts, Request, Round, VolumeFacts, standard_order};
pub use search::{Found, search};
