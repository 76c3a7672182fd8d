//! The commands for periodic and unique jobs.

use std::path::PathBuf;

use clap::Subcommand;

use super::Consent;

#[derive(Debug, Subcommand)]
pub(crate) enum CronCommand {
    /// List the periodic jobs, the next one first
    #[command(alias = "list")]
    Ls {
        /// The most to show; 0 for all
        #[arg(short = 'n', long, default_value_t = 100)]
        limit: usize,
    },
    /// Show when one runs next, in its own time zone and here
    Next {
        /// The name, as `cron ls` shows it
        name: String,
    },
    /// Enqueue the job of one now; its next run stays
    Run {
        /// The name
        name: String,
    },
    /// Pause some, until `cron resume`
    Pause {
        /// The names
        #[arg(required = true)]
        names: Vec<String>,
        /// Why: `cron ls` and the dashboard show it
        #[arg(long)]
        reason: Option<String>,
    },
    /// Resume some that are paused; runs that were due meanwhile are not made up for
    Resume {
        /// The names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove one; a worker that declares it brings it back with the next start of a node
    Rm {
        /// The name
        name: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LocksCommand {
    /// List the locks of unique jobs: first those with a time, then the others by id
    #[command(alias = "list")]
    Ls {
        /// The most to show; 0 for all
        #[arg(short = 'n', long, default_value_t = 100)]
        limit: usize,
    },
    /// Release a lock: another job may then be stored beside the one that held it
    Release {
        /// The lock, as `locks ls` shows it
        lock: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Import the schedule of sidekiq-cron: verk then enqueues these jobs, and Ruby runs them
    SidekiqCron {
        /// The file, such as `config/schedule.yml`
        file: PathBuf,
        /// Say what would be imported, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}
