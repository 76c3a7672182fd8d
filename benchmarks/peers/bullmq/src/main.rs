//! bullmq-official. As its documentation says: the defaults, and the concurrency of the worker.
//! Tuned: jobs that are done are removed, and 16 connections.

use std::{future::pending, sync::Arc};

use anyhow::Result;
use benchmark_harness::{Job, Options, System, perform};
use bullmq::{
    Queue, QueueOptions, Worker, WorkerOptions, options::RedisConnectionOptions, queue::BulkJob,
    types::RemoveOnFinish, worker::CancellationToken,
};

struct BullMq;

impl System for BullMq {
    type Client = Arc<Queue>;

    async fn connect(options: &Options) -> Result<Arc<Queue>> {
        let settings = QueueOptions {
            connection: connection(options),
            ..QueueOptions::default()
        };
        Ok(Arc::new(Queue::with_options("bench-0", settings).await?))
    }

    async fn enqueue(queue: &Arc<Queue>, _: &str, job: Job) -> Result<()> {
        queue.add("bench", job).await?;
        Ok(())
    }

    async fn enqueue_all(queue: &Arc<Queue>, _: &str, jobs: Vec<Job>) -> Result<()> {
        let jobs = jobs.into_iter().map(|job| BulkJob::new("bench", job));
        queue.add_bulk(jobs.collect()).await?;
        Ok(())
    }

    async fn work(options: &Options) -> Result<()> {
        let settings = WorkerOptions {
            connection: connection(options),
            concurrency: options.concurrency,
            remove_on_complete: options.tuned.then_some(RemoveOnFinish::Bool(true)),
            ..WorkerOptions::default()
        };
        let run = |job: bullmq::Job, _: CancellationToken| async move {
            perform(serde_json::from_value(job.data().clone())?).await;
            Ok(serde_json::Value::Null)
        };
        let _worker = Worker::with_options("bench-0", run, settings).await?;
        pending().await
    }
}

fn connection(options: &Options) -> RedisConnectionOptions {
    let mut connection = RedisConnectionOptions::default();
    connection.url.clone_from(&options.url);
    if options.tuned {
        connection.max_connections = 16;
    }
    connection
}

fn main() -> Result<()> {
    benchmark_harness::main::<BullMq>()
}
