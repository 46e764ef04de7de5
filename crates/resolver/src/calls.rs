//! Calls from a server: bounded in number, on threads that may block, with the components
//! of the latest calls at hand.

use std::collections::VecDeque;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use model::{Call, Code, ConflictSet, Limits, Refusal, ResolverInfo, Sha256};

use crate::places::Places;
use crate::{Allocation, Host, HostError, Loaded};

/// How many components stay mapped: every binding of a busy installation with its shadow.
/// One in Python takes 35 MB of page cache, which the kernel takes back where it must.
const MAX_READY: usize = 64;

/// What calls components for a server.
#[derive(Clone)]
pub struct Calls(Arc<Inner>);

struct Inner {
    host: Host,
    /// The latest called ones, the very latest at the end.
    ready: Mutex<VecDeque<(Sha256, Loaded)>>,
    /// How many calls run at once.
    places: Places,
}

impl Calls {
    /// With a host of its own, and as many calls at once as this machine has room for.
    ///
    /// # Errors
    /// [`HostError::Engine`] where this machine cannot run resolvers.
    pub fn new() -> Result<Self, HostError> {
        Ok(Self(Arc::new(Inner {
            host: Host::new(Allocation::OnDemand)?,
            ready: Mutex::default(),
            places: Places::new(),
        })))
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<(Sha256, Loaded)>> {
        // A list of handles: whoever panicked left it whole.
        self.0.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A component that was called or kept lately.
    pub fn ready(&self, component: Sha256) -> Option<Loaded> {
        let mut ready = self.all();
        let at = ready.iter().position(|(digest, _)| *digest == component)?;
        let found = ready.remove(at)?;
        ready.push_back(found.clone());
        Some(found.1)
    }

    /// Keeps a component at hand, in the place of what was kept under its digest.
    pub fn keep_ready(&self, component: Sha256, loaded: Loaded) {
        let mut ready = self.all();
        ready.retain(|(digest, _)| *digest != component);
        if ready.len() >= MAX_READY {
            ready.pop_front();
        }
        ready.push_back((component, loaded));
    }

    /// Has a component decide, loaded with `load` where it is not at hand. Whatever comes
    /// in the way stands in the outcome; the clock of the call starts when it has a place.
    pub async fn call(
        &self,
        component: Sha256,
        set: Arc<ConflictSet>,
        limits: Limits,
        load: impl FnOnce(&Host) -> Result<Loaded, HostError> + Send + 'static,
    ) -> Call {
        let place = match self.0.places.take().await {
            Ok(place) => place,
            Err(why) => return self.0.host.unavailable(&limits, why),
        };
        let this = self.clone();
        let called = tokio::task::spawn_blocking(move || {
            let _place = place;
            let host = this.host();
            let loaded = this.ready(component).map_or_else(
                || {
                    let loaded = load(host)?;
                    this.keep_ready(component, loaded.clone());
                    Ok(loaded)
                },
                Ok::<_, HostError>,
            );
            match loaded {
                Ok(loaded) => host.call(&loaded, &set, &limits),
                Err(error) => host.unavailable(&limits, error.to_string()),
            }
        });
        called.await.unwrap_or_else(|panic| {
            tracing::error!(%panic, "a resolver's host did not come back");
            let why = "the resolvers' host did not come back";
            self.0.host.unavailable(&limits, why)
        })
    }

    /// The places for calls, for tests that hold them all.
    #[doc(hidden)]
    pub async fn hold_all_places(&self) -> Vec<impl Sized + use<>> {
        let mut held = Vec::new();
        while self.0.places.free() > 0
            && let Ok(place) = self.0.places.take().await
        {
            held.push(place);
        }
        held
    }
}

impl Host {
    /// What code says of itself that was compiled for this machine a moment ago. The file
    /// that it is mapped from is made in `directory`, and gone when this returns.
    ///
    /// # Errors
    /// `ResolverInvalid` where what it says breaks the contract, `Transient` where the file
    /// cannot be made.
    pub fn describe_code(&self, code: &[u8], directory: &Path) -> Result<ResolverInfo, Refusal> {
        let io = |error: std::io::Error| {
            Refusal::new(Code::Transient, format!("{}: {error}", directory.display()))
        };
        let path = directory.join(describe_name());
        // Never somebody else's: two processes may share the folder, and what one of them has
        // mapped must not be written by the other.
        let mut options = std::fs::OpenOptions::new();
        let created = options.write(true).create_new(true).mode(0o400).open(&path);
        let mut file = created.map_err(io)?;
        let written = file.write_all(code);
        drop(file);
        let loaded = match written {
            Ok(()) => self.load(&path, policy::digest(code)),
            Err(error) => {
                // Nothing to do about a second failure.
                let _ = std::fs::remove_file(&path);
                return Err(io(error));
            }
        };
        // What is mapped stays mapped.
        std::fs::remove_file(&path).map_err(io)?;
        let loaded = loaded.map_err(HostError::refusal)?;
        self.describe(&loaded, &Limits::DEFAULT).map_err(|outcome| {
            Refusal::new(
                Code::ResolverInvalid,
                format!("describe: expected a name, a version and a summary, found {outcome:?}"),
            )
            .at("component")
        })
    }
}

/// A name that nothing else had, not even a process before this one that ended half-way.
fn describe_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let unique = NEXT.fetch_add(1, Ordering::Relaxed);
    let at = Timestamp::now().as_nanosecond();
    format!("describe-{}-{at}-{unique}.cwasm", std::process::id())
}
