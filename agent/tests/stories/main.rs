//! The agent against a simulated library and a control plane in memory: one file a story.
//! Time is tokio's paused clock, so that nothing waits for real.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

mod batches;
mod control;
mod crashes;
mod faults;
mod fences;
mod identity;
mod reads;
mod rig;
mod tapes;
