//! The same as `decide_once` without the host: the native policy decides. By how much
//! the other one is larger is what the host costs a function.

use std::error::Error;
use std::io::{stdin, stdout};

use model::ConflictSet;

fn main() -> Result<(), Box<dyn Error>> {
    let set: ConflictSet = serde_json::from_reader(stdin().lock())?;
    let decision = policy::priority_deadline(&set);
    policy::check_decision(&set, &decision)?;
    let digest = policy::digest(policy::canonical_set(&set));
    let output = policy::digest(policy::canonical_decision(&decision));
    serde_json::to_writer(stdout().lock(), &(digest, output, decision))?;
    Ok(())
}
