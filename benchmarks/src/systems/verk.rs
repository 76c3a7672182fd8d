//! verk, set up as in its guide. With `--log`, its log at level info goes into a file.

use std::{fs::File, path::Path};

use anyhow::Result;
use benchmark_harness::{Job, Options, System, perform};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use verk::{Client, prelude::*, redis::RedisConfig};

#[verk::worker(queue = "bench-0")]
async fn bench(sent_at: u64, sleep: u64) -> Result<()> {
    perform(Job { sent_at, sleep }).await;
    Ok(())
}

pub(crate) struct VerkSystem;

impl System for VerkSystem {
    type Client = Client;

    async fn connect(options: &Options) -> Result<Client> {
        let verk = Verk::builder().redis(redis(options)).build().await?;
        Ok(verk.client().clone())
    }

    async fn enqueue(client: &Client, queue: &str, job: Job) -> Result<()> {
        let job = Bench::new(job.sent_at, job.sleep).queue(queue);
        client.enqueue(job).await?;
        Ok(())
    }

    async fn enqueue_all(client: &Client, queue: &str, jobs: Vec<Job>) -> Result<()> {
        let jobs = jobs
            .into_iter()
            .map(|job| Bench::new(job.sent_at, job.sleep).queue(queue));
        client.enqueue_all(jobs).await?;
        Ok(())
    }

    async fn work(options: &Options) -> Result<()> {
        let _log = options.log.as_deref().map(log_into).transpose()?;
        let mut builder = Verk::builder().redis(redis(options));
        for queue in options.queue_names() {
            builder = builder.queue(&queue, options.concurrency);
        }
        builder.build().await?.run().await?;
        Ok(())
    }
}

fn redis(options: &Options) -> RedisConfig {
    let config = RedisConfig::new(options.url.as_str());
    match &options.prefix {
        Some(prefix) => config.prefix(prefix.clone()),
        None => config,
    }
}

/// Logs into a file. When the guard is dropped, everything is written.
fn log_into(path: &Path) -> Result<WorkerGuard> {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(false)
        .finish(File::create(path)?);
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_ansi(false)
        .with_writer(writer)
        .init();
    Ok(guard)
}
