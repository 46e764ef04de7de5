//! What every implementation of a port must do, as test suites.
//!
//! Call a suite from a test with something that makes a fresh, empty implementation. It
//! panics, as a test does, with what was expected and what was found.

#![allow(clippy::unwrap_used, clippy::panic)] // Test code that lives in the library.

mod objects;
mod table;

pub use objects::{Fetch, ObjectsUnderTest, Offer, objects};
pub use table::{claims, table, table_moments, table_sizes};
