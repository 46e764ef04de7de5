//! The project that an author starts from, and what is in its `resolver.toml`.

use model::Limits;
use serde::{Deserialize, Serialize};

/// The name of the file that makes a folder a project.
pub const MANIFEST: &str = "resolver.toml";

/// The longest name of a resolver, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A language with a template, bindings and tests of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// Rust, with the crate `tapemark-resolver`.
    Rust,
    /// JavaScript, with componentize-qjs.
    Js,
    /// Python, with componentize-py.
    Python,
    /// C, with clang and wasi-libc.
    C,
}

impl Lang {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rust, Self::Js, Self::Python, Self::C];

    /// Its name, as in `resolver.toml` and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Js => "js",
            Self::Python => "python",
            Self::C => "c",
        }
    }
}

/// A file of a new project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is to lie, from the project's folder, with `/` between folders.
    pub path: &'static str,
    /// What is in it.
    pub contents: Vec<u8>,
}

/// Why there is no such project.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// The name is not one that every language's package manager takes.
    #[error(
        "name: expected 1 to {MAX_NAME_BYTES} lower-case letters, digits and hyphens, a letter \
         first, found {0:?}"
    )]
    Name(String),
    /// `resolver.toml` does not say what it should.
    #[error("{MANIFEST}: {0}")]
    Manifest(String),
}

macro_rules! template {
    ($($from:literal => $to:literal),* $(,)?) => {
        &[$(($to, include_bytes!(concat!("../../../plugins/", $from)).as_slice())),*]
    };
}

/// Path in the project, contents before the name is filled in.
type Template = &'static [(&'static str, &'static [u8])];

const COMMON: Template = template!(
    "templates/cases/five-requests.json" => "cases/five-requests.json",
    "wit/resolver.wit" => "wit/resolver.wit",
);

const RUST: Template = template!(
    "templates/rust/Cargo.toml" => "Cargo.toml",
    "templates/rust/README.md" => "README.md",
    "templates/rust/build.sh" => "build.sh",
    "templates/rust/gitignore" => ".gitignore",
    "templates/rust/resolver.toml" => "resolver.toml",
    "templates/rust/src/lib.rs" => "src/lib.rs",
    "sdk/Cargo.toml" => "tapemark-resolver/Cargo.toml",
    "sdk/src/groups.rs" => "tapemark-resolver/src/groups.rs",
    "sdk/src/intern.rs" => "tapemark-resolver/src/intern.rs",
    "sdk/src/invariants.rs" => "tapemark-resolver/src/invariants.rs",
    "sdk/src/lib.rs" => "tapemark-resolver/src/lib.rs",
    "sdk/src/plan.rs" => "tapemark-resolver/src/plan.rs",
    "sdk/src/steps.rs" => "tapemark-resolver/src/steps.rs",
    "sdk/src/testing.rs" => "tapemark-resolver/src/testing.rs",
    "sdk/src/time.rs" => "tapemark-resolver/src/time.rs",
    "sdk/src/verdicts.rs" => "tapemark-resolver/src/verdicts.rs",
);

const JS: Template = template!(
    "templates/js/README.md" => "README.md",
    "templates/js/build.sh" => "build.sh",
    "templates/js/gitignore" => ".gitignore",
    "templates/js/package-lock.json" => "package-lock.json",
    "templates/js/package.json" => "package.json",
    "templates/js/resolver.toml" => "resolver.toml",
    "templates/js/src/resolver.js" => "src/resolver.js",
    "templates/js/test/resolver.test.js" => "test/resolver.test.js",
);

const PYTHON: Template = template!(
    "templates/python/README.md" => "README.md",
    "templates/python/build.sh" => "build.sh",
    "templates/python/gitignore" => ".gitignore",
    "templates/python/requirements.txt" => "requirements.txt",
    "templates/python/resolver.py" => "resolver.py",
    "templates/python/resolver.toml" => "resolver.toml",
    "templates/python/test/test_resolver.py" => "test/test_resolver.py",
);

const C: Template = template!(
    "templates/c/README.md" => "README.md",
    "templates/c/build.sh" => "build.sh",
    "templates/c/gitignore" => ".gitignore",
    "templates/c/policy.c" => "policy.c",
    "templates/c/resolver.toml" => "resolver.toml",
    "templates/c/test.sh" => "test.sh",
    "templates/c/test/test_policy.c" => "test/test_policy.c",
    "sdk-c/resolver.c" => "bindings/resolver.c",
    "sdk-c/resolver.h" => "bindings/resolver.h",
    "sdk-c/resolver_component_type.o" => "bindings/resolver_component_type.o",
);

/// The files of a new project, sorted by path: a policy that keeps the invariants, its
/// tests, and all that it needs of this repository. It builds with one command.
///
/// # Errors
/// [`ProjectError::Name`].
pub fn files(lang: Lang, name: &str) -> Result<Vec<File>, ProjectError> {
    check_name(name)?;
    let template = match lang {
        Lang::Rust => RUST,
        Lang::Js => JS,
        Lang::Python => PYTHON,
        Lang::C => C,
    };
    let mut files: Vec<File> = COMMON
        .iter()
        .chain(template)
        .map(|(path, contents)| File {
            path,
            contents: fill_in(contents, name),
        })
        .collect();
    files.sort_by_key(|file| file.path);
    Ok(files)
}

fn check_name(name: &str) -> Result<(), ProjectError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(allowed);
    if !good {
        return Err(ProjectError::Name(name.to_owned()));
    }
    Ok(())
}

/// What is not text has no name in it.
fn fill_in(contents: &[u8], name: &str) -> Vec<u8> {
    match std::str::from_utf8(contents) {
        Ok(text) => text.replace("{{name}}", name).into_bytes(),
        Err(_) => contents.to_vec(),
    }
}

/// What `resolver.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The resolver's name.
    pub name: String,
    /// Its language.
    pub lang: Lang,
    /// The program that builds it and its arguments, run in the project's folder.
    pub build: Vec<String>,
    /// Where that leaves a core module of which a component is yet to be made; none: it
    /// writes the component itself. From the project's folder.
    pub core: Option<String>,
    /// Where the component is to lie. From the project's folder.
    pub output: String,
    /// What one decision may use.
    #[serde(default)]
    pub limits: Limits,
}

impl Manifest {
    /// Reads the text of a `resolver.toml`.
    ///
    /// # Errors
    /// [`ProjectError`], naming the key.
    pub fn parse(text: &str) -> Result<Self, ProjectError> {
        let manifest: Self =
            toml::from_str(text).map_err(|e| ProjectError::Manifest(e.to_string()))?;
        check_name(&manifest.name)?;
        if manifest.build.is_empty() {
            let why = "build: expected a program and its arguments, found an empty list";
            return Err(ProjectError::Manifest(why.to_owned()));
        }
        if let Some((name, cap)) = manifest.limits.beyond_cap() {
            let why = format!("limits.{name}: expected 1 to {cap}");
            return Err(ProjectError::Manifest(why));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_project_that_says_how_it_is_built() {
        for lang in Lang::ALL {
            let files = files(lang, "my-policy").expect("the name is one");
            let text = |path: &str| {
                let file = files.iter().find(|file| file.path == path);
                let file = file.unwrap_or_else(|| panic!("{lang:?} has {path}"));
                String::from_utf8(file.contents.clone()).expect("it is text")
            };
            let manifest = Manifest::parse(&text(MANIFEST)).expect("it is a manifest");
            assert_eq!((manifest.lang, manifest.name.as_str()), (lang, "my-policy"));
            assert_eq!(manifest.output, "dist/my-policy.wasm");
            assert_eq!(manifest.limits, Limits::DEFAULT);
            assert!(text("wit/resolver.wit").contains("tapemark:resolver@1.0.0"));
            assert!(text("cases/five-requests.json").contains("decision"));
            assert!(text("README.md").contains("tapemark resolver build"));
            assert!(text(".gitignore").contains("/dist"));
        }
    }

    #[test]
    fn no_placeholder_is_left() {
        for lang in Lang::ALL {
            for file in files(lang, "my-policy").expect("the name is one") {
                let text = String::from_utf8_lossy(&file.contents);
                assert!(!text.contains("{{name}}"), "{lang:?}: {}", file.path);
            }
        }
    }

    #[test]
    fn projects_in_rust_have_all_of_the_sdk() {
        let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/sdk/src");
        let mut expected: Vec<String> = std::fs::read_dir(sdk)
            .expect("the SDK lies beside us")
            .map(|entry| entry.expect("it can be listed").file_name())
            .map(|name| format!("tapemark-resolver/src/{}", name.display()))
            .collect();
        expected.sort();
        let files = files(Lang::Rust, "my-policy").expect("the name is one");
        let found: Vec<_> = files
            .iter()
            .map(|file| file.path)
            .filter(|path| path.starts_with("tapemark-resolver/src/"))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_that_no_package_manager_takes_is_refused() {
        for bad in [
            "",
            "9-lives",
            "-x",
            "My",
            "a_b",
            "../x",
            "ü",
            &"x".repeat(65),
        ] {
            assert_eq!(
                files(Lang::C, bad),
                Err(ProjectError::Name(bad.to_owned())),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_manifest_says_which_key_is_wrong() {
        let good = "name = \"a\"\nlang = \"c\"\nbuild = [\"sh\"]\noutput = \"a.wasm\"\n";
        assert!(Manifest::parse(good).is_ok());
        for (text, named) in [
            (good.replace("[\"sh\"]", "[]"), "build"),
            (good.replace("\"c\"", "\"cobol\""), "cobol"),
            (good.replace("output", "outptu"), "outptu"),
            (format!("{good}[limits]\nfuel = 0\n"), "limits.fuel"),
            (format!("{good}[limits]\nfule = 1\n"), "fule"),
            (good.replace("\"a\"", "\"A\""), "\"A\""),
        ] {
            let error = Manifest::parse(&text).expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
