//! How long a component takes: `bench`, offline.

use std::path::PathBuf;

use clap::Args;
use kit::measure::{Times, measure};
use model::{Code, MAX_CONTENDERS};

use super::local;
use crate::failure::Failure;
use crate::out::{Out, bytes, table};

/// What `tapemark resolver bench` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// The component
    component: PathBuf,
    /// How many decisions of each kind
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// Fuel for a decision, where it is to be published with another than the default
    #[arg(long, value_name = "FUEL")]
    fuel: Option<u64>,
    /// Wall time for a decision in milliseconds
    #[arg(long, value_name = "MS")]
    wall_ms: Option<u32>,
}

/// Carries out `tapemark resolver bench`.
///
/// # Errors
/// [`Code::ResolverInvalid`] for a component that cannot be loaded or does not decide.
pub(crate) fn bench(out: &Out, args: &BenchArgs) -> Result<(), Failure> {
    let component = local::read_component(&args.component)?;
    let limits = super::test::limits(args.fuel, args.wall_ms)?;
    let spinner = out.spinner("measuring");
    let sizes = [1, 32, MAX_CONTENDERS];
    let done = measure(&component, &limits, &sizes, args.runs as usize);
    spinner.finish_and_clear();
    let measured = done.map_err(|error| match error {
        kit::measure::MeasureError::Host(error) => local::host(error),
        other => Failure::no(Code::ResolverInvalid, other.to_string()),
    })?;
    out.show(&measured, |style| {
        let times = |times: &Times| format!("{:.0}, {:.0}", times.p50, times.p99);
        let rows: Vec<Vec<String>> = measured
            .sizes
            .iter()
            .map(|size| {
                vec![
                    size.requests.to_string(),
                    size.fuel.to_string(),
                    format!("{:.2} %", size.fuel as f64 * 100.0 / limits.fuel as f64),
                    times(&size.fresh),
                    times(&size.pooled),
                    times(&size.with_digest),
                    times(&size.native),
                ]
            })
            .collect();
        let head = [
            "REQUESTS",
            "FUEL",
            "OF BUDGET",
            "FRESH",
            "POOLED",
            "WITH DIGEST",
            "NATIVE DEFAULT",
        ];
        format!(
            "{}times in microseconds: median, p99\ncompiled in {:.0} ms, loaded in {:.0} \
             microseconds{}\n",
            table(style, &head, &rows),
            measured.compile_ms,
            measured.load_us,
            measured.peak_bytes.map_or(String::new(), |peak| format!(
                ", at most {} of memory (with the compiler)",
                bytes(peak)
            ))
        )
    })
}
