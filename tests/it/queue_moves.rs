//! Nodes and queues that move to another cell: nobody restarts.

use std::{collections::BTreeSet, time::Duration};

use verk::{
    cells::Cells,
    prelude::*,
    storage::{NodeStore, Source, WaitingStore},
};
use verk_testing::MemoryStorage;

use crate::support::{Log, States, queue_name, until, until_slowly};

#[verk::worker]
async fn in_the_queue_that_moves(number: String, State(log): State<Log>) {
    log.push(number);
}

/// Three cells in memory, that of the queue, and another one.
fn three(queue: &str) -> (Vec<MemoryStorage>, usize, usize) {
    let storages: Vec<_> = (0..3).map(|_| MemoryStorage::default()).collect();
    let from = cells(&storages).of(&queue_name(queue));
    (storages, from, (from + 1) % 3)
}

/// As another program has them.
fn cells(storages: &[MemoryStorage]) -> Cells {
    storages.iter().cloned().collect()
}

async fn node(states: &States, storages: &[MemoryStorage], queue: &str) -> Verk {
    let builder = Verk::builder()
        .cells(cells(storages))
        .poll_interval(Duration::from_millis(20))
        .queue(queue, 3);
    let verk = states.give(builder).build().await.unwrap();
    verk.start().unwrap();
    verk
}

async fn operator(storages: &[MemoryStorage]) -> Verk {
    let states = States::new();
    let builder = Verk::builder().cells(cells(storages));
    states.give(builder).build().await.unwrap()
}

fn job(number: usize) -> impl verk::client::IntoJob {
    InTheQueueThatMoves::new(number.to_string()).queue("default")
}

#[tokio::test]
async fn a_node_follows_its_queue() {
    const JOBS: usize = 120;
    let (storages, from, to) = three("default");
    let states = States::new();
    let nodes = [
        node(&states, &storages, "default").await,
        node(&states, &storages, "default").await,
    ];
    let operator = operator(&storages).await;
    // Some run, some wait, some come meanwhile.
    let all = (0..JOBS).map(job);
    operator.client().enqueue_all(all).await.unwrap();
    let (moved, ()) = tokio::join!(
        operator.admin().move_queue(queue_name("default"), to).run(),
        async {
            for number in JOBS..2 * JOBS {
                nodes[0].enqueue(job(number)).await.unwrap();
            }
        }
    );
    let moved = moved.unwrap();
    assert!(moved.is_complete(), "{moved:?}");
    assert_eq!((moved.from, moved.to), (from, to));
    until_slowly(|| states.log.entries().len() == 2 * JOBS).await;
    let ran: BTreeSet<String> = states.log.entries().into_iter().collect();
    assert_eq!(ran.len(), 2 * JOBS, "each once");

    // It lies there for all, with its permits.
    let here = async |cell: usize| {
        let nodes = storages[cell].nodes().await.unwrap();
        let of_queue = nodes
            .iter()
            .filter(|it| it.queues.contains(&queue_name("default")));
        of_queue.count()
    };
    assert_eq!(here(to).await, 2);
    for node in &nodes {
        let [status] = &node.queues()[..] else {
            panic!("{:?}", node.queues());
        };
        assert_eq!(status.concurrency, 3);
    }
    for number in 2 * JOBS..3 * JOBS {
        nodes[1].enqueue(job(number)).await.unwrap();
    }
    until_slowly(|| states.log.entries().len() == 3 * JOBS).await;
    for node in nodes {
        node.shutdown().await;
    }
    for storage in &storages {
        let default = Source::Queue(queue_name("default"));
        assert_eq!(storage.len(&default).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_queue_that_a_node_paused_stays_paused() {
    let (storages, _, to) = three("default");
    let states = States::new();
    let node = node(&states, &storages, "default").await;
    let known = cells(&storages);
    assert!(node.pause_queue("default").unwrap());
    let operator = operator(&storages).await;
    let moved = operator.admin().move_queue(queue_name("default"), to);
    moved.run().await.unwrap();
    node.enqueue(job(1)).await.unwrap();
    // Another queue in that cell runs, so the node has looked there.
    let other = (0..).map(|number| format!("other-{number}"));
    let mut other = other.filter(|name| known.of(&queue_name(name)) == to);
    let other = other.next().unwrap();
    node.add_queue(&other, 1).unwrap();
    for _ in 0..3 {
        let before = states.log.entries().len();
        let job = InTheQueueThatMoves::new("other".to_owned()).queue(&other);
        node.enqueue(job).await.unwrap();
        until(|| states.log.entries().len() > before).await;
    }
    assert!(!states.log.entries().contains(&"1".to_owned()));
    assert!(node.resume_queue("default").unwrap());
    until(|| states.log.entries().contains(&"1".to_owned())).await;
    node.shutdown().await;
}
