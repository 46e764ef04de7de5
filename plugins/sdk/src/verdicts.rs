//! Saying what becomes of a request.

use crate::{Action, Decision, PastOutcome, Request, Verdict};

/// The longest reason or message, in bytes; what is longer is cut here rather than
/// refused by the host.
pub const MAX_REASON_BYTES: usize = 1024;

/// The last place in line within a priority: 2^48 - 1, the year 10889 in milliseconds.
pub const LATEST: u64 = (1 << 48) - 1;

/// Codes of the host for [`Action::Reject`]. Your own have a prefix of your own, as in
/// `acme.quota`.
pub mod codes {
    /// The deadline passed before the work could begin.
    pub const DEADLINE_MISSED: &str = "Tapemark.DeadlineMissed";
    /// The named parent already has a successor.
    pub const LINEAGE_FORK: &str = "Tapemark.LineageFork";
}

/// The place in line that the built-in resolvers give: by priority (0 to 9, the most urgent
/// first), then by deadline. Below 2^52. Use the same scale where you can: orders of
/// several resolvers meet in the line of one volume.
///
/// ```
/// use tapemark_resolver::standard_order;
///
/// assert!(standard_order(9, None) < standard_order(5, Some(1_800_000_000_000)));
/// assert!(standard_order(5, Some(1_800_000_000_000)) < standard_order(5, None));
/// ```
pub fn standard_order(priority: u8, deadline: Option<u64>) -> u64 {
    let deadline = deadline.unwrap_or(LATEST).min(LATEST);
    (u64::from(9_u8.saturating_sub(priority)) << 48) | deadline
}

impl Request {
    /// Service and branch: what it is a version of.
    pub fn lineage(&self) -> (&str, Option<&str>) {
        (&self.service, self.branch.as_deref())
    }

    /// By when and in which group it was submitted: the smaller, the older. A total order
    /// of groups.
    pub fn age(&self) -> (u64, &str) {
        (self.submitted_at, &self.group)
    }

    /// Its place in line on the scale of the built-in resolvers.
    pub fn standard_order(&self) -> u64 {
        standard_order(self.priority, self.deadline)
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        find(&self.labels, name)
    }

    /// It goes ahead; lower orders (below 2^53) first.
    pub fn proceed(&self, order: u64, reason: impl Into<String>) -> Verdict {
        self.verdict(Action::Proceed(order), reason)
    }

    /// The newer request `by`, of the same lineage, takes its place.
    pub fn supersede(&self, by: &Self, reason: impl Into<String>) -> Verdict {
        self.verdict(Action::Supersede(by.id.clone()), reason)
    }

    /// The request `into`, of the same lineage and content, stands for it.
    pub fn merge(&self, into: &Self, reason: impl Into<String>) -> Verdict {
        self.verdict(Action::Merge(into.id.clone()), reason)
    }

    /// It is asked again at `until` (milliseconds), at most a day from now.
    pub fn defer(&self, until: u64, reason: impl Into<String>) -> Verdict {
        self.verdict(Action::Defer(until), reason)
    }

    /// It is refused with one of [`codes`] or one of your own.
    pub fn reject(&self, code: &str, reason: impl Into<String>) -> Verdict {
        self.verdict(Action::Reject(code.to_owned()), reason)
    }

    fn verdict(&self, action: Action, reason: impl Into<String>) -> Verdict {
        Verdict {
            id: self.id.clone(),
            action,
            reason: shorten(reason.into()),
            labels: Vec::new(),
        }
    }
}

impl Verdict {
    /// Adds to the reason, after a semicolon.
    pub fn explain(&mut self, why: &str) {
        let reason = std::mem::take(&mut self.reason);
        self.reason = shorten(format!("{reason}; {why}"));
    }
}

impl PastOutcome {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        find(&self.labels, name)
    }
}

impl Decision {
    /// A decision, its verdicts sorted by id.
    pub fn new(mut verdicts: Vec<Verdict>, reason: impl Into<String>) -> Self {
        verdicts.sort_by(|a, b| a.id.cmp(&b.id));
        Self {
            verdicts,
            reason: shorten(reason.into()),
            labels: Vec::new(),
        }
    }
}

fn find<'a>(labels: &'a [(String, String)], name: &str) -> Option<&'a str> {
    labels
        .iter()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.as_str())
}

/// Cuts at a character, so that at most [`MAX_REASON_BYTES`] remain, the last of them `…`.
pub(crate) fn shorten(mut text: String) -> String {
    if text.len() > MAX_REASON_BYTES {
        let mut end = MAX_REASON_BYTES - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        assert_eq!(shorten("short".to_owned()), "short");
        let cut = shorten("é".repeat(600));
        assert!(cut.len() <= MAX_REASON_BYTES && cut.ends_with("é…"));
        assert_eq!(shorten("x".repeat(1024)).len(), 1024);
    }

    #[test]
    fn the_scale_of_orders_stays_below_2_to_52_whatever_is_asked() {
        assert_eq!(standard_order(9, Some(0)), 0);
        assert_eq!(standard_order(200, Some(7)), 7);
        assert_eq!(standard_order(0, Some(u64::MAX)), (9 << 48) | LATEST);
        assert!(standard_order(0, None) < 1 << 52);
    }
}
