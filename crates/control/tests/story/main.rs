//! Stories of the control plane over the ports in memory: a hand-rolled interpreter
//! takes runs through the phases in the order of the state machine, a fake agent keeps
//! tapes as lists of placements.

mod agent;
mod conflicts;
mod faults;
mod limits;
mod machine;
mod requests;
mod simulation;
mod spine;
mod states;

use std::error::Error;

type Test = Result<(), Box<dyn Error>>;
