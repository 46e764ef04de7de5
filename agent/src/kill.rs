//! Named points at which the process can be made to die, for tests from outside.
//!
//! Off unless the environment variable `TAPEMARK_KILL_AT` is set to `name` or `name:n`:
//! then the process aborts when the point is reached for the n-th time (n from 1). No
//! destructor runs, nothing is flushed: what a `kill -9` at that place would do.
//!
//! ```
//! use tapemark_agent::KillPoints;
//!
//! let off = KillPoints::default();
//! off.reach(KillPoints::MID_SEGMENT); // nothing happens
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable that names the point.
pub const KILL_AT: &str = "TAPEMARK_KILL_AT";

/// The kill points of one agent.
#[derive(Clone, Default)]
pub struct KillPoints(Option<Arc<Armed>>);

struct Armed {
    name: String,
    left: AtomicU64,
    die: Box<dyn Fn() + Send + Sync>,
}

impl KillPoints {
    /// In the middle of a segment, after a record.
    pub const MID_SEGMENT: &str = "mid-segment";
    /// All records of a batch are given to the drive, none is known to be on the medium.
    pub const AFTER_RECORDS: &str = "after-records-before-filemark";
    /// The batch is on the medium, nobody has been told.
    pub const AFTER_FILEMARK: &str = "after-filemark-before-report";
    /// The control plane has taken the report.
    pub const AFTER_REPORT: &str = "after-report-before-commit";
    /// In the middle of reading a placement back, after a record.
    pub const READ_BACK: &str = "during-read-back";
    /// Every point.
    pub const ALL: [&str; 5] = [
        Self::MID_SEGMENT,
        Self::AFTER_RECORDS,
        Self::AFTER_FILEMARK,
        Self::AFTER_REPORT,
        Self::READ_BACK,
    ];

    /// What `TAPEMARK_KILL_AT` says.
    ///
    /// # Errors
    /// When it names no point, or its count is not a number from 1.
    pub fn from_env() -> Result<Self, String> {
        match std::env::var(KILL_AT) {
            Ok(text) => Self::parse(&text, std::process::abort),
            Err(_) => Ok(Self::default()),
        }
    }

    /// A point as `name` or `name:n`, and what to do there instead of aborting.
    ///
    /// # Errors
    /// When the text names no point, or its count is not a number from 1.
    pub fn parse<F, R>(text: &str, die: F) -> Result<Self, String>
    where
        F: Fn() -> R + Send + Sync + 'static,
    {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        if !Self::ALL.contains(&name) {
            return Err(format!(
                "{KILL_AT}: expected one of {:?}, found {name:?}",
                Self::ALL
            ));
        }
        let left: u64 = count
            .parse()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| format!("{KILL_AT}: expected a count from 1, found {count:?}"))?;
        Ok(Self(Some(Arc::new(Armed {
            name: name.to_owned(),
            left: AtomicU64::new(left),
            die: Box::new(move || {
                die();
            }),
        }))))
    }

    /// Says that a point is reached; dies there if it is the armed one and its count is up.
    pub fn reach(&self, name: &str) {
        if let Some(armed) = &self.0
            && armed.name == name
            && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            tracing::error!(point = name, "dying as asked by {KILL_AT}");
            (armed.die)();
        }
    }
}

impl fmt::Debug for KillPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KillPoints")
            .field(&self.0.as_ref().map(|armed| &armed.name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_time_counts() {
        let deaths = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&deaths);
        let points = KillPoints::parse("mid-segment:2", move || {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .unwrap();
        let seen = |n| assert_eq!(deaths.load(Ordering::Relaxed), n);
        points.reach(KillPoints::READ_BACK);
        points.reach(KillPoints::MID_SEGMENT);
        seen(0);
        points.reach(KillPoints::MID_SEGMENT);
        points.reach(KillPoints::MID_SEGMENT);
        seen(1);
    }

    #[test]
    fn a_wrong_name_or_count_is_refused() {
        for bad in ["", "nowhere", "mid-segment:0", "mid-segment:x"] {
            assert!(KillPoints::parse(bad, || ()).is_err(), "{bad}");
        }
    }
}
