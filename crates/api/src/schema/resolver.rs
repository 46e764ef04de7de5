//! Conflict resolvers: releases, bindings, and what was decided.

use async_graphql::{ComplexObject, Context, Enum, Error, Json, SimpleObject};
use serde_json::Value;

use super::of;
use crate::error::{OrRefused, refused};
use crate::scalars::{Bytes, Long, Sha256, Timestamp, Uuid};

/// What decides where a resolver does not.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "model::Fallback")]
pub(crate) enum Fallback {
    /// The native `priority-deadline`.
    BuiltIn,
    /// All that is not settled is asked again after a minute.
    Defer,
    /// All that is not settled is refused.
    Reject,
}

/// A published resolver by name and version; its identity is the component's digest.
#[derive(SimpleObject)]
pub(crate) struct ResolverRef {
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    /// SHA-256 of the component.
    component: Sha256,
}

impl From<model::ReleaseRef> for ResolverRef {
    fn from(release: model::ReleaseRef) -> Self {
        Self {
            name: release.name,
            version: release.version,
            component: Sha256(release.component),
        }
    }
}

/// What one decision may use.
#[derive(SimpleObject)]
pub(crate) struct ResolverLimits {
    /// Instructions, about.
    fuel: Long,
    /// Wall time in milliseconds.
    wall_ms: u32,
    /// Linear memory.
    memory: Bytes,
    /// Elements of all tables.
    table_elements: u32,
    /// Bytes that may pass between host and guest in one call.
    hostcall_fuel: Long,
}

impl From<model::Limits> for ResolverLimits {
    fn from(limits: model::Limits) -> Self {
        Self {
            fuel: Long(limits.fuel),
            wall_ms: limits.wall_ms,
            memory: Bytes(limits.memory),
            table_elements: limits.table_elements,
            hostcall_fuel: Long(limits.hostcall_fuel),
        }
    }
}

/// A resolver as it was published.
#[derive(SimpleObject)]
pub(crate) struct Resolver {
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    /// SHA-256 of the component: its identity.
    component: Sha256,
    /// What it says of itself.
    summary: String,
    /// Its size.
    bytes: Bytes,
    /// Under which limits it is called.
    limits: ResolverLimits,
    /// What compiled it.
    engine: String,
    /// What its compiled code needs of an engine.
    compatibility: String,
    /// When it was published.
    published_at: Timestamp,
    /// Set once it may not be bound any more.
    withdrawn_at: Option<Timestamp>,
}

impl From<model::Release> for Resolver {
    fn from(release: model::Release) -> Self {
        Self {
            name: release.id.name,
            version: release.id.version,
            component: Sha256(release.id.component),
            summary: release.info.summary,
            bytes: Bytes(release.bytes),
            limits: release.limits.into(),
            engine: release.engine.version,
            compatibility: release.engine.compatibility,
            published_at: Timestamp(release.published_at),
            withdrawn_at: release.withdrawn_at.map(Timestamp),
        }
    }
}

/// A resolver that runs beside the live one and never affects what is done.
#[derive(SimpleObject)]
pub(crate) struct ResolverShadow {
    /// Which.
    release: ResolverRef,
    /// Since when.
    since: Timestamp,
    /// Of a hundred decisions it sees so many.
    percent: u8,
    /// When it ends by itself.
    until: Option<Timestamp>,
    /// How many decisions it made.
    decided: Long,
    /// How many of them differ from what was applied.
    differing: Long,
    /// How many of its calls failed.
    failed: Long,
}

/// What decides for a scope.
#[derive(SimpleObject)]
pub(crate) struct ResolverBinding {
    /// For what: `service:NAME`, `pool:NAME` or `library:NAME`.
    scope: String,
    /// The live resolver.
    live: ResolverRef,
    /// Since when.
    since: Timestamp,
    /// The one before, where rollback leads.
    previous: Option<ResolverRef>,
    /// The one that is tried out.
    shadow: Option<ResolverShadow>,
    /// How the latest calls of the live one ended, newest first: true is a decision.
    recent: Vec<bool>,
    /// Set once too many of them failed: the pool's fallback decides.
    quarantined_at: Option<Timestamp>,
}

impl From<model::Binding> for ResolverBinding {
    fn from(binding: model::Binding) -> Self {
        Self {
            scope: binding.scope.to_string(),
            live: binding.live.into(),
            since: Timestamp(binding.since),
            previous: binding.previous.map(ResolverRef::from),
            shadow: binding.shadow.map(|shadow| ResolverShadow {
                release: shadow.release.into(),
                since: Timestamp(shadow.since),
                percent: shadow.percent,
                until: shadow.until.map(Timestamp),
                decided: Long(shadow.decided),
                differing: Long(shadow.differing),
                failed: Long(shadow.failed),
            }),
            recent: binding.recent,
            quarantined_at: binding.quarantined.map(Timestamp),
        }
    }
}

/// One round of deciding.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct ResolverDecision {
    /// Its id.
    id: Uuid,
    /// When.
    at: Timestamp,
    /// The pool.
    pool: String,
    /// The library.
    library: String,
    /// How many requests contended.
    contenders: u32,
    /// SHA-256 of the canonical conflict set.
    input: Sha256,
    /// The binding that applied; null where none did.
    scope: Option<String>,
    /// The resolver that was to decide; null for the native policy.
    resolver: Option<ResolverRef>,
    /// How its call ended: `decided`, `error`, `invalid`, `trap`, `out_of_fuel`,
    /// `timed_out` or `unavailable`.
    outcome: String,
    /// Fuel used by the call; null for the native policy.
    fuel: Option<Long>,
    /// Wall time in microseconds.
    wall_us: Long,
    /// What decided instead, where the call failed.
    fallback: Option<Fallback>,
    /// Whether the shadow would have done something else; null where none ran.
    shadow_differs: Option<bool>,
    #[graphql(skip)]
    full: model::DecisionRecord,
}

impl From<model::DecisionRecord> for ResolverDecision {
    fn from(record: model::DecisionRecord) -> Self {
        Self {
            id: Uuid(record.id.0),
            at: Timestamp(record.at),
            pool: record.pool.to_string(),
            library: record.library.to_string(),
            contenders: record.contenders,
            input: Sha256(record.input),
            scope: record.scope.as_ref().map(ToString::to_string),
            resolver: record.resolver.clone().map(ResolverRef::from),
            outcome: record.call.outcome.name().to_owned(),
            fuel: record.call.fuel.map(Long),
            wall_us: Long(record.call.wall_us),
            fallback: record.fallback.map(Fallback::from),
            shadow_differs: record.shadow.as_ref().map(|shadow| shadow.differs),
            full: record,
        }
    }
}

#[ComplexObject]
impl ResolverDecision {
    /// The whole record, as `tapemark resolver record` writes it: calls, limits, engine,
    /// every verdict with its reason, and those of the shadow.
    async fn record(&self) -> Result<Json<Value>, Error> {
        Ok(Json(serde_json::to_value(&self.full)?))
    }

    /// What was decided on: the canonical conflict set, as it was given to the resolver.
    #[graphql(complexity = 20)]
    async fn conflict_set(&self, ctx: &Context<'_>) -> Result<Json<Value>, Error> {
        let (api, who) = of(ctx)?;
        let (_, input) = api.control.decision(who, self.full.id).await.or_refused()?;
        Ok(Json(serde_json::from_str(&input)?))
    }
}

/// A scope from its text, or the refusal that names the argument.
pub(crate) fn scope(text: &str) -> Result<model::Scope, Error> {
    text.parse().map_err(|error: String| {
        refused(model::Refusal::new(model::Code::InvalidRequest, error).at("scope"))
    })
}
