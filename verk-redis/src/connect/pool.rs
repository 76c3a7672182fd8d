//! Connections: how they are opened, the shared pool, and when one is given up.
//!
//! A connection carries many requests at once. So the pool does not lend connections, but returns
//! clones in turn. A connection that once gave no reply is broken, and the pool replaces it. The
//! others may have vanished with it, so each is checked before its next use. Otherwise the pool
//! never sends a ping.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bb8_redis::{
    bb8::{self, ManageConnection, QueueStrategy, RunError},
    redis::{
        self, AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, PushInfo, PushKind, RedisError,
        Value, aio::ConnectionLike,
    },
};
use futures_util::future::{Either, select};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use verk_core::{
    error::Applied,
    time::{Clock, SystemClock},
};

use crate::{
    config::RedisConfig,
    connect::{
        driven::Driven,
        endpoint::{By, Endpoint},
        fleet::For,
        identity::Identity,
        primaries::{AtPrimary, Primaries},
        slot::Slot,
    },
    error::{Error, Failure, applied, cause::Cause, redirect::Redirect},
};

/// Opens connections to one server, or to the primary of several.
#[derive(Clone)]
pub(crate) struct Connector {
    endpoint: Arc<Endpoint>,
    connect_timeout: Duration,
    response_timeout: Duration,
    /// Why the pool could not connect the last time. The pool's own error only says that time ran
    /// out.
    last_error: Arc<Mutex<Option<RedisError>>>,
    losses: Arc<Losses>,
    /// `None` without a cluster.
    slot: Option<Arc<Slot>>,
}

/// Where a new connection leads.
enum To<'a> {
    Primary(By),
    /// By its address.
    Server(&'a str),
}

/// How many connections are gone.
#[derive(Debug, Default)]
struct Losses {
    /// How many broke.
    broken: AtomicU64,
    /// How often a reply did not come in time. After each time, all older connections are in doubt.
    silences: AtomicU64,
}

impl Connector {
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, Error> {
        let endpoint = Endpoint::new(config)?;
        Ok(Self {
            slot: endpoint.slot().map(|slot| Arc::new(Slot::new(slot))),
            endpoint: Arc::new(endpoint),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            last_error: Arc::default(),
            losses: Arc::default(),
        })
    }

    /// As this one, with other servers: their losses count together.
    pub(crate) fn with(&self, endpoint: Endpoint, slot: Option<Slot>) -> Self {
        Self {
            endpoint: Arc::new(endpoint),
            slot: slot.map(Arc::new),
            last_error: Arc::default(),
            ..self.clone()
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where the server is, without credentials.
    pub(crate) fn address(&self) -> String {
        self.endpoint.address()
    }

    /// As [`Self::address`], with the number of the database, unless that is 0, and for a cell with
    /// its primary, if that is known.
    pub(crate) fn address_and_database(&self) -> String {
        let cell = self.slot().and_then(Slot::cell);
        if let Some(owner) = cell.and_then(|(fleet, cell)| fleet.owner(cell)) {
            return format!("{}, at {owner}", self.address());
        }
        match self.endpoint.database() {
            0 => self.address(),
            database => format!("{}, database {database}", self.address()),
        }
    }

    /// Why a connection could not be opened.
    pub(crate) fn cause(&self, error: RedisError) -> Cause {
        self.endpoint.cause(error)
    }

    /// How many connections broke. The first cell counts for all that share theirs.
    pub(crate) fn lost(&self) -> u64 {
        if let Some((_, 1..)) = self.slot().and_then(Slot::cell) {
            return 0;
        }
        self.losses.broken.load(Ordering::Relaxed)
    }

    /// How often a reply did not come in time.
    fn silences(&self) -> u64 {
        self.losses.silences.load(Ordering::Relaxed)
    }

    /// The slot of all keys; `None` without a cluster.
    pub(crate) fn slot(&self) -> Option<&Slot> {
        self.slot.as_deref()
    }

    /// How long an operation may wait for a connection.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How long a reply may take.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// Opens a connection, bound to the calling runtime.
    pub(crate) async fn connect(&self) -> Result<Connection, RedisError> {
        self.connect_with(|| ()).await
    }

    /// As [`connect`](Self::connect), for one task that uses the connection alone. The connection
    /// has no task of its own, if that is possible: see [`Driven`].
    pub(crate) async fn connect_alone(&self) -> Result<Connection, RedisError> {
        self.open(To::Primary(By::ItsRequests), || ()).await
    }

    /// As [`connect`](Self::connect), to a server of a cluster that another one named.
    pub(crate) async fn connect_to(&self, address: &str) -> Result<Connection, RedisError> {
        self.open(To::Server(address), || ()).await
    }

    /// As [`connect`](Self::connect). It calls `told` for each message on a channel that the
    /// connection [subscribed](Connection::subscribe) to, and when the connection ended.
    pub(crate) async fn connect_with(
        &self,
        told: impl Fn() + Send + Sync + 'static,
    ) -> Result<Connection, RedisError> {
        self.open(To::Primary(By::ATask), told).await
    }

    async fn open(
        &self,
        to: To<'_>,
        told: impl Fn() + Send + Sync + 'static,
    ) -> Result<Connection, RedisError> {
        if Handle::try_current().is_err() {
            let what = "there is no tokio runtime here";
            return Err((ErrorKind::InvalidClientConfig, what).into());
        }
        let proven = self.silences();
        let broken = Broken {
            is: Arc::default(),
            losses: Arc::clone(&self.losses),
        };
        let on_push = {
            let broken = broken.clone();
            move |push: PushInfo| {
                match push.kind {
                    PushKind::Disconnection => broken.set(),
                    PushKind::Message => {}
                    _ => return Ok(()),
                }
                told();
                Ok::<(), std::convert::Infallible>(())
            }
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout))
            .set_push_sender(on_push);
        let patience = self.connect_timeout;
        let connected = match to {
            To::Primary(by) => self.endpoint.connect(by, &config, patience).await,
            To::Server(address) => self.endpoint.connect_to(address, &config, patience).await,
        };
        let mut inner = connected.map_err(|error| self.without_password(error))?;
        let identity = Identity::introduce(&mut inner).await?;
        Ok(Connection {
            inner,
            broken,
            proven,
            identity,
            slot: self.slot.clone(),
        })
    }

    /// Ensures that a connection answers. Meanwhile it opens another one, and uses that if it is
    /// ready first. So no call waits for a connection that vanished.
    async fn prove(&self, connection: &mut Connection) -> Result<(), RedisError> {
        let mut asked = connection.inner.clone();
        let ping = redis::cmd("PING");
        let ping = pin!(ping.query_async::<Value>(&mut asked));
        let replacement = match select(ping, pin!(Self::connect(self))).await {
            Either::Left((Ok(_), _)) => None,
            Either::Left((Err(_), connect)) => Some(connect.await?),
            Either::Right((Ok(replacement), _)) => Some(replacement),
            // The server may allow no further connection.
            Either::Right((Err(_), ping)) => ping.await.map(|_| None)?,
        };
        if let Some(replacement) = replacement {
            connection.give_up();
            *connection = replacement;
        }
        Ok(())
    }

    /// A server that does not know a command repeats its arguments, and one of those is the
    /// password.
    pub(crate) fn without_password(&self, error: RedisError) -> RedisError {
        let message = error.to_string();
        if self.endpoint.passwords().any(|it| message.contains(it)) {
            return RedisError::from((
                ErrorKind::AuthenticationFailed,
                "the server refused the connection (its message is not shown: it holds the password)",
            ));
        }
        error
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("address", &self.address())
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .finish_non_exhaustive()
    }
}

impl ManageConnection for Connector {
    type Connection = Connection;
    type Error = RedisError;

    async fn connect(&self) -> Result<Connection, RedisError> {
        let connected = Self::connect(self).await;
        *self.last_error.lock() = connected.as_ref().err().cloned();
        connected
    }

    /// Sends nothing in the usual case: the known state is enough.
    async fn is_valid(&self, connection: &mut Connection) -> Result<(), RedisError> {
        if connection.is_broken() {
            return Err((ErrorKind::Io, "the connection ended").into());
        }
        let silences = self.silences();
        if connection.proven != silences {
            self.prove(connection).await?;
            connection.proven = silences;
        }
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.is_broken()
    }
}

/// A connection that carries many requests at once; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    inner: Driven,
    /// Whether a reply did not come, or the connection ended.
    broken: Broken,
    /// How many [silences](Losses::silences) there were when it was last known to answer.
    proven: u64,
    /// `None` when the server does not tell.
    identity: Option<Identity>,
    /// `None` without a cluster.
    slot: Option<Arc<Slot>>,
}

/// Set once, and counted then.
#[derive(Clone, Debug)]
struct Broken {
    is: Arc<AtomicBool>,
    losses: Arc<Losses>,
}

impl Broken {
    fn set(&self) {
        if !self.is.swap(true, Ordering::Relaxed) {
            self.losses.broken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Connection {
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is.load(Ordering::Relaxed)
    }

    /// As [`Self::is_broken`], for a connection that was idle and may have no task that would have
    /// seen its end.
    pub(crate) fn is_broken_now(&self) -> bool {
        self.inner.look();
        self.is_broken()
    }

    /// Lets nobody use the connection any more.
    pub(crate) fn give_up(&self) {
        self.broken.set();
    }

    /// This connection for the requests of one slot.
    fn of(mut self, slot: Option<Arc<Slot>>) -> Self {
        self.slot = slot;
        self
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// This connection with another time-out for replies, for a command that blocks.
    pub(crate) fn with_response_timeout(mut self, timeout: Duration) -> Self {
        self.inner.set_response_timeout(timeout);
        self
    }

    /// Sends one command and waits for its reply.
    pub(crate) async fn query(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let reply = command.query_async(&mut self.inner).await;
        self.answer(reply)
    }

    /// As [`query`](Self::query), for a script.
    pub(crate) async fn query_script(&mut self, command: &Cmd) -> Result<Value, ScriptFailure> {
        let reply = command.query_async(&mut self.inner).await;
        let reply = self.seen(reply).map_err(|error| match error.code() {
            Some("NOSCRIPT") => ScriptFailure::NotLoaded(error),
            _ => ScriptFailure::Other(self.of_slot(error, Failure::of_script)),
        });
        if let (Ok(_), Some(slot)) = (&reply, &self.slot) {
            slot.ran_script();
        }
        reply
    }

    /// Sends several commands at once; each has its own answer.
    pub(crate) async fn query_all(
        &mut self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let replies = self.query_each(commands).await?.into_iter();
        Ok(replies
            .map(|reply| self.answer(reply.extract_error()))
            .collect())
    }

    /// As [`query_all`](Self::query_all), for commands of several slots: each answer has still to
    /// be read by [`answer_for`](Self::answer_for).
    pub(crate) async fn query_each(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        let count = commands.len();
        let replies = self.inner.req_packed_commands(commands, 0, count).await;
        let replies = self.answer(replies)?;
        if replies.len() != count {
            return Err(Failure::unexpected_reply("a reply to each command"));
        }
        Ok(replies)
    }

    /// The answer to a command for the slot of this pool.
    pub(crate) fn answer_for(&self, pool: &Pool, reply: Value) -> Result<Value, Failure> {
        reply.extract_error().or_else(|error| {
            let slot = pool.connector.slot.clone();
            self.clone().of(slot).answer(Err(error))
        })
    }

    /// Subscribes the connection to `channel`.
    pub(crate) async fn subscribe(&mut self, channel: &[u8]) -> Result<(), Failure> {
        let reply = self.inner.with_a_task().subscribe(channel).await;
        self.answer(reply)
    }

    /// Sends several commands as one transaction. Returns the replies to those that are not
    /// ignored.
    pub(crate) async fn query_transaction(
        &mut self,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let replies = commands.query_async(&mut self.inner).await;
        self.answer(replies)
    }

    fn answer<T>(&self, reply: Result<T, RedisError>) -> Result<T, Failure> {
        let reply = self.seen(reply);
        reply.map_err(|error| self.of_slot(error, Failure::of_command))
    }

    /// In a cluster, the failure says what the error means for the slot.
    fn of_slot(&self, error: RedisError, failure: fn(RedisError) -> Failure) -> Failure {
        let advice = self.slot.as_ref().and_then(|slot| slot.explain(&error));
        match advice {
            Some(advice) => failure(error).of_slot(advice),
            None => failure(error),
        }
    }

    /// Gives up a connection on which a reply did not come, or not in one piece, and one to a
    /// server that became a replica, or does not have the slot any more. The reason: after a
    /// failover, the address may lead to another server.
    fn seen<T>(&self, reply: Result<T, RedisError>) -> Result<T, RedisError> {
        if let Err(error) = &reply
            && (applied(error) == Applied::Unknown
                || Redirect::of(error) == Some(Redirect::Elsewhere))
        {
            if error.is_timeout() {
                let silences = &self.broken.losses.silences;
                silences.fetch_add(1, Ordering::Relaxed);
            }
            if let (Some(Redirect::Elsewhere), Some(slot)) = (Redirect::of(error), &self.slot) {
                slot.is_elsewhere();
            }
            self.give_up();
        }
        reply
    }
}

/// Why a script gave no result.
#[derive(Debug)]
pub(crate) enum ScriptFailure {
    /// The server does not have it (any more), and has done nothing.
    NotLoaded(RedisError),
    Other(Failure),
}

/// The connections for all commands, except for waits on the server and heartbeats.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    inner: Inner,
    connector: Connector,
}

#[derive(Clone, Debug)]
enum Inner {
    Own(bb8::Pool<Connector>, u32),
    /// That of the primary of this cell.
    Shared(Arc<Primaries>, usize),
}

impl Pool {
    /// A pool of its own, or the part of a cell in those that it shares in this runtime.
    pub(crate) fn of(connector: Connector, size: u32, runtime: &Handle) -> Self {
        match Self::shared(&connector, For::Commands, runtime) {
            Some(pool) => pool,
            None => Self::new(connector, size),
        }
    }

    /// The part of a cell in the pools that it shares in this runtime; `None` if it shares none.
    pub(crate) fn shared(connector: &Connector, of: For, runtime: &Handle) -> Option<Self> {
        let (fleet, cell) = connector.slot()?.cell()?;
        Some(Self {
            inner: Inner::Shared(fleet.here(of, runtime), cell),
            connector: connector.clone(),
        })
    }

    /// What the cells at the primary of this one share; `None` as in [`Primaries::at_owner`], and
    /// for a pool of its own.
    pub(crate) fn at_primary(&self) -> Option<Arc<AtPrimary>> {
        match &self.inner {
            Inner::Own(..) => None,
            Inner::Shared(primaries, cell) => primaries.at_owner(*cell),
        }
    }

    /// Starts to connect; proves nothing.
    pub(crate) fn new(connector: Connector, size: u32) -> Self {
        let size = size.max(1);
        let inner = bb8::Pool::builder()
            .max_size(size)
            .min_idle(size)
            // First in, first out: in turn.
            .queue_strategy(QueueStrategy::Fifo)
            .max_lifetime(None)
            .idle_timeout(None)
            .connection_timeout(connector.connect_timeout.max(Duration::from_millis(1)))
            // Costs no round trip: see `is_valid`.
            .test_on_check_out(true)
            .build_unchecked(connector.clone());
        Self {
            inner: Inner::Own(inner, size),
            connector,
        }
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Ensures that no connection is one that was given up before the call.
    pub(crate) async fn drop_broken(&self) -> Result<(), Failure> {
        match &self.inner {
            // In turn, and each is checked.
            Inner::Own(_, size) => {
                for _ in 0..*size {
                    self.get().await?;
                }
            }
            Inner::Shared(primaries, _) => primaries.drop_all(),
        }
        Ok(())
    }

    /// A connection to share.
    pub(crate) async fn get(&self) -> Result<Connection, Failure> {
        let inner = match &self.inner {
            Inner::Own(inner, _) => inner,
            Inner::Shared(primaries, cell) => {
                let connection = Box::pin(primaries.get(*cell)).await?;
                return Ok(connection.of(self.connector.slot.clone()));
            }
        };
        match inner.get().await {
            Ok(connection) => Ok(connection.clone()),
            Err(RunError::User(error)) => Err(Failure::not_sent(error)),
            Err(RunError::TimedOut) => Err(self.no_connection()),
        }
    }

    /// As [`get`](Self::get), for callers that have waited for a reply that did not come: they do
    /// not wait that long again.
    pub(crate) async fn get_soon(&self) -> Result<Connection, Failure> {
        let clock: &dyn Clock = &SystemClock;
        let patience = self.connector.response_timeout / 4;
        let connection = clock.timeout(patience, self.get()).await;
        connection.unwrap_or_else(|| Err(self.no_connection()))
    }

    /// None came in time. It says why the last attempt to open one failed.
    pub(crate) fn no_connection(&self) -> Failure {
        let address = self.connector.address();
        let last_error = &self.connector.last_error;
        let last_error = last_error.lock();
        match last_error.clone() {
            Some(error) => Failure::not_connected(address, self.connector.cause(error)),
            None => Failure::not_sent(format!("no connection to Redis at {address} came in time")),
        }
    }
}

#[cfg(test)]
mod tests;
