//! Where policies are wrong, and why.

use cedar_policy::ParseErrors;
use miette::Diagnostic;

/// Policies that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}", place(*.line, *.column))]
pub struct PolicyError {
    /// The file, as it was called.
    pub file: String,
    /// The line, from 1; 0 where it is about the whole file.
    pub line: usize,
    /// The character in the line, from 1; 0 where it is about the whole file.
    pub column: usize,
    /// What was expected and what was found.
    pub message: String,
}

fn place(line: usize, column: usize) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(":{line}:{column}")
    }
}

impl PolicyError {
    pub(crate) fn whole(file: &str, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message,
        }
    }

    pub(crate) fn parse(file: &str, text: &str, errors: &ParseErrors) -> Self {
        match errors.iter().next() {
            Some(first) => Self::of(file, text, first),
            None => Self::whole(file, errors.to_string()),
        }
    }

    /// What Cedar says of it, at the first place that it points to.
    pub(crate) fn of(file: &str, text: &str, found: &(impl Diagnostic + ?Sized)) -> Self {
        let label = found.labels().and_then(|mut labels| labels.next());
        let (line, column) = label.as_ref().map_or((0, 0), |label| {
            let before = text.get(..label.offset()).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            (
                before.matches('\n').count() + 1,
                before[line_start..].chars().count() + 1,
            )
        });
        let mut message = found.to_string();
        // What was expected stands beside the label, where the parser knows it.
        let more = label.as_ref().and_then(|label| label.label());
        for more in more
            .map(str::to_owned)
            .into_iter()
            .chain(found.help().map(|help| help.to_string()))
        {
            message.push_str("; ");
            message.push_str(&more);
        }
        Self {
            file: file.to_owned(),
            line,
            column,
            message: message.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}
