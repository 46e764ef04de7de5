//! `resolver`: what a decision costs when a WebAssembly component makes it.
//!
//! The peer in the same run is the native policy that the component holds. Cold decisions
//! are made by processes of their own: `decide_once`, which has no compiler, as a function. By how much the host makes a function larger is its size
//! against that of `decide_natively`, both stripped.
//!
//! Replay is measured as the command does it: from JSON lines, each parsed, its input's
//! digest checked, decided in a fresh instance, compared. The lines are generated, a few
//! thousand different ones, and repeated until there are as many as asked for.

pub mod lines;

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use kit::measure::of_size;
use kit::replay::{Cause, Settings as Replay, Source, replay};
use kit::subject::Component;
use model::{Limits, Sha256};
use resolver::{Allocation, Arch};
use serde::Serialize;
use sha2::Digest as _;

use crate::orchestrate::stack::find_binary;
use crate::stats::round;
use crate::table::table;
use lines::Repeated;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The component.
    pub component: PathBuf,
    /// How many requests contend in each set.
    pub requests: usize,
    /// How many decisions of each kind.
    pub runs: usize,
    /// How many processes make a first decision.
    pub processes: usize,
    /// How many records are replayed.
    pub records: u64,
    /// How many of them differ.
    pub distinct: u64,
    /// How many threads replay.
    pub threads: NonZeroUsize,
    /// The `tapemark` command, which compiles the component.
    pub tapemark: Option<PathBuf>,
    /// Where `decide_once` and `decide_natively` lie; without it cargo builds them.
    pub binaries: Option<PathBuf>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The first decision of a process, without reading the set, in microseconds: median.
    pub cold_us: f64,
    /// A decision in a fresh instance of a warm host, with the conversion of the set.
    pub fresh_us: f64,
    /// The same with memory from a pool.
    pub pooled_us: f64,
    /// The same as `fresh_us`, and with the canonical form of the set and its digest.
    pub with_digest_us: f64,
    /// The native policy on the same sets.
    pub native_us: f64,
    /// Records replayed a second, all threads together.
    pub decisions_per_second: f64,
    /// How many were replayed.
    pub replayed: u64,
    /// How many different ones there are among them.
    pub distinct: u64,
    /// Bytes of a line of the file, on average.
    pub line_bytes: u64,
    /// How long that took.
    pub replay_seconds: f64,
    /// How many threads did it.
    pub threads: usize,
    /// By how many megabytes (10^6 bytes) the host makes a stripped function larger.
    pub host_added_mb: f64,
    /// All limits against none: not measured, because the host has no way to leave fuel
    /// and deadline out, and code compiled without them is refused by it.
    pub limits_overhead_ratio: Option<f64>,
    /// `fresh_us` against `native_us`.
    pub wasm_to_native_ratio: f64,
    /// Fuel of the median decision.
    pub fuel: u64,
    /// How many requests contend in each set.
    pub requests: usize,
}

/// Measures.
///
/// # Errors
/// Where something cannot be built, or the component does not decide as the native policy
/// does: then there is nothing to compare.
pub fn resolver(settings: &Settings) -> anyhow::Result<Report> {
    let bytes = std::fs::read(&settings.component)
        .with_context(|| format!("reading {}", settings.component.display()))?;
    let digest = Sha256(sha2::Sha256::digest(&bytes).into());
    let dir = tempfile::tempdir()?;
    let compiled = dir.path().join("component.cwasm");
    let code = compile(settings, &bytes)?;
    std::fs::write(&compiled, &code)?;
    let expected = Sha256(sha2::Sha256::digest(&code).into());

    let binaries = match &settings.binaries {
        Some(binaries) => binaries.clone(),
        None => build_binaries()?,
    };
    let host_added_mb = added(&binaries, dir.path())?;
    let cold_us = cold(settings, &binaries, &compiled, expected)?;

    let load = |allocation| Component::load(&compiled, expected, digest, allocation);
    let on_demand = load(Allocation::OnDemand)?;
    let instances = u32::try_from(settings.threads.get())?;
    let pooled = load(Allocation::Pooling { instances })?;
    let limits = Limits::DEFAULT;
    let times = of_size(
        &on_demand,
        &pooled,
        &limits,
        settings.requests,
        settings.runs,
    )?;

    let lines = Repeated::generated(settings.distinct, settings.requests, settings.records)?;
    let line_bytes = lines.line_bytes();
    let replay_settings = Replay {
        threads: settings.threads,
        ..Replay::default()
    };
    let summary = replay(Source::Lines(lines), &pooled, &replay_settings, |_| {})?;
    anyhow::ensure!(
        summary.changed() + summary.of(Cause::Fault) == 0,
        "expected {} to decide as the native policy does, found {} decisions that differ",
        settings.component.display(),
        summary.changed()
    );
    Ok(Report {
        cold_us: round(cold_us, 2),
        fresh_us: round(times.fresh.p50, 2),
        pooled_us: round(times.pooled.p50, 2),
        with_digest_us: round(times.with_digest.p50, 2),
        native_us: round(times.native.p50, 2),
        decisions_per_second: round(summary.per_second, 2),
        replayed: summary.records,
        distinct: settings.distinct,
        line_bytes,
        replay_seconds: round(summary.seconds, 2),
        threads: summary.threads,
        host_added_mb: round(host_added_mb, 2),
        limits_overhead_ratio: None,
        wasm_to_native_ratio: round(times.fresh.p50 / times.native.p50, 2),
        fuel: times.fuel,
        requests: settings.requests,
    })
}

/// Has the `tapemark` command compile it, as publishing does.
fn compile(settings: &Settings, component: &[u8]) -> anyhow::Result<Vec<u8>> {
    let arch = Arch::native().context("expected x86_64 or aarch64")?;
    let tapemark = find_binary(settings.tapemark.as_deref())?;
    let mut child = Command::new(&tapemark)
        .args(["resolver", "compile-component", arch.name()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", tapemark.display()))?;
    let mut stdin = child.stdin.take().context("it was piped")?;
    // It reads all before it writes.
    stdin.write_all(component)?;
    drop(stdin);
    let done = child.wait_with_output()?;
    anyhow::ensure!(done.status.success(), "compiling: {}", done.status);
    Ok(done.stdout)
}

/// Has the cargo that runs this build the two binaries beside this program.
fn build_binaries() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("where this program is")?;
    let dir = own.parent().context("this program's directory")?.to_owned();
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        build.args(["build", "-p", "bench", "--bin", "decide_once"]);
        build.args(["--bin", "decide_natively"]);
        if dir.file_name().is_some_and(|profile| profile == "release") {
            build.arg("--release");
        }
        if let Some(target) = dir.parent() {
            build.arg("--target-dir").arg(target);
        }
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
        build.arg("--manifest-path").arg(manifest);
        let status = build
            .stdout(Stdio::null())
            .status()
            .context("running cargo build")?;
        anyhow::ensure!(status.success(), "cargo build of decide_once: {status}");
    }
    Ok(dir)
}

/// How many megabytes larger the stripped binary with the host is.
fn added(binaries: &Path, dir: &Path) -> anyhow::Result<f64> {
    let size = |name: &str| -> anyhow::Result<u64> {
        let stripped = dir.join(name);
        let status = Command::new("strip")
            .arg("-o")
            .args([&stripped, &binaries.join(name)])
            .status()
            .context("running strip (Debian: binutils)")?;
        anyhow::ensure!(status.success(), "strip {name}: {status}");
        Ok(std::fs::metadata(&stripped)?.len())
    };
    let (with, without) = (size("decide_once")?, size("decide_natively")?);
    Ok(with.saturating_sub(without) as f64 / 1e6)
}

/// The median first decision of a new process, in microseconds, as it says itself.
fn cold(
    settings: &Settings,
    binaries: &Path,
    compiled: &Path,
    expected: Sha256,
) -> anyhow::Result<f64> {
    let set = serde_json::to_vec(&policy::sample(1, settings.requests))?;
    let mut times = Vec::new();
    for _ in 0..settings.processes.max(1) {
        let mut child = Command::new(binaries.join("decide_once"))
            .arg(compiled)
            .arg(expected.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting decide_once")?;
        child
            .stdin
            .take()
            .context("it was piped")?
            .write_all(&set)?;
        let done = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        anyhow::ensure!(done.status.success(), "decide_once: {said}");
        times.push(said.trim().parse::<f64>()?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

impl Report {
    /// For people, with the goals.
    pub fn to_text(&self) -> String {
        let row =
            |what: &str, value: String, goal: &str| vec![what.to_owned(), value, goal.to_owned()];
        let us = |value: f64| format!("{value} µs");
        let rows = [
            row(
                "first decision of a process",
                us(self.cold_us),
                "≤ 1,000 µs",
            ),
            row("fresh instance", us(self.fresh_us), "≤ 120 µs"),
            row("fresh instance, pooled", us(self.pooled_us), ""),
            row("fresh instance, with digest", us(self.with_digest_us), ""),
            row("native policy", us(self.native_us), ""),
            row(
                "component ÷ native",
                self.wasm_to_native_ratio.to_string(),
                "",
            ),
            row(
                "replay a second",
                self.decisions_per_second.to_string(),
                "≥ 15,000",
            ),
            row(
                &format!("replay of {}", self.replayed),
                format!("{} s", self.replay_seconds),
                "≤ 120 s for 1,700,000",
            ),
            row(
                "host adds to a function",
                format!("{} MB", self.host_added_mb),
                "≤ 2 MB",
            ),
        ];
        format!(
            "{}{} requests a set, {} fuel; {} different records of {} bytes, {} threads\n",
            table(&["", "measured", "goal"], &rows),
            self.requests,
            self.fuel,
            self.distinct,
            self.line_bytes,
            self.threads
        )
    }
}
