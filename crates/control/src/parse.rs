//! From the JSON of a request to a [`Submission`], naming every field that is wrong.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use model::{
    Artifact, Bytes, Code, MAX_ARTIFACTS_PER_CHECKPOINT, MAX_GROUP_MEMBERS, Member, Priority,
    Refusal, RetentionClass, Sha256, Submission,
};
use serde_json::{Map, Value};

/// The most labels of a submission.
pub(crate) const MAX_LABELS: usize = 32;
/// The most bytes of a label's name, and of a retention class.
pub(crate) const MAX_LABEL_NAME: usize = 128;
/// The most bytes of a label's value.
pub(crate) const MAX_LABEL_VALUE: usize = 1024;
/// The most refusals of one answer: more help nobody.
pub(crate) const MAX_REFUSALS: usize = 200;
/// The most bytes of a group. Keeps its list of segments within one item of the table,
/// and its artifacts' offsets far from the end of a 64-bit number.
pub(crate) const MAX_GROUP_BYTES: Bytes = Bytes(64 << 40);

/// Reads a submission from JSON (the field names are those of [`Submission`]), and
/// checks it against the limits.
///
/// # Errors
/// Every fault found, each with the path of its field: `InvalidArtifactName` for artifact
/// names, `InvalidRequest` for the rest. After 200 the last one says how many more.
pub fn parse_submission(json: Value) -> Result<Submission, Vec<Refusal>> {
    let mut faults = Faults::default();
    let submission = submission(&json, &mut faults);
    match submission {
        Some(submission) if faults.0.is_empty() => {
            let refusals = limits(&submission);
            if refusals.is_empty() {
                Ok(submission)
            } else {
                Err(refusals)
            }
        }
        _ => Err(cap(faults.0)),
    }
}

/// Keeps the first [`MAX_REFUSALS`] and says how many more there were.
pub(crate) fn cap(mut refusals: Vec<Refusal>) -> Vec<Refusal> {
    if refusals.len() > MAX_REFUSALS {
        let more = refusals.len() - MAX_REFUSALS;
        refusals.truncate(MAX_REFUSALS);
        refusals.push(Refusal::new(
            Code::InvalidRequest,
            format!("and {more} more of the same kind"),
        ));
    }
    refusals
}

/// The limits that a submission must keep to be stored at all.
pub(crate) fn limits(submission: &Submission) -> Vec<Refusal> {
    let mut faults = Faults::default();
    let members = submission.members.len();
    if members == 0 || members > MAX_GROUP_MEMBERS {
        faults.invalid(
            "members",
            format!("expected 1 to {MAX_GROUP_MEMBERS} members, found {members}"),
        );
    }
    let mut bytes = 0_u128;
    for (m, member) in submission.members.iter().enumerate() {
        let count = member.artifacts.len();
        if count == 0 || count > MAX_ARTIFACTS_PER_CHECKPOINT {
            faults.invalid(
                format!("members[{m}].artifacts"),
                format!("expected 1 to {MAX_ARTIFACTS_PER_CHECKPOINT} artifacts, found {count}"),
            );
        }
        bytes += member
            .artifacts
            .iter()
            .map(|artifact| u128::from(artifact.size.0))
            .sum::<u128>();
    }
    if bytes > u128::from(MAX_GROUP_BYTES.0) {
        faults.invalid(
            "members",
            format!("expected at most {MAX_GROUP_BYTES} bytes in all, found {bytes}"),
        );
    }
    // Nothing was due before there were computers to back up: a mistake. And what a
    // resolver is shown counts milliseconds from 1970 on.
    if let Some(deadline) = submission.deadline.filter(|at| *at < Timestamp::UNIX_EPOCH) {
        faults.invalid(
            "deadline",
            format!("expected a time from 1970-01-01T00:00:00Z on, found {deadline}"),
        );
    }
    if submission.labels.len() > MAX_LABELS {
        faults.invalid(
            "labels",
            format!(
                "expected at most {MAX_LABELS} labels, found {}",
                submission.labels.len()
            ),
        );
    }
    for (name, value) in &submission.labels {
        if name.is_empty() || name.len() > MAX_LABEL_NAME || value.len() > MAX_LABEL_VALUE {
            faults.invalid(
                "labels",
                format!(
                    "expected names of 1 to {MAX_LABEL_NAME} bytes and values of at most \
                     {MAX_LABEL_VALUE}, found a name of {} and a value of {}",
                    name.len(),
                    value.len()
                ),
            );
        }
    }
    if let Some(retention) = &submission.retention {
        let found = retention.0.len();
        if found == 0 || found > MAX_LABEL_NAME {
            faults.invalid(
                "retention",
                format!("expected 1 to {MAX_LABEL_NAME} bytes, found {found}"),
            );
        }
    }
    faults.0
}

#[derive(Default)]
struct Faults(Vec<Refusal>);

impl Faults {
    fn add(&mut self, code: Code, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Refusal::new(code, message).at(field));
    }

    fn invalid(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.add(Code::InvalidRequest, field, message);
    }

    fn object<'a>(
        &mut self,
        value: &'a Value,
        path: &str,
        known: &[&str],
    ) -> Option<&'a Map<String, Value>> {
        let Some(object) = value.as_object() else {
            self.invalid(path, format!("expected an object, found {}", kind(value)));
            return None;
        };
        for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
            let name: String = name.chars().take(80).collect();
            self.invalid(
                join(path, &name),
                format!("expected one of {}, found {name:?}", known.join(", ")),
            );
        }
        Some(object)
    }

    /// A text field that parses; none, and no fault, where it is absent or null.
    fn optional<T>(&mut self, object: &Map<String, Value>, path: &str, name: &str) -> Option<T>
    where
        T: FromStr<Err: ToString>,
    {
        match object.get(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.text(value, &join(path, name), Code::InvalidRequest),
        }
    }

    fn required<T>(&mut self, object: &Map<String, Value>, path: &str, name: &str) -> Option<T>
    where
        T: FromStr<Err: ToString>,
    {
        self.required_as(object, path, name, Code::InvalidRequest)
    }

    fn required_as<T>(
        &mut self,
        object: &Map<String, Value>,
        path: &str,
        name: &str,
        code: Code,
    ) -> Option<T>
    where
        T: FromStr<Err: ToString>,
    {
        match object.get(name) {
            None | Some(Value::Null) => {
                self.invalid(join(path, name), "expected a value, found none");
                None
            }
            Some(value) => self.text(value, &join(path, name), code),
        }
    }

    fn text<T>(&mut self, value: &Value, path: &str, code: Code) -> Option<T>
    where
        T: FromStr<Err: ToString>,
    {
        let Some(text) = value.as_str() else {
            self.invalid(path, format!("expected text, found {}", kind(value)));
            return None;
        };
        text.parse()
            .map_err(|error: T::Err| self.add(code, path, error.to_string()))
            .ok()
    }

    fn number(
        &mut self,
        object: &Map<String, Value>,
        path: &str,
        name: &str,
        max: u64,
    ) -> Option<u64> {
        let value = match object.get(name) {
            None | Some(Value::Null) => return None,
            Some(value) => value,
        };
        match value.as_u64().filter(|number| *number <= max) {
            Some(number) => Some(number),
            None => {
                self.invalid(
                    join(path, name),
                    format!("expected a whole number from 0 to {max}, found {value}"),
                );
                None
            }
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn submission(json: &Value, faults: &mut Faults) -> Option<Submission> {
    const KNOWN: [&str; 7] = [
        "idempotency_key",
        "members",
        "priority",
        "deadline",
        "retention",
        "labels",
        "expected_members",
    ];
    let object = faults.object(json, "", &KNOWN)?;
    let idempotency_key = faults.required(object, "", "idempotency_key");
    let priority = match faults.number(object, "", "priority", 9) {
        Some(number) => u8::try_from(number)
            .ok()
            .and_then(|n| Priority::try_from(n).ok()),
        None => Some(Priority::default()),
    };
    let deadline = faults.optional(object, "", "deadline");
    let retention = faults
        .optional::<String>(object, "", "retention")
        .map(RetentionClass);
    let expected_members = faults
        .number(object, "", "expected_members", u64::from(u32::MAX))
        .and_then(|number| u32::try_from(number).ok());
    let labels = labels(object, faults);
    let members = match object.get("members") {
        Some(Value::Array(members)) => {
            if members.len() > MAX_GROUP_MEMBERS {
                faults.invalid(
                    "members",
                    format!(
                        "expected 1 to {MAX_GROUP_MEMBERS} members, found {}",
                        members.len()
                    ),
                );
            }
            members
                .iter()
                .take(MAX_GROUP_MEMBERS)
                .enumerate()
                .map(|(m, value)| member(value, &format!("members[{m}]"), faults))
                .collect::<Vec<_>>()
        }
        other => {
            let found = other.map_or("none", kind);
            faults.invalid("members", format!("expected a list, found {found}"));
            Vec::new()
        }
    };
    Some(Submission {
        idempotency_key: idempotency_key?,
        members: members.into_iter().collect::<Option<_>>()?,
        priority: priority?,
        deadline,
        retention,
        labels,
        expected_members,
    })
}

fn labels(object: &Map<String, Value>, faults: &mut Faults) -> BTreeMap<String, String> {
    match object.get("labels") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(Value::Object(labels)) => labels
            .iter()
            .take(MAX_LABELS + 1)
            .filter_map(|(name, value)| match value.as_str() {
                Some(value) => Some((name.clone(), value.to_owned())),
                None => {
                    let name: String = name.chars().take(80).collect();
                    faults.invalid(
                        format!("labels.{name}"),
                        format!("expected text, found {}", kind(value)),
                    );
                    None
                }
            })
            .collect(),
        Some(other) => {
            faults.invalid(
                "labels",
                format!("expected an object, found {}", kind(other)),
            );
            BTreeMap::new()
        }
    }
}

fn member(json: &Value, path: &str, faults: &mut Faults) -> Option<Member> {
    const KNOWN: [&str; 6] = [
        "service",
        "version",
        "parent",
        "branch",
        "artifacts",
        "provenance",
    ];
    let object = faults.object(json, path, &KNOWN)?;
    let service = faults.required(object, path, "service");
    let version = faults.required(object, path, "version");
    let parent = faults.optional(object, path, "parent");
    let branch = faults.optional(object, path, "branch");
    let provenance = faults.optional::<String>(object, path, "provenance");
    let field = join(path, "artifacts");
    let artifacts = match object.get("artifacts") {
        Some(Value::Array(artifacts)) => {
            if artifacts.is_empty() || artifacts.len() > MAX_ARTIFACTS_PER_CHECKPOINT {
                faults.invalid(
                    &field,
                    format!(
                        "expected 1 to {MAX_ARTIFACTS_PER_CHECKPOINT} artifacts, found {}",
                        artifacts.len()
                    ),
                );
            }
            artifacts
                .iter()
                .take(MAX_ARTIFACTS_PER_CHECKPOINT)
                .enumerate()
                .map(|(a, value)| artifact(value, &format!("{field}[{a}]"), faults))
                .collect::<Vec<_>>()
        }
        other => {
            let found = other.map_or("none", kind);
            faults.invalid(&field, format!("expected a list, found {found}"));
            Vec::new()
        }
    };
    Some(Member {
        service: service?,
        version: version?,
        parent,
        branch,
        artifacts: artifacts.into_iter().collect::<Option<_>>()?,
        provenance,
    })
}

fn artifact(json: &Value, path: &str, faults: &mut Faults) -> Option<Artifact> {
    let object = faults.object(json, path, &["name", "source", "size", "sha256"])?;
    let name = faults.required_as(object, path, "name", Code::InvalidArtifactName);
    let source = faults.required(object, path, "source");
    let size = match object.get("size") {
        None | Some(Value::Null) => {
            faults.invalid(join(path, "size"), "expected a value, found none");
            None
        }
        Some(_) => faults.number(object, path, "size", MAX_GROUP_BYTES.0),
    };
    let sha256 = faults.required::<Sha256>(object, path, "sha256");
    Some(Artifact {
        name: name?,
        source: source?,
        size: Bytes(size?),
        sha256: sha256?,
    })
}
