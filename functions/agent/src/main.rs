//! `agent`, behind `POST /agent/v1/{proxy+}` of the HTTP API. Requests: `events/agent`.

use std::sync::Arc;

use aws::SqsBell;
use control::ports::NoResolvers;
use lambda::{Basis, Environment, Function};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let environment = Environment::of_process();
    let started = lambda::start(&environment)?;
    let basis = Basis::new(environment).await?;
    let queue = basis.environment.bell_queue()?;
    let bell = SqsBell::connect(&basis.connection, queue).await;
    let control = basis.control(Arc::new(bell), Arc::new(NoResolvers));
    let function = agent_function::function(Function::new("agent"), control);
    lambda::http::serve(started, function).await
}
