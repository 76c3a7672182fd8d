//! A network that breaks on command: [`CuttingProxy`].

mod forward;
#[cfg(test)]
mod tests;

use std::{fmt, io, net::SocketAddr, path::PathBuf, sync::Arc, thread::JoinHandle, time::Duration};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    net::{TcpListener, UnixListener},
    runtime,
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use self::forward::{Listener, serve};
use crate::{RedisServer, temp_dir::TempDir};

/// A proxy in front of a [`RedisServer`] that loses requests and replies on command.
///
/// It forwards everything by default. It runs on a thread of its own, so a test may block its
/// runtime. It listens on a unix socket or on 127.0.0.1, and ends when dropped. It expects one
/// reply to each command: do not use it for `SUBSCRIBE`, `MONITOR` and `CLIENT REPLY`, or for
/// inline commands.
///
/// # Example
///
/// ```no_run
/// use verk_testing::{CuttingProxy, RedisServer};
///
/// let server = RedisServer::start();
/// let proxy = CuttingProxy::start(&server);
/// // Connect the code under test to `proxy.url()`, then:
/// proxy.lose_reply(|command| command.name() == "BLMOVE");
/// // The next BLMOVE is done by the server, but its client sees a broken connection.
/// ```
#[derive(Debug)]
pub struct CuttingProxy {
    shared: Arc<ProxyState>,
    url: String,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    /// Holds the unix socket.
    _dir: Option<TempDir>,
}

#[derive(Debug)]
struct ProxyState {
    /// The unix socket of the server behind it.
    server: Mutex<PathBuf>,
    plan: Mutex<Plan>,
    /// Changes when all connections are to be cut.
    cuts: watch::Sender<u64>,
    /// Changes when all connections are to vanish.
    vanishings: watch::Sender<u64>,
    /// How many requests and replies were lost as planned.
    losses: watch::Sender<u64>,
    /// How many connections are open.
    connections: watch::Sender<usize>,
}

/// What to do to those who come.
#[derive(Default)]
struct Plan {
    refusing: bool,
    delay: Duration,
    lose_request: Option<Matcher>,
    lose_reply: Option<Matcher>,
    tear_reply: Option<Matcher>,
}

type Matcher = Box<dyn Fn(&RedisCommand) -> bool + Send>;

/// A command on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisCommand {
    args: Vec<Bytes>,
}

impl RedisCommand {
    /// The name of the command in upper case.
    #[must_use]
    pub fn name(&self) -> String {
        self.args.first().map_or_else(String::new, |name| {
            String::from_utf8_lossy(name).to_ascii_uppercase()
        })
    }

    /// The name and the arguments.
    #[must_use]
    pub fn args(&self) -> &[Bytes] {
        &self.args
    }

    /// Returns whether `text` is in one of the arguments, such as a part of a key.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.args
            .iter()
            .any(|arg| text.is_empty() || arg.windows(text.len()).any(|part| part == text))
    }
}

impl CuttingProxy {
    /// Starts a proxy on a unix socket.
    ///
    /// # Panics
    ///
    /// When the socket can't be made.
    #[must_use]
    pub fn start(server: &RedisServer) -> Self {
        let dir = TempDir::new("verk-proxy").expect("a temporary directory");
        let path = dir.path().join("proxy.sock");
        let url = format!("redis+unix://{}", path.display());
        Self::run(server, Some(dir), |runtime| {
            let listener = runtime.block_on(async { UnixListener::bind(&path) })?;
            Ok((url, Listener::Unix(listener)))
        })
    }

    /// Starts a proxy on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When there is no free port.
    #[must_use]
    pub fn start_tcp(server: &RedisServer) -> Self {
        Self::run(server, None, |runtime| {
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
            let url = format!("redis://{}", listener.local_addr()?);
            Ok((url, Listener::Tcp(listener)))
        })
    }

    /// As [`start_tcp`](Self::start_tcp), at an address: of a server of a cluster, the one that the
    /// servers name to clients.
    ///
    /// # Panics
    ///
    /// When the address is in use.
    #[must_use]
    pub fn start_at(server: &RedisServer, address: SocketAddr) -> Self {
        Self::run(server, None, |runtime| {
            let listener = runtime.block_on(TcpListener::bind(address))?;
            Ok((format!("redis://{address}"), Listener::Tcp(listener)))
        })
    }

    fn run(
        server: &RedisServer,
        dir: Option<TempDir>,
        listen: impl FnOnce(&runtime::Runtime) -> io::Result<(String, Listener)> + Send,
    ) -> Self {
        let shared = Arc::new(ProxyState {
            server: Mutex::new(server.socket()),
            plan: Mutex::default(),
            cuts: watch::Sender::new(0),
            vanishings: watch::Sender::new(0),
            losses: watch::Sender::new(0),
            connections: watch::Sender::new(0),
        });
        let stop = CancellationToken::new();
        let start = || {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let (url, listener) = listen(&runtime)?;
            let serve = stop
                .clone()
                .run_until_cancelled_owned(serve(Arc::clone(&shared), listener));
            let thread = std::thread::Builder::new()
                .name("cutting-proxy".to_owned())
                .spawn(move || {
                    runtime.block_on(serve);
                })?;
            Ok::<_, io::Error>((url, thread))
        };
        // On a thread of its own: a runtime can't be used inside another.
        let started = std::thread::scope(|scope| scope.spawn(start).join());
        let (url, thread) = started
            .expect("a proxy that does not panic")
            .expect("a proxy that starts");
        Self {
            shared,
            url,
            stop,
            thread: Some(thread),
            _dir: dir,
        }
    }

    /// Returns the address for a client, in the form of [`RedisServer::url`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Cuts every connection that is open now.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Makes every open connection vanish: it stays open on both sides, but nothing passes any
    /// more, as with a connection that a NAT or a balancer has forgotten.
    ///
    /// It stays so until it is [cut](Self::cut). New connections are forwarded.
    pub fn vanish(&self) {
        self.shared.vanishings.send_modify(|count| *count += 1);
    }

    /// While `true`, new connections are closed at once. Open ones stay: see [`cut`](Self::cut).
    pub fn set_refusing(&self, refusing: bool) {
        self.shared.plan().refusing = refusing;
    }

    /// Leads to another server from now on, and cuts every connection, like an address after a
    /// failover.
    pub fn lead_to(&self, server: &RedisServer) {
        *self.shared.server() = server.socket();
        self.cut();
    }

    /// Delays the data of clients to the server by this time. Zero at first.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.plan().delay = delay;
    }

    /// Loses the reply to the next command that `matches`: the server runs the command, then the
    /// connection is cut.
    ///
    /// A command that waits for its reply now counts too. A reply that is an error, such as
    /// `NOSCRIPT`, is delivered, and the next match counts.
    pub fn lose_reply(&self, matches: impl Fn(&RedisCommand) -> bool + Send + 'static) {
        self.shared.plan().lose_reply = Some(Box::new(matches));
    }

    /// Loses the next command that `matches`: it never reaches the server, and the connection is
    /// cut.
    pub fn lose_request(&self, matches: impl Fn(&RedisCommand) -> bool + Send + 'static) {
        self.shared.plan().lose_request = Some(Box::new(matches));
    }

    /// Sends only the first half of the reply to the next command that `matches`, then cuts the
    /// connection. Otherwise as [`lose_reply`](Self::lose_reply).
    pub fn tear_reply(&self, matches: impl Fn(&RedisCommand) -> bool + Send + 'static) {
        self.shared.plan().tear_reply = Some(Box::new(matches));
    }

    /// Ends all faults and the delay. Connections that were cut stay cut.
    pub fn heal(&self) {
        *self.shared.plan() = Plan::default();
    }

    /// Returns how many requests and replies were lost on command.
    #[must_use]
    pub fn losses(&self) -> u64 {
        *self.shared.losses.borrow()
    }

    /// Completes once at least `count` requests and replies were lost on command.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait_for_losses(&self, count: u64) {
        let mut losses = self.shared.losses.subscribe();
        // The sender lives in `self.shared`, so this cannot fail.
        let _ = losses.wait_for(|&losses| losses >= count).await;
    }

    /// Completes once `matches` holds for the number of open connections.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait_for_connections(&self, matches: impl Fn(usize) -> bool) {
        let mut connections = self.shared.connections.subscribe();
        // The sender lives in `self.shared`, so this cannot fail.
        let _ = connections.wait_for(|&open| matches(open)).await;
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It ends with its runtime; a panic there has been printed.
            let _ = thread.join();
        }
    }
}

impl ProxyState {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock()
    }

    fn server(&self) -> MutexGuard<'_, PathBuf> {
        self.server.lock()
    }

    fn count_loss(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }
}

impl Plan {
    /// Whether this command is the one to lose; only one is.
    fn takes(slot: &mut Option<Matcher>, command: &RedisCommand) -> bool {
        slot.take_if(|matches| matches(command)).is_some()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("refusing", &self.refusing)
            .field("delay", &self.delay)
            .field("lose_request", &self.lose_request.is_some())
            .field("lose_reply", &self.lose_reply.is_some())
            .field("tear_reply", &self.tear_reply.is_some())
            .finish()
    }
}
