//! `execute`, a task of `infra/state-machine/checkpoint.asl.json`. Payloads: `events/execute`.

use std::sync::Arc;

use aws::SqsBell;
use control::Phase;
use control::ports::NoResolvers;
use lambda::{Basis, Environment, Function, PhaseFunction};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let environment = Environment::of_process();
    let started = lambda::start(&environment)?;
    let basis = Basis::new(environment).await?;
    let queue = basis.environment.bell_queue()?;
    let bell = SqsBell::connect(&basis.connection, queue).await;
    let control = basis.control(Arc::new(bell), Arc::new(NoResolvers));
    let phase = PhaseFunction::new(Function::new("execute"), control, Phase::Execute);
    lambda::serve(started, async |event| phase.handle(event).await).await
}
