//! The engine's tests, one file a theme. Facts come from recorded histories of Step Functions,
//! its documentation, and measurements others published; cases and definitions are our own.

#![allow(clippy::panic, reason = "a test that cannot go on says so")]

mod checkpoint_machine;
mod choices;
mod crashes;
mod data_flow;
mod definitions;
mod facts;
mod failures;
mod histories;
mod intrinsics;
mod random_definitions;
mod support;
mod tasks;
