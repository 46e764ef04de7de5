//! Conflict resolvers on one machine: kept and called here, compiled by somebody else.
//!
//! The compiler is a port: whoever starts the stack says what runs it, in a process of its
//! own with limits of its own, because a component may be made to kill its compiler.

mod set_up;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use control::ports::{Published, Resolvers};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use model::{Call, Code, ConflictSet, Limits, Refusal, Sha256};
use resolver::{Arch, Calls, Compiled, HostError, Loaded, Record, Store, inspect};
use sha2::Digest as _;

pub(crate) use set_up::{prepare, set_up};

/// Compiles components ahead of time. Whatever a component does to its compiler, the
/// answer is an answer: a crash, too much memory or too much time is `ResolverInvalid`.
#[async_trait]
pub trait Compiler: Send + Sync {
    /// Native code of a component for `arch`.
    ///
    /// # Errors
    /// `ResolverInvalid` for what does not compile within the compiler's limits;
    /// `Transient` where the compiler could not be started.
    async fn compile(&self, component: Arc<Vec<u8>>, arch: Arch) -> Result<Vec<u8>, Refusal>;
}

/// The resolvers of an installation.
#[derive(Clone)]
pub struct ResolverSetup {
    /// What compiles.
    pub compiler: Arc<dyn Compiler>,
    /// What every installation has: name and component. The version is what the component
    /// says of itself. The first one is bound to the library where nothing is bound at all.
    pub built_in: Vec<(String, Cow<'static, [u8]>)>,
}

/// Components in a directory, called in this process under limits.
#[derive(Clone)]
pub struct LocalResolvers(Arc<Inner>);

struct Inner {
    calls: Calls,
    store: Store,
    compiler: Arc<dyn Compiler>,
    /// For compiled code that is not kept yet.
    tmp: PathBuf,
    /// Compiled for this machine alone: what this program brings along.
    built_in: BTreeSet<Sha256>,
}

/// Runs what blocks, and says so where it panicked.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| {
        tracing::error!(%panic, "a resolver's host did not come back");
        Refusal::new(Code::Internal, "the resolvers' host did not come back")
    })
}

impl LocalResolvers {
    /// The resolvers kept in `directory`, whose records are signed with `key`. Files that
    /// are not whole yet go to `tmp`, on the same or another file system.
    ///
    /// # Errors
    /// Where this machine cannot run resolvers, or the directory cannot be made.
    pub fn open(
        directory: &Path,
        tmp: &Path,
        key: &[u8; 32],
        setup: &ResolverSetup,
    ) -> Result<Self, HostError> {
        let built_in = setup.built_in.iter();
        Ok(Self(Arc::new(Inner {
            calls: Calls::new()?,
            store: Store::open(directory, SigningKey::from_bytes(key))?,
            compiler: setup.compiler.clone(),
            tmp: tmp.to_owned(),
            built_in: built_in.map(|(_, component)| digest(component)).collect(),
        })))
    }

    /// Whether a component can be called right now, as far as its files say.
    pub(crate) async fn is_ready(&self, component: Sha256) -> bool {
        let inner = self.0.clone();
        blocking(move || inner.loaded(component).is_ok())
            .await
            .unwrap_or(false)
    }

    /// A component as it was handed in.
    pub(crate) async fn component(&self, component: Sha256) -> Result<Vec<u8>, Refusal> {
        let inner = self.0.clone();
        blocking(move || inner.store.component(component))
            .await?
            .map_err(HostError::refusal)
    }
}

impl Inner {
    /// For what a component is compiled: for both architectures, so that its release can
    /// be carried to the other one, unless it is built in.
    fn archs(&self, component: Sha256) -> Result<Vec<Arch>, Refusal> {
        let native = Arch::native().ok_or_else(|| {
            Refusal::new(
                Code::Internal,
                "expected a machine with x86_64 or aarch64, found another one",
            )
        })?;
        let others = Arch::ALL.into_iter().filter(|arch| *arch != native);
        let more = (!self.built_in.contains(&component)).then_some(others);
        Ok(std::iter::once(native)
            .chain(more.into_iter().flatten())
            .collect())
    }

    /// A component ready to be called, from memory or from its files.
    fn loaded(&self, component: Sha256) -> Result<Loaded, HostError> {
        if let Some(found) = self.calls.ready(component) {
            return Ok(found);
        }
        let loaded = self.store.load(self.calls.host(), component)?;
        self.calls.keep_ready(component, loaded.clone());
        Ok(loaded)
    }

    /// What is kept of a component, where all that is needed of it is there and unharmed.
    fn kept(&self, component: Sha256, archs: &[Arch]) -> Option<Record> {
        let record = self.store.record(component).ok()?;
        let whole = archs.iter().all(|arch| record.compiled.contains_key(arch));
        // From its files, whatever is in memory: it may be published again because a file
        // was lost or changed.
        let loaded = self.store.load(self.calls.host(), component).ok()?;
        let intact = whole && self.store.component(component).is_ok();
        intact.then(|| {
            self.calls.keep_ready(component, loaded);
            record
        })
    }

    /// Keeps a component and its code, once it has said what it is.
    fn keep(
        &self,
        component: &[u8],
        compiled: &[Compiled],
        native: Arch,
    ) -> Result<Record, Refusal> {
        let code = compiled
            .iter()
            .find(|compiled| compiled.arch == native)
            .ok_or_else(|| Refusal::new(Code::Internal, "expected code for this machine"))?;
        let info = self.calls.host().describe_code(&code.code, &self.tmp)?;
        let record = self
            .store
            .add(component, compiled, &info, Timestamp::now())
            .map_err(HostError::refusal)?;
        let loaded = self
            .store
            .load(self.calls.host(), record.component)
            .map_err(HostError::refusal)?;
        self.calls.keep_ready(record.component, loaded);
        Ok(record)
    }
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

fn published(record: Record) -> Published {
    Published {
        component: record.component,
        bytes: record.bytes,
        info: record.info,
        engine: record.engine,
    }
}

#[async_trait]
impl Resolvers for LocalResolvers {
    async fn publish(&self, component: Vec<u8>) -> Result<Published, Refusal> {
        let component = Arc::new(component);
        let (inner, bytes) = (self.0.clone(), component.clone());
        let (archs, kept) = blocking(move || -> Result<_, Refusal> {
            let inspection = inspect(&bytes)?;
            if let Some(finding) = inspection.findings.into_iter().next() {
                return Err(finding);
            }
            let archs = inner.archs(inspection.component)?;
            let kept = inner.kept(inspection.component, &archs);
            Ok((archs, kept))
        })
        .await?
        .map_err(about_component)?;
        if let Some(record) = kept {
            return Ok(published(record));
        }
        let mut compiled = BTreeMap::new();
        for arch in &archs {
            let code = self.0.compiler.compile(component.clone(), *arch).await;
            compiled.insert(*arch, code.map_err(about_component)?);
        }
        let compiled: Vec<Compiled> = compiled
            .into_iter()
            .map(|(arch, code)| Compiled { arch, code })
            .collect();
        let inner = self.0.clone();
        let record = blocking(move || inner.keep(&component, &compiled, archs[0])).await??;
        Ok(published(record))
    }

    async fn call(&self, component: Sha256, set: Arc<ConflictSet>, limits: Limits) -> Call {
        let inner = self.0.clone();
        let load = move |host: &resolver::Host| inner.store.load(host, component);
        self.0.calls.call(component, set, limits, load).await
    }
}

/// Says which argument a refusal is about, where it does not yet.
fn about_component(refusal: Refusal) -> Refusal {
    if refusal.code == Code::ResolverInvalid && refusal.field.is_none() {
        refusal.at("component")
    } else {
        refusal
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use model::CallOutcome;

    use super::*;

    struct None;

    #[async_trait]
    impl Compiler for None {
        async fn compile(&self, _: Arc<Vec<u8>>, _: Arch) -> Result<Vec<u8>, Refusal> {
            Err(Refusal::new(Code::ResolverInvalid, "no compiler"))
        }
    }

    async fn why(resolvers: &LocalResolvers) -> String {
        let set = Arc::new(policy::sample(1, 4));
        let call = resolvers.call(Sha256::EMPTY, set, Limits::DEFAULT).await;
        assert_eq!(call.wall_us, 0, "waiting is no part of a call");
        match call.outcome {
            CallOutcome::Unavailable { why } => why,
            other => format!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_finds_no_place_in_time_is_unavailable_and_the_next_one_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let setup = ResolverSetup {
            compiler: Arc::new(None),
            built_in: Vec::new(),
        };
        let path = directory.path();
        let resolvers = LocalResolvers::open(path, path, &[1; 32], &setup).unwrap();
        let held = resolvers.0.calls.hold_all_places().await;
        let busy = why(&resolvers).await;
        assert!(busy.starts_with("busy: "), "{busy}");
        drop(held);
        let unknown = why(&resolvers).await;
        assert!(unknown.contains("expected a release record"), "{unknown}");
    }
}
