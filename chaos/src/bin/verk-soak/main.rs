//! Does anything grow in a worker that works for long?
//!
//! ```console
//! $ cargo run --release -p verk-chaos --bin verk-soak -- --minutes 30
//! ```
//!
//! Measures the top rate of one worker process on a Redis of its own. Then it gives the worker four
//! fifths of that rate for the requested time, and samples its memory, file descriptors,
//! connections, tasks and latency. It is a program apart from `verk-chaos`, so that it runs only
//! its own worker.

#![allow(
    clippy::disallowed_macros,
    reason = "a tool logs through tracing itself"
)]

mod samples;
mod worker;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use verk::{
    BoxError, EnqueueExt, Verk,
    client::{IntoJob, NewJob},
    prelude::*,
    time::{Clock, SystemClock},
};
use verk_testing::RedisServer;

use samples::{Report, Sample};
use worker::{Figures, Soaked, Way};

/// Lets a worker work for long, and tells what grows.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Option<Program>,
    /// For how long.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Which part of the top rate.
    #[arg(long, default_value_t = 0.8)]
    rate: f64,
    /// How many jobs run at once.
    #[arg(long, default_value_t = 25)]
    concurrency: usize,
    /// Prints the report as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Program {
    /// Is the worker process.
    #[command(hide = true)]
    Worker(worker::Options),
}

/// For how long the top rate is measured, after as long to warm up.
const TOP_RATE: Duration = Duration::from_secs(10);

/// How many jobs wait, at least, while the top rate is measured.
const BACKLOG: u64 = 20_000;

/// Every how often jobs are enqueued.
const TICK: Duration = Duration::from_millis(10);

/// How many samples are taken.
const SAMPLES: u32 = 60;

/// How long the waiting jobs may take at the end.
const REST: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse();
    if let Some(Program::Worker(options)) = options.command {
        worker::run(options).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = soak(&options).await?;
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(if report.is_flat() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn soak(options: &Options) -> Result<Report, BoxError> {
    let server = RedisServer::start();
    let mut worker = WorkerProcess::start(&server, options.concurrency)?;
    let client = Verk::builder().redis(server.url()).build().await?;
    let mut producer = Producer { client, sent: 0 };

    let top_rate = top_rate(&mut producer, &mut worker).await?;
    let rate = top_rate * options.rate;
    tracing::warn!(top_rate, rate, "the top rate is measured");
    until_done(&server, &mut worker, producer.sent).await?;

    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let clock: &dyn Clock = &SystemClock;
    let start = clock.instant();
    let before = producer.sent;
    let mut samples = Vec::new();
    // What was measured until now is not of the soak.
    worker.figures().await?;
    for number in 1..=SAMPLES {
        let end = start + length.mul_f64(f64::from(number) / f64::from(SAMPLES));
        while clock.instant() < end {
            let due = before + whole((clock.instant() - start).as_secs_f64() * rate);
            producer.send(due.saturating_sub(producer.sent)).await?;
            clock.sleep(TICK).await;
        }
        let figures = worker.figures().await?;
        samples.push(Sample::take(
            clock.instant() - start,
            &server,
            worker.pid()?,
            figures,
        )?);
    }
    let is_done = until_done(&server, &mut worker, producer.sent).await?;
    let ran = worker.figures().await?.ran;
    worker.stop().await?;
    Ok(Report::new(
        top_rate,
        rate,
        (producer.sent, ran),
        is_done,
        samples,
        samples::keys_left(&server),
    ))
}

/// Jobs per second while there are always enough that wait.
async fn top_rate(producer: &mut Producer, worker: &mut WorkerProcess) -> Result<f64, BoxError> {
    let clock: &dyn Clock = &SystemClock;
    let mut measured = (clock.instant(), 0);
    for _ in 0..2 {
        measured = (clock.instant(), worker.figures().await?.ran);
        while clock.instant() - measured.0 < TOP_RATE {
            let waiting = producer.sent - worker.figures().await?.ran;
            if waiting < BACKLOG {
                producer.send(BACKLOG / 4).await?;
            } else {
                clock.sleep(TICK).await;
            }
        }
    }
    let ran = worker.figures().await?.ran - measured.1;
    Ok(fraction(ran) / (clock.instant() - measured.0).as_secs_f64())
}

/// Waits until nothing waits any more, and all have run.
async fn until_done(
    server: &RedisServer,
    worker: &mut WorkerProcess,
    sent: u64,
) -> Result<bool, BoxError> {
    let clock: &dyn Clock = &SystemClock;
    let deadline = clock.instant() + REST;
    while clock.instant() < deadline {
        if worker.figures().await?.ran >= sent && samples::waiting(server) == 0 {
            return Ok(true);
        }
        clock.sleep(TICK).await;
    }
    Ok(false)
}

/// Enqueues jobs.
#[derive(Debug)]
struct Producer {
    client: Verk,
    sent: u64,
}

impl Producer {
    async fn send(&mut self, count: u64) -> Result<(), BoxError> {
        let now = worker::micros(SystemClock.now());
        let jobs = (self.sent..self.sent + count).map(|number| -> NewJob {
            let later = Duration::from_secs(1);
            match number % 50 {
                0 => Soaked::new(now, Way::FailsOnce).into_job(),
                1 => Soaked::new(now, Way::Scheduled).schedule_in(later),
                _ => Soaked::new(now, Way::Straight).into_job(),
            }
        });
        self.client.client().enqueue_all(jobs).await?;
        self.sent += count;
        Ok(())
    }
}

/// The worker in a process of its own, which gives its figures when asked.
#[derive(Debug)]
struct WorkerProcess {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl WorkerProcess {
    fn start(server: &RedisServer, concurrency: usize) -> Result<Self, BoxError> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("worker")
            .args(["--redis", &server.url()])
            .args(["--concurrency", &concurrency.to_string()])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or("a process without pipes")?;
        let output = BufReader::new(output).lines();
        Ok(Self {
            child,
            input,
            output,
        })
    }

    /// What happened since it was asked the last time.
    async fn figures(&mut self) -> Result<Figures, BoxError> {
        self.input.write_all(b"\n").await?;
        let line = self
            .output
            .next_line()
            .await?
            .ok_or("the worker has ended")?;
        Ok(serde_json::from_str(&line)?)
    }

    fn pid(&self) -> Result<u32, BoxError> {
        Ok(self.child.id().ok_or("the worker has ended")?)
    }

    async fn stop(mut self) -> Result<(), BoxError> {
        let pid = Pid::from_raw(i32::try_from(self.pid()?)?).ok_or("no process")?;
        kill_process(pid, Signal::TERM)?;
        let status = self.child.wait().await?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the worker ended with {status}").into()),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of jobs are far below 2^52"
)]
fn fraction(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of jobs"
)]
fn whole(count: f64) -> u64 {
    count as u64
}
