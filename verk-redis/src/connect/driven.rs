//! A connection of the client library, moved by a task of its own or by its requests: [`Driven`].
//!
//! The client library reads and writes a connection in a future, its *driver*. Usually that is a
//! task: each request wakes it, and it wakes the task of the request. Two wakes for a batch are
//! much where a batch takes 100 µs, and on a runtime with several threads each can wake a thread
//! that finds nothing to do. So a connection that one task uses at a time has no such task: each
//! request polls the driver until its own reply is here.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bb8_redis::redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, RedisFuture, RedisResult,
    Value,
    aio::{AsyncStream, ConnectionLike, MultiplexedConnection},
    io::tcp::{TcpSettings, socket2::SockRef},
};
use futures_util::future::select_ok;
use parking_lot::Mutex;
use tokio::net::{TcpStream, lookup_host};

/// A connection of the client library; clones share it.
#[derive(Clone)]
pub(crate) struct Driven {
    inner: MultiplexedConnection,
    /// `None` if a task moves the connection.
    driver: Option<Arc<Driver>>,
}

/// What reads and writes a connection.
struct Driver {
    /// `None` when the connection has ended.
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    gate: Arc<Gate>,
    /// The waker of the gate.
    waker: Waker,
}

/// Wakes the task that polls a request, but not while it does: the request and the driver wake each
/// other, and a task that is woken while it runs is queued again, for nothing.
///
/// So a reply that the driver reads for another request does not wake the task either. A task with
/// two requests on one connection must poll the older one last.
#[derive(Default)]
struct Gate(Mutex<State>);

#[derive(Default)]
struct State {
    task: Option<Waker>,
    is_polled: bool,
    is_woken: bool,
}

impl Gate {
    fn begin(&self, task: &Waker) {
        let mut state = self.0.lock();
        if !state.task.as_ref().is_some_and(|old| old.will_wake(task)) {
            state.task = Some(task.clone());
        }
        state.is_polled = true;
        state.is_woken = false;
    }

    /// Whether it was woken since the last call. If not, the poll has ended.
    fn again(&self) -> bool {
        let mut state = self.0.lock();
        state.is_polled = std::mem::take(&mut state.is_woken);
        state.is_polled
    }

    fn end(&self) {
        self.0.lock().is_polled = false;
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.0.lock();
        state.is_woken = true;
        let task = if state.is_polled {
            None
        } else {
            state.task.clone()
        };
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Driver {
    fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let gate = Arc::new(Gate::default());
        Self {
            future: Mutex::new(Some(Box::pin(future))),
            waker: Waker::from(Arc::clone(&gate)),
            gate,
        }
    }

    fn poll(&self) {
        let mut future = self.future.lock();
        let cx = &mut Context::from_waker(&self.waker);
        let poll = future.as_mut().map(|future| future.as_mut().poll(cx));
        if let Some(Poll::Ready(())) = poll {
            // Drops the stream and all requests that wait, so each of them gets an error.
            *future = None;
        }
    }

    /// Polls a request until it has its reply or waits for the server.
    fn poll_with<T>(
        &self,
        task: &Waker,
        mut request: Pin<&mut (dyn Future<Output = T> + Send)>,
    ) -> Poll<T> {
        self.gate.begin(task);
        let cx = &mut Context::from_waker(&self.waker);
        for _ in 0..MOST_TURNS {
            self.poll();
            if let Poll::Ready(reply) = request.as_mut().poll(cx) {
                self.gate.end();
                return Poll::Ready(reply);
            }
            if !self.gate.again() {
                return Poll::Pending;
            }
        }
        // The runtime wants other tasks to have a turn.
        self.gate.end();
        task.wake_by_ref();
        Poll::Pending
    }
}

/// How often a request and its driver are polled before they wait: once for each to see what the
/// other did, and again after what that did.
const MOST_TURNS: usize = 3;

impl Driven {
    /// A connection that has a task.
    pub(crate) fn by_a_task(inner: MultiplexedConnection) -> Self {
        Self {
            inner,
            driver: None,
        }
    }

    /// Opens a connection that its requests move. Only one task may use it at a time. `None` if the
    /// address needs TLS, because only the client library can open such a connection.
    pub(crate) async fn by_its_requests(
        info: &ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<Option<Self>> {
        let Some(stream) = open(info.addr(), info.tcp_settings()).await? else {
            return Ok(None);
        };
        let settings = info.redis_settings();
        let (inner, driver) =
            MultiplexedConnection::new_with_config(settings, stream, config.clone()).await?;
        Ok(Some(Self {
            inner,
            driver: Some(Arc::new(Driver::new(driver))),
        }))
    }

    /// The connection of the client library, for what only that can do. It must have a task.
    pub(crate) fn with_a_task(&mut self) -> &mut MultiplexedConnection {
        &mut self.inner
    }

    /// Sets how long a reply may take.
    pub(crate) fn set_response_timeout(&mut self, timeout: Duration) {
        self.inner.set_response_timeout(timeout);
    }

    /// Reads what has arrived since the last request: most often nothing, or that the connection
    /// ended.
    pub(crate) fn look(&self) {
        if let Some(driver) = &self.driver {
            driver.poll();
        }
    }

    /// Polls the driver together with a request.
    fn request<'a, T: Send + 'a>(
        &'a mut self,
        request: impl FnOnce(&'a mut MultiplexedConnection) -> RedisFuture<'a, T>,
    ) -> RedisFuture<'a, T> {
        let driver = self.driver.clone();
        let mut request = request(&mut self.inner);
        match driver {
            None => request,
            Some(driver) => Box::pin(poll_fn(move |cx| {
                driver.poll_with(cx.waker(), request.as_mut())
            })),
        }
    }
}

impl ConnectionLike for Driven {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.request(|inner| inner.req_packed_command(command))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.request(move |inner| inner.req_packed_commands(commands, offset, count))
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

impl std::fmt::Debug for Driven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

type Stream = Pin<Box<dyn AsyncStream + Send + Sync>>;

async fn open(addr: &ConnectionAddr, settings: &TcpSettings) -> RedisResult<Option<Stream>> {
    Ok(match addr {
        ConnectionAddr::Tcp(host, port) => {
            let addresses = lookup_host((host.as_str(), *port)).await?;
            let tries: Vec<_> = addresses
                .map(|address| Box::pin(TcpStream::connect(address)))
                .collect();
            if tries.is_empty() {
                return Err(std::io::Error::other("the name of the host has no address").into());
            }
            let (stream, _) = select_ok(tries).await?;
            set(&stream, settings)?;
            Some(Box::pin(stream))
        }
        #[cfg(unix)]
        ConnectionAddr::Unix(path) => Some(Box::pin(tokio::net::UnixStream::connect(path).await?)),
        _ => None,
    })
}

fn set(stream: &TcpStream, settings: &TcpSettings) -> std::io::Result<()> {
    stream.set_nodelay(settings.nodelay())?;
    let socket = SockRef::from(stream);
    if let Some(keepalive) = settings.keepalive() {
        socket.set_tcp_keepalive(keepalive)?;
    }
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(settings.user_timeout())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bb8_redis::redis;
    use verk_testing::{RedisServer, within};

    use super::*;
    use crate::{RedisConfig, connect::pool::Connector};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Counts how often a task is woken.
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn connect(server: &RedisServer) -> Driven {
        let client = redis::Client::open(server.url()).unwrap();
        let config = AsyncConnectionConfig::new();
        let connected = Driven::by_its_requests(client.get_connection_info(), &config).await;
        connected.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_request_moves_its_connection() {
        let server = RedisServer::start();
        let mut driven = connect(&server).await;
        // More than a system takes at once.
        let text = "x".repeat(8 * 1024 * 1024);
        let mut echo = redis::cmd("ECHO");
        echo.arg(&text);
        let echoed: String = within(PATIENCE, echo.query_async(&mut driven))
            .await
            .unwrap();
        assert!(echoed == text);
        let mut pipeline = redis::pipe();
        pipeline.cmd("PING").cmd("NONSENSE").cmd("PING");
        let replies = driven.req_packed_commands(&pipeline, 0, 3);
        let replies = within(PATIENCE, replies).await.unwrap();
        assert_eq!(replies[2], Value::SimpleString("PONG".to_owned()));
    }

    #[tokio::test]
    async fn a_request_does_not_wake_the_task_that_polls_it() {
        let server = RedisServer::start();
        let mut driven = connect(&server).await;
        let wakes = Arc::new(Wakes(AtomicU32::new(0)));
        let waker = Waker::from(Arc::clone(&wakes));
        for _ in 0..10 {
            let ping = redis::cmd("PING");
            let mut request = driven.req_packed_command(&ping);
            let polled = poll_fn(|_| {
                let before = wakes.0.load(Ordering::Relaxed);
                let poll = request.as_mut().poll(&mut Context::from_waker(&waker));
                assert_eq!(wakes.0.load(Ordering::Relaxed), before);
                Poll::Ready(poll)
            });
            if polled.await.is_pending() {
                within(PATIENCE, request).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_request_that_waits_is_answered_with_an_error_when_the_connection_ends() {
        let server = RedisServer::start();
        let mut driven = connect(&server).await;
        let mut block = redis::cmd("BLPOP");
        block.arg("nothing").arg(0);
        let ended = async {
            let blocked = "blocked_clients:1";
            while !server.info("clients").contains(blocked) {
                tokio::task::yield_now().await;
            }
            server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        };
        let block = block.query_async::<Value>(&mut driven);
        let (reply, ()) = within(PATIENCE, async { tokio::join!(block, ended) }).await;
        assert!(reply.unwrap_err().is_connection_dropped());
        let ping = redis::cmd("PING").query_async::<Value>(&mut driven).await;
        assert!(ping.unwrap_err().is_connection_dropped());
    }

    #[tokio::test]
    async fn the_end_of_an_idle_connection_is_seen_before_the_next_request() {
        let server = RedisServer::start();
        let connector = Connector::new(&RedisConfig::new(server.url())).unwrap();
        let connection = connector.connect_alone().await.unwrap();
        assert!(!connection.is_broken_now());
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        let seen = async {
            while !connection.is_broken_now() {
                tokio::task::yield_now().await;
            }
        };
        within(PATIENCE, seen).await;
        assert_eq!(connector.lost(), 1);
    }

    #[tokio::test]
    async fn nobody_listens() {
        let server = RedisServer::start();
        server.stop();
        for url in [server.url(), "redis://127.0.0.1:1".to_owned()] {
            let connector = Connector::new(&RedisConfig::new(url.as_str())).unwrap();
            assert!(connector.connect_alone().await.is_err(), "{url}");
        }
    }
}
