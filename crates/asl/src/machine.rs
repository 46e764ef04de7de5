//! A compiled definition.

mod build;

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::choice::Condition;
use crate::query::Query;
use crate::reference::ReferencePath;
use crate::template::Template;
use crate::validate::{Diagnostic, validate};

/// A definition that was checked and compiled. Immutable; share it in an `Arc`.
#[derive(Debug)]
pub struct Machine {
    pub(crate) scopes: Vec<Scope>,
    pub(crate) timeout: Option<u64>,
    digest: String,
}

impl Machine {
    /// Checks and compiles a definition.
    ///
    /// # Errors
    /// Every fault of the definition, as [`validate`] lists them.
    pub fn parse(text: &str) -> Result<Machine, Vec<Diagnostic>> {
        let (document, diagnostics) = validate(text);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(diagnostics);
        }
        let compiled = document.as_ref().and_then(build::scopes);
        let Some((scopes, timeout)) = compiled else {
            return Err(vec![Diagnostic::error(
                "SCHEMA_VALIDATION_FAILED",
                "The definition could not be compiled",
                None,
            )]);
        };
        Ok(Machine {
            scopes,
            timeout,
            digest: hex::encode(Sha256::digest(text.as_bytes())),
        })
    }

    /// SHA-256 of the definition's text in hexadecimal; an execution is replayed only with the
    /// definition it started with.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Names of all states, those of branches and iterators included, in the order written.
    pub fn state_names(&self) -> impl Iterator<Item = &str> {
        self.scopes
            .iter()
            .flat_map(|scope| scope.states.keys().map(|name| &**name))
    }

    /// The distinct `Resource` fields of all tasks, in the order written.
    pub fn resources(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for state in self.scopes.iter().flat_map(|scope| scope.states.values()) {
            if let Kind::Task(task) = &state.kind
                && !all.contains(&&*task.resource.arn)
            {
                all.push(&task.resource.arn);
            }
        }
        all
    }

    /// The machine's own `TimeoutSeconds`.
    pub fn timeout_seconds(&self) -> Option<u64> {
        self.timeout
    }
}

/// The states of a machine, of a branch, or of an iterator. The machine's own is number 0.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) start_at: Arc<str>,
    pub(crate) states: IndexMap<Arc<str>, State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) name: Arc<str>,
    pub(crate) input_path: Filter,
    pub(crate) output_path: Filter,
    pub(crate) assign: Option<Template>,
    pub(crate) next: Option<Arc<str>>,
    pub(crate) kind: Kind,
}

/// `InputPath` and `OutputPath`.
#[derive(Debug)]
pub(crate) enum Filter {
    Whole,
    /// `null`: an empty object.
    Nothing,
    Select(Query),
}

#[derive(Debug)]
pub(crate) enum Kind {
    Pass {
        result: Option<Value>,
        parameters: Option<Template>,
        result_path: Target,
    },
    Task(Box<Task>),
    Choice {
        rules: Vec<Rule>,
        default: Option<Arc<str>>,
    },
    Wait(Until),
    Succeed,
    Fail {
        error: Word,
        cause: Word,
    },
    Parallel {
        branches: Vec<usize>,
        work: Work,
    },
    Map(Box<Map>),
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) resource: Resource,
    pub(crate) timeout: Option<Seconds>,
    pub(crate) heartbeat: Option<Seconds>,
    pub(crate) credentials: Option<Template>,
    pub(crate) work: Work,
}

#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) scope: usize,
    pub(crate) items: Items,
    pub(crate) selector: Option<Template>,
    pub(crate) concurrency: Option<Seconds>,
    pub(crate) work: Work,
}

/// Where a Map finds its items.
#[derive(Debug)]
pub(crate) enum Items {
    Whole,
    Reference(ReferencePath),
    /// A context or variable path.
    Query(Query),
}

/// What Task, Parallel and Map have in common.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) parameters: Option<Template>,
    pub(crate) selector: Option<Template>,
    pub(crate) result_path: Target,
    pub(crate) retry: Vec<Retrier>,
    pub(crate) catch: Vec<Catcher>,
}

/// Where a result goes.
#[derive(Debug)]
pub(crate) enum Target {
    Replace,
    /// `null`: the input goes on.
    Discard,
    At(ReferencePath),
}

#[derive(Debug)]
pub(crate) struct Retrier {
    pub(crate) errors: Vec<String>,
    pub(crate) interval: u64,
    pub(crate) attempts: u64,
    pub(crate) rate: f64,
    pub(crate) ceiling: Option<u64>,
    pub(crate) jitter: bool,
}

#[derive(Debug)]
pub(crate) struct Catcher {
    pub(crate) errors: Vec<String>,
    pub(crate) next: Arc<str>,
    pub(crate) result_path: Target,
    pub(crate) assign: Option<Template>,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) condition: Condition,
    pub(crate) next: Arc<str>,
    pub(crate) assign: Option<Template>,
}

/// A number that is written or read from the input.
#[derive(Debug)]
pub(crate) enum Seconds {
    Fixed(u64),
    Path(Query),
}

#[derive(Debug)]
pub(crate) enum Until {
    Seconds(u64),
    SecondsPath(Query),
    Timestamp(jiff::Timestamp),
    TimestampPath(Query),
}

/// A Fail state's `Error` or `Cause`.
#[derive(Debug)]
pub(crate) enum Word {
    None,
    Fixed(Arc<str>),
    Path(Query),
}

/// What a Task calls, from its `Resource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) arn: Arc<str>,
    pub(crate) target: Callee,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Callee {
    Lambda,
    Activity,
    /// `arn:aws:states:::service:action`: the two words that events show, and how it waits.
    Service {
        resource_type: Arc<str>,
        resource: Arc<str>,
        pattern: Pattern,
    },
}

/// How a service task is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Pattern {
    /// The answer of the call is the result.
    RequestResponse,
    /// `.sync`: the call starts a job, whose end is the result.
    Sync,
    /// `.waitForTaskToken`: whoever holds the token gives the result.
    Callback,
}

impl Resource {
    pub(crate) fn parse(arn: &str) -> Resource {
        let segments: Vec<&str> = arn.splitn(6, ':').collect();
        let target = match segments.as_slice() {
            ["arn", _, "states", _, _, rest] if rest.starts_with("activity:") => Callee::Activity,
            ["arn", _, "states", _, _, rest] => service(rest),
            _ => Callee::Lambda,
        };
        Resource {
            arn: arn.into(),
            target,
        }
    }
}

/// `lambda:invoke.waitForTaskToken`, `aws-sdk:s3:getObject`, `states:startExecution.sync:2`.
fn service(text: &str) -> Callee {
    let split = match text.strip_prefix("aws-sdk:") {
        Some(rest) => rest.find(':').map(|at| at + "aws-sdk:".len()),
        None => text.find(':'),
    };
    let (resource_type, resource) = match split {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let pattern = if resource.ends_with(".waitForTaskToken") {
        Pattern::Callback
    } else if resource.contains(".sync") {
        Pattern::Sync
    } else {
        Pattern::RequestResponse
    };
    Callee::Service {
        resource_type: resource_type.into(),
        resource: resource.into(),
        pattern,
    }
}
