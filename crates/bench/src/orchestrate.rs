//! `orchestrate`: what the control plane and the agent cost when tape costs nothing.
//!
//! Starts the real stack (`tapemark up`: API, state machine, catalogue, ledger, and the agent
//! as a process of its own with a simulated library, timing off) in a temporary directory,
//! submits one checkpoint of one incompressible artifact for each of hundreds of services at
//! once through the GraphQL API, and waits until all are committed: written, read back,
//! recorded. Then the same with ten times as many on a fresh stack: what one more checkpoint
//! costs must not grow with those that are there.
//!
//! The physical limit beside it: the same number of bytes written to the same disk in one
//! stream, with an fsync at the end. A committed checkpoint's bytes are written twice (pinned
//! and on the simulated tape) and read twice.

pub mod client;
pub mod files;
pub mod process;
pub mod stack;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use model::Bytes;
use serde::Serialize;

use crate::stats::{Latency, round};
use client::{Client, Group};
use files::Artifact;
use process::Usage;
use stack::Stack;

/// How many groups one question asks about.
const GROUPS_A_QUESTION: usize = 100;
/// How long to wait before asking again about groups that are under way.
const POLL: Duration = Duration::from_millis(100);
/// How long one load may take before the run is given up: 50 times the goal.
const PATIENCE: Duration = Duration::from_secs(1_000);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many services submit at once.
    pub services: usize,
    /// How many checkpoints a service in the second run, each on its own branch so that none
    /// supersedes another; 1 leaves the second run out.
    pub growth: usize,
    /// How large an artifact is.
    pub size: Bytes,
    /// How many submissions are under way at once.
    pub concurrency: usize,
    /// The `tapemark` command; see [`stack::find_binary`].
    pub tapemark: Option<PathBuf>,
    /// Where the temporary directory is made; the system's place where absent.
    pub dir: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            services: 847,
            growth: 10,
            size: Bytes::mib(1),
            concurrency: 64,
            tapemark: None,
            dir: None,
        }
    }
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many checkpoints the first run committed.
    pub checkpoints: usize,
    /// From the first submission to the last commit.
    pub seconds: f64,
    /// The one divided by the other.
    pub checkpoints_per_second: f64,
    /// The most memory the agent had resident, over both runs.
    pub agent_rss_mib: f64,
    /// Seconds a checkpoint of the second run, divided by those of the first.
    pub cost_growth_10x: Option<f64>,
    /// The same in processor seconds of stack and agent: less at the mercy of who else uses
    /// the machine.
    pub cpu_growth_10x: Option<f64>,
    /// The first run in detail.
    pub first: Load,
    /// The second run in detail.
    pub second: Option<Load>,
    /// What the machine was.
    pub machine: Machine,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// How many checkpoints were committed.
    pub checkpoints: usize,
    /// From the first submission to the last commit.
    pub seconds: f64,
    /// The answer to a submission, as its sender saw it.
    pub answered: Latency,
    /// From submission to pinned, by the control plane's clock.
    pub staged: Latency,
    /// From submission to committed, by the control plane's clock.
    pub committed: Latency,
    /// Bytes of artifacts a second, in megabytes (10⁶).
    pub mb_per_second: f64,
    /// What one plain write of the same bytes with an fsync reached, in the same run.
    pub plain_write_mb_per_second: f64,
    /// The one divided by the other; 1 is the physical limit of writing once.
    pub share_of_plain_write: f64,
    /// What the stack used.
    pub stack: Usage,
    /// What the agent used.
    pub agent: Usage,
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Cores this process may use.
    pub cores: usize,
    /// The one-minute load average before the first run: more than a little means that the
    /// machine was shared.
    pub load_before: f64,
}

/// Runs the benchmark.
///
/// # Errors
/// When the stack cannot be started, and when a checkpoint is not committed.
pub async fn orchestrate(settings: &Settings) -> anyhow::Result<Report> {
    let binary = stack::find_binary(settings.tapemark.as_deref())?;
    let machine = machine();
    let first = load(settings, &binary, 1).await.context("first run")?;
    let second = match settings.growth {
        0 | 1 => None,
        growth => Some(
            load(settings, &binary, growth)
                .await
                .context("second run")?,
        ),
    };
    let a_checkpoint = |load: &Load| load.seconds / load.checkpoints as f64;
    let cpu = |load: &Load| (load.stack.cpu_s + load.agent.cpu_s) / load.checkpoints as f64;
    let rss = second
        .iter()
        .map(|load| load.agent.rss_mib)
        .fold(first.agent.rss_mib, f64::max);
    Ok(Report {
        checkpoints: first.checkpoints,
        seconds: first.seconds,
        checkpoints_per_second: round(first.checkpoints as f64 / first.seconds, 1),
        agent_rss_mib: round(rss, 1),
        cost_growth_10x: second
            .as_ref()
            .map(|second| round(a_checkpoint(second) / a_checkpoint(&first), 3)),
        cpu_growth_10x: second
            .as_ref()
            .map(|second| round(cpu(second) / cpu(&first), 3)),
        first,
        second,
        machine,
    })
}

/// One submission to make.
struct Order {
    service: String,
    branch: String,
    artifact: Artifact,
}

/// A submission that was answered.
struct Answered {
    group: String,
    took: Duration,
}

async fn load(settings: &Settings, binary: &Path, each: usize) -> anyhow::Result<Load> {
    let dir = match &settings.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .context("making a temporary directory")?;
    let dir = dir.path().canonicalize()?;
    let sources = dir.join("sources");
    std::fs::create_dir(&sources)?;
    let names: Vec<_> = (0..settings.services)
        .map(|n| format!("bench/service-{n:04}"))
        .collect();
    let mut orders = Vec::new();
    for branch in 0..each {
        for service in &names {
            let artifact = files::make(&sources, orders.len() as u64, settings.size)?;
            orders.push(Order {
                service: service.clone(),
                branch: format!("b{branch}"),
                artifact,
            });
        }
    }
    let bytes = Bytes(settings.size.0 * orders.len() as u64);
    let plain = files::plain_write(&dir, bytes)?;

    let stack = Stack::start(binary, &dir, &sources).await?;
    let measured = tokio::time::timeout(PATIENCE, drive(settings, &stack.client, &names, &orders));
    let (seconds, answered, groups) = match measured.await {
        Ok(measured) => measured,
        Err(_) => Err(anyhow::anyhow!(
            "expected an end within {PATIENCE:?}, found none"
        )),
    }
    .with_context(|| format!("the stack's log ends with: {}", stack.last_words()))?;
    let (stack_usage, agent_usage) = stack.usage()?;
    stack.stop().await?;

    let since = |at: fn(&Group) -> Option<Timestamp>| {
        groups
            .iter()
            .filter_map(|group| between(group.submitted_at, at(group)?))
            .collect()
    };
    let speed = |time: f64| bytes.0 as f64 / 1e6 / time;
    Ok(Load {
        checkpoints: groups.len(),
        seconds: round(seconds, 3),
        answered: Latency::of(answered.iter().map(|answered| answered.took).collect()),
        staged: Latency::of(since(|group| group.staged_at)),
        committed: Latency::of(since(|group| group.finished_at)),
        mb_per_second: round(speed(seconds), 1),
        plain_write_mb_per_second: round(speed(plain.as_secs_f64()), 1),
        share_of_plain_write: round(plain.as_secs_f64() / seconds, 3),
        stack: stack_usage,
        agent: agent_usage,
    })
}

/// Registers, submits, waits. Gives the seconds from the first submission to the last commit.
async fn drive(
    settings: &Settings,
    client: &Client,
    names: &[String],
    orders: &[Order],
) -> anyhow::Result<(f64, Vec<Answered>, Vec<Group>)> {
    client
        .register_services(names)
        .await
        .context("registering the services")?;
    let begin = Instant::now();
    let begun_at = Timestamp::now();
    let answered: Vec<Answered> = futures::stream::iter(orders)
        .map(async |order| {
            let asked = Instant::now();
            let submitted = client
                .submit(&order.service, &order.branch, &order.artifact)
                .await
                .with_context(|| format!("submitting {} {}", order.service, order.branch))?;
            anyhow::Ok(Answered {
                group: submitted.group,
                took: asked.elapsed(),
            })
        })
        .buffer_unordered(settings.concurrency.max(1))
        .try_collect()
        .await?;
    let ids: Vec<_> = answered
        .iter()
        .map(|answered| answered.group.clone())
        .collect();
    let groups = until_final(client, &ids).await?;
    let waited = begin.elapsed().as_secs_f64();
    for (id, group) in ids.iter().zip(&groups) {
        anyhow::ensure!(
            group.state == "COMMITTED",
            "expected group {id} to be committed, found {}: {:?}",
            group.state,
            group.refusals
        );
    }
    // The last commit as the control plane dates it: waiting for it is not its cost.
    let last = groups.iter().filter_map(|group| group.finished_at).max();
    let seconds = last
        .and_then(|last| between(begun_at, last))
        .map_or(waited, |d| d.as_secs_f64());
    Ok((seconds, answered, groups))
}

/// Asks about the groups, some at a time, until all are final.
async fn until_final(client: &Client, ids: &[String]) -> anyhow::Result<Vec<Group>> {
    let mut groups = Vec::with_capacity(ids.len());
    for ids in ids.chunks(GROUPS_A_QUESTION) {
        loop {
            let now = client.groups(ids).await?;
            if now.iter().all(|group| group.is_final) {
                groups.extend(now);
                break;
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(groups)
}

/// From one time to a later one.
fn between(from: Timestamp, to: Timestamp) -> Option<Duration> {
    Duration::try_from(to.duration_since(from)).ok()
}

fn machine() -> Machine {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        load_before: load
            .split(' ')
            .next()
            .and_then(|load| load.parse().ok())
            .unwrap_or(0.0),
    }
}

impl Report {
    /// The report for people.
    pub fn to_text(&self) -> String {
        let headings = [
            "checkpoints",
            "seconds",
            "a second",
            "answered p99 s",
            "staged p50 s",
            "p99 s",
            "committed p50 s",
            "p99 s",
            "MB/s",
            "plain write MB/s",
            "stack MiB",
            "CPU s",
            "agent MiB",
            "CPU s",
        ];
        let row = |load: &Load| {
            let seconds = |value: f64| format!("{value:.2}");
            let whole = |value: f64| format!("{value:.0}");
            vec![
                load.checkpoints.to_string(),
                seconds(load.seconds),
                format!("{:.1}", load.checkpoints as f64 / load.seconds),
                seconds(load.answered.p99_s),
                seconds(load.staged.p50_s),
                seconds(load.staged.p99_s),
                seconds(load.committed.p50_s),
                seconds(load.committed.p99_s),
                whole(load.mb_per_second),
                whole(load.plain_write_mb_per_second),
                whole(load.stack.rss_mib),
                seconds(load.stack.cpu_s),
                whole(load.agent.rss_mib),
                seconds(load.agent.cpu_s),
            ]
        };
        let rows: Vec<_> = std::iter::once(&self.first)
            .chain(&self.second)
            .map(row)
            .collect();
        let growth = self.cost_growth_10x.map_or_else(String::new, |growth| {
            format!("cost of a checkpoint, second run over first: {growth:.3}\n")
        });
        format!(
            "{}{growth}{} cores, load {:.2} before\n",
            crate::table::table(&headings, &rows),
            self.machine.cores,
            self.machine.load_before
        )
    }
}
