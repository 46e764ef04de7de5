//! What all Lambda functions share: their environment, the ports built once, refusals as
//! Step Functions catches them, one span and one set of metrics an invocation.
//!
//! It holds no rule of the business: a function parses its event, asks `control`, and this
//! crate carries the answer out. It prints nothing but log lines and metrics, and neither
//! holds a token. Nothing here relies on unwinding: `cargo lambda` builds with
//! `panic = abort`, so a panic ends the process and Lambda starts another.
//!
//! ```
//! use lambda::{Environment, Failure};
//! use lambda_runtime::Diagnostic;
//! use model::{Code, Refusal};
//!
//! // What is missing names itself.
//! let environment = Environment::of(|_| None);
//! let error = environment.table().unwrap_err().to_string();
//! assert!(error.starts_with("TAPEMARK_TABLE: expected"));
//!
//! // A refusal is what `ErrorEquals` in the state machine matches.
//! let failure = Failure(Refusal::new(Code::PoolFull, "expected 5 bytes of room, found 3"));
//! assert_eq!(Diagnostic::from(failure).error_type, "Tapemark.PoolFull");
//! ```

mod environment;
mod failure;
#[cfg(feature = "http")]
pub mod http;
mod invocation;
mod phase;
mod ports;
mod serve;
mod tally;

pub use environment::{Environment, Sources, Wrong};
pub use failure::Failure;
pub use invocation::{Function, MAX_ANSWER_BYTES, remaining};
pub use phase::{PhaseFunction, ids};
pub use ports::{Basis, NoBell};
pub use serve::{Started, serve, start};
pub use tally::Tally;
