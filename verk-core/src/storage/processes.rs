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

    /// Reads every process that is shown, those of Sidekiq too, by identity, each without its
    /// [`work`](ProcessReport::work). Changes nothing.
    ///
    /// This is no snapshot: processes may come and go meanwhile.
    async fn processes(&self) -> Result<Vec<ProcessReport>, StorageError>;

    /// Reads one process as [`processes`](Self::processes) does; `None` if it is not shown. Changes
    /// nothing.
    async fn process(&self, identity: &str) -> Result<Option<ProcessReport>, StorageError>;

    /// Reads the running jobs that the processes report, those of Sidekiq too, by process: about
    /// `limit` of them, at most [`MAX_BATCH_JOBS`](super::MAX_BATCH_JOBS), and at most
    /// [`MAX_BATCH_BYTES`](super::MAX_BATCH_BYTES), but one of any size. Changes nothing.
    ///
    /// Begins at `from`, which an earlier answer returned, or at the first process. A job that runs
    /// all the time is found; it may be found twice.
    async fn work(&self, from: Option<&WorkPlace>, limit: usize) -> Result<WorkPage, StorageError>;

    /// Sends a request to a process, which takes it with its next [report](Self::report_process),
    /// within a minute or never.
    ///
    /// Returns whether it did: it does not if the process is not shown. Called twice, it asks
    /// twice.
    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<bool, StorageError>;

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
    /// Running jobs, as JSON objects, by Sidekiq's thread id. Not always all of them. Not read
    /// back: see [`ProcessStore::work`].
    pub work: BTreeMap<String, Bytes>,
    /// Whether the jobs are also shown to Sidekiq before 6.4.2. Not read back.
    pub sidekiq_6_work: bool,
}

/// A place in the running jobs of all processes: see [`ProcessStore::work`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkPlace {
    /// The process that is read next.
    pub identity: String,
    /// Where in its jobs; 0 for the beginning.
    pub cursor: u64,
}

/// The answer to [`ProcessStore::work`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkPage {
    /// The running jobs. There may be none although more follow.
    pub work: Vec<ShownWork>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<WorkPlace>,
}

/// A running job in the report of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownWork {
    /// The process that reported it.
    pub identity: String,
    /// Sidekiq's thread id.
    pub thread: String,
    /// The job, as a JSON object: see [`ProcessReport::work`].
    pub work: Bytes,
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
