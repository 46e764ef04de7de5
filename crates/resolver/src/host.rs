//! Calling a component: fresh, limited, and with an answer whatever it does.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{
    Call, CallOutcome, Code, ConflictSet, EngineId, Limits, Refusal, ResolverInfo, Sha256,
};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store, UpdateDeadline};

use crate::engine::{self, Allocation};
use crate::meter::State;
use crate::outcome::{classify, is_no_trap, message};
use crate::prepared::Prepared;
use crate::version::{self, Answer, Bound, Instance, Interface};
use crate::watchdog::Watchdog;
use crate::{HostError, inspect, loader, output};

/// Fuel of instantiation, which is charged apart: how much it takes differs with how
/// memory is mapped. As much as a decision gets, of which toolchains use next to nothing.
const INSTANTIATE_FUEL: u64 = 100_000_000;

/// Wall time of instantiation. All toolchains we know initialise when they build, so that
/// it takes microseconds; a component that loops here must not hold a phase for long.
const INSTANTIATE_WALL: Duration = Duration::from_millis(500);

/// An engine with its settings, its watchdog and its linker. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    engine: Engine,
    id: EngineId,
    watchdog: Watchdog,
    linker: Linker<State>,
}

/// A component, ready to be called. Cheap to clone, good for any number of calls at once.
#[derive(Clone)]
pub struct Loaded(Arc<Ready>);

struct Ready {
    bound: Box<dyn Bound>,
    interface: &'static str,
}

impl Loaded {
    /// The version of the contract that serves it, as in `tapemark:resolver/policy@1.0.0`.
    pub fn interface(&self) -> &'static str {
        self.0.interface
    }
}

impl Host {
    /// A host. Its watchdog's thread starts with the first call.
    ///
    /// # Errors
    /// [`HostError::Engine`] where this machine cannot run resolvers.
    pub fn new(allocation: Allocation) -> Result<Self, HostError> {
        let engine = engine::runner(allocation)?;
        Ok(Self(Arc::new(Inner {
            watchdog: Watchdog::new(engine.clone()),
            // Empty: a component gets nothing to call.
            linker: Linker::new(&engine),
            id: engine::engine_id(),
            engine,
        })))
    }

    /// What runs components here.
    pub fn engine_id(&self) -> EngineId {
        self.0.id.clone()
    }

    /// Maps compiled code whose digest is `expected`: from a release record whose
    /// signature was checked ([`Store`](crate::Store) does both), or made by this program.
    /// Code of any other origin is native code of somebody else's.
    ///
    /// # Errors
    /// [`HostError::Io`], [`HostError::Digest`], [`HostError::Recompile`],
    /// [`HostError::Refused`] where it is not a resolver.
    pub fn load(&self, compiled: &Path, expected: Sha256) -> Result<Loaded, HostError> {
        self.bind(&loader::map(&self.0.engine, compiled, expected)?)
    }

    /// Compiles a component in memory, for this machine: for tests of components, replay
    /// and benchmarks. What serves requests is loaded by [`Host::load`].
    ///
    /// # Errors
    /// [`HostError::Refused`] with what [`inspect`](crate::inspect()) found, or why it does
    /// not compile.
    #[cfg(feature = "compiler")]
    pub fn load_component(&self, component: &[u8]) -> Result<Loaded, HostError> {
        let arch = crate::Arch::native()
            .ok_or_else(|| HostError::Engine("expected x86_64 or aarch64".to_owned()))?;
        let compiled = crate::compile(component, arch)?;
        let loaded = self.bind(&loader::adopt(&self.0.engine, &compiled)?)?;
        // What is loaded to serve is checked when it is published, by asking what it is.
        match self.run(&loaded, &Limits::CAP, |_, _| Ok(())) {
            (Err(CallOutcome::Invalid { violation }), _) => {
                let refusal = Refusal::new(Code::ResolverInvalid, violation).at("exports");
                Err(refusal.into())
            }
            _ => Ok(loaded),
        }
    }

    fn bind(&self, component: &Component) -> Result<Loaded, HostError> {
        let kind = component.component_type();
        let exports: Vec<_> = kind.exports(&self.0.engine).map(|(name, _)| name).collect();
        let interface = version::choose(exports.iter().copied())
            .ok_or_else(|| inspect::not_served(exports.iter().copied()))?;
        self.bind_to(interface, component).map_err(|error| {
            Refusal::new(Code::ResolverInvalid, other_shape(interface.name(), &error))
                .at("exports")
                .into()
        })
    }

    fn bind_to(
        &self,
        interface: &'static dyn Interface,
        component: &Component,
    ) -> wasmtime::Result<Loaded> {
        let linked: InstancePre<State> = self.0.linker.instantiate_pre(component)?;
        Ok(Loaded(Arc::new(Ready {
            bound: interface.bind(linked)?,
            interface: interface.name(),
        })))
    }

    /// What the component says of itself.
    ///
    /// # Errors
    /// How the call ended: [`CallOutcome::Invalid`] where what it says is not within the
    /// contract.
    pub fn describe(&self, loaded: &Loaded, limits: &Limits) -> Result<ResolverInfo, CallOutcome> {
        let (outcome, _) = self.run(loaded, limits, |instance, store| instance.describe(store));
        outcome?.map_err(|violation| CallOutcome::Invalid { violation })
    }

    /// Has the component decide, in a fresh instance, and checks what it decided.
    pub fn call(&self, loaded: &Loaded, set: &ConflictSet, limits: &Limits) -> Call {
        self.call_prepared(loaded, &Prepared::new(Arc::new(set.clone())), limits)
    }

    /// As [`Host::call`], with a set that was prepared before.
    pub fn call_prepared(&self, loaded: &Loaded, input: &Prepared, limits: &Limits) -> Call {
        let begun = Instant::now();
        if let Err(why) = input.check() {
            return self.unavailable(limits, why);
        }
        let (answer, fuel) = self.run(loaded, limits, |instance, store| {
            instance.resolve(store, input)
        });
        let (outcome, decision) = match answer {
            Ok(Answer::Decision(decision)) => {
                let outcome = match policy::check_decision(input.set(), &decision) {
                    Ok(()) => CallOutcome::Decided,
                    Err(violation) => CallOutcome::Invalid {
                        violation: violation.to_string(),
                    },
                };
                (outcome, Some(decision))
            }
            Ok(Answer::Error { code, message }) => (CallOutcome::Error { code, message }, None),
            Ok(Answer::Broken(violation)) => (CallOutcome::Invalid { violation }, None),
            Err(outcome) => (outcome, None),
        };
        Call {
            engine: self.engine_id(),
            limits: *limits,
            outcome,
            fuel,
            wall_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            output: decision.as_ref().map(output::digest),
            decision,
        }
    }

    /// A call that was not made.
    pub fn unavailable(&self, limits: &Limits, why: impl Into<String>) -> Call {
        Call {
            engine: self.engine_id(),
            limits: *limits,
            outcome: CallOutcome::Unavailable { why: why.into() },
            fuel: None,
            wall_us: 0,
            decision: None,
            output: None,
        }
    }

    /// Runs `ask` in a fresh instance under limits. The fuel is what `ask` used, and none
    /// where it did not come to that.
    fn run<T>(
        &self,
        loaded: &Loaded,
        limits: &Limits,
        ask: impl FnOnce(&dyn Instance, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> (Result<T, CallOutcome>, Option<u64>) {
        if let Some((field, cap)) = limits.beyond_cap() {
            let why = format!("limits.{field}: expected 1 to {cap}");
            return (Err(CallOutcome::Unavailable { why }), None);
        }
        let unwatched = |why| (Err(CallOutcome::Unavailable { why }), None);
        let failed = |error: &wasmtime::Error| (Err(classify(error)), None);

        let deadline = Instant::now() + INSTANTIATE_WALL;
        let mut store = self.store(limits, deadline);
        let watched = match self.0.watchdog.watch(deadline) {
            Ok(watched) => watched,
            Err(why) => return unwatched(why),
        };
        let instance = match store
            .set_fuel(INSTANTIATE_FUEL)
            .and_then(|()| loaded.0.bound.instantiate(&mut store))
        {
            Ok(instance) => instance,
            Err(error) if is_no_trap(&error) => {
                let violation = other_shape(loaded.0.interface, &error);
                return (Err(CallOutcome::Invalid { violation }), None);
            }
            Err(error) => return failed(&error),
        };
        drop(watched);

        let deadline = Instant::now() + Duration::from_millis(limits.wall_ms.into());
        store.data_mut().deadline = deadline;
        let _watched = match self.0.watchdog.watch(deadline) {
            Ok(watched) => watched,
            Err(why) => return unwatched(why),
        };
        if let Err(error) = store.set_fuel(limits.fuel) {
            return failed(&error);
        }
        let answer = ask(instance.as_ref(), &mut store).map_err(|error| classify(&error));
        let left = store.get_fuel().unwrap_or(0);
        (answer, Some(limits.fuel.saturating_sub(left)))
    }

    fn store(&self, limits: &Limits, deadline: Instant) -> Store<State> {
        let mut store = Store::new(&self.0.engine, State::new(limits, deadline));
        store.limiter(|state| &mut state.meter);
        // Bytes that may pass in one call: without it, a list of strings that all point
        // at one buffer makes the host copy it again and again.
        store.set_hostcall_fuel(usize::try_from(limits.hostcall_fuel).unwrap_or(usize::MAX));
        // The epoch is the engine's and rises for every call's deadline: only our own
        // ends this call.
        store.epoch_deadline_callback(|store| {
            Ok(if Instant::now() >= store.data().deadline {
                UpdateDeadline::Interrupt
            } else {
                UpdateDeadline::Continue(1)
            })
        });
        store.set_epoch_deadline(1);
        store
    }
}

/// That a component's functions are not those of the contract.
fn other_shape(interface: &str, error: &wasmtime::Error) -> String {
    format!(
        "expected {interface} in the shape of plugins/wit/resolver.wit, found another: {}",
        message(error)
    )
}
