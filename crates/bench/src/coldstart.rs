//! `coldstart`: how long a function takes from `exec` to its first poll, and what it costs
//! then.
//!
//! The bootstraps are those that `sam build` made. Each is executed with the variables of
//! its deployment against a Runtime API on loopback; the first
//! `GET /2018-06-01/runtime/invocation/next` ends its start. DynamoDB and S3 are in this
//! process and empty, one endpoint agrees to everything else. All programs take turns, so
//! that what else the machine does befalls all alike.
//!
//! Two peers do so too: a Rust function that does nothing, and the validate phase in
//! Node.js, with the clients of AWS as npm has them. The hello world has this workspace's
//! release profile; `cargo lambda` adds thin LTO, one codegen unit and aborting panics,
//! which make ours smaller and start no slower.
//!
//! What Lambda itself adds is not in it: a micro VM, and fetching the code.

pub mod cloud;
pub mod program;
pub mod runtime_api;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use tokio::process::{Child, Command};

use crate::orchestrate::process::usage;
use crate::stats::{percentile, round};
use crate::table::table;
use cloud::Cloud;
use program::Program;
use runtime_api::RuntimeApi;

/// A function that did not poll by then never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where `sam build` puts functions.
    pub built: PathBuf,
    /// How many starts of each; one more comes first and is thrown away.
    pub starts: usize,
    /// How many invocations of each, warm; one more comes first and is thrown away.
    pub invocations: usize,
    /// `hello_function`, where cargo does not build it.
    pub hello: Option<PathBuf>,
}

/// One function.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its logical id in `template.yaml`.
    pub name: String,
    /// From `exec` to the first poll, in milliseconds: median.
    pub start_ms: f64,
    /// An invocation of a warm function, in milliseconds: median. What it does: [`Row::does`].
    pub warm_p50_ms: f64,
    /// 99 of 100 take no longer.
    pub warm_p99_ms: f64,
    /// The most memory it had resident (VmHWM), all invocations included, in MiB.
    pub rss_mib: f64,
    /// Its code without symbols, in megabytes (10^6 bytes).
    pub size_mb: f64,
    /// Its start over that of a Rust function that does nothing.
    pub hello_ratio: f64,
    /// The start of the validate phase in Node.js over its own; none without Node.js.
    pub node_ratio: Option<f64>,
    /// What its invocations do.
    #[serde(skip)]
    pub does: &'static str,
    /// The fastest and the slowest start, in milliseconds.
    #[serde(skip)]
    pub start_range_ms: [f64; 2],
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Ours.
    pub functions: Vec<Row>,
    /// Hello world and Node.js, for people.
    #[serde(skip)]
    pub peers: Vec<Row>,
    /// Functions that nobody has built.
    #[serde(skip)]
    pub missing: Vec<&'static str>,
}

/// What one program showed.
#[derive(Default)]
struct Shown {
    starts: Vec<Duration>,
    invocations: Vec<Duration>,
    rss_mib: f64,
}

/// Measures.
///
/// # Errors
/// Where no function was built, or one of them does not start or answers nothing.
pub async fn coldstart(settings: &Settings) -> anyhow::Result<Report> {
    let dir = tempfile::tempdir()?;
    let (ours, missing) = program::functions(&settings.built, dir.path())?;
    anyhow::ensure!(
        !ours.is_empty(),
        "expected functions below {}, found none: run \
         `sam build --parameter-overrides Architecture=x86_64`",
        settings.built.display()
    );
    let hello = program::hello(settings.hello.as_deref(), dir.path())?;
    let node = program::node()?;
    let cloud = Cloud::start().await?;
    let all: Vec<&Program> = ours.iter().chain([&hello]).chain(&node).collect();
    let mut shown: Vec<Shown> = all.iter().map(|_| Shown::default()).collect();
    for turn in 0..=settings.starts {
        for (program, shown) in all.iter().zip(&mut shown) {
            // The first maps code that was on disk.
            let invocations = (turn == settings.starts).then_some(settings.invocations);
            let start = observe(&cloud, program, invocations, shown)
                .await
                .with_context(|| program.name.clone())?;
            if turn > 0 {
                shown.starts.push(start);
            }
        }
    }
    for shown in &mut shown {
        shown.starts.sort_unstable();
        shown.invocations.sort_unstable();
    }
    let start = |at: usize| shown.get(at).map(|shown| percentile(&shown.starts, 0.5));
    let hello_start = start(ours.len()).context("it was started")?;
    let node_start = start(ours.len() + 1);
    let mut rows: Vec<Row> = all
        .iter()
        .zip(&shown)
        .map(|(program, shown)| row(program, shown, hello_start, node_start))
        .collect();
    let peers = rows.split_off(ours.len());
    Ok(Report {
        functions: rows,
        peers,
        missing,
    })
}

/// Starts a program, hands events in where it is asked to, ends it. Its start.
async fn observe(
    cloud: &Cloud,
    program: &Program,
    invocations: Option<usize>,
    shown: &mut Shown,
) -> anyhow::Result<Duration> {
    let mut api = RuntimeApi::start().await?;
    let mut command = Command::new(&program.command);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(cloud.environment(api.address, &program.task))
        .env("_HANDLER", program.handler)
        .current_dir(&program.task)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let began = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {}", program.command.display()))?;
    let polled = within(&mut child, api.polled()).await?;
    let start = polled.duration_since(began);
    if let Some(count) = invocations {
        let first = within(&mut child, api.invoke(&program.event)).await?;
        for _ in 0..count {
            let answer = within(&mut child, api.invoke(&program.event)).await?;
            anyhow::ensure!(
                (answer.is_ok, &answer.body) == (first.is_ok, &first.body),
                "expected the same answer each time, found {} after {}",
                String::from_utf8_lossy(&answer.body),
                String::from_utf8_lossy(&first.body)
            );
            shown.invocations.push(answer.took);
        }
        shown.rss_mib = usage(child.id().context("it runs")?)?.rss_mib;
    }
    child.kill().await?;
    Ok(start)
}

/// What a child does, unless it ends first or takes too long.
async fn within<T>(
    child: &mut Child,
    done: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        // What it said before it ended counts.
        biased;
        done = done => done,
        status = child.wait() => anyhow::bail!("it ended: {}", status?),
        () = tokio::time::sleep(PATIENCE) => {
            anyhow::bail!("expected a word within {PATIENCE:?}, found none")
        }
    }
}

fn ms(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1e3, 2)
}

fn row(program: &Program, shown: &Shown, hello: Duration, node: Option<Duration>) -> Row {
    let start = percentile(&shown.starts, 0.5);
    let over = |one: Duration, other: Duration| round(one.as_secs_f64() / other.as_secs_f64(), 2);
    Row {
        name: program.name.clone(),
        start_ms: ms(start),
        warm_p50_ms: ms(percentile(&shown.invocations, 0.5)),
        warm_p99_ms: ms(percentile(&shown.invocations, 0.99)),
        rss_mib: round(shown.rss_mib, 1),
        size_mb: round(program.size as f64 / 1e6, 2),
        hello_ratio: over(start, hello),
        node_ratio: node.map(|node| over(node, start)),
        does: program.does,
        start_range_ms: [
            ms(percentile(&shown.starts, 0.0)),
            ms(percentile(&shown.starts, 1.0)),
        ],
    }
}

impl Report {
    /// For people, with the goals.
    pub fn to_text(&self) -> String {
        let cells = |row: &Row| {
            let [least, most] = row.start_range_ms;
            vec![
                row.name.clone(),
                row.start_ms.to_string(),
                format!("{least} to {most}"),
                row.warm_p50_ms.to_string(),
                row.warm_p99_ms.to_string(),
                row.rss_mib.to_string(),
                row.size_mb.to_string(),
                row.hello_ratio.to_string(),
                row.node_ratio
                    .map_or(String::new(), |ratio| ratio.to_string()),
            ]
        };
        let rows: Vec<_> = self
            .functions
            .iter()
            .chain(&self.peers)
            .map(cells)
            .collect();
        let mut text = table(
            &[
                "function",
                "start ms",
                "range",
                "warm p50 ms",
                "p99 ms",
                "RSS MiB",
                "size MB",
                "÷ hello",
                "Node ÷ it",
            ],
            &rows,
        );
        text.push_str(
            "Goals: start ≤ 25 ms and an eighth of Node.js's, size ≤ 10 MB \
             (AllocateFunction 12), memory ≤ 25 MiB.\nWarm, each time:\n",
        );
        for row in &self.functions {
            text.push_str(&format!("  {} {}\n", row.name, row.does));
        }
        if !self.missing.is_empty() {
            text.push_str(&format!(
                "Not measured, because not built (sam build NAME --parameter-overrides \
                 Architecture=x86_64): {}\n",
                self.missing.join(", ")
            ));
        }
        if self.peers.len() < 2 {
            text.push_str("Not measured, because node or npm is missing: Node.js\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn without_a_build_it_says_what_to_run() {
        let settings = Settings {
            built: Path::new("/nowhere").to_owned(),
            starts: 1,
            invocations: 1,
            hello: None,
        };
        let error = coldstart(&settings).await.unwrap_err().to_string();
        assert!(error.contains("sam build"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_ends_before_it_polls_is_an_error() {
        let cloud = Cloud::start().await.unwrap();
        let program = Program {
            name: "true".to_owned(),
            command: "/bin/true".into(),
            arguments: vec![],
            handler: "bootstrap",
            task: "/".into(),
            event: serde_json::json!({}),
            does: "nothing",
            size: 0,
        };
        let ended = observe(&cloud, &program, None, &mut Shown::default()).await;
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("it ended: exit status: 0"), "{error}");
    }

    #[test]
    fn the_object_for_programs_has_these_keys() {
        let program = Program {
            name: "ValidateFunction".to_owned(),
            command: "/bin/true".into(),
            arguments: vec![],
            handler: "bootstrap",
            task: "/".into(),
            event: serde_json::json!({}),
            does: "nothing",
            size: 5_000_000,
        };
        let time = Duration::from_millis;
        let shown = Shown {
            starts: vec![time(10), time(20), time(30)],
            invocations: vec![time(1), time(2)],
            rss_mib: 12.34,
        };
        let row = row(&program, &shown, time(10), Some(time(200)));
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            "{\"name\":\"ValidateFunction\",\"start_ms\":20.0,\"warm_p50_ms\":1.0,\
             \"warm_p99_ms\":2.0,\"rss_mib\":12.3,\"size_mb\":5.0,\"hello_ratio\":2.0,\
             \"node_ratio\":10.0}"
        );
    }
}
