//! Compiling ahead of time, at publication. Functions that decide have no compiler.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use model::{Code, Refusal};

use crate::{Arch, HostError, inspect};

/// How long a compilation may take: fifteen times what Python's runtime takes. A component
/// can be small and take the compiler for ever.
const WALL: Duration = Duration::from_secs(300);

/// How many compilations may run at once, those included that took too long and are still
/// at it: one takes up to 430 MB, and cannot be stopped.
const AT_ONCE: usize = 4;

/// The compiler's stack: it recurses over what it compiles.
const STACK: usize = 16 << 20;

/// How many compile now.
static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// A place among those that compile, until it is dropped.
struct Place;

impl Place {
    /// Waits for a place, for `patience` at most.
    fn take(patience: Duration) -> Option<Self> {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut running, waited) = ENDED
            .wait_timeout_while(running, patience, |running| *running >= AT_ONCE)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        *running += 1;
        Some(Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

/// Compiles a component for `arch`, whatever this program runs on. The result is native
/// code: it is kept with its digest in a signed record ([`Store`](crate::Store)) and loaded
/// by nobody who does not have that.
///
/// Takes 0.15 s for a resolver in Rust, and up to 20 s and 430 MB for one in Python, on a
/// thread of its own: where the compiler itself fails, this does not.
///
/// # Errors
/// `ResolverInvalid`: the first finding of [`inspect`](inspect()), or why it does not
/// compile, or that it takes more than five minutes. `Busy` where four others are compiled for
/// as long.
/// `Internal` where the compiler cannot be started.
pub fn compile(component: &[u8], arch: Arch) -> Result<Vec<u8>, Refusal> {
    let inspection = inspect(component)?;
    if let Some(finding) = inspection.findings.into_iter().next() {
        return Err(finding);
    }
    let Some(place) = Place::take(WALL) else {
        return Err(Refusal::new(
            Code::Busy,
            format!("expected at most {AT_ONCE} compilations at once, found as many running"),
        ));
    };
    let (done, result) = channel();
    let component = component.to_vec();
    let work = move || {
        let _place = place;
        // Nobody listens any more where it took too long.
        let _ = done.send(precompile(&component, arch));
    };
    std::thread::Builder::new()
        .name("resolver-compile".to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map_err(|error| Refusal::new(Code::Internal, format!("the compiler: {error}")))?;
    match result.recv_timeout(WALL) {
        Ok(compiled) => compiled,
        Err(RecvTimeoutError::Timeout) => Err(invalid(
            arch,
            &format!("one that takes more than {} seconds", WALL.as_secs()),
        )),
        Err(RecvTimeoutError::Disconnected) => Err(invalid(arch, "one that ends the compiler")),
    }
}

fn precompile(component: &[u8], arch: Arch) -> Result<Vec<u8>, Refusal> {
    let engine = crate::engine::compiler(arch).map_err(HostError::refusal)?;
    engine.precompile_component(component).map_err(|error| {
        let why: String = format!("{error:#}").chars().take(500).collect();
        invalid(arch, &why)
    })
}

fn invalid(arch: Arch, found: &str) -> Refusal {
    Refusal::new(
        Code::ResolverInvalid,
        format!("expected a component that compiles for {arch}, found: {found}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let take = || Place::take(Duration::ZERO);
        let taken: Vec<_> = std::iter::from_fn(take).collect();
        assert_eq!(taken.len(), AT_ONCE);
        assert!(take().is_none());
        drop(taken);
        assert!(take().is_some());
    }
}
