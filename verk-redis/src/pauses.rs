//! Queues that are paused for all nodes, and how a node learns of them: [`RedisPauseListener`].

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use bb8_redis::redis;
use tokio::sync::Notify;
use verk_core::{
    QueueName, StorageError,
    error::Applied,
    log,
    storage::{PauseListener, PauseStore},
};

use crate::{
    connect::{
        link::Link,
        pool::Connection,
        reply,
        scripts::{self, arg},
    },
    error::Failure,
    storage::RedisStorage,
};

#[async_trait]
impl PauseStore for RedisStorage {
    async fn set_paused(&self, queue: &QueueName, paused: bool) -> Result<bool, StorageError> {
        set(&self.link, queue, paused)
            .await
            .map_err(|failure| failure.during("pause or resume a queue"))
    }

    async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError> {
        list(&self.link).await
    }

    async fn open_pause_listener(&self) -> Result<Box<dyn PauseListener>, StorageError> {
        let listener = RedisPauseListener::open(Arc::clone(&self.link)).await?;
        Ok(Box::new(listener))
    }
}

const LISTEN: &str = "listen for pauses";
const READ: &str = "read which queues are paused";

/// Pauses or resumes a queue. Returns whether that changed anything.
async fn set(link: &Link, queue: &QueueName, paused: bool) -> Result<bool, Failure> {
    let channel = link.keys.pauses_channel();
    let args = [arg(queue), arg(u8::from(paused)), channel.into()];
    let reply = link
        .run(&scripts::SET_PAUSED, &[link.keys.paused()], &args)
        .await?;
    Ok(reply::integer(reply)? == 1)
}

/// The queues that are paused, sorted.
async fn list(link: &Link) -> Result<Vec<QueueName>, StorageError> {
    let mut command = redis::cmd("SMEMBERS");
    command.arg(link.keys.paused());
    let reply = link.ask(&command).await;
    let names = reply.and_then(reply::queue_names);
    names.map_err(|failure| failure.during(READ))
}

/// A connection that is subscribed to the announcements.
#[derive(Debug)]
pub(crate) struct RedisPauseListener {
    link: Arc<Link>,
    connection: Connection,
    /// Notified of each announcement, and of the end of the connection.
    told: Arc<Notify>,
}

impl RedisPauseListener {
    pub(crate) async fn open(link: Arc<Link>) -> Result<Self, StorageError> {
        let told = Arc::new(Notify::new());
        let tell = Arc::clone(&told);
        let connected = link.connector.connect_with(move || tell.notify_one()).await;
        let mut connection = connected.map_err(|error| Failure::not_sent(error).during(LISTEN))?;
        match connection.subscribe(&link.keys.pauses_channel()).await {
            Ok(()) => {}
            // A user with restricted rights. The set is still read.
            Err(failure) if failure.applied() == Applied::NotApplied => log::warn!(
                error = %failure.during(LISTEN),
                "pauses for all nodes are noticed late: the server refuses the subscription"
            ),
            Err(failure) => return Err(failure.during(LISTEN)),
        }
        Ok(Self {
            link,
            connection,
            told,
        })
    }
}

#[async_trait]
impl PauseListener for RedisPauseListener {
    async fn paused(&mut self) -> Result<BTreeSet<QueueName>, StorageError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(self.link.keys.paused());
        let reply = self.connection.query(&command).await;
        let names = reply.and_then(reply::queue_names);
        let names = names.map_err(|failure| failure.during(READ))?;
        Ok(names.into_iter().collect())
    }

    async fn changed(&mut self) -> Result<(), StorageError> {
        if !self.connection.is_broken() {
            self.told.notified().await;
        }
        if self.connection.is_broken() {
            return Err(Failure::not_sent("the connection ended").during(LISTEN));
        }
        Ok(())
    }
}
