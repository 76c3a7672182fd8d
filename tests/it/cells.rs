//! A node on several storages: each is a cell, with queues and a registration of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;

use verk::{
    BuildError, Enqueued, EventKind, Unique,
    cells::Cells,
    client::Client,
    health::Reason,
    manage::Query,
    prelude::*,
    queues::Status,
    redis::RedisStorage,
    storage::{NodeStore, Source, WaitingStore},
    time::{Clock, SystemClock},
};
use verk_testing::{MemoryStorage, RedisServer};

use crate::support::{Gate, Gauge, Log, States, calls, queue_name, until, until_slowly, wait_for};

const QUEUES: usize = 12;

#[verk::worker]
async fn in_a_cell(name: String, State(log): State<Log>) {
    log.push(name);
}

/// Counts how many run at once.
#[verk::worker]
async fn counted_in_cells(State(gauge): State<Gauge>, State(log): State<Log>) {
    gauge.enter();
    let clock: &dyn Clock = &SystemClock;
    clock.sleep(Duration::from_millis(1)).await;
    log.push(String::new());
    gauge.leave();
}

/// Three cells in memory.
fn three() -> (Vec<MemoryStorage>, Cells) {
    let storages: Vec<_> = (0..3).map(|_| MemoryStorage::default()).collect();
    let cells = storages.iter().cloned().collect();
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
    until(|| verk.live_stats().processed == QUEUES as u64).await;
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

#[tokio::test]
async fn another_order_of_cells_does_not_start() {
    let (storages, cells) = three();
    let build = async |cells| {
        let builder = States::new().give(Verk::builder().cells(cells));
        builder.queue("default", 1).build().await
    };
    build(cells.clone()).await.unwrap().shutdown().await;
    for order in [&[1, 0, 2][..], &[0, 1]] {
        let cells = order.iter().map(|cell| storages[*cell].clone()).collect();
        let refused = build(cells).await.unwrap_err();
        assert!(matches!(refused, BuildError::Layout { .. }), "{refused}");
    }
    for storage in &storages {
        assert_eq!(storage.nodes().await.unwrap(), [], "nothing was registered");
    }
    build(cells).await.unwrap().shutdown().await;
}

/// Two plain servers. One of them ends.
#[tokio::test]
async fn a_cell_that_is_down_stops_only_its_own_queues() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let states = States::new();
    let builder = Verk::builder().redis_cells([one.url(), other.url()]);
    let mut builder = builder.poll_interval(Duration::from_millis(100));
    for number in 0..QUEUES {
        builder = builder.queue(&queue_of(number), 1);
    }
    let verk = states.give(builder).build().await.unwrap();
    let mut events = verk.events();
    verk.start().unwrap();
    until(|| verk.health().reasons.is_empty()).await;
    drop(other);
    let in_one = |reason: &Reason| matches!(reason, Reason::Cell { cell: 1, .. });
    until_slowly(|| verk.health().reasons.iter().any(in_one)).await;
    let health = verk.health();
    assert!(health.ready && health.live, "{health:?}");

    let cells = Cells::new(Arc::new(MemoryStorage::default()));
    let cells = cells.with(Arc::new(MemoryStorage::default()));
    let here = (0..QUEUES)
        .map(queue_of)
        .filter(|queue| cells.of(&queue_name(queue)) == 0);
    let here: Vec<String> = here.collect();
    for queue in &here {
        verk.enqueue(InACell::new(queue.clone()).queue(queue))
            .await
            .unwrap();
    }
    for _ in &here {
        wait_for(&mut events, |event| {
            matches!(event.what, EventKind::JobFinished { .. }).then_some(())
        })
        .await;
    }
    let there = (0..QUEUES)
        .map(queue_of)
        .find(|queue| !here.contains(queue))
        .unwrap();
    let refused = verk
        .enqueue(InACell::new("x").queue(&there))
        .await
        .unwrap_err();
    assert!(!refused.may_be_stored(), "{refused}");
    assert!(verk.health().ready, "an enqueue to one cell failed");
    verk.shutdown().await;
}

async fn lens(storages: &[MemoryStorage], queue: &str) -> Vec<usize> {
    let queue = Source::Queue(queue_name(queue));
    join_all(storages.iter().map(|storage| storage.len(&queue)))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

#[tokio::test]
async fn a_spread_queue_lies_in_several_cells() {
    const JOBS: usize = 60;
    let (storages, cells) = three();
    let states = States::new();
    let builder = Verk::builder()
        .cells(cells)
        .poll_interval(Duration::from_millis(20))
        .queue("hot", 4)
        .spread_queue("hot", 2);
    let verk = states.give(builder).build().await.unwrap();
    for _ in 0..JOBS {
        let job = CountedInCells::new().queue("hot");
        verk.enqueue(job).await.unwrap();
    }
    let mut half = lens(&storages, "hot").await;
    half.sort_unstable();
    assert_eq!(half, [0, JOBS / 2, JOBS / 2]);

    let job = || CountedInCells::new().queue("hot").unique(Unique::new());
    let first = verk.client().enqueue_unique(job()).await.unwrap();
    let second = verk.client().enqueue_unique(job()).await.unwrap();
    assert!(matches!(second, Enqueued::Duplicate { jid, .. } if jid == *first.jid()));

    verk.start().unwrap();
    until_slowly(|| states.log.entries().len() == JOBS + 1).await;
    assert!(states.gauge.most() <= 4, "{}", states.gauge.most());
    let queues = verk.queues();
    assert_eq!((queues.len(), queues[0].concurrency), (1, 4));
    verk.shutdown().await;
}

#[tokio::test]
async fn a_partition_lies_in_one_cell_in_its_order() {
    let (storages, cells) = three();
    let builder = Verk::builder().cells(cells).spread_queue("hot", 3);
    let verk = States::new().give(builder).build().await.unwrap();
    let job = |number: usize| {
        let key = format!("customer-{}", number % 7);
        let job = InACell::new(number.to_string()).queue("hot");
        job.partition_key(&key)
    };
    verk.enqueue_all((0..70).map(job)).await.unwrap();
    verk.enqueue_all((70..140).map(job)).await.unwrap();
    let mut cells_of = BTreeMap::new();
    for (cell, storage) in storages.iter().enumerate() {
        let hot = Client::new(Arc::new(storage.clone())).admin();
        let query = Query::new().limit(100);
        let listed = hot.queue("hot").unwrap().list(&query).await.unwrap();
        assert_eq!(listed.next, None);
        for entry in listed.entries {
            let job = entry.job().unwrap();
            let number: usize = job.args()[2..job.args().len() - 2].parse().unwrap();
            let of_key: &mut Vec<(usize, usize)> =
                cells_of.entry(job.partition_key().unwrap()).or_default();
            of_key.push((cell, number));
        }
    }
    assert_eq!(cells_of.len(), 7);
    for of_key in cells_of.values() {
        assert_eq!(of_key.len(), 20);
        assert!(of_key.is_sorted(), "{of_key:?}");
        assert_eq!(of_key[0].0, of_key[19].0, "one cell");
    }
    let all: BTreeSet<usize> = cells_of.values().map(|of_key| of_key[0].0).collect();
    assert!(all.len() > 1, "several partitions lie in several cells");
}

/// Runs until the gate opens.
#[verk::worker]
async fn held_in_cells(State(gauge): State<Gauge>, State(gate): State<Gate>) {
    gauge.enter();
    gate.pass().await;
    gauge.leave();
}

#[tokio::test]
async fn a_cell_gets_a_permit_when_another_gives_it_up() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let urls = servers.each_ref().map(RedisServer::url);
    let states = States::new();
    let builder = Verk::builder()
        .redis_cells(urls.clone())
        .poll_interval(Duration::from_millis(20))
        .queue("default", 2);
    let verk = states.give(builder).build().await.unwrap();
    let mut events = verk.events();
    let job = || HeldInCells::new().queue("default");
    verk.enqueue_all([job(), job()]).await.unwrap();
    let has_jobs = |url| async move {
        let storage = RedisStorage::connect(url).await.unwrap();
        let default = Source::Queue(queue_name("default"));
        (storage.len(&default).await.unwrap(), storage)
    };
    let [one, two] = [
        has_jobs(urls[0].clone()).await,
        has_jobs(urls[1].clone()).await,
    ];
    let (other, storage) = if one.0 == 0 { (0, one.1) } else { (1, two.1) };
    let elsewhere = Client::new(Arc::new(storage));

    verk.start().unwrap();
    until(|| states.gauge.most() == 2).await;
    elsewhere.enqueue_all([job(), job()]).await.unwrap();
    // The node looks for jobs there again and again, and both permits are taken.
    let seen = calls(&servers[other], "llen");
    until_slowly(|| calls(&servers[other], "llen") > seen + 10).await;
    assert_eq!(states.gauge.most(), 2);
    states.gate.open();
    for _ in 0..4 {
        wait_for(&mut events, |event| {
            matches!(event.what, EventKind::JobFinished { .. }).then_some(())
        })
        .await;
    }
    assert_eq!(states.gauge.most(), 2);
    verk.shutdown().await;
}
