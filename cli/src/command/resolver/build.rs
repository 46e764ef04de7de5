//! From a project to a component: `build`, offline.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use clap::Args;
use componentize::project::{Lang, MANIFEST, Manifest};
use model::Code;

use super::{inspect, local};
use crate::failure::Failure;
use crate::out::Out;

/// What `tapemark resolver build` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct BuildArgs {
    /// The project: a folder with resolver.toml
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// Carries out `tapemark resolver build`: the project's own build, for languages whose
/// tools write core modules the step to a component, then what `inspect` does.
///
/// # Errors
/// [`Code::InvalidRequest`] for a project that is none and for a build that fails;
/// [`Code::ResolverInvalid`] for a component that breaks the contract.
pub(crate) fn build(out: &Out, args: &BuildArgs) -> Result<(), Failure> {
    let path = args.dir.join(MANIFEST);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let manifest = Manifest::parse(&text).map_err(|error| {
        let at = args.dir.display();
        Failure::no(Code::InvalidRequest, format!("{at}: {error}"))
    })?;
    run(out, args, &manifest)?;
    let output = args.dir.join(&manifest.output);
    if let Some(core) = &manifest.core {
        let core = args.dir.join(core);
        let module = local::read_component(&core)?;
        let component = componentize::componentize(&module).map_err(|error| {
            Failure::no(
                Code::ResolverInvalid,
                format!("{}: {error}", core.display()),
            )
        })?;
        local::write(&output, &component)?;
    }
    inspect::show(out, &output, &manifest.limits)
}

/// Runs the project's build. What it says goes to standard error: standard output is for
/// what `inspect` says.
fn run(out: &Out, args: &BuildArgs, manifest: &Manifest) -> Result<(), Failure> {
    let [program, rest @ ..] = manifest.build.as_slice() else {
        return Err(Failure::Usage(format!("{MANIFEST}: build: found nothing")));
    };
    out.note(&format!("running {}", manifest.build.join(" ")));
    let ended = Command::new(program)
        .args(rest)
        .current_dir(&args.dir)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status();
    let install = install(manifest.lang);
    match ended {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Failure::no(
            Code::InvalidRequest,
            format!("expected to find {program} on the PATH, found none; install: {install}"),
        )),
        Err(error) => Err(error.into()),
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::no(
            Code::InvalidRequest,
            format!(
                "{}: expected success, found {status}; what it said stands above. If a tool is \
                 missing: {install}",
                manifest.build.join(" ")
            ),
        )),
    }
}

/// How the tools of a language are installed.
const fn install(lang: Lang) -> &'static str {
    match lang {
        Lang::Rust => "rustup target add wasm32-unknown-unknown",
        Lang::Js => "Node.js 20 or newer, then npm ci in the project",
        Lang::Python => "Python 3.10 or newer, then pip install -r requirements.txt",
        Lang::C => "apt install clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc",
    }
}
