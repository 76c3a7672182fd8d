//! The part of a program that all systems share.

use std::{
    env,
    future::Future,
    io::{self, BufRead as _, Write as _},
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use rand::RngExt as _;
use tokio::{runtime, sync::mpsc, task::JoinSet};

use crate::{Done, Job, Options, Role, Said, job::TALLY};

/// A system that is measured.
pub trait System: 'static {
    /// What enqueues; clones are used by many tasks at once.
    type Client: Clone + Send + Sync + 'static;

    /// Connects a client.
    fn connect(options: &Options) -> impl Future<Output = Result<Self::Client>> + Send;

    /// Enqueues one job.
    fn enqueue(
        client: &Self::Client,
        queue: &str,
        job: Job,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Enqueues many jobs by one call, if the system has such a call.
    fn enqueue_all(
        _client: &Self::Client,
        _queue: &str,
        _jobs: Vec<Job>,
    ) -> impl Future<Output = Result<()>> + Send {
        async { bail!("it has no call for many jobs") }
    }

    /// Runs jobs by [`perform`](crate::perform), until the future is dropped.
    fn work(options: &Options) -> impl Future<Output = Result<()>> + Send;
}

/// The `main` of a program.
pub fn main<S: System>() -> Result<()> {
    run::<S>(Options::parse())
}

/// How many threads the runtime of a program has: as many as that of `#[tokio::main]`. This is one
/// for each core, unless `TOKIO_WORKER_THREADS` sets another number.
pub fn threads() -> usize {
    let set = env::var("TOKIO_WORKER_THREADS").ok();
    set.and_then(|set| set.parse().ok())
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// Does what `options` say.
pub fn run<S: System>(options: Options) -> Result<()> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(threads())
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let mut lines = lines_of_stdin();
        match options.role {
            Role::Enqueue => enqueue::<S>(options, &mut lines).await,
            Role::Work => work::<S>(options, &mut lines).await,
        }?;
        // Reads the usage of the program while it still runs.
        end_of(&mut lines).await;
        Ok(())
    });
    runtime.shutdown_background();
    result
}

async fn enqueue<S: System>(options: Options, lines: &mut Lines) -> Result<()> {
    let client = S::connect(&options).await?;
    say(Said::Ready)?;
    lines.recv().await.context("nobody said go")?;
    let jobs = options.jobs.context("--jobs is missing")?;
    let queues: Arc<[String]> = options.queue_names().into();
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    for _ in 0..options.tasks {
        let (client, options) = (client.clone(), options.clone());
        let (queues, next) = (Arc::clone(&queues), Arc::clone(&next));
        tasks.spawn(async move {
            let batch = options.batch.max(1) as u64;
            loop {
                let first = next.fetch_add(batch, Ordering::Relaxed);
                if first >= jobs {
                    return Ok(());
                }
                if let Some(rate) = options.rate {
                    let due = Duration::from_secs_f64(first as f64 / rate.max(1) as f64);
                    tokio::time::sleep_until((begun + due).into()).await;
                }
                let queue = &queues[(first / batch) as usize % queues.len()];
                enqueue_some::<S>(&client, queue, batch.min(jobs - first), &options).await?;
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    say(Said::Done(Done {
        jobs,
        seconds: begun.elapsed().as_secs_f64(),
        latency: None,
    }))
}

async fn enqueue_some<S: System>(
    client: &S::Client,
    queue: &str,
    count: u64,
    options: &Options,
) -> Result<()> {
    let sleep = options.sleep;
    if options.batch > 1 {
        let jobs = vec![Job { sent_at: 0, sleep }; count as usize];
        return S::enqueue_all(client, queue, jobs).await;
    }
    let Some(every) = options.every else {
        return S::enqueue(client, queue, Job { sent_at: 0, sleep }).await;
    };
    // Not in step with what polls.
    let pause = rand::rng().random_range(every / 2..=every + every / 2);
    tokio::time::sleep(Duration::from_micros(pause)).await;
    S::enqueue(client, queue, Job::sent_now(sleep)).await
}

async fn work<S: System>(options: Options, lines: &mut Lines) -> Result<()> {
    if let Some(jobs) = options.jobs {
        TALLY.want(jobs);
    }
    TALLY.spin(options.spin);
    say(Said::Ready)?;
    lines.recv().await.context("nobody said go")?;
    let watch = async {
        if options.jobs.is_some() {
            say(Said::Done(TALLY.done().await))?;
        }
        end_of(lines).await;
        Ok(())
    };
    tokio::select! {
        worked = S::work(&options) => worked.and_then(|()| bail!("the worker ended by itself")),
        watched = watch => watched,
    }
}

type Lines = mpsc::UnboundedReceiver<String>;

fn lines_of_stdin() -> Lines {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

async fn end_of(lines: &mut Lines) {
    while lines.recv().await.is_some() {}
}

fn say(said: Said) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(&said)?)?;
    Ok(out.flush()?)
}
