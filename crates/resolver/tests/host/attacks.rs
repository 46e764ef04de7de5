//! Every row of the attack table, contained within its limit.

use model::{CallOutcome, Limits};

use crate::{host, hostile, provoke, set};

#[test]
fn a_good_resolver_decides() {
    let call = provoke("main");
    assert_eq!(call.outcome, CallOutcome::Decided);
    let native = policy::priority_deadline(&set("main"));
    assert!(policy::same_actions(&call.decision.unwrap(), &native));
    assert!(call.fuel.unwrap() > 1_000);
    assert_eq!(call.engine, host().engine_id());
}

#[test]
fn a_resolver_says_what_it_is() {
    let info = host().describe(hostile(), &Limits::DEFAULT).unwrap();
    assert_eq!((&*info.name, &*info.version), ("hostile", "1.0.0"));
}
