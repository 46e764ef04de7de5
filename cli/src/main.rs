//! The `tapemark` command: submit, restore, operate; also runs the embedded stack.
//!
//! It speaks to a stack through its API only. Data goes to standard output, progress and
//! reasons to standard error, and the exit code says how it went.

mod agent;
mod args;
mod client;
mod command;
mod compiler;
mod connection;
mod demo;
mod failure;
mod logging;
mod out;
mod restore;
mod submit;
mod up;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use client::Client;
use failure::{Failure, exit};
use out::Out;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Out::new(cli.json, cli.quiet);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&out, &error.into()),
    };
    match runtime.block_on(run(&out, cli)) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(failure) => fail(&out, &failure),
    }
}

fn fail(out: &Out, failure: &Failure) -> ExitCode {
    let text = failure.render(out.json, out.error_style);
    // Where standard error is gone, the exit code still says it.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(failure.exit_code())
}

async fn run(out: &Out, cli: Cli) -> Result<(), Failure> {
    let connection = &cli.connection;
    let client = || Client::new(connection.find()?);
    logging::start(&cli.command);
    match cli.command {
        Command::Demo(args) => demo::demo(out, args).await,
        Command::Up(args) => up::up(out, connection.data_dir(), args).await,
        Command::Submit(args) => submit::submit(out, &client()?, args).await,
        Command::Status(args) => command::checkpoint::status(out, &client()?, args).await,
        Command::List(args) => command::checkpoint::list(out, &client()?, args).await,
        Command::Restore(args) => restore::restore(out, &client()?, args).await,
        Command::Verify(args) => command::checkpoint::verify(out, &client()?, args).await,
        Command::Cancel { id } => command::checkpoint::cancel(out, &client()?, &id).await,
        Command::Decide { id, decision } => {
            command::checkpoint::decide(out, &client()?, &id, decision).await
        }
        Command::Group(command) => command::checkpoint::group(out, &client()?, command).await,
        Command::Run(command) => command::checkpoint::run(out, &client()?, command).await,
        Command::Service(command) => command::service::service(out, &client()?, command).await,
        Command::Volume(command) => command::library::volume(out, &client()?, command).await,
        Command::Drive(command) => command::library::drive(out, &client()?, command).await,
        Command::Pool(command) => command::library::pool(out, &client()?, command).await,
        Command::Resolver(command) => command::resolver::resolver(out, connection, command).await,
        Command::Ledger(command) => command::ledger::ledger(out, &client()?, command).await,
        Command::Token(command) => command::installation::token(out, &client()?, command).await,
        Command::Agent(args) => agent::agent(out, connection, args).await,
        Command::Asl(command) => command::asl::asl(out, command),
        Command::Completions { shell } => command::installation::completions(out, shell),
        Command::Man => command::installation::man(out),
    }
}
