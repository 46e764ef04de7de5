//! Golden cases: a conflict set, and what is to be decided of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::{CallOutcome, ConflictSet, Decision, MAX_INPUT_BYTES};
use serde::{Deserialize, Serialize};

use crate::subject::Subject;

/// The largest case file: a set and its decision, written with indentation.
const MAX_CASE_BYTES: u64 = 16 * MAX_INPUT_BYTES as u64;

/// The most case files of a directory: they are all held at once.
const MAX_CASES: usize = 1_000;

/// One case, as `cases/NAME.json` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The file's name without `.json`.
    #[serde(skip)]
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What is decided on.
    pub input: ConflictSet,
    /// What is to be decided: actions and codes count, words do not. None before the
    /// first `--bless`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The code of the resolver's own error, where that is what is to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a case expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// This decision.
    Decision(&'a Decision),
    /// An error of the resolver's own with this code.
    Error(&'a str),
    /// Nothing yet.
    Nothing,
}

impl Case {
    /// What it expects.
    pub fn expected(&self) -> Expected<'_> {
        match (&self.decision, &self.error) {
            (Some(decision), _) => Expected::Decision(decision),
            (None, Some(code)) => Expected::Error(code),
            (None, None) => Expected::Nothing,
        }
    }
}

/// Why cases cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// A file or directory cannot be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// A file is no case.
    #[error(
        "{path}: expected {{\"input\": CONFLICT SET, \"decision\": DECISION}}, found: {source}",
        path = .path.display()
    )]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is too much of something.
    #[error("{path}: expected {expected}, found more", path = .path.display())]
    TooMuch {
        /// Of what.
        path: PathBuf,
        /// What is allowed.
        expected: String,
    },
    /// A case cannot be blessed: what is decided now is no decision to hold on to.
    #[error("{case}: expected a decision or an error of the resolver's own, found {found}")]
    Unblessable {
        /// The case.
        case: String,
        /// How the call ended.
        found: String,
    },
}

/// Every `*.json` of a directory, by name.
///
/// # Errors
/// [`CaseError`], for the first file that cannot be used.
pub fn load(directory: &Path) -> Result<Vec<(PathBuf, Case)>, CaseError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| CaseError::Io { path, source }
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(io(directory))? {
        let path = entry.map_err(io(directory))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            paths.push(path);
        }
        if paths.len() > MAX_CASES {
            return Err(CaseError::TooMuch {
                path: directory.to_owned(),
                expected: format!("at most {MAX_CASES} cases"),
            });
        }
    }
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let size = fs::metadata(&path).map_err(io(&path))?.len();
        if size > MAX_CASE_BYTES {
            return Err(CaseError::TooMuch {
                path,
                expected: format!("at most {MAX_CASE_BYTES} bytes"),
            });
        }
        let text = fs::read(&path).map_err(io(&path))?;
        let mut case: Case = serde_json::from_slice(&text).map_err(|source| CaseError::Format {
            path: path.clone(),
            source,
        })?;
        case.name = path
            .file_stem()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        cases.push((path, case));
    }
    Ok(cases)
}

/// Writes down what is decided now as what is to be decided. Says which files changed.
///
/// # Errors
/// [`CaseError`]; files before the one in it are written.
pub fn bless(
    cases: &mut [(PathBuf, Case)],
    subject: &dyn Subject,
    limits: &model::Limits,
) -> Result<Vec<PathBuf>, CaseError> {
    let mut changed = Vec::new();
    for (path, case) in cases {
        let call = subject.call(&case.input, limits);
        let before = case.clone();
        match (call.outcome, call.decision) {
            (CallOutcome::Decided, Some(decision)) => {
                let kept = case.decision.as_ref();
                // Other words alone are no reason to touch a file.
                if !kept.is_some_and(|kept| policy::same_actions(kept, &decision)) {
                    case.decision = Some(decision);
                }
                case.error = None;
            }
            (CallOutcome::Error { code, .. }, _) => {
                case.decision = None;
                case.error = Some(code);
            }
            (outcome, _) => {
                return Err(CaseError::Unblessable {
                    case: case.name.clone(),
                    found: crate::replay::outcome(&outcome),
                });
            }
        }
        if *case != before {
            let text = serde_json::to_string_pretty(case).map_err(|source| CaseError::Format {
                path: path.clone(),
                source,
            })?;
            fs::write(&*path, text + "\n").map_err(|source| CaseError::Io {
                path: path.clone(),
                source,
            })?;
            changed.push(path.clone());
        }
    }
    Ok(changed)
}
