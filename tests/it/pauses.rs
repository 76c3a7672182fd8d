//! Queues that are paused for all nodes, in memory and on a real Redis.

use std::time::Duration;

use verk::{
    Event, EventKind, State, Verk, events::Events, prelude::*, queues::Status, redis::RedisConfig,
};
use verk_testing::{CuttingProxy, MemoryStorage, RedisServer, within};

use crate::support::{Fixture, Gate, Log, Logged, PATIENCE, States, queue_name, until, wait_for};

#[verk::worker]
async fn paused_note(text: String, State(log): State<Log>) {
    log.push(text);
}

#[verk::worker]
async fn paused_held(text: String, State(gate): State<Gate>, State(log): State<Log>) {
    gate.pass().await;
    log.push(text);
}

async fn wait_for_queue(events: &mut Events, wanted: &str) {
    let told = wait_for(events, |event| match event {
        Event {
            what: EventKind::QueueRunning,
            ..
        } => Some("running"),
        Event {
            what: EventKind::QueuePausing,
            ..
        } => Some("pausing"),
        Event {
            what: EventKind::QueuePaused,
            ..
        } => Some("paused"),
        _ => None,
    });
    assert_eq!(told.await, wanted);
}

/// The status of the first queue, and whether it is paused everywhere.
fn status(verk: &Verk) -> (Status, bool) {
    let queue = &verk.queues()[0];
    (queue.status, queue.paused_everywhere)
}

async fn wait_for_finished(events: &mut Events, count: usize) {
    for _ in 0..count {
        wait_for(events, |event| {
            matches!(event.what, EventKind::JobFinished { .. }).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_pause_of_a_queue_that_nobody_knows_says_so() {
    let (logged, _guard) = Logged::capture();
    let it = Fixture::with(|builder| builder.queue("mailers", 1)).await;
    let had_a_job = PausedHeld::new("1").queue("reports");
    it.verk.enqueue(had_a_job).await.unwrap();
    let warnings = || logged.lines_with(&["WARN", "nobody knows"]);
    for known in ["mailers", "reports"] {
        assert!(it.verk.admin().pause_queue_everywhere(known).await.unwrap());
        assert_eq!(warnings(), 0, "{known}");
    }
    for _ in 0..2 {
        it.verk
            .admin()
            .pause_queue_everywhere("mailer")
            .await
            .unwrap();
    }
    let hint = [
        "WARN",
        "nobody knows",
        "queue=mailer",
        "did you mean mailers?",
    ];
    assert_eq!(logged.lines_with(&hint), 1, "it is paused once");
    it.verk
        .admin()
        .resume_queue_everywhere("nobodys")
        .await
        .unwrap();
    assert_eq!(warnings(), 1);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn every_node_obeys_and_running_jobs_go_on() {
    let storage = MemoryStorage::default();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let it = Fixture::on(storage.clone(), |builder| builder.queue("default", 1)).await;
        it.verk.start().unwrap();
        nodes.push(it);
    }
    for it in &mut nodes {
        wait_for_queue(&mut it.events, "running").await;
    }
    let client = Verk::builder().storage(storage).build().await.unwrap();
    for text in ["1", "2", "3"] {
        client.enqueue(PausedHeld::new(text)).await.unwrap();
    }
    for it in &mut nodes {
        it.wait_for_started(1).await;
    }

    assert!(
        client
            .admin()
            .pause_queue_everywhere("default")
            .await
            .unwrap()
    );
    assert!(
        !client
            .admin()
            .pause_queue_everywhere("default")
            .await
            .unwrap()
    );
    assert_eq!(
        client.admin().paused_queues().await.unwrap(),
        [queue_name("default")]
    );
    for it in &mut nodes {
        wait_for_queue(&mut it.events, "pausing").await;
        assert_eq!(status(&it.verk), (Status::Pausing, true));
        it.gate.open();
        wait_for_queue(&mut it.events, "paused").await;
        assert_eq!(status(&it.verk), (Status::Paused, true));
        assert_eq!(it.log.entries().len(), 1);
    }
    assert_eq!(nodes[0].queued("default").await.len(), 1);

    assert!(
        client
            .admin()
            .resume_queue_everywhere("default")
            .await
            .unwrap()
    );
    assert!(
        !client
            .admin()
            .resume_queue_everywhere("default")
            .await
            .unwrap()
    );
    for it in &mut nodes {
        wait_for_queue(&mut it.events, "running").await;
    }
    let ran = async {
        while nodes.iter().map(|it| it.log.entries().len()).sum::<usize>() < 3 {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, ran).await;
    for it in &nodes {
        it.verk.shutdown().await;
    }
    nodes[0].assert_empty().await;
}

#[tokio::test]
async fn a_queue_runs_when_it_is_paused_neither_here_nor_everywhere() {
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    wait_for_queue(&mut it.events, "running").await;
    it.verk.pause_queue("default").unwrap();
    wait_for_queue(&mut it.events, "pausing").await;
    wait_for_queue(&mut it.events, "paused").await;
    assert_eq!(status(&it.verk), (Status::Paused, false));

    // Each change is published, whatever its result.
    it.verk
        .admin()
        .pause_queue_everywhere("default")
        .await
        .unwrap();
    wait_for_queue(&mut it.events, "pausing").await;
    wait_for_queue(&mut it.events, "paused").await;
    it.verk.enqueue(PausedNote::new("later")).await.unwrap();
    assert!(it.verk.resume_queue("default").unwrap());
    wait_for_queue(&mut it.events, "pausing").await;
    wait_for_queue(&mut it.events, "paused").await;
    assert_eq!(status(&it.verk), (Status::Paused, true));
    assert_eq!(it.queued("default").await.len(), 1);

    it.verk
        .admin()
        .resume_queue_everywhere("default")
        .await
        .unwrap();
    wait_for_queue(&mut it.events, "running").await;
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_pause_is_there_before_the_node_and_for_queues_that_come_later() {
    let mut it = Fixture::new().await;
    it.verk
        .admin()
        .pause_queue_everywhere("default")
        .await
        .unwrap();
    it.verk
        .admin()
        .pause_queue_everywhere("later")
        .await
        .unwrap();
    it.verk.enqueue(PausedNote::new("1")).await.unwrap();
    it.verk
        .enqueue(PausedNote::new("2").queue("later"))
        .await
        .unwrap();
    it.verk.start().unwrap();
    it.verk.add_queue("later", 1).unwrap();
    for _ in 0..2 {
        it.wait_for(|event| {
            assert!(!matches!(event.what, EventKind::JobStarted), "paused");
            matches!(event.what, EventKind::QueuePaused).then_some(())
        })
        .await;
    }
    for queue in it.verk.queues() {
        assert_eq!(
            (queue.status, queue.paused_everywhere),
            (Status::Paused, true)
        );
    }
    it.verk
        .admin()
        .resume_queue_everywhere("later")
        .await
        .unwrap();
    it.verk
        .admin()
        .resume_queue_everywhere("default")
        .await
        .unwrap();
    it.wait_for_finished(2).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_name_that_is_none_is_refused() {
    let it = Fixture::new().await;
    let error = it
        .verk
        .admin()
        .pause_queue_everywhere("")
        .await
        .unwrap_err();
    assert_eq!(error.applied(), verk::error::Applied::NotApplied);
    assert!(
        it.verk
            .admin()
            .resume_queue_everywhere("a\nb")
            .await
            .is_err()
    );
    assert_eq!(it.verk.admin().paused_queues().await.unwrap(), []);
}

/// A node on a Redis of its own, through a proxy. Its heartbeat is so long that it learns of pauses
/// only by announcements.
struct Node {
    verk: Verk,
    events: Events,
    log: Log,
    proxy: CuttingProxy,
    redis: RedisServer,
}

impl Node {
    async fn start(redis: RedisServer, heartbeat: Duration) -> Self {
        let proxy = CuttingProxy::start(&redis);
        let config = RedisConfig::new(proxy.url()).prefix("app".to_owned());
        let builder = Verk::builder().redis(config).queue("default", 5);
        let states = States::new();
        let builder = states.give(builder.heartbeat(heartbeat));
        let verk = builder.build().await.unwrap();
        let mut events = verk.events();
        verk.start().unwrap();
        wait_for_queue(&mut events, "running").await;
        let it = Self {
            verk,
            events,
            log: states.log,
            proxy,
            redis,
        };
        it.until_listens().await;
        it
    }

    /// Waits until the node is subscribed and its fetch waits on the server.
    async fn until_listens(&self) {
        until(|| {
            let clients = self.redis.info("clients");
            self.redis.info("stats").contains("pubsub_channels:1")
                && clients.contains("blocked_clients:1")
        })
        .await;
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// The pause reaches the node by the announcement, whose fetch waits on the server for seconds
/// more.
#[tokio::test]
async fn an_announcement_ends_the_wait_of_an_idle_node() {
    let mut node = Node::start(RedisServer::start(), HOUR).await;
    for round in 0..3 {
        node.until_listens().await;
        node.verk
            .admin()
            .pause_queue_everywhere("default")
            .await
            .unwrap();
        wait_for_queue(&mut node.events, "pausing").await;
        wait_for_queue(&mut node.events, "paused").await;
        until(|| node.redis.info("clients").contains("blocked_clients:0")).await;
        node.verk
            .enqueue(PausedNote::new(round.to_string()))
            .await
            .unwrap();
        assert_eq!(node.log.entries().len(), round);
        node.verk
            .admin()
            .resume_queue_everywhere("default")
            .await
            .unwrap();
        wait_for_queue(&mut node.events, "running").await;
        wait_for_finished(&mut node.events, 1).await;
    }
    node.verk.shutdown().await;
}

/// Sidekiq Pro changes the set itself, and announces nothing.
#[tokio::test]
async fn a_change_of_the_set_without_an_announcement_is_obeyed() {
    let mut node = Node::start(RedisServer::start(), Duration::from_secs(1)).await;
    node.redis.command(&["SADD", "app:paused", "default"]);
    // Whether the wait brings it, or the node has read the set before.
    node.verk.enqueue(PausedNote::new("later")).await.unwrap();
    wait_for_queue(&mut node.events, "pausing").await;
    wait_for_queue(&mut node.events, "paused").await;
    assert_eq!(status(&node.verk), (Status::Paused, true));
    let waiting = node.redis.command(&["LLEN", "app:queue:default"]);
    assert_eq!(waiting.as_integer(), Some(1));
    node.redis.command(&["SREM", "app:paused", "default"]);
    wait_for_queue(&mut node.events, "running").await;
    wait_for_finished(&mut node.events, 1).await;
    node.verk.shutdown().await;
}

/// A job that the server moves despite the pause goes back, without an announcement: the heartbeat
/// is long.
#[tokio::test]
async fn a_job_that_a_wait_brings_from_a_paused_queue_goes_back() {
    let mut node = Node::start(RedisServer::start(), HOUR).await;
    node.redis.command(&["SADD", "app:paused", "default"]);
    node.verk.enqueue(PausedNote::new("later")).await.unwrap();
    wait_for(&mut node.events, |event| {
        assert!(!matches!(event.what, EventKind::JobStarted), "paused");
        matches!(event.what, EventKind::QueuePaused).then_some(())
    })
    .await;
    let waiting = node.redis.command(&["LLEN", "app:queue:default"]);
    assert_eq!(waiting.as_integer(), Some(1));
    node.verk
        .admin()
        .resume_queue_everywhere("default")
        .await
        .unwrap();
    wait_for_finished(&mut node.events, 1).await;
    node.verk.shutdown().await;
}

/// The connection that listens breaks: what was changed meanwhile is read when it listens again.
#[tokio::test]
async fn a_pause_during_an_outage_is_obeyed() {
    let redis = RedisServer::builder()
        .setting("appendonly", "yes")
        .setting("appendfsync", "always")
        .start();
    let mut node = Node::start(redis, HOUR).await;
    node.proxy.set_refusing(true);
    node.proxy.cut();
    node.proxy.wait_for_connections(|open| open == 0).await;
    node.redis.command(&["SADD", "app:paused", "default"]);
    node.proxy.heal();
    wait_for_queue(&mut node.events, "pausing").await;
    wait_for_queue(&mut node.events, "paused").await;

    // It survives the server, too.
    node.redis.restart();
    assert_eq!(node.verk.admin().paused_queues().await.unwrap().len(), 1);
    until(|| node.redis.info("stats").contains("pubsub_channels:1")).await;
    node.verk
        .admin()
        .resume_queue_everywhere("default")
        .await
        .unwrap();
    wait_for_queue(&mut node.events, "running").await;
    node.verk.enqueue(PausedNote::new("after")).await.unwrap();
    wait_for_finished(&mut node.events, 1).await;
    node.verk.shutdown().await;
}
