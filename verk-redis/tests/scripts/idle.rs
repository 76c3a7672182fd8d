//! What a queue without jobs asks of the server, and that it asks enough.

use std::time::Duration;

use verk_core::storage::{DequeueRequest, Dequeued, NodeStore as _};
use verk_testing::within;

use crate::{Monitor, PATIENCE, Setup, blocked, bytes, jobs, request};

/// Short, so that a test is over soon. Nothing depends on how long it takes.
const WAIT: Duration = Duration::from_millis(10);

impl Setup {
    /// Waits; the caller says for what.
    async fn wait(&mut self) -> Dequeued {
        self.wait_with(request(WAIT)).await
    }

    async fn wait_with(&mut self, request: DequeueRequest) -> Dequeued {
        within(PATIENCE, self.connection.dequeue(request))
            .await
            .unwrap()
    }

    /// No job came, so the next wait needs no fetch before it.
    async fn idle() -> Self {
        let mut setup = Self::start().await;
        assert_eq!(jobs(setup.wait().await), [""; 0]);
        setup
    }
}

#[tokio::test]
async fn an_idle_queue_sends_two_commands_for_each_wait() {
    const WAITS: usize = 20;
    let mut setup = Setup::idle().await;
    let mut monitor = Monitor::start(&setup.server);
    for _ in 0..WAITS {
        assert_eq!(jobs(setup.wait().await), [""; 0]);
    }
    let sent = monitor.sent(&setup.server);
    let waits = sent.iter().filter(|name| *name == "BLMOVE").count();
    assert_eq!(waits, WAITS);
    // A test that stood still for a second looks again.
    assert!(sent.len() <= 2 * WAITS + WAITS / 4, "{sent:?}");
}

#[tokio::test]
async fn a_wait_after_jobs_begins_with_a_look() {
    let mut setup = Setup::idle().await;
    setup.enqueue(&["a", "b"]).await;
    assert_eq!(jobs(setup.wait().await), bytes(&["a"]));
    assert_eq!(jobs(setup.wait().await), bytes(&["b"]), "without a wait");
    let mut monitor = Monitor::start(&setup.server);
    assert_eq!(jobs(setup.wait().await), [""; 0]);
    let sent = monitor.sent(&setup.server);
    assert_eq!(sent, ["EVALSHA", "BLMOVE", "EVALSHA"]);
}

#[tokio::test]
async fn an_idle_node_that_others_forgot_registers_again() {
    let mut setup = Setup::idle().await;
    let (node, queue) = (setup.held.node.clone(), setup.held.queue.clone());
    let queues = format!("verk:node:{node}:queues");
    for (set, member) in [("verk_nodes", node.as_str()), (&queues, queue.as_str())] {
        setup.server.command(&["SREM", set, member]);
        for _ in 0..2 {
            assert_eq!(jobs(setup.wait().await), [""; 0]);
        }
        let found = setup.server.command(&["SISMEMBER", set, member]);
        assert_eq!(found.as_integer(), Some(1), "{set}");
    }
}

#[tokio::test]
async fn an_idle_node_that_was_declared_dead_learns_of_it() {
    let mut setup = Setup::idle().await;
    let heartbeat = format!("verk:node:{}", setup.held.node);
    setup.server.command(&["DEL", &heartbeat]);
    assert_eq!(jobs(setup.wait().await), [""; 0]);
    assert_eq!(setup.wait().await, Dequeued::NodeGone);
}

#[tokio::test]
async fn a_new_connection_begins_with_a_look() {
    let mut setup = Setup::idle().await;
    setup
        .server
        .command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let mut monitor = Monitor::start(&setup.server);
    while setup.connection.dequeue(request(WAIT)).await.is_err() {
        setup.connection.reset().await.unwrap();
    }
    let mut sent = monitor.sent(&setup.server);
    sent.retain(|name| matches!(&**name, "EVALSHA" | "BLMOVE"));
    assert_eq!(
        sent.first().map(String::as_str),
        Some("EVALSHA"),
        "{sent:?}"
    );
}

/// The look notes which jobs are not started. The check after a wait notes nothing.
#[tokio::test]
async fn a_wait_that_may_bring_a_job_that_is_not_started_begins_with_a_look() {
    let mut setup = Setup::idle().await;
    let full = || DequeueRequest {
        prefetched: 10,
        ..request(WAIT)
    };
    let mut monitor = Monitor::start(&setup.server);
    for _ in 0..2 {
        assert_eq!(jobs(setup.wait_with(full()).await), [""; 0]);
        let sent = monitor.sent(&setup.server);
        assert_eq!(sent, ["EVALSHA", "BLMOVE", "EVALSHA"]);
    }
    let noted = format!("verk:prefetched:default:{}", setup.held.node);
    let noted = setup.server.command(&["GET", &noted]);
    assert_eq!(noted.into_bytes().as_deref(), Some(&b"1"[..]));
}

#[tokio::test]
async fn a_pause_is_seen_after_a_wait_though_the_scripts_are_flushed() {
    let mut setup = Setup::idle().await;
    let held = bytes(&["a"]);
    let (server, connection) = (&setup.server, &mut setup.connection);
    let (answer, ()) = within(PATIENCE, async {
        tokio::join!(connection.dequeue(request(PATIENCE)), async {
            blocked(server, 1).await;
            server.command(&["SCRIPT", "FLUSH"]);
            server.command(&["SADD", "paused", "default"]);
            server.command(&["LPUSH", "queue:default", "a"]);
        })
    })
    .await;
    assert_eq!(answer.unwrap(), Dequeued::Paused(held));
}

#[tokio::test]
async fn a_heartbeat_is_one_command_that_shows_the_other_nodes() {
    let setup = Setup::start().await;
    let (storage, node) = (&setup.storage, &setup.held.node);
    let mut heartbeat = storage.open_heartbeat(node, PATIENCE).await.unwrap();
    heartbeat.beat().await.unwrap();
    let mut monitor = Monitor::start(&setup.server);
    assert!(heartbeat.beat().await.unwrap().all_alive);
    assert_eq!(monitor.sent(&setup.server), ["EVALSHA"]);

    // So many that a heartbeat would take long. The node asks for them by itself.
    for number in 0..100 {
        setup
            .server
            .command(&["SADD", "verk_nodes", &format!("other.{number}")]);
    }
    for _ in 0..2 {
        assert!(!heartbeat.beat().await.unwrap().all_alive);
    }
    // A set of pauses that cannot be read is unknown, and no reason to die.
    setup.server.command(&["SET", "paused", "text"]);
    let beat = heartbeat.beat().await.unwrap();
    assert_eq!((beat.alive, beat.paused), (true, None));
}
