//! `catalogue`: what DynamoDB bills for a checkpoint.
//!
//! The whole control plane runs on DynamoDB's interface (`aws::DynamoTable` on `dynoxide` in
//! this process) from submission to commit, with the machine and the agent of its stories;
//! requests and capacity units are counted as DynamoDB reports them. Once one checkpoint
//! alone, once forty that come together in one process. What the table itself costs is in
//! it; what waits for work is not: a poll of an agent that finds nothing takes some reads.
//!
//! The floor beside it is what no control plane could leave out that survives a crash
//! between any two steps: the group's record once for each of its seven states, the
//! checkpoint with its placements, and its leaf in the ledger. Nine items of at most 1 KB,
//! each a write by itself.

#[path = "../../control/tests/story/agent.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared with the stories of control"
)]
mod agent;
#[path = "../../control/tests/story/machine.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared with the stories of control"
)]
mod machine;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aws::{DynamoTable, Requests};
use control::testing::World;
use control::{Control, Principal, parse_submission};
use model::{Bytes, Fallback, Pool, RetentionClass, Service};
use serde::Serialize;

use crate::stats::round;
use crate::table::table;
use agent::{Agent, Tapes};
use machine::{At, Machine};

/// Checkpoints a week of the installation that this is made for: 847 services, ten each.
const A_WEEK: f64 = 8_470.0;
/// Weeks of a month.
const WEEKS: f64 = 365.25 / 7.0 / 12.0;
/// US dollars for a million write and read request units: DynamoDB on demand, Standard table
/// class, us-east-1, as listed since 1 November 2024 (aws.amazon.com/dynamodb/pricing/on-demand).
const WRITE_UNITS: f64 = 0.625;
const READ_UNITS: f64 = 0.125;
/// Write units of the floor: see above.
const FLOOR: f64 = 9.0;

/// How many come together in the second run.
const TOGETHER: usize = 40;

/// What a checkpoint takes, each figure divided by the number of checkpoints.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// How many came together.
    pub checkpoints: usize,
    /// GetItem.
    pub gets: f64,
    /// Query.
    pub queries: f64,
    /// PutItem, UpdateItem and DeleteItem.
    pub single_writes: f64,
    /// TransactWriteItems.
    pub transactions: f64,
    /// Writes and checks in them.
    pub transacted: f64,
    /// Read request units.
    pub read_units: f64,
    /// Write request units, those of the indexes included.
    pub write_units: f64,
    /// Write units over those of the floor.
    pub floor_ratio: f64,
    /// US dollars a month at 8,470 checkpoints a week.
    pub month_usd: f64,
}

/// Both runs.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Checkpoints a week that the month is worked out for.
    pub checkpoints_a_week: f64,
    /// US dollars for a million write units.
    pub million_write_units_usd: f64,
    /// US dollars for a million read units.
    pub million_read_units_usd: f64,
    /// Write units of the floor.
    pub floor_write_units: f64,
    /// One by itself.
    pub alone: Cost,
    /// Forty together.
    pub together: Cost,
}

impl Report {
    /// For people.
    pub fn to_text(&self) -> String {
        let row = |name: &str, of: fn(&Cost) -> f64, decimals: i32| {
            let cell = |cost: &Cost| format!("{}", round(of(cost), decimals));
            vec![name.to_owned(), cell(&self.alone), cell(&self.together)]
        };
        let rows = [
            row("gets", |c| c.gets, 1),
            row("queries", |c| c.queries, 1),
            row("single writes", |c| c.single_writes, 1),
            row("transactions", |c| c.transactions, 1),
            row("writes and checks in them", |c| c.transacted, 1),
            row("read units", |c| c.read_units, 1),
            row("write units", |c| c.write_units, 1),
            row("write units / floor", |c| c.floor_ratio, 1),
            row("USD a month", |c| c.month_usd, 2),
        ];
        let together = format!("{TOGETHER} together");
        let mut text = table(&["a checkpoint", "alone", &together], &rows);
        text.push_str(&format!(
            "\nAt {} checkpoints a week, USD {} and {} for a million write and read units.\n",
            self.checkpoints_a_week, self.million_write_units_usd, self.million_read_units_usd
        ));
        text
    }
}

/// A world over DynamoDB's interface.
struct Stage {
    world: World,
    control: Control,
    dynamo: DynamoTable,
    machine: Machine,
    agent: Agent,
    tapes: Tapes,
    names: Vec<String>,
}

impl Stage {
    async fn new() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        tokio::spawn(dynoxide::server::serve_on(
            listener,
            dynoxide::Database::memory()?,
        ));
        let config = aws_sdk_dynamodb::config::Builder::new()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
            .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_dynamodb::config::Credentials::new(
                "bench", "bench", None, None, "bench",
            ))
            .retry_config(aws::table_retries())
            .timeout_config(aws::table_timeouts())
            .endpoint_url(endpoint)
            .build();
        let client = aws_sdk_dynamodb::Client::from_conf(config);
        aws::schema::create_table(&client, "tapemark").await?;
        let dynamo = DynamoTable::with_client(client, "tapemark");
        let world = World::new(1);
        let mut ports = world.ports();
        ports.table = Arc::new(dynamo.clone());
        let control = Control::new(ports);
        let pool = Pool {
            name: "main".parse()?,
            library: "lib".parse()?,
            copies: 1,
            reserve: Bytes::ZERO,
            write_drives: 2,
            fallback: Fallback::BuiltIn,
        };
        control.put_pool(&Principal::Operator, pool).await?;
        let names: Vec<_> = (0..TOGETHER).map(|n| format!("service-{n:02}")).collect();
        let services = names
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
        control
            .register_services(&Principal::Operator, services)
            .await?;
        control
            .inventory(world.inventory(4, Bytes::gib(100))?)
            .await?;
        Ok(Self {
            world,
            control,
            dynamo,
            machine: Machine::default(),
            agent: Agent::new("D1", "life 1"),
            tapes: Tapes::new(),
            names,
        })
    }

    /// What `count` checkpoints take from submission to commit.
    async fn cost(&mut self, count: usize, version: &str) -> anyhow::Result<Cost> {
        let before = self.dynamo.requests();
        for name in &self.names[..count] {
            self.world.clock.advance(Duration::from_secs(1));
            let submission = parse_submission(self.world.sample(name, version))
                .map_err(|refusals| anyhow::anyhow!("{refusals:?}"))?;
            self.control
                .submit(&Principal::Operator, submission)
                .await
                .map_err(|refusals| anyhow::anyhow!("{refusals:?}"))?;
        }
        loop {
            self.machine.settle(&self.control).await?;
            if self.agent.run(&self.control, &mut self.tapes).await? == 0 {
                break;
            }
        }
        self.machine.settle(&self.control).await?;
        let open = self.machine.runs.values().find(|r| r.at != At::Committed);
        anyhow::ensure!(open.is_none(), "expected all committed, found {open:?}");
        let after = self.dynamo.requests();
        anyhow::ensure!(after.repeats == 0, "a request was repeated");
        let each = |of: fn(&Requests) -> u64| (of(&after) - of(&before)) as f64 / count as f64;
        let write_units = each(|r| r.writes);
        let read_units = each(|r| r.half_reads) / 2.0;
        let millions = A_WEEK * WEEKS / 1e6;
        Ok(Cost {
            checkpoints: count,
            gets: round(each(|r| r.gets), 2),
            queries: round(each(|r| r.queries), 2),
            single_writes: round(each(|r| r.single_writes), 2),
            transactions: round(each(|r| r.transactions), 2),
            transacted: round(each(|r| r.transacted), 2),
            read_units: round(read_units, 2),
            write_units: round(write_units, 2),
            floor_ratio: round(write_units / FLOOR, 2),
            month_usd: round(
                millions * (write_units * WRITE_UNITS + read_units * READ_UNITS),
                2,
            ),
        })
    }
}

/// Counts both.
///
/// # Errors
/// Where the port cannot be bound, or the control plane refuses what it must not.
pub async fn catalogue() -> anyhow::Result<Report> {
    let mut stage = Stage::new()
        .await
        .context("the control plane on DynamoDB")?;
    // The first of a volume labels it.
    stage.cost(1, "0").await?;
    Ok(Report {
        checkpoints_a_week: A_WEEK,
        million_write_units_usd: WRITE_UNITS,
        million_read_units_usd: READ_UNITS,
        floor_write_units: FLOOR,
        alone: stage.cost(1, "1").await?,
        together: stage.cost(TOGETHER, "2").await?,
    })
}
