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
        ServerErrorKind, Value, aio::ConnectionLike,
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
        identity::Identity,
    },
    error::{Error, Failure, applied, cause::Cause},
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
        Ok(Self {
            endpoint: Arc::new(Endpoint::new(config)?),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            last_error: Arc::default(),
            losses: Arc::default(),
        })
    }

    /// Where the server is, without credentials.
    pub(crate) fn address(&self) -> String {
        self.endpoint.address()
    }

    /// As [`Self::address`], with the number of the database, unless that is 0.
    pub(crate) fn address_and_database(&self) -> String {
        match self.endpoint.database() {
            0 => self.address(),
            database => format!("{}, database {database}", self.address()),
        }
    }

    /// Why a connection could not be opened.
    pub(crate) fn cause(&self, error: RedisError) -> Cause {
        self.endpoint.cause(error)
    }

    /// How many connections broke.
    pub(crate) fn lost(&self) -> u64 {
        self.losses.broken.load(Ordering::Relaxed)
    }

    /// How often a reply did not come in time.
    fn silences(&self) -> u64 {
        self.losses.silences.load(Ordering::Relaxed)
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
        self.open(By::ItsRequests, || ()).await
    }

    /// As [`connect`](Self::connect). It calls `told` for each message on a channel that the
    /// connection [subscribed](Connection::subscribe) to, and when the connection ended.
    pub(crate) async fn connect_with(
        &self,
        told: impl Fn() + Send + Sync + 'static,
    ) -> Result<Connection, RedisError> {
        self.open(By::ATask, told).await
    }

    async fn open(
        &self,
        by: By,
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
        let connected = self.endpoint.connect(by, &config, self.connect_timeout);
        let connected = connected.await;
        let mut inner = connected.map_err(|error| self.without_password(error))?;
        let identity = Identity::introduce(&mut inner).await?;
        Ok(Connection {
            inner,
            broken,
            proven,
            identity,
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
    fn without_password(&self, error: RedisError) -> RedisError {
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
        self.seen(reply).map_err(Failure::of_command)
    }

    /// As [`query`](Self::query), for a script.
    pub(crate) async fn query_script(&mut self, command: &Cmd) -> Result<Value, ScriptFailure> {
        let reply = command.query_async(&mut self.inner).await;
        self.seen(reply).map_err(|error| match error.code() {
            Some("NOSCRIPT") => ScriptFailure::NotLoaded(error),
            _ => ScriptFailure::Other(Failure::of_script(error)),
        })
    }

    /// Sends several commands at once; each has its own answer.
    pub(crate) async fn query_all(
        &mut self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let count = commands.len();
        let replies = self.inner.req_packed_commands(commands, 0, count).await;
        let replies = self.seen(replies).map_err(Failure::of_command)?;
        if replies.len() != count {
            return Err(Failure::unexpected_reply("a reply to each command"));
        }
        Ok(replies
            .into_iter()
            .map(|reply| {
                self.seen(reply.extract_error())
                    .map_err(Failure::of_command)
            })
            .collect())
    }

    /// Subscribes the connection to `channel`.
    pub(crate) async fn subscribe(&mut self, channel: &[u8]) -> Result<(), Failure> {
        let reply = self.inner.with_a_task().subscribe(channel).await;
        self.seen(reply).map_err(Failure::of_command)
    }

    /// Sends several commands as one transaction. Returns the replies to those that are not
    /// ignored.
    pub(crate) async fn query_transaction(
        &mut self,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let replies = commands.query_async(&mut self.inner).await;
        self.seen(replies).map_err(Failure::of_command)
    }

    /// Gives up a connection on which a reply did not come, or not in one piece, and one to a
    /// server that became a replica. The reason: after a failover, the address may lead to another
    /// server.
    fn seen<T>(&self, reply: Result<T, RedisError>) -> Result<T, RedisError> {
        if let Err(error) = &reply
            && (applied(error) == Applied::Unknown || is_replica(error))
        {
            if error.is_timeout() {
                let silences = &self.broken.losses.silences;
                silences.fetch_add(1, Ordering::Relaxed);
            }
            self.give_up();
        }
        reply
    }
}

fn is_replica(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    )
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
    inner: bb8::Pool<Connector>,
    connector: Connector,
    size: u32,
}

impl Pool {
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
            inner,
            connector,
            size,
        }
    }

    /// Ensures that no connection is one that was given up before the call.
    pub(crate) async fn drop_broken(&self) -> Result<(), Failure> {
        // In turn, and each is checked.
        for _ in 0..self.size {
            self.get().await?;
        }
        Ok(())
    }

    /// A connection to share.
    pub(crate) async fn get(&self) -> Result<Connection, Failure> {
        match self.inner.get().await {
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
    fn no_connection(&self) -> Failure {
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
mod tests {
    use bb8_redis::redis;
    use verk_core::error::StorageErrorKind;
    use verk_testing::{RedisServer, within};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn connector(server: &RedisServer) -> Connector {
        let config = RedisConfig::new(server.url()).response_timeout(Duration::from_secs(1));
        Connector::new(&config).unwrap()
    }

    #[tokio::test]
    async fn connections_that_end_while_idle_are_replaced_before_they_are_used() {
        let server = RedisServer::start();
        let connector = connector(&server);
        let pool = Pool::new(connector.clone(), 3);
        let mut idle = Vec::new();
        for _ in 0..3 {
            let mut connection = pool.get().await.unwrap();
            connection.query(&redis::cmd("PING")).await.unwrap();
            idle.push(connection);
        }
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        let noticed = async {
            while !idle.iter().all(Connection::is_broken) {
                tokio::task::yield_now().await;
            }
        };
        within(PATIENCE, noticed).await;
        assert_eq!(connector.lost(), 3);
        for _ in 0..6 {
            let mut connection = pool.get().await.unwrap();
            connection.query(&redis::cmd("PING")).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_connection_without_a_reply_is_given_up() {
        let server = RedisServer::start();
        let pool = Pool::new(connector(&server), 1);
        let mut connection = pool.get().await.unwrap();
        let mut block = redis::cmd("BLPOP");
        block.arg("nothing").arg(0);
        let failure = connection.query(&block).await.unwrap_err();
        assert_eq!(failure.applied(), Applied::Unknown);
        assert!(connection.is_broken());
        let mut connection = pool.get().await.unwrap();
        connection.query(&redis::cmd("PING")).await.unwrap();
    }

    #[tokio::test]
    async fn what_the_server_refuses_breaks_nothing() {
        let server = RedisServer::start();
        server.command(&["SET", "text", "x"]);
        let mut connection = connector(&server).connect().await.unwrap();
        for command in [vec!["LLEN", "text"], vec!["NONSENSE"]] {
            let mut wrong = redis::cmd(command[0]);
            wrong.arg(&command[1..]);
            let failure = connection.query(&wrong).await.unwrap_err();
            assert_eq!(failure.applied(), Applied::NotApplied);
            assert!(!connection.is_broken());
        }
    }

    #[tokio::test]
    async fn a_server_that_became_a_replica_is_left() {
        let server = RedisServer::start();
        let mut connection = connector(&server).connect().await.unwrap();
        let mut pipelined = connection.clone();
        server.command(&["REPLICAOF", "127.0.0.1", "1"]);
        let mut write = redis::cmd("SADD");
        write.arg("key").arg("member");
        let failure = connection.query(&write).await.unwrap_err();
        assert_eq!(failure.applied(), Applied::NotApplied);
        assert!(
            connection.is_broken(),
            "another server may be the master now"
        );

        pipelined.broken.is = Arc::default();
        let mut writes = redis::pipe();
        writes.cmd("SADD").arg("key").arg("member");
        let replies = pipelined.query_all(&writes).await.unwrap();
        assert!(replies[0].is_err() && pipelined.is_broken());
    }

    #[tokio::test]
    async fn an_empty_password_hides_no_error() {
        let connector = Connector::new(&RedisConfig::new("redis://:@127.0.0.1:1")).unwrap();
        let error = connector.connect().await.unwrap_err();
        assert!(error.is_connection_refusal(), "{error}");
    }

    #[tokio::test]
    async fn a_pool_says_why_there_is_no_connection() {
        let server = RedisServer::start();
        server.stop();
        let config = RedisConfig::new(server.url()).connect_timeout(Duration::from_secs(1));
        let pool = Pool::new(Connector::new(&config).unwrap(), 1);
        let failure = pool.get().await.unwrap_err();
        assert_eq!(failure.applied(), Applied::NotApplied);
        let error = failure.during("try");
        assert_eq!(error.kind(), StorageErrorKind::Unreachable);
        let error = error.to_string();
        assert!(
            error.contains("(nothing was sent)")
                && error.contains("redis.sock")
                && error.contains("nobody listens there"),
            "{error}"
        );
    }
}
