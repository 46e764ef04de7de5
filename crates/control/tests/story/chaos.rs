//! A resolver that decides at random: anything that keeps the invariants, and now and then
//! something that does not, or nothing at all. A pure function of the set and a seed, as
//! every resolver is.

use std::collections::BTreeMap;

use model::{
    Action, CallOutcome, Code, ConflictSet, Contender, Decision, Fallback, GroupId, Refusal,
    Verdict,
};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::{OPERATOR, Stage, Test};

const POOL: &str = "pool:main";

/// Binds the resolver, and another one as its shadow.
pub(crate) async fn bind(stage: &Stage, seed: u64) -> Test {
    let fallbacks = [Fallback::BuiltIn, Fallback::Defer, Fallback::Reject];
    let mut pool = stage.control.pool(&OPERATOR, &"main".parse()?).await?;
    pool.fallback = fallbacks[usize::try_from(seed % 3)?];
    stage.control.put_pool(&OPERATOR, pool).await?;
    stage
        .world
        .bind(POOL, "chaos", move |set| decide(set, seed))
        .await?;
    stage
        .world
        .bind("service:a", "more-chaos", move |set| {
            decide(set, seed + 100)
        })
        .await?;
    stage
        .control
        .shadow_resolver(&OPERATOR, POOL.parse()?, "more-chaos", None, 50, None)
        .await?;
    Ok(())
}

/// An operator lets the resolvers out of quarantine.
pub(crate) async fn repair(stage: &Stage) -> Test {
    for (scope, name) in [(POOL, "chaos"), ("service:a", "more-chaos")] {
        let scope = scope.parse()?;
        stage
            .control
            .bind_resolver(&OPERATOR, scope, name, None)
            .await?;
    }
    Ok(())
}

/// What operators do meanwhile. A fault that was asked for may hit them.
pub(crate) async fn meddle(stage: &Stage, random: &mut ChaCha8Rng) {
    let scope = POOL.parse().unwrap();
    let control = &stage.control;
    let _ = match random.random_range(0..4) {
        0 => control.rollback_resolver(&OPERATOR, scope).await,
        1 => control.promote_resolver(&OPERATOR, scope).await,
        2 => {
            let name = "more-chaos";
            let shadowed = control.shadow_resolver(&OPERATOR, scope, name, None, 50, None);
            shadowed.await
        }
        _ => control.bind_resolver(&OPERATOR, scope, "chaos", None).await,
    };
}

fn random_of(set: &ConflictSet, seed: u64) -> ChaCha8Rng {
    let digest = policy::digest(policy::canonical_set(set));
    let mut from = digest.0;
    from[0] ^= seed.to_le_bytes()[0];
    ChaCha8Rng::from_seed(from)
}

fn decide(set: &ConflictSet, seed: u64) -> Result<Decision, CallOutcome> {
    let mut random = random_of(set, seed);
    match random.random_range(0..12) {
        // So often that now and then one is put into quarantine.
        0 | 1 => return Err(CallOutcome::OutOfFuel),
        // Hardly ever valid, and said to be.
        2 => return Ok(anything(set, &mut random)),
        _ => {}
    }
    for _ in 0..100 {
        let decision = anything(set, &mut random);
        if policy::check_decision(set, &decision).is_ok() {
            return Ok(decision);
        }
    }
    Ok(policy::priority_deadline(set))
}

fn anything(set: &ConflictSet, random: &mut ChaCha8Rng) -> Decision {
    let mut groups: BTreeMap<GroupId, Vec<&Contender>> = BTreeMap::new();
    for c in &set.contenders {
        groups.entry(c.group).or_default().push(c);
    }
    let mut verdicts = Vec::new();
    for (group, members) in groups {
        let order = random.random_range(0..1 << 53);
        let until = set.now + jiff::SignedDuration::from_secs(random.random_range(1..120));
        let kind = if policy::is_settled(set, group) {
            0
        } else {
            random.random_range(0..10)
        };
        for c in members {
            let mut one_of = |fits: &dyn Fn(&Contender) -> bool| {
                let others: Vec<_> = set.contenders.iter().filter(|o| fits(o)).collect();
                others.choose(random).map(|o| o.id)
            };
            let of_lineage = |o: &Contender| o.group != c.group && policy::same_lineage(o, c);
            let action = match kind {
                0..4 => Action::Proceed { order },
                4 => Action::Defer { until },
                5 => Action::Reject {
                    refusal: Refusal::new(Code::PolicyRefused, "at random"),
                },
                6 | 7 => match one_of(&|o| of_lineage(o) && policy::age(o) > policy::age(c)) {
                    Some(by) => Action::Supersede { by },
                    None => Action::Proceed { order },
                },
                _ => match one_of(&|o| of_lineage(o) && o.content == c.content) {
                    Some(into) => Action::Merge { into },
                    None => Action::Proceed { order },
                },
            };
            verdicts.push(Verdict {
                id: c.id,
                action,
                reason: "at random".to_owned(),
            });
        }
    }
    Decision {
        verdicts,
        reason: String::new(),
    }
}

/// Every record tells what its resolver decides on its input, and what was decided in the
/// end keeps the invariants.
pub(crate) async fn check_records(stage: &Stage, seen: &mut BTreeMap<String, u32>) -> Test {
    stage.control.run_shadows().await;
    let mut count = |what: &str| *seen.entry(what.to_owned()).or_default() += 1;
    let mut after = None;
    loop {
        let (page, next) = stage.control.decisions(&OPERATOR, 200, after).await?;
        for record in page {
            let (_, input) = stage.control.decision(&OPERATOR, record.id).await?;
            let set: ConflictSet = serde_json::from_str(&input)?;
            policy::check_decision(&set, &record.decision)?;
            count(record.call.outcome.name());
            if record.fallback.is_some() {
                count("fell back");
            } else {
                assert_eq!(record.call.decision.as_ref(), Some(&record.decision));
            }
            if let Some(shadow) = &record.shadow {
                count("shadow");
                if let (Some(said), CallOutcome::Decided) =
                    (&shadow.call.decision, &shadow.call.outcome)
                {
                    policy::check_decision(&set, said)?;
                    let differs = !policy::same_actions(said, &record.decision);
                    assert_eq!(shadow.differs, differs);
                }
            }
            for verdict in &record.decision.verdicts {
                count(verdict.action.name());
            }
        }
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}
