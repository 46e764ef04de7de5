//! Conflict resolvers: what an author does, and what an operator does.
//!
//! One file a subcommand: `resolver/NAME.rs` holds its arguments and carries it out. What
//! needs no stack takes no [`Client`].

mod bench;
mod bind;
mod build;
pub(crate) mod decisions;
mod inspect;
mod list;
mod local;
mod new;
mod publish;
mod replay;
mod shadow;
mod test;
mod train;
mod types;

use clap::Subcommand;

use crate::client::Client;
use crate::compiler;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::out::Out;

/// What `tapemark resolver` is told.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum ResolverCommand {
    /// Begin a project in Rust, JavaScript, Python or C
    New(new::NewArgs),
    /// Build a project into a component, and inspect it
    Build(build::BuildArgs),
    /// Say what a component is: imports, exports, size, limits, digest
    Inspect(inspect::InspectArgs),
    /// Run the conformance kit and golden cases against a component
    Test(test::TestArgs),
    /// Write records of sampled conflicts, to try things with
    Sample(replay::SampleArgs),
    /// Decide recorded conflicts again, and say what would have changed
    Replay(replay::ReplayArgs),
    /// Learn weights for the `learned` resolver from decision records
    Train(train::TrainArgs),
    /// Measure how long a component takes, and what it uses
    Bench(bench::BenchArgs),
    /// Test a component here, and publish it under a name and a version
    Publish(publish::PublishArgs),
    /// Have a published resolver decide for a service, a pool or a library
    Bind(bind::BindArgs),
    /// Have nothing decide for a scope: the next wider binding does
    Unbind(bind::ScopeArgs),
    /// Run a release beside the live one without effect, or say how that went so far
    Shadow(shadow::ShadowArgs),
    /// End the shadow of a scope
    Unshadow(bind::ScopeArgs),
    /// Make the shadow of a scope its live resolver
    Promote(bind::ScopeArgs),
    /// Go back to the live resolver before the last bind or promote
    Rollback(bind::ScopeArgs),
    /// Let nobody bind a release from now on; refused while it is bound
    Withdraw(bind::WithdrawArgs),
    /// List what is published, what decides where, and how well that goes
    List,
    /// List what was decided, newest first
    Decisions(decisions::DecisionsArgs),
    /// Explain one decision: every request, its action and reason, and who decided
    Decision(decisions::DecisionArgs),
    /// Write decisions with their inputs into a file for replay and train
    Record(decisions::RecordArgs),
    /// Compile a component under limits: what the stack starts this program for
    #[command(hide = true, name = compiler::SUBCOMMAND)]
    CompileComponent {
        /// For which architecture
        arch: String,
    },
}

/// Carries out `tapemark resolver`.
///
/// # Errors
/// As the subcommand says; [`Failure::Unreachable`] where it needs a stack and none is known.
pub(crate) async fn resolver(
    out: &Out,
    connection: &ConnectionArgs,
    command: ResolverCommand,
) -> Result<(), Failure> {
    use ResolverCommand as C;
    let client = || Client::new(connection.find()?);
    match command {
        C::New(args) => new::new(out, &args),
        C::Build(args) => build::build(out, &args),
        C::Inspect(args) => inspect::inspect(out, &args),
        C::Test(args) => test::test(out, &args),
        C::Sample(args) => replay::sample(out, &args),
        C::Replay(args) => replay::replay(out, &args),
        C::Train(args) => train::train(out, &args),
        C::Bench(args) => bench::bench(out, &args),
        C::CompileComponent { arch } => compiler::compile(&arch),
        C::Publish(args) => publish::publish(out, &client()?, args).await,
        C::Bind(args) => bind::bind(out, &client()?, args).await,
        C::Unbind(args) => bind::unbind(out, &client()?, &args.scope).await,
        C::Shadow(args) => shadow::shadow(out, &client()?, args).await,
        C::Unshadow(args) => bind::change(out, &client()?, "unshadowResolver", &args.scope).await,
        C::Promote(args) => bind::change(out, &client()?, "promoteResolver", &args.scope).await,
        C::Rollback(args) => bind::change(out, &client()?, "rollbackResolver", &args.scope).await,
        C::Withdraw(args) => bind::withdraw(out, &client()?, args).await,
        C::List => list::list(out, &client()?).await,
        C::Decisions(args) => decisions::decisions(out, &client()?, args).await,
        C::Decision(args) => decisions::decision(out, &client()?, args).await,
        C::Record(args) => decisions::record(out, &client()?, args).await,
    }
}
