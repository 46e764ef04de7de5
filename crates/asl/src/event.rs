//! History events with the names, order and details of `GetExecutionHistory`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::time;

/// The number of an event in its history, from 1. A task is known by its scheduled event's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct EventId(pub u64);

/// One event of a history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEvent {
    /// Its number.
    pub id: EventId,
    /// The event that led to this one; 0 for none.
    pub previous: EventId,
    /// When it happened.
    pub at: Timestamp,
    /// AWS's name, such as `TaskStateEntered`.
    pub kind: &'static str,
    /// What happened.
    pub details: Details,
}

/// The details of an event; texts are JSON documents or plain words as AWS has them.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // The fields carry AWS's names.
pub enum Details {
    None,
    ExecutionStarted {
        input: Arc<str>,
        role_arn: Arc<str>,
    },
    StateEntered {
        name: Arc<str>,
        input: Arc<str>,
    },
    StateExited {
        name: Arc<str>,
        output: Arc<str>,
        assigned: BTreeMap<String, String>,
    },
    /// `ExecutionSucceeded`, `LambdaFunctionSucceeded`, `ActivitySucceeded`.
    Output {
        output: Arc<str>,
    },
    /// Failures and timeouts; AWS leaves out what is not known.
    Failure {
        error: Option<Arc<str>>,
        cause: Option<Arc<str>>,
    },
    /// `MapStateStarted`.
    Length {
        length: u64,
    },
    /// `MapIteration…`.
    Iteration {
        name: Arc<str>,
        index: u64,
    },
    /// `LambdaFunctionScheduled`, `ActivityScheduled`.
    Scheduled {
        input: Arc<str>,
        resource: Arc<str>,
        timeout: Option<u64>,
        heartbeat: Option<u64>,
        role_arn: Option<Arc<str>>,
    },
    /// `ActivityStarted`.
    Worker {
        name: Option<Arc<str>>,
    },
    TaskScheduled {
        parameters: Arc<str>,
        region: Arc<str>,
        resource: Arc<str>,
        resource_type: Arc<str>,
        timeout: Option<u64>,
        heartbeat: Option<u64>,
        role_arn: Option<Arc<str>>,
    },
    TaskStarted {
        resource: Arc<str>,
        resource_type: Arc<str>,
    },
    /// `TaskSubmitted`, `TaskSucceeded`.
    TaskOutput {
        output: Arc<str>,
        resource: Arc<str>,
        resource_type: Arc<str>,
    },
    /// `TaskFailed`, `TaskTimedOut`, `TaskSubmitFailed`, `TaskStartFailed`.
    TaskFailure {
        error: Option<Arc<str>>,
        cause: Option<Arc<str>>,
        resource: Arc<str>,
        resource_type: Arc<str>,
    },
}

impl HistoryEvent {
    /// The event as the AWS API and CLI show it.
    pub fn to_json(&self) -> Value {
        let mut event = Map::new();
        event.insert("type".to_owned(), Value::from(self.kind));
        event.insert("id".to_owned(), Value::from(self.id.0));
        event.insert("previousEventId".to_owned(), Value::from(self.previous.0));
        event.insert("timestamp".to_owned(), Value::from(time::text(self.at)));
        if let Some(details) = self.details.to_json() {
            event.insert(self.details_key(), details);
        }
        Value::Object(event)
    }

    fn details_key(&self) -> String {
        match &self.details {
            Details::StateEntered { .. } => "stateEnteredEventDetails".to_owned(),
            Details::StateExited { .. } => "stateExitedEventDetails".to_owned(),
            _ => {
                let mut key = String::with_capacity(self.kind.len() + 12);
                let mut chars = self.kind.chars();
                key.extend(chars.next().map(|c| c.to_ascii_lowercase()));
                key.push_str(chars.as_str());
                key.push_str("EventDetails");
                key
            }
        }
    }
}

impl Serialize for HistoryEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl Details {
    fn to_json(&self) -> Option<Value> {
        let whole = json!({ "truncated": false });
        let value = match self {
            Details::None => return None,
            Details::ExecutionStarted { input, role_arn } => {
                json!({ "input": &**input, "inputDetails": whole, "roleArn": &**role_arn })
            }
            Details::StateEntered { name, input } => {
                json!({ "name": &**name, "input": &**input, "inputDetails": whole })
            }
            Details::StateExited {
                name,
                output,
                assigned,
            } => {
                let mut value =
                    json!({ "name": &**name, "output": &**output, "outputDetails": whole });
                if let (false, Some(members)) = (assigned.is_empty(), value.as_object_mut()) {
                    members.insert("assignedVariables".to_owned(), json!(assigned));
                    members.insert(
                        "assignedVariablesDetails".to_owned(),
                        json!({ "truncated": false }),
                    );
                }
                value
            }
            Details::Output { output } => json!({ "output": &**output, "outputDetails": whole }),
            Details::Failure { error, cause } => failure(error, cause),
            Details::Length { length } => json!({ "length": length }),
            Details::Iteration { name, index } => json!({ "name": &**name, "index": index }),
            Details::Scheduled {
                input,
                resource,
                timeout,
                heartbeat,
                role_arn,
            } => {
                let mut value =
                    json!({ "input": &**input, "inputDetails": whole, "resource": &**resource });
                limits(&mut value, *timeout, *heartbeat, role_arn);
                value
            }
            Details::Worker { name } => match name {
                Some(name) => json!({ "workerName": &**name }),
                None => json!({}),
            },
            Details::TaskScheduled {
                parameters,
                region,
                resource,
                resource_type,
                timeout,
                heartbeat,
                role_arn,
            } => {
                let mut value = json!({
                    "parameters": &**parameters, "region": &**region,
                    "resource": &**resource, "resourceType": &**resource_type,
                });
                limits(&mut value, *timeout, *heartbeat, role_arn);
                value
            }
            Details::TaskStarted {
                resource,
                resource_type,
            } => {
                json!({ "resource": &**resource, "resourceType": &**resource_type })
            }
            Details::TaskOutput {
                output,
                resource,
                resource_type,
            } => json!({
                "output": &**output, "outputDetails": whole,
                "resource": &**resource, "resourceType": &**resource_type,
            }),
            Details::TaskFailure {
                error,
                cause,
                resource,
                resource_type,
            } => {
                let mut value = failure(error, cause);
                if let Some(members) = value.as_object_mut() {
                    members.insert("resource".to_owned(), Value::from(&**resource));
                    members.insert("resourceType".to_owned(), Value::from(&**resource_type));
                }
                value
            }
        };
        Some(value)
    }
}

fn failure(error: &Option<Arc<str>>, cause: &Option<Arc<str>>) -> Value {
    let mut members = Map::new();
    if let Some(cause) = cause {
        members.insert("cause".to_owned(), Value::from(&**cause));
    }
    if let Some(error) = error {
        members.insert("error".to_owned(), Value::from(&**error));
    }
    Value::Object(members)
}

fn limits(
    value: &mut Value,
    timeout: Option<u64>,
    heartbeat: Option<u64>,
    role: &Option<Arc<str>>,
) {
    let Some(members) = value.as_object_mut() else {
        return;
    };
    if let Some(seconds) = timeout {
        members.insert("timeoutInSeconds".to_owned(), Value::from(seconds));
    }
    if let Some(seconds) = heartbeat {
        members.insert("heartbeatInSeconds".to_owned(), Value::from(seconds));
    }
    if let Some(role) = role {
        members.insert("taskCredentials".to_owned(), json!({ "roleArn": &**role }));
    }
}
