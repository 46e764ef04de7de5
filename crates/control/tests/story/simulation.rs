//! Everything at once, from a seed: many runs, two drives, agents that die and wake up
//! late, control planes that are restarted, transactions whose answer is lost, invocations
//! and effects that come twice, media that fail. After each step the promises are checked.
//! A failing seed is a test: run it with `SEED=n`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use control::ledger::{HashChain, verify_chain};
use control::ports::Ledger as _;
use control::testing::Lag;
use model::{Barcode, Bytes, CheckpointId, Code, Fence, Refusal, State};
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::machine::At;
use crate::{OPERATOR, Stage, Test, all_leaves, event};

const SERVICES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const VOLUMES: u32 = 12;

struct Simulation {
    stage: Stage,
    random: ChaCha8Rng,
    submitted: Vec<(model::GroupId, Vec<CheckpointId>)>,
    /// Sessions that agents lost without knowing, to come back as ghosts.
    ghosts: Vec<Agent>,
    committed: BTreeSet<CheckpointId>,
    /// Whose each checkpoint is.
    services: BTreeMap<CheckpointId, String>,
    lives: u32,
    faults_left: u32,
    /// A resolver that decides anything that is valid, and fails now and then, is bound.
    chaos: bool,
}

impl Simulation {
    async fn new(seed: u64, chaos: bool) -> Result<Self, Box<dyn std::error::Error>> {
        let stage = Stage::new(seed, VOLUMES, Bytes::mib(64), &SERVICES).await?;
        if chaos {
            crate::chaos::bind(&stage, seed).await?;
        }
        Ok(Self {
            stage,
            chaos,
            random: ChaCha8Rng::seed_from_u64(seed),
            submitted: Vec::new(),
            ghosts: Vec::new(),
            committed: BTreeSet::new(),
            services: BTreeMap::new(),
            lives: 0,
            faults_left: 4,
        })
    }

    fn member(&mut self, service: &str) -> Value {
        let version = self.random.random_range(0..4);
        let size = 1 << self.random.random_range(0..12);
        let mut member = self.stage.world.member(
            service,
            &format!("{version}"),
            format!("{service}{version}").repeat(size).as_bytes(),
        );
        // Some name a parent: whatever was submitted before, or one of the service that is
        // committed, the first ones more often, so that several follow the same.
        if self.random.random_bool(0.1)
            && let Some((_, ids)) = self.submitted.choose(&mut self.random)
        {
            member["parent"] = json!(ids[0]);
        } else if self.random.random_bool(0.4) {
            let of_service = self.committed.iter();
            let of_service: Vec<_> = of_service
                .filter(|id| self.services[*id] == service)
                .take(3)
                .collect();
            if let Some(parent) = of_service.choose(&mut self.random) {
                member["parent"] = json!(parent);
            }
        }
        if self.random.random_bool(0.05) {
            member["artifacts"][0]["sha256"] = "ab".repeat(32).into();
        }
        member
    }

    async fn submit(&mut self) {
        let members = if self.random.random_bool(0.25) {
            let first = self.random.random_range(0..4);
            vec![
                self.member(SERVICES[first]),
                self.member(SERVICES[first + 1]),
            ]
        } else {
            let service = self.random.random_range(0..SERVICES.len());
            vec![self.member(SERVICES[service])]
        };
        let key = format!("k{}", self.submitted.len());
        let mut json = self.stage.world.submission(&key, &members);
        json["priority"] = self.random.random_range(0..10).into();
        self.stage.world.clock.advance(Duration::from_millis(7));
        let submission = control::parse_submission(json).unwrap();
        // A submitter who hears nothing asks again under the same key.
        for _ in 0..3 {
            let answer = self
                .stage
                .control
                .submit(&OPERATOR, submission.clone())
                .await;
            if let Ok(outcome) = answer {
                for (id, member) in outcome.checkpoints.iter().zip(&members) {
                    let service = member["service"].as_str().unwrap().to_owned();
                    self.services.insert(*id, service);
                }
                self.submitted.push((outcome.group, outcome.checkpoints));
                return;
            }
        }
        panic!("a fault happens once");
    }

    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..12 => self.submit().await,
            12..50 => {
                let ready = self.stage.machine.ready();
                if let Some(name) = ready.choose(&mut self.random) {
                    let twice = self.random.random_bool(0.1);
                    self.stage
                        .machine
                        .step(&self.stage.control, name, twice)
                        .await;
                }
            }
            50..60 => {
                let tell = self.random.random_bool(0.8);
                // A fault here is a crash of the deliverer: it begins again.
                let _ = self.stage.machine.deliver(&self.stage.control, tell).await;
            }
            60..86 => self.agent().await,
            86..88 => self.ghost().await,
            88..90 => {
                let n = self.random.random_range(0..2);
                self.restart(n);
            }
            90..92 => {
                // Control planes keep nothing in memory that they could not lose.
                self.stage.control = self.stage.world.control();
            }
            92..95 if !self.chaos || self.random.random_bool(0.7) => {
                let seconds = self.random.random_range(1..50);
                self.stage.world.clock.advance(Duration::from_secs(seconds));
                let _ = self.stage.control.sweep().await;
            }
            92..95 => crate::chaos::meddle(&self.stage, &mut self.random).await,
            95..98 => {
                let happens = self.random.random_bool(0.5);
                let n = self.random.random_range(0..3);
                self.stage.world.table.fail_transaction(n, happens);
            }
            98 => {
                if let Some((group, _)) = self.submitted.choose(&mut self.random) {
                    let _ = self.stage.control.cancel(&OPERATOR, *group).await;
                }
            }
            _ => {
                if self.faults_left > 0
                    && let Some(tape) = self.stage.tapes.values_mut().next_back()
                {
                    self.faults_left -= 1;
                    tape.rotten = true;
                }
            }
        }
    }

    /// The agent of a drive dies; its ghost may wake up later.
    fn restart(&mut self, n: usize) {
        self.lives += 1;
        let life = format!("life {}", self.lives + 1);
        let agent = &mut self.stage.agents[n];
        let mut next = Agent::new(agent.drive.as_str(), &life);
        next.mounted.clone_from(&agent.mounted);
        let ghost = std::mem::replace(agent, next);
        if ghost.session.is_some() && self.ghosts.len() < 4 {
            self.ghosts.push(ghost);
        }
    }

    /// A paused agent goes on as if nothing had happened. The tape is where it left it
    /// only if no other session has it; the fake tape refuses lower fences.
    async fn ghost(&mut self) {
        if self.ghosts.is_empty() {
            return;
        }
        let mut ghost = self.ghosts.remove(0);
        let held: BTreeMap<Barcode, Fence> = self
            .stage
            .agents
            .iter()
            .filter_map(|agent| agent.session.as_ref())
            .map(|session| (session.volume.clone(), session.fence))
            .collect();
        let session = ghost.session.clone().unwrap();
        let over = held
            .get(&session.volume)
            .is_some_and(|fence| *fence > session.fence);
        ghost.work(&mut self.stage.tapes);
        let answer = ghost.report(&self.stage.control, &self.stage.tapes).await;
        if over {
            let code = answer.map(drop).map_err(|refusal| refusal.code);
            assert!(
                matches!(code, Err(Code::FenceLost | Code::Transient)),
                "a ghost was heard: {code:?}"
            );
        }
    }

    async fn agent(&mut self) {
        let n = self.random.random_range(0..2);
        let choice = self.random.random_range(0..10);
        let fault = self.faults_left > 0 && self.random.random_bool(0.01);
        let stage = &mut self.stage;
        let agent = &mut stage.agents[n];
        let answer: Result<(), Refusal> = match (&agent.session, choice) {
            (None, _) => match agent.open(&stage.control).await {
                Ok(true) => agent.ready(&stage.control, &mut stage.tapes).await,
                other => other.map(drop),
            },
            (Some(_), 0..3) => agent.claim(&stage.control, 4).await.map(drop),
            (Some(_), 3..7) => {
                agent.work(&mut stage.tapes);
                Ok(())
            }
            (Some(_), 7 | 8) => agent.report(&stage.control, &stage.tapes).await.map(drop),
            (Some(_), _) if fault => {
                self.faults_left -= 1;
                let fault = Refusal::new(Code::MediaError, "a fault was asked for");
                agent.close(&stage.control, Some(fault)).await
            }
            // What was done is reported before the volume is let go.
            (Some(_), _) if agent.unreported.is_empty() => agent.close(&stage.control, None).await,
            _ => Ok(()),
        };
        if let Err(refusal) = answer {
            match refusal.code {
                // It stops at once and opens a new session. `Transient` here stands for
                // a process that died in the middle of a call.
                Code::FenceLost | Code::Transient => self.restart(n),
                Code::Busy | Code::DriveFault | Code::Conflict => {}
                code => panic!("{code}: {}", refusal.message),
            }
        }
    }

    /// The promises of the design that can be seen from outside, after each step.
    async fn check(&mut self) {
        for (barcode, tape) in &self.stage.tapes {
            // One writer: fences on a tape only rise.
            let fences: Vec<_> = tape.written.iter().map(|w| w.placement.fence).collect();
            assert!(fences.is_sorted(), "{barcode}: {fences:?}");
        }
        for volume in self
            .stage
            .control
            .volumes(&OPERATOR, &"lib".parse().unwrap())
            .await
            .unwrap()
        {
            assert!(volume.used.plus(volume.reserved).0 <= 2 * volume.capacity.0);
        }
        // No history forks: at most one content follows a parent.
        let mut follows = BTreeMap::new();
        for (group, ids) in self.submitted.clone() {
            let mut visible = 0;
            for id in &ids {
                let view = self.stage.control.checkpoint(&OPERATOR, *id).await.unwrap();
                let committed = *view.group.lifecycle.state() == State::Committed;
                assert_eq!(committed, !view.placements.is_empty());
                visible += usize::from(committed);
                // Committed means restorable: the bytes are where the catalogue says.
                for placement in &view.placements {
                    let tape = &self.stage.tapes[&placement.volume];
                    let found = tape.written.iter().any(|w| w.placement == *placement);
                    assert!(found, "{id} is not on {}", placement.volume);
                }
                if committed {
                    let c = &view.checkpoint;
                    if let Some(parent) = c.parent {
                        let place = (c.service.clone(), c.branch.clone(), parent);
                        let first = *follows.entry(place).or_insert(c.content);
                        assert_eq!(first, c.content, "{id} forks what follows {parent}");
                    }
                    self.committed.insert(*id);
                } else {
                    assert!(!self.committed.contains(id), "{id} was committed before");
                }
            }
            assert!(
                visible == 0 || visible == ids.len(),
                "part of {group} is visible"
            );
        }
        let committed = self.stage.control.checkpoints_committed().await.unwrap();
        assert_eq!(committed, self.committed.len() as u64);
    }

    /// No more faults: everything comes to its end.
    async fn calm_down(&mut self) -> Test {
        self.stage.world.table.fail_transaction(u64::MAX, false);
        self.faults_left = 0;
        for _ in 0..60 {
            self.stage.world.clock.advance(Duration::from_secs(61));
            self.stage.control.sweep().await?;
            if self.chaos {
                crate::chaos::repair(&self.stage).await?;
            }
            self.stage.settle().await?;
            for n in 0..2 {
                self.restart(n);
                let agent = &mut self.stage.agents[n];
                match agent.run(&self.stage.control, &mut self.stage.tapes).await {
                    Ok(_) => {}
                    Err(refusal) if refusal.code == Code::DriveFault => {}
                    Err(refusal) => return Err(refusal.into()),
                }
            }
        }
        self.stage.settle().await
    }

    async fn finale(&mut self) -> Test {
        let open: Vec<_> = self
            .stage
            .machine
            .runs
            .values()
            .filter(|run| !run.at.is_end() && run.at != At::Park)
            .collect();
        assert!(open.is_empty(), "not at an end: {open:?}");
        assert_eq!(self.stage.machine.runs.len(), self.submitted.len());
        // Each run and its group agree, and nobody's merge leads to nothing.
        for (group, ids) in &self.submitted {
            let at = self.stage.machine.at(*group);
            let state = self.stage.state(ids[0]).await;
            let agree = match (&state, at) {
                (State::Committed, At::Committed)
                | (State::Rejected { .. }, At::Rejected)
                | (State::Failed { .. }, At::Failed | At::Rejected)
                | (State::Superseded { .. }, At::Superseded | At::Failed | At::Rejected)
                | (State::Parked { .. }, At::Park) => true,
                (State::Merged { into }, At::Merged) => {
                    self.stage.state(*into).await == State::Committed
                }
                // Called off between allocation and dispatch, or made to give way.
                (State::Rejected { refusal }, At::Failed) => matches!(
                    refusal.code,
                    Code::Cancelled | Code::LineageFork | Code::PolicyRefused
                ),
                _ => false,
            };
            assert!(agree, "{group}: {state:?} but the run is at {at:?}");
        }
        let leaves = all_leaves(&self.stage.control).await?;
        let head = self.stage.control.ledger_head().await?;
        verify_chain(
            &HashChain,
            &HashChain.empty(),
            leaves.iter().map(String::as_str),
            &head,
        )?;
        let committed = leaves.iter().filter(|leaf| event(leaf) == "committed");
        assert_eq!(committed.count(), self.committed.len());
        let parked = self
            .stage
            .machine
            .runs
            .values()
            .any(|run| run.at == At::Park);
        if !parked {
            let volumes = self
                .stage
                .control
                .volumes(&OPERATOR, &"lib".parse()?)
                .await?;
            for volume in volumes {
                assert_eq!(volume.reserved, Bytes::ZERO, "{}", volume.barcode);
            }
            assert!(self.stage.world.objects.pinned().is_empty());
            let left: Vec<_> = self
                .stage
                .world
                .table
                .dump()
                .into_iter()
                .filter(|item| item.key.sk.starts_with("WRK#") || item.key.pk == "OBX")
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
        Ok(())
    }
}

async fn simulate(
    seed: u64,
    steps: u32,
    chaos: bool,
    lag: Lag,
) -> Result<Simulation, Box<dyn std::error::Error>> {
    let mut simulation = Simulation::new(seed, chaos).await?;
    simulation.stage.world.table.lag(lag);
    for step in 0..steps {
        simulation.step().await;
        if step % 8 == 0 {
            simulation.check().await;
        }
    }
    simulation.calm_down().await?;
    simulation.stage.world.table.catch_up();
    simulation.check().await;
    simulation.finale().await?;
    Ok(simulation)
}

fn seeds(all: std::ops::Range<u64>) -> Result<Vec<u64>, std::num::ParseIntError> {
    match std::env::var("SEED") {
        Ok(seed) => Ok(vec![seed.parse()?]),
        Err(_) => Ok(all.collect()),
    }
}

#[tokio::test]
async fn the_promises_hold_whatever_happens() -> Test {
    let mut ends: BTreeMap<At, u32> = BTreeMap::new();
    for seed in seeds(0..8)? {
        eprintln!("seed {seed}");
        for run in simulate(seed, 600, false, Lag::None)
            .await?
            .stage
            .machine
            .runs
            .values()
        {
            *ends.entry(run.at).or_default() += 1;
        }
    }
    eprintln!("runs by their end: {ends:?}");
    assert!(ends.contains_key(&At::Committed));
    Ok(())
}

/// The same, and the indexes are behind the table: by a few transactions or by many, in
/// order or item by item.
#[tokio::test]
async fn the_promises_hold_however_far_the_indexes_are_behind() -> Test {
    let mut ends: BTreeMap<At, u32> = BTreeMap::new();
    for seed in seeds(20..28)? {
        let at_most = [1, 3, 10, 40][usize::try_from(seed % 4)?];
        let lag = match seed % 8 {
            0..4 => Lag::Behind(at_most),
            _ => Lag::Drawn { seed, at_most },
        };
        eprintln!("seed {seed}: {lag:?}");
        let simulation = simulate(seed, 500, seed % 2 == 0, lag).await?;
        for run in simulation.stage.machine.runs.values() {
            *ends.entry(run.at).or_default() += 1;
        }
    }
    eprintln!("runs by their end: {ends:?}");
    assert!(ends.contains_key(&At::Committed) && ends.contains_key(&At::Merged));
    Ok(())
}

/// Promise 5: whatever a resolver decides, nothing is lost, split or corrupted.
#[tokio::test]
async fn the_promises_hold_whatever_a_resolver_decides() -> Test {
    let mut ends: BTreeMap<At, u32> = BTreeMap::new();
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    for seed in seeds(0..8)? {
        eprintln!("seed {seed}");
        let simulation = simulate(seed, 600, true, Lag::None).await?;
        for run in simulation.stage.machine.runs.values() {
            *ends.entry(run.at).or_default() += 1;
        }
        crate::chaos::check_records(&simulation.stage, &mut outcomes).await?;
    }
    eprintln!("runs by their end: {ends:?}; outcomes: {outcomes:?}");
    assert!(ends.contains_key(&At::Committed));
    for seen in ["decided", "out_of_fuel", "invalid", "unavailable", "shadow"] {
        assert!(outcomes.contains_key(seen), "no {seen}: {outcomes:?}");
    }
    for seen in [
        "proceed",
        "defer",
        "reject",
        "supersede",
        "merge",
        "fell back",
    ] {
        assert!(outcomes.contains_key(seen), "no {seen}: {outcomes:?}");
    }
    Ok(())
}
