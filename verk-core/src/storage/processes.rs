//! The processes as Sidekiq Web shows them.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

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
