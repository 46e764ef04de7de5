//! Why a command did not do what it was asked, and the exit code that says so.

use std::fmt::Write as _;

use model::{Code, Refusal};
use serde::{Deserialize, Serialize};

use crate::out::Style;

/// The exit codes, as `tapemark --help` documents them.
pub(crate) mod exit {
    /// Done.
    pub(crate) const DONE: u8 = 0;
    /// Refused, failed, or not as expected; standard error says why.
    pub(crate) const REFUSED: u8 = 1;
    /// The command line is wrong.
    pub(crate) const USAGE: u8 = 2;
    /// The stack does not answer.
    pub(crate) const UNREACHABLE: u8 = 3;
    /// The token is missing, unknown, or not for this.
    pub(crate) const UNAUTHORIZED: u8 = 4;
    /// `--wait` ended before the work did.
    pub(crate) const TIMED_OUT: u8 = 5;
    /// Restored bytes are not the bytes of the catalogue.
    pub(crate) const MISMATCH: u8 = 6;
}

/// A "no", from the API or found here; both look the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct No {
    /// The stable code, `Tapemark.X`.
    pub(crate) code: String,
    /// What was expected and what was found.
    pub(crate) message: String,
    /// What to do next.
    #[serde(default)]
    pub(crate) hint: String,
    /// The path of the field, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code.as_str().to_owned(),
            message: refusal.message,
            hint: refusal.code.hint().to_owned(),
            field: refusal.field,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Somebody said no.
    Refused(Vec<No>),
    /// Nobody answered.
    Unreachable(String),
    /// `--wait` ended first.
    TimedOut(String),
    /// Restored bytes differ.
    Mismatch(Vec<No>),
    /// The command was told what cannot be.
    Usage(String),
    /// The answer is printed already; only the exit code is left to say.
    Silent,
    /// Something else: a file, the operating system.
    Other(anyhow::Error),
}

impl Failure {
    /// One refusal found here.
    pub(crate) fn no(code: Code, message: impl Into<String>) -> Self {
        Self::Refused(vec![Refusal::new(code, message).into()])
    }

    /// True where the first refusal has this code.
    pub(crate) fn is(&self, code: Code) -> bool {
        matches!(self, Self::Refused(list) if list.first().is_some_and(|no| no.code == code.as_str()))
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(list) => {
                let denied = [Code::Unauthorized.as_str(), Code::Forbidden.as_str()];
                if list
                    .first()
                    .is_some_and(|no| denied.contains(&no.code.as_str()))
                {
                    exit::UNAUTHORIZED
                } else {
                    exit::REFUSED
                }
            }
            Self::Unreachable(_) => exit::UNREACHABLE,
            Self::TimedOut(_) => exit::TIMED_OUT,
            Self::Mismatch(_) => exit::MISMATCH,
            Self::Usage(_) => exit::USAGE,
            Self::Silent | Self::Other(_) => exit::REFUSED,
        }
    }

    /// The refusals it consists of.
    pub(crate) fn reasons(&self) -> Vec<No> {
        let one = |code: &str, message: String, hint: &str| {
            vec![No {
                code: code.to_owned(),
                message,
                hint: hint.to_owned(),
                field: None,
            }]
        };
        match self {
            Self::Refused(list) | Self::Mismatch(list) => list.clone(),
            Self::Unreachable(message) => one(
                "Tapemark.Unreachable",
                message.clone(),
                "start it with tapemark up, or name it with --url or TAPEMARK_URL",
            ),
            Self::TimedOut(message) => one(
                "Tapemark.Busy",
                message.clone(),
                "ask again later: tapemark status ID --wait",
            ),
            Self::Usage(message) => {
                one(Code::InvalidRequest.as_str(), message.clone(), "see --help")
            }
            Self::Silent => Vec::new(),
            Self::Other(error) => one(
                Code::Internal.as_str(),
                format!("{error:#}"),
                "correct what the message names, or report it",
            ),
        }
    }

    /// As one JSON object, or as text for people. Empty for [`Failure::Silent`].
    pub(crate) fn render(&self, json: bool, style: Style) -> String {
        let reasons = self.reasons();
        if reasons.is_empty() {
            return String::new();
        }
        if json {
            return format!("{}\n", serde_json::json!({ "errors": reasons }));
        }
        let mut text = String::new();
        for no in &reasons {
            let error = style.red("error:");
            // Writing into a String cannot fail.
            let _ = match &no.field {
                Some(field) => writeln!(text, "{error} {} at {field}", style.bold(&no.code)),
                None => writeln!(text, "{error} {}", style.bold(&no.code)),
            };
            let _ = writeln!(text, "  {}", no.message);
            if !no.hint.is_empty() {
                let _ = writeln!(text, "  {} {}", style.dim("hint:"), no.hint);
            }
        }
        text
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_found_here_reads_like_one_from_the_api() {
        let refusal = Refusal::new(Code::InvalidArtifactName, "expected a, found b").at("x[0]");
        let failure = Failure::Refused(vec![refusal.into()]);
        assert_eq!(
            failure.render(false, Style::plain()),
            "error: Tapemark.InvalidArtifactName at x[0]\n  expected a, found b\n  \
             hint: use a relative path without `..`, at most 1,024 bytes\n"
        );
        assert_eq!(failure.exit_code(), exit::REFUSED);
        let json: serde_json::Value =
            serde_json::from_str(&failure.render(true, Style::plain())).unwrap();
        assert_eq!(json["errors"][0]["field"], "x[0]");
    }

    #[test]
    fn exit_codes_tell_the_kinds_apart() {
        assert_eq!(
            Failure::no(Code::Forbidden, "x").exit_code(),
            exit::UNAUTHORIZED
        );
        assert_eq!(Failure::no(Code::PoolFull, "x").exit_code(), exit::REFUSED);
        assert_eq!(
            Failure::Unreachable("x".into()).exit_code(),
            exit::UNREACHABLE
        );
        assert_eq!(Failure::Usage("x".into()).exit_code(), exit::USAGE);
    }
}
