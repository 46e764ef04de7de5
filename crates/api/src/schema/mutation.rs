//! The orders.

use async_graphql::{Context, Error, Object, SimpleObject};
use control::Principal;
use control::authority::{Action, Resource};
use model::{ArtifactName, CheckpointId, Code, GroupId, LibraryId, Refusal, RetentionClass};

use super::agent::{Agent, EnrolmentCode};
use super::checkpoint::{GroupNode, Restore};
use super::input::{GroupTarget, ParkedDecision, PoolInput, ScopeInput, ServiceInput, SubmitInput};
use super::library::Pool;
use super::of;
use super::resolver::{Resolver, ResolverBinding, scope};
use super::service::Service;
use crate::auth::{Scope, TokenError};
use crate::error::{OrRefused, all_refused, name, refused};
use crate::scalars::{Timestamp, Uuid};
use crate::{Api, limits};

/// The orders.
pub(crate) struct Mutation;

/// What became of a submission.
#[derive(SimpleObject)]
pub(crate) struct SubmitPayload {
    /// The id of the group.
    group: Uuid,
    /// The ids of its checkpoints, in the order of the members.
    checkpoints: Vec<Uuid>,
    /// True where the same submission had come before under the same idempotency key.
    repeated: bool,
}

/// A new token. Its text is shown here and never again.
#[derive(SimpleObject)]
pub(crate) struct NewToken {
    /// Its name.
    name: String,
    /// Its text: `Authorization: Bearer` wants it.
    token: String,
}

/// The library that was named, or the installation's own.
pub(crate) fn library(api: &Api, text: Option<String>) -> Result<LibraryId, Error> {
    text.as_deref()
        .map_or_else(|| Ok(api.library.clone()), |text| name(text, "library"))
}

/// The id of the group that was meant.
pub(crate) async fn group_of(
    api: &Api,
    who: &Principal,
    target: GroupTarget,
) -> Result<GroupId, Error> {
    match target {
        GroupTarget::Group(id) => Ok(GroupId(id.0)),
        GroupTarget::Checkpoint(id) => {
            let view = api
                .control
                .checkpoint(who, CheckpointId(id.0))
                .await
                .or_refused()?;
            Ok(view.group.id)
        }
    }
}

async fn group_now(api: &Api, who: &Principal, id: GroupId) -> Result<Option<GroupNode>, Error> {
    let (group, members) = api.control.group(who, id).await.or_refused()?;
    Ok(Some(GroupNode {
        group,
        members: Some(members),
    }))
}

fn token_refused(error: &TokenError) -> Error {
    let code = match error {
        TokenError::Name(_) | TokenError::Exists(_) | TokenError::IssuedElsewhere => {
            Code::InvalidRequest
        }
        TokenError::Unknown(_) => Code::NotFound,
        TokenError::TooMany => Code::Busy,
        _ => Code::Internal,
    };
    refused(Refusal::new(code, error.to_string()).at("name"))
}

#[Object]
impl Mutation {
    /// Submits one checkpoint, or several that belong together. The answer comes before
    /// any check that needs the artifacts; ask for the group to see what became of it.
    async fn submit(&self, ctx: &Context<'_>, input: SubmitInput) -> Result<SubmitPayload, Error> {
        let (api, who) = of(ctx)?;
        let submission = control::parse_submission(input.into_json()).map_err(all_refused)?;
        let outcome = api
            .control
            .submit(who, submission)
            .await
            .map_err(all_refused)?;
        Ok(SubmitPayload {
            group: Uuid(outcome.group.0),
            checkpoints: outcome.checkpoints.iter().map(|id| Uuid(id.0)).collect(),
            repeated: outcome.repeated,
        })
    }

    /// Registers services, or changes them; at most 1,000 at once. For operators.
    async fn register_services(
        &self,
        ctx: &Context<'_>,
        services: Vec<ServiceInput>,
    ) -> Result<Vec<Service>, Error> {
        let (api, who) = of(ctx)?;
        if services.is_empty() || services.len() > limits::MAX_SERVICES {
            return Err(refused(
                Refusal::new(
                    Code::InvalidRequest,
                    format!(
                        "services: expected 1 to {}, found {}",
                        limits::MAX_SERVICES,
                        services.len()
                    ),
                )
                .at("services"),
            ));
        }
        let mut list = Vec::with_capacity(services.len());
        for (index, service) in services.into_iter().enumerate() {
            let pool = service.pool.as_deref().unwrap_or("main");
            let retention = match service.retention {
                Some(classes) if !classes.is_empty() => {
                    classes.into_iter().map(RetentionClass).collect()
                }
                _ => vec![RetentionClass::default()],
            };
            list.push(model::Service {
                name: name(&service.name, &format!("services[{index}].name"))?,
                pool: name(pool, &format!("services[{index}].pool"))?,
                retention,
                frozen: service.frozen,
                provenance_key: service.provenance_key,
            });
        }
        api.control
            .register_services(who, list.clone())
            .await
            .or_refused()?;
        Ok(list.into_iter().map(Service::from).collect())
    }

    /// Makes or changes a pool. For operators.
    async fn put_pool(&self, ctx: &Context<'_>, pool: PoolInput) -> Result<Pool, Error> {
        let (api, who) = of(ctx)?;
        let pool = model::Pool {
            name: name(&pool.name, "pool.name")?,
            library: library(api, pool.library)?,
            copies: pool.copies,
            reserve: pool.reserve.0,
            write_drives: pool.write_drives,
            fallback: pool.fallback.into(),
        };
        api.control.put_pool(who, pool.clone()).await.or_refused()?;
        Ok(pool.into())
    }

    /// Asks for artifacts back from tape: all where none is named.
    async fn restore(
        &self,
        ctx: &Context<'_>,
        checkpoint: Uuid,
        #[graphql(desc = "Only these, by name.")] only: Option<Vec<String>>,
    ) -> Result<Option<Restore>, Error> {
        let (api, who) = of(ctx)?;
        let mut names: Vec<ArtifactName> = Vec::new();
        for (index, text) in only.unwrap_or_default().iter().enumerate() {
            names.push(text.parse().map_err(|error: model::InvalidId| {
                refused(
                    Refusal::new(Code::InvalidArtifactName, error.to_string())
                        .at(format!("only[{index}]")),
                )
            })?);
        }
        let id = api
            .control
            .restore(who, CheckpointId(checkpoint.0), names)
            .await
            .or_refused()?;
        Ok(Some(
            api.control.restore_view(who, id).await.or_refused()?.into(),
        ))
    }

    /// Asks for a committed checkpoint to be read back from tape and compared again.
    async fn verify(&self, ctx: &Context<'_>, checkpoint: Uuid) -> Result<Option<Restore>, Error> {
        let (api, who) = of(ctx)?;
        let id = api
            .control
            .reverify(who, CheckpointId(checkpoint.0))
            .await
            .or_refused()?;
        Ok(Some(
            api.control.restore_view(who, id).await.or_refused()?.into(),
        ))
    }

    /// Asks for a volume to be listed from the medium alone. For operators.
    async fn scan_volume(
        &self,
        ctx: &Context<'_>,
        barcode: String,
    ) -> Result<Option<Restore>, Error> {
        let (api, who) = of(ctx)?;
        let barcode = name(&barcode, "barcode")?;
        let id = api.control.scan_volume(who, &barcode).await.or_refused()?;
        Ok(Some(
            api.control.restore_view(who, id).await.or_refused()?.into(),
        ))
    }

    /// Calls off a group that the agent has not claimed yet.
    async fn cancel(
        &self,
        ctx: &Context<'_>,
        target: GroupTarget,
    ) -> Result<Option<GroupNode>, Error> {
        let (api, who) = of(ctx)?;
        let id = group_of(api, who, target).await?;
        api.control.cancel(who, id).await.or_refused()?;
        group_now(api, who, id).await
    }

    /// Decides a parked group. For operators.
    async fn decide_parked(
        &self,
        ctx: &Context<'_>,
        target: GroupTarget,
        decision: ParkedDecision,
    ) -> Result<Option<GroupNode>, Error> {
        let (api, who) = of(ctx)?;
        let id = group_of(api, who, target).await?;
        let resume = decision == ParkedDecision::Resume;
        api.control
            .decide_parked(who, id, resume)
            .await
            .or_refused()?;
        group_now(api, who, id).await
    }

    /// Makes a bearer token. Its text is in this answer and nowhere else. For operators.
    async fn create_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "name")] token: String,
        scope: ScopeInput,
    ) -> Result<NewToken, Error> {
        let (api, who) = of(ctx)?;
        let on = Resource::Token(&token);
        api.control
            .authorize(who, Action::CreateToken, on)
            .or_refused()?;
        let invalid =
            |message: &str| refused(Refusal::new(Code::InvalidRequest, message).at("scope"));
        let scope = match scope {
            ScopeInput::Operator(true) => Scope::Operator,
            ScopeInput::Operator(false) => {
                return Err(invalid("scope.operator: expected true, found false"));
            }
            ScopeInput::Services(names) if names.is_empty() => {
                return Err(invalid(
                    "scope.services: expected at least one service, found none",
                ));
            }
            ScopeInput::Services(names) => {
                let mut services = Vec::with_capacity(names.len());
                for (index, text) in names.iter().enumerate() {
                    services.push(name(text, &format!("scope.services[{index}]"))?);
                }
                Scope::Services(services)
            }
        };
        let secret = api
            .tokens
            .create(&token, scope, api.clock.now())
            .map_err(|error| token_refused(&error))?;
        Ok(NewToken {
            name: token,
            token: secret.expose().to_owned(),
        })
    }

    /// Has a published resolver decide for a scope. For operators.
    async fn bind_resolver(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "`service:NAME`, `pool:NAME` or `library:NAME`.",
            name = "scope"
        )]
        text: String,
        name: String,
        #[graphql(desc = "The newest published where absent.")] version: Option<String>,
    ) -> Result<ResolverBinding, Error> {
        let (api, who) = of(ctx)?;
        let scope = scope(&text)?;
        let bound = api
            .control
            .bind_resolver(who, scope, &name, version.as_deref())
            .await;
        Ok(bound.or_refused()?.into())
    }

    /// Has nothing decide for a scope: the next wider binding does. For operators.
    async fn unbind_resolver(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "scope")] text: String,
    ) -> Result<bool, Error> {
        let (api, who) = of(ctx)?;
        let scope = scope(&text)?;
        api.control
            .unbind_resolver(who, &scope)
            .await
            .or_refused()?;
        Ok(true)
    }

    /// Runs a release beside the live one of a scope, without effect. For operators.
    async fn shadow_resolver(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "scope")] text: String,
        name: String,
        #[graphql(desc = "The newest published where absent.")] version: Option<String>,
        #[graphql(
            desc = "Of a hundred decisions it sees so many, 1 to 100.",
            default = 100
        )]
        percent: i32,
        #[graphql(desc = "When it ends by itself.")] until: Option<Timestamp>,
    ) -> Result<ResolverBinding, Error> {
        let (api, who) = of(ctx)?;
        let scope = scope(&text)?;
        let percent = u8::try_from(percent)
            .ok()
            .filter(|percent| (1..=100).contains(percent))
            .ok_or_else(|| {
                refused(
                    Refusal::new(
                        Code::InvalidRequest,
                        format!("percent: expected 1 to 100, found {percent}"),
                    )
                    .at("percent"),
                )
            })?;
        let until = until.map(|until| until.0);
        let bound = api
            .control
            .shadow_resolver(who, scope, &name, version.as_deref(), percent, until)
            .await;
        Ok(bound.or_refused()?.into())
    }

    /// Ends the shadow of a scope. For operators.
    async fn unshadow_resolver(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "scope")] text: String,
    ) -> Result<ResolverBinding, Error> {
        let (api, who) = of(ctx)?;
        let bound = api.control.unshadow_resolver(who, scope(&text)?).await;
        Ok(bound.or_refused()?.into())
    }

    /// Makes the shadow of a scope its live resolver. For operators.
    async fn promote_resolver(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "scope")] text: String,
    ) -> Result<ResolverBinding, Error> {
        let (api, who) = of(ctx)?;
        let bound = api.control.promote_resolver(who, scope(&text)?).await;
        Ok(bound.or_refused()?.into())
    }

    /// Goes back to the live resolver before. For operators.
    async fn rollback_resolver(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "scope")] text: String,
    ) -> Result<ResolverBinding, Error> {
        let (api, who) = of(ctx)?;
        let bound = api.control.rollback_resolver(who, scope(&text)?).await;
        Ok(bound.or_refused()?.into())
    }

    /// Lets nobody bind a release from now on; refused while it is bound. For operators.
    async fn withdraw_resolver(
        &self,
        ctx: &Context<'_>,
        name: String,
        version: String,
    ) -> Result<Resolver, Error> {
        let (api, who) = of(ctx)?;
        let release = api.control.withdraw_release(who, &name, &version).await;
        Ok(release.or_refused()?.into())
    }

    /// Forgets a token. For operators.
    async fn revoke_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "name")] token: String,
    ) -> Result<bool, Error> {
        let (api, who) = of(ctx)?;
        let on = Resource::Token(&token);
        api.control
            .authorize(who, Action::RevokeToken, on)
            .or_refused()?;
        api.tokens
            .revoke(&token)
            .map_err(|error| token_refused(&error))?;
        Ok(true)
    }

    /// Issues a code with which an agent enrols, once, within an hour; a code issued before
    /// is void. The library is the installation's own where absent. For operators.
    async fn create_enrolment_code(
        &self,
        ctx: &Context<'_>,
        agent: String,
        library: Option<String>,
    ) -> Result<EnrolmentCode, Error> {
        let (api, who) = of(ctx)?;
        let agent = name(&agent, "agent")?;
        let library = self::library(api, library)?;
        let code = api.control.issue_enrolment_code(who, &agent, &library);
        Ok(code.await.or_refused()?.into())
    }

    /// Takes an agent's right to speak. It takes effect within five seconds; what the agent
    /// was doing ends with its lease. For operators.
    async fn revoke_agent(&self, ctx: &Context<'_>, agent: String) -> Result<Agent, Error> {
        let (api, who) = of(ctx)?;
        let agent = name(&agent, "agent")?;
        let revoked = api.control.revoke_agent(who, &agent);
        Ok(revoked.await.or_refused()?.into())
    }
}
