//! The arguments of `migrate`.

use clap::Args;

use super::Consent;

/// Move everything that waits to another Redis or cluster, and leave the source paused.
///
/// It moves the jobs of all queues in their order, scheduled jobs, retries and dead jobs with their
/// times, periodic jobs that an operator or a program stored, and pauses. A job that holds a unique
/// lock holds it in the target. Workers and clients may use the target already.
///
/// It does not move running jobs, statistics, metrics and the audit list, nor periodic jobs that
/// workers declare. Running jobs end at the source or come back there: run the command again then.
///
/// Each queue of the source is paused on all nodes, and stays so. Stop or quiet Sidekiq there
/// first. After an error or a crash, run the command again within 6 days, and resume no queue of
/// the source before: the target knows which jobs it has, and no job is stored twice. The exit code
/// is 1 if something is left.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// The URL of the target, without a password: such as `redis+cluster://a,b/?cells=16`. For a
    /// URL with a password, set `VERK_MIGRATE_TO`
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// The text before every key of the target; without it, the same as of the source
    #[arg(long, value_name = "TEXT")]
    pub(crate) to_prefix: Option<String>,
    #[command(flatten)]
    pub(crate) consent: Consent,
}
