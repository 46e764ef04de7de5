//! `tapemark demo`: a whole installation in a temporary directory, hundreds of services with
//! real files, every kind of conflict, a crash in the middle, and the proof at the end.
//!
//! Nothing is mocked: the same control plane, state machine, agent, tape format and ledger
//! as `tapemark up`. The agent is a process of its own, because it is killed.

mod check;
mod files;
mod load;
mod report;
mod resolvers;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::agent::stopped;
use crate::client::Client;
use crate::command::service::register;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::out::Out;
use crate::up::{Running, Setup, Size, start};
use files::Deck;
use load::{Plan, Sent};
use report::Report;

/// The smallest volume of the demo.
const SMALLEST_VOLUME: u64 = 1 << 30;
/// How many times all of the demo's bytes a volume holds: room for what is reserved before
/// anything is compressed, so that no volume is mounted for a remainder.
const CAPACITY_FACTOR: u64 = 8;
/// How long the demo may take before it is called a failure.
const PATIENCE: Duration = Duration::from_secs(600);

/// What `tapemark demo` is told.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Takes files as they are: Tapemark's own sources and what was compiled from them, or everything
below --from DIR. Nothing is changed there: what is taken is copied first, so that a build next
door does not matter. At most --bytes are taken in all.")]
pub(crate) struct DemoArgs {
    /// Take the files of this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Option<PathBuf>,
    /// How many services
    #[arg(long, value_name = "N", default_value_t = 847, value_parser = clap::value_parser!(u32).range(20..=10_000))]
    pub(crate) services: u32,
    /// How much to submit in all
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    pub(crate) bytes: Size,
    /// Deals the files out and chooses what is restored
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Keep the installation and what was restored
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Runs the demo.
///
/// # Errors
/// When anything differs, or anything did not go as it must.
pub(crate) async fn demo(out: &Out, args: DemoArgs) -> Result<(), Failure> {
    let interrupted = stopped()?;
    let place = tempfile::Builder::new()
        .prefix("tapemark-demo-")
        .tempdir()?;
    let keep = args.keep;
    let result = tokio::select! {
        result = tokio::time::timeout(PATIENCE, play(out, &args, place.path())) => {
            result.unwrap_or_else(|_| {
                Err(Failure::TimedOut(format!("the demo: expected its end within {PATIENCE:?}")))
            })
        }
        () = interrupted => Err(Failure::Usage("interrupted".to_owned())),
    };
    let kept = keep.then(|| place.keep());
    let mut report = result?;
    report.kept = kept;
    out.show(&report, |style| report.text(style))?;
    if report.failed.is_empty() {
        Ok(())
    } else {
        Err(report.failure())
    }
}

async fn play(out: &Out, args: &DemoArgs, place: &Path) -> Result<Report, Failure> {
    let mut random = ChaCha8Rng::seed_from_u64(args.seed);
    let roots = files::roots(args.from.as_deref())?;
    let releases = place.join("releases");
    let deck = Deck::gather(out, &roots, args, &mut random, &releases).await?;
    out.note(&format!(
        "{} files, {} in {} services, from {}",
        deck.files(),
        crate::out::bytes(deck.bytes()),
        args.services,
        roots
            .iter()
            .map(|root| root.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    ));
    let begun = Instant::now();
    let setup = Setup {
        listen: ([127, 0, 0, 1], 0).into(),
        allow_root: vec![releases],
        capacity: Size(
            deck.bytes()
                .saturating_mul(CAPACITY_FACTOR)
                .max(SMALLEST_VOLUME),
        ),
        ..Setup::default()
    };
    let data = place.join("data");
    let running = start(&data, &setup).await?;
    // The agent says what is in the library and goes away: what is submitted now waits
    // unclaimed, so that the conflicts below have one outcome only.
    running.agent.start();
    running.wait_for_inventory().await;
    running.agent.pause().await;

    let client = Client::new(Connection {
        url: running.url.clone(),
        token: Some(running.token.clone()),
    })?;
    let plan = Plan::new(deck);
    let services: Vec<_> = plan
        .services()
        .map(|name| json!({ "name": name }))
        .collect();
    register(&client, &services).await?;
    let played = carry_out(out, &client, &running, &plan, &mut random, place).await;
    let seconds = begun.elapsed().as_secs_f64();
    running.shutdown().await;
    let mut report = played?;
    report.seconds = seconds;
    Ok(report)
}

/// Everything between the first submission and the last comparison.
async fn carry_out(
    out: &Out,
    client: &Client,
    running: &Running,
    plan: &Plan,
    random: &mut ChaCha8Rng,
    place: &Path,
) -> Result<Report, Failure> {
    let mut sent = Sent::default();
    resolvers::begin(client, running.library.as_str()).await?;
    load::contend(client, plan, &mut sent).await?;
    running.agent.start();
    load::everything(out, client, running, plan, &mut sent).await?;
    let settled = load::settle(client, &sent).await?;
    let mut report = Report::of(&sent, &settled);
    report.ledger_verified = check::ledger(client).await?;
    report.times(check::phases(client, &settled, random).await?);
    report.decided = resolvers::decided(client).await?;
    report.volumes = check::volumes_used(client).await?;
    let checked = check::restore(out, client, plan, &sent, &settled, random, place).await?;
    report.restored = checked.restored;
    report.restore_mismatches = checked.mismatches;
    report.judge(plan);
    Ok(report)
}
