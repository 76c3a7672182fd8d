//! A network that breaks when a test wants it to: [`CuttingProxy`].

use std::{
    collections::VecDeque,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener, UnixStream},
    runtime,
    sync::watch,
};
use tokio_util::sync::CancellationToken;
use verk_core::{Clock, SystemClock};

use crate::{
    RedisServer,
    resp::{self, Malformed, Reply},
};

/// A proxy in front of a [`RedisServer`] that loses what it is told to lose.
///
/// It forwards everything until told otherwise. It runs on a thread of its own, so a test may block its
/// runtime, and listens on a unix socket or on 127.0.0.1; it ends when dropped. It expects one reply to
/// each command: it is not for `SUBSCRIBE`, `MONITOR` and `CLIENT REPLY`, nor for inline commands.
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
    shared: Arc<Shared>,
    url: String,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    /// Holds the unix socket.
    _dir: Option<TempDir>,
}

#[derive(Debug)]
struct Shared {
    server: PathBuf,
    plan: Mutex<Plan>,
    /// Changes when all connections are to be cut.
    cuts: watch::Sender<u64>,
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
}

type Matcher = Box<dyn Fn(&Command) -> bool + Send>;

/// A command on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    args: Vec<Bytes>,
}

impl Command {
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

    /// Whether `text` is in one of the arguments, such as a part of a key.
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
        let dir = TempDir::with_prefix("verk-proxy").expect("a temporary directory");
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

    fn run(
        server: &RedisServer,
        dir: Option<TempDir>,
        listen: impl FnOnce(&runtime::Runtime) -> io::Result<(String, Listener)> + Send,
    ) -> Self {
        let shared = Arc::new(Shared {
            server: server.socket(),
            plan: Mutex::default(),
            cuts: watch::Sender::new(0),
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

    /// The address for a client, in the form of [`RedisServer::url`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Cuts every connection that is open now.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// While `true`, new connections are closed as soon as they are made. Those that are open stay: see
    /// [`cut`](Self::cut).
    pub fn set_refusing(&self, refusing: bool) {
        self.shared.plan().refusing = refusing;
    }

    /// Lets what a client sends reach the server that much later. Zero at first.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.plan().delay = delay;
    }

    /// Loses the reply to the next command that `matches`: the server does it, then the connection is cut.
    ///
    /// Counts for a command that waits for its reply now, too. A reply that is an error, such as `NOSCRIPT`, is
    /// delivered, and the next match awaited.
    pub fn lose_reply(&self, matches: impl Fn(&Command) -> bool + Send + 'static) {
        self.shared.plan().lose_reply = Some(Box::new(matches));
    }

    /// Loses the next command that `matches`: it never reaches the server, and the connection is cut.
    pub fn lose_request(&self, matches: impl Fn(&Command) -> bool + Send + 'static) {
        self.shared.plan().lose_request = Some(Box::new(matches));
    }

    /// Forgets what was to be lost and refused, and the delay. What was cut stays cut.
    pub fn heal(&self) {
        *self.shared.plan() = Plan::default();
    }

    /// How many requests and replies were lost as told.
    #[must_use]
    pub fn losses(&self) -> u64 {
        *self.shared.losses.borrow()
    }

    /// Completes once at least `count` requests and replies were lost as told.
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

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_loss(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }
}

impl Plan {
    /// Whether this command is the one to lose; only one is.
    fn takes(slot: &mut Option<Matcher>, command: &Command) -> bool {
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
            .finish()
    }
}

#[derive(Debug)]
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}

async fn serve(shared: Arc<Shared>, listener: Listener) {
    loop {
        let Ok(client) = listener.accept().await else {
            continue;
        };
        let cuts = shared.cuts.subscribe();
        if !shared.plan().refusing {
            tokio::spawn(connection(Arc::clone(&shared), client, cuts));
        }
    }
}

/// Forwards for one client until one side ends, or a cut.
async fn connection(shared: Arc<Shared>, client: Box<dyn Stream>, mut cuts: watch::Receiver<u64>) {
    let _open = Open::new(&shared.connections);
    let Ok(server) = connect(&shared.server).await else {
        return;
    };
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = server.into_split();
    let in_flight = Mutex::new(VecDeque::new());
    // How either side ended is of no interest: both connections close.
    tokio::select! {
        biased;
        _ = cuts.changed() => {}
        _ = forward_requests(&shared, &in_flight, from_client, to_server) => {}
        _ = forward_replies(&shared, &in_flight, from_server, to_client) => {}
    }
}

async fn connect(server: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(server).await
}

/// The commands of one connection that have no reply yet.
type InFlight = Mutex<VecDeque<Command>>;

async fn forward_requests(
    shared: &Shared,
    in_flight: &InFlight,
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut received = BytesMut::new();
    while client.read_buf(&mut received).await? > 0 {
        let delay = shared.plan().delay;
        if !delay.is_zero() {
            let clock: &dyn Clock = &SystemClock;
            clock.sleep(delay).await;
        }
        while let Some((request, frame)) = next_frame(&mut received)? {
            let args = request.into_array().unwrap_or_default();
            let command = Command {
                args: args.into_iter().filter_map(Reply::into_bytes).collect(),
            };
            if Plan::takes(&mut shared.plan().lose_request, &command) {
                shared.count_loss();
                return Ok(());
            }
            lock(in_flight).push_back(command);
            server.write_all(&frame).await?;
        }
    }
    Ok(())
}

async fn forward_replies(
    shared: &Shared,
    in_flight: &InFlight,
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut received = BytesMut::new();
    while server.read_buf(&mut received).await? > 0 {
        while let Some((reply, frame)) = next_frame(&mut received)? {
            let is_push = frame.starts_with(b">");
            let command = if is_push {
                None
            } else {
                lock(in_flight).pop_front()
            };
            if let Some(command) = command
                && !matches!(reply, Reply::Error(_))
                && Plan::takes(&mut shared.plan().lose_reply, &command)
            {
                shared.count_loss();
                return Ok(());
            }
            client.write_all(&frame).await?;
        }
    }
    Ok(())
}

/// Takes the first whole value off `received`.
fn next_frame(received: &mut BytesMut) -> io::Result<Option<(Reply, Bytes)>> {
    match resp::parse(received) {
        Ok(Some((value, len))) => Ok(Some((value, received.split_to(len).freeze()))),
        Ok(None) => Ok(None),
        Err(Malformed) => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn lock(in_flight: &InFlight) -> MutexGuard<'_, VecDeque<Command>> {
    in_flight.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts an open connection, until dropped.
struct Open<'a>(&'a watch::Sender<usize>);

impl<'a> Open<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;
    use crate::within;

    const DEADLINE: Duration = Duration::from_secs(30);

    /// A client that blocks its thread, and a server that can be asked for what really happened.
    struct Setup {
        server: RedisServer,
        proxy: CuttingProxy,
    }

    impl Setup {
        fn start() -> Self {
            let server = RedisServer::start();
            let proxy = CuttingProxy::start(&server);
            Self { server, proxy }
        }

        fn connect(&self) -> UnixStream {
            let path = self.proxy.url().strip_prefix("redis+unix://").unwrap();
            let stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream
        }

        fn stored(&self, key: &str) -> Reply {
            self.server.command(&["GET", key])
        }
    }

    /// Sends commands at once and reads until `expected` has come, or the end.
    fn exchange(stream: &mut UnixStream, commands: &[&[&str]], expected: &str) -> String {
        let sent: Vec<u8> = commands
            .iter()
            .flat_map(|args| resp::encode(args))
            .collect();
        stream.write_all(&sent).unwrap();
        let mut received = vec![0; expected.len()];
        let mut len = 0;
        while len < received.len() {
            match stream.read(&mut received[len..]) {
                Ok(0) => break,
                Ok(count) => len += count,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error}"),
            }
        }
        String::from_utf8(received[..len].to_vec()).unwrap()
    }

    #[test]
    fn forwards_until_told_otherwise() {
        let setup = Setup::start();
        let mut stream = setup.connect();
        let expected = "+OK\r\n$1\r\n1\r\n";
        let commands: [&[&str]; 2] = [&["SET", "a", "1"], &["GET", "a"]];
        assert_eq!(exchange(&mut stream, &commands, expected), expected);
    }

    #[test]
    fn a_port_is_forwarded_too() {
        let server = RedisServer::start();
        let proxy = CuttingProxy::start_tcp(&server);
        let address = proxy.url().strip_prefix("redis://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(&resp::encode(&["PING"])).unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
    }

    #[test]
    fn a_lost_reply_is_done_and_not_answered() {
        let setup = Setup::start();
        let mut stream = setup.connect();
        setup
            .proxy
            .lose_reply(|command| command.name() == "SET" && command.mentions("marked"));
        let commands: [&[&str]; 3] = [&["SET", "a", "1"], &["SET", "b", "marked"], &["GET", "b"]];
        let received = exchange(&mut stream, &commands, "+OK\r\nmore");
        assert_eq!(received, "+OK\r\n", "what came before is delivered");
        assert_eq!(setup.stored("b"), Reply::Bulk("marked".into()));
        assert_eq!(setup.proxy.losses(), 1);

        let mut stream = setup.connect();
        let again: [&[&str]; 1] = [&["SET", "b", "marked again"]];
        assert_eq!(exchange(&mut stream, &again, "+OK\r\n"), "+OK\r\n");
    }

    #[test]
    fn an_error_is_delivered_and_the_next_reply_lost() {
        let setup = Setup::start();
        let mut stream = setup.connect();
        setup.proxy.lose_reply(|command| command.mentions("script"));
        let wrong: [&[&str]; 1] = [&["EVALSHA", "script", "0"]];
        let answer = exchange(&mut stream, &wrong, "-NOSCRIPT");
        assert_eq!(answer, "-NOSCRIPT");
        let right: [&[&str]; 1] = [&["SET", "a", "script"]];
        stream.write_all(&resp::encode(right[0])).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(!rest.contains("+OK"), "{rest}");
        assert_eq!(setup.stored("a"), Reply::Bulk("script".into()));
    }

    #[test]
    fn a_reply_that_is_awaited_already_can_be_lost() {
        let setup = Setup::start();
        let mut stream = setup.connect();
        stream
            .write_all(&resp::encode(&[
                "BLMOVE", "from", "to", "LEFT", "LEFT", "0",
            ]))
            .unwrap();
        let blocked = crate::within::poll(DEADLINE, || {
            let info = setup.server.command(&["INFO", "clients"]).into_bytes()?;
            let info = String::from_utf8_lossy(&info).into_owned();
            info.contains("blocked_clients:1").then_some(())
        });
        assert_eq!(blocked, Some(()));

        setup.proxy.lose_reply(|command| command.name() == "BLMOVE");
        setup.server.command(&["RPUSH", "from", "job"]);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
        assert_eq!(setup.server.command(&["LLEN", "to"]), Reply::Integer(1));
    }

    #[test]
    fn a_lost_request_is_not_done() {
        let setup = Setup::start();
        let mut stream = setup.connect();
        setup
            .proxy
            .lose_request(|command| command.args().len() == 3);
        let commands: [&[&str]; 1] = [&["SET", "a", "1"]];
        assert_eq!(exchange(&mut stream, &commands, "+OK\r\n"), "");
        assert_eq!(setup.stored("a"), Reply::Nil);
        assert_eq!(setup.proxy.losses(), 1);
    }

    #[tokio::test]
    async fn connections_are_cut_and_refused() {
        let setup = Setup::start();
        let ping: [&[&str]; 1] = [&["PING"]];
        let mut stream = setup.connect();
        assert_eq!(exchange(&mut stream, &ping, "+PONG\r\n"), "+PONG\r\n");

        setup.proxy.set_refusing(true);
        assert_eq!(exchange(&mut stream, &ping, "+PONG\r\n"), "+PONG\r\n");
        setup.proxy.cut();
        within(DEADLINE, setup.proxy.wait_for_connections(|open| open == 0)).await;
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(setup.connect().read(&mut [0; 8]).unwrap(), 0);

        setup.proxy.heal();
        let mut stream = setup.connect();
        assert_eq!(exchange(&mut stream, &ping, "+PONG\r\n"), "+PONG\r\n");
    }

    #[test]
    fn a_delay_delays() {
        let setup = Setup::start();
        let delay = Duration::from_millis(30);
        setup.proxy.set_delay(delay);
        let mut stream = setup.connect();
        let sent_at = SystemClock.instant();
        let ping: [&[&str]; 1] = [&["PING"]];
        assert_eq!(exchange(&mut stream, &ping, "+PONG\r\n"), "+PONG\r\n");
        assert!(SystemClock.instant() >= sent_at + delay);
    }

    #[test]
    fn ends_with_its_guard() {
        let setup = Setup::start();
        let mut stream = setup.connect();
        let ping: [&[&str]; 1] = [&["PING"]];
        assert_eq!(exchange(&mut stream, &ping, "+PONG\r\n"), "+PONG\r\n");
        let Setup { server, proxy } = setup;
        drop(proxy);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(server.command(&["PING"]), Reply::Status("PONG".into()));
    }
}
