//! The arguments: [`Cli`].

mod cells;
mod jobs;
mod migrate;
mod place;
mod timetable;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use self::{
    cells::CellsCommand,
    jobs::{ActArgs, FilterArgs, JobsCommand, ListArgs, Listing, OneArgs, OrderArg},
    migrate::MigrateArgs,
    place::PlaceArg,
    timetable::{CronCommand, ImportCommand, LocksCommand},
};
use crate::{connect::Connection, failure::EXIT_CODES, times::When};

/// See and drive the jobs of verk, Sidekiq and Elixir's Verk from a terminal.
///
/// Start with `verk stats` and `verk doctor`. To find out why a job does not run: `verk jobs why
/// JID`. The guide: <https://docs.rs/verk-cli>.
#[derive(Debug, Parser)]
#[command(name = "verk", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// See and drive the jobs of verk, Sidekiq and Elixir's Verk from a terminal.
///
/// Start with `verk stats` and `verk doctor`. To find out why a job does not run: `verk jobs why
/// JID`. The guide: <https://docs.rs/verk-cli>.
#[derive(Debug, Parser)]
#[command(name = "verk", version, about, long_about, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Standalone {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) cli: Cli,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Shared {
    /// How to print: a table for people, or JSON for programs: one object, or one on each line
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        help_heading = "Output"
    )]
    pub(crate) output: Format,
    /// When to use colors; `auto` also obeys `NO_COLOR`
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Output"
    )]
    pub(crate) color: Color,
    /// Log more than warnings, on stderr
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the counts of the whole fleet
    Stats {
        /// Also show what was done on each of so many days, at most 1826
        #[arg(long, value_name = "DAYS")]
        days: Option<usize>,
    },
    /// Show every queue: what waits, what runs, and whether it is paused
    Queues,
    /// List, show and change jobs
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// List dead jobs, the newest first: `jobs list dead`
    Dead(FilteredList),
    /// List jobs that failed and run again: `jobs list retries`
    Retries(FilteredList),
    /// List jobs that wait for their time: `jobs list scheduled`
    Scheduled(FilteredList),
    /// List the jobs that run now, as their processes report them
    Running {
        /// The most jobs to show; 0 for all
        #[arg(short = 'n', long, default_value_t = 100)]
        limit: usize,
    },
    /// Show the processes that run queues, those of Ruby too
    Processes,
    /// Show the nodes of verk: which are alive, and what they hold
    Nodes,
    /// Pause queues on all nodes, until `resume`
    Pause {
        /// The names of the queues
        #[arg(required = true)]
        queues: Vec<String>,
        /// Why: `queues` and the dashboard show it
        #[arg(long)]
        reason: Option<String>,
    },
    /// Resume queues that are paused on all nodes
    Resume {
        /// The names of the queues
        #[arg(required = true)]
        queues: Vec<String>,
    },
    /// Ask processes to fetch no more jobs
    Quiet(SignalArgs),
    /// Ask processes to stop: they finish their jobs or hand them back
    Stop(SignalArgs),
    /// Ask processes to log what they do
    Dump(SignalArgs),
    /// Delete all jobs of a queue
    Clear {
        /// The name of the queue
        queue: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Enqueue a job by the name of its class
    Enqueue(EnqueueArgs),
    /// Print what happens, as far as reading the storage once a second shows
    Tail {
        /// End after so many events
        #[arg(short = 'n', long, value_name = "EVENTS")]
        limit: Option<usize>,
    },
    /// List and drive periodic jobs
    #[command(subcommand)]
    Cron(CronCommand),
    /// List and release the locks of unique jobs
    #[command(subcommand)]
    Locks(LocksCommand),
    /// Take over what another program had
    #[command(subcommand)]
    Import(ImportCommand),
    Migrate(MigrateArgs),
    /// List the cells of a fleet, and move queues between them
    #[command(subcommand)]
    Cells(CellsCommand),
    /// Watch queues, jobs and processes, and drive them by keys
    #[cfg(feature = "tui")]
    Top,
    /// Show how often classes ran and how long they took, for those that record it
    Metrics {
        /// One class, with its histogram
        class: Option<String>,
        /// Of so many minutes, at most 480
        #[arg(long, default_value_t = 60)]
        minutes: usize,
    },
    /// Check the server, the fleet and the jobs, and say what to do
    Doctor {
        /// How many jobs of each queue and set to check
        #[arg(long, default_value_t = 1_000)]
        max_jobs: usize,
        /// First convert arguments that Elixir's Verk wrote as a string to arrays, which asks
        #[arg(long)]
        convert: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Show what operators did
    Audit {
        /// The most entries to show; 0 for all
        #[arg(short = 'n', long, default_value_t = 25)]
        limit: usize,
    },
    /// Serve the dashboard for browsers
    Web(WebArgs),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the settings that are in force, and where each comes from
    Config,
}

impl Command {
    /// Whether it changes nothing, and ends by itself.
    pub(crate) fn only_reads(&self) -> bool {
        match self {
            Self::Stats { .. }
            | Self::Queues
            | Self::Dead(_)
            | Self::Retries(_)
            | Self::Scheduled(_)
            | Self::Jobs(JobsCommand::List(_) | JobsCommand::Show(_) | JobsCommand::Why(_))
            | Self::Running { .. }
            | Self::Processes
            | Self::Nodes
            | Self::Metrics { .. }
            | Self::Audit { .. }
            | Self::Cron(CronCommand::Ls { .. } | CronCommand::Next { .. })
            | Self::Locks(LocksCommand::Ls { .. })
            | Self::Cells(CellsCommand::Ls)
            | Self::Tail { .. }
            | Self::Completions { .. }
            | Self::Config => true,
            Self::Doctor { convert, .. } => !convert,
            _ => false,
        }
    }

    /// Whether it reads step after step, and prints what it found until Ctrl-C.
    pub(crate) fn is_a_search(&self) -> bool {
        matches!(
            self,
            Self::Dead(_)
                | Self::Retries(_)
                | Self::Scheduled(_)
                | Self::Jobs(JobsCommand::List(_) | JobsCommand::Why(_))
                | Self::Tail { .. }
        )
    }
}

/// Agreement to a change of many jobs.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Consent {
    /// Do not ask. Needed for a change of more than one job where there is no terminal
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Count, show examples, and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FilteredList {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) list: Listing,
}

#[derive(Debug, Args)]
pub(crate) struct SignalArgs {
    /// The processes, as `processes` shows them; the start of a name is enough if it is unique
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) processes: Vec<String>,
    /// All processes
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) consent: Consent,
}

#[derive(Debug, Args)]
pub(crate) struct EnqueueArgs {
    /// The class of the job
    pub(crate) class: String,
    /// The arguments as a JSON array; `-` reads them from stdin, which keeps them out of the
    /// history of the shell
    #[arg(default_value = "[]")]
    pub(crate) args: String,
    /// The queue; without it, that of the worker, or `default`
    #[arg(long)]
    pub(crate) queue: Option<String>,
    /// Run it after this time, such as `10m`
    #[arg(long = "in", value_name = "DURATION", conflicts_with = "at", value_parser = When::after)]
    pub(crate) after: Option<When>,
    /// Run it at this time, such as `2026-12-24T18:00`
    #[arg(long, value_name = "TIME", value_parser = When::at)]
    pub(crate) at: Option<When>,
    /// Of the enqueues with one key in 24 hours, only the first stores a job: for scripts that may
    /// run twice
    #[arg(long, value_name = "KEY")]
    pub(crate) once: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct WebArgs {
    /// The address; others than of this machine need `--token-file`
    #[arg(long, default_value = "127.0.0.1:7420", value_name = "ADDRESS")]
    pub(crate) bind: SocketAddr,
    /// A file with the secret that visitors must know
    #[arg(long, value_name = "FILE", conflicts_with = "read_only")]
    pub(crate) token_file: Option<PathBuf>,
    /// Nobody may change anything
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Show the arguments of jobs, which may hold secrets
    #[arg(long)]
    pub(crate) show_args: bool,
    /// The path below which a proxy serves the pages
    #[arg(long, value_name = "PATH")]
    pub(crate) base_path: Option<String>,
    /// The name in the corner of the pages
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Another Redis below the same pages, as `NAME=URL`; the URL must have no password
    #[arg(long = "and", value_name = "NAME=URL")]
    pub(crate) others: Vec<String>,
}
