//! The processes of a run: [`Fleet`].

use std::{
    io::{self, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, Command},
    sync::{RwLock, mpsc},
    task::JoinHandle,
};
use verk::redis::RedisConfig;
use verk_testing::{CuttingProxy, RedisServer, Reply};

use crate::{
    backlog::Backlog,
    ledger::{Ledger, Life, Record},
    left::{self, Left},
    store::{self, Place, Store},
};

/// A Redis that keeps its data, worker processes that reach it through a proxy each, and a proxy
/// for the producers; or a cluster instead of that Redis.
#[derive(Debug)]
pub struct Fleet {
    dir: TempDir,
    pub(crate) store: Store,
    /// Held for writing while the server is down; held for reading by callers that use it directly.
    pub(crate) server_is_there: RwLock<()>,
    /// Where everything is written.
    pub ledger: Ledger,
    /// What the producers connect to.
    pub(crate) producer_proxy: CuttingProxy,
    /// What each worker connects to.
    pub(crate) proxies: Vec<CuttingProxy>,
    workers: Vec<Keeper>,
    /// A node's heartbeat.
    pub heartbeat: Duration,
    /// The queues of the jobs.
    pub(crate) queues: &'static [&'static str],
    /// The jobs that wait until the faults are over.
    pub(crate) backlog: Option<Backlog>,
}

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct Size {
    /// The program to start the workers with: this one.
    pub program: PathBuf,
    /// How many worker processes.
    pub workers: usize,
    /// Where the jobs are.
    pub place: Place,
    /// How many jobs each runs at once.
    pub concurrency: usize,
    /// The heartbeat of the nodes.
    pub heartbeat: Duration,
}

/// Starts a worker process, and again when it ends.
#[derive(Debug)]
struct Keeper {
    commands: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Order {
    Signal(Signal),
    /// A line for its standard input.
    Tell(String),
    /// Nobody reads its log any more.
    CloseLog,
    /// TERM, and no new one.
    Stop,
}

impl Fleet {
    /// Starts everything.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be made.
    pub fn start(size: &Size) -> io::Result<Self> {
        let dir = TempDir::with_prefix("verk-chaos")?;
        let ledger = Ledger::open(&dir.path().join("ledger"))?;
        let store = Store::start(size.place);
        let proxies: Vec<_> = (0..size.workers)
            .map(|_| CuttingProxy::start(store.server()))
            .collect();
        let workers = (0..)
            .zip(&proxies)
            .map(|(worker, proxy)| {
                let (commands, orders) = mpsc::unbounded_channel();
                let life = Life {
                    worker,
                    restarts: 0,
                };
                let start = Start {
                    size: size.clone(),
                    dir: dir.path().to_owned(),
                    redis: store.url(proxy),
                    prefix: store.prefix(),
                };
                let task = tokio::spawn(keep(life, start, ledger.clone(), orders));
                Keeper { commands, task }
            })
            .collect();
        Ok(Self {
            producer_proxy: CuttingProxy::start(store.server()),
            server_is_there: RwLock::default(),
            dir,
            store,
            ledger,
            proxies,
            workers,
            heartbeat: size.heartbeat,
            queues: size.place.queues(),
            backlog: Backlog::of(size.place),
        })
    }

    /// The server that has the jobs now; of several cells, that of the first.
    #[must_use]
    pub fn server(&self) -> &RedisServer {
        self.store.server()
    }

    /// The server of each cell, and what is before every key there, with its colon.
    pub(crate) fn cells(&self) -> Vec<(&RedisServer, String)> {
        let prefixes = self.store.prefixes().into_iter();
        prefixes
            .map(|prefix| (self.store.server_of(&prefix), prefix))
            .collect()
    }

    /// How to reach the jobs, through a proxy if they are on one server.
    pub(crate) fn redis(&self, proxy: &CuttingProxy) -> RedisConfig {
        RedisConfig::new(self.store.url(proxy)).prefix(self.store.prefix())
    }

    /// Looks at the jobs, without help from verk: at those of each cell in one moment. No job goes
    /// from one cell to another.
    pub(crate) fn what_is_left(&self) -> Left {
        self.look(None)
    }

    /// As [`what_is_left`](Self::what_is_left), but one job of the backlog stands for all. So the
    /// server is not stopped for long.
    pub(crate) fn what_is_left_at_a_glance(&self) -> Left {
        self.look(self.backlog.as_ref().map(Backlog::key))
    }

    fn look(&self, short: Option<String>) -> Left {
        let short = short.unwrap_or_default();
        let cells = self.cells().into_iter();
        let left = cells.map(|(server, prefix)| left::what_is_left(server, &prefix, &short));
        left.reduce(Left::with).unwrap_or_default()
    }

    /// The time to live of a node's heartbeat.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.heartbeat * 2
    }

    /// The file that everything is written to.
    #[must_use]
    pub fn ledger_path(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    pub(crate) fn signal(&self, worker: usize, signal: Signal) {
        self.order(worker, Order::Signal(signal));
    }

    pub(crate) fn tell(&self, worker: usize, line: String) {
        self.order(worker, Order::Tell(line));
    }

    /// Ends the reader of a worker's log.
    pub(crate) fn close_log(&self, worker: usize) {
        self.order(worker, Order::CloseLog);
    }

    fn order(&self, worker: usize, order: Order) {
        // An error means that the thread that keeps the worker has ended, because the worker was
        // stopped.
        let _ = self.workers[worker].commands.send(order);
    }

    /// Signals the server.
    pub(crate) fn signal_server(&self, signal: Signal) {
        if let Some(pid) = store::pid(self.server()) {
            // It may have ended just now.
            let _ = kill_process(pid, signal);
        }
    }

    /// From now on no file of the server grows by more than `room` bytes, which may be less than
    /// one of its writes.
    pub(crate) fn fill_the_disk(&self, room: u64) {
        let files = std::fs::read_dir(self.aof_dir()).into_iter().flatten();
        let sizes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
        let full = Rlimit {
            current: Some(sizes.max().unwrap_or_default() + room),
            maximum: None,
        };
        // It may have ended just now.
        let _ = prlimit(store::pid(self.server()), Resource::Fsize, full);
    }

    /// Starts the server again, and kills it before if it still runs.
    ///
    /// Cuts off a partly written transaction, as an operator must. By itself, Redis cuts off only
    /// the last command. It keeps the commands before it in the same transaction, and runs them at
    /// the start after the next, although that transaction never happened.
    ///
    /// # Panics
    ///
    /// When `redis-check-aof`, which comes with the server, is missing, or cannot do that.
    pub(crate) fn restart_server(&self) {
        self.server().stop();
        let mut check = std::process::Command::new("redis-check-aof")
            .arg("--fix")
            .arg(self.aof_dir().join("appendonly.aof.manifest"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-check-aof is installed with redis-server");
        if let Some(mut input) = check.stdin.take() {
            // An error says that it had nothing to ask.
            let _ = input.write_all(b"y\n");
        }
        let checked = check.wait_with_output().expect("redis-check-aof ends");
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "{said}");
        self.server().restart();
    }

    fn aof_dir(&self) -> PathBuf {
        self.server().socket().with_file_name("appendonlydir")
    }

    /// Whether somebody listens. The server may not answer.
    pub(crate) fn server_accepts(&self) -> bool {
        UnixStream::connect(self.server().socket()).is_ok()
    }

    /// Sends the server a command. Returns whether the answer was no error.
    pub(crate) fn ask(&self, command: &[&str]) -> bool {
        !matches!(self.server().command(command), Reply::Error(_))
    }

    /// Ends the workers with TERM, and waits until they have ended.
    pub async fn stop_workers(&mut self) {
        for keeper in &self.workers {
            // An error says that its keeper has ended.
            let _ = keeper.commands.send(Order::Stop);
        }
        for keeper in self.workers.drain(..) {
            // A panic there has been printed.
            let _ = keeper.task.await;
        }
    }

    /// Keeps the ledger and the logs of the workers when this is dropped.
    pub(crate) fn keep_files(&mut self) {
        self.dir.disable_cleanup(true);
    }
}

/// How to start a worker process.
#[derive(Clone, Debug)]
struct Start {
    size: Size,
    dir: PathBuf,
    redis: String,
    prefix: Option<String>,
}

impl Start {
    /// Reads the log of a process, until that ends or this is aborted.
    fn read_log(&self, life: Life, log: Option<ChildStderr>) -> io::Result<JoinHandle<()>> {
        let mut file = std::fs::File::create(self.dir.join(format!("worker-{life}.log")))?;
        Ok(tokio::spawn(async move {
            let mut buffer = [0; 8192];
            let Some(mut log) = log else { return };
            while let Ok(read @ 1..) = log.read(&mut buffer).await {
                // Without room on the disk there is no log.
                let _ = file.write_all(&buffer[..read]);
            }
        }))
    }

    fn spawn(&self, life: Life) -> io::Result<Child> {
        let backlog = Backlog::of(self.size.place);
        Command::new(&self.size.program)
            .arg("worker")
            .args(["--life", &life.to_string()])
            .args(["--redis", &self.redis])
            .args(self.prefix.iter().flat_map(|prefix| ["--prefix", prefix]))
            .args(["--heartbeat", &self.size.heartbeat.as_millis().to_string()])
            .args(["--concurrency", &self.size.concurrency.to_string()])
            .args(["--queues", &self.size.place.queues().len().to_string()])
            .args(backlog.iter().flat_map(|it| ["--backlog", &it.queue]))
            .arg("--ledger")
            .arg(self.dir.join("ledger"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }
}

async fn keep(
    mut life: Life,
    start: Start,
    ledger: Ledger,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut stopping = false;
    while !stopping {
        let mut child = start.spawn(life).expect("this program can be started");
        let mut input = child.stdin.take();
        let log = start.read_log(life, child.stderr.take());
        let log = log.expect("a file can be made");
        loop {
            let order = tokio::select! {
                biased;
                _ = child.wait() => break,
                order = orders.recv(), if !stopping => order.unwrap_or(Order::Stop),
            };
            match order {
                Order::Signal(signal) => send(&child, signal),
                Order::Tell(line) => {
                    if let Some(input) = &mut input {
                        // It may have ended just now.
                        let _ = input.write_all(format!("{line}\n").as_bytes()).await;
                    }
                }
                Order::CloseLog => log.abort(),
                Order::Stop => {
                    stopping = true;
                    send(&child, Signal::TERM);
                }
            }
        }
        ledger.write(&Record::Died(life));
        // Orders for the process that has just ended are not for the next one.
        while let Ok(order) = orders.try_recv() {
            stopping |= matches!(order, Order::Stop);
        }
        life.restarts += 1;
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = kill_process(pid, signal);
    }
}

/// The program that is running, which is also the worker.
///
/// # Errors
///
/// When the system does not tell.
pub fn this_program() -> io::Result<PathBuf> {
    std::env::current_exe().map(|path| Path::new(&path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn half_a_transaction_never_happens() {
        let size = Size {
            program: PathBuf::new(),
            workers: 0,
            place: Place::Server,
            concurrency: 1,
            heartbeat: Duration::from_secs(1),
        };
        let fleet = Fleet::start(&size).unwrap();
        assert!(fleet.ask(&["LPUSH", "list", "kept"]));
        fleet.server().stop();
        let half =
            b"*1\r\n$5\r\nMULTI\r\n*3\r\n$5\r\nLPUSH\r\n$4\r\nlist\r\n$4\r\nhalf\r\n*3\r\n$5\r\nLT";
        let file = fleet.aof_dir().join("appendonly.aof.1.incr.aof");
        let mut file = std::fs::File::options().append(true).open(file).unwrap();
        file.write_all(half).unwrap();
        for _ in 0..2 {
            fleet.restart_server();
            let pushes = "redis.call('LPUSH', 'a', 1) redis.call('LPUSH', 'b', 1)";
            assert!(fleet.ask(&["EVAL", pushes, "0"]));
            assert_eq!(fleet.server().command(&["LLEN", "list"]), Reply::Integer(1));
        }
    }
}
