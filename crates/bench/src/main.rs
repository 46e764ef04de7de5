//! `bench NAME [--json]`: runs one benchmark.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use bench::{catalogue, coldstart, orchestrate, resolver, simulate};
use clap::{Parser, Subcommand};
use serde::Serialize;

/// Tapemark's benchmarks. Each compares with a peer or a physical limit in the same run.
#[derive(Parser)]
#[command(name = "bench", version, max_term_width = 100)]
struct Cli {
    /// Print one JSON object instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Latency to tape under different policies: a discrete-event simulation of a synthetic
    /// workload on LTO-9 drives (a few seconds, no I/O).
    Simulate(Simulate),
    /// What the control plane and the agent cost when tape costs nothing: 847 concurrent
    /// checkpoints of 1 MiB through the real stack, then ten times as many. Starts `tapemark up`
    /// in a temporary directory (30 GB of disk); builds it first under `cargo run`.
    Orchestrate(Orchestrate),
    /// What a decision costs when a WebAssembly component makes it, beside the native policy:
    /// cold, warm, and in bulk. Builds `tapemark` and two small binaries under `cargo run`.
    Resolver(Resolver),
    /// What DynamoDB bills for a checkpoint, alone and in company: requests and units counted
    /// in process, and the month that follows (a few seconds).
    Catalogue,
    /// How long a function takes from exec to its first poll, its warm invocations, memory
    /// and size, beside a Rust hello world and the same phase in Node.js. Measures what
    /// `sam build` made; builds the hello world under `cargo run`, fetches Node's packages.
    Coldstart(Coldstart),
}

#[derive(clap::Args)]
struct Coldstart {
    /// Where `sam build` put the functions.
    #[arg(long, default_value = ".aws-sam/build")]
    built: PathBuf,
    /// How many starts of each.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u16).range(11..=1_000))]
    starts: u16,
    /// How many warm invocations of each.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    invocations: u32,
    /// The Rust hello world; else beside this program.
    #[arg(long)]
    hello: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Resolver {
    /// The component: it must decide as the native policy does.
    #[arg(long, default_value = "plugins/fixtures/priority-deadline.wasm")]
    component: PathBuf,
    /// How many requests contend in each set.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    requests: u16,
    /// How many decisions of each kind.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    runs: u32,
    /// How many records are replayed.
    #[arg(long, default_value_t = 1_700_000)]
    records: u64,
    /// How many of them differ.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    distinct: u64,
    /// How many threads replay.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: u16,
    /// The `tapemark` command, which compiles the component.
    #[arg(long)]
    tapemark: Option<PathBuf>,
    /// Where decide_once and decide_natively lie; else beside this program.
    #[arg(long)]
    binaries: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Orchestrate {
    /// How many services submit at once.
    #[arg(long, default_value_t = 847, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    services: u32,
    /// How many times as many checkpoints the second run has; 1 leaves it out.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    growth: u32,
    /// Bytes an artifact.
    #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    size: u64,
    /// How many submissions are under way at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    concurrency: u32,
    /// The `tapemark` command to measure.
    #[arg(long)]
    tapemark: Option<PathBuf>,
    /// Where to make the temporary directory: the disk to measure.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Simulate {
    /// Seeds whose latencies are taken together.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    seeds: Vec<u64>,
    /// How many seeds for the confidence intervals.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    confidence_seeds: u64,
    /// Numbers of drives.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    drives: Vec<u8>,
    /// Weeks of requests.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=52))]
    weeks: u32,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.bench {
        Bench::Resolver(args) => {
            let settings = resolver::Settings {
                component: args.component,
                requests: args.requests.into(),
                runs: args.runs as usize,
                processes: 21,
                records: args.records,
                distinct: args.distinct,
                threads: NonZeroUsize::new(args.threads.into()).unwrap_or(NonZeroUsize::MIN),
                tapemark: args.tapemark,
                binaries: args.binaries,
            };
            let report = resolver::resolver(&settings)?;
            print(cli.json, &report, resolver::Report::to_text)
        }
        Bench::Simulate(args) => {
            let mut settings = simulate::Settings {
                seeds: args.seeds,
                confidence_seeds: (1..=args.confidence_seeds).collect(),
                drives: args
                    .drives
                    .into_iter()
                    .filter(|n| *n > 0)
                    .map(usize::from)
                    .collect(),
                ..simulate::Settings::default()
            };
            settings.workload.weeks = args.weeks;
            anyhow::ensure!(
                !settings.drives.is_empty(),
                "--drives: expected 1 or more, found 0"
            );
            let report = simulate::simulate(&settings)?;
            print(cli.json, &report, simulate::Report::to_text)
        }
        Bench::Catalogue => {
            let runtime = tokio::runtime::Runtime::new()?;
            let report = runtime.block_on(catalogue::catalogue())?;
            print(cli.json, &report, catalogue::Report::to_text)
        }
        Bench::Coldstart(args) => {
            let settings = coldstart::Settings {
                built: args.built,
                starts: args.starts.into(),
                invocations: args.invocations as usize,
                hello: args.hello,
            };
            let runtime = tokio::runtime::Runtime::new()?;
            let report = runtime.block_on(coldstart::coldstart(&settings))?;
            print(cli.json, &report, coldstart::Report::to_text)
        }
        Bench::Orchestrate(args) => {
            let settings = orchestrate::Settings {
                services: args.services as usize,
                growth: args.growth as usize,
                size: model::Bytes(args.size),
                concurrency: args.concurrency as usize,
                tapemark: args.tapemark,
                dir: args.dir,
            };
            let runtime = tokio::runtime::Runtime::new()?;
            let report = runtime.block_on(orchestrate::orchestrate(&settings))?;
            print(cli.json, &report, orchestrate::Report::to_text)
        }
    }
}

/// One object for programs, or text for people.
fn print<T: Serialize>(json: bool, report: &T, text: impl Fn(&T) -> String) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string_pretty(report)? + "\n"
    } else {
        text(report)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
