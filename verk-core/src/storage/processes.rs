//! The processes as Sidekiq Web shows them.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StorageError;

/// The processes that Sidekiq Web shows, and its buttons.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait ProcessStore: fmt::Debug + Send + Sync + 'static {
    /// Shows a process in Sidekiq Web and to other observers, until a minute passes without another
    /// report. Also takes the requests for it, the oldest first.
    ///
    /// Called again, it replaces the report. A request is returned once: if the reply is lost, it
    /// is lost too, and the operator asks again.
    async fn report_process(
        &self,
        report: &ProcessReport,
    ) -> Result<Vec<ProcessSignal>, StorageError>;

    /// Stops showing a process, and forgets the requests for it. Does nothing if it is not shown.
    async fn forget_process(&self, identity: &str) -> Result<(), StorageError>;

    /// Reads every process that is shown, those of Sidekiq too, by identity. Changes nothing.
    ///
    /// This is no snapshot: processes may come and go meanwhile.
    async fn processes(&self) -> Result<Vec<ProcessReport>, StorageError>;

    /// Sends a request to a process, which takes it with its next [report](Self::report_process),
    /// within a minute or never.
    ///
    /// Called twice, it asks twice.
    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<(), StorageError>;

    /// Forgets the names of processes whose last report is too old: they were killed. Of all
    /// programs, one does so in a minute.
    ///
    /// Returns how many. Called twice, or while another program does it, it returns 0.
    async fn prune_processes(&self) -> Result<usize, StorageError>;
}

/// The report of a process, in the form in which Sidekiq writes its own.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessReport {
    /// The unique name of the process, `HOST:PID:NONCE`.
    pub identity: String,
    /// The values that rarely change, as a JSON object: Sidekiq's `info`.
    pub info: Bytes,
    /// How many jobs may run at once.
    pub concurrency: usize,
    /// How many jobs run now.
    pub busy: usize,
    /// Whether the process fetches no more jobs.
    pub quiet: bool,
    /// When the process reported this.
    pub beat: SystemTime,
    /// How much memory the process uses, in KiB; 0 when that cannot be known.
    pub rss: u64,
    /// How long the storage took to answer.
    pub rtt: Duration,
    /// Running jobs, as JSON objects, by Sidekiq's thread id. Not always all of them.
    pub work: BTreeMap<String, Bytes>,
    /// Whether the jobs are also shown to Sidekiq before 6.4.2. Not read back.
    pub sidekiq_6_work: bool,
}

/// A signal that an operator can send to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcessSignal {
    /// Fetch nothing more: TSTP.
    Quiet,
    /// Finish running jobs, hand back the rest, and end: TERM.
    Stop,
    /// Log what runs: TTIN.
    Dump,
}
