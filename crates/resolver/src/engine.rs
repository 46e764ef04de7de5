//! The one place that says how components are compiled and run.
//!
//! Whatever changes here changes what compiled code is good for: [`SETTINGS`] goes into
//! the compatibility of [`engine_id`], so that it is noticed.

use model::{EngineId, Limits};
use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmFeatures};

use crate::HostError;

/// The engine and its version, as it stands in decision records. A test holds it against
/// what the engine writes into compiled code.
pub(crate) const ENGINE: &str = "wasmtime 48.0.8";

/// The settings below, as text: raise the number with each change that concerns compiled
/// code or a decision.
const SETTINGS: &str = "1: fuel, epoch, canonical NaN, no relaxed SIMD, no GC, no threads, \
    no async, no exceptions, no 64-bit memory, copy-on-write images, generic CPU";

/// How deep calls may nest, in bytes of native stack. 512 KiB are wasmtime's default and
/// leave three quarters of the smallest stack that a thread of ours has (2 MiB).
pub(crate) const STACK_BYTES: usize = 512 * 1024;

/// The most core instances of a component: Python's runtime instantiates 38 modules.
pub(crate) const MAX_INSTANCES: u32 = 100;
/// The most memories of a component: one is common; adapters have another.
pub(crate) const MAX_MEMORIES: u32 = 4;
/// The most tables of a component.
pub(crate) const MAX_TABLES: u32 = 16;

/// Memory of a pooled instance that is cleared by writing zeros instead of being given
/// back to the system: what a resolver in Rust touches.
const KEEP_RESIDENT: usize = 256 * 1024;

/// How instances get their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Mapped for each decision: cheap to start, for one decision at a time.
    OnDemand,
    /// From a pool made beforehand: cheap a decision, for bulk replay.
    Pooling {
        /// How many instances at once, 1 to 256. Each reserves 4 GiB of address space a
        /// memory, and no memory until it is used.
        instances: u32,
    },
}

/// What compiled code runs on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// `x86_64-unknown-linux-gnu`.
    #[serde(rename = "x86_64")]
    X86_64,
    /// `aarch64-unknown-linux-gnu`.
    Aarch64,
}

impl Arch {
    /// Both.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// What this program runs on; none where no resolver can run.
    pub const fn native() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else {
            None
        }
    }

    /// Its name: `x86_64` or `aarch64`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The target triple that code is compiled for.
    pub const fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What runs and compiles components in this build: the same on both architectures,
/// because decisions are.
pub fn engine_id() -> EngineId {
    let digest = Sha256::digest(format!("{ENGINE}\n{SETTINGS}"));
    EngineId {
        version: ENGINE.to_owned(),
        compatibility: hex::encode(&digest[..16]),
    }
}

/// An engine that runs code, and cannot compile any.
pub(crate) fn runner(allocation: Allocation) -> Result<Engine, HostError> {
    let arch = Arch::native().ok_or_else(|| {
        HostError::Engine("expected x86_64 or aarch64 to run resolvers on".to_owned())
    })?;
    let mut config = common(arch)?;
    #[cfg(feature = "compiler")]
    config.enable_compiler(false);
    config.allocation_strategy(match allocation {
        // One decision at a time: a pool would cost more to make than it saves.
        Allocation::OnDemand => InstanceAllocationStrategy::OnDemand,
        Allocation::Pooling { instances } => {
            InstanceAllocationStrategy::Pooling(pool(instances.clamp(1, 256)))
        }
    });
    Engine::new(&config).map_err(|error| HostError::Engine(format!("{error:#}")))
}

/// An engine that compiles for `arch`.
#[cfg(feature = "compiler")]
pub(crate) fn compiler(arch: Arch) -> Result<Engine, HostError> {
    let mut config = common(arch)?;
    config
        // `0.0 / 0.0` has its sign set on x86_64 and not on aarch64; a resolver must not
        // see on which it runs.
        .cranelift_nan_canonicalization(true)
        .parallel_compilation(true);
    Engine::new(&config).map_err(|error| HostError::Engine(format!("{error:#}")))
}

fn common(arch: Arch) -> Result<Config, HostError> {
    let mut config = Config::new();
    // Named, even where it is this machine's: then no feature of this machine's processor
    // is inferred, and the code runs on every processor of its kind. It costs nothing
    // that could be measured.
    config
        .target(arch.triple())
        .map_err(|error| HostError::Engine(format!("{error:#}")))?;
    config
        // The contract: the same count on every run and machine.
        .consume_fuel(true)
        // The seat belt: fuel is not time (up to 45 times apart), and copying spends none.
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        // Memory images are mapped, not copied: a fresh instance costs 10 us.
        .memory_init_cow(true)
        // A trap is recorded by its kind; frames of stripped components tell nobody
        // anything, and cost on every trap.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false)
        // The contract has no asynchronous function.
        .concurrency_support(false)
        .shared_memory(false);
    // What is on is stated, not inherited: an update of the engine must not turn on more.
    config
        .wasm_features(features_on(), true)
        .wasm_features(features_off(), false);
    Ok(config)
}

/// What toolchains emit today, and what is deterministic.
fn features_on() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::SIMD
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::COMPONENT_MODEL
}

fn features_off() -> WasmFeatures {
    // Differs between processors by design.
    WasmFeatures::RELAXED_SIMD
        // Their limits are not ours.
        | WasmFeatures::MEMORY64
        | WasmFeatures::CUSTOM_PAGE_SIZES
        // Not compiled in, or experimental.
        | WasmFeatures::WIDE_ARITHMETIC
        | WasmFeatures::SHARED_EVERYTHING_THREADS
        | WasmFeatures::STACK_SWITCHING
        | WasmFeatures::CM_ASYNC
        | WasmFeatures::CM_ASYNC_STACKFUL
        | WasmFeatures::CM_MORE_ASYNC_BUILTINS
        | WasmFeatures::CM_THREADING
        | WasmFeatures::CM_ERROR_CONTEXT
        | WasmFeatures::CM_GC
        | WasmFeatures::CM_MAP
        | WasmFeatures::CM64
        | WasmFeatures::CM_FIXED_LENGTH_LISTS
        | WasmFeatures::CM_IMPLEMENTS
}

fn pool(instances: u32) -> PoolingAllocationConfig {
    let cap = Limits::CAP;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(MAX_INSTANCES))
        .max_core_instances_per_component(MAX_INSTANCES)
        .total_memories(instances.saturating_mul(MAX_MEMORIES))
        .max_memories_per_component(MAX_MEMORIES)
        .total_tables(instances.saturating_mul(MAX_TABLES))
        .max_tables_per_component(MAX_TABLES)
        .max_tables_per_module(MAX_TABLES)
        .max_memories_per_module(MAX_MEMORIES)
        .max_memory_size(usize::try_from(cap.memory.0).unwrap_or(usize::MAX))
        .table_elements(usize::try_from(cap.table_elements).unwrap_or(usize::MAX))
        // One memory of a component stays warm for the next instance of the same one.
        .max_unused_warm_slots(instances)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(64 * 1024);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_id_is_the_same_in_every_process() {
        let id = engine_id();
        assert_eq!(id, engine_id());
        assert_eq!(id.compatibility.len(), 32);
    }

    #[test]
    fn an_arch_has_the_name_it_is_recorded_by() {
        for arch in Arch::ALL {
            assert_eq!(serde_json::to_value(arch).unwrap(), arch.name());
        }
    }

    #[test]
    fn both_kinds_of_engine_can_be_made_here() {
        assert!(runner(Allocation::OnDemand).is_ok());
        assert!(runner(Allocation::Pooling { instances: 2 }).is_ok());
    }
}
