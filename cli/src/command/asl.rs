//! The state machine engine from outside: `asl run`, `asl validate`, `asl batch`.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use asl::harness;
use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use crate::failure::Failure;
use crate::out::Out;

/// Which clock.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// Waits and delays take no time
    Virtual,
}

/// What `tapemark asl` is told.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum AslCommand {
    /// Run a definition to its end, with task outcomes from a table
    Run {
        /// The state machine
        #[arg(long, value_name = "FILE")]
        definition: PathBuf,
        /// The input, JSON
        #[arg(long, value_name = "FILE")]
        input: PathBuf,
        /// The tasks' outcomes, a JSON array
        #[arg(long, value_name = "FILE")]
        tasks: Option<PathBuf>,
        /// The clock
        #[arg(long, default_value = "virtual")]
        clock: Clock,
    },
    /// Check a definition
    Validate {
        /// The state machine
        #[arg(long, value_name = "FILE")]
        definition: PathBuf,
    },
    /// Run many cases, one a line
    Batch {
        /// The cases, JSON lines; - for standard input
        #[arg(long, value_name = "FILE")]
        cases: PathBuf,
    },
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    serde_json::from_str(&read(path)?)
        .map_err(|error| Failure::Usage(format!("{}: expected JSON: {error}", path.display())))
}

/// Carries out `tapemark asl`. With `--json` the object says how it ended, and the exit code
/// only whether there is one; without, the exit code is 1 where a run did not succeed or a
/// definition is not valid.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn asl(out: &Out, command: AslCommand) -> Result<(), Failure> {
    match command {
        AslCommand::Run {
            definition,
            input,
            tasks,
            clock: Clock::Virtual,
        } => {
            let tasks = tasks.as_deref().map(read_json).transpose()?;
            let answer = harness::run_case(&read(&definition)?, read_json(&input)?, tasks);
            out.show(&answer, |_| run_text(&answer))?;
            if out.json || answer["status"] == "SUCCEEDED" {
                Ok(())
            } else {
                Err(Failure::Silent)
            }
        }
        AslCommand::Validate { definition } => {
            let answer = harness::validate_text(&read(&definition)?);
            out.show(&answer, |_| validate_text(&answer))?;
            if out.json || answer["result"] == "OK" {
                Ok(())
            } else {
                Err(Failure::Silent)
            }
        }
        AslCommand::Batch { cases } => batch(&cases),
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn run_text(answer: &Value) -> String {
    let mut lines = format!("{}\n", text(&answer["status"]));
    for key in ["output", "error", "cause", "parameter_mismatches"] {
        if let Some(value) = answer.get(key).filter(|value| !value.is_null()) {
            lines.push_str(&format!("{key}: {}\n", text(value)));
        }
    }
    for event in answer["events"].as_array().into_iter().flatten() {
        lines.push_str(&format!("  {}\n", text(&event["type"])));
    }
    lines
}

fn validate_text(answer: &Value) -> String {
    let mut lines = format!("{}\n", text(&answer["result"]));
    for found in answer["diagnostics"].as_array().into_iter().flatten() {
        lines.push_str(&format!(
            "{} {} at {}: {}\n",
            text(&found["severity"]),
            text(&found["code"]),
            text(&found["location"]),
            text(&found["message"])
        ));
    }
    lines
}

/// One answer a line, in the order of the cases. Empty lines are skipped.
fn batch(cases: &Path) -> Result<(), Failure> {
    let input: Box<dyn BufRead> = if cases == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(cases)
            .map_err(|error| Failure::Usage(format!("{}: {error}", cases.display())))?;
        Box::new(BufReader::new(file))
    };
    let mut output = BufWriter::new(std::io::stdout().lock());
    for line in input.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        match writeln!(output, "{}", harness::batch_line(&line)) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    match output.flush() {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        flushed => Ok(flushed?),
    }
}
