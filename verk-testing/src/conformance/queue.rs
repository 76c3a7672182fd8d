//! Jobs come in and are fetched: [`JobStore::enqueue`](verk_core::storage::JobStore::enqueue) and
//! [`QueueConnection::dequeue`](verk_core::storage::QueueConnection::dequeue).

use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use verk_core::storage::{DequeueRequest, Dequeued, Inprogress, Page, Settlement, Source, Target};

use super::{
    Harness,
    fixture::{
        Fixture, TTL, assert_done, bytes, dequeue_while, job, jobs, look, node_id, numbered,
        of_many_sizes, queue_name, queue_page, read_in_pages, soon, wait,
    },
};

/// The first job enqueued is the first to be fetched, over several calls.
pub async fn jobs_are_fetched_in_the_order_of_enqueue(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    fixture.enqueue(&["b"]).await;
    fixture.enqueue(&["c"]).await;

    assert_eq!(fixture.queued().await, bytes(&["a", "b", "c"]));
    assert_eq!(fixture.dequeue(1).await, bytes(&["a"]));
    assert_eq!(fixture.dequeue(2).await, bytes(&["b", "c"]));
    assert_eq!(fixture.dequeue(1).await, bytes(&[]));
}

/// A bulk keeps its order, also when it is larger than a batch.
pub async fn a_bulk_keeps_its_order(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let all = numbered(250);
    fixture.enqueue_bytes(&all).await;

    assert_eq!(fixture.queued().await, all);
    assert_eq!(fixture.dequeue_all().await, all);
}

/// An enqueue of no jobs changes nothing: not even the queue becomes known.
pub async fn an_empty_enqueue_changes_nothing(harness: &dyn Harness) {
    let storage = harness.storage();
    let before = harness.dump().await;
    storage.enqueue(&queue_name("default"), &[]).await.unwrap();
    assert_eq!(harness.dump().await, before);
}

/// Enqueueing makes the queue known, once, and every known queue is listed in order.
pub async fn enqueue_makes_the_queue_known(harness: &dyn Harness) {
    let storage = harness.storage();
    assert_eq!(storage.queues().await.unwrap(), []);
    for name in ["mailers", "default", "mailers", "with:colon"] {
        let queue = queue_name(name);
        storage.enqueue(&queue, &[job("a")]).await.unwrap();
    }
    assert_eq!(
        storage.queues().await.unwrap(),
        ["default", "mailers", "with:colon"].map(queue_name)
    );
}

/// Queues do not mix, also when one name looks like a part of another.
pub async fn queues_are_apart(harness: &dyn Harness) {
    let names = ["a", "a:b", "b", "queue:a", " ", "ü"];
    let mut fixtures = Vec::new();
    for name in names {
        let fixture = Fixture::on_queue(harness, name).await;
        fixture.enqueue(&[name]).await;
        fixtures.push(fixture);
    }
    for (name, mut fixture) in names.into_iter().zip(fixtures) {
        assert_eq!(fixture.dequeue(10).await, bytes(&[name]));
        assert_eq!(fixture.in_progress().await, bytes(&[name]));
    }
}

/// A fetched job is in `inprogress` and not in the queue.
pub async fn dequeue_moves_jobs_to_inprogress(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a", "b", "c"]).await;

    assert_eq!(fixture.dequeue(2).await, bytes(&["a", "b"]));
    assert_eq!(fixture.in_progress().await, bytes(&["a", "b"]));
    assert_eq!(fixture.queued().await, bytes(&["c"]));
    assert_eq!(fixture.queue_len().await, 1);
}

/// A fetch takes no more jobs than it asked for.
pub async fn dequeue_is_bounded_by_count(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue_bytes(&numbered(150)).await;
    assert_eq!(fixture.dequeue(3).await.len(), 3);
    assert_eq!(fixture.dequeue(100).await.len(), 100);
    assert_eq!(fixture.in_progress().await, numbered(103));
}

/// Asking for more than there is, or more than a batch, is no error.
pub async fn dequeue_of_very_many_takes_what_it_can(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let all = numbered(250);
    fixture.enqueue_bytes(&all).await;
    let mut fetched = Vec::new();
    while fetched.len() < all.len() {
        let some = fixture.dequeue(1_000_000).await;
        assert!(!some.is_empty());
        fetched.extend(some);
    }
    assert_eq!(fetched, all);
    assert_eq!(fixture.in_progress().await, all);
}

/// A fetch takes no more bytes than it asked for.
pub async fn dequeue_is_bounded_by_bytes(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["12345", "67890", "abc"]).await;
    let request = |max_bytes| DequeueRequest {
        max_bytes,
        ..look(10)
    };

    let answer = fixture.connection.dequeue(request(12)).await.unwrap();
    assert_eq!(jobs(answer), bytes(&["12345", "67890"]));
    fixture.enqueue(&["defgh"]).await;
    let answer = fixture.connection.dequeue(request(8)).await.unwrap();
    assert_eq!(jobs(answer), bytes(&["abc", "defgh"]), "an exact fit");
}

/// A fetch ends when less is left of its bytes than the average size of the jobs that it took.
pub async fn dequeue_ends_when_the_next_job_hardly_fits(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    // Left after the second job: 7 bytes for an average of 8, then 8 for 8.
    for (max_bytes, expected) in [(23, 2), (24, 3)] {
        fixture.enqueue(&["0123456789", "012345", "a"]).await;
        let request = DequeueRequest {
            max_bytes,
            ..look(10)
        };
        let answer = fixture.connection.dequeue(request).await.unwrap();
        assert_eq!(jobs(answer).len(), expected, "{max_bytes}");
        assert_eq!(fixture.dequeue_all().await.len(), 3 - expected);
    }
}

/// If the sizes change, each fetch still takes what its bounds allow, in order.
pub async fn jobs_of_changing_sizes_are_fetched_in_order(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let mut all = Vec::new();
    for size in [10, 300_000, 10, 1_500_000, 3_000, 0, 600_000, 10] {
        all.extend((0..12_u8).map(|number| Bytes::from(vec![number; size])));
    }
    for some in all.chunks(10) {
        fixture.enqueue_bytes(some).await;
    }
    let mut fetched = Vec::new();
    for _ in 0..all.len() {
        let jobs = fixture.dequeue(25).await;
        let bytes: usize = jobs.iter().map(Bytes::len).sum();
        assert!(jobs.len() == 1 || bytes <= 1024 * 1024, "{bytes}");
        fetched.extend(jobs);
    }
    assert!(fetched == all);
}

/// One job is taken even if it is larger than the bound.
pub async fn dequeue_takes_one_job_of_any_size(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let large = Bytes::from(vec![b'x'; 3 * 1024 * 1024]);
    fixture.enqueue_bytes(&[large.clone(), job("a")]).await;

    let request = DequeueRequest {
        max_bytes: 1,
        ..look(10)
    };
    let answer = fixture.connection.dequeue(request.clone()).await.unwrap();
    assert_eq!(jobs(answer), [large]);
    let answer = fixture.connection.dequeue(request).await.unwrap();
    assert_eq!(jobs(answer), bytes(&["a"]));
}

/// Looking once at an empty queue answers that there is nothing.
pub async fn dequeue_of_an_empty_queue_answers_no_jobs(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let before = harness.dump().await;
    assert_eq!(soon(fixture.dequeue(10)).await, bytes(&[]));
    assert_eq!(harness.dump().await, before);
}

/// A wait ends by itself with no jobs.
pub async fn dequeue_gives_up_after_its_wait(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let request = DequeueRequest {
        wait: Duration::from_millis(20),
        ..look(10)
    };
    let answer = soon(fixture.connection.dequeue(request)).await;
    assert_eq!(answer.unwrap(), Dequeued::Jobs(Vec::new()));
}

/// A fetch that waits is answered when a job is enqueued.
pub async fn dequeue_waits_and_is_woken_by_an_enqueue(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let queue = fixture.held.queue.clone();
    let fetched = dequeue_while(&mut fixture, async |storage| {
        storage.enqueue(&queue, &[job("a")]).await.unwrap();
    })
    .await;
    assert_eq!(fetched, bytes(&["a"]));
    assert_eq!(fixture.in_progress().await, bytes(&["a"]));
    assert_eq!(fixture.queued().await, bytes(&[]));
}

/// An interrupt ends the wait at once, and a job that comes later is fetched by the next call.
pub async fn an_interrupt_ends_the_wait(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let interrupt = CancellationToken::new();
    let (answer, ()) = soon(async {
        tokio::join!(fixture.connection.dequeue(wait(&interrupt)), async {
            harness.dequeue_is_waiting().await;
            interrupt.cancel();
        })
    })
    .await;
    assert_eq!(answer.unwrap(), Dequeued::Jobs(Vec::new()));

    fixture.enqueue(&["a"]).await;
    assert_eq!(fixture.in_progress().await, bytes(&[]));
    assert_eq!(fixture.dequeue(1).await, bytes(&["a"]));
}

/// A fetch that is interrupted before it starts does not wait.
pub async fn an_early_interrupt_is_no_wait(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let interrupt = CancellationToken::new();
    interrupt.cancel();
    let answer = soon(fixture.connection.dequeue(wait(&interrupt))).await;
    assert_eq!(answer.unwrap(), Dequeued::Jobs(Vec::new()));
    fixture.enqueue(&["a"]).await;
    assert_eq!(fixture.dequeue(1).await, bytes(&["a"]));
}

/// When a job comes in the moment of the interrupt, it is in the answer or stays in the queue.
pub async fn an_interrupt_loses_no_job(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    for round in 0..30 {
        let payload = job(&format!("job {round}"));
        let interrupt = CancellationToken::new();
        let storage = harness.storage();
        let queue = fixture.held.queue.clone();
        let (answer, ()) = soon(async {
            tokio::join!(fixture.connection.dequeue(wait(&interrupt)), async {
                harness.dequeue_is_waiting().await;
                let ((), enqueued) = tokio::join!(
                    async { interrupt.cancel() },
                    storage.enqueue(&queue, std::slice::from_ref(&payload))
                );
                enqueued.unwrap();
            })
        })
        .await;

        let mut fetched = jobs(answer.unwrap());
        if fetched.is_empty() {
            fetched = fixture.dequeue(10).await;
        }
        assert_eq!(fetched, std::slice::from_ref(&payload));
        assert_eq!(fixture.queued().await, bytes(&[]));
        let (held, to) = (payload, Target::Ack);
        assert_done(&fixture.settle_each(&[Settlement::new(held, to)]).await);
    }
}

/// A fetch that was dropped while it waited takes no job after a reset.
pub async fn reset_ends_an_abandoned_dequeue(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let interrupt = CancellationToken::new();
    soon(async {
        tokio::select! {
            biased;
            answer = fixture.connection.dequeue(wait(&interrupt)) => panic!("{answer:?}"),
            () = harness.dequeue_is_waiting() => {}
        }
    })
    .await;
    soon(fixture.connection.reset()).await.unwrap();

    fixture.enqueue(&["a"]).await;
    assert_eq!(fixture.in_progress().await, bytes(&[]));
    assert_eq!(fixture.queued().await, bytes(&["a"]));
    assert_eq!(fixture.dequeue(10).await, bytes(&["a"]));
}

/// A reset of a connection that does nothing changes nothing, as often as it is done.
pub async fn reset_of_an_idle_connection_is_fine(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    soon(fixture.connection.reset()).await.unwrap();
    fixture.enqueue(&["a", "b"]).await;
    assert_eq!(fixture.dequeue(1).await, bytes(&["a"]));
    let before = harness.dump().await;
    for _ in 0..2 {
        soon(fixture.connection.reset()).await.unwrap();
    }
    assert_eq!(harness.dump().await, before);
    assert_eq!(fixture.dequeue(10).await, bytes(&["b"]));
}

/// Several nodes on one queue: each job goes to one of them.
pub async fn each_job_is_fetched_once(harness: &dyn Harness) {
    let first = Fixture::new(harness).await;
    first.enqueue_bytes(&numbered(200)).await;
    let mut fetchers = vec![first];
    for _ in 0..3 {
        fetchers.push(Fixture::new(harness).await);
    }
    let [a, b, c, d] = fetchers.as_mut_slice() else {
        unreachable!("four fetchers")
    };
    let fetched = soon(async {
        tokio::join!(
            a.dequeue_all(),
            b.dequeue_all(),
            c.dequeue_all(),
            d.dequeue_all()
        )
    })
    .await;
    let mut all = [fetched.0, fetched.1, fetched.2, fetched.3].concat();
    all.sort();
    let mut expected = numbered(200);
    expected.sort();
    assert_eq!(all, expected);
}

/// A node that was never registered takes nothing.
pub async fn an_unregistered_node_takes_nothing(harness: &dyn Harness) {
    let storage = harness.storage();
    let held = Inprogress {
        queue: queue_name("default"),
        node: node_id(),
    };
    storage.enqueue(&held.queue, &[job("a")]).await.unwrap();
    let before = harness.dump().await;
    let mut connection = storage.open_queue(&held).await.unwrap();
    let answer = connection.dequeue(look(1)).await.unwrap();
    assert_eq!(answer, Dequeued::NodeGone);
    assert_eq!(harness.dump().await, before);
}

/// A node whose heartbeat ran out takes nothing, and does not become alive by trying.
pub async fn a_dead_node_takes_nothing(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a"]).await;
    fixture.enqueue(&["b"]).await;
    harness.expire_heartbeat(&fixture.held.node).await;
    let before = harness.dump().await;

    let answer = fixture.connection.dequeue(look(1)).await.unwrap();
    assert_eq!(answer, Dequeued::NodeGone);
    let answer = soon(fixture.connection.dequeue(wait(&CancellationToken::new()))).await;
    assert_eq!(answer.unwrap(), Dequeued::NodeGone, "nor does it wait");
    assert_eq!(harness.dump().await, before);
}

/// A fetch adds the node and its queue again.
pub async fn dequeue_registers_the_queue_of_the_node(harness: &dyn Harness) {
    let storage = harness.storage();
    let held = Inprogress {
        queue: queue_name("default"),
        node: node_id(),
    };
    storage
        .register(&held.node, &[], TTL, &Default::default())
        .await
        .unwrap();
    storage.enqueue(&held.queue, &[job("a")]).await.unwrap();
    let mut connection = storage.open_queue(&held).await.unwrap();
    let answer = connection.dequeue(look(1)).await.unwrap();
    assert_eq!(jobs(answer), bytes(&["a"]));

    let nodes = storage.nodes().await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0].id, held.node);
    assert_eq!(nodes[0].queues, [held.queue]);
}

/// Payloads are bytes: what looks like a number, no UTF-8, nothing at all or a protocol comes back
/// as it was.
pub async fn payloads_are_opaque(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let payloads = [
        Bytes::from_static(b"123"),
        Bytes::from_static(b""),
        Bytes::from_static(b"\xff\xfe\x00\x80"),
        Bytes::from_static(b"\r\n$5\r\nhello\r\n"),
        Bytes::from_static(b"1e400"),
        Bytes::from_static(b"{\"args\":[],\"n\":12345678901234567890.0}"),
        Bytes::from_static(b"-0"),
        Bytes::from_static(b"nil"),
    ];
    fixture.enqueue_bytes(&payloads).await;
    assert_eq!(fixture.queued().await, payloads);
    assert_eq!(fixture.dequeue(10).await, payloads);
    assert_eq!(fixture.in_progress().await, payloads);
}

/// A fetch that waits gets an empty payload too, and does not take it for no job.
pub async fn an_empty_payload_wakes_a_dequeue(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let queue = fixture.held.queue.clone();
    let fetched = dequeue_while(&mut fixture, async |storage| {
        storage.enqueue(&queue, &[Bytes::new()]).await.unwrap();
    })
    .await;
    assert_eq!(fetched, [Bytes::new()]);
}

/// A queue of ten thousand is read and fetched whole.
pub async fn ten_thousand_jobs_are_fetched(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let all = numbered(10_000);
    fixture.enqueue_bytes(&all).await;
    assert_eq!(fixture.queue_len().await, 10_000);
    assert_eq!(fixture.dequeue_all().await, all);
}

/// Pages of a queue start with the next job to be fetched; any page is allowed.
pub async fn a_queue_is_read_in_pages(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a", "b", "c"]).await;
    for (offset, limit, expected) in [
        (0, 2, &["a", "b"][..]),
        (1, 1, &["b"]),
        (2, 5, &["c"]),
        (3, 1, &[]),
        (0, 0, &[]),
        (2, 0, &[]),
        (0, usize::MAX, &["a", "b", "c"]),
        (usize::MAX, usize::MAX, &[]),
    ] {
        let page = Page { offset, limit };
        let read = queue_page(&*fixture.storage, &fixture.held.queue, page).await;
        assert_eq!(read, bytes(expected), "{page:?}");
    }
}

/// A queue that never had a job is empty.
pub async fn an_unknown_queue_is_empty(harness: &dyn Harness) {
    let storage = harness.storage();
    let queue = queue_name("nobody");
    let page = Page {
        offset: 0,
        limit: 10,
    };
    assert_eq!(storage.len(&Source::Queue(queue.clone())).await.unwrap(), 0);
    assert_eq!(queue_page(&*storage, &queue, page).await, bytes(&[]));
}

/// A page has at most 1 MiB, and at least one job; the rest is in the pages after it.
pub async fn a_page_is_bounded_by_bytes(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let all = of_many_sizes();
    fixture.enqueue_bytes(&all).await;
    let queue = &fixture.held.queue;
    let read = read_in_pages(async |page| queue_page(&*fixture.storage, queue, page).await);
    assert_eq!(read.await, all);
}
