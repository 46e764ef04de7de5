#![allow(clippy::unwrap_used)]
use model::Limits;
use resolver::{Allocation, Host};
#[test]
fn fuel() {
    let host = Host::new(Allocation::OnDemand).unwrap();
    let limits = Limits {
        wall_ms: 2000,
        fuel: 2_000_000_000,
        ..Limits::DEFAULT
    };
    let dir = std::env::var("FX").unwrap_or("../../plugins/fixtures".into());
    for name in ["priority-deadline", "learned", "genetic"] {
        let l = host
            .load_component(&std::fs::read(format!("{dir}/{name}.wasm")).unwrap())
            .unwrap();
        for size in [2, 8, 32, 64, 128, 256] {
            let (mut most, mut sum, mut wall, mut tried) = (0, 0, 0, String::new());
            for seed in 0..40 {
                let c = host.call(&l, &policy::sample(seed, size), &limits);
                let Some(f) = c.fuel else {
                    println!("{:?}", c.outcome);
                    continue;
                };
                if f > most {
                    tried = c.decision.map(|d| d.reason).unwrap_or_default();
                }
                most = most.max(f);
                sum += f;
                wall += c.wall_us;
            }
            println!(
                "{name} {size}: max {:.2} M mean {:.2} M wall {} us | {tried}",
                most as f64 / 1e6,
                sum as f64 / 40e6,
                wall / 40
            );
        }
    }
}
