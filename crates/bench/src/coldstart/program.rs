//! What is started: the functions that `sam build` made, and their peers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;

/// Logical ids of `template.yaml`; the event of `events/` that each answers over and over;
/// what it does for that.
const FUNCTIONS: [(&str, &str, &str); 9] = [
    (
        "ValidateFunction",
        "validate/unknown-group.json",
        "looks the group up, refuses",
    ),
    (
        "AllocateFunction",
        "allocate/unknown-group.json",
        "looks the group up, refuses",
    ),
    (
        "ExecuteFunction",
        "execute/dispatch.json",
        "looks the group up, refuses",
    ),
    (
        "VerifyFunction",
        "verify/commit-too-early.json",
        "looks the group up, refuses",
    ),
    (
        "AgentFunction",
        "agent/claim-unsigned.json",
        "refuses what is not signed",
    ),
    ("ApiFunction", "api/healthz.json", "reads the ledger's head"),
    (
        "EventsFunction",
        "events/effect.json",
        "starts an execution, forgets the effect",
    ),
    (
        "SweepFunction",
        "sweep/schedule.json",
        "looks for leases, pins and effects",
    ),
    (
        "CompileFunction",
        "compile/malformed.json",
        "refuses what is no digest",
    ),
];

/// Something that polls the Runtime API.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its row.
    pub name: String,
    /// What is executed.
    pub command: PathBuf,
    /// With these arguments.
    pub arguments: Vec<PathBuf>,
    /// `_HANDLER`
    pub handler: &'static str,
    /// Where its code lies.
    pub task: PathBuf,
    /// What it is handed in.
    pub event: Value,
    /// What it does with that.
    pub does: &'static str,
    /// Bytes of its code without symbols.
    pub size: u64,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn event(name: &str) -> anyhow::Result<Value> {
    let path = root().join("events").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// The functions below `built`, and the names of those that are not there.
///
/// # Errors
/// Where an event of the repository cannot be read, or `strip` is missing.
pub fn functions(built: &Path, tmp: &Path) -> anyhow::Result<(Vec<Program>, Vec<&'static str>)> {
    let (mut found, mut missing) = (vec![], vec![]);
    for (name, file, does) in FUNCTIONS {
        let task = built.join(name);
        let command = task.join("bootstrap");
        if !command.is_file() {
            missing.push(name);
            continue;
        }
        found.push(Program {
            name: name.to_owned(),
            size: stripped(&command, tmp)?,
            command: command.canonicalize()?,
            arguments: vec![],
            handler: "bootstrap",
            task,
            event: event(file)?,
            does,
        });
    }
    Ok((found, missing))
}

/// The hello world in Rust.
///
/// # Errors
/// Where it cannot be built.
pub fn hello(named: Option<&Path>, tmp: &Path) -> anyhow::Result<Program> {
    let command = match named {
        Some(named) => named.to_owned(),
        None => build_hello()?,
    };
    anyhow::ensure!(
        command.is_file(),
        "expected hello_function at {}, found none: run \
         `cargo build --release -p bench --bin hello_function`, or name it with --hello",
        command.display()
    );
    Ok(Program {
        name: "hello world, Rust".to_owned(),
        size: stripped(&command, tmp)?,
        arguments: vec![],
        handler: "bootstrap",
        task: tmp.to_owned(),
        event: event("validate/unknown-group.json")?,
        does: "answers",
        command,
    })
}

/// Has the cargo that runs this build it beside this program.
fn build_hello() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("where this program is")?;
    let dir = own.parent().context("this program's directory")?;
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        build.args(["build", "-p", "bench", "--bin", "hello_function"]);
        if dir.file_name().is_some_and(|profile| profile == "release") {
            build.arg("--release");
        }
        if let Some(target) = dir.parent() {
            build.arg("--target-dir").arg(target);
        }
        build.arg("--manifest-path").arg(root().join("Cargo.toml"));
        let status = build.stdout(Stdio::null()).status();
        let status = status.context("running cargo build")?;
        anyhow::ensure!(status.success(), "cargo build of hello_function: {status}");
    }
    Ok(dir.join("hello_function"))
}

/// Node.js with the same phase: as its packages come, and bundled. None where there is no
/// `node` or no `npm`.
///
/// # Errors
/// Where npm cannot fetch the packages.
pub fn node() -> anyhow::Result<Vec<Program>> {
    let (Some(node), Some(npm)) = (on_path("node"), on_path("npm")) else {
        return Ok(vec![]);
    };
    let own = std::env::current_exe().context("where this program is")?;
    let target = own.ancestors().nth(2).context("the target directory")?;
    let dir = target.join("coldstart-node");
    std::fs::create_dir_all(&dir)?;
    for file in ["bootstrap.mjs", "index.mjs", "package.json"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("node/validate");
        std::fs::copy(from.join(file), dir.join(file)).with_context(|| file.to_owned())?;
    }
    let mut install = Command::new(npm);
    install.args(["install", "--no-audit", "--no-fund", "--silent"]);
    run(&mut install, &dir).context("npm install of the peer")?;
    let mut bundle = Command::new(dir.join("node_modules/.bin/esbuild"));
    bundle.args([
        "index.mjs",
        "--bundle",
        "--platform=node",
        "--target=node20",
    ]);
    bundle.args(["--format=cjs", "--minify", "--outfile=bundle/index.cjs"]);
    bundle.arg("--log-level=error");
    run(&mut bundle, &dir).context("esbuild of the peer")?;
    let packages = below(&dir.join("node_modules/@aws-sdk"))?
        + below(&dir.join("node_modules/@smithy"))?
        + below(&dir.join("node_modules/@aws-crypto")).unwrap_or_default();
    let program = |name: &str, handler, size| -> anyhow::Result<Program> {
        Ok(Program {
            name: name.to_owned(),
            command: node.clone(),
            arguments: vec![dir.join("bootstrap.mjs")],
            handler,
            task: dir.clone(),
            event: event("validate/unknown-group.json")?,
            does: "looks the group up, refuses",
            size,
        })
    };
    let bundled = std::fs::metadata(dir.join("bundle/index.cjs"))?.len();
    Ok(vec![
        program("validate, Node.js", "index.mjs.handler", packages)?,
        program(
            "validate, Node.js, bundled",
            "bundle/index.cjs.handler",
            bundled,
        )?,
    ])
}

fn run(command: &mut Command, dir: &Path) -> anyhow::Result<()> {
    let done = command.current_dir(dir).output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "{}: {said}", done.status);
    Ok(())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn below(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => below(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

fn stripped(binary: &Path, tmp: &Path) -> anyhow::Result<u64> {
    let stripped = tmp.join("stripped");
    let status = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(binary)
        .status()
        .context("running strip (Debian: binutils)")?;
    anyhow::ensure!(status.success(), "strip {}: {status}", binary.display());
    Ok(std::fs::metadata(&stripped)?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_template_has_an_event_that_is_there() {
        let template = std::fs::read_to_string(root().join("template.yaml")).unwrap();
        let declared = template
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.strip_suffix("Function:"))
            .filter(|name| !name.contains(' ') && !name.is_empty())
            .map(|name| format!("{name}Function"));
        let mut declared: Vec<String> = declared.collect();
        declared.sort();
        let mut ours: Vec<_> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
        ours.sort_unstable();
        assert_eq!(declared, ours);
        for (_, file, _) in FUNCTIONS {
            event(file).unwrap();
        }
    }

    #[test]
    fn what_was_not_built_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let (found, missing) = functions(empty.path(), empty.path()).unwrap();
        assert!(found.is_empty());
        assert_eq!(missing.len(), FUNCTIONS.len());
    }
}
