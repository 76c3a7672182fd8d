//! Connections that vanish, and the runtimes that they live in.

use std::{future::Future, process::Command, time::Duration};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{join_all, join3},
};
use tokio::runtime::{Builder, Runtime};
use verk_core::{
    QueueName, StorageError,
    error::Applied,
    storage::{JobStore, NodeStore, PauseStore, Server, Source, WaitingStore},
};
use verk_redis::{Error, RedisConfig, RedisStorage};
use verk_testing::{CuttingProxy, RedisServer, within};

const PATIENCE: Duration = Duration::from_secs(60);
const POOL: usize = 4;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn queue() -> QueueName {
    "default".parse().unwrap()
}

async fn enqueue(storage: &RedisStorage, job: &'static str) -> Result<(), StorageError> {
    let jobs = [Bytes::from(job)];
    within(PATIENCE, storage.enqueue(&queue(), &jobs)).await
}

fn applied(result: &Result<(), StorageError>) -> Option<Applied> {
    result.as_ref().err().map(StorageError::applied)
}

/// A storage behind a proxy, with connections that were all in use.
async fn used(proxy: &CuttingProxy) -> RedisStorage {
    let config = RedisConfig::new(proxy.url()).response_timeout(Duration::from_secs(2));
    let storage = RedisStorage::connect(config).await.unwrap();
    for _ in 0..2 * POOL {
        enqueue(&storage, "before").await.unwrap();
    }
    storage
}

#[tokio::test]
async fn of_calls_in_a_row_only_one_pays_for_connections_that_vanished() {
    let server = RedisServer::start();
    let proxy = CuttingProxy::start(&server);
    let storage = used(&proxy).await;
    for _ in 0..2 {
        proxy.vanish();
        let mut answers = Vec::new();
        for _ in 0..2 * POOL {
            answers.push(applied(&enqueue(&storage, "after").await));
        }
        let mut expected = [None; 2 * POOL];
        expected[0] = Some(Applied::Unknown);
        assert_eq!(answers, expected);
    }
}

/// Answers of calls at the same time. The first goes alone, the second goes with those that come
/// before the program does something else, and the others wait for these two.
async fn pile_up(storage: &RedisStorage) -> Vec<Option<Applied>> {
    let mut first = Box::pin(enqueue(storage, "first"));
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = Box::pin(enqueue(storage, "second"));
    assert!(futures_util::poll!(&mut second).is_pending());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let others = join_all((0..10).map(|_| enqueue(storage, "other")));
    let (first, second, others) = join3(first, second, others).await;
    let answers = [first, second].into_iter().chain(others);
    answers.map(|answer| applied(&answer)).collect()
}

#[tokio::test]
async fn calls_at_the_same_time_pay_together() {
    let server = RedisServer::start();
    let proxy = CuttingProxy::start(&server);
    let storage = used(&proxy).await;
    proxy.vanish();
    let [first, second, others @ ..] = &pile_up(&storage).await[..] else {
        panic!("there are more");
    };
    assert_eq!(*first, Some(Applied::Unknown));
    assert_eq!(*second, Some(Applied::Unknown));
    // They waited for the replies that did not come, and then went over a new connection.
    for other in others {
        assert_eq!(*other, None);
    }
    for _ in 0..2 * POOL {
        enqueue(&storage, "after").await.unwrap();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_waits_long_for_a_server_that_stands_still() {
    let server = RedisServer::start();
    let config = RedisConfig::new(server.url()).response_timeout(Duration::from_secs(2));
    let storage = RedisStorage::connect(config).await.unwrap();
    enqueue(&storage, "before").await.unwrap();
    let signal = |signal: &str| {
        let pid = server.pid().unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    };
    signal("-STOP");
    let [first, second, others @ ..] = &pile_up(&storage).await[..] else {
        panic!("there are more");
    };
    assert_eq!(*first, Some(Applied::Unknown));
    assert_eq!(*second, Some(Applied::Unknown));
    for other in others {
        assert_eq!(*other, Some(Applied::NotApplied));
    }
    signal("-CONT");
    let well = async {
        while enqueue(&storage, "after").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, well).await;
}

/// The timers of the connections from here to a port, as the system names them: 02 for keepalive.
#[cfg(target_os = "linux")]
fn timers(port: u16) -> Vec<String> {
    let remote = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let rows = table.lines().map(|row| row.split_whitespace().collect());
    rows.filter(|row: &Vec<&str>| row[2].ends_with(&remote) && row[3] == "01")
        .map(|row| row[5].split(':').next().unwrap().to_owned())
        .collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn every_connection_is_kept_alive() {
    let server = RedisServer::builder().tcp().start();
    let storage = RedisStorage::connect(server.url()).await.unwrap();
    let node = verk_core::names::NodeId::register("kept-alive").unwrap();
    let ttl = Duration::from_secs(60);
    storage
        .register(&node, &[queue()], ttl, &Default::default())
        .await
        .unwrap();
    let heartbeat = storage.open_heartbeat(&node, ttl).await.unwrap();
    let listener = storage.open_pause_listener().await.unwrap();
    let all_kept_alive = async {
        // While something is not acknowledged, the timer is another one.
        loop {
            let timers = timers(server.port());
            if timers.len() >= POOL + 2 && timers.iter().all(|timer| timer == "02") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, all_kept_alive).await;
    drop((heartbeat, listener));
}

/// Runs futures in the runtime, one after the other, and gives it back.
fn enqueue_in(runtime: &Runtime, storage: &RedisStorage, count: usize) {
    runtime.block_on(async {
        for _ in 0..count {
            enqueue(storage, "one by one").await.unwrap();
        }
        let calls = (0..count).map(|_| enqueue(storage, "at once"));
        for result in join_all(calls).await {
            result.unwrap();
        }
    });
}

#[test]
fn a_storage_outlives_the_runtime_that_connected_it() {
    let server = RedisServer::start();
    let first = runtime();
    let storage = first.block_on(RedisStorage::connect(server.url())).unwrap();
    enqueue_in(&first, &storage, 1);
    let second = runtime();
    enqueue_in(&second, &storage, 20);
    drop(first);
    enqueue_in(&second, &storage, 20);
    drop(second);
    enqueue_in(&runtime(), &storage, 20);
}

#[test]
fn a_runtime_that_stands_still_holds_up_no_other() {
    let server = RedisServer::start();
    let first = runtime();
    let storage = first.block_on(RedisStorage::connect(server.url())).unwrap();
    first.block_on(async {
        // A call that is on its way, and is not driven any further.
        let mut call = Box::pin(enqueue(&storage, "stands still"));
        assert!(futures_util::poll!(&mut call).is_pending());
        std::thread::scope(|scope| {
            scope.spawn(|| enqueue_in(&runtime(), &storage, 20));
        });
        call.await.unwrap();
    });
}

#[test]
fn what_a_runtime_had_not_sent_when_it_ended_is_not_stored() {
    let server = RedisServer::start();
    let first = runtime();
    let storage = first.block_on(RedisStorage::connect(server.url())).unwrap();
    let (queue, jobs) = (queue(), [Bytes::from("job")]);
    let (sent, mut waits) = {
        let _inside = first.enter();
        let mut sent = storage.enqueue(&queue, &jobs);
        assert!((&mut sent).now_or_never().is_none());
        let mut waits = storage.enqueue(&queue, &jobs);
        assert!((&mut waits).now_or_never().is_none());
        (sent, waits)
    };
    drop(first);
    runtime().block_on(async {
        let waited = within(PATIENCE, &mut waits).await;
        assert_eq!(applied(&waited), Some(Applied::NotApplied));
        drop(sent);
        enqueue(&storage, "later").await.unwrap();
    });
}

#[test]
fn without_a_runtime_the_error_says_so_and_nothing_is_sent() {
    let server = RedisServer::start();
    let connected = RedisStorage::connect(server.url()).now_or_never();
    let error = connected.unwrap().unwrap_err();
    assert!(matches!(error, Error::NoRuntime), "{error}");

    let first = runtime();
    let storage = first.block_on(RedisStorage::connect(server.url())).unwrap();
    let now = |call: &mut (dyn Future<Output = Result<(), StorageError>> + Unpin)| {
        let error = call.now_or_never().unwrap().unwrap_err();
        assert_eq!(error.applied(), Applied::NotApplied);
        let error = error.to_string();
        assert!(error.contains("no tokio runtime here"), "{error}");
    };
    let jobs = [Bytes::from("job")];
    now(&mut storage.enqueue(&queue(), &jobs));
    now(&mut Box::pin(storage.server_time().map(|it| it.map(drop))));
    now(&mut Box::pin(
        storage.len(&Source::Queue(queue())).map(|it| it.map(drop)),
    ));
    let due = verk_core::storage::Due {
        at: std::time::UNIX_EPOCH,
        job: "due".into(),
    };
    now(&mut Box::pin(
        storage.schedule(&[due]).map(|it| it.map(drop)),
    ));
}
