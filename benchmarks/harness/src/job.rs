//! The job that all systems run, and what is counted about it.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{Done, Latency};

/// The arguments of the job.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Job {
    /// When it was sent, in nanoseconds since 1970; 0 for a job that does not measure how long it
    /// took.
    pub sent_at: u64,
    /// How long it sleeps, in milliseconds.
    pub sleep: u64,
}

impl Job {
    /// A job that measures how long it takes to its first line.
    pub fn sent_now(sleep: u64) -> Self {
        Self {
            sent_at: nanoseconds(),
            sleep,
        }
    }
}

/// Runs the job: counts it, and sleeps if the job says so.
pub async fn perform(job: Job) {
    TALLY.started(job);
    if job.sleep > 0 {
        tokio::time::sleep(Duration::from_millis(job.sleep)).await;
    }
    TALLY.ended();
}

/// The counts of this process. They are global, because programs of all kinds run the job, and not
/// all can pass it a value.
pub(crate) static TALLY: Tally = Tally {
    wanted: AtomicU64::new(u64::MAX),
    started: AtomicU64::new(0),
    ended: AtomicU64::new(0),
    first: OnceLock::new(),
    latencies: Mutex::new(None),
    all_ended: Notify::const_new(),
};

pub(crate) struct Tally {
    wanted: AtomicU64,
    started: AtomicU64,
    ended: AtomicU64,
    first: OnceLock<Instant>,
    /// In nanoseconds.
    latencies: Mutex<Option<Histogram<u64>>>,
    all_ended: Notify,
}

impl Tally {
    /// How many jobs at the start are not part of the latencies.
    const WARM_UP: u64 = 50;
    /// Two minutes: what took longer counts as so much.
    const LONGEST: u64 = 120_000_000_000;

    fn started(&self, job: Job) {
        self.first.get_or_init(Instant::now);
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        if job.sent_at > 0 && number >= Self::WARM_UP {
            let taken = nanoseconds().saturating_sub(job.sent_at);
            let mut latencies = self
                .latencies
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            latencies
                .get_or_insert_with(|| {
                    Histogram::new_with_max(Self::LONGEST, 3).expect("three digits are possible")
                })
                .saturating_record(taken);
        }
    }

    fn ended(&self) {
        let ended = self.ended.fetch_add(1, Ordering::AcqRel) + 1;
        if ended == self.wanted.load(Ordering::Relaxed) {
            self.all_ended.notify_one();
        }
    }

    /// Sets how many jobs [`Self::done`] waits for, before the first runs.
    pub(crate) fn want(&self, jobs: u64) {
        self.wanted.store(jobs, Ordering::Relaxed);
    }

    /// Waits for the last job.
    pub(crate) async fn done(&self) -> Done {
        self.all_ended.notified().await;
        let latencies = self
            .latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Done {
            jobs: self.ended.load(Ordering::Acquire),
            seconds: self
                .first
                .get()
                .map_or(0.0, |first| first.elapsed().as_secs_f64()),
            latency: latencies.as_ref().map(|histogram| Latency {
                p50_ms: milliseconds(histogram.value_at_quantile(0.5)),
                p99_ms: milliseconds(histogram.value_at_quantile(0.99)),
                max_ms: milliseconds(histogram.max()),
            }),
        }
    }
}

fn nanoseconds() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64() * 1e3
}
