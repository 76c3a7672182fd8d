#![doc = include_str!("../README.md")]

mod args;
mod commands;
mod confirm;
mod connect;
mod failure;
mod interrupt;
mod locate;
mod output;
mod progress;
mod text;
mod times;
#[cfg(feature = "tui")]
mod top;

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, IsTerminal},
    path::Path,
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser};
use tracing_subscriber::filter::LevelFilter;
use verk_core::{VerkBuilder, manage::Admin};

use crate::{
    args::{Cli, Color, Standalone},
    commands::Session,
    connect::Connection,
    failure::{Exit, Failure},
    output::Output,
};

/// Runs the command of this process's arguments with the storage, workers and settings of
/// `builder`, and returns the exit code. It runs no queue.
///
/// The first argument may be `verk`: so that a program with a command line of its own can call this
/// if [`is_called`] says so.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// # fn builder() -> verk_core::VerkBuilder { verk_core::Verk::builder() }
/// #[tokio::main]
/// async fn main() -> ExitCode {
///     let builder = builder(); // as for the workers: storage, state, queues
///     if verk_cli::is_called() {
///         return verk_cli::run(builder).await;
///     }
///     // ... run the queues
///     ExitCode::SUCCESS
/// }
/// ```
pub async fn run(builder: VerkBuilder) -> ExitCode {
    let mut arguments: Vec<OsString> = env::args_os().collect();
    if is_called() {
        arguments.remove(1);
    }
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    log(&cli);
    let mut output = Output::of_process(&cli.shared);
    let result = match connect::node_free(builder).await {
        Ok(verk) => {
            let result = execute(&cli, &verk.admin(), None, &mut output).await;
            verk.shutdown().await;
            result
        }
        Err(failure) => Err(failure),
    };
    ExitCode::from(output.end(result))
}

/// Whether the first argument of this process is `verk`.
#[must_use]
pub fn is_called() -> bool {
    env::args_os().nth(1).is_some_and(|first| first == "verk")
}

/// Runs the command of this process's arguments, as the binary `verk` does: with the storage that
/// the options, the environment and a file name. It knows no workers.
pub async fn standalone() -> ExitCode {
    let Standalone { connection, cli } = match Standalone::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    log(&cli);
    let mut output = Output::of_process(&cli.shared);
    let result = async {
        if let Some(result) =
            commands::without_storage(&cli.command, Some(&connection), &mut output)
        {
            return result;
        }
        let verk = connection.connect().await?;
        let result = execute(&cli, &verk.admin(), Some(&connection), &mut output).await;
        verk.shutdown().await;
        result
    };
    let result = result.await;
    ExitCode::from(output.end(result))
}

/// The arguments of a program whose storage is fixed: without the options of the connection.
fn parse(arguments: Vec<OsString>) -> Result<Cli, ExitCode> {
    let name = arguments.first().cloned().unwrap_or_default();
    let name = Path::new(&name)
        .file_name()
        .unwrap_or_else(|| OsStr::new("verk"));
    let name = name.to_string_lossy().into_owned();
    let called = if is_called() { " verk" } else { "" };
    let command = Cli::command().bin_name(format!("{name}{called}"));
    let parsed = command.try_get_matches_from(arguments);
    let cli = parsed.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    cli.map_err(|error| usage(&error))
}

/// Prints what clap says: help, the version, or what is wrong with the arguments.
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody reads it if this fails.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::USAGE))
}

/// Warnings of verk, on stderr.
fn log(cli: &Cli) {
    let level = if cli.shared.verbose {
        LevelFilter::DEBUG
    } else {
        LevelFilter::WARN
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(cli.shared.color != Color::Never && io::stderr().is_terminal())
        .with_target(false);
    #[cfg(feature = "tui")]
    if matches!(cli.command, args::Command::Top) {
        // A line on the screen would be among the figures.
        let _ = subscriber.with_writer(top::Kept::new).try_init();
        return;
    }
    // A program that has a subscriber keeps it.
    let _ = subscriber.with_writer(io::stderr).try_init();
}

async fn execute(
    cli: &Cli,
    admin: &Admin,
    connection: Option<&Connection>,
    output: &mut Output,
) -> Result<Exit, Failure> {
    if let Some(result) = commands::without_storage(&cli.command, connection, output) {
        return result;
    }
    let mut session = Session {
        admin,
        connection,
        user: user(),
        output,
    };
    session.run(&cli.command).await
}

/// The name of the user who runs this process.
fn user() -> Option<String> {
    let names = ["USER", "LOGNAME"].into_iter();
    let mut set = names.filter_map(|name| env::var(name).ok());
    set.find(|user| !user.is_empty())
}

#[cfg(test)]
mod tests;
