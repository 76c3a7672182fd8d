//! A node with very many queues.

use std::time::Duration;

use verk::{EventKind, State, Verk, events::Events, prelude::*, redis::RedisConfig};
use verk_testing::{CuttingProxy, RedisServer};

use crate::support::{Log, States, calls, until, wait_for};

const QUEUES: usize = 500;

/// The shared connections, those that wait, the heartbeat, and the one that listens.
const MOST_CONNECTIONS: usize = 4 + 16 + 1 + 1;

#[verk::worker]
async fn tick(number: u32, State(log): State<Log>) {
    log.push(number.to_string());
}

fn connections(server: &RedisServer) -> usize {
    let clients = server.command(&["CLIENT", "LIST"]).into_bytes().unwrap();
    let clients = String::from_utf8_lossy(&clients);
    clients.matches(" name=verk-").count()
}

async fn wait_for_finished(events: &mut Events, count: usize) {
    for _ in 0..count {
        wait_for(events, |event| {
            matches!(event.what, EventKind::JobFinished { .. }).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_queues_share_few_connections_and_few_commands() {
    let server = RedisServer::start();
    let states = States::new();
    let mut builder = states.give(Verk::builder().redis(server.url()));
    for number in 0..QUEUES {
        builder = builder.queue(&format!("queue-{number}"), 1);
    }
    let verk = builder.build().await.unwrap();
    let mut events = verk.events();
    verk.start().unwrap();
    until(|| server.info("clients").contains("blocked_clients:16")).await;

    let mut most = connections(&server);
    for number in 0..QUEUES {
        let job = Tick::new(u32::try_from(number).unwrap());
        let job = job.queue(&format!("queue-{number}"));
        verk.enqueue(job).await.unwrap();
        if number % 50 == 0 {
            most = most.max(connections(&server));
        }
    }
    wait_for_finished(&mut events, QUEUES).await;
    most = most.max(connections(&server));
    assert!(most <= MOST_CONNECTIONS, "{most} connections");

    // Idle: while the ones that wait on the server ask again, few commands are sent.
    until(|| server.info("clients").contains("blocked_clients:16")).await;
    let (waits, before) = (calls(&server, "blmove"), calls(&server, ""));
    until(|| calls(&server, "blmove") >= waits + 16).await;
    let sent = calls(&server, "") - before;
    assert!(sent < 2 * QUEUES, "{sent} commands");

    // A queue that had no job for long.
    verk.enqueue(Tick::new(1).queue("queue-7")).await.unwrap();
    wait_for_finished(&mut events, 1).await;
    most = most.max(connections(&server));
    assert!(most <= MOST_CONNECTIONS, "{most} connections");
    verk.shutdown().await;
    assert_eq!(states.log.entries().len(), QUEUES + 1);
    assert_eq!(verk.storage().nodes().await.unwrap(), []);
}

/// Which queue waits on the server follows the jobs, so that the next job of an active one starts
/// at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_that_had_a_job_last_waits_on_the_server() {
    let server = RedisServer::start();
    let proxy = CuttingProxy::start(&server);
    let waits = Log::default();
    let seen = waits.clone();
    proxy.lose_reply(move |command| {
        if command.name() == "BLMOVE" {
            seen.push(String::from_utf8_lossy(&command.args()[1]));
        }
        false
    });
    let states = States::new();
    // With a short heartbeat a wait ends soon, and another queue can have the connection.
    let builder = Verk::builder()
        .redis(RedisConfig::new(proxy.url()).blocking_connections(1))
        .heartbeat(Duration::from_secs(1));
    let builder = builder.queue("a", 1).queue("b", 1).queue("c", 1);
    let verk = states.give(builder).build().await.unwrap();
    let mut events = verk.events();
    verk.start().unwrap();
    for queue in ["b", "c", "a", "c"] {
        verk.enqueue(Tick::new(1).queue(queue)).await.unwrap();
        wait_for_finished(&mut events, 1).await;
        let key = format!("queue:{queue}");
        let before = waits.entries().len();
        until(|| waits.entries()[before..].contains(&key)).await;
    }
    verk.shutdown().await;
}
