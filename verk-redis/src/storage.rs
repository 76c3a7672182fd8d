//! [`RedisStorage`]: each method is one command or one script.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bb8_redis::redis::{self, Cmd, Value};
use bytes::Bytes;
use verk_core::{
    Day, DayStats, NodeId, QueueName, Storage, StorageError, SystemClock, from_unix_seconds,
    storage::{
        Due, DuePage, DueSet, Heartbeat, Inprogress, JobSet, NameClaim, Node, Page, ProcessReport,
        ProcessSignal, Promotion, QueueConnection, ScoredJob, Settled, Settlement, StatsReport,
        StoredStats,
    },
    unix_seconds,
};

use crate::{
    batch,
    config::RedisConfig,
    error::{Error, Failure},
    heartbeat::{RedisHeartbeat, milliseconds},
    keys::Keys,
    nodes,
    pool::{Connector, Pool},
    prefix, processes,
    queue_connection::RedisQueueConnection,
    reply,
    scripts::{self, arg},
    server,
    shared::Shared,
    stats,
};

/// Jobs in Redis or Valkey.
///
/// Clones share one pool of connections. A storage works in the tokio runtime that it was connected in.
#[derive(Clone, Debug)]
pub struct RedisStorage {
    shared: Arc<Shared>,
}

impl RedisStorage {
    /// Connects to a server and checks that it can be used; a server that may evict jobs is warned of.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`] and [`Error::InvalidPrefix`] at once; [`Error::Connect`] when the server does not
    /// answer within the [connect time-out](RedisConfig::connect_timeout) and the [response
    /// time-out](RedisConfig::response_timeout) or refuses this client; [`Error::TooOld`] when it lacks commands.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use verk_redis::RedisStorage;
    ///
    /// # async fn example() -> Result<(), verk_redis::Error> {
    /// let storage = RedisStorage::connect("redis://127.0.0.1:6379").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(config: impl Into<RedisConfig>) -> Result<Self, Error> {
        let config = config.into();
        let keys = Keys::new(config.prefix.as_deref().unwrap_or_default())?;
        let connector = Connector::new(&config)?;
        let mut connection = connector.connect().await.map_err(|error| Error::Connect {
            address: connector.address(),
            source: error.into(),
        })?;
        server::check(&connector, &mut connection).await?;
        let pool = Pool::new(connector.clone(), config.pool_size);
        Ok(Self {
            shared: Arc::new(Shared {
                connector,
                pool,
                keys,
                clock: Arc::new(SystemClock),
            }),
        })
    }

    /// Deletes every key under the prefix, whoever made it. For tests and examples.
    ///
    /// Not atomic: keys that are made meanwhile may stay.
    ///
    /// # Errors
    ///
    /// [`Error::NoPrefix`] without a prefix, and nothing is deleted; [`Error::Storage`] when Redis fails: some
    /// keys may be deleted then.
    pub async fn delete_prefix(&self) -> Result<(), Error> {
        prefix::delete(&self.shared).await
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Asks something that changes nothing.
    async fn ask<T>(
        &self,
        op: &'static str,
        command: &Cmd,
        read: impl FnOnce(Value) -> Result<T, Failure>,
    ) -> Result<T, StorageError> {
        let reply = self.shared.ask(command).await;
        reply.and_then(read).map_err(|failure| failure.during(op))
    }

    async fn settle_guarded(
        &self,
        op: &'static str,
        inprogress: &Inprogress,
        settlements: &[Settlement],
        guarded: bool,
    ) -> Vec<Settled> {
        let keys = &self.shared.keys;
        let guard = guarded.then(|| keys.heartbeat(&inprogress.node));
        let calls = batch::settle_calls(keys, inprogress, settlements, guard);
        self.shared
            .run_batch(op, &scripts::SETTLE, calls, settlements.len())
            .await
    }
}

#[async_trait]
impl Storage for RedisStorage {
    async fn enqueue(&self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), StorageError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let keys = &self.shared.keys;
        let mut commands = redis::pipe();
        commands
            .cmd("SADD")
            .arg(keys.queues())
            .arg(queue.as_str())
            .cmd("LPUSH")
            .arg(keys.queue(queue));
        for job in jobs {
            commands.arg(&job[..]);
        }
        let replies = async {
            let replies = self.shared.pool.get().await?.query_all(&commands).await?;
            <[_; 2]>::try_from(replies).map_err(|_| Failure::unexpected_reply("two replies"))
        };
        let pushed = replies.await.and_then(|[named, pushed]| {
            pushed?;
            Ok(named.err())
        });
        let unnamed = pushed.map_err(|failure| failure.during("enqueue jobs"))?;
        if let Some(failure) = unnamed {
            let error = failure.during("add a queue to the list of queues");
            tracing::warn!(%queue, error = ?error, "jobs are enqueued, but their queue may not be listed");
        }
        Ok(())
    }

    async fn schedule(&self, jobs: &[Due]) -> Result<usize, StorageError> {
        if jobs.is_empty() {
            return Ok(0);
        }
        let mut command = redis::cmd("ZADD");
        command.arg(self.shared.keys.set(JobSet::Schedule));
        for due in jobs {
            command.arg(&*arg(unix_seconds(due.at))).arg(&due.job[..]);
        }
        let reply = self.shared.query(&command).await;
        let added = reply.and_then(reply::count);
        let added = added.map_err(|failure| failure.during("schedule jobs"))?;
        Ok(jobs.len().saturating_sub(added))
    }

    async fn open_queue(
        &self,
        inprogress: &Inprogress,
    ) -> Result<Box<dyn QueueConnection>, StorageError> {
        let shared = Arc::clone(&self.shared);
        let connection = RedisQueueConnection::open(shared, inprogress).await?;
        Ok(Box::new(connection))
    }

    async fn settle(&self, inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        self.settle_guarded("settle jobs", inprogress, settlements, false)
            .await
    }

    async fn inprogress(
        &self,
        inprogress: &Inprogress,
        page: Page,
    ) -> Result<Vec<Bytes>, StorageError> {
        let Some((first, last)) = bounds(page) else {
            return Ok(Vec::new());
        };
        let key = (self.shared.keys).inprogress(&inprogress.queue, &inprogress.node);
        let mut command = redis::cmd("LRANGE");
        command.arg(key).arg(first).arg(last);
        self.ask("read jobs in progress", &command, reply::payloads)
            .await
    }

    async fn due(&self, set: DueSet, now: SystemTime, page: Page) -> Result<DuePage, StorageError> {
        let key = self.shared.keys.set(set.into());
        let now = arg(unix_seconds(now));
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let offset = i64::try_from(page.offset).unwrap_or(i64::MAX);
        let beyond = offset.saturating_add(limit);
        let mut commands = redis::pipe();
        // The due ones of the page; the one after a full page; the first that is not due.
        commands
            .cmd("ZRANGE")
            .arg(&key)
            .arg("-inf")
            .arg(&*now)
            .arg("BYSCORE")
            .arg("LIMIT")
            .arg(offset)
            .arg(limit)
            .cmd("ZRANGE")
            .arg(&key)
            .arg(beyond)
            .arg(beyond)
            .arg("WITHSCORES")
            .cmd("ZRANGE")
            .arg(&key)
            .arg([b"(", &*now].concat())
            .arg("+inf")
            .arg("BYSCORE")
            .arg("LIMIT")
            .arg(0)
            .arg(1)
            .arg("WITHSCORES");
        let page = async {
            let replies = self.shared.ask_all(&commands).await?;
            let [due, beyond, later] = <[_; 3]>::try_from(replies)
                .map_err(|_| Failure::unexpected_reply("three replies"))?;
            let jobs = reply::payloads(due?)?;
            let full = i64::try_from(jobs.len()) == Ok(limit);
            let next = reply::scored(if full { beyond? } else { later? })?;
            Ok(DuePage {
                jobs,
                next: next.first().map(|next| from_unix_seconds(next.score)),
            })
        };
        page.await
            .map_err(|failure: Failure| failure.during("look for due jobs"))
    }

    async fn promote(
        &self,
        set: DueSet,
        now: SystemTime,
        promotions: &[Promotion],
    ) -> Vec<Settled> {
        let calls = batch::promote_calls(&self.shared.keys, set, unix_seconds(now), promotions);
        self.shared
            .run_batch("move due jobs", &scripts::PROMOTE, calls, promotions.len())
            .await
    }

    async fn claim_name(&self, node: &NodeId, ttl: Duration) -> Result<NameClaim, StorageError> {
        nodes::claim_name(&self.shared, node, ttl)
            .await
            .map_err(|failure| failure.during("claim the name of a node"))
    }

    async fn register(
        &self,
        node: &NodeId,
        queues: &[QueueName],
        ttl: Duration,
    ) -> Result<(), StorageError> {
        let keys = &self.shared.keys;
        let mut args = vec![arg(milliseconds(ttl)), arg(node)];
        args.extend(queues.iter().map(arg));
        let keys = [keys.heartbeat(node), keys.nodes(), keys.node_queues(node)];
        match self.shared.run(&scripts::REGISTER, &keys, &args).await {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.during("register a node")),
        }
    }

    async fn open_heartbeat(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Box<dyn Heartbeat>, StorageError> {
        let heartbeat = RedisHeartbeat::open(Arc::clone(&self.shared), node, ttl).await?;
        Ok(Box::new(heartbeat))
    }

    async fn deregister(&self, node: &NodeId) -> Result<bool, StorageError> {
        nodes::deregister(&self.shared, node)
            .await
            .map_err(|failure| failure.during("deregister a node"))
    }

    async fn nodes(&self) -> Result<Vec<Node>, StorageError> {
        nodes::list(&self.shared)
            .await
            .map_err(|failure| failure.during("list the nodes"))
    }

    async fn restore(&self, inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        self.settle_guarded("restore jobs", inprogress, settlements, true)
            .await
    }

    async fn record_stats(
        &self,
        node: &NodeId,
        sequence: u64,
        report: &StatsReport,
    ) -> Result<bool, StorageError> {
        stats::record(&self.shared, node, sequence, report)
            .await
            .map_err(|failure| failure.during("store statistics"))
    }

    async fn stats(&self, queues: &[QueueName]) -> Result<StoredStats, StorageError> {
        stats::read(&self.shared, queues)
            .await
            .map_err(|failure| failure.during("read statistics"))
    }

    async fn day_stats(&self, days: &[Day]) -> Result<Vec<DayStats>, StorageError> {
        stats::of_days(&self.shared, days)
            .await
            .map_err(|failure| failure.during("read the statistics of days"))
    }

    async fn report_process(
        &self,
        report: &ProcessReport,
    ) -> Result<Vec<ProcessSignal>, StorageError> {
        processes::report(&self.shared, report)
            .await
            .map_err(|failure| failure.during("show a process"))
    }

    async fn forget_process(&self, identity: &str) -> Result<(), StorageError> {
        processes::forget(&self.shared, identity)
            .await
            .map_err(|failure| failure.during("forget a process"))
    }

    async fn processes(&self) -> Result<Vec<ProcessReport>, StorageError> {
        processes::list(&self.shared)
            .await
            .map_err(|failure| failure.during("list the processes"))
    }

    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<(), StorageError> {
        processes::send(&self.shared, identity, signal)
            .await
            .map_err(|failure| failure.during("ask something of a process"))
    }

    async fn prune_processes(&self) -> Result<usize, StorageError> {
        processes::prune(&self.shared)
            .await
            .map_err(|failure| failure.during("forget processes that ended"))
    }

    async fn server_time(&self) -> Result<SystemTime, StorageError> {
        self.ask(
            "ask for the time",
            &redis::cmd("TIME"),
            |reply| match <[Value; 2]>::try_from(reply::array(reply)?) {
                Ok([seconds, microseconds]) => reply::time(seconds, microseconds),
                Err(_) => Err(Failure::unexpected_reply("a time of day")),
            },
        )
        .await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StorageError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(self.shared.keys.queues());
        self.ask("list the queues", &command, reply::queue_names)
            .await
    }

    async fn queue_len(&self, queue: &QueueName) -> Result<usize, StorageError> {
        let mut command = redis::cmd("LLEN");
        command.arg(self.shared.keys.queue(queue));
        self.ask("count the jobs of a queue", &command, reply::count)
            .await
    }

    async fn queue_page(&self, queue: &QueueName, page: Page) -> Result<Vec<Bytes>, StorageError> {
        let Some((first, last)) = bounds(page) else {
            return Ok(Vec::new());
        };
        // The next to be fetched is the last of the list.
        let mut command = redis::cmd("LRANGE");
        command
            .arg(self.shared.keys.queue(queue))
            .arg(-1 - last)
            .arg(-1 - first);
        let mut jobs = self
            .ask("read the jobs of a queue", &command, reply::payloads)
            .await?;
        jobs.reverse();
        Ok(jobs)
    }

    async fn set_len(&self, set: JobSet) -> Result<usize, StorageError> {
        let mut command = redis::cmd("ZCARD");
        command.arg(self.shared.keys.set(set));
        self.ask("count the jobs of a set", &command, reply::count)
            .await
    }

    async fn set_page(&self, set: JobSet, page: Page) -> Result<Vec<ScoredJob>, StorageError> {
        let Some((first, last)) = bounds(page) else {
            return Ok(Vec::new());
        };
        let mut command = redis::cmd("ZRANGE");
        command
            .arg(self.shared.keys.set(set))
            .arg(first)
            .arg(last)
            .arg("WITHSCORES");
        self.ask("read the jobs of a set", &command, reply::scored)
            .await
    }
}

/// The first and the last place of a page; `None` when there is none.
fn bounds(page: Page) -> Option<(i64, i64)> {
    /// No list is as long, and no sum here overflows.
    const END: i64 = i64::MAX / 4;
    let bounded = |number| i64::try_from(number).unwrap_or(END).min(END);
    let first = bounded(page.offset);
    match bounded(page.limit) {
        0 => None,
        limit => Some((first, first + limit - 1)),
    }
}
