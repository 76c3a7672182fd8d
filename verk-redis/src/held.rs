//! The jobs that a node holds: fetched and settled.

use std::sync::Arc;

use async_trait::async_trait;
use bb8_redis::redis::{self, Value};
use bytes::Bytes;
use verk_core::{
    QueueName, StorageError,
    storage::{Due, Inprogress, JobSet, JobStore, Page, QueueConnection, Settled, Settlement},
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
}

async fn prefetched(link: &Link, inprogress: &Inprogress) -> Result<usize, Failure> {
    let key = (link.keys).prefetched(&inprogress.queue, &inprogress.node);
    let mut get = redis::cmd("GET");
    get.arg(key);
    match link.ask(&get).await? {
        Value::Nil => Ok(0),
        count => reply::count(count),
    }
}
