//! The processes as Sidekiq Web shows them.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StorageError;

/// The processes as Sidekiq Web shows them, and its buttons.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait ProcessStore: fmt::Debug + Send + Sync + 'static {
    /// Shows a process to whoever watches the fleet, Sidekiq Web among them, until a minute passes
    /// without another report, and takes what was asked of it meanwhile, the oldest first.
    ///
    /// Called again, it replaces what was shown. What was asked is answered once: it is lost with a
    /// reply that is lost, and the operator asks again.
    async fn report_process(
        &self,
        report: &ProcessReport,
    ) -> Result<Vec<ProcessSignal>, StorageError>;

    /// Shows a process no more, and forgets what was asked of it. Does nothing when it is not
    /// shown.
    async fn forget_process(&self, identity: &str) -> Result<(), StorageError>;

    /// Reads every process that is shown, those of Sidekiq too, by identity. Changes nothing.
    ///
    /// Not one moment: processes may come and go meanwhile.
    async fn processes(&self) -> Result<Vec<ProcessReport>, StorageError>;

    /// Asks something of a process, which takes it with its next [report](Self::report_process),
    /// within a minute or never.
    ///
    /// Called twice, it asks twice.
    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<(), StorageError>;

    /// Forgets the names of processes whose last report was too long ago: they were killed. Of all
    /// programs, one does so in a minute.
    ///
    /// Returns how many. Called twice, or while another program sees to it, it answers 0.
    async fn prune_processes(&self) -> Result<usize, StorageError>;
}

/// What a process shows of itself: what Sidekiq writes of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessReport {
    /// Its unique name, `HOST:PID:NONCE`.
    pub identity: String,
    /// What rarely changes, as a JSON object: Sidekiq's `info`.
    pub info: Bytes,
    /// How many jobs may run at once.
    pub concurrency: usize,
    /// How many do.
    pub busy: usize,
    /// Whether it fetches no more.
    pub quiet: bool,
    /// When it said so.
    pub beat: SystemTime,
    /// How much memory it uses, in KiB; 0 when that cannot be known.
    pub rss: u64,
    /// How long the storage took to answer.
    pub rtt: Duration,
    /// Jobs that run, as JSON objects, by what is Sidekiq's thread id. Not always all of them.
    pub work: BTreeMap<String, Bytes>,
    /// Whether the jobs are also shown where Sidekiq before 6.4.2 looks for them. Not read back.
    pub sidekiq_6_work: bool,
}

/// What can be asked of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcessSignal {
    /// Fetch nothing more: TSTP.
    Quiet,
    /// Finish what runs, hand back the rest, and end: TERM.
    Stop,
    /// Log what runs: TTIN.
    Dump,
}
