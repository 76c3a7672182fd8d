//! A node on several storages: each is a cell, with queues and a registration of its own.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use verk::{
    cells::Cells,
    client::Client,
    prelude::*,
    queues::Status,
    storage::{NodeStore, Source, Storage, WaitingStore},
};
use verk_testing::MemoryStorage;

use crate::support::{Gauge, Log, States, queue_name, until, until_slowly};

const QUEUES: usize = 12;

#[verk::worker]
async fn in_a_cell(name: String, State(log): State<Log>) {
    log.push(name);
}

/// Counts how many run at once.
#[verk::worker]
async fn counted_in_cells(State(gauge): State<Gauge>, State(log): State<Log>) {
    gauge.enter();
    tokio::time::sleep(Duration::from_millis(1)).await;
    log.push(String::new());
    gauge.leave();
}

/// Three cells in memory.
fn three() -> (Vec<MemoryStorage>, Cells) {
    let storages: Vec<_> = (0..3).map(|_| MemoryStorage::default()).collect();
    let cells: Vec<MemoryStorage> = storages.clone();
    let cells = cells
        .into_iter()
        .map(|storage| Arc::new(storage) as Arc<dyn Storage>);
    let cells = cells.collect();
    (storages, cells)
}

fn queue_of(number: usize) -> String {
    format!("queue-{number}")
}

#[tokio::test]
async fn each_queue_runs_in_its_cell() {
    let (storages, cells) = three();
    let states = States::new();
    let mut builder = states.give(Verk::builder().cells(cells.clone()));
    for number in 0..QUEUES {
        builder = builder.queue(&queue_of(number), 2);
    }
    let verk = builder.build().await.unwrap();
    let mut of_processes = BTreeSet::new();
    for storage in &storages {
        let nodes = storage.nodes().await.unwrap();
        assert_eq!(nodes.len(), 1);
        let infos = storage.node_infos(&[nodes[0].id.clone()]).await.unwrap();
        of_processes.insert(infos[0].clone().unwrap().process);
        let lies_here = |number: &usize| {
            let queue = queue_name(&queue_of(*number));
            std::ptr::eq(&storages[cells.of(&queue)], storage)
        };
        let queues: BTreeSet<_> = (0..QUEUES).filter(lies_here).map(queue_of).collect();
        let registered = nodes[0].queues.iter().map(ToString::to_string).collect();
        assert_eq!(queues, registered);
        assert!(!queues.is_empty());
    }
    assert_eq!(of_processes.len(), 1, "one process");

    verk.start().unwrap();
    for number in 0..QUEUES {
        let job = InACell::new(queue_of(number)).queue(&queue_of(number));
        verk.enqueue(job).await.unwrap();
    }
    until(|| states.log.entries().len() == QUEUES).await;
    assert_eq!(verk.live_stats().processed, QUEUES as u64);
    let statuses = verk.queues();
    assert_eq!(statuses.len(), QUEUES);
    assert!(statuses.iter().all(|queue| queue.concurrency == 2));
    assert!(verk.health().ready);
    verk.shutdown().await;
    for storage in &storages {
        assert_eq!(storage.nodes().await.unwrap(), []);
    }
}

#[tokio::test]
async fn queues_are_changed_wherever_they_lie() {
    let (_, cells) = three();
    let states = States::new();
    let builder = states.give(Verk::builder().cells(cells).queue("queue-0", 2));
    let verk = builder.build().await.unwrap();
    verk.start().unwrap();
    for number in 1..QUEUES {
        verk.add_queue(&queue_of(number), 3).unwrap();
    }
    for number in 0..QUEUES {
        let name = queue_of(number);
        assert!(verk.pause_queue(&name).unwrap());
        assert!(!verk.pause_queue(&name).unwrap());
        assert!(verk.set_concurrency(&name, 5).unwrap());
    }
    until(|| {
        verk.queues()
            .iter()
            .all(|queue| queue.status == Status::Paused)
    })
    .await;
    assert!(verk.queues().iter().all(|queue| queue.concurrency == 5));
    assert!(verk.resume_queue("queue-7").unwrap());
    verk.enqueue(InACell::new("a").queue("queue-7"))
        .await
        .unwrap();
    until(|| states.log.entries().len() == 1).await;
    verk.remove_queue("queue-7").await.unwrap();
    verk.remove_queue("queue-7").await.unwrap_err();
    assert_eq!(verk.queues().len(), QUEUES - 1);
    verk.quiet();
    verk.shutdown().await;
}

/// As many jobs of one queue in each cell, with so many at once.
async fn run_strays(concurrency: usize) {
    const JOBS: usize = 30;
    let (storages, cells) = three();
    let states = States::new();
    for storage in &storages {
        let client = Client::new(Arc::new(storage.clone()));
        let jobs = (0..JOBS).map(|_| CountedInCells::new().queue("default"));
        client.enqueue_all(jobs).await.unwrap();
    }
    let builder = Verk::builder()
        .cells(cells)
        .poll_interval(Duration::from_millis(20))
        .queue("default", concurrency);
    let verk = states.give(builder).build().await.unwrap();
    verk.start().unwrap();
    until_slowly(|| states.log.entries().len() == 3 * JOBS).await;
    assert!(
        states.gauge.most() <= concurrency,
        "{}",
        states.gauge.most()
    );
    // The permits come back to the cell of the queue.
    let alone = concurrency;
    for _ in 0..JOBS {
        verk.enqueue(CountedInCells::new().queue("default"))
            .await
            .unwrap();
    }
    until_slowly(|| states.log.entries().len() == 4 * JOBS).await;
    assert!(states.gauge.most() <= alone);
    verk.shutdown().await;
    for storage in &storages {
        let default = Source::Queue(queue_name("default"));
        assert_eq!(storage.len(&default).await.unwrap(), 0);
        assert_eq!(storage.nodes().await.unwrap(), []);
    }
}

#[tokio::test]
async fn jobs_in_other_cells_share_the_permits_of_their_queue() {
    run_strays(4).await;
}

#[tokio::test]
async fn jobs_in_other_cells_run_with_one_permit() {
    run_strays(1).await;
}
