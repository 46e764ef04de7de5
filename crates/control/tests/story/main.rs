//! Stories of the control plane over the ports in memory: a hand-rolled interpreter
//! takes runs through the phases in the order of the state machine, a fake agent keeps
//! tapes as lists of placements.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod agent;
mod agents;
mod asl;
mod authority;
mod capacity;
mod chaos;
mod conflicts;
mod contention;
mod faults;
mod forks;
mod lag;
mod machine;
mod patience;
mod releases;
mod requests;
mod resolvers;
mod secrets;
mod simulation;
mod spine;

use std::error::Error;

use control::testing::World;
use control::{Control, Principal, parse_submission};
use model::{CheckpointId, Code, GroupOutcome, State};
use serde_json::Value;

use crate::agent::{Agent, Tapes};
use crate::machine::Machine;

const OPERATOR: Principal = Principal::Operator;

/// A world with its machine, an agent for each drive, and tapes.
struct Stage {
    world: World,
    control: Control,
    machine: Machine,
    agents: [Agent; 2],
    tapes: Tapes,
}

impl Stage {
    async fn new(
        seed: u64,
        volumes: u32,
        capacity: model::Bytes,
        services: &[&str],
    ) -> Result<Self, Box<dyn Error>> {
        let world = World::new(seed);
        let control = world.set_up(volumes, capacity, services).await?;
        Ok(Self {
            world,
            control,
            machine: Machine::default(),
            agents: ["D1", "D2"].map(|drive| Agent::new(drive, "life 1")),
            tapes: Tapes::new(),
        })
    }

    /// Submits, a second after whatever was submitted before.
    async fn submit(&self, json: Value) -> GroupOutcome {
        self.world.clock.advance(std::time::Duration::from_secs(1));
        let submission = parse_submission(json).unwrap();
        self.control.submit(&OPERATOR, submission).await.unwrap()
    }

    async fn settle(&mut self) -> Test {
        Ok(self.machine.settle(&self.control).await?)
    }

    /// Machine and agents until there is nothing left to do.
    async fn finish(&mut self) -> Test {
        loop {
            self.settle().await?;
            let mut done = 0;
            for agent in &mut self.agents {
                done += agent.run(&self.control, &mut self.tapes).await?;
            }
            if done == 0 {
                return self.settle().await;
            }
        }
    }

    async fn state(&self, id: CheckpointId) -> State {
        let view = self.control.checkpoint(&OPERATOR, id).await.unwrap();
        view.group.lifecycle.state().clone()
    }

    /// The code with which a group was refused or failed.
    async fn code(&self, id: CheckpointId) -> Option<Code> {
        match self.state(id).await {
            State::Rejected { refusal } | State::Failed { refusal } => Some(refusal.code),
            _ => None,
        }
    }
}

type Test = Result<(), Box<dyn Error>>;

/// The whole ledger.
async fn all_leaves(control: &Control) -> Result<Vec<String>, model::Refusal> {
    let mut leaves = Vec::new();
    loop {
        let more = control.ledger_leaves(leaves.len() as u64, 1000).await?;
        if more.is_empty() {
            return Ok(leaves);
        }
        leaves.extend(more);
    }
}

/// What a leaf tells of.
fn event(leaf: &str) -> String {
    let leaf: Value = serde_json::from_str(leaf).unwrap();
    leaf["event"].as_str().unwrap().to_owned()
}
