//! A real Redis for one test: [`RedisServer`].

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};

use crate::{
    resp::{self, Reply},
    temp_dir::TempDir,
    within::poll,
};

/// How long a server may take to answer, in real time.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often another port is tried when one is taken between finding and using it.
const PORT_TRIES: usize = 10;

/// A `redis-server` of its own: empty, in a temporary directory, killed when dropped.
///
/// It listens on a unix socket in that directory, and on a port of 127.0.0.1 if [asked
/// to](RedisServerBuilder::tcp). It saves nothing unless a [setting](RedisServerBuilder::setting)
/// says so. The environment variable `REDIS_SERVER` may name another program than `redis-server`,
/// such as `valkey-server`.
///
/// # Example
///
/// ```
/// use verk_testing::{RedisServer, Reply};
///
/// let server = RedisServer::start();
/// assert!(server.url().starts_with("redis+unix:///"));
/// assert_eq!(server.command(&["SET", "retry", "x"]), Reply::Status("OK".into()));
/// assert_eq!(server.command(&["GET", "retry"]), Reply::Bulk("x".into()));
/// ```
#[derive(Debug)]
pub struct RedisServer {
    dir: TempDir,
    settings: Vec<(String, String)>,
    /// Zero for none.
    port: u16,
    tls: bool,
    sentinel: bool,
    /// The port for the other servers of a cluster; zero for none.
    bus_port: u16,
    /// `None` while stopped.
    process: Mutex<Option<Child>>,
}

/// Sets how a [`RedisServer`] is started.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RedisServerBuilder {
    tcp: bool,
    tls: bool,
    sentinel: bool,
    cluster: bool,
    settings: Vec<(String, String)>,
}

impl RedisServerBuilder {
    /// Lets the server listen on a free port of 127.0.0.1 as well, which [`url`](RedisServer::url)
    /// then names.
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// As [`tcp`](Self::tcp), but on the port the server speaks TLS, with these PEM files. It asks
    /// clients for a certificate of that authority, unless the setting `tls-auth-clients` is `no`.
    pub fn tls(self, cert: &Path, key: &Path, ca: &Path) -> Self {
        let mut server = self.tcp();
        server.tls = true;
        for (name, file) in [
            ("tls-cert-file", cert),
            ("tls-key-file", key),
            ("tls-ca-cert-file", ca),
        ] {
            server = server.setting(name, &file.display().to_string());
        }
        server
    }

    /// Starts a Redis Sentinel on a port instead, which watches nothing yet: send it
    /// `SENTINEL MONITOR`.
    pub fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self.tcp()
    }

    /// Lets the server be a part of a cluster, on a port. It has no slot yet, and knows no other
    /// server: see [`RedisCluster`](crate::RedisCluster).
    pub fn cluster(mut self) -> Self {
        self.cluster = true;
        self.tcp().setting("cluster-enabled", "yes")
    }

    /// Adds a setting, as in `redis.conf`: `("maxmemory", "2mb")`, or `("appendonly", "yes")` for
    /// data that outlive a [restart](RedisServer::restart).
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// When `redis-server` is not installed or does not start: a test that needs it is never
    /// skipped.
    #[must_use]
    pub fn start(self) -> RedisServer {
        let mut failure = String::new();
        for _ in 0..PORT_TRIES {
            let mut server = RedisServer {
                dir: TempDir::new("verk-redis").expect("a temporary directory"),
                settings: self.settings.clone(),
                port: 0,
                tls: self.tls,
                sentinel: self.sentinel,
                bus_port: 0,
                process: Mutex::default(),
            };
            if self.tcp {
                server.port = free_port();
            }
            if self.cluster {
                server.bus_port = free_port();
            }
            match server.launch() {
                Ok(()) => return server,
                Err(error) if self.tcp && error.contains("Address already in use") => {
                    failure = error;
                }
                Err(error) => panic!("redis-server did not start: {error}"),
            }
        }
        panic!("redis-server found no free port: {failure}");
    }
}

impl RedisServer {
    /// Starts a server without settings, on a unix socket.
    ///
    /// # Panics
    ///
    /// See [`RedisServerBuilder::start`].
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder, to start a server with other settings.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::default()
    }

    /// Returns the address for a client: `redis://127.0.0.1:PORT`, `rediss://127.0.0.1:PORT` with
    /// TLS, or `redis+unix:///PATH` without a port.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        match self.port {
            0 => format!("redis+unix://{}", self.socket().display()),
            port => format!("{scheme}://{}:{port}", Ipv4Addr::LOCALHOST),
        }
    }

    /// The port of 127.0.0.1; 0 for none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port for the other servers of its cluster; 0 for none.
    #[must_use]
    pub fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// The unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Sends one command on a connection of its own and waits for the reply, blocking the thread.
    ///
    /// # Panics
    ///
    /// When the server can't be reached. A reply that is an error is returned.
    pub fn command<A: AsRef<[u8]>>(&self, args: &[A]) -> Reply {
        match request(&self.socket(), args) {
            Ok(reply) => reply,
            Err(error) => panic!("failed to reach redis-server: {error}\n{}", self.log()),
        }
    }

    /// Returns one section of the answer to `INFO`.
    ///
    /// # Panics
    ///
    /// When the server can't be reached.
    pub fn info(&self, section: &str) -> String {
        match self.command(&["INFO", section]) {
            Reply::Bulk(info) => String::from_utf8_lossy(&info).into_owned(),
            reply => panic!("INFO {section} was answered with {reply:?}"),
        }
    }

    /// Kills the server, as a crash does. Does nothing if it is stopped.
    pub fn stop(&self) {
        if let Some(mut process) = self.process().take() {
            // It may have ended by itself. After the wait it has ended in any case.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Shuts the server down, and waits until it has ended. Does nothing if it is stopped.
    pub fn shut_down(&self) {
        if let Some(mut process) = self.process().take() {
            // It closes the connection instead of answering.
            let _ = request(&self.socket(), &["SHUTDOWN"]);
            let _ = process.wait();
        }
    }

    /// The id of the server's process; `None` while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Child::id)
    }

    /// Kills the server if it runs, starts it again with the same address and settings, and waits
    /// until it answers. It is then empty, unless a setting made it save.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn restart(&self) {
        self.stop();
        if let Err(error) = self.launch() {
            panic!("redis-server did not start again: {error}");
        }
    }

    /// Returns the log of the server.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map_or_else(
            |error| format!("(no log: {error})"),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }

    fn launch(&self) -> Result<(), String> {
        let mut child = self.spawn()?;
        let socket = self.socket();
        let answered = poll(PATIENCE, || {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(Err(format!("{status}\n{}", self.log())));
            }
            // While it loads its data it answers with an error.
            matches!(request(&socket, &["PING"]), Ok(Reply::Status(_))).then_some(Ok(()))
        });
        *self.process() = Some(child);
        answered.unwrap_or_else(|| {
            self.stop();
            Err(format!("no answer within {PATIENCE:?}\n{}", self.log()))
        })
    }

    fn spawn(&self) -> Result<Child, String> {
        let log = File::create(self.log_path()).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let program = env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let mut command = Command::new(program);
        command.current_dir(self.dir.path());
        if self.sentinel {
            // It writes down there what it learns.
            let file = self.dir.path().join("sentinel.conf");
            File::create(&file).map_err(|error| error.to_string())?;
            command.arg(file).arg("--sentinel");
        }
        let port = self.port.to_string();
        match self.tls {
            true => command.args(["--port", "0", "--tls-port", &port]),
            false => command.args(["--port", &port]),
        };
        command
            .args(["--bind", "127.0.0.1"])
            .args(["--unixsocket", "redis.sock"])
            .args(["--save", ""]);
        if self.bus_port > 0 {
            command.args(["--cluster-port", &self.bus_port.to_string()]);
        }
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    "the program `redis-server` is not installed; `script/test` installs it"
                        .to_owned()
                }
                _ => error.to_string(),
            })
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("redis.log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

fn request<A: AsRef<[u8]>>(socket: &Path, args: &[A]) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&resp::encode(args))?;
    let mut received = Vec::new();
    let mut chunk = [0; 64 * 1024];
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        received.extend_from_slice(&chunk[..count]);
        match resp::parse(&received) {
            Ok(Some((reply, _))) => return Ok(reply),
            Ok(None) => {}
            Err(resp::Malformed) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_are_apart_and_die_with_their_guard() {
        let first = RedisServer::start();
        let second = RedisServer::start();
        first.command(&["SET", "a", "1"]);
        assert_eq!(second.command(&["GET", "a"]), Reply::Nil);

        let socket = first.socket();
        drop(first);
        assert!(request(&socket, &["PING"]).is_err());
        assert_eq!(second.command(&["PING"]), Reply::Status("PONG".to_owned()));
    }

    #[test]
    fn a_port_is_named_in_the_url() {
        let server = RedisServer::builder().tcp().start();
        let address = server.url();
        let address = address.strip_prefix("redis://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"PING\r\n").unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
    }

    #[test]
    fn a_sentinel_watches_what_it_is_told_to() {
        let primary = RedisServer::builder().tcp().start();
        let sentinel = RedisServer::builder().sentinel().start();
        let port = primary.port().to_string();
        let monitor = ["SENTINEL", "MONITOR", "main", "127.0.0.1", &port, "1"];
        assert_eq!(sentinel.command(&monitor), Reply::Status("OK".to_owned()));
        let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"];
        let address = sentinel.command(&question).into_array().unwrap();
        assert_eq!(address[1], Reply::Bulk(port.into()));
    }

    #[test]
    fn settings_reach_the_server_and_data_can_outlive_a_restart() {
        let forgetful = RedisServer::start();
        let durable = RedisServer::builder().setting("appendonly", "yes").start();
        for server in [&forgetful, &durable] {
            server.command(&["SET", "a", "1"]);
            server.restart();
        }
        assert_eq!(forgetful.command(&["GET", "a"]), Reply::Nil);
        assert_eq!(durable.command(&["GET", "a"]), Reply::Bulk("1".into()));
    }

    #[test]
    fn a_server_can_be_stopped_for_a_while() {
        let server = RedisServer::start();
        server.stop();
        server.stop();
        assert!(request(&server.socket(), &["PING"]).is_err());
        server.restart();
        assert_eq!(server.command(&["DBSIZE"]).as_integer(), Some(0));
    }

    #[test]
    #[should_panic(expected = "redis-server did not start")]
    fn a_wrong_setting_shows_the_log() {
        let _ = RedisServer::builder().setting("nonsense", "1").start();
    }
}
