//! Failures: retriers, catchers, and what a branch's failure does to its siblings.

use std::sync::Arc;

use serde_json::json;

use super::states::work_of;
use super::{Fault, Kernel, events};
use crate::event::{Details, EventId};
use crate::execution::{Purpose, Waiting};
use crate::json::Data;
use crate::limits::MAX_WAIT_SECONDS;
use crate::machine::{Kind, Retrier, State};
use crate::time;

impl Kernel<'_> {
    /// The chain's state failed.
    pub(super) fn fault(&mut self, id: u32, fault: Fault) {
        let Some(state) = self.state(id) else { return };
        if fault.fatal {
            let previous = self
                .x
                .chains
                .get(&id)
                .map_or(EventId(0), |chain| chain.tail);
            self.end_failed(previous, fault.error, fault.cause);
            return;
        }
        self.cut_children(id, None);
        if self.retry(id, state, &fault) {
            return;
        }
        match &state.kind {
            Kind::Parallel { .. } => {
                self.publish(id, "ParallelStateFailed", Details::None);
            }
            Kind::Map(_) => {
                self.publish(id, "MapStateFailed", Details::None);
            }
            _ => {}
        }
        match self.catch(id, state, &fault) {
            Ok(true) => {}
            Ok(false) => self.chain_failed(id, fault),
            Err(worse) if worse.fatal => self.fault(id, worse),
            Err(worse) => self.chain_failed(id, worse),
        }
    }

    /// Arranges another try, if a retrier allows one.
    fn retry(&mut self, id: u32, state: &State, fault: &Fault) -> bool {
        let retriers = work_of(state).map_or(&[] as &[Retrier], |work| &work.retry);
        let found = retriers
            .iter()
            .position(|retrier| matches(&retrier.errors, fault));
        let Some((number, retrier)) = found.and_then(|n| retriers.get(n).map(|r| (n, r))) else {
            return false;
        };
        let active = self
            .x
            .chains
            .get_mut(&id)
            .and_then(|chain| chain.active.as_mut());
        let Some(active) = active else { return false };
        active.used.resize(retriers.len(), 0);
        let used = active.used.get(number).copied().unwrap_or(0);
        if used >= retrier.attempts {
            return false;
        }
        if let Some(count) = active.used.get_mut(number) {
            *count += 1;
        }
        active.retries += 1;
        let mut delay = backoff(retrier, used);
        if retrier.jitter {
            delay *= self.draw.borrow_mut().unit();
        }
        let at = time::after_f64(self.x.now, delay);
        if at <= self.x.now {
            self.set_waiting(id, Waiting::Ready);
            self.ready.push_back(id);
        } else {
            let timer = self.set_timer(at, Purpose::Backoff(id));
            self.set_waiting(id, Waiting::Backoff(timer));
        }
        true
    }

    /// Goes where a catcher says, if one fits.
    fn catch(&mut self, id: u32, state: &State, fault: &Fault) -> Result<bool, Fault> {
        let Some(work) = work_of(state) else {
            return Ok(false);
        };
        let Some(catcher) = work
            .catch
            .iter()
            .find(|catcher| matches(&catcher.errors, fault))
        else {
            return Ok(false);
        };
        let Some(raw) = self.raw(id) else {
            return Ok(false);
        };
        let word = |word: &Option<Arc<str>>| word.as_deref().unwrap_or("").to_owned();
        let output = json!({ "Error": word(&fault.error), "Cause": word(&fault.cause) });
        let assigned = self.assign(id, catcher.assign.as_ref(), &output)?;
        let placed = self.place(id, &catcher.result_path, &raw, Data::new(output))?;
        self.exit(id, placed, assigned, Some(catcher.next.clone()));
        Ok(true)
    }

    /// Nothing in the chain took the failure: it is the chain's.
    fn chain_failed(&mut self, id: u32, fault: Fault) {
        let Some(chain) = self.x.chains.get(&id) else {
            return;
        };
        match chain.parent {
            None => {
                let previous = chain.tail;
                self.end_failed(previous, fault.error, fault.cause);
            }
            Some((parent, index)) => {
                self.cut_children(parent, Some(index));
                self.fault(parent, fault);
            }
        }
    }

    /// Ends all children of a state. Each leaves, in its order, the events AWS records for it,
    /// which all point to the last event of the child that failed.
    fn cut_children(&mut self, id: u32, failed: Option<usize>) {
        let Some(children) = self.children(id) else {
            return;
        };
        let open: Vec<(usize, u32)> = children.open.iter().map(|(i, c)| (*i, *c)).collect();
        let failing = failed.and_then(|index| children.open.get(&index).copied());
        let previous = match failing.and_then(|child| self.x.chains.get(&child)) {
            Some(child) => child.last,
            None => self
                .x
                .chains
                .get(&id)
                .map_or(EventId(0), |chain| chain.last),
        };
        if let Some(chain) = self.x.chains.get_mut(&id) {
            chain.last = previous;
            chain.tail = previous;
        }
        for (index, child) in open {
            self.record_cut(id, index, child, failed == Some(index), previous);
            self.drop_chain(child);
        }
        self.set_waiting(id, Waiting::Ready);
    }

    fn record_cut(
        &mut self,
        parent: u32,
        index: usize,
        child: u32,
        failed: bool,
        previous: EventId,
    ) {
        if let Some(state) = self.state(parent)
            && let Kind::Map(_) = &state.kind
        {
            let kind = if failed {
                "MapIterationFailed"
            } else {
                "MapIterationAborted"
            };
            let details = Details::Iteration {
                name: state.name.clone(),
                index: index as u64,
            };
            let event = self.append(kind, previous, details);
            self.set_tail(parent, event);
        }
        if let Some(children) = self.children(child) {
            let below: Vec<(usize, u32)> = children.open.iter().map(|(i, c)| (*i, *c)).collect();
            for (index, grandchild) in below {
                self.record_cut(child, index, grandchild, false, previous);
            }
        }
        // A state that failed was closed by an event of its own, except a Task's.
        if let Some(state) = self.state(child)
            && (!failed || matches!(state.kind, Kind::Task(_)))
        {
            let event = self.append(events(&state.kind).aborted, previous, Details::None);
            self.set_tail(parent, event);
        }
    }

    fn set_tail(&mut self, id: u32, event: EventId) {
        if let Some(chain) = self.x.chains.get_mut(&id) {
            chain.tail = event;
        }
    }
}

/// Seconds before a retry, jitter aside. Multiplied step by step, because powers differ in their
/// last bit between platforms and a replay may run on another one.
fn backoff(retrier: &Retrier, used: u64) -> f64 {
    let most = retrier.ceiling.unwrap_or(MAX_WAIT_SECONDS) as f64;
    let mut delay = (retrier.interval as f64).min(most);
    for _ in 0..used {
        if delay >= most || delay == 0.0 || retrier.rate <= 1.0 {
            break;
        }
        delay = (delay * retrier.rate).min(most);
    }
    delay
}

/// Whether a list of error names covers a fault.
///
/// `States.ALL` covers everything but `States.Runtime`; `States.TaskFailed` everything but that
/// and `States.Timeout`. `States.DataLimitExceeded` of a task *is* covered by `States.ALL`: AWS's
/// documentation says otherwise, its recorded histories (2024) show it caught.
fn matches(errors: &[String], fault: &Fault) -> bool {
    let name = fault.error.as_deref().unwrap_or("");
    errors.iter().any(|listed| match listed.as_str() {
        listed if listed == name || fault.alias == Some(listed) => true,
        "States.ALL" => name != "States.Runtime",
        "States.TaskFailed" => !matches!(name, "States.Runtime" | "States.Timeout"),
        _ => false,
    })
}
