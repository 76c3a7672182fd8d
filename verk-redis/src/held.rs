//! The jobs that a node holds: fetched and settled.

use std::sync::Arc;

use async_trait::async_trait;
use bb8_redis::redis::{self, Value};
use bytes::Bytes;
use verk_core::{
    QueueName, StorageError,
    storage::{
        Due, HeldCount, Inprogress, JobSet, JobStore, Page, QueueConnection, Settled, Settlement,
    },
    time::unix_seconds,
};

use crate::{
    connect::{enqueue, link::Link, reply, scripts::arg},
    error::Failure,
    fetch::RedisQueueConnection,
    storage::RedisStorage,
};

#[async_trait]
impl JobStore for RedisStorage {
    async fn enqueue(&self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), StorageError> {
        if jobs.is_empty() {
            return Ok(());
        }
        match self.link.runtimes.here() {
            Ok(local) => enqueue::enqueue(local, queue, jobs).await,
            Err(failure) => Err(failure.during(enqueue::OP)),
        }
    }

    async fn schedule(&self, jobs: &[Due]) -> Result<usize, StorageError> {
        if jobs.is_empty() {
            return Ok(0);
        }
        let mut command = redis::cmd("ZADD");
        command.arg(self.link.keys.set(JobSet::Schedule));
        for due in jobs {
            command.arg(&*arg(unix_seconds(due.at))).arg(&due.job[..]);
        }
        let reply = self.link.query(&command).await;
        let added = reply.and_then(reply::count);
        let added = added.map_err(|failure| failure.during("schedule jobs"))?;
        Ok(jobs.len().saturating_sub(added))
    }

    async fn open_queue(
        &self,
        inprogress: &Inprogress,
    ) -> Result<Box<dyn QueueConnection>, StorageError> {
        let queues = Arc::clone(&self.queues);
        let connection = RedisQueueConnection::open(queues, inprogress).await?;
        Ok(Box::new(connection))
    }

    async fn settle(&self, inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        self.settle_jobs("settle jobs", inprogress, settlements, false)
            .await
    }

    async fn inprogress(
        &self,
        inprogress: &Inprogress,
        page: Page,
    ) -> Result<Vec<Bytes>, StorageError> {
        let key = (self.link.keys).inprogress(&inprogress.queue, &inprogress.node);
        self.read_page("read jobs in progress", key, page).await
    }

    async fn prefetched(&self, inprogress: &Inprogress) -> Result<usize, StorageError> {
        prefetched(&self.link, inprogress)
            .await
            .map_err(|failure| failure.during("ask what was prefetched"))
    }

    async fn held_counts(&self, lists: &[Inprogress]) -> Result<Vec<HeldCount>, StorageError> {
        held_counts(&self.link, lists)
            .await
            .map_err(|failure| failure.during("count jobs in progress"))
    }
}

/// Each is two commands that take the server less than a microsecond.
const LISTS_IN_A_TRIP: usize = 250;

async fn held_counts(link: &Link, lists: &[Inprogress]) -> Result<Vec<HeldCount>, Failure> {
    let mut counts = Vec::with_capacity(lists.len());
    for lists in lists.chunks(LISTS_IN_A_TRIP) {
        let mut commands = redis::pipe();
        for Inprogress { queue, node } in lists {
            commands
                .cmd("LLEN")
                .arg(link.keys.inprogress(queue, node))
                .cmd("GET")
                .arg(link.keys.prefetched(queue, node));
        }
        let mut replies = link.ask_all(&commands).await?.into_iter();
        for _ in lists {
            let (Some(jobs), Some(prefetched)) = (replies.next(), replies.next()) else {
                return Err(Failure::unexpected_reply("two replies for each list"));
            };
            let jobs = reply::count(jobs?)?;
            let prefetched = optional_count(prefetched?)?.min(jobs);
            counts.push(HeldCount { jobs, prefetched });
        }
    }
    Ok(counts)
}

async fn prefetched(link: &Link, inprogress: &Inprogress) -> Result<usize, Failure> {
    let key = (link.keys).prefetched(&inprogress.queue, &inprogress.node);
    let mut get = redis::cmd("GET");
    get.arg(key);
    optional_count(link.ask(&get).await?)
}

/// A missing count is 0.
fn optional_count(value: Value) -> Result<usize, Failure> {
    match value {
        Value::Nil => Ok(0),
        count => reply::count(count),
    }
}
