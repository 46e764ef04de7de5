//! Compiling ahead of time, at publication. Functions that decide have no compiler.

use model::{Code, Refusal};

use crate::{Arch, HostError, inspect};

/// Compiles a component for `arch`, whatever this program runs on. The result is native
/// code: it is kept with its digest in a signed record ([`Store`](crate::Store)) and loaded
/// by nobody who does not have that.
///
/// Takes 0.15 s for a resolver in Rust, and up to 20 s and 430 MB for one in Python: not
/// for a thread that serves requests.
///
/// # Errors
/// `ResolverInvalid`: the first finding of [`inspect`](inspect()), or why it does not
/// compile. `Internal` where the compiler cannot be started.
pub fn compile(component: &[u8], arch: Arch) -> Result<Vec<u8>, Refusal> {
    let inspection = inspect(component)?;
    if let Some(finding) = inspection.findings.into_iter().next() {
        return Err(finding);
    }
    let engine = crate::engine::compiler(arch).map_err(|error| match error {
        HostError::Refused(refusal) => refusal,
        other => Refusal::new(Code::Internal, other.to_string()),
    })?;
    engine.precompile_component(component).map_err(|error| {
        let why: String = format!("{error:#}").chars().take(500).collect();
        Refusal::new(
            Code::ResolverInvalid,
            format!("expected a component that compiles for {arch}, found: {why}"),
        )
    })
}
