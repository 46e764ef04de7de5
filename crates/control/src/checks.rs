//! The thirteen checks of validate: pure functions over what was found out.

use std::collections::BTreeSet;

use base64::Engine as _;
use ed25519_dalek::{Signature, VerifyingKey};
use model::{Artifact, ArtifactName, Bytes, Code, Pool, Refusal, Service, ServiceName, State};

use crate::ports::ObjectError;
use crate::records::{GroupRecord, IdempotencyRecord};

/// What validate found out about a group, before it judges.
pub(crate) struct Facts {
    pub(crate) record: GroupRecord,
    /// What stands under the idempotency key.
    pub(crate) idempotency: Option<IdempotencyRecord>,
    pub(crate) members: Vec<MemberFacts>,
    pub(crate) pool: Option<PoolFacts>,
}

/// What was found out about one member.
pub(crate) struct MemberFacts {
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) service: Option<Service>,
    /// The parent, where one is named and exists.
    pub(crate) parent: Option<ParentFacts>,
    /// What was wrong with each artifact, by its index.
    pub(crate) objects: Vec<(usize, ObjectError)>,
}

pub(crate) struct ParentFacts {
    pub(crate) service: ServiceName,
    pub(crate) state: State,
}

pub(crate) struct PoolFacts {
    pub(crate) pool: Pool,
    /// Room on all volumes that take more, at least what is needed or all there is.
    pub(crate) room: Bytes,
    /// What the group needs on one set of volumes.
    pub(crate) needed: Bytes,
}

type Check = fn(&Facts) -> Vec<Refusal>;

/// The names of the checks, in the order in which they are run and reported.
pub const CHECKS: [&str; 13] = [
    "schema and limits",
    "caller may act for the service",
    "idempotency key new, or same payload",
    "service registered and not frozen",
    "parent exists and is committed",
    "artifact names unique and safe",
    "artifacts exist at the pinned version",
    "sizes match",
    "checksums match",
    "retention class known and allowed",
    "group complete and of one epoch",
    "pool has room for all copies",
    "provenance signature verifies",
];

/// The functions behind [`CHECKS`].
const TABLE: [Check; 13] = [
    schema,
    caller,
    idempotency,
    service,
    parent,
    names,
    exists,
    sizes,
    checksums,
    retention,
    complete,
    room,
    provenance,
];

/// Every failure of every check, in the order of the checks.
pub(crate) fn run(facts: &Facts) -> Vec<Refusal> {
    TABLE.iter().flat_map(|check| check(facts)).collect()
}

fn member_field(m: usize, field: &str) -> String {
    format!("members[{m}].{field}")
}

fn each(
    facts: &Facts,
    mut judge: impl FnMut(usize, &MemberFacts, &mut Vec<Refusal>),
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for (m, member) in facts.members.iter().enumerate() {
        judge(m, member, &mut refusals);
    }
    refusals
}

/// The limits were checked at the door; here the stored lists must still be what was
/// registered, and all members must go to one pool.
fn schema(facts: &Facts) -> Vec<Refusal> {
    let mut refusals = each(facts, |m, member, refusals| {
        let Some(registered) = facts.record.members.get(m) else {
            return;
        };
        let content = crate::digest(Artifact::content_text(&member.artifacts).as_bytes());
        if content != registered.checkpoint.content {
            refusals.push(
                Refusal::new(
                    Code::InvalidRequest,
                    format!(
                        "expected the artifact list with digest {}, found {content}",
                        registered.checkpoint.content
                    ),
                )
                .at(member_field(m, "artifacts")),
            );
        }
    });
    let pool = &facts.record.group.pool;
    for (m, member) in facts.members.iter().enumerate() {
        if let Some(service) = member.service.as_ref().filter(|s| s.pool != *pool) {
            refusals.push(
                Refusal::new(
                    Code::InvalidRequest,
                    format!(
                        "expected all members in pool {pool}, found {} in pool {}",
                        service.name, service.pool
                    ),
                )
                .at(member_field(m, "service")),
            );
        }
    }
    refusals
}

fn caller(facts: &Facts) -> Vec<Refusal> {
    let Some(allowed) = &facts.record.submitted_by else {
        return Vec::new();
    };
    facts
        .record
        .members
        .iter()
        .enumerate()
        .filter(|(_, member)| !allowed.contains(&member.checkpoint.service))
        .map(|(m, member)| {
            Refusal::new(
                Code::Forbidden,
                format!(
                    "expected a token scoped to {}, found one for other services",
                    member.checkpoint.service
                ),
            )
            .at(member_field(m, "service"))
        })
        .collect()
}

fn idempotency(facts: &Facts) -> Vec<Refusal> {
    let same = facts.idempotency.as_ref().is_none_or(|record| {
        record.group == facts.record.group.id && record.payload == facts.record.payload
    });
    if same {
        return Vec::new();
    }
    vec![
        Refusal::new(
            Code::IdempotencyMismatch,
            "expected the key to stand for this payload, found another one",
        )
        .at("idempotency_key"),
    ]
}

fn service(facts: &Facts) -> Vec<Refusal> {
    facts
        .members
        .iter()
        .zip(&facts.record.members)
        .enumerate()
        .filter_map(|(m, (member, registered))| {
            let name = &registered.checkpoint.service;
            let (code, message) = match &member.service {
                None => (
                    Code::UnknownService,
                    format!("expected a registered service, found {name}"),
                ),
                Some(service) if service.frozen => (
                    Code::ServiceFrozen,
                    format!("expected a service that takes checkpoints, found {name} frozen"),
                ),
                Some(_) => return None,
            };
            Some(Refusal::new(code, message).at(member_field(m, "service")))
        })
        .collect()
}

fn parent(facts: &Facts) -> Vec<Refusal> {
    facts
        .members
        .iter()
        .zip(&facts.record.members)
        .enumerate()
        .filter_map(|(m, (member, registered))| {
            let c = &registered.checkpoint;
            let named = c.parent?;
            let (code, message) = match &member.parent {
                Some(parent) if parent.service != c.service => (
                    Code::UnknownParent,
                    format!(
                        "expected a checkpoint of {}, found {named} of another service",
                        c.service
                    ),
                ),
                Some(parent) if parent.state != State::Committed => (
                    Code::ParentNotCommitted,
                    format!(
                        "expected a committed parent, found {named} {}",
                        parent.state.name()
                    ),
                ),
                Some(_) => return None,
                None => (
                    Code::UnknownParent,
                    format!(
                        "expected a checkpoint of {}, found none with id {named}",
                        c.service
                    ),
                ),
            };
            Some(Refusal::new(code, message).at(member_field(m, "parent")))
        })
        .collect()
}

/// Names are safe by their type; here they must be unique, and none may be the directory
/// of another.
fn names(facts: &Facts) -> Vec<Refusal> {
    each(facts, |m, member, refusals| {
        let mut seen = BTreeSet::new();
        for (a, artifact) in member.artifacts.iter().enumerate() {
            if !seen.insert(artifact.name.as_str()) {
                refusals.push(
                    Refusal::new(
                        Code::DuplicateArtifactName,
                        format!("expected each name once, found {} again", artifact.name),
                    )
                    .at(member_field(m, &format!("artifacts[{a}].name"))),
                );
            }
        }
        for (a, artifact) in member.artifacts.iter().enumerate() {
            if let Some(file) = directories(&artifact.name).find(|dir| seen.contains(dir)) {
                refusals.push(
                    Refusal::new(
                        Code::InvalidArtifactName,
                        format!("expected {file} to be a file or a directory, found both"),
                    )
                    .at(member_field(m, &format!("artifacts[{a}].name"))),
                );
            }
        }
    })
}

fn directories(name: &ArtifactName) -> impl Iterator<Item = &str> {
    let name = name.as_str();
    name.match_indices('/').map(move |(at, _)| &name[..at])
}

fn objects(facts: &Facts, code: fn(&ObjectError) -> Option<(Code, &'static str)>) -> Vec<Refusal> {
    each(facts, |m, member, refusals| {
        for (a, error) in &member.objects {
            if let Some((code, field)) = code(error) {
                refusals.push(
                    Refusal::new(code, error.to_string())
                        .at(member_field(m, &format!("artifacts[{a}].{field}"))),
                );
            }
        }
    })
}

fn exists(facts: &Facts) -> Vec<Refusal> {
    objects(facts, |error| match error {
        ObjectError::Missing(_) => Some((Code::ArtifactMissing, "source")),
        ObjectError::NotAllowed(_) => Some((Code::SourceNotAllowed, "source")),
        _ => None,
    })
}

fn sizes(facts: &Facts) -> Vec<Refusal> {
    objects(facts, |error| match error {
        ObjectError::Mismatch { what: "size", .. } => Some((Code::SizeMismatch, "size")),
        _ => None,
    })
}

fn checksums(facts: &Facts) -> Vec<Refusal> {
    objects(facts, |error| match error {
        ObjectError::Mismatch { what: "size", .. } => None,
        ObjectError::Mismatch { .. } => Some((Code::ChecksumMismatch, "sha256")),
        _ => None,
    })
}

fn retention(facts: &Facts) -> Vec<Refusal> {
    facts
        .members
        .iter()
        .zip(&facts.record.members)
        .filter_map(|(member, registered)| Some((member.service.as_ref()?, registered)))
        .filter(|(service, registered)| {
            !service.retention.contains(&registered.checkpoint.retention)
        })
        .map(|(service, registered)| {
            let allowed: Vec<_> = service.retention.iter().map(|r| r.0.as_str()).collect();
            Refusal::new(
                Code::UnknownRetention,
                format!(
                    "{}: expected one of {}, found {}",
                    service.name,
                    allowed.join(", "),
                    registered.checkpoint.retention.0
                ),
            )
            .at("retention")
        })
        .collect()
}

/// One epoch: a service stands in a group once for each branch. Two versions of one
/// service cannot both be part of a consistent cut.
fn complete(facts: &Facts) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let found = facts.record.members.len();
    if let Some(expected) = facts.record.expected_members
        && usize::try_from(expected) != Ok(found)
    {
        refusals.push(
            Refusal::new(
                Code::IncompleteGroup,
                format!("expected {expected} members, found {found}"),
            )
            .at("members"),
        );
    }
    let mut seen = BTreeSet::new();
    for (m, member) in facts.record.members.iter().enumerate() {
        let c = &member.checkpoint;
        if !seen.insert((&c.service, &c.branch)) {
            refusals.push(
                Refusal::new(
                    Code::IncompleteGroup,
                    format!("expected one version of {}, found several", c.service),
                )
                .at(member_field(m, "service")),
            );
        }
    }
    refusals
}

fn room(facts: &Facts) -> Vec<Refusal> {
    let message = match &facts.pool {
        // An unknown service has no pool: check 4 says so.
        None if facts.members.iter().all(|member| member.service.is_none()) => return Vec::new(),
        None => format!("expected a pool {}, found none", facts.record.group.pool),
        Some(found) => {
            let copies = u64::from(found.pool.copies.max(1));
            let needed = found.needed.0.saturating_mul(copies);
            if needed <= found.room.0 {
                return Vec::new();
            }
            format!(
                "pool {}: expected room for {needed} bytes, found {}",
                found.pool.name, found.room
            )
        }
    };
    vec![Refusal::new(Code::PoolFull, message)]
}

fn provenance(facts: &Facts) -> Vec<Refusal> {
    facts
        .members
        .iter()
        .zip(&facts.record.members)
        .enumerate()
        .filter_map(|(m, (member, registered))| {
            let key = member.service.as_ref()?.provenance_key.as_ref()?;
            let text = Artifact::content_text(&member.artifacts);
            let message = match &registered.provenance {
                None => "expected a signature, found none",
                Some(signature) if signed(key, signature, text.as_bytes()) => return None,
                Some(_) => "expected a signature under the service's key, found another one",
            };
            Some(Refusal::new(Code::ProvenanceInvalid, message).at(member_field(m, "provenance")))
        })
        .collect()
}

/// Ed25519 with strict verification (RFC 8032, and no small-order keys).
fn signed(key: &str, signature: &str, text: &[u8]) -> bool {
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    let key = decode(key)
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    let signature = decode(signature)
        .and_then(|bytes| <[u8; 64]>::try_from(bytes).ok())
        .map(|bytes| Signature::from_bytes(&bytes));
    match (key, signature) {
        (Some(key), Some(signature)) => key.verify_strict(text, &signature).is_ok(),
        _ => false,
    }
}
