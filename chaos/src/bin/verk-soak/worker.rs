//! The worker process: verk as users run it, and a meter.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use verk::{
    BoxError, RetryIn,
    prelude::*,
    time::{Clock, SystemClock},
};

/// What the worker process is started with.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Where Redis is.
    #[arg(long)]
    redis: String,
    /// How many jobs run at once.
    #[arg(long)]
    concurrency: usize,
}

/// What the worker says of itself when asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Jobs that came to their ends, from the start on.
    pub(crate) ran: u64,
    /// Tasks of the runtime.
    pub(crate) tasks: usize,
    /// In milliseconds, from the enqueue to the first line of the job, for the jobs that started
    /// since the last request.
    pub(crate) latency_p50_ms: f64,
    /// The same, of all but the slowest hundredth.
    pub(crate) latency_p99_ms: f64,
}

/// How a job comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    /// At once.
    Straight,
    /// By way of the `retry` set.
    FailsOnce,
    /// By way of the `schedule` set.
    Scheduled,
}

/// The job of the soak.
#[verk::worker(retry_in = soon)]
pub(crate) async fn soaked(sent_at: u64, way: Way, ctx: JobContext) -> Result<(), &'static str> {
    if way == Way::FailsOnce && ctx.attempt() == 1 {
        return Err("once");
    }
    if way == Way::Straight {
        METER.note(micros(SystemClock.now()).saturating_sub(sent_at));
    }
    METER.ran.fetch_add(1, Relaxed);
    Ok(())
}

fn soon(_retry_count: u32, _error: &&'static str) -> RetryIn {
    RetryIn::After(Duration::from_secs(1))
}

pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Counts in a fixed space, so that it does not grow itself.
#[derive(Debug)]
struct Meter {
    ran: AtomicU64,
    /// How many latencies were in each step.
    latencies: [AtomicU64; STEPS],
}

static METER: Meter = Meter {
    ran: AtomicU64::new(0),
    latencies: [const { AtomicU64::new(0) }; STEPS],
};

/// Latencies are counted in steps of an eighth of a power of two, from a microsecond to hours.
const STEPS: usize = 8 * 34;

impl Meter {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a step, from 0 up"
    )]
    fn note(&self, micros: u64) {
        let step = ((micros.max(1) as f64).log2() * 8.0) as usize;
        self.latencies[step.min(STEPS - 1)].fetch_add(1, Relaxed);
    }

    fn figures(&self, tasks: usize) -> Figures {
        let counts = self
            .latencies
            .each_ref()
            .map(|count| count.swap(0, Relaxed));
        let total: u64 = counts.iter().sum();
        let at = |hundredths: u64| {
            let mut left = total * hundredths / 100;
            let step = counts.iter().position(|count| {
                let found = left < *count;
                left = left.saturating_sub(*count);
                found
            });
            let step = u32::try_from(step.unwrap_or_default()).unwrap_or_default();
            (f64::from(step) / 8.0).exp2() / 1000.0
        };
        Figures {
            ran: self.ran.load(Relaxed),
            tasks,
            latency_p50_ms: at(50),
            latency_p99_ms: at(99),
        }
    }
}

/// Runs until it is stopped.
pub(crate) async fn run(options: Options) -> Result<(), BoxError> {
    let verk = Verk::builder()
        .redis(options.redis)
        .queue("default", options.concurrency)
        .start_job_log_level(verk::config::LevelFilter::OFF)
        .done_job_log_level(verk::config::LevelFilter::OFF)
        .fail_job_log_level(verk::config::LevelFilter::OFF)
        .build()
        .await?;
    let runtime = Handle::current();
    // Not a task: the runtime would wait at its end for a line that does not come.
    thread::spawn(move || {
        for _ in io::stdin().lines().map_while(Result::ok) {
            let figures = METER.figures(runtime.metrics().num_alive_tasks());
            // A structure of numbers has a JSON form.
            println!("{}", serde_json::to_string(&figures).unwrap_or_default());
        }
    });
    Ok(verk.run().await?)
}
