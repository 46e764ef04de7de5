//! What a decision costs, and what starting costs: `cargo run --release -p authz --example cost`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use authz::Policies;
use control::Principal;
use control::authority::{Action, Authority, Native, Resource};
use model::{CheckpointId, ServiceName};

const ROUNDS: u32 = 20_000;

fn each(authority: &dyn Authority, who: &Principal, service: &ServiceName) -> Duration {
    let id = CheckpointId::from_parts(7, &[7; 10]);
    let started = Instant::now();
    for _ in 0..ROUNDS {
        let on = Resource::Checkpoint { id, service };
        black_box(authority.allows(black_box(who), Action::ViewCheckpoint, on));
    }
    started.elapsed() / ROUNDS
}

fn main() {
    let started = Instant::now();
    let policies = Policies::built_in();
    println!("start: {:?}", started.elapsed());
    let names = |n: u32| (0..n).map(|n| format!("team/service-{n}").parse().unwrap());
    let last: ServiceName = "team/service-0".parse().unwrap();
    for n in [1, 8, 256] {
        let who = Principal::Services(names(n).collect()).named("ci");
        println!(
            "{n} services: {:?} by policies, {:?} natively",
            each(&policies, &who, &last),
            each(&Native, &who, &last)
        );
    }
    println!(
        "operator: {:?}",
        each(&policies, &Principal::Operator, &last)
    );
}
