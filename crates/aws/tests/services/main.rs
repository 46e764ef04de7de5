//! The smaller services: what is asked of them, byte for byte as the SDK sends it, and what
//! becomes of answers that are lost, late, or no.
//!
//! A scripted server stands for them: no emulator throttles, loses answers or tells a used
//! token from an unknown one as AWS does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod bell;
mod events;
mod kms;
mod resolvers;
mod script;
mod stepfunctions;
