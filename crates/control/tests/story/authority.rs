//! Who may do what is asked before anything is done, and of one authority.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use control::ListCheckpoints;
use control::authority::{Action, Authority, Native, Resource, Verdict};
use model::{Bytes, Code, LibraryId, Limits, RestoreId, Scope, ServiceName};

use super::*;

/// Refuses everything, and remembers what was asked.
#[derive(Default)]
struct Nobody(Mutex<BTreeSet<Action>>);

impl Authority for Nobody {
    fn allows(&self, _: &Principal, action: Action, on: Resource<'_>) -> Verdict {
        assert!(
            action.kinds().contains(&on.kind()),
            "{action} does not apply to {on}"
        );
        self.0.lock().unwrap().insert(action);
        Verdict::NotPermitted
    }
}

/// What the API asks by itself.
const ASKED_BY_THE_API: [Action; 5] = [
    Action::ViewLedgerHead,
    Action::ReadLedger,
    Action::CreateToken,
    Action::RevokeToken,
    Action::ViewToken,
];

async fn restored(stage: &mut Stage, id: CheckpointId) -> Result<RestoreId, Box<dyn Error>> {
    let ask = stage.control.restore(&OPERATOR, id, Vec::new()).await?;
    stage.finish().await?;
    Ok(ask)
}

#[tokio::test]
#[allow(clippy::too_many_lines)]
async fn nothing_is_done_or_shown_that_nothing_permits_not_even_to_an_operator() -> Test {
    let mut stage = Stage::new(1, 2, Bytes::gib(1), &["a"]).await?;
    let submitted = stage.submit(stage.world.sample("a", "1")).await;
    stage.finish().await?;
    let (id, group) = (submitted.checkpoints[0], submitted.group);
    let ask = restored(&mut stage, id).await?;
    let nobody = Arc::new(Nobody::default());
    let c = stage.control.clone().with_authority(nobody.clone());
    let who = &OPERATOR;

    let a: ServiceName = "a".parse()?;
    let library: LibraryId = "lib".parse()?;
    let pool = stage.control.pool(who, &"main".parse()?).await?;
    let volume = stage
        .control
        .volumes(who, &library)
        .await?
        .remove(0)
        .barcode;
    let service = model::Service {
        frozen: true,
        ..stage.control.service(who, &a).await?
    };
    let scope = || Scope::Service("a".parse().unwrap());
    let submission = parse_submission(stage.world.sample("a", "2")).unwrap();
    let mut answers: Vec<(&str, Code)> = Vec::new();
    macro_rules! refused {
        ($name:literal, $call:expr) => {
            answers.push(($name, $call.await.map(drop).unwrap_err().code));
        };
    }
    let refusals = c.submit(who, submission).await.unwrap_err();
    answers.push(("submit", refusals[0].code));
    refused!("service", c.service(who, &a));
    refused!("checkpoint", c.checkpoint(who, id));
    refused!("artifacts", c.artifacts(who, id));
    refused!("group", c.group(who, group));
    refused!("cancel", c.cancel(who, group));
    refused!("decide", c.decide_parked(who, group, true));
    refused!("restore", c.restore(who, id, Vec::new()));
    refused!("reverify", c.reverify(who, id));
    refused!("restore view", c.restore_view(who, ask));
    refused!("delivered", c.delivered(who, ask));
    refused!("scan report", c.scan_report(who, ask));
    refused!("register", c.register_services(who, vec![service]));
    refused!("put pool", c.put_pool(who, pool.clone()));
    refused!("pool", c.pool(who, &pool.name));
    refused!("volumes", c.volumes(who, &library));
    refused!("volume", c.volume(who, &volume));
    refused!("scan", c.scan_volume(who, &volume));
    refused!("drives", c.drives(who, &library));
    refused!("reset", c.reset_drive(who, &library, &"D1".parse()?));
    let publish = c.publish_resolver(who, "x", "1.0.0", vec![0], Limits::DEFAULT);
    refused!("publish", publish);
    refused!("withdraw", c.withdraw_release(who, "x", "1.0.0"));
    refused!("release", c.release(who, "x", None));
    refused!("releases", c.releases(who, 1, None));
    refused!("bind", c.bind_resolver(who, scope(), "x", None));
    refused!("unbind", c.unbind_resolver(who, &scope()));
    let shadow = c.shadow_resolver(who, scope(), "x", None, 1, None);
    refused!("shadow", shadow);
    refused!("unshadow", c.unshadow_resolver(who, scope()));
    refused!("promote", c.promote_resolver(who, scope()));
    refused!("rollback", c.rollback_resolver(who, scope()));
    refused!("bindings", c.bindings(who));
    refused!("decisions", c.decisions(who, 1, None));
    let decision = "018f0000-0000-7000-8000-000000000000".parse()?;
    refused!("decision", c.decision(who, decision));
    let agent = "agent-1".parse()?;
    let key = model::AgentKey([1; 32]);
    refused!("enrol", c.issue_enrolment_code(who, &agent, &library));
    refused!(
        "register agent",
        c.register_agent(who, &agent, &library, key)
    );
    refused!("revoke", c.revoke_agent(who, &agent));
    refused!("agents", c.agents(who));
    for (name, code) in answers {
        assert_eq!(code, Code::Forbidden, "{name}");
    }
    // Lists are empty rather than refused.
    assert_eq!(c.list_services(who, 10, None).await?.0, []);
    let list = ListCheckpoints {
        limit: 10,
        ..ListCheckpoints::default()
    };
    assert_eq!(c.list_checkpoints(who, list).await?.0, []);

    // FreezeService is asked after RegisterService, which was refused.
    let mut asked = nobody.0.lock().unwrap().clone();
    asked.insert(Action::FreezeService);
    let missing: Vec<_> = Action::ALL
        .iter()
        .filter(|action| !asked.contains(action) && !ASKED_BY_THE_API.contains(action))
        .collect();
    assert_eq!(missing, [] as [&Action; 0]);
    // And nothing changed.
    assert!(!stage.control.service(who, &a).await?.frozen);
    Ok(())
}

/// The native rule, but for what it closes or opens.
struct But<F>(F);

impl<F: Fn(Action, Resource<'_>) -> Option<Verdict> + Send + Sync> Authority for But<F> {
    fn allows(&self, who: &Principal, action: Action, on: Resource<'_>) -> Verdict {
        (self.0)(action, on).unwrap_or_else(|| Native.allows(who, action, on))
    }
}

#[tokio::test]
async fn a_list_leaves_out_what_the_caller_may_not_see() -> Test {
    let stage = Stage::new(2, 2, Bytes::gib(1), &["open", "closed"]).await?;
    let mut seen = Vec::new();
    for service in ["open", "closed", "open"] {
        let version = format!("1.{}", seen.len());
        seen.push(
            stage
                .submit(stage.world.sample(service, &version))
                .await
                .checkpoints[0],
        );
    }
    let closed = But(|_: Action, on: Resource<'_>| match on {
        Resource::Checkpoint { service, .. } | Resource::Service(service)
            if service.as_str() == "closed" =>
        {
            Some(Verdict::Forbidden {
                policies: vec!["closed".to_owned()],
            })
        }
        _ => None,
    });
    let control = stage.control.clone().with_authority(Arc::new(closed));
    let list = ListCheckpoints {
        limit: 10,
        ..ListCheckpoints::default()
    };
    let (page, _) = control.list_checkpoints(&OPERATOR, list).await?;
    let found: Vec<_> = page.into_iter().map(|view| view.checkpoint.id).collect();
    assert_eq!(found, [seen[2], seen[0]]);
    let (services, _) = control.list_services(&OPERATOR, 10, None).await?;
    assert_eq!(services.len(), 1);
    let refusal = control.checkpoint(&OPERATOR, seen[1]).await.unwrap_err();
    assert_eq!(refusal.code, Code::Forbidden);
    assert!(
        refusal.message.contains("forbidden by policy closed"),
        "{refusal}"
    );
    Ok(())
}

#[tokio::test]
async fn what_was_permitted_at_the_door_is_what_the_run_is_held_to() -> Test {
    let mut stage = Stage::new(3, 2, Bytes::gib(1), &["a"]).await?;
    let deputy = But(|action: Action, _: Resource<'_>| {
        (action == Action::Submit).then_some(Verdict::Permitted)
    });
    // The token is scoped to another service; a policy lets its bearer submit this one.
    let who = Principal::Services(vec!["b".parse()?]).named("deputy");
    let submission = parse_submission(stage.world.sample("a", "1")).unwrap();
    let native = stage.control.submit(&who, submission.clone()).await;
    assert_eq!(native.unwrap_err()[0].code, Code::Forbidden);
    let control = stage.control.clone().with_authority(Arc::new(deputy));
    let submitted = control.submit(&who, submission).await.unwrap();
    stage.finish().await?;
    let view = stage
        .control
        .checkpoint(&OPERATOR, submitted.checkpoints[0])
        .await?;
    assert_eq!(*view.group.lifecycle.state(), State::Committed);
    Ok(())
}
