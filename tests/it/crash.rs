//! A worker program that is killed: a real child process, on a real Redis.

use std::{
    collections::HashSet,
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
};

use verk::{Job, Verk, prelude::*};
use verk_testing::{RedisServer, within};

use crate::support::{PATIENCE, queue_name};

/// The example program `sidekiq_worker`, which prints `ran JID CLASS ARGS` when a job starts.
pub(crate) struct WorkerProgram {
    child: Child,
    ran: mpsc::Receiver<String>,
}

impl WorkerProgram {
    fn start(redis: &RedisServer) -> Self {
        Self::start_with(redis, |_| {})
    }

    pub(crate) fn start_with(redis: &RedisServer, configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(program());
        command
            .env("REDIS_URL", redis.url())
            .env("VERK_QUEUES", "default:40")
            .env("VERK_NODE_ID", "worker-0")
            .env("VERK_HEARTBEAT", "500ms")
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        configure(&mut command);
        let mut child = command.spawn().expect("`cargo test` builds the examples");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, ran) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(jid) = line
                    .strip_prefix("ran ")
                    .and_then(|line| line.split(' ').next())
                {
                    let _ = send.send(jid.to_owned());
                }
            }
        });
        Self { child, ran }
    }

    /// Waits for the next job to start.
    pub(crate) fn next(&self) -> String {
        self.ran.recv_timeout(PATIENCE).expect("a job starts soon")
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for WorkerProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This test is `target/PROFILE/deps/it-HASH`; the example is
/// `target/PROFILE/examples/sidekiq_worker`.
fn program() -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    profile.join("examples").join("sidekiq_worker")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_of_a_killed_worker_runs_and_nothing_is_left_in_progress() {
    let redis = RedisServer::start();
    let verk = Verk::builder().redis(redis.url()).build().await.unwrap();
    // Each sleeps for a second.
    let jobs = (0..200).map(|_| report(1));
    let jids: HashSet<String> = verk
        .client()
        .enqueue_all(jobs)
        .await
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();

    let work = tokio::task::spawn_blocking(move || {
        let mut first = WorkerProgram::start(&redis);
        let mut ran: HashSet<String> = (0..60).map(|_| first.next()).collect();
        first.kill();
        let left = inprogress(&redis);
        assert_eq!(
            left.len(),
            1,
            "the killed worker had jobs in progress: {left:?}"
        );

        let second = WorkerProgram::start(&redis);
        while ran.len() < jids.len() {
            ran.insert(second.next());
        }
        assert_eq!(ran, jids);
        (redis, second)
    });
    let (redis, mut second) = work.await.unwrap();
    // The killed worker's node is taken off the list.
    within(PATIENCE, async {
        while redis.command(&["SCARD", "verk_nodes"]).as_integer() != Some(1) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    tokio::task::spawn_blocking(move || {
        stop(&mut second);
        assert_eq!(inprogress(&redis), [""; 0]);
        assert_eq!(
            redis.command(&["LLEN", "queue:default"]).as_integer(),
            Some(0)
        );
        assert_eq!(
            redis.command(&["SCARD", "verk_nodes"]).as_integer(),
            Some(0)
        );
        assert_eq!(
            redis
                .command(&["EXISTS", "retry", "dead", "schedule"])
                .as_integer(),
            Some(0)
        );
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_comes_twice_at_once_drains() {
    let redis = RedisServer::start();
    let verk = Verk::builder().redis(redis.url()).build().await.unwrap();
    verk.enqueue(report(1)).await.unwrap();
    let program = tokio::task::spawn_blocking(move || {
        let mut program = WorkerProgram::start(&redis);
        program.next();
        program.terminate();
        program.terminate();
        assert!(program.child.wait().unwrap().success());
        assert_eq!(
            redis
                .command(&["EXISTS", "verk_nodes", "queue:default"])
                .as_integer(),
            Some(0)
        );
    });
    program.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_signal_later_ends_at_once_and_leaves_the_job_in_redis() {
    let redis = RedisServer::start();
    let verk = Verk::builder().redis(redis.url()).build().await.unwrap();
    verk.enqueue(report(600)).await.unwrap();
    let program = tokio::task::spawn_blocking(move || {
        let mut program = WorkerProgram::start(&redis);
        program.next();
        // Well before `shutdown_timeout` is over.
        let status = loop {
            program.terminate();
            if let Some(status) = program.child.try_wait().unwrap() {
                break status;
            }
        };
        assert_eq!(status.code(), Some(1));
        assert_eq!(inprogress(&redis).len(), 1);
    });
    program.await.unwrap();
}

/// A job that takes so many seconds.
pub(crate) fn report(seconds: u32) -> Job {
    Job::new(
        "Reports::Build",
        queue_name("default"),
        format!("[{seconds}]"),
    )
    .unwrap()
}

/// Asks the program to end, and waits until it has.
fn stop(program: &mut WorkerProgram) {
    program.terminate();
    assert!(program.child.wait().unwrap().success());
}

fn inprogress(redis: &RedisServer) -> Vec<String> {
    let keys = redis
        .command(&["KEYS", "inprogress:*"])
        .into_array()
        .unwrap();
    keys.into_iter()
        .map(|key| String::from_utf8(key.into_bytes().unwrap().to_vec()).unwrap())
        .collect()
}
