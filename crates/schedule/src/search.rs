//! A genetic search for a cheaper order: a population of plans, bred from the standard one
//! and a few rules known to be good, under a bound on work that a component's fuel holds.

use crate::cost::{Claim, Job, Outcome, work};
use crate::{Cost, Plan, Problem, Random};

/// Steps of evaluation (see [`Outcome::steps`]) that a search may take. Measured as a
/// component: up to 120 fuel a step, so that 256 requests stay below half of the default
/// fuel of 100 million.
const STEPS: u64 = 250_000;

/// The most evaluations: small sets are searched through long before.
const EVALUATIONS: u32 = 1_000;

/// Plans kept at a time.
const POPULATION: usize = 16;

/// Children in a row that did not better the population, after which it is given up.
const BARREN: u32 = 300;

/// The best plan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The plan: the standard one where none was cheaper in lateness or mounts.
    pub plan: Plan,
    /// What it costs.
    pub cost: Cost,
    /// What the standard plan costs.
    pub standard: Cost,
    /// How many plans were evaluated.
    pub evaluated: u32,
}

/// Looks for a cheaper plan. Never returns one that costs more than the standard plan, and
/// returns exactly that one where neither lateness nor mounts can be bettered: who changes
/// an order must gain by it.
pub fn search(problem: &Problem, seed: u64) -> Found {
    let standard = Plan::standard(problem);
    let outcome = problem.evaluate(&standard);
    let cost = outcome.cost;
    let mut found = Found {
        plan: standard.clone(),
        cost,
        standard: cost,
        evaluated: 1,
    };
    if standard.line.len() < 2 || (cost.tardiness == 0 && cost.mounts == 0) {
        return found;
    }
    let mut pool = Pool {
        problem,
        plans: Vec::with_capacity(POPULATION),
        steps: 0,
        evaluated: 0,
        riders: (0..problem.jobs.len())
            .filter(|job| !problem.jobs[*job].hosts.is_empty())
            .collect(),
    };
    pool.admit(outcome, standard.clone());
    for line in rules(problem, &standard.line) {
        pool.consider(Plan {
            line,
            rides: standard.rides.clone(),
        });
    }
    pool.breed(&mut Random::new(seed));
    let (best, plan) = pool.plans.swap_remove(0);
    found.evaluated = pool.evaluated;
    if (best.tardiness, best.mounts) < (cost.tardiness, cost.mounts) {
        (found.plan, found.cost) = (plan, best);
    }
    found
}

/// Plans, cheapest first, no two of the same cost.
struct Pool<'a> {
    problem: &'a Problem,
    plans: Vec<(Cost, Plan)>,
    steps: u64,
    evaluated: u32,
    riders: Vec<usize>,
}

impl Pool<'_> {
    /// Evaluates a plan and keeps it if it is among the best. True where it is kept.
    fn consider(&mut self, plan: Plan) -> bool {
        let outcome = self.problem.evaluate(&plan);
        self.admit(outcome, plan)
    }

    fn admit(&mut self, outcome: Outcome, plan: Plan) -> bool {
        self.steps += outcome.steps;
        self.evaluated += 1;
        match self
            .plans
            .binary_search_by(|(cost, _)| cost.cmp(&outcome.cost))
        {
            Err(at) if at < POPULATION => {
                self.plans.truncate(POPULATION - 1);
                self.plans.insert(at, (outcome.cost, plan));
                true
            }
            _ => false,
        }
    }

    fn breed(&mut self, random: &mut Random) {
        let jobs = self.problem.jobs.len() as u32;
        // Two jobs have two orders: no need to try three hundred.
        let most = BARREN.min(8 * jobs * jobs);
        let mut barren = 0;
        while self.steps < STEPS && self.evaluated < EVALUATIONS && barren < most {
            let best = self.plans[0].0;
            if best.tardiness == 0 && best.mounts == 0 {
                return;
            }
            let mut child = self.parent(random).clone();
            if random.below(3) == 0 {
                child.line = crossed(&child.line, &self.parent(random).line, random);
            }
            for _ in 0..=random.below(2) {
                self.mutate(&mut child, random);
            }
            barren = if self.consider(child) { 0 } else { barren + 1 };
        }
    }

    /// The better of two drawn at random: the cheap are parents more often.
    fn parent(&self, random: &mut Random) -> &Plan {
        let n = self.plans.len();
        &self.plans[random.below(n).min(random.below(n))].1
    }

    fn mutate(&self, plan: &mut Plan, random: &mut Random) {
        let n = plan.line.len();
        match random.below(8) {
            // Who rides is written itself, or the other way round.
            0 if !self.riders.is_empty() => {
                let rider = self.riders[random.below(self.riders.len())];
                plan.rides[rider] = !plan.rides[rider];
            }
            0..4 => {
                let (a, b) = (random.below(n), random.below(n));
                plan.line.swap(a, b);
            }
            _ => {
                let job = plan.line.remove(random.below(n));
                plan.line.insert(random.below(n), job);
            }
        }
    }
}

/// Order crossover (Davis 1985): a stretch of one parent stays in its place, the others
/// follow in the order of the other parent.
fn crossed(one: &[usize], other: &[usize], random: &mut Random) -> Vec<usize> {
    let (a, b) = (random.below(one.len()), random.below(one.len()));
    let stretch = a.min(b)..a.max(b) + 1;
    let most = one.iter().max().map_or(0, |most| most + 1);
    let mut kept = vec![false; most];
    for job in &one[stretch.clone()] {
        kept[*job] = true;
    }
    let mut others = other.iter().filter(|job| !kept[**job]);
    let mut child = Vec::with_capacity(one.len());
    child.extend(others.by_ref().take(stretch.start));
    child.extend_from_slice(&one[stretch]);
    child.extend(others);
    child
}

/// Orders by rules known from the literature on weighted tardiness: earliest deadline,
/// weight by work, and apparent tardiness cost (Vepsalainen, Morton 1987) with a short and
/// a long view.
fn rules(problem: &Problem, standard: &[usize]) -> Vec<Vec<usize>> {
    let facts: Vec<_> = problem.jobs.iter().map(Facts::of).collect();
    let by = |key: &dyn Fn(&Facts) -> u64| {
        let mut line = standard.to_vec();
        line.sort_by_key(|job| key(&facts[*job]));
        line
    };
    let mean = standard
        .iter()
        .fold(0_u64, |sum, job| sum.saturating_add(facts[*job].work))
        / standard.len().max(1) as u64;
    vec![
        by(&|facts| facts.due),
        by(&|facts| u64::MAX - facts.value()),
        by_apparent_cost(&facts, standard, mean / 2 + 1),
        by_apparent_cost(&facts, standard, mean * 3 + 1),
    ]
}

/// What rules look at.
struct Facts {
    work: u64,
    weight: u64,
    due: u64,
}

impl Facts {
    fn of(job: &Job) -> Self {
        let claims = || job.claims.iter().filter(|claim| claim.due.is_some());
        Self {
            work: work(job).max(1),
            weight: claims().map(|claim: &Claim| u64::from(claim.weight)).sum(),
            due: claims().filter_map(|c| c.due).min().unwrap_or(u64::MAX),
        }
    }

    /// Weight by work, with twenty bits behind the point: weights are below 2^17, so that
    /// this stays below 2^40 and can be multiplied once more.
    fn value(&self) -> u64 {
        (self.weight << 20) / self.work
    }
}

/// One after the other who has the most weight by work, less the more time is left: with
/// `view / (view + slack)` for the exponential function of the original, which integers do
/// not have.
fn by_apparent_cost(facts: &[Facts], standard: &[usize], view: u64) -> Vec<usize> {
    let view = view.min(1 << 23);
    let mut left = standard.to_vec();
    let mut line = Vec::with_capacity(left.len());
    let mut now = 0_u64;
    while !left.is_empty() {
        let mut best = (0, 0);
        for (at, job) in left.iter().enumerate() {
            let facts = &facts[*job];
            let slack = facts.due.saturating_sub(now.saturating_add(facts.work));
            let value = facts.value().saturating_mul(view) / view.saturating_add(slack);
            if at == 0 || value > best.0 {
                best = (value, at);
            }
        }
        let job = left.remove(best.1);
        now = now.saturating_add(facts[job].work);
        line.push(job);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Volume, weight};

    const GB: u64 = 1_000_000_000;

    /// A set of `n` jobs over two or three volumes, drawn from a seed.
    fn drawn(n: usize, seed: u64) -> Problem {
        let mut random = Random::new(seed);
        let jobs = (0..n)
            .map(|job| {
                let due = (random.below(3) > 0).then(|| random.below(4_000_000) as u64);
                let hosts = if job > 0 && random.below(6) == 0 {
                    vec![0]
                } else {
                    Vec::new()
                };
                Job {
                    bytes: random.below(40) as u64 * GB + random.below(1 << 29) as u64,
                    claims: vec![Claim {
                        weight: weight(random.below(10) as u8),
                        due,
                    }],
                    settled: false,
                    hosts,
                }
            })
            .collect();
        Problem {
            jobs,
            volumes: (0..2 + random.below(2))
                .map(|_| Volume {
                    free: random.below(2_000) as u64 * GB,
                    begun: random.below(2) == 0,
                })
                .collect(),
            drives: vec![Some(0), None],
        }
    }

    #[test]
    fn what_is_found_is_never_worse_and_is_what_it_says() {
        for seed in 0..300 {
            let problem = drawn(seed as usize % 40, seed);
            let found = search(&problem, seed);
            let outcome = problem.evaluate(&found.plan);
            assert_eq!(outcome.cost, found.cost, "seed {seed}");
            assert!(found.cost <= found.standard, "seed {seed}");
            let mut jobs = found.plan.line.clone();
            jobs.sort_unstable();
            assert_eq!(jobs, (0..problem.jobs.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_same_seed_finds_the_same() {
        let problem = drawn(32, 5);
        assert_eq!(search(&problem, 5), search(&problem, 5));
    }

    #[test]
    fn seven_jobs_are_ordered_as_well_as_trying_all_orders() {
        for seed in 0..20 {
            let mut problem = drawn(7, seed);
            for job in &mut problem.jobs {
                job.hosts.clear();
            }
            let standard = Plan::standard(&problem);
            let mut best = problem.evaluate(&standard).cost.tardiness;
            let mut line = standard.line.clone();
            permute(&mut line, 0, &mut |line| {
                let plan = Plan {
                    line: line.to_vec(),
                    rides: standard.rides.clone(),
                };
                best = best.min(problem.evaluate(&plan).cost.tardiness);
            });
            assert_eq!(search(&problem, seed).cost.tardiness, best, "seed {seed}");
        }
    }

    fn permute(line: &mut [usize], from: usize, visit: &mut impl FnMut(&[usize])) {
        if from == line.len() {
            return visit(line);
        }
        for at in from..line.len() {
            line.swap(from, at);
            permute(line, from + 1, visit);
            line.swap(from, at);
        }
    }

    #[test]
    fn where_nothing_is_late_and_nothing_mounted_the_order_stays() {
        let mut problem = drawn(9, 3);
        for job in &mut problem.jobs {
            job.claims[0].due = None;
            job.bytes = GB;
        }
        problem.volumes[0].free = 100 * GB;
        problem.drives = vec![Some(0)];
        let found = search(&problem, 1);
        assert_eq!(found.plan, Plan::standard(&problem));
        assert_eq!(found.evaluated, 1);
    }

    #[test]
    fn a_large_set_stays_within_its_bound_on_steps() {
        let problem = drawn(256, 9);
        let found = search(&problem, 9);
        let each = problem.evaluate(&found.plan).steps;
        assert!(u64::from(found.evaluated) * each < STEPS * 3 / 2);
        assert!(found.cost < found.standard);
    }

    #[test]
    fn a_crossing_keeps_each_job_once() {
        let mut random = Random::new(3);
        for _ in 0..200 {
            let child = crossed(&[4, 2, 0, 3, 1], &[0, 1, 2, 3, 4], &mut random);
            let mut sorted = child;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
    }
}
