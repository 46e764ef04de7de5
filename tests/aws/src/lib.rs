//! What the stories on stand-ins for AWS have in common: starting a stand-in, speaking to it,
//! and leaving nothing of it behind.
//!
//! The stand-ins are programs that `.ci/setup` installs: MiniStack (an emulator in one
//! process), the Runtime Interface Emulator that SAM's wheel carries, and Debian's Docker for
//! `sam local`. A story says with [`need`] which of them it cannot do without.
//!
//! What it never does: ship. No crate depends on it, and it speaks to nothing but loopback and
//! the bridge of a Docker daemon that it started itself. It signs nothing: no stand-in that it
//! starts checks signatures.
//!
//! ```
//! use aws_stories::http::{self, Request, Response, Server};
//! let server = Server::start(|request: &Request| Response::new(200, request.body.clone()))?;
//! let answer = http::send(&server.address(), &Request::post("/echo", b"42".to_vec()))?;
//! assert_eq!((answer.status, answer.body.as_slice()), (200, b"42".as_slice()));
//! # Ok::<(), std::io::Error>(())
//! ```

// A harness for tests: what goes wrong in it is a test that fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc
)]

pub mod deployment;
pub mod docker;
pub mod events;
pub mod http;
pub mod issuer;
pub mod ministack;
pub mod process;
pub mod rie;

use std::path::PathBuf;

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .canonicalize()
        .unwrap()
}

/// Where a program is: the first of `/usr/local/bin`, `PATH` and `/usr/sbin`. `.ci/setup`
/// links into the first.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(PathBuf::from("/usr/local/bin"))
        .chain(std::env::split_paths(&path))
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// True when all these programs are there. Otherwise says what is missing, and fails where
/// nothing may be skipped (`TAPEMARK_TEST_REQUIRE=all`).
pub fn need(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|name| program(name).is_none())
        .collect();
    missing.is_empty() || lacking(&format!("{} missing; run .ci/setup", missing.join(", ")))
}

/// Says that a story cannot be told here and why; fails where nothing may be skipped. Gives
/// false, for `return`ing on.
pub fn lacking(what: &str) -> bool {
    let required = std::env::var("TAPEMARK_TEST_REQUIRE").is_ok_and(|v| v == "all");
    assert!(!required, "SKIPPED: {what}");
    eprintln!("SKIPPED: {what}");
    false
}
