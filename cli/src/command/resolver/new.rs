//! A project to start from: `new`, offline.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use componentize::project;
use model::Code;
use serde_json::json;

use super::local;
use crate::failure::Failure;
use crate::out::Out;

/// What `tapemark resolver new` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct NewArgs {
    /// The resolver's name: lower-case letters, digits and hyphens, a letter first
    name: String,
    /// The language
    #[arg(long)]
    lang: Lang,
    /// Where the project goes; a folder of that name here without it
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The languages with a template.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Lang {
    /// Rust, with the crate `tapemark-resolver` in the project
    Rust,
    /// JavaScript, with componentize-qjs
    Js,
    /// Python, with componentize-py
    Python,
    /// C, with clang and wasi-libc
    C,
}

/// Carries out `tapemark resolver new`.
///
/// # Errors
/// [`Code::InvalidRequest`] for a name that not every package manager takes, and for a
/// folder with something in it: nothing is ever overwritten.
pub(crate) fn new(out: &Out, args: &NewArgs) -> Result<(), Failure> {
    let lang = match args.lang {
        Lang::Rust => project::Lang::Rust,
        Lang::Js => project::Lang::Js,
        Lang::Python => project::Lang::Python,
        Lang::C => project::Lang::C,
    };
    let files = project::files(lang, &args.name)
        .map_err(|error| Failure::no(Code::InvalidRequest, error.to_string()))?;
    let dir = args.dir.clone().unwrap_or_else(|| args.name.clone().into());
    let occupied = std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || dir.is_file() {
        return Err(Failure::no(
            Code::InvalidRequest,
            format!(
                "{}: expected an empty folder or none, found something in it",
                dir.display()
            ),
        ));
    }
    for file in &files {
        local::write(&dir.join(file.path), &file.contents)?;
    }
    let paths: Vec<_> = files.iter().map(|file| file.path).collect();
    let shown = json!({ "name": args.name, "lang": lang, "dir": dir, "files": paths });
    out.show(&shown, |style| {
        let dir = dir.display();
        format!(
            "{} files in {}. Next:\n  tapemark resolver build {dir}\n  tapemark resolver test \
             {dir}/dist/{}.wasm\n",
            files.len(),
            style.bold(&dir.to_string()),
            args.name
        )
    })
}
