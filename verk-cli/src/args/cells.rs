//! The arguments of `cells`.

use clap::Subcommand;
use verk_core::QueueName;

use super::Consent;

#[derive(Debug, Subcommand)]
pub(crate) enum CellsCommand {
    /// List the cells, and the queues that were moved to another one
    #[command(alias = "list")]
    Ls,
    /// Move a queue to another cell, with its jobs, locks and periodic jobs
    ///
    /// Workers and clients continue meanwhile, and need no restart. Jobs that have arrived run at
    /// once. The others wait for the move, which first waits for the jobs of the queue that run. At
    /// its end, while the jobs with locks move, enqueues of unique jobs and those with a key wait
    /// for up to 5 seconds, and then fail.
    ///
    /// After an error, a crash or Ctrl-C, run the command again within 6 days, and do not resume
    /// the queue before. The exit code is 1 if a job could not be moved.
    Move {
        /// The queue
        queue: QueueName,
        /// The number of the cell, as `cells ls` shows it
        #[arg(long, value_name = "CELL")]
        to: usize,
        #[command(flatten)]
        consent: Consent,
    },
}
