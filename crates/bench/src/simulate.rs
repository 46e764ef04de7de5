//! `simulate`: how long checkpoints take to reach tape under different policies.
//!
//! A discrete-event simulation of a synthetic workload on LTO-9 drives. Each policy meets
//! the same requests; the physical limit (drives of the same rate that lose no time with
//! mounts, filemarks or turns) meets them too, and every row carries its ratio to that.

pub mod engine;
pub mod policy;
pub mod tally;
pub mod times;
pub mod workload;

use std::time::Duration;

use scsi::FormFactor;
use serde::Serialize;

use crate::stats::{Latency, confidence_95, round};
use engine::Stuck;
use policy::{Policy, compared, physical_limit};
use tally::{Shares, Tally, latencies};
use times::{Limit, Lto9, Mechanics};
use workload::{Request, Workload};

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The workload.
    pub workload: Workload,
    /// Seeds whose latencies are taken together for the percentiles.
    pub seeds: Vec<u64>,
    /// Seeds for the confidence intervals, each on its own.
    pub confidence_seeds: Vec<u64>,
    /// Numbers of drives.
    pub drives: Vec<usize>,
    /// The drive of the main table.
    pub drive: Lto9,
    /// Drives on which a part of the table is repeated, with the most drives of the main one.
    pub other_drives: Vec<Lto9>,
}

impl Default for Settings {
    /// The figures of the project's scheduling notes: half-height drives at 300 MB/s, which is
    /// their native rate in IBM's manuals; their fastest speed step is 284 MB/s.
    fn default() -> Self {
        let half = Lto9::new(FormFactor::HalfHeight);
        Self {
            workload: Workload::default(),
            seeds: vec![1, 2],
            confidence_seeds: (1..=20).collect(),
            drives: vec![1, 2],
            drive: half.with_rate(300e6),
            other_drives: vec![half, Lto9::new(FormFactor::FullHeight)],
        }
    }
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The workload in words; begins with "synthetic workload".
    pub workload: String,
    /// One row a policy and number of drives.
    pub policies: Vec<Row>,
    /// What the rows were simulated on.
    pub drive: String,
    /// The same on other drives: ours, and what it is compared with.
    pub other_drives: Vec<OtherDrive>,
    /// Seeds of the percentiles.
    pub seeds: Vec<u64>,
    /// Seeds of the confidence intervals.
    pub confidence_seeds: Vec<u64>,
    /// The workload in numbers.
    pub workload_parameters: Workload,
    /// What a policy's name stands for.
    pub descriptions: Vec<Description>,
}

/// A part of the table on another drive.
#[derive(Clone, Debug, Serialize)]
pub struct OtherDrive {
    /// The drive.
    pub drive: String,
    /// The rows.
    pub policies: Vec<Row>,
}

/// What a policy's name stands for.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub does: &'static str,
}

/// One policy on so many drives.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The policy.
    pub name: &'static str,
    /// How many drives.
    pub drives: usize,
    /// Median time from request to behind a synchronous filemark.
    pub p50_s: f64,
    /// 99 of 100 are not longer.
    pub p99_s: f64,
    /// Mounts a day, all drives together.
    pub mounts_per_day: f64,
    /// 95 of 100 are not longer.
    pub p95_s: f64,
    /// The longest.
    pub max_s: f64,
    /// The 95 % confidence interval of `p99_s` of one seed.
    pub p99_s_confidence_95: Option<[f64; 2]>,
    /// `p99_s` divided by the physical limit's.
    pub p99_over_limit: f64,
    /// Requests of the weekly burst only.
    pub burst: Latency,
    /// The others.
    pub steady: Latency,
    /// From request to read back, where the policy reads back.
    pub read_back: Option<Latency>,
    /// Synchronous filemarks a day.
    pub syncs_per_day: f64,
    /// Gigabytes (10⁹) written a mount.
    pub gb_per_mount: f64,
    /// What the drives did, as shares of drives times span; they add up to 1.
    pub drive_time: Shares,
    /// The most that was asked for and not yet on tape, in gigabytes.
    pub exposure_gb: f64,
    /// False where the backlog outlives the requests by more than a day: percentiles then
    /// measure the length of the simulation, not the policy.
    pub keeps_up: bool,
}

/// Policies that are repeated on the other drives.
const REPEATED: &[&str] = &[
    "ours",
    "ours, reading back",
    "mount on demand, unmount at once, sync per file",
    "pinned, sync per file",
];

/// Runs all policies.
///
/// # Errors
/// [`Stuck`] where a policy leaves requests behind.
pub fn simulate(settings: &Settings) -> Result<Report, Stuck> {
    let table = |drive: &Lto9, drives: &[usize], policies: &[Policy]| {
        Simulation::new(settings, drive).table(drives, policies)
    };
    let all = compared();
    let repeated: Vec<_> = all
        .iter()
        .filter(|policy| REPEATED.contains(&policy.name))
        .cloned()
        .collect();
    let most = settings.drives.iter().max().copied().unwrap_or(1);
    let mut other_drives = Vec::new();
    for drive in &settings.other_drives {
        let policies = table(drive, &[most], &repeated)?;
        other_drives.push(OtherDrive {
            drive: drive.describe(),
            policies,
        });
    }
    Ok(Report {
        workload: settings.workload.describe(),
        policies: table(&settings.drive, &settings.drives, &all)?,
        drive: settings.drive.describe(),
        other_drives,
        seeds: settings.seeds.clone(),
        confidence_seeds: settings.confidence_seeds.clone(),
        workload_parameters: settings.workload,
        descriptions: all
            .into_iter()
            .chain([physical_limit()])
            .map(|policy| Description {
                name: policy.name,
                does: policy.description,
            })
            .collect(),
    })
}

/// One drive type and the requests of all seeds.
struct Simulation<'a> {
    span: Duration,
    drive: &'a Lto9,
    main: Vec<Vec<Request>>,
    more: Vec<Vec<Request>>,
}

impl<'a> Simulation<'a> {
    fn new(settings: &Settings, drive: &'a Lto9) -> Self {
        let generate = |seeds: &[u64]| -> Vec<_> {
            seeds
                .iter()
                .map(|seed| settings.workload.generate(*seed))
                .collect()
        };
        Self {
            span: settings.workload.span(),
            drive,
            main: generate(&settings.seeds),
            more: generate(&settings.confidence_seeds),
        }
    }

    fn table(&self, drives: &[usize], policies: &[Policy]) -> Result<Vec<Row>, Stuck> {
        let limit = Limit {
            rate: self.drive.rate(),
        };
        let mut rows = Vec::new();
        for drives in drives {
            let mut bound = self.row(*drives, &physical_limit(), &limit, 1.0)?;
            let bound_p99_s = bound.p99_s;
            bound.p99_over_limit = 1.0;
            for policy in policies {
                rows.push(self.row(*drives, policy, self.drive, bound_p99_s)?);
            }
            rows.push(bound);
        }
        Ok(rows)
    }

    fn row(
        &self,
        drives: usize,
        policy: &Policy,
        mechanics: &dyn Mechanics,
        bound_p99_s: f64,
    ) -> Result<Row, Stuck> {
        let mut tally = Tally::default();
        for requests in &self.main {
            let trace = engine::run(requests, drives, policy, mechanics)?;
            tally.add(requests, &trace, drives, self.span);
        }
        let mut p99s = Vec::new();
        for requests in &self.more {
            let trace = engine::run(requests, drives, policy, mechanics)?;
            p99s.push(Latency::of(latencies(requests, &trace.synced).collect()).p99_s);
        }
        let days = self.span.as_secs_f64() / 86_400.0 * self.main.len() as f64;
        let all = Latency::of([tally.burst.as_slice(), &tally.steady].concat());
        Ok(Row {
            name: policy.name,
            drives,
            p50_s: all.p50_s,
            p99_s: all.p99_s,
            mounts_per_day: round(tally.mounts as f64 / days, 2),
            p95_s: all.p95_s,
            max_s: all.max_s,
            p99_s_confidence_95: confidence_95(&p99s),
            p99_over_limit: round(all.p99_s / bound_p99_s, 3),
            syncs_per_day: round(tally.syncs as f64 / days, 1),
            gb_per_mount: round(tally.bytes as f64 / 1e9 / tally.mounts.max(1) as f64, 1),
            drive_time: tally.shares(),
            exposure_gb: round(tally.exposure as f64 / 1e9, 1),
            keeps_up: tally.latest <= self.span + Duration::from_secs(86_400),
            read_back: (!tally.read_back.is_empty()).then(|| Latency::of(tally.read_back)),
            burst: Latency::of(tally.burst),
            steady: Latency::of(tally.steady),
        })
    }
}

impl Report {
    /// The report for people.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{}\n\n{}\n{}",
            self.workload,
            self.drive,
            rows(&self.policies)
        );
        for other in &self.other_drives {
            text.push_str(&format!("\n{}\n{}", other.drive, rows(&other.policies)));
        }
        text.push_str("\np50, p99: request to behind a synchronous filemark. (95 %): confidence ");
        text.push_str(&format!(
            "interval of p99 over {} seeds.\n",
            self.confidence_seeds.len()
        ));
        text.push_str("restorable: request to read back, where the policy reads back.\n");
        text.push_str("limit: p99 over that of drives that only stream. *: does not keep up.\n\n");
        for description in &self.descriptions {
            text.push_str(&format!("{}: {}.\n", description.name, description.does));
        }
        text
    }
}

fn rows(policies: &[Row]) -> String {
    let headings = [
        "policy",
        "drives",
        "mounts/d",
        "syncs/d",
        "p50 s",
        "p99 s",
        "(95 %)",
        "restorable p99 s",
        "limit",
    ];
    let cells = |row: &Row| {
        let interval = row.p99_s_confidence_95;
        vec![
            format!("{}{}", row.name, if row.keeps_up { "" } else { " *" }),
            row.drives.to_string(),
            format!("{:.1}", row.mounts_per_day),
            format!("{:.0}", row.syncs_per_day),
            format!("{:.1}", row.p50_s),
            format!("{:.0}", row.p99_s),
            interval.map_or_else(String::new, |[low, high]| format!("{low:.0}-{high:.0}")),
            row.read_back
                .map_or_else(String::new, |read_back| format!("{:.0}", read_back.p99_s)),
            format!("{:.2}", row.p99_over_limit),
        ]
    };
    crate::table::table(&headings, &policies.iter().map(cells).collect::<Vec<_>>())
}
