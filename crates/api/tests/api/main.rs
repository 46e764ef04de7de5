//! The API as its clients meet it: over HTTP, with a control plane in memory.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod answers;
mod callers;
mod resolvers;
mod secrets;
mod support;
mod transport;
