//! `compile`, asked by `api` when a resolver is published: native code for both
//! architectures of a component that lies in the resolvers' bucket, and a signed record of
//! it. The only function that links a compiler. Events: `events/compile`.

use aws::{Connection, KmsSigner, ResolverBucket};
use compile_function::compile;
use lambda::{Environment, Function};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let environment = Environment::of_process();
    let started = lambda::start(&environment)?;
    let connection = Connection::default();
    let bucket = ResolverBucket::connect(&connection, environment.resolvers_bucket()?).await;
    let signer = KmsSigner::connect(&connection, environment.resolver_key()?).await;
    let function = Function::new("compile");
    // Boxed: the future of an upload within it is too deep for the compiler's layout.
    lambda::serve(started, |event| {
        Box::pin(compile(&function, &bucket, &signer, event))
    })
    .await
}
