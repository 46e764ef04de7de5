//! `train`: weights for the `learned` resolver out of decision records, offline.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use kit::records::Reader;
use kit::train::{GENERATED, Options, TrainError, Trained, generated};
use model::Code;
use serde_json::json;

use crate::failure::Failure;
use crate::out::{Out, Style};

/// What `tapemark resolver train` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct TrainArgs {
    /// Records as `tapemark resolver record` writes them; at most 50,000
    #[arg(required_unless_present = "generated", conflicts_with = "generated")]
    records: Option<PathBuf>,
    /// Train on so many generated records instead: what the shipped model was trained on
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=50_000))]
    generated: Option<u64>,
    /// The directory for model.json and card.md; it is made where it is missing
    #[arg(long)]
    out: PathBuf,
    /// The same records and seed give the same weights
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
    /// Steps of the search for weights
    #[arg(long, default_value_t = Options::default().steps)]
    steps: u32,
}

/// Carries out `tapemark resolver train`: reads all records, trains, judges the weights once
/// on the later part of the records, and writes `model.json` and `card.md`.
///
/// # Errors
/// `Tapemark.InvalidRequest` for records that cannot be read, too few or too many; when a
/// file cannot be read or written.
pub(crate) fn train(out: &Out, args: &TrainArgs) -> Result<(), Failure> {
    let options = Options {
        seed: args.seed,
        steps: args.steps,
        ..Options::default()
    };
    let trained = match (&args.records, args.generated) {
        (Some(path), _) => {
            let file = File::open(path).map_err(|error| unusable("RECORDS", path, &error))?;
            let name = path.file_name().unwrap_or(path.as_os_str());
            let source = format!("recorded, from the file {}", name.to_string_lossy());
            kit::train::train(Reader::new(BufReader::new(file)), &source, &options)
        }
        (None, count) => {
            kit::train::train(generated(count.unwrap_or_default()), GENERATED, &options)
        }
    }
    .map_err(refused)?;
    write(&args.out, &trained)?;
    let report = &trained.report;
    let done = json!({ "out": args.out, "model": trained.model, "report": report });
    out.show(&done, |style| told(style, &args.out, &trained))
}

fn write(directory: &Path, trained: &Trained) -> Result<(), Failure> {
    let wrong = |error: std::io::Error| unusable("--out", directory, &error);
    std::fs::create_dir_all(directory).map_err(wrong)?;
    let model = format!("{}\n", serde_json::to_string_pretty(&trained.model)?);
    std::fs::write(directory.join("model.json"), model).map_err(wrong)?;
    std::fs::write(directory.join("card.md"), &trained.card).map_err(wrong)
}

fn told(style: Style, directory: &Path, trained: &Trained) -> String {
    let report = &trained.report;
    let [mean, low, high] =
        [report.gain.mean, report.gain.low, report.gain.high].map(|share| share * 100.0);
    let gain = format!("{mean:.1} % of the default's price saved ({low:.1} to {high:.1})");
    let gain = if report.gain.low > 0.0 {
        style.green(&gain)
    } else {
        style.red(&format!("{gain}: not shown to be better, do not bind it"))
    };
    format!(
        "trained on {} conflict sets of {} records, tested on the {} after them\n{gain}\n\
         model.json and card.md are in {}\n",
        report.train,
        report.records,
        report.test,
        directory.display()
    )
}

fn refused(error: TrainError) -> Failure {
    Failure::no(Code::InvalidRequest, error.to_string())
}

fn unusable(option: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::Usage(format!(
        "{option}: expected a path that can be used, found {}: {error}",
        path.display()
    ))
}
