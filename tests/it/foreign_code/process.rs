//! A worker program whose log is a pipe without a reader: a real child process, on a real Redis.
//!
//! `tracing_subscriber::fmt` reports a line that cannot be written by `eprintln!`, which panics
//! there.

use std::{
    collections::HashSet,
    env,
    io::{self, PipeReader, Read},
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use verk::{State, Verk, VerkBuilder, prelude::*, storage::Source};
use verk_testing::RedisServer;

use crate::{
    crash::{WorkerProgram, report},
    support::{Log, States, queue_name, until},
};

/// What a test needs: a node that only enqueues, and a program that runs two jobs at once.
struct Deployed {
    redis: RedisServer,
    verk: Verk,
    program: WorkerProgram,
}

impl Deployed {
    async fn start(jobs: usize, seconds: u32, log: io::PipeWriter) -> Self {
        let redis = RedisServer::start();
        let verk = Verk::builder().redis(redis.url()).build().await.unwrap();
        let jobs = (0..jobs).map(|_| report(seconds));
        verk.client().enqueue_all(jobs).await.unwrap();
        let program = WorkerProgram::start_with(&redis, |command| {
            command
                .env("VERK_QUEUES", "default:2")
                .env("VERK_SHUTDOWN_TIMEOUT", "100ms")
                .stderr(log);
        });
        Self {
            redis,
            verk,
            program,
        }
    }

    /// Waits until so many jobs started.
    fn started(&self, count: usize) -> HashSet<String> {
        (0..count).map(|_| self.program.next()).collect()
    }

    /// Terminates the program. Nothing is left of it but what waits.
    async fn ends_well(mut self, waiting: usize) {
        self.program.terminate();
        let status = tokio::task::spawn_blocking(move || self.program.wait()).await;
        assert_eq!(status.unwrap().code(), Some(0));
        let left = self.redis.command(&["KEYS", "inprogress:*"]);
        assert_eq!(left.into_array().unwrap().len(), 0, "jobs in progress");
        for set in ["retry", "dead", "schedule"] {
            let members = self.redis.command(&["ZCARD", set]).as_integer();
            assert_eq!(members, Some(0), "{set}");
        }
        let queue = Source::Queue(queue_name("default"));
        let queued = self.verk.storage().len(&queue).await.unwrap();
        assert_eq!(queued, waiting);
    }
}

/// Reads a line at least, and closes the pipe.
fn read_some(mut reader: PipeReader) {
    let mut some = [0; 64];
    assert_ne!(reader.read(&mut some).unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_dead_from_the_start_costs_no_job() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let it = Deployed::start(20, 0, writer).await;
    assert_eq!(it.started(20).len(), 20);
    it.ends_well(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_dies_while_jobs_run_costs_no_job() {
    let (reader, writer) = io::pipe().unwrap();
    let it = Deployed::start(20, 0, writer).await;
    let before = it.started(5);
    read_some(reader);
    let jobs = (0..20).map(|_| report(0));
    it.verk.client().enqueue_all(jobs).await.unwrap();
    let after = it.started(35);
    assert_eq!(before.union(&after).count(), 40);
    it.ends_well(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_log_that_dies_before_term_the_jobs_go_back_and_the_process_ends_well() {
    let (reader, writer) = io::pipe().unwrap();
    // So long that they run when the program gets TERM.
    let it = Deployed::start(3, 600, writer).await;
    it.started(2);
    thread::spawn(move || read_some(reader)).join().unwrap();
    it.ends_well(3).await;
}

/// Where the Redis of [`worker_process`] is.
const HOOKED: &str = "VERK_TEST_PANICKING_HOOK";

/// The name of the node in both processes, so that the second need not wait until the first is
/// found dead.
const NAME: &str = "hooked-0";

#[verk::worker(queue = "hooked")]
async fn panics_under_the_hook(State(log): State<Log>) {
    assert!(env::var_os(HOOKED).is_none(), "the hook is called");
    log.push("ran");
}

fn hooked(url: String) -> VerkBuilder {
    Verk::builder()
        .redis(url)
        .queue("hooked", 1)
        .node_id(NAME.to_owned())
        .heartbeat(Duration::from_millis(500))
}

/// No test, but the program of the next one: its panic hook panics, as one does that logs where
/// nobody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_process() {
    let Ok(url) = env::var(HOOKED) else { return };
    std::panic::set_hook(Box::new(|_| panic!("nobody reads this")));
    let verk = States::new().give(hooked(url)).build().await.unwrap();
    verk.run().await.unwrap();
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_hook_that_panics_ends_the_process_and_the_job_is_restored() {
    use std::os::unix::process::ExitStatusExt;

    let redis = RedisServer::start();
    let states = States::new();
    let client = Verk::builder().redis(redis.url()).build().await.unwrap();
    client.enqueue(PanicsUnderTheHook::new()).await.unwrap();
    let process = Command::new(env::current_exe().unwrap())
        .args(["--exact", "foreign_code::process::worker_process"])
        .env(HOOKED, redis.url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let ended = tokio::task::spawn_blocking(move || process.unwrap().wait().unwrap());
    // The signal of an abort.
    assert_eq!(ended.await.unwrap().signal(), Some(6));

    let builder = states.give(hooked(redis.url().to_owned()));
    let verk = builder.build().await.unwrap();
    verk.start().unwrap();
    until(|| states.log.entries() == ["ran"]).await;
    verk.shutdown().await;
    let left = redis.command(&["KEYS", "inprogress:*"]).into_array();
    assert_eq!(left.unwrap().len(), 0);
}
