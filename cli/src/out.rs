//! What goes where: data to standard output, progress and reasons to standard error.

use std::io::{IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;

/// Colours, where they are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style(bool);

impl Style {
    /// No colours.
    pub(crate) const fn plain() -> Self {
        Self(false)
    }

    /// Colours on a terminal, unless NO_COLOR is set or the terminal is dumb.
    fn of(stream: &impl IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self(stream.is_terminal() && !unwanted)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// For what went wrong.
    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31;1", text)
    }

    /// For what went well.
    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For names and heads.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// For what is said along.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// Where a command writes.
#[derive(Clone, Debug)]
pub(crate) struct Out {
    /// One JSON document instead of text.
    pub(crate) json: bool,
    /// For standard output.
    pub(crate) style: Style,
    /// For standard error.
    pub(crate) error_style: Style,
    bars: MultiProgress,
}

impl Out {
    /// For this process's streams.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let visible = !quiet && std::io::stderr().is_terminal();
        let target = if visible {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            json,
            style: if json {
                Style::plain()
            } else {
                Style::of(&std::io::stdout())
            },
            error_style: Style::of(&std::io::stderr()),
            bars: MultiProgress::with_draw_target(target),
        }
    }

    /// The same without progress.
    pub(crate) fn silent(&self) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Self {
            bars,
            ..self.clone()
        }
    }

    /// Writes text to standard output. A reader that went away ends the command quietly.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        match stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the value as JSON where JSON is wanted, else the text.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn show(
        &self,
        value: &impl Serialize,
        text: impl FnOnce(Style) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            self.text(&format!("{}\n", serde_json::to_string(value)?))
        } else {
            self.text(&text(self.style))
        }
    }

    /// A bar over bytes.
    pub(crate) fn bytes_bar(&self, what: &str, total: u64) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(total));
        bar.set_style(template(
            "{prefix:>12} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {msg}",
        ));
        bar.set_prefix(what.to_owned());
        bar
    }

    /// A bar over things.
    pub(crate) fn count_bar(&self, what: &str, total: u64) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(total));
        bar.set_style(template("{prefix:>12} [{bar:30}] {pos}/{len} {msg}"));
        bar.set_prefix(what.to_owned());
        bar
    }

    /// A line that shows that something is going on.
    pub(crate) fn spinner(&self, what: &str) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(template("{spinner} {prefix} {msg}"));
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(std::time::Duration::from_millis(120));
        bar
    }

    /// A line on standard error that stays, on terminals only.
    pub(crate) fn note(&self, text: &str) {
        // Nothing is lost where it cannot be shown.
        let _ = self.bars.println(text);
    }
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A table with its columns aligned.
pub(crate) fn table(style: Style, head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            let pad = width.saturating_sub(cell.chars().count()) + 2;
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', pad));
        }
        text.trim_end().to_owned()
    };
    let mut text = format!("{}\n", style.bold(&line(&mut head.iter().copied())));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
        text.push('\n');
    }
    text
}

/// A count of bytes for people: `1.5 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        let rows = [
            vec!["a".to_owned(), "bb".to_owned()],
            vec!["größe".to_owned(), "b".to_owned()],
        ];
        assert_eq!(
            table(Style::plain(), &["X", "LONG"], &rows),
            "X      LONG\na      bb\ngröße  b\n"
        );
    }
}
