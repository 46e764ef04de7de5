//! The questions.

use async_graphql::{Context, Error, Json, Object};
use control::ListCheckpoints;
use control::authority::{Action, Resource};
use model::{CheckpointId, DecisionId, GroupId, RestoreId};

use super::agent::Agent;
use super::checkpoint::{Checkpoint, GroupNode, Restore};
use super::input::GroupTarget;
use super::library::{Drive, LedgerHead, Pool, Volume};
use super::resolver::{Resolver, ResolverBinding, ResolverDecision};
use super::service::{Service, Token};
use super::{of, page};
use crate::error::{OrRefused, name};
use crate::limits;
use crate::scalars::{Long, Sha256, Uuid};

/// The questions.
pub(crate) struct Query;

#[Object]
impl Query {
    /// One checkpoint.
    async fn checkpoint(&self, ctx: &Context<'_>, id: Uuid) -> Result<Option<Checkpoint>, Error> {
        let (api, who) = of(ctx)?;
        Ok(Some(
            api.control
                .checkpoint(who, CheckpointId(id.0))
                .await
                .or_refused()?
                .into(),
        ))
    }

    /// Checkpoints, newest first; at most 200 a page.
    #[graphql(complexity = "1 + first.unwrap_or(50).max(0) as usize * child_complexity")]
    async fn checkpoints(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only of this service.")] service: Option<String>,
        #[graphql(desc = "How many, 1 to 200; 50 where absent.")] first: Option<i32>,
        #[graphql(desc = "The cursor of the last one seen.")] after: Option<String>,
    ) -> Result<page::Page<Checkpoint>, Error> {
        let (api, who) = of(ctx)?;
        let service = service
            .as_deref()
            .map(|text| name(text, "service"))
            .transpose()?;
        page::connection(
            first,
            after,
            |view: &control::CheckpointView| view.checkpoint.id.to_string(),
            Checkpoint::from,
            |limit, after| {
                let list = ListCheckpoints {
                    service: service.clone(),
                    limit,
                    after,
                };
                api.control.list_checkpoints(who, list)
            },
        )
        .await
    }

    /// One group.
    async fn group(
        &self,
        ctx: &Context<'_>,
        target: GroupTarget,
    ) -> Result<Option<GroupNode>, Error> {
        let (api, who) = of(ctx)?;
        let id = super::mutation::group_of(api, who, target).await?;
        let (group, members) = api.control.group(who, id).await.or_refused()?;
        Ok(Some(GroupNode {
            group,
            members: Some(members),
        }))
    }

    /// The recorded events of a group's run, as the Step Functions history API names them.
    async fn run_history(
        &self,
        ctx: &Context<'_>,
        group: Uuid,
    ) -> Result<Option<Vec<Json<serde_json::Value>>>, Error> {
        let (api, who) = of(ctx)?;
        let (group, _) = api
            .control
            .group(who, GroupId(group.0))
            .await
            .or_refused()?;
        let events = api.runs.history(&group.run).await.or_refused()?;
        Ok(Some(events.into_iter().map(Json).collect()))
    }

    /// One service.
    async fn service(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "name")] service: String,
    ) -> Result<Option<Service>, Error> {
        let (api, who) = of(ctx)?;
        let service = name(&service, "name")?;
        Ok(Some(
            api.control
                .service(who, &service)
                .await
                .or_refused()?
                .into(),
        ))
    }

    /// Services by name; at most 200 a page.
    #[graphql(complexity = "1 + first.unwrap_or(50).max(0) as usize * child_complexity")]
    async fn services(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 200; 50 where absent.")] first: Option<i32>,
        #[graphql(desc = "The cursor of the last one seen.")] after: Option<String>,
    ) -> Result<page::Page<Service>, Error> {
        let (api, who) = of(ctx)?;
        page::connection(
            first,
            after,
            |service: &model::Service| service.name.as_str().to_owned(),
            Service::from,
            |limit, after| api.control.list_services(who, limit, after),
        )
        .await
    }

    /// One pool.
    async fn pool(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "name")] pool: String,
    ) -> Result<Option<Pool>, Error> {
        let (api, who) = of(ctx)?;
        let pool = name(&pool, "name")?;
        Ok(Some(
            api.control.pool(who, &pool).await.or_refused()?.into(),
        ))
    }

    /// The volumes of a library, by barcode.
    async fn volumes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The installation's own where absent.")] library: Option<String>,
    ) -> Result<Option<Vec<Volume>>, Error> {
        let (api, who) = of(ctx)?;
        let library = super::mutation::library(api, library)?;
        let list = api.control.volumes(who, &library).await.or_refused()?;
        Ok(Some(list.into_iter().map(Volume::from).collect()))
    }

    /// One volume.
    async fn volume(&self, ctx: &Context<'_>, barcode: String) -> Result<Option<Volume>, Error> {
        let (api, who) = of(ctx)?;
        let barcode = name(&barcode, "barcode")?;
        Ok(Some(
            api.control.volume(who, &barcode).await.or_refused()?.into(),
        ))
    }

    /// The drives of a library.
    async fn drives(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The installation's own where absent.")] library: Option<String>,
    ) -> Result<Option<Vec<Drive>>, Error> {
        let (api, who) = of(ctx)?;
        let library = super::mutation::library(api, library)?;
        let list = api.control.drives(who, &library).await.or_refused()?;
        Ok(Some(list.into_iter().map(Drive::from).collect()))
    }

    /// A restore, a re-verification or a scan, and how far it is.
    async fn restore(&self, ctx: &Context<'_>, id: Uuid) -> Result<Option<Restore>, Error> {
        let (api, who) = of(ctx)?;
        Ok(Some(
            api.control
                .restore_view(who, RestoreId(id.0))
                .await
                .or_refused()?
                .into(),
        ))
    }

    /// The head of the append-only ledger.
    async fn ledger_head(&self, ctx: &Context<'_>) -> Result<Option<LedgerHead>, Error> {
        let (api, who) = of(ctx)?;
        api.control
            .authorize(who, Action::ViewLedgerHead, Resource::Installation)
            .or_refused()?;
        let head = api.control.ledger_head().await.or_refused()?;
        let committed = api.control.checkpoints_committed().await.or_refused()?;
        Ok(Some(LedgerHead {
            size: Long(head.size),
            root: Sha256(head.root),
            committed: Long(committed),
        }))
    }

    /// Leaves of the ledger from an index on, as the texts that were logged.
    async fn ledger_leaves(
        &self,
        ctx: &Context<'_>,
        from: Long,
        #[graphql(desc = "How many, 1 to 1,000.", default = 100)] first: i32,
    ) -> Result<Option<Vec<String>>, Error> {
        let (api, who) = of(ctx)?;
        api.control
            .authorize(who, Action::ReadLedger, Resource::Installation)
            .or_refused()?;
        let limit = page::size(Some(first), limits::MAX_LEAVES)?;
        Ok(Some(
            api.control
                .ledger_leaves(from.0, limit)
                .await
                .or_refused()?,
        ))
    }

    /// Published resolvers by name, and of one name by time; at most 200 a page.
    #[graphql(complexity = "1 + first.unwrap_or(50).max(0) as usize * child_complexity")]
    async fn resolvers(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 200; 50 where absent.")] first: Option<i32>,
        #[graphql(desc = "The cursor of the last one seen.")] after: Option<String>,
    ) -> Result<page::Page<Resolver>, Error> {
        let (api, who) = of(ctx)?;
        page::connection(
            first,
            after,
            |release: &model::Release| release.id.to_string(),
            Resolver::from,
            |limit, after| api.control.releases(who, limit, after),
        )
        .await
    }

    /// One published resolver.
    async fn resolver(
        &self,
        ctx: &Context<'_>,
        name: String,
        #[graphql(desc = "The newest published where absent.")] version: Option<String>,
    ) -> Result<Option<Resolver>, Error> {
        let (api, who) = of(ctx)?;
        let release = api.control.release(who, &name, version.as_deref()).await;
        Ok(Some(release.or_refused()?.into()))
    }

    /// What decides where.
    async fn resolver_bindings(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<ResolverBinding>>, Error> {
        let (api, who) = of(ctx)?;
        let list = api.control.bindings(who).await.or_refused()?;
        Ok(Some(list.into_iter().map(ResolverBinding::from).collect()))
    }

    /// What was decided, newest first; at most 200 a page. For operators.
    #[graphql(complexity = "1 + first.unwrap_or(50).max(0) as usize * child_complexity")]
    async fn resolver_decisions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 200; 50 where absent.")] first: Option<i32>,
        #[graphql(desc = "The cursor of the last one seen.")] after: Option<String>,
    ) -> Result<page::Page<ResolverDecision>, Error> {
        let (api, who) = of(ctx)?;
        page::connection(
            first,
            after,
            |record: &model::DecisionRecord| record.id.to_string(),
            ResolverDecision::from,
            |limit, after| api.control.decisions(who, limit, after),
        )
        .await
    }

    /// One decision. For operators.
    async fn resolver_decision(
        &self,
        ctx: &Context<'_>,
        id: Uuid,
    ) -> Result<Option<ResolverDecision>, Error> {
        let (api, who) = of(ctx)?;
        let (record, _) = api
            .control
            .decision(who, DecisionId(id.0))
            .await
            .or_refused()?;
        Ok(Some(record.into()))
    }

    /// All tokens, without their texts. For operators.
    async fn tokens(&self, ctx: &Context<'_>) -> Result<Option<Vec<Token>>, Error> {
        let (api, who) = of(ctx)?;
        api.control
            .authorize(who, Action::ViewToken, Resource::Installation)
            .or_refused()?;
        Ok(Some(
            api.tokens.list().into_iter().map(Token::from).collect(),
        ))
    }

    /// All agents, by name; at most 1,000. For operators.
    async fn agents(&self, ctx: &Context<'_>) -> Result<Option<Vec<Agent>>, Error> {
        let (api, who) = of(ctx)?;
        let agents = api.control.agents(who).await.or_refused()?;
        Ok(Some(agents.into_iter().map(Agent::from).collect()))
    }
}
