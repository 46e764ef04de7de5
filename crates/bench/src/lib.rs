//! Tapemark's benchmarks. Each compares with a peer or a physical limit *in the same run* and
//! reports the ratio; the figures are for people and never asserted by a test.
//!
//! - [`mod@catalogue`]: what DynamoDB bills for a checkpoint, counted on its interface.
//! - [`mod@coldstart`]: from `exec` to a function's first poll, beside a hello world and Node.js.
//! - [`mod@simulate`]: how long checkpoints take to reach tape under our policy and others', as a
//!   discrete-event simulation on LTO-9 mechanics.
//! - [`mod@orchestrate`]: hundreds of concurrent checkpoints through the real stack and agent, as
//!   separate processes, beside a plain write of the same bytes.
//! - [`mod@resolver`]: what a decision costs when a WebAssembly component makes it, beside the
//!   native policy.
//!
//! It **never** measures a copy of the code under test: `simulate` calls the agent's own batch
//! policy and `simlib`'s timing model, `orchestrate` runs the `tapemark` command, `resolver` replays with the kit's own code.
//!
//! ```
//! use bench::simulate::{self, Settings, workload::Workload};
//!
//! let settings = Settings {
//!     workload: Workload { services: 40, deploys_per_week: 400, weeks: 1, ..Workload::default() },
//!     confidence_seeds: vec![],
//!     ..Settings::default()
//! };
//! let report = simulate::simulate(&settings)?;
//! let ours = report.policies.iter().find(|row| row.name == "ours").unwrap();
//! println!("p99 {} s, {} times the physical limit", ours.p99_s, ours.p99_over_limit);
//! # Ok::<(), bench::simulate::engine::Stuck>(())
//! ```

pub mod catalogue;
pub mod coldstart;
pub mod orchestrate;
pub mod resolver;
pub mod simulate;
pub mod stats;
pub mod table;
