//! Enqueues at the same time go to the server together, and each has its own answer.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use verk_core::{
    QueueName, StorageError,
    error::Applied,
    storage::{JobStore, MAX_BATCH_BYTES, Page, Source, WaitingStore},
};
use verk_redis::RedisStorage;
use verk_testing::{CuttingProxy, RedisServer, Reply, within};

const PATIENCE: Duration = Duration::from_secs(30);
const ALL: Page = Page {
    offset: 0,
    limit: 1000,
};

struct Setup {
    server: RedisServer,
    proxy: CuttingProxy,
    storage: RedisStorage,
}

impl Setup {
    async fn start() -> Self {
        let server = RedisServer::start();
        let proxy = CuttingProxy::start(&server);
        let storage = RedisStorage::connect(proxy.url()).await.unwrap();
        server.command(&["CONFIG", "RESETSTAT"]);
        Self {
            server,
            proxy,
            storage,
        }
    }

    /// Enqueues each job by a call of its own, all at once.
    async fn enqueue_each(
        &self,
        queue: &str,
        jobs: impl IntoIterator<Item = Bytes>,
    ) -> Vec<Result<(), StorageError>> {
        let calls = jobs.into_iter().map(|job| self.enqueue(queue, job));
        within(PATIENCE, join_all(calls)).await
    }

    fn enqueue(&self, queue: &str, job: Bytes) -> impl Future<Output = Result<(), StorageError>> {
        let (storage, queue) = (self.storage.clone(), name(queue));
        async move { storage.enqueue(&queue, &[job]).await }
    }

    /// The jobs of a queue, the next to be fetched first.
    async fn jobs(&self, queue: &str) -> Vec<Bytes> {
        let page = self
            .storage
            .list(&Source::Queue(name(queue)), &ALL.into())
            .await;
        page.unwrap()
            .jobs
            .into_iter()
            .map(|waiting| waiting.job)
            .collect()
    }

    /// How often the server was sent a command.
    fn calls(&self, command: &str) -> u64 {
        let Reply::Bulk(stats) = self.server.command(&["INFO", "commandstats"]) else {
            panic!("INFO gives a text");
        };
        let stats = String::from_utf8(stats.to_vec()).unwrap();
        let start = format!("cmdstat_{command}:calls=");
        let calls = stats.lines().find_map(|line| line.strip_prefix(&start));
        calls.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
    }
}

fn name(queue: &str) -> QueueName {
    queue.parse().unwrap()
}

fn numbered(count: usize) -> Vec<Bytes> {
    (0..count).map(|number| number.to_string().into()).collect()
}

fn applied(result: &Result<(), StorageError>) -> Option<Applied> {
    result.as_ref().err().map(StorageError::applied)
}

#[tokio::test]
async fn calls_at_once_are_few_requests() {
    let setup = Setup::start().await;
    let results = setup.enqueue_each("default", numbered(100)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let mut jobs = setup.jobs("default").await;
    // The first went alone, over another connection; the others are in order.
    jobs.retain(|job| job != "0");
    assert_eq!(jobs, numbered(100)[1..]);
    assert_eq!((setup.calls("lpush"), setup.calls("sadd")), (2, 2));
}

#[tokio::test]
async fn one_after_the_other_each_is_a_request() {
    let setup = Setup::start().await;
    for job in numbered(3) {
        setup.enqueue("default", job).await.unwrap();
    }
    assert_eq!(setup.jobs("default").await, numbered(3));
    assert_eq!(setup.calls("lpush"), 3);
}

#[tokio::test]
async fn what_is_together_stays_within_the_bounds_of_a_batch() {
    let setup = Setup::start().await;
    let large = Bytes::from(vec![b'x'; MAX_BATCH_BYTES / 2 + 1]);
    let results = setup.enqueue_each("default", vec![large; 4]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(setup.calls("lpush"), 4, "two are too large for one request");
}

#[tokio::test]
async fn an_error_is_that_of_the_calls_to_its_queue() {
    let setup = Setup::start().await;
    setup.server.command(&["SET", "queue:text", "x"]);
    let calls = (0..10).map(|number| {
        let queue = ["default", "text"][number % 2];
        setup.enqueue(queue, number.to_string().into())
    });
    let results = within(PATIENCE, join_all(calls)).await;
    for (number, result) in results.iter().enumerate() {
        let refused = (number % 2 == 1).then_some(Applied::NotApplied);
        assert_eq!(applied(result), refused, "{number}");
    }
    let mut jobs = setup.jobs("default").await;
    jobs.sort();
    assert_eq!(jobs, ["0", "2", "4", "6", "8"]);
    assert_eq!(
        setup.storage.queues().await.unwrap(),
        [name("default"), name("text")]
    );
}

#[tokio::test]
async fn a_lost_reply_leaves_each_of_its_calls_without_an_answer() {
    let setup = Setup::start().await;
    setup
        .proxy
        .lose_reply(|command| command.name() == "LPUSH" && command.mentions("lost"));
    let jobs = ["first", "lost", "too"].map(Bytes::from);
    let results = setup.enqueue_each("default", jobs).await;
    let unknown = Some(Applied::Unknown);
    let answers: Vec<_> = results.iter().map(applied).collect();
    assert_eq!(answers, [None, unknown, unknown]);
    // It was done, and nobody sends it again.
    let mut jobs = setup.jobs("default").await;
    jobs.sort();
    assert_eq!(jobs, ["first", "lost", "too"]);
    setup.enqueue("default", "later".into()).await.unwrap();
    assert_eq!(setup.calls("lpush"), 3);
}

#[tokio::test]
async fn a_call_that_is_dropped_takes_no_other_with_it() {
    let setup = Setup::start().await;
    let mut first = Box::pin(setup.enqueue("default", "first".into()));
    let mut second = Box::pin(setup.enqueue("default", "second".into()));
    let mut third = Box::pin(setup.enqueue("default", "third".into()));
    for call in [&mut first, &mut second, &mut third] {
        assert!(futures_util::poll!(call).is_pending());
    }
    drop(first);
    drop(second);
    within(PATIENCE, third).await.unwrap();
    let jobs = setup.jobs("default").await;
    assert!(jobs.contains(&"third".into()), "{jobs:?}");
    setup.enqueue("default", "fourth".into()).await.unwrap();
}
