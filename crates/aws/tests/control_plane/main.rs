//! The whole control plane on DynamoDB: the same machine and the same agent as in the
//! stories of `control`, another table beneath them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

#[path = "../../../control/tests/story/agent.rs"]
#[allow(dead_code, reason = "shared with the stories of control")]
mod agent;
#[path = "../../../control/tests/story/machine.rs"]
#[allow(dead_code, reason = "shared with the stories of control")]
mod machine;
#[path = "../table/server.rs"]
#[allow(dead_code, reason = "shared with the tests of the table")]
mod server;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws::{DynamoTable, Requests};
use control::ledger::{HashChain, verify_chain};
use control::ports::{Ledger as _, Table};
use control::testing::World;
use control::{Control, Principal, RestoreState, parse_submission};
use model::{Bytes, CheckpointId, Fallback, Pool, RetentionClass, Service, State};

use agent::{Agent, Tapes};
use machine::{At, Machine};

const OPERATOR: Principal = Principal::Operator;

type Test = Result<(), Box<dyn Error>>;

/// A world over another table.
struct Stage {
    world: World,
    control: Control,
    machine: Machine,
    agent: Agent,
    tapes: Tapes,
}

impl Stage {
    async fn new(table: Arc<dyn Table>, services: &[String]) -> Result<Self, Box<dyn Error>> {
        let world = World::new(1);
        let mut ports = world.ports();
        ports.table = table;
        let control = Control::new(ports);
        let pool = Pool {
            name: "main".parse()?,
            library: "lib".parse()?,
            copies: 1,
            reserve: Bytes::ZERO,
            write_drives: 2,
            fallback: Fallback::BuiltIn,
        };
        control.put_pool(&OPERATOR, pool).await?;
        let services = services
            .iter()
            .map(|name| {
                Ok(Service {
                    name: name.parse()?,
                    pool: "main".parse()?,
                    retention: vec![RetentionClass::default()],
                    frozen: false,
                    provenance_key: None,
                })
            })
            .collect::<Result<_, model::InvalidId>>()?;
        control.register_services(&OPERATOR, services).await?;
        control
            .inventory(world.inventory(4, Bytes::gib(100))?)
            .await?;
        Ok(Self {
            world,
            control,
            machine: Machine::default(),
            agent: Agent::new("D1", "life 1"),
            tapes: Tapes::new(),
        })
    }

    async fn submit(&self, service: &str, version: &str) -> CheckpointId {
        self.world.clock.advance(Duration::from_secs(1));
        let submission = parse_submission(self.world.sample(service, version)).unwrap();
        let outcome = self.control.submit(&OPERATOR, submission).await.unwrap();
        outcome.checkpoints[0]
    }

    /// Machine and agent until there is nothing left to do.
    async fn finish(&mut self) -> Test {
        loop {
            self.machine.settle(&self.control).await?;
            if self.agent.run(&self.control, &mut self.tapes).await? == 0 {
                return Ok(self.machine.settle(&self.control).await?);
            }
        }
    }

    async fn state(&self, id: CheckpointId) -> State {
        let view = self.control.checkpoint(&OPERATOR, id).await.unwrap();
        view.group.lifecycle.state().clone()
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("service-{n}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_goes_from_submission_to_commit_and_back() -> Test {
    let table = server::table().await;
    let mut stage = Stage::new(Arc::new(table), &names(1)).await?;
    let id = stage.submit("service-0", "1.0").await;
    // The same key again is the same request.
    assert_eq!(stage.submit("service-0", "1.0").await, id);
    stage.finish().await?;
    assert_eq!(stage.state(id).await, State::Committed);
    let view = stage.control.checkpoint(&OPERATOR, id).await?;
    assert_eq!(view.placements.len(), 1);
    let volume = stage
        .control
        .volume(&OPERATOR, &view.placements[0].volume)
        .await?;
    assert_eq!((volume.reserved, volume.checkpoints), (Bytes::ZERO, 1));

    let head = stage.control.ledger_head().await?;
    let leaves = stage.control.ledger_leaves(0, 10).await?;
    verify_chain(
        &HashChain,
        &HashChain.empty(),
        leaves.iter().map(String::as_str),
        &head,
    )?;

    let restore = stage.control.restore(&OPERATOR, id, Vec::new()).await?;
    stage.finish().await?;
    let view = stage.control.restore_view(&OPERATOR, restore).await?;
    assert_eq!(view.state, RestoreState::Done);
    assert!(stage.world.objects.pinned().is_empty(), "pins are let go");
    Ok(())
}

/// What `count` checkpoints take from submission to commit, each.
async fn cost(
    stage: &mut Stage,
    table: &DynamoTable,
    count: usize,
    version: &str,
) -> Result<[f64; 6], Box<dyn Error>> {
    let before = table.requests();
    for name in names(count) {
        stage.submit(&name, version).await;
    }
    stage.finish().await?;
    let open = stage
        .machine
        .runs
        .values()
        .find(|run| run.at != At::Committed);
    assert!(open.is_none(), "{open:?}");
    let after = table.requests();
    assert_eq!(after.repeats, 0);
    let each = |of: fn(&Requests) -> u64| (of(&after) - of(&before)) as f64 / count as f64;
    Ok([
        each(|r| r.gets),
        each(|r| r.queries),
        each(|r| r.single_writes),
        each(|r| r.transactions),
        each(|r| r.half_reads) / 2.0,
        each(|r| r.writes),
    ])
}

/// Counted, because it is what the bill is made of.
#[tokio::test(flavor = "multi_thread")]
async fn the_requests_of_a_checkpoint_are_few_and_fewer_in_company() -> Test {
    let table = server::table().await;
    let mut stage = Stage::new(Arc::new(table.clone()), &names(40)).await?;
    // The first of a volume opens it.
    cost(&mut stage, &table, 1, "0").await?;
    let alone = cost(&mut stage, &table, 1, "1").await?;
    let together = cost(&mut stage, &table, 40, "2").await?;
    eprintln!(
        "gets, queries, single writes, transactions, read units, write units a checkpoint: \
         alone {alone:?}, 40 together {together:?}"
    );
    // Room for a third more than measured.
    for (what, found, most) in [
        ("transactions alone", alone[3], 20.0),
        ("transactions together", together[3], 10.0),
    ] {
        assert!(found <= most, "{what}: {found}");
    }
    assert!(together[0] + together[1] < alone[0] + alone[1]);
    Ok(())
}
