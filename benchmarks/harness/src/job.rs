//! The job that all systems run, and what is counted about it.

use std::{
    hint,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
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

/// Runs the job: counts it, computes if the command line says so, and sleeps if the job says so.
pub async fn perform(job: Job) {
    TALLY.started(job);
    let spin = TALLY.spin.load(Ordering::Relaxed);
    if spin > 0 {
        compute(Duration::from_micros(spin));
    }
    if job.sleep > 0 {
        tokio::time::sleep(Duration::from_millis(job.sleep)).await;
    }
    TALLY.ended();
}

/// Computes until the thread has used so much CPU. Time does not count while another thread has the
/// core, as with a job that computes something.
fn compute(cpu: Duration) {
    let until = on_cpu() + cpu;
    let mut value = 1_u64;
    while on_cpu() < until {
        // A fraction of a microsecond, so that a job is hardly longer than it is to be.
        for _ in 0..100 {
            value = hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005) + 1);
        }
    }
}

/// How many cores so many threads get that do nothing but compute, for so long. It is less than
/// the machine has while other programs run.
pub fn cores_available(threads: usize, watch: Duration) -> f64 {
    let begun = Instant::now();
    let used = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    while begun.elapsed() < watch {
                        compute(Duration::from_micros(100));
                    }
                    on_cpu()
                })
            })
            .collect();
        let used = threads.into_iter().map(|thread| thread.join());
        used.filter_map(Result::ok).sum::<Duration>()
    });
    used.as_secs_f64() / begun.elapsed().as_secs_f64()
}

/// The CPU that this thread has used.
fn on_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.try_into().unwrap_or_default()
}

/// The counts of this process. They are global, because programs of all kinds run the job, and not
/// all can pass it a value.
pub(crate) static TALLY: Tally = Tally {
    wanted: AtomicU64::new(u64::MAX),
    spin: AtomicU64::new(0),
    started: AtomicU64::new(0),
    ended: AtomicU64::new(0),
    first: OnceLock::new(),
    latencies: Mutex::new(None),
    all_ended: Notify::const_new(),
};

pub(crate) struct Tally {
    wanted: AtomicU64,
    /// How long each job computes, in microseconds.
    spin: AtomicU64,
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

    /// Sets for how many microseconds each job computes, before the first runs.
    pub(crate) fn spin(&self, microseconds: u64) {
        self.spin.store(microseconds, Ordering::Relaxed);
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
