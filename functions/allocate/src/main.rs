//! `allocate`, a task of `infra/state-machine/checkpoint.asl.json`. Payloads:
//! `events/allocate`. The only phase that calls resolvers.

use std::path::Path;
use std::sync::Arc;

use aws::{KmsSigner, ResolverBucket, S3Resolvers};
use control::Phase;
use lambda::{Basis, Environment, Function, NoBell, PhaseFunction};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let environment = Environment::of_process();
    let started = lambda::start(&environment)?;
    let basis = Basis::new(environment).await?;
    let key = basis.environment.resolver_key()?;
    let bucket = basis.environment.resolvers_bucket()?;
    let signer = Arc::new(KmsSigner::connect(&basis.connection, key).await);
    let bucket = ResolverBucket::connect(&basis.connection, bucket).await;
    let resolvers = S3Resolvers::new(bucket, signer, Path::new("/tmp"))?;
    let control = basis.control(Arc::new(NoBell), Arc::new(resolvers));
    let phase = PhaseFunction::new(Function::new("allocate"), control, Phase::Allocate);
    lambda::serve(started, async |event| phase.handle(event).await).await
}
