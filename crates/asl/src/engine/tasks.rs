//! Tasks: scheduling them and taking their outcomes.

use std::sync::Arc;

use serde_json::Value;

use super::context::{Extra, too_large};
use super::{Fault, Kernel};
use crate::command::{Command, Task, TaskKind};
use crate::event::{Details, EventId};
use crate::execution::{OpenTask, Purpose, Waiting};
use crate::json::Data;
use crate::limits::MAX_DATA_BYTES;
use crate::machine::{self, Callee};
use crate::time;

/// The name by which a missed heartbeat may be caught; events call it `States.Timeout`.
pub(super) const HEARTBEAT: &str = "States.HeartbeatTimeout";

impl Kernel<'_> {
    pub(super) fn schedule(
        &mut self,
        id: u32,
        task: &machine::Task,
        input: &Data,
    ) -> Result<(), Fault> {
        let token: Arc<str> = self.draw.borrow_mut().token().into();
        let extra = Extra {
            token: Some(&token),
            item: None,
        };
        let timeout = self.seconds(id, task.timeout.as_ref(), input, "TimeoutSecondsPath")?;
        let heartbeat = self.seconds(id, task.heartbeat.as_ref(), input, "HeartbeatSecondsPath")?;
        let payload = match &task.work.parameters {
            None => input.clone(),
            Some(template) => {
                let filled = self.fill(id, template, input.value(), extra)?;
                self.accept(id, filled)?
            }
        };
        let role_arn = match &task.credentials {
            None => None,
            Some(template) => self
                .fill(id, template, input.value(), extra)?
                .get("RoleArn")
                .and_then(Value::as_str)
                .map(Arc::from),
        };
        let resource = task.resource.arn.clone();
        let (name, details, kind) = match &task.resource.target {
            Callee::Service {
                resource_type,
                resource,
                pattern,
            } => (
                "TaskScheduled",
                Details::TaskScheduled {
                    parameters: payload.text(),
                    region: self
                        .x
                        .identity
                        .as_ref()
                        .map_or("", |i| i.region.as_str())
                        .into(),
                    resource: resource.clone(),
                    resource_type: resource_type.clone(),
                    timeout,
                    heartbeat,
                    role_arn,
                },
                TaskKind::Service {
                    resource_type: resource_type.clone(),
                    resource: resource.clone(),
                    pattern: *pattern,
                },
            ),
            callee => {
                let details = Details::Scheduled {
                    input: payload.text(),
                    resource: resource.clone(),
                    timeout,
                    heartbeat,
                    role_arn,
                };
                match callee {
                    Callee::Activity => ("ActivityScheduled", details, TaskKind::Activity),
                    _ => ("LambdaFunctionScheduled", details, TaskKind::Lambda),
                }
            }
        };
        let event = self.publish(id, name, details);
        let Some(chain) = self.x.chains.get(&id) else {
            return Ok(());
        };
        let Some(active) = chain.active.as_ref() else {
            return Ok(());
        };
        let scheduled = Task {
            id: event,
            token: token.clone(),
            state: active.name.clone(),
            retries: active.retries,
            iteration: chain.item.as_ref().map(|item| item.index),
            resource,
            kind,
            input: payload,
            timeout,
            heartbeat,
        };
        self.commands.push(Command::Schedule(scheduled.clone()));
        let timeout = timeout
            .map(|s| self.set_timer(time::after(self.x.now, s), Purpose::TaskTimeout(event)));
        // An activity's heartbeats count from when a worker has it.
        let heartbeat = match heartbeat {
            Some(s) if scheduled.kind != TaskKind::Activity => {
                Some(self.set_timer(time::after(self.x.now, s), Purpose::Heartbeat(event)))
            }
            _ => None,
        };
        let open = OpenTask {
            task: scheduled,
            chain: id,
            timeout,
            heartbeat,
            started: false,
            submitted: false,
        };
        self.x.tasks.insert(event, open);
        self.x.tokens.insert(token, event);
        self.set_waiting(id, Waiting::Task(event));
        Ok(())
    }

    pub(super) fn task_started(&mut self, task: EventId, worker: Option<&str>) {
        self.beat(task);
        let Some(open) = self.x.tasks.get_mut(&task) else {
            return;
        };
        if std::mem::replace(&mut open.started, true) {
            return;
        }
        let (chain, kind) = (open.chain, open.task.kind.clone());
        match kind {
            TaskKind::Lambda => {
                self.publish(chain, "LambdaFunctionStarted", Details::None);
            }
            TaskKind::Activity => {
                let name = worker.map(Arc::from);
                self.publish(chain, "ActivityStarted", Details::Worker { name });
            }
            TaskKind::Service {
                resource_type,
                resource,
                ..
            } => {
                self.publish(
                    chain,
                    "TaskStarted",
                    Details::TaskStarted {
                        resource,
                        resource_type,
                    },
                );
            }
        }
    }

    pub(super) fn task_submitted(&mut self, task: EventId, output: &Value) {
        self.task_started(task, None);
        let Some(open) = self.x.tasks.get_mut(&task) else {
            return;
        };
        if std::mem::replace(&mut open.submitted, true) {
            return;
        }
        let chain = open.chain;
        if let TaskKind::Service {
            resource_type,
            resource,
            ..
        } = open.task.kind.clone()
        {
            let output = Data::new(output.clone()).text();
            self.publish(
                chain,
                "TaskSubmitted",
                Details::TaskOutput {
                    output,
                    resource,
                    resource_type,
                },
            );
        }
    }

    pub(super) fn task_succeeded(&mut self, task: EventId, output: &Value) {
        let output = Data::new(output.clone());
        if output.bytes() > MAX_DATA_BYTES {
            let what = match self
                .x
                .tasks
                .get(&task)
                .map(|open| (&open.task.kind, &open.task.resource))
            {
                Some((TaskKind::Service { resource_type, .. }, _)) => resource_type.to_string(),
                Some((_, arn)) => arn.to_string(),
                None => String::new(),
            };
            self.task_failed(
                task,
                Some("States.DataLimitExceeded"),
                Some(&too_large(&what)),
            );
            return;
        }
        self.task_started(task, None);
        let Some(open) = self.close_task(task) else {
            return;
        };
        let chain = open.chain;
        let text = output.text();
        match open.task.kind {
            TaskKind::Lambda => {
                self.publish(
                    chain,
                    "LambdaFunctionSucceeded",
                    Details::Output { output: text },
                );
            }
            TaskKind::Activity => {
                self.publish(chain, "ActivitySucceeded", Details::Output { output: text });
            }
            TaskKind::Service {
                resource_type,
                resource,
                ..
            } => {
                let details = Details::TaskOutput {
                    output: text,
                    resource,
                    resource_type,
                };
                self.publish(chain, "TaskSucceeded", details);
            }
        }
        if let Err(fault) = self.complete(chain, output.value().clone()) {
            self.fault(chain, fault);
        }
    }

    pub(super) fn task_failed(&mut self, task: EventId, error: Option<&str>, cause: Option<&str>) {
        self.task_started(task, None);
        let Some(open) = self.close_task(task) else {
            return;
        };
        let error: Option<Arc<str>> = error.map(Arc::from);
        let cause: Option<Arc<str>> = cause.map(Arc::from);
        self.publish_failure(
            &open,
            ["LambdaFunctionFailed", "ActivityFailed", "TaskFailed"],
            &error,
            &cause,
        );
        let fault = Fault {
            error,
            cause,
            alias: None,
            fatal: false,
        };
        self.fault(open.chain, fault);
    }

    pub(super) fn task_timed_out(&mut self, task: EventId, alias: Option<&'static str>) {
        if let Some((chain, fault)) = self.expire(task, alias) {
            self.fault(chain, fault);
        }
    }

    /// Ends all tasks whose time is up, beginning with one. Everything that is due is recorded
    /// before anything reacts to it, as recorded histories of Maps show.
    pub(super) fn tasks_timed_out(&mut self, first: EventId, alias: Option<&'static str>) {
        let now = self.x.now;
        let due = self.x.timers.values().filter(|timer| timer.at <= now);
        let others: Vec<(EventId, Option<&'static str>)> = due
            .filter_map(|timer| match timer.purpose {
                Purpose::TaskTimeout(task) => Some((task, None)),
                Purpose::Heartbeat(task) => Some((task, Some(HEARTBEAT))),
                _ => None,
            })
            .collect();
        let mut faults = Vec::new();
        for (task, alias) in std::iter::once((first, alias)).chain(others) {
            faults.extend(self.expire(task, alias));
        }
        for (chain, fault) in faults {
            // The reaction to an earlier one may have cut the chain.
            self.fault(chain, fault);
        }
    }

    /// Takes a task off the books and records that its time was up.
    fn expire(&mut self, task: EventId, alias: Option<&'static str>) -> Option<(u32, Fault)> {
        let open = self.close_task(task)?;
        let error: Option<Arc<str>> = Some("States.Timeout".into());
        let names = ["LambdaFunctionTimedOut", "ActivityTimedOut", "TaskTimedOut"];
        self.publish_failure(&open, names, &error, &None);
        self.commands.push(Command::Cancel {
            task,
            token: open.task.token.clone(),
        });
        Some((
            open.chain,
            Fault {
                error,
                cause: None,
                alias,
                fatal: false,
            },
        ))
    }

    fn publish_failure(
        &mut self,
        open: &OpenTask,
        [lambda, activity, service]: [&'static str; 3],
        error: &Option<Arc<str>>,
        cause: &Option<Arc<str>>,
    ) {
        let (error, cause) = (error.clone(), cause.clone());
        match open.task.kind.clone() {
            TaskKind::Lambda => {
                self.publish(open.chain, lambda, Details::Failure { error, cause });
            }
            TaskKind::Activity => {
                self.publish(open.chain, activity, Details::Failure { error, cause });
            }
            TaskKind::Service {
                resource_type,
                resource,
                ..
            } => {
                let details = Details::TaskFailure {
                    error,
                    cause,
                    resource,
                    resource_type,
                };
                self.publish(open.chain, service, details);
            }
        }
    }

    /// The worker is alive: the heartbeat timer starts anew.
    pub(super) fn beat(&mut self, task: EventId) {
        let Some(open) = self.x.tasks.get(&task) else {
            return;
        };
        let Some(seconds) = open.task.heartbeat else {
            return;
        };
        let at = time::after(self.x.now, seconds);
        match open.heartbeat {
            Some(timer) => self.move_timer(timer, at),
            None => {
                let timer = self.set_timer(at, Purpose::Heartbeat(task));
                if let Some(open) = self.x.tasks.get_mut(&task) {
                    open.heartbeat = Some(timer);
                }
            }
        }
    }

    /// Takes a task off the books, with its timers.
    pub(super) fn close_task(&mut self, task: EventId) -> Option<OpenTask> {
        let open = self.x.tasks.remove(&task)?;
        self.x.tokens.remove(&open.task.token);
        for timer in [open.timeout, open.heartbeat].into_iter().flatten() {
            self.cancel_timer(timer);
        }
        Some(open)
    }
}
