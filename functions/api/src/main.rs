//! `api`, behind the HTTP API's `/graphql`, `/resolvers/components`, `/v1/restores` and
//! `/healthz`. Requests: `events/api`.

use std::path::Path;
use std::sync::Arc;

use api::RunHistory;
use async_trait::async_trait;
use authz::{Policies, Setting};
use aws::{Connection, KmsSigner, ResolverBucket, S3Resolvers, SqsBell, StepFunctions};
use lambda::{Basis, Environment, Function};
use model::{Refusal, RunId};
use serde_json::Value;

struct Runs(StepFunctions);

#[async_trait]
impl RunHistory for Runs {
    async fn history(&self, run: &RunId) -> Result<Vec<Value>, Refusal> {
        self.0.history(run).await
    }
}

/// The policies that `TAPEMARK_POLICIES` names, as `s3://bucket/key` or a path; the built-in
/// ones where it names none.
async fn policies(
    environment: &Environment,
    connection: &Connection,
) -> Result<Policies, lambda_runtime::Error> {
    let Some(setting) = environment.get("TAPEMARK_POLICIES") else {
        return Ok(Policies::built_in());
    };
    let setting: Setting = setting.parse()?;
    let located = setting.place.strip_prefix("s3://");
    let text = match located.and_then(|place| place.split_once('/')) {
        None => std::fs::read_to_string(&setting.place)?,
        Some((bucket, key)) => {
            let request = connection.s3().await.get_object().bucket(bucket).key(key);
            let body = request.send().await?.body.collect().await?;
            String::from_utf8(body.to_vec())?
        }
    };
    Ok(setting.policies(&text)?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let environment = Environment::of_process();
    let started = lambda::start(&environment)?;
    let basis = Basis::new(environment).await?;
    let (environment, connection) = (&basis.environment, &basis.connection);
    let bell = SqsBell::connect(connection, environment.bell_queue()?).await;
    let machine = StepFunctions::connect(connection, environment.state_machine()?).await;
    let signer = KmsSigner::connect(connection, environment.resolver_key()?).await;
    let bucket = ResolverBucket::connect(connection, environment.resolvers_bucket()?).await;
    let resolvers = S3Resolvers::new(bucket, Arc::new(signer), Path::new("/tmp"))?
        .with_compiler(connection.lambda().await, environment.compile_function()?);
    let library = environment.library()?;
    let policies = policies(environment, connection).await?;
    let control = basis
        .control(Arc::new(bell), Arc::new(resolvers))
        .with_authority(Arc::new(policies));
    let runs = Arc::new(Runs(machine));
    let function = api_function::function(Function::new("api"), control, runs, library);
    lambda::http::serve(started, function).await
}
