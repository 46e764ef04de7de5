//! Conflict resolvers: what an author does, and what an operator does.
//!
//! One file a subcommand: `resolver/NAME.rs` holds its arguments and carries it out. What
//! needs no stack takes no [`Client`].

mod bind;
pub(crate) mod decisions;
mod list;
mod shadow;
mod types;

use clap::Subcommand;

use crate::client::Client;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::out::Out;

/// What `tapemark resolver` is told.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum ResolverCommand {
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
