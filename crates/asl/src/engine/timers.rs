//! Timers: waits, retry delays, timeouts, heartbeats.

use jiff::Timestamp;

use super::Kernel;
use super::tasks::HEARTBEAT;
use crate::command::{Command, Outcome, TimerId};
use crate::event::{Details, EventId};
use crate::execution::{Purpose, Timer, Waiting};

impl Kernel<'_> {
    pub(super) fn set_timer(&mut self, at: Timestamp, purpose: Purpose) -> TimerId {
        let timer = TimerId(self.x.next_timer);
        self.x.next_timer += 1;
        self.x.timers.insert(timer, Timer { at, purpose });
        self.commands.push(Command::SetTimer { timer, at });
        timer
    }

    pub(super) fn move_timer(&mut self, timer: TimerId, at: Timestamp) {
        if let Some(set) = self.x.timers.get_mut(&timer) {
            set.at = at;
            self.commands.push(Command::SetTimer { timer, at });
        }
    }

    pub(super) fn cancel_timer(&mut self, timer: TimerId) {
        if self.x.timers.remove(&timer).is_some() {
            self.commands.push(Command::CancelTimer { timer });
        }
    }

    pub(super) fn timer_fired(&mut self, timer: TimerId) {
        let Some(set) = self.x.timers.get(&timer).copied() else {
            return;
        };
        if self.x.now < set.at {
            self.commands.push(Command::SetTimer { timer, at: set.at });
            return;
        }
        self.x.timers.remove(&timer);
        match set.purpose {
            Purpose::Wait(id) => {
                if let Some(state) = self.state(id)
                    && let Err(fault) = self.waited(id, state)
                {
                    self.fault(id, fault);
                }
            }
            Purpose::Backoff(id) => {
                self.set_waiting(id, Waiting::Ready);
                self.ready.push_back(id);
            }
            Purpose::TaskTimeout(task) => self.tasks_timed_out(task, None),
            Purpose::Heartbeat(task) => self.tasks_timed_out(task, Some(HEARTBEAT)),
            Purpose::Execution => {
                // The history names the error; the execution itself carries none.
                let error = Some("States.Timeout".into());
                let details = Details::Failure { error, cause: None };
                self.end("ExecutionTimedOut", EventId(0), details, Outcome::TimedOut);
            }
        }
    }
}
