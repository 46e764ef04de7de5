//! A component, built from its sources once a test binary.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use componentize::project::{Lang, Manifest};
use componentize::{Kind, componentize, kind};
use kit::conformance::{Candidate, Settings, Status, conform};
use kit::subject::Component;
use model::{Bytes, Call, CallOutcome, ConflictSet, Limits};
use resolver::{Allocation, Host, Loaded};

/// The defaults, but for wall time: what a debug build on a busy machine needs. What is
/// asserted is fuel, which is the same everywhere.
pub(super) const LIMITS: Limits = Limits {
    wall_ms: Limits::CAP.wall_ms,
    ..Limits::DEFAULT
};

/// The folder `plugins` of this repository.
pub(super) fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins")
}

/// One host for all tests, as in a function.
static HOST: LazyLock<Host> = LazyLock::new(|| Host::new(Allocation::OnDemand).unwrap());

/// Compilers take hundreds of megabytes: one at a time.
static COMPILER: Mutex<()> = Mutex::new(());

/// A component in the host.
pub(super) struct Guest {
    pub(super) component: Vec<u8>,
    loaded: Loaded,
}

impl Guest {
    /// Compiles a component.
    pub(super) fn load(component: Vec<u8>) -> Self {
        let loaded = HOST.load_component(&component).unwrap();
        Self { component, loaded }
    }

    /// Has it decide.
    pub(super) fn call(&self, set: &ConflictSet) -> Call {
        self.call_within(set, &LIMITS)
    }

    /// Has it decide within these limits.
    pub(super) fn call_within(&self, set: &ConflictSet, limits: &Limits) -> Call {
        HOST.call(&self.loaded, set, limits)
    }

    /// The conformance kit has nothing against it, cases of `folder` included.
    #[track_caller]
    pub(super) fn assert_conforms(&self, folder: &Path) {
        let inspection = resolver::inspect(&self.component).unwrap();
        let subject = Component {
            host: HOST.clone(),
            loaded: self.loaded.clone(),
            digest: inspection.component,
        };
        let cases = kit::conformance::load(folder).unwrap();
        let settings = Settings {
            limits: LIMITS,
            cases: cases.into_iter().map(|(_, case)| case).collect(),
            ..Settings::quick()
        };
        assert!(!settings.cases.is_empty(), "{folder:?} has cases");
        let candidate = Candidate {
            inspection: Some(&inspection),
            subject: Ok(&subject),
            twin: None,
        };
        let report = conform(&candidate, &settings);
        let text = report.to_text(|_, word| word.to_owned());
        assert_ne!(report.status(), Status::Fail, "{text}");
        eprintln!("{text}");
    }

    /// What it says of itself.
    pub(super) fn describe(&self) -> model::ResolverInfo {
        HOST.describe(&self.loaded, &LIMITS).unwrap()
    }

    /// What it decides, with the fuel it took.
    #[track_caller]
    pub(super) fn decide(&self, set: &ConflictSet) -> (model::Decision, u64) {
        let call = self.call(set);
        assert_eq!(call.outcome, CallOutcome::Decided);
        (call.decision.unwrap(), call.fuel.unwrap())
    }
}

/// False, with a line that says so, where the language cannot be built here; a failure
/// where none may be missing.
pub(super) fn can_build(lang: Lang) -> bool {
    let programs: &[&str] = match lang {
        Lang::Rust => &["cargo", "rustc"],
        Lang::Js => &["componentize-qjs", "node"],
        Lang::Python => &["componentize-py", "python3"],
        Lang::C => &["clang-19", "wasm-ld-19", "cc"],
    };
    let on_path = |program: &&str| {
        std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        })
    };
    let mut missing: Vec<_> = programs.iter().filter(|p| !on_path(p)).copied().collect();
    if lang == Lang::Rust && missing.is_empty() && !has_rust_target() {
        missing.push("the Rust target wasm32-unknown-unknown");
    }
    if missing.is_empty() {
        return true;
    }
    let message = format!(
        "SKIPPED: resolvers in {}: missing {}; run .ci/setup",
        lang.name(),
        missing.join(", ")
    );
    let required = std::env::var("TAPEMARK_TEST_REQUIRE").is_ok_and(|v| v == "all");
    assert!(!required, "{message}");
    eprintln!("{message}");
    false
}

fn has_rust_target() -> bool {
    let found = Command::new("rustc")
        .args([
            "--print",
            "target-libdir",
            "--target",
            "wasm32-unknown-unknown",
        ])
        .output()
        .unwrap();
    Path::new(String::from_utf8_lossy(&found.stdout).trim()).is_dir()
        || Path::new("/usr/lib/rustlib/src/rust/library/Cargo.lock").is_file()
}

/// Builds the project in `folder` as its `resolver.toml` says, as `tapemark resolver build`
/// does.
pub(super) fn build(folder: &Path) -> Vec<u8> {
    let _one_at_a_time = COMPILER.lock();
    let text = std::fs::read_to_string(folder.join("resolver.toml")).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    let build: Vec<&str> = manifest.build.iter().map(String::as_str).collect();
    run(folder, &build);
    let Some(core) = manifest.core else {
        let component = std::fs::read(folder.join(manifest.output)).unwrap();
        assert_eq!(kind(&component), Some(Kind::Component));
        return component;
    };
    let core = std::fs::read(folder.join(core)).unwrap();
    assert_eq!(kind(&core), Some(Kind::Module));
    componentize(&core).unwrap()
}

/// Runs a command in a folder; panics with its output where it fails.
#[track_caller]
pub(super) fn run(folder: &Path, command: &[&str]) -> String {
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(folder)
        // One standard library for WebAssembly, for all tests and all runs.
        .env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests"),
        )
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "{command:?} in {folder:?}:\n{text}"
    );
    text
}

/// Copies a folder, without what builds leave there.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if ["dist", "node_modules", ".venv", "__pycache__", "target"]
            .iter()
            .any(|made| name == *made)
        {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(name));
        } else {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// All that a resolver must be before it is published: what `inspect` finds.
#[track_caller]
pub(super) fn assert_pure(component: &[u8]) {
    let inspection = resolver::inspect(component).unwrap();
    assert_eq!(inspection.findings, []);
    assert_eq!(
        inspection.interface.as_deref(),
        Some("tapemark:resolver/policy@1.0.0")
    );
    assert_eq!(inspection.bytes, Bytes(component.len() as u64));
    for import in &inspection.imports {
        assert_eq!(import, "tapemark:resolver/types@1.0.0");
    }
}
