//! How a device that is busy is asked again.

use std::fmt;
use std::time::Duration;

/// The first wait. A target that is BUSY is often between two commands of another initiator.
const FIRST: Duration = Duration::from_millis(50);
/// How often a command is sent again. Each wait is twice the one before: 12.75 s in all.
///
/// Longer than a library needs to answer again after a door was closed or a drive was swapped;
/// shorter than a lease (60 s), so that whoever checked its hold before the command still has
/// it when the command gets through, or loses it no later than with one slow command.
const AGAIN: u32 = 8;

/// Whether, and by what wait, a command that was answered BUSY or TASK SET FULL is sent again.
///
/// Both statuses mean that nothing was done (SAM-5, "Status codes"), so that sending again is
/// safe for every command, writes and moves included. This crate has no clock of its own: who
/// wants patience says how to wait.
pub struct Patience(Option<Box<dyn FnMut(Duration) + Send>>);

impl Patience {
    /// The first BUSY is the answer.
    pub fn none() -> Self {
        Self(None)
    }

    /// At most eight more tries, with waits of 50 ms to 6.4 s that double: 12.75 s in all.
    /// `wait` lets that time pass; `std::thread::sleep` does.
    pub fn waiting(wait: impl FnMut(Duration) + Send + 'static) -> Self {
        Self(Some(Box::new(wait)))
    }

    /// The waits, in order.
    pub(crate) fn waits() -> impl Iterator<Item = Duration> {
        (0..AGAIN).map(|n| FIRST * 2u32.pow(n))
    }

    /// Waits. False where nobody wants to.
    pub(crate) fn wait(&mut self, time: Duration) -> bool {
        match &mut self.0 {
            Some(wait) => {
                wait(time);
                true
            }
            None => false,
        }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Patience").field(&self.0.is_some()).finish()
    }
}
