//! Resolvers on one machine: compiled once, kept with a signed record, called under limits,
//! and never run when something about their files is not as it was.

#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use control::Principal;
use control::ports::Resolvers;
use embedded::{Compiler, LocalResolvers, ResolverSetup, Stack, StackConfig};
use model::{Bytes, CallOutcome, Code, Fallback, Limits, Pool, Refusal, ReleaseRef, Scope, Sha256};
use resolver::Arch;

const WHO: Principal = Principal::Operator;

/// Compiles in this process, and counts.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Counting {
    fn so_far(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Compiler for Counting {
    async fn compile(&self, component: Arc<Vec<u8>>, arch: Arch) -> Result<Vec<u8>, Refusal> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::task::spawn_blocking(move || resolver::compile(&component, arch))
            .await
            .unwrap()
    }
}

/// Dies of every component.
struct Dying;

#[async_trait]
impl Compiler for Dying {
    async fn compile(&self, _component: Arc<Vec<u8>>, _arch: Arch) -> Result<Vec<u8>, Refusal> {
        Err(Refusal::new(
            Code::ResolverInvalid,
            "expected less, found a bomb",
        ))
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugins/fixtures");
    std::fs::read(path.join(format!("{name}.wasm"))).unwrap()
}

fn setup(compiler: Arc<dyn Compiler>, built_in: &[&str]) -> ResolverSetup {
    let built_in = built_in
        .iter()
        .map(|name| ((*name).to_owned(), Cow::Owned(fixture(name))));
    ResolverSetup {
        compiler,
        built_in: built_in.collect(),
    }
}

fn open(directory: &Path, setup: &ResolverSetup, key: u8) -> LocalResolvers {
    let tmp = directory.join("tmp");
    std::fs::create_dir_all(&tmp).unwrap();
    LocalResolvers::open(&directory.join("resolvers"), &tmp, &[key; 32], setup).unwrap()
}

async fn outcome(resolvers: &LocalResolvers, component: Sha256) -> CallOutcome {
    let set = Arc::new(policy::sample(1, 8));
    let call = resolvers.call(component, set, Limits::DEFAULT).await;
    call.outcome
}

/// Flips a byte in the middle of every file of a folder of the store.
fn harm(directory: &Path, folder: &str) {
    for entry in std::fs::read_dir(directory.join("resolvers").join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        // Nobody may write the file itself.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// A component that exports what the contract asks for, by name, with a section more.
fn with_section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut size = Vec::new();
    let mut left = content.len();
    while left >= 0x80 {
        size.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    size.push(u8::try_from(left).unwrap());
    let name = b"tapemark:resolver/policy@1.0.0";
    let header = b"\0asm\x0d\0\x01\0";
    // An instance of no exports, and its export.
    let instance = [5, 3, 1, 1, 0];
    let export = [&[1, 0, 30][..], name, &[5, 0, 0]].concat();
    [
        header,
        &instance[..],
        &[11, 36],
        &export,
        &[id],
        &size,
        content,
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_is_compiled_once_and_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let compiler = Arc::new(Counting::default());
    let setup = setup(compiler.clone(), &[]);
    let resolvers = open(directory.path(), &setup, 1);
    let published = resolvers.publish(fixture("last-writer")).await.unwrap();
    assert_eq!(published.info.name, "last-writer");
    assert_eq!(compiler.so_far(), Arch::ALL.len(), "both architectures");
    assert_eq!(
        resolvers.publish(fixture("last-writer")).await.unwrap(),
        published
    );
    assert_eq!(
        outcome(&resolvers, published.component).await,
        CallOutcome::Decided
    );
    drop(resolvers);

    let again = open(directory.path(), &setup, 1);
    assert_eq!(
        outcome(&again, published.component).await,
        CallOutcome::Decided
    );
    again.publish(fixture("last-writer")).await.unwrap();
    assert_eq!(compiler.so_far(), Arch::ALL.len(), "nothing anew");
    let left = std::fs::read_dir(directory.path().join("tmp")).unwrap();
    assert_eq!(left.count(), 0, "nothing is left over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_code_a_changed_record_or_another_key_is_not_run_until_it_is_published_again() {
    for harmed in ["compiled", "records", "key"] {
        let directory = tempfile::tempdir().unwrap();
        let compiler = Arc::new(Counting::default());
        // Built in: one architecture is enough here.
        let setup = setup(compiler.clone(), &["last-writer"]);
        let resolvers = open(directory.path(), &setup, 1);
        let component = resolvers
            .publish(fixture("last-writer"))
            .await
            .unwrap()
            .component;
        assert_eq!(compiler.so_far(), 1);
        drop(resolvers);
        if harmed != "key" {
            harm(directory.path(), harmed);
        }
        let resolvers = open(
            directory.path(),
            &setup,
            if harmed == "key" { 2 } else { 1 },
        );
        let found = outcome(&resolvers, component).await;
        assert!(
            matches!(found, CallOutcome::Unavailable { .. }),
            "{harmed}: {found:?}"
        );
        resolvers.publish(fixture("last-writer")).await.unwrap();
        assert_eq!(compiler.so_far(), 2, "{harmed}");
        assert_eq!(
            outcome(&resolvers, component).await,
            CallOutcome::Decided,
            "{harmed}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_compiled_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let resolvers = open(directory.path(), &setup(Arc::new(Dying), &[]), 1);
    for component in [fixture("genetic"), b"\0asm".to_vec(), Vec::new()] {
        let refusal = resolvers.publish(component).await.unwrap_err();
        assert_eq!(refusal.code, Code::ResolverInvalid);
        assert_eq!(refusal.field.as_deref(), Some("component"));
    }
    for folder in ["components", "compiled", "records"] {
        let left = std::fs::read_dir(directory.path().join("resolvers").join(folder)).unwrap();
        assert_eq!(left.count(), 0, "{folder}");
    }
    let unknown = outcome(&resolvers, Sha256([7; 32])).await;
    assert!(
        matches!(unknown, CallOutcome::Unavailable { .. }),
        "{unknown:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_made_to_end_whoever_looks_at_it_is_refused_and_the_next_one_published() {
    let directory = tempfile::tempdir().unwrap();
    let compiler = Arc::new(Counting::default());
    let resolvers = open(directory.path(), &setup(compiler.clone(), &[]), 1);
    // 20,000 types of components within each other; then 300,000 exports.
    let deep = [&[1][..], &[0x41, 1, 1].repeat(20_000), &[0x41, 0]].concat();
    let wide = [&[0xe0, 0xa7, 0x12][..], &b"\0\x01a\x05\0\0".repeat(300_000)].concat();
    for (component, says) in [
        (with_section(7, &deep), "nest at most 32 deep"),
        (
            with_section(11, &wide),
            "at most 1000 exports, found 300001",
        ),
    ] {
        let refusal = resolvers.publish(component).await.unwrap_err();
        assert_eq!(refusal.code, Code::ResolverInvalid);
        assert_eq!(refusal.field.as_deref(), Some("component"));
        assert!(refusal.message.contains(says), "{refusal}");
    }
    assert_eq!(compiler.so_far(), 0, "no compiler saw them");
    resolvers.publish(fixture("last-writer")).await.unwrap();
}

fn config(directory: &Path, setup: ResolverSetup) -> StackConfig {
    let pool = Pool {
        name: "main".parse().unwrap(),
        library: "lib".parse().unwrap(),
        copies: 1,
        reserve: Bytes(0),
        write_drives: 1,
        fallback: Fallback::BuiltIn,
    };
    let mut config = StackConfig::new(directory.join("data"), pool);
    config.resolvers = Some(setup);
    config
}

async fn live(stack: &Stack) -> Vec<(String, ReleaseRef)> {
    let bindings = stack.control.bindings(&WHO).await.unwrap();
    bindings
        .into_iter()
        .map(|binding| (binding.scope.to_string(), binding.live))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_begins_with_the_default_and_keeps_what_its_operator_bound() {
    let directory = tempfile::tempdir().unwrap();
    let compiler = Arc::new(Counting::default());
    let begin = setup(compiler.clone(), &["priority-deadline"]);
    let stack = Stack::start(config(directory.path(), begin.clone()))
        .await
        .unwrap();
    let bound = live(&stack).await;
    assert_eq!(bound.len(), 1);
    assert_eq!(bound[0].0, "library:lib");
    assert_eq!(bound[0].1.name, "priority-deadline");
    stack.shutdown().await;
    let once = compiler.so_far();

    // Another start compiles nothing; a narrower binding keeps the wider from coming back.
    let stack = Stack::start(config(directory.path(), begin)).await.unwrap();
    assert_eq!(live(&stack).await, bound);
    assert_eq!(compiler.so_far(), once);
    let pool = Scope::Pool("main".parse().unwrap());
    let library = Scope::Library("lib".parse().unwrap());
    stack
        .control
        .bind_resolver(&WHO, pool, "priority-deadline", None)
        .await
        .unwrap();
    stack.control.unbind_resolver(&WHO, &library).await.unwrap();
    stack.shutdown().await;

    // A binary that brings another build of the default leaves the binding alone.
    let mut newer = setup(compiler, &["priority-deadline"]);
    newer.built_in[0].1 = Cow::Owned(fixture("last-writer"));
    let stack = Stack::start(config(directory.path(), newer)).await.unwrap();
    let kept = live(&stack).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0], ("pool:main".to_owned(), bound[0].1.clone()));
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_starts_though_its_default_cannot_be_compiled() {
    let directory = tempfile::tempdir().unwrap();
    let dying = setup(Arc::new(Dying), &["priority-deadline"]);
    let stack = Stack::start(config(directory.path(), dying)).await.unwrap();
    assert!(live(&stack).await.is_empty());
    stack.shutdown().await;
}
