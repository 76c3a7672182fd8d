//! rusty-sidekiq. As its README says: a pool for each side, and for the worker as many connections
//! as jobs at once. Tuned: the pools do not ask with a PING before each use.
//!
//! A job that runs when the process is killed is lost in both settings.

use anyhow::Result;
use async_trait::async_trait;
use benchmark_harness::{Job, Options, System, perform};
use sidekiq::{Processor, ProcessorConfig, RedisConnectionManager, RedisPool, Worker};

struct Bench;

#[async_trait]
impl Worker<(u64, u64)> for Bench {
    async fn perform(&self, (sent_at, sleep): (u64, u64)) -> sidekiq::Result<()> {
        perform(Job { sent_at, sleep }).await;
        Ok(())
    }
}

struct RustySidekiq;

impl System for RustySidekiq {
    type Client = RedisPool;

    async fn connect(options: &Options) -> Result<RedisPool> {
        pool(options, u32::try_from(options.tasks)?).await
    }

    async fn enqueue(pool: &RedisPool, queue: &str, job: Job) -> Result<()> {
        let opts = Bench::opts().queue(queue);
        opts.perform_async(pool, (job.sent_at, job.sleep)).await?;
        Ok(())
    }

    async fn work(options: &Options) -> Result<()> {
        let pool = pool(options, u32::try_from(options.concurrency)? + 5).await?;
        let config = ProcessorConfig::default().num_workers(options.concurrency);
        let mut processor = Processor::new(pool, options.queue_names()).with_config(config);
        processor.register(Bench);
        processor.run().await;
        Ok(())
    }
}

async fn pool(options: &Options, connections: u32) -> Result<RedisPool> {
    let manager = RedisConnectionManager::new(options.url.as_str())?;
    let builder = bb8::Pool::builder()
        .max_size(connections)
        .test_on_check_out(!options.tuned);
    Ok(builder.build(manager).await?)
}

fn main() -> Result<()> {
    benchmark_harness::main::<RustySidekiq>()
}
