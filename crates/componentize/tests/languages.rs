//! Resolvers in JavaScript, Python, C and Rust, built with the command their authors use
//! and run in the host: they decide alike, whatever they do is contained, and a new project
//! builds, passes its own tests and keeps the invariants.
//!
//! Needs the compilers that `.ci/setup` installs. What is missing is said, and is a failure
//! with `TAPEMARK_TEST_REQUIRE=all`.

#![allow(clippy::unwrap_used, clippy::panic)]

mod languages {
    mod attacks;
    mod examples;
    mod guest;
    mod projects;
}
