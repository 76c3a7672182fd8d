//! The floor: a program on raw Redis, written by hand for this one job. It is as fast as Redis
//! allows without losing a job. One multiplexed connection carries everything that does not block.
//!
//! A worker holds no more jobs than verk may: its concurrency, and four times as many that it
//! prefetched, but at most 256 of those. It settles a batch and fetches the next by one script, in
//! one trip. When the queue is empty, it waits for a job by a blocking move, on a connection of its
//! queue.

use std::time::Duration;

use anyhow::{Context as _, Result};
use benchmark_harness::{Job, Options, System, perform};
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection};
use serde::Deserialize;
use tokio::task::JoinSet;

/// As many jobs as verk moves at once.
const MOST_JOBS: usize = 100;
/// Prefetches at most as many jobs as verk, and four times as many as it runs.
const MOST_AHEAD: usize = 256;
/// How many batches each queue has. They share what the queue may hold: Redis works on one while
/// this program works on the other.
const TURNS: usize = 2;
/// As many bytes as verk moves at once.
const MOST_BYTES: usize = 1024 * 1024;
/// Longer than any measurement.
const HEARTBEAT: Duration = Duration::from_secs(3600);
/// How long one move blocks.
const BLOCK: Duration = Duration::from_secs(5);

/// How many jobs a worker prefetches at most that runs so many at once.
pub(crate) fn most_ahead(concurrency: usize) -> usize {
    (4 * concurrency).min(MOST_AHEAD)
}

pub(crate) struct Floor;

impl System for Floor {
    type Client = MultiplexedConnection;

    async fn connect(options: &Options) -> Result<Self::Client> {
        connect(&options.url).await
    }

    async fn enqueue(client: &Self::Client, queue: &str, job: Job) -> Result<()> {
        Self::enqueue_all(client, queue, vec![job]).await
    }

    async fn enqueue_all(client: &Self::Client, queue: &str, jobs: Vec<Job>) -> Result<()> {
        let payloads: Vec<_> = jobs.iter().map(|job| payload(queue, *job)).collect();
        redis::pipe()
            .sadd("queues", queue)
            .ignore()
            .lpush(format!("queue:{queue}"), payloads)
            .ignore()
            .query_async::<()>(&mut client.clone())
            .await?;
        Ok(())
    }

    async fn work(options: &Options) -> Result<()> {
        let mut shared = connect(&options.url).await?;
        let node = format!("floor.{:012x}", rand::random::<u64>() >> 16);
        redis::pipe()
            .pset_ex(
                format!("verk:node:{node}"),
                "alive",
                HEARTBEAT.as_millis() as u64,
            )
            .ignore()
            .sadd("verk_nodes", &node)
            .ignore()
            .query_async::<()>(&mut shared)
            .await?;
        let ahead = (options.ahead).unwrap_or_else(|| most_ahead(options.concurrency));
        let held = options.concurrency + ahead;
        let mut queues = JoinSet::new();
        for name in options.queue_names() {
            for turn in 0..TURNS.min(options.concurrency) {
                let queue = Queue {
                    inprogress: format!("inprogress:{name}:{node}"),
                    key: format!("queue:{name}"),
                    name: name.clone(),
                    node: node.clone(),
                    most_jobs: ((held + turn) / TURNS).clamp(1, MOST_JOBS),
                    shared: shared.clone(),
                    blocking: connect(&options.url).await?,
                };
                queues.spawn(queue.run());
            }
        }
        while let Some(ended) = queues.join_next().await {
            ended??;
        }
        Ok(())
    }
}

struct Queue {
    name: String,
    key: String,
    inprogress: String,
    node: String,
    most_jobs: usize,
    shared: MultiplexedConnection,
    blocking: MultiplexedConnection,
}

impl Queue {
    async fn run(mut self) -> Result<()> {
        let script: String = redis::cmd("SCRIPT")
            .arg("LOAD")
            .arg(include_str!("work.lua"))
            .query_async(&mut self.shared)
            .await?;
        let mut held: Vec<String> = Vec::new();
        loop {
            let reply: Vec<redis::Value> = redis::cmd("EVALSHA")
                .arg(&script)
                .arg(5)
                .arg(&self.key)
                .arg(&self.inprogress)
                .arg(format!("verk:node:{}", self.node))
                .arg("verk_nodes")
                .arg(format!("verk:node:{}:queues", self.node))
                .arg(self.most_jobs)
                .arg(MOST_BYTES)
                .arg(&self.node)
                .arg(&self.name)
                .arg(&held)
                .query_async(&mut self.shared)
                .await?;
            let jobs = reply.into_iter().skip(1);
            held = jobs
                .map(redis::from_redis_value)
                .collect::<Result<_, _>>()?;
            if held.is_empty() {
                held.extend(self.wait().await?);
            }
            for payload in &held {
                perform(job(payload)?).await;
            }
        }
    }

    async fn wait(&mut self) -> Result<Option<String>> {
        let moved = redis::cmd("BLMOVE")
            .arg(&self.key)
            .arg(&self.inprogress)
            .arg("RIGHT")
            .arg("LEFT")
            .arg(BLOCK.as_secs())
            .query_async(&mut self.blocking)
            .await?;
        Ok(moved)
    }
}

async fn connect(url: &str) -> Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(BLOCK * 2));
    let client = Client::open(url)?;
    Ok(client
        .get_multiplexed_async_connection_with_config(&config)
        .await?)
}

/// A payload as verk writes it.
fn payload(queue: &str, job: Job) -> String {
    let Job { sent_at, sleep } = job;
    let jid = format!("{:024x}", rand::random::<u128>() >> 32);
    format!(
        r#"{{"jid":"{jid}","class":"Bench","args":[{sent_at},{sleep}],"queue":"{queue}","retry":25,"created_at":1732387200.123456,"enqueued_at":1732387200.123456}}"#
    )
}

fn job(payload: &str) -> Result<Job> {
    #[derive(Deserialize)]
    struct Payload {
        args: (u64, u64),
    }
    let Payload {
        args: (sent_at, sleep),
    } = serde_json::from_str(payload).context("a payload that is not a job's")?;
    Ok(Job { sent_at, sleep })
}
