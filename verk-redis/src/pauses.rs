//! Queues that are paused for all nodes, and how a node learns of them: [`RedisPauseListener`].

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use bb8_redis::redis;
use bytes::Bytes;
use tokio::sync::Notify;
use verk_core::{
    QueueName, StorageError,
    error::Applied,
    log,
    storage::{MAX_BATCH_JOBS, PauseListener, PauseStore, StoredPause},
};

use crate::{
    connect::{
        link::Link,
        pool::Connection,
        reply,
        scripts::{self, Arg, arg},
    },
    error::Failure,
    storage::RedisStorage,
};

#[async_trait]
impl PauseStore for RedisStorage {
    async fn pause(&self, queue: &QueueName, note: &Bytes) -> Result<bool, StorageError> {
        set(&self.link, queue, Some(note))
            .await
            .map_err(|failure| failure.during("pause a queue"))
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StorageError> {
        set(&self.link, queue, None)
            .await
            .map_err(|failure| failure.during("resume a queue"))
    }

    async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError> {
        list(&self.link)
            .await
            .map_err(|failure| failure.during(READ))
    }

    async fn pauses(&self) -> Result<Vec<StoredPause>, StorageError> {
        with_notes(&self.link)
            .await
            .map_err(|failure| failure.during(READ))
    }

    async fn open_pause_listener(&self) -> Result<Box<dyn PauseListener>, StorageError> {
        let listener = RedisPauseListener::open(Arc::clone(&self.link)).await?;
        Ok(Box::new(listener))
    }
}

const LISTEN: &str = "listen for pauses";
const READ: &str = "read which queues are paused";

/// Pauses a queue with a note, or resumes it. Returns whether that changed anything.
async fn set(link: &Link, queue: &QueueName, pause: Option<&Bytes>) -> Result<bool, Failure> {
    let keys = [link.keys.paused(), link.keys.pauses()];
    let args = [
        arg(queue),
        arg(u8::from(pause.is_some())),
        link.keys.pauses_channel().into(),
        Arg::Borrowed(pause.map_or(&[], |note| &note[..])),
    ];
    let reply = link.run(&scripts::SET_PAUSED, &keys, &args).await?;
    Ok(reply::integer(reply)? == 1)
}

/// The queues that are paused, sorted.
async fn list(link: &Link) -> Result<Vec<QueueName>, Failure> {
    let mut command = redis::cmd("SMEMBERS");
    command.arg(link.keys.paused());
    reply::queue_names(link.ask(&command).await?)
}

/// The queues that are paused, sorted, with the notes of verk. A queue that another program resumed
/// may still have a note, which is not read.
async fn with_notes(link: &Link) -> Result<Vec<StoredPause>, Failure> {
    let mut pauses = Vec::new();
    for queues in list(link).await?.chunks(MAX_BATCH_JOBS) {
        let mut command = redis::cmd("HMGET");
        command.arg(link.keys.pauses());
        for queue in queues {
            command.arg(queue.as_str());
        }
        let mut notes = match link.ask(&command).await {
            // A key of another program.
            Err(failure) if failure.is_wrong_type() => Vec::new(),
            reply => reply::array(reply?)?,
        }
        .into_iter();
        pauses.extend(queues.iter().map(|queue| StoredPause {
            queue: queue.clone(),
            note: notes.next().and_then(|note| reply::payload(note).ok()),
        }));
    }
    Ok(pauses)
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
