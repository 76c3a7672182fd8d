//! oxana. As its README says: the defaults, and the concurrency of the queue. Tuned: a pool that
//! has a connection for each job, and short sleeps between two looks at the queue.

use std::time::Duration;

use anyhow::Result;
use benchmark_harness::{Job, Options, System, perform};
use oxana::Storage;
use serde::{Deserialize, Serialize};

#[derive(Clone)]
struct Context {}

#[derive(Debug, thiserror::Error)]
enum Never {}

#[derive(Debug, Deserialize, Serialize, oxana::Job)]
struct BenchJob {
    job: Job,
}

#[derive(oxana::Worker)]
#[oxana(context = Context, error = Never)]
struct BenchWorker;

impl BenchWorker {
    async fn process(&self, job: BenchJob, _: &oxana::JobContext) -> Result<(), Never> {
        perform(job.job).await;
        Ok(())
    }
}

#[derive(oxana::Queue, Serialize)]
#[oxana(key = "bench-0")]
struct BenchQueue;

struct Oxana;

impl System for Oxana {
    type Client = Storage;

    async fn connect(options: &Options) -> Result<Storage> {
        storage(options)
    }

    async fn enqueue(storage: &Storage, _: &str, job: Job) -> Result<()> {
        storage.enqueue(BenchQueue, BenchJob { job }).await?;
        Ok(())
    }

    async fn enqueue_all(storage: &Storage, _: &str, jobs: Vec<Job>) -> Result<()> {
        let jobs = jobs.into_iter().map(|job| BenchJob { job });
        storage.enqueue_list(BenchQueue, jobs).await?;
        Ok(())
    }

    async fn work(options: &Options) -> Result<()> {
        let mut runtime = storage(options)?
            .runtime(Context {})
            .queue_with_concurrency::<BenchQueue>(options.concurrency)
            .worker::<BenchWorker, BenchJob>();
        if options.tuned {
            runtime = runtime
                .dequeue_timeout(Duration::from_millis(100))
                .dispatcher_idle_sleep(Duration::from_millis(1));
        }
        runtime.run().await?;
        Ok(())
    }
}

fn storage(options: &Options) -> Result<Storage> {
    let mut builder = Storage::builder();
    if options.tuned {
        builder =
            builder.max_pool_size(options.concurrency.max(usize::try_from(options.tasks)?) + 5);
    }
    Ok(builder.build_from_redis_url(options.url.as_str())?)
}

fn main() -> Result<()> {
    benchmark_harness::main::<Oxana>()
}
