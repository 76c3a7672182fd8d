//! The arguments of commands about jobs.

use clap::{Args, Subcommand, ValueEnum};

use super::{Consent, PlaceArg};
use crate::times::When;

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List the jobs of a place, or those that match
    List(ListArgs),
    /// Show all that is known of a job
    Show(OneArgs),
    /// Say why a job does not run
    Why(OneArgs),
    /// Run jobs now: move them to their queues
    Run(RunArgs),
    /// Delete jobs
    Delete(ActArgs),
    /// Move jobs to the dead set
    Kill(ActArgs),
    /// Give jobs another time
    Reschedule(RescheduleArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// dead, retries, scheduled, or a queue as queue:NAME
    pub(crate) place: PlaceArg,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) list: Listing,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Listing {
    /// The most jobs to show; 0 for all
    #[arg(short = 'n', long, default_value_t = 25)]
    pub(crate) limit: usize,
    /// Which come first; without it, the newest of the dead, and elsewhere the next to run
    #[arg(long, value_enum)]
    pub(crate) order: Option<OrderArg>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OrderArg {
    Oldest,
    Newest,
}

/// Which jobs of a place are meant. A job must match all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct FilterArgs {
    /// Jobs of this class
    #[arg(long)]
    pub(crate) class: Option<String>,
    /// Jobs of a set that name this queue
    #[arg(long)]
    pub(crate) queue: Option<String>,
    /// Jobs whose error has this text, in its class or its message
    #[arg(long)]
    pub(crate) error: Option<String>,
    /// Jobs whose payload has this text, as it is stored
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// Jobs from this time on: `2h` for two hours ago, or `2026-11-29T14:00`. Of the dead: when
    /// they died; of retries and scheduled jobs: when they are due, and `+2h` is in two hours; of a
    /// queue: when they came
    #[arg(long, value_name = "TIME", value_parser = When::before)]
    pub(crate) since: Option<When>,
    /// Jobs up to this time
    #[arg(long, value_name = "TIME", value_parser = When::before)]
    pub(crate) until: Option<When>,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The id of the job, or its key SCORE-JID as lists in JSON have it
    pub(crate) jid: String,
    /// Where it is; without it, everything is searched
    #[arg(long)]
    pub(crate) place: Option<PlaceArg>,
}

#[derive(Debug, Args)]
pub(crate) struct ActArgs {
    /// The ids of the jobs, or their keys SCORE-JID
    pub(crate) jids: Vec<String>,
    /// Where the jobs are: dead, retries, scheduled, or queue:NAME
    #[arg(long)]
    pub(crate) place: Option<PlaceArg>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// All jobs of the place, without a filter
    #[arg(long)]
    pub(crate) all: bool,
    /// The most jobs to change: those that a list shows first
    #[arg(short = 'n', long)]
    pub(crate) limit: Option<usize>,
    /// Which come first, for --limit; without it, as in a list
    #[arg(long, value_enum)]
    pub(crate) order: Option<OrderArg>,
    #[command(flatten)]
    pub(crate) consent: Consent,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) jobs: ActArgs,
    /// Also dead jobs whose unique lock another job holds: they run without a lock
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RescheduleArgs {
    #[command(flatten)]
    pub(crate) jobs: ActArgs,
    /// To this long from now, such as `10m`
    #[arg(long = "in", value_name = "DURATION", value_parser = When::after, conflicts_with = "at", required_unless_present = "at")]
    pub(crate) after: Option<When>,
    /// To this time, such as `2026-12-24T18:00`
    #[arg(long, value_name = "TIME", value_parser = When::at)]
    pub(crate) at: Option<When>,
}
