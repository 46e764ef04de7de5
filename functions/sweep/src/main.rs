//! `sweep`, on a schedule. Events: `events/sweep`.

use std::sync::Arc;

use async_trait::async_trait;
use aws::{SqsBell, StepFunctions, Told};
use control::Effect;
use control::ports::NoResolvers;
use lambda::{Basis, Environment, Function};
use model::Refusal;
use sweep_function::{Machine, sweep};

struct States(StepFunctions);

#[async_trait]
impl Machine for States {
    async fn tell(&self, effect: Effect) -> Result<bool, Refusal> {
        match self.0.tell(effect).await? {
            Told::Never(refusal) => {
                tracing::error!(%refusal, "an effect can never be told");
                Ok(false)
            }
            Told::Taken | Told::Known | Told::Over => Ok(true),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let environment = Environment::of_process();
    let started = lambda::start(&environment)?;
    let basis = Basis::new(environment).await?;
    let queue = basis.environment.bell_queue()?;
    let machine = basis.environment.state_machine()?;
    let bell = SqsBell::connect(&basis.connection, queue).await;
    let machine = States(StepFunctions::connect(&basis.connection, machine).await);
    let control = basis.control(Arc::new(bell), Arc::new(NoResolvers));
    let function = Function::new("sweep");
    lambda::serve(started, async |event| {
        sweep(&function, &control, &machine, event).await
    })
    .await
}
