//! Jobs that are fetched before there is a permit for them: on a slow network they are there when
//! one is, and when none is, they go back.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use verk::{EventKind, prelude::*, storage::Source};
use verk_testing::{CuttingProxy, RedisServer};

use crate::support::{ALL, Gate, Log, States, payloads, queue_name, until, wait_for};

/// Runs until the gate opens, or not at all.
#[verk::worker]
async fn ahead(number: u32, waits: bool, State(log): State<Log>, State(gate): State<Gate>) {
    log.push(number.to_string());
    if waits {
        gate.pass().await;
    }
}

/// A node with two permits behind a network that takes its time.
struct Node {
    redis: RedisServer,
    proxy: CuttingProxy,
    verk: Verk,
    states: States,
}

impl Node {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let proxy = CuttingProxy::start(&redis);
        let states = States::new();
        let builder = Verk::builder().redis(proxy.url()).queue("default", 2);
        let verk = states.give(builder).build().await.unwrap();
        Self {
            redis,
            proxy,
            verk,
            states,
        }
    }

    /// Enqueues short jobs, then ones that wait for the gate, and runs them on the slow network.
    async fn run(&self, short: u32, long: u32) {
        let jobs = (0..short + long).map(|number| Ahead::new(number, number >= short));
        self.verk.client().enqueue_all(jobs).await.unwrap();
        self.proxy.set_delay(Duration::from_millis(10));
        self.verk.start().unwrap();
    }

    async fn wait_until(&self, wanted: impl Fn(&Self) -> bool) {
        until(|| wanted(self)).await;
    }

    fn in_progress(&self) -> usize {
        let keys = self.redis.command(&["KEYS", "inprogress:default:*"]);
        let keys = keys.into_array().unwrap();
        keys.into_iter()
            .map(|key| {
                let key = String::from_utf8(key.into_bytes().unwrap().to_vec()).unwrap();
                let jobs = self.redis.command(&["LRANGE", &key, "0", "-1"]);
                jobs.into_array().unwrap().len()
            })
            .sum()
    }

    async fn queued(&self) -> Vec<Bytes> {
        let storage = self.verk.storage();
        let queue = Source::Queue(queue_name("default"));
        payloads(storage.list(&queue, &ALL.into()).await.unwrap().jobs)
    }

    fn ran(&self) -> Vec<u32> {
        let ran = self.states.log.entries();
        ran.iter().map(|number| number.parse().unwrap()).collect()
    }
}

#[tokio::test]
async fn jobs_that_would_wait_go_back_in_order() {
    let node = Node::start().await;
    let mut events = node.verk.events();
    node.run(40, 10).await;
    let mut handed_back = 0;
    // Two run, and at most four times as many were fetched ahead.
    while handed_back == 0 || node.in_progress() != 2 {
        let event = wait_for(&mut events, Some).await;
        handed_back += usize::from(matches!(event.what, EventKind::JobHandedBack));
    }
    assert!(handed_back <= 8, "{handed_back}");
    assert_eq!(node.queued().await.len(), 8);

    node.states.gate.open();
    while node.ran().len() < 50 {
        wait_for(&mut events, Some).await;
    }
    node.verk.shutdown().await;
    let mut runs: BTreeMap<u32, usize> = BTreeMap::new();
    for number in node.ran() {
        *runs.entry(number).or_default() += 1;
    }
    assert_eq!(runs, (0..50).map(|number| (number, 1)).collect());
    assert_eq!(node.in_progress(), 0);
}

#[tokio::test]
async fn a_shutdown_hands_back_what_did_not_begin() {
    let node = Node::start().await;
    let mut events = node
        .verk
        .events()
        .only(|what| matches!(what, EventKind::JobFinished { .. }));
    node.run(400, 0).await;
    node.wait_until(|node| node.ran().len() >= 100).await;
    node.verk.shutdown().await;
    assert_eq!(node.in_progress(), 0);
    let queued = node.queued().await;
    // What did not run is in the queue, in order: nothing overtook another job, and none ran twice.
    let ran = node.ran().len();
    assert_eq!(ran + queued.len(), 400);
    let first = verk::Job::decode(queued[0].clone()).unwrap();
    assert_eq!(first.args(), format!("[{ran},false]"));
    // The outcomes of the last batches are published, and counted.
    for _ in 0..ran {
        wait_for(&mut events, Some).await;
    }
    assert_eq!(
        node.verk.admin().stats().await.unwrap().processed,
        ran as u64
    );
}

#[tokio::test]
async fn a_shutdown_tells_what_was_on_its_way() {
    let node = Node::start().await;
    let mut events = node
        .verk
        .events()
        .only(|what| matches!(what, EventKind::JobFinished { .. }));
    node.run(4, 0).await;
    node.wait_until(|node| node.ran().len() == 4 && node.verk.running_jobs().is_empty())
        .await;
    // The last outcomes were sent with a fetch, which finds no job.
    node.verk.shutdown().await;
    for _ in 0..4 {
        wait_for(&mut events, Some).await;
    }
    assert_eq!(node.verk.admin().stats().await.unwrap().processed, 4);
}
