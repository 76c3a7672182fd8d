//! [`RedisStorage`]: each method is one command or one script.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bb8_redis::redis::{self, Cmd, Value};
use bytes::Bytes;
use tokio::runtime::Handle;
use verk_core::{
    Day, DayStats, Jid, NodeId, QueueName, Storage, StorageError, SystemClock,
    storage::{
        DeadLimits, Due, DuePage, DueSet, ForeignPage, Heartbeat, Inprogress, JobSet, Lease,
        MAX_BATCH_BYTES, MAX_CUT_BY_TRIM, Move, NameClaim, Node, Page, PauseListener,
        ProcessReport, ProcessSignal, Promotion, QueueConnection, SchedulePoll, ScoredJob,
        ServerFacts, SetScan, Settled, Settlement, Source, StatsReport, StoredStats,
    },
    unix_seconds,
};

use crate::{
    batch,
    config::RedisConfig,
    connect::{
        enqueue,
        link::Link,
        pool::Connector,
        reply,
        runtimes::Runtimes,
        scripts::{self, Arg, arg},
        server,
    },
    error::{Error, Failure},
    fetch::{OpenQueues, RedisQueueConnection},
    heartbeat::{RedisHeartbeat, milliseconds},
    keys::{Key, Keys},
    manage, nodes,
    pauses::{self, RedisPauseListener},
    prefix, processes, stats,
};

/// Jobs in Redis or Valkey.
///
/// Clones share their connections. Each tokio runtime that uses a storage has a pool of its own, which
/// ends with the runtime: see [the page of the crate](crate#runtimes).
#[derive(Clone, Debug)]
pub struct RedisStorage {
    link: Arc<Link>,
    queues: Arc<OpenQueues>,
}

impl RedisStorage {
    /// Connects to a server and checks that it can be used; a server that may evict jobs is warned of.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`], [`Error::InvalidTls`] and [`Error::InvalidPrefix`] at once; [`Error::Connect`] when the server does not
    /// answer within the [connect time-out](RedisConfig::connect_timeout) and the [response
    /// time-out](RedisConfig::response_timeout) or refuses this client; [`Error::TooOld`] when it lacks commands;
    /// [`Error::NoRuntime`] outside of a tokio runtime.
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
        let keys = Arc::new(Keys::new(
            config.prefix.as_deref().unwrap_or_default(),
            config.schedule_keys.unwrap_or_default(),
        )?);
        if Handle::try_current().is_err() {
            return Err(Error::NoRuntime);
        }
        let connector = Connector::new(&config)?;
        let mut connection = connector
            .connect()
            .await
            .map_err(|error| Error::not_connected(connector.address(), connector.cause(error)))?;
        server::check(&connector, &mut connection).await?;
        let runtimes = Runtimes::new(connector.clone(), config.pool_size, Arc::clone(&keys));
        let link = Arc::new(Link {
            connector,
            runtimes: Arc::new(runtimes),
            keys,
            clock: Arc::new(SystemClock),
        });
        Ok(Self {
            queues: Arc::new(OpenQueues::new(
                Arc::clone(&link),
                config.blocking_connections,
            )),
            link,
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
        prefix::delete(&self.link).await
    }

    #[cfg(test)]
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    #[cfg(test)]
    pub(crate) fn open_queues(&self) -> &Arc<OpenQueues> {
        &self.queues
    }

    /// Asks something that changes nothing.
    async fn ask<T>(
        &self,
        op: &'static str,
        command: &Cmd,
        read: impl FnOnce(Value) -> Result<T, Failure>,
    ) -> Result<T, StorageError> {
        let reply = self.link.ask(command).await;
        reply.and_then(read).map_err(|failure| failure.during(op))
    }

    /// Reads a page of what `kind` says that `key` is.
    async fn page<T>(
        &self,
        op: &'static str,
        kind: &'static str,
        key: Key,
        page: Page,
        read: impl FnOnce(Value) -> Result<Vec<T>, Failure>,
    ) -> Result<Vec<T>, StorageError> {
        let [offset, limit] = bounds(page);
        let args = [arg(kind), offset, limit, arg(MAX_BATCH_BYTES)];
        let reply = self.link.ask_script(&scripts::PAGE, key, &args).await;
        reply.and_then(read).map_err(|failure| failure.during(op))
    }

    async fn settle_jobs(
        &self,
        op: &'static str,
        inprogress: &Inprogress,
        settlements: &[Settlement],
        of_dead_node: bool,
    ) -> Vec<Settled> {
        let calls = batch::settle_calls(&self.link.keys, inprogress, settlements, of_dead_node);
        batch::run(&self.link, op, &scripts::SETTLE, calls, settlements.len()).await
    }
}

#[async_trait]
impl Storage for RedisStorage {
    fn address(&self) -> String {
        self.link.connector.address_and_database()
    }

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
        self.page("read jobs in progress", "left", key, page, reply::payloads)
            .await
    }

    async fn due(&self, set: DueSet, now: SystemTime, page: Page) -> Result<DuePage, StorageError> {
        let [offset, limit] = bounds(page);
        let args = [arg(unix_seconds(now)), offset, limit, arg(MAX_BATCH_BYTES)];
        let key = self.link.keys.set(set.into());
        let reply = self.link.ask_script(&scripts::DUE, key, &args).await;
        let page = reply.and_then(|reply| match <[Value; 2]>::try_from(reply::array(reply)?) {
            Ok([jobs, next]) => Ok(DuePage {
                jobs: reply::payloads(jobs)?,
                next: reply::due_time(next)?,
            }),
            Err(_) => Err(Failure::unexpected_reply("jobs and a score")),
        });
        page.map_err(|failure| failure.during("look for due jobs"))
    }

    async fn poll_schedule(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<SchedulePoll, StorageError> {
        let keys = &self.link.keys;
        let keys = [
            keys.lease(),
            keys.set(JobSet::Schedule),
            keys.set(JobSet::Retry),
        ];
        let args = [arg(node), arg(milliseconds(ttl))];
        let reply = (self.link.run(&scripts::POLL_SCHEDULE, &keys, &args)).await;
        let poll = reply.and_then(|reply| match <[Value; 3]>::try_from(reply::array(reply)?) {
            Ok([left, schedule, retry]) => Ok(SchedulePoll {
                lease: match u64::try_from(reply::integer(left)?) {
                    Ok(left) => Lease::Held {
                        ttl: Duration::from_millis(left),
                    },
                    Err(_) => Lease::Granted,
                },
                schedule: reply::due_time(schedule)?,
                retry: reply::due_time(retry)?,
            }),
            Err(_) => Err(Failure::unexpected_reply("a lease and two scores")),
        });
        poll.map_err(|failure| failure.during("look when a job is due"))
    }

    async fn promote(
        &self,
        set: DueSet,
        now: SystemTime,
        promotions: &[Promotion],
    ) -> Vec<Settled> {
        let calls = batch::promote_calls(&self.link.keys, set, unix_seconds(now), promotions);
        batch::run(
            &self.link,
            "move due jobs",
            &scripts::PROMOTE,
            calls,
            promotions.len(),
        )
        .await
    }

    async fn trim_dead(&self, now: SystemTime, limits: DeadLimits) -> Result<bool, StorageError> {
        let keys = [self.link.keys.set(JobSet::Dead)];
        let [oldest, max_jobs] = batch::dead_limits(now, limits);
        let args = [oldest, max_jobs, arg(MAX_CUT_BY_TRIM)];
        let reply = self.link.run(&scripts::TRIM_DEAD, &keys, &args).await;
        reply
            .and_then(|more| Ok(reply::integer(more)? == 1))
            .map_err(|failure| failure.during("cut the dead set"))
    }

    async fn claim_name(&self, node: &NodeId, ttl: Duration) -> Result<NameClaim, StorageError> {
        nodes::claim_name(&self.link, node, ttl)
            .await
            .map_err(|failure| failure.during("claim the name of a node"))
    }

    async fn register(
        &self,
        node: &NodeId,
        queues: &[QueueName],
        ttl: Duration,
    ) -> Result<(), StorageError> {
        let keys = &self.link.keys;
        let mut args = vec![arg(milliseconds(ttl)), arg(node)];
        args.extend(queues.iter().map(arg));
        let keys = [keys.heartbeat(node), keys.nodes(), keys.node_queues(node)];
        match self.link.run(&scripts::REGISTER, &keys, &args).await {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.during("register a node")),
        }
    }

    async fn open_heartbeat(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Box<dyn Heartbeat>, StorageError> {
        let heartbeat = RedisHeartbeat::open(Arc::clone(&self.link), node, ttl).await?;
        Ok(Box::new(heartbeat))
    }

    async fn deregister(&self, node: &NodeId) -> Result<bool, StorageError> {
        nodes::deregister(&self.link, node)
            .await
            .map_err(|failure| failure.during("deregister a node"))
    }

    async fn nodes(&self) -> Result<Vec<Node>, StorageError> {
        nodes::list(&self.link)
            .await
            .map_err(|failure| failure.during("list the nodes"))
    }

    async fn silent_nodes(&self) -> Result<Vec<Node>, StorageError> {
        nodes::silent(&self.link)
            .await
            .map_err(|failure| failure.during("look for nodes without a heartbeat"))
    }

    async fn restore(&self, inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        self.settle_jobs("restore jobs", inprogress, settlements, true)
            .await
    }

    async fn set_paused(&self, queue: &QueueName, paused: bool) -> Result<bool, StorageError> {
        pauses::set(&self.link, queue, paused)
            .await
            .map_err(|failure| failure.during("pause or resume a queue"))
    }

    async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError> {
        pauses::list(&self.link).await
    }

    async fn open_pause_listener(&self) -> Result<Box<dyn PauseListener>, StorageError> {
        let listener = RedisPauseListener::open(Arc::clone(&self.link)).await?;
        Ok(Box::new(listener))
    }

    async fn prefetched(&self, inprogress: &Inprogress) -> Result<usize, StorageError> {
        nodes::prefetched(&self.link, inprogress)
            .await
            .map_err(|failure| failure.during("ask what was prefetched"))
    }

    async fn count_deaths(
        &self,
        node: &NodeId,
        started: &[Jid],
    ) -> Result<HashMap<Jid, u32>, StorageError> {
        nodes::count_deaths(&self.link, node, started)
            .await
            .map_err(|failure| failure.during("count the deaths of jobs"))
    }

    async fn foreign_lists(&self, cursor: u64) -> Result<ForeignPage, StorageError> {
        nodes::foreign_lists(&self.link, cursor)
            .await
            .map_err(|failure| failure.during("look for lists of other nodes"))
    }

    async fn record_stats(
        &self,
        node: &NodeId,
        sequence: u64,
        report: &StatsReport,
    ) -> Result<bool, StorageError> {
        stats::record(&self.link, node, sequence, report)
            .await
            .map_err(|failure| failure.during("store statistics"))
    }

    async fn stats(&self, queues: &[QueueName]) -> Result<StoredStats, StorageError> {
        stats::read(&self.link, queues)
            .await
            .map_err(|failure| failure.during("read statistics"))
    }

    async fn day_stats(&self, days: &[Day]) -> Result<Vec<DayStats>, StorageError> {
        stats::of_days(&self.link, days)
            .await
            .map_err(|failure| failure.during("read the statistics of days"))
    }

    async fn report_process(
        &self,
        report: &ProcessReport,
    ) -> Result<Vec<ProcessSignal>, StorageError> {
        processes::report(&self.link, report)
            .await
            .map_err(|failure| failure.during("show a process"))
    }

    async fn forget_process(&self, identity: &str) -> Result<(), StorageError> {
        processes::forget(&self.link, identity)
            .await
            .map_err(|failure| failure.during("forget a process"))
    }

    async fn processes(&self) -> Result<Vec<ProcessReport>, StorageError> {
        processes::list(&self.link)
            .await
            .map_err(|failure| failure.during("list the processes"))
    }

    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<(), StorageError> {
        processes::send(&self.link, identity, signal)
            .await
            .map_err(|failure| failure.during("ask something of a process"))
    }

    async fn prune_processes(&self) -> Result<usize, StorageError> {
        processes::prune(&self.link)
            .await
            .map_err(|failure| failure.during("forget processes that ended"))
    }

    fn lost_connections(&self) -> u64 {
        self.link.connector.lost()
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
        command.arg(self.link.keys.queues());
        self.ask("list the queues", &command, reply::queue_names)
            .await
    }

    async fn queue_len(&self, queue: &QueueName) -> Result<usize, StorageError> {
        let mut command = redis::cmd("LLEN");
        command.arg(self.link.keys.queue(queue));
        self.ask("count the jobs of a queue", &command, reply::count)
            .await
    }

    async fn queue_page(&self, queue: &QueueName, page: Page) -> Result<Vec<Bytes>, StorageError> {
        // The next to be fetched is the last of the list.
        let key = self.link.keys.queue(queue);
        self.page(
            "read the jobs of a queue",
            "right",
            key,
            page,
            reply::payloads,
        )
        .await
    }

    async fn set_len(&self, set: JobSet) -> Result<usize, StorageError> {
        let mut command = redis::cmd("ZCARD");
        command.arg(self.link.keys.set(set));
        self.ask("count the jobs of a set", &command, reply::count)
            .await
    }

    async fn set_page(&self, set: JobSet, page: Page) -> Result<Vec<ScoredJob>, StorageError> {
        let key = self.link.keys.set(set);
        self.page("read the jobs of a set", "set", key, page, reply::scored)
            .await
    }

    async fn server_facts(&self) -> Result<ServerFacts, StorageError> {
        server::facts(&self.link)
            .await
            .map_err(|failure| failure.during("ask Redis about itself"))
    }

    async fn newest_page(&self, queue: &QueueName, page: Page) -> Result<Vec<Bytes>, StorageError> {
        let key = self.link.keys.queue(queue);
        self.page(
            "read the jobs of a queue",
            "left",
            key,
            page,
            reply::payloads,
        )
        .await
    }

    async fn scan_set(
        &self,
        set: JobSet,
        cursor: u64,
        text: &str,
    ) -> Result<SetScan, StorageError> {
        manage::scan_set(&self.link, set, cursor, text)
            .await
            .map_err(|failure| failure.during("search the jobs of a set"))
    }

    async fn move_jobs(&self, from: &Source, moves: &[Move]) -> Vec<Settled> {
        if moves.is_empty() {
            return Vec::new();
        }
        let max_moves = manage::max_moves(&self.link, from).await;
        let calls = manage::move_calls(&self.link.keys, from, moves, max_moves);
        batch::run(&self.link, "move jobs", &scripts::MOVE, calls, moves.len()).await
    }

    async fn clear(&self, source: &Source) -> Result<usize, StorageError> {
        manage::clear(&self.link, source)
            .await
            .map_err(|failure| failure.during("clear a queue or a set"))
    }
}

/// The first place of a page and the most entries in it, for a script.
fn bounds(page: Page) -> [Arg<'static>; 2] {
    /// No list is as long, and Lua counts so far.
    const END: usize = 1 << 50;
    [page.offset, page.limit].map(|number| arg(number.min(END)))
}
