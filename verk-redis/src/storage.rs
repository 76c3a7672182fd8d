//! [`RedisStorage`]. The methods are in a file for each part of `Storage`: each is one command or
//! one script.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bb8_redis::redis::{self, Cmd, Value};
use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::runtime::Handle;
use verk_core::{
    StorageError,
    storage::{Inprogress, MAX_BATCH_BYTES, Page, Server, ServerFacts, Settled, Settlement},
    time::SystemClock,
};

use crate::{
    batch,
    config::RedisConfig,
    connect::{
        cells,
        fleet::Fleet,
        link::Link,
        pool::Connector,
        reply,
        runtimes::Runtimes,
        scripts::{self, Arg, arg},
        server,
    },
    error::{Error, Failure},
    fetch::{Blocking, OpenQueues},
    keys::{Key, Keys},
    prefix,
};

/// Jobs in Redis or Valkey.
///
/// Clones share their connections. Each tokio runtime that uses a storage has a pool of its own,
/// which ends with the runtime: see [the page of the crate](crate#runtimes).
#[derive(Clone, Debug)]
pub struct RedisStorage {
    pub(crate) link: Arc<Link>,
    pub(crate) queues: Arc<OpenQueues>,
}

impl RedisStorage {
    /// Connects to a server and checks that it can be used. It warns of a server that may evict
    /// jobs.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`], [`Error::InvalidTls`] and [`Error::InvalidPrefix`] at once, and on a
    /// cluster [`Error::NoHashTag`], [`Error::InvalidCells`] and [`Error::TagWithCells`];
    /// [`Error::Connect`] when the server does not answer within the [connect
    /// time-out](RedisConfig::connect_timeout) and the [response
    /// time-out](RedisConfig::response_timeout), or refuses this client; [`Error::TooOld`] when it
    /// lacks commands; [`Error::NoRuntime`] outside of a tokio runtime.
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
        let mut cells = cells::each(config.into())?;
        match (cells.pop(), cells.len()) {
            (Some(only), 0) => Self::connect_to(only).await,
            (_, others) => Err(Error::InvalidCells {
                cells: others + 1,
                reason: "RedisStorage::connect makes one storage, RedisStorage::connect_cells one for each cell",
            }),
        }
    }

    /// Connects to all [cells](RedisConfig::cells) of a cluster, in their order; to the one storage
    /// of a configuration without cells.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), if one of them fails.
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
    /// let cells = RedisStorage::connect_cells("redis+cluster://c1:7000,c2:7000/?cells=16").await?;
    /// assert_eq!(cells.len(), 16);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_cells(config: impl Into<RedisConfig>) -> Result<Vec<Self>, Error> {
        let cells = cells::each(config.into())?;
        if cells.len() == 1 {
            let only = cells.into_iter().map(Self::connect_to);
            return try_join_all(only).await;
        }
        let keys = cells.iter().map(keys).collect::<Result<Vec<_>, _>>()?;
        if Handle::try_current().is_err() {
            return Err(Error::NoRuntime);
        }
        let (fleet, connectors) = Fleet::new(&cells)?;
        fleet.check().await?;
        let blocking = Arc::new(Blocking::new(cells[0].blocking_connections));
        let cells = connectors.into_iter().zip(keys).zip(&cells);
        let storages = cells.map(|((connector, keys), config)| {
            Self::with(connector, keys, config.pool_size, Arc::clone(&blocking))
        });
        Ok(storages.collect())
    }

    /// Connects to the storage of a configuration without cells.
    async fn connect_to(config: RedisConfig) -> Result<Self, Error> {
        let keys = keys(&config)?;
        if Handle::try_current().is_err() {
            return Err(Error::NoRuntime);
        }
        let connector = Connector::new(&config)?;
        let mut connection = connector
            .connect()
            .await
            .map_err(|error| Error::not_connected(connector.address(), connector.cause(error)))?;
        server::check(&connector, &mut connection).await?;
        let blocking = Arc::new(Blocking::new(config.blocking_connections));
        Ok(Self::with(connector, keys, config.pool_size, blocking))
    }

    fn with(
        connector: Connector,
        keys: Arc<Keys>,
        pool_size: u32,
        blocking: Arc<Blocking>,
    ) -> Self {
        let runtimes = Runtimes::new(connector.clone(), pool_size, Arc::clone(&keys));
        let link = Arc::new(Link {
            connector,
            runtimes: Arc::new(runtimes),
            keys,
            clock: Arc::new(SystemClock),
        });
        Self {
            queues: Arc::new(OpenQueues::new(Arc::clone(&link), blocking)),
            link,
        }
    }

    /// Deletes every key under the prefix, also those of other programs. For tests and examples.
    ///
    /// It is not atomic: keys that are made meanwhile may stay.
    ///
    /// # Errors
    ///
    /// [`Error::NoPrefix`] without a prefix, and nothing is deleted; [`Error::Storage`] when Redis
    /// fails: some keys may be deleted then.
    pub async fn delete_prefix(&self) -> Result<(), Error> {
        prefix::delete(&self.link).await
    }

    /// Asks something that changes nothing.
    pub(crate) async fn ask<T>(
        &self,
        op: &'static str,
        command: &Cmd,
        read: impl FnOnce(Value) -> Result<T, Failure>,
    ) -> Result<T, StorageError> {
        let reply = self.link.ask(command).await;
        reply.and_then(read).map_err(|failure| failure.during(op))
    }

    /// Reads a page of a list, from its left end on.
    pub(crate) async fn read_page(
        &self,
        op: &'static str,
        key: Key,
        page: Page,
    ) -> Result<Vec<Bytes>, StorageError> {
        let [offset, limit] = bounds(page);
        let args = [offset, limit, arg(MAX_BATCH_BYTES)];
        let reply = self.link.ask_script(&scripts::PAGE, key, &args).await;
        reply
            .and_then(reply::payloads)
            .map_err(|failure| failure.during(op))
    }

    pub(crate) async fn settle_jobs(
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
impl Server for RedisStorage {
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

    async fn server_facts(&self) -> Result<ServerFacts, StorageError> {
        server::facts(&self.link)
            .await
            .map_err(|failure| failure.during("ask Redis about itself"))
    }

    fn lost_connections(&self) -> u64 {
        self.link.connector.lost()
    }

    fn address(&self) -> String {
        self.link.connector.address_and_database()
    }
}

fn keys(config: &RedisConfig) -> Result<Arc<Keys>, Error> {
    let prefix = config.prefix.as_deref().unwrap_or_default();
    let schedule_keys = config.schedule_keys.unwrap_or_default();
    Keys::new(prefix, schedule_keys).map(Arc::new)
}

/// The first place of a page and the most entries in it, for a script.
pub(crate) fn bounds(page: Page) -> [Arg<'static>; 2] {
    /// No list is that long, and Lua counts exactly up to this number.
    const END: usize = 1 << 50;
    [page.offset, page.limit].map(|number| arg(number.min(END)))
}
