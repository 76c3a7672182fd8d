//! How many payloads a script reads.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use verk_core::storage::{
    DequeueRequest, Due, DueSet, DueStore, JobStore, Settled, Settlement, Source, Target,
    WaitingStore,
};

use crate::{ALL, Monitor, Setup, bytes, jobs, request};

/// One job of a megabyte fits into a fetch, however many the node has permits for.
#[tokio::test]
async fn a_fetch_of_large_jobs_reads_what_it_takes() {
    for permits in [1, 25, 100] {
        let mut setup = Setup::start().await;
        let large: Vec<Bytes> = (0..8).map(|_| Bytes::from(vec![b'x'; 1_000_000])).collect();
        let (storage, held) = (&setup.storage, &setup.held);
        storage.enqueue(&held.queue, &large).await.unwrap();
        let mut monitor = Monitor::start(&setup.server);
        for _ in 0..8 {
            let request = DequeueRequest {
                max_jobs: permits,
                ..request(Duration::ZERO)
            };
            let answer = setup.connection.dequeue(request).await.unwrap();
            assert_eq!(jobs(answer).len(), 1, "{permits}");
        }
        let reads = monitor.reads_of("queue:default", &setup.server);
        assert_eq!(reads, [1; 8], "{permits}");
    }
}

/// Once a connection knows how large the jobs are.
#[tokio::test]
async fn a_fetch_of_small_jobs_reads_once() {
    let mut setup = Setup::start().await;
    let mut monitor = Monitor::start(&setup.server);
    for round in 0..3 {
        setup.enqueue(&["small job"; 130]).await;
        for max_jobs in [100, 25, 5] {
            let request = DequeueRequest {
                max_jobs,
                ..request(Duration::ZERO)
            };
            let answer = setup.connection.dequeue(request).await.unwrap();
            assert_eq!(jobs(answer).len(), max_jobs);
            let reads = monitor.reads_of("queue:default", &setup.server);
            if round + max_jobs == 100 {
                assert_eq!(reads, [1, 1, 2, 4, 8, 16, 32, 36]);
            } else {
                let max_jobs = i64::try_from(max_jobs).unwrap();
                assert_eq!(reads, [max_jobs]);
            }
        }
    }
}

/// The sizes of the last fetch say nothing about the next one: what it reads without need is still
/// bounded.
#[tokio::test]
async fn a_fetch_that_expects_large_jobs_reads_few_in_vain() {
    let mut setup = Setup::start().await;
    let large = Bytes::from(vec![b'x'; 1_000_000]);
    let (storage, held) = (&setup.storage, &setup.held);
    storage.enqueue(&held.queue, &[large]).await.unwrap();
    setup.enqueue(&["small job"; 40]).await;
    assert_eq!(setup.dequeue().await.unwrap().len(), 1);
    let mut monitor = Monitor::start(&setup.server);
    assert_eq!(setup.dequeue().await.unwrap().len(), 10);
    let reads = monitor.reads_of("queue:default", &setup.server);
    assert_eq!(reads, [1, 1, 2, 4, 2]);
}

/// Of small jobs that are done, the oldest are read and cut off; large ones are not read.
#[tokio::test]
async fn large_jobs_are_not_read_to_be_acknowledged() {
    for (size, expected) in [(100, vec![10]), (20_000, vec![])] {
        let mut setup = Setup::start().await;
        let payloads: Vec<Bytes> = (0..10_u8)
            .map(|number| Bytes::from(vec![number; size]))
            .collect();
        let (storage, held) = (&setup.storage, &setup.held);
        storage.enqueue(&held.queue, &payloads).await.unwrap();
        assert_eq!(setup.dequeue().await.unwrap(), payloads);
        let settlements: Vec<Settlement> = payloads
            .into_iter()
            .map(|held| Settlement::new(held, Target::Ack))
            .collect();
        let list = format!("inprogress:default:{}", setup.held.node);
        let mut monitor = Monitor::start(&setup.server);
        let settled = setup.storage.settle(&setup.held, &settlements).await;
        let done = |settled: &Settled| matches!(settled, Settled::Done);
        assert!(settled.iter().all(done), "{settled:?}");
        let reads = monitor.reads_of(&list, &setup.server);
        assert_eq!(reads, expected, "{size}");
        assert_eq!(setup.in_progress().await, bytes(&[]));
    }
}

/// They are the oldest of the list, and small jobs come and go beside them.
#[tokio::test]
async fn large_jobs_that_run_on_are_not_read_when_small_ones_end() {
    let mut setup = Setup::start().await;
    let large: Vec<Bytes> = (0..4).map(|_| Bytes::from(vec![b'x'; 200_000])).collect();
    let (storage, held) = (&setup.storage, &setup.held);
    storage.enqueue(&held.queue, &large).await.unwrap();
    assert_eq!(setup.dequeue().await.unwrap().len(), 4);
    let small = ["a", "b", "c", "d", "e"];
    setup.enqueue(&small).await;
    assert_eq!(setup.dequeue().await.unwrap(), bytes(&small));
    let settlements = bytes(&small)
        .into_iter()
        .map(|held| Settlement::new(held, Target::Ack));
    let settlements: Vec<Settlement> = settlements.collect();
    let mut monitor = Monitor::start(&setup.server);
    let look = request(Duration::ZERO);
    let exchange = setup.connection.settle_and_dequeue(&settlements, &look);
    let (settled, fetched) = exchange.await;
    let done = |settled: &Settled| matches!(settled, Settled::Done);
    assert!(settled.iter().all(done), "{settled:?}");
    assert_eq!(jobs(fetched.unwrap()), bytes(&[]));
    let list = format!("inprogress:default:{}", setup.held.node);
    assert_eq!(monitor.reads_of(&list, &setup.server), [0; 0]);
    assert_eq!(setup.in_progress().await, large);
}

/// A page holds a mebibyte: ten jobs of 100 kB, or two of 400 kB.
#[tokio::test]
async fn pages_of_large_jobs_read_few_in_vain() {
    for (size, taken, expected) in [
        (100_000, 10, &[1, 2, 4, 3, 1][..]),
        (400_000, 2, &[1, 1, 1]),
        (2_000_000, 1, &[1, 1]),
    ] {
        let setup = Setup::start().await;
        let (storage, queue) = (&setup.storage, &setup.held.queue);
        let payloads: Vec<Bytes> = (0..15_u8)
            .map(|number| Bytes::from(vec![number; size]))
            .collect();
        storage.enqueue(queue, &payloads).await.unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(1);
        let due: Vec<Due> = payloads.into_iter().map(|job| Due { at, job }).collect();
        storage.schedule(&due).await.unwrap();
        let mut monitor = Monitor::start(&setup.server);

        let page = storage
            .list(&Source::Queue(queue.clone()), &ALL.into())
            .await
            .unwrap()
            .jobs;
        assert_eq!(page.len(), taken);
        let reads = monitor.reads_of("queue:default", &setup.server);
        assert_eq!(reads, expected, "{size}");

        let page = storage.due(DueSet::Schedule, at, ALL).await.unwrap();
        assert_eq!((page.jobs.len(), page.next), (taken, Some(at)));
        let reads = monitor.reads_of("schedule", &setup.server);
        assert_eq!(reads, expected, "{size}");
    }
}
