//! apalis-redis. As its documentation says: the defaults, and the concurrency of the worker. An
//! idle worker then looks for jobs with its heartbeat, every 30 s. Tuned: a heartbeat every 100 ms,
//! batches of 100, no locks ("can be turned off for tasks that last shorter than a worker
//! heartbeat") and no events. Results are persisted either way: without them, nothing is
//! acknowledged.

use std::time::Duration;

use anyhow::{Result, anyhow};
use apalis::prelude::*;
use apalis_redis::{Config, RedisStorage};
use benchmark_harness::{Job, Options, System, perform};

struct Apalis;

type Storage = RedisStorage<Job>;

impl System for Apalis {
    type Client = Storage;

    async fn connect(options: &Options) -> Result<Storage> {
        storage(options).await
    }

    async fn enqueue(storage: &Storage, _: &str, job: Job) -> Result<()> {
        let pushed = storage.clone().push(job).await;
        pushed.map_err(|error| anyhow!("{error}"))
    }

    async fn enqueue_all(storage: &Storage, _: &str, jobs: Vec<Job>) -> Result<()> {
        let pushed = storage.clone().push_bulk(jobs).await;
        pushed.map_err(|error| anyhow!("{error}"))
    }

    async fn work(options: &Options) -> Result<()> {
        let worker = WorkerBuilder::new("bench")
            .backend(storage(options).await?)
            .concurrency(options.concurrency)
            .build(run);
        worker.run().await.map_err(|error| anyhow!("{error}"))
    }
}

async fn run(job: Job) -> Result<(), BoxDynError> {
    perform(job).await;
    Ok(())
}

async fn storage(options: &Options) -> Result<Storage> {
    let connection = apalis_redis::connect(options.url.as_str()).await?;
    let mut config = Config::default().queue("bench-0");
    if options.tuned {
        config = config
            .heartbeat_interval(Duration::from_millis(100))
            .batch_size(100)
            .lock_tasks(false)
            .emit_events(false);
    }
    Ok(RedisStorage::new(connection).with_config(config))
}

fn main() -> Result<()> {
    benchmark_harness::main::<Apalis>()
}
