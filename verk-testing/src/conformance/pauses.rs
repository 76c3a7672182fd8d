//! Queues are paused for all nodes:
//! [`PauseStore`](verk_core::storage::PauseStore) and [`PauseListener`].

use std::collections::BTreeSet;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use verk_core::{
    QueueName,
    error::Applied,
    storage::{Dequeued, PauseListener, StoredPause, Target},
};

use super::{
    Harness,
    fixture::{Fixture, assert_done, assert_refused, bytes, look, queue_name, soon, wait},
};
use crate::Key;

static NO_NOTE: Bytes = Bytes::new();

/// No node fetches from a queue that is paused, with a wait or without. Its jobs stay, and are
/// fetched once it is resumed.
pub async fn a_paused_queue_keeps_its_jobs(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    let queue = fixture.held.queue.clone();
    assert!(fixture.storage.pause(&queue, &NO_NOTE).await.unwrap());

    let before = harness.dump().await;
    let nothing = Dequeued::Paused(Vec::new());
    let answer = fixture.connection.dequeue(look(10)).await;
    assert_eq!(answer.unwrap(), nothing);
    let answer = soon(fixture.connection.dequeue(wait(&CancellationToken::new()))).await;
    assert_eq!(answer.unwrap(), nothing, "nor does it wait");
    assert_eq!(harness.dump().await, before);

    fixture.enqueue(&["b"]).await;
    assert!(fixture.storage.resume(&queue).await.unwrap());
    assert_eq!(fixture.dequeue(10).await, bytes(&["a", "b"]));
}

/// A second pause, or a second resume, changes nothing, and leaves nothing behind.
pub async fn pausing_twice_is_pausing_once(harness: &dyn Harness) {
    let storage = harness.storage();
    let queue = queue_name("default");
    let before = harness.dump().await;
    assert!(!storage.resume(&queue).await.unwrap());
    assert_eq!(harness.dump().await, before);
    assert!(storage.pause(&queue, &NO_NOTE).await.unwrap());
    assert!(!storage.pause(&queue, &NO_NOTE).await.unwrap());
    assert!(storage.resume(&queue).await.unwrap());
    assert!(!storage.resume(&queue).await.unwrap());
    assert_eq!(harness.dump().await, before);
}

/// Queues are paused one by one, and listed by name.
pub async fn paused_queues_are_listed(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    for name in ["mailers", "with:colon", "a"] {
        let paused = fixture.storage.pause(&queue_name(name), &NO_NOTE).await;
        assert!(paused.unwrap());
    }
    let names = ["a", "mailers", "with:colon"].map(queue_name);
    assert_eq!(fixture.storage.paused_queues().await.unwrap(), names);
    let mut listener = fixture.storage.open_pause_listener().await.unwrap();
    assert_eq!(listener.paused().await.unwrap(), BTreeSet::from(names));

    fixture.enqueue(&["a"]).await;
    assert_eq!(fixture.dequeue(10).await, bytes(&["a"]), "another queue");
}

/// The note of a pause is kept until the pause ends. A second pause does not change it.
pub async fn a_pause_keeps_its_note(harness: &dyn Harness) {
    let storage = harness.storage();
    let before = harness.dump().await;
    let [mailers, other] = ["mailers", "with:colon"].map(queue_name);
    let [first, second] = [r#"{"by":"ada"}"#, "\0 no text"].map(Bytes::from);
    let pauses = async || storage.pauses().await.unwrap();
    let pause = |queue: &QueueName, note: Option<&Bytes>| StoredPause {
        queue: queue.clone(),
        note: note.cloned(),
    };
    assert_eq!(pauses().await, []);
    assert!(storage.pause(&other, &NO_NOTE).await.unwrap());
    assert!(storage.pause(&mailers, &first).await.unwrap());
    let both = [pause(&mailers, Some(&first)), pause(&other, None)];
    assert_eq!(pauses().await, both);
    for queue in [&mailers, &other] {
        assert!(!storage.pause(queue, &second).await.unwrap());
        assert_eq!(pauses().await, both);
    }

    assert!(storage.resume(&mailers).await.unwrap());
    assert_eq!(pauses().await, [pause(&other, None)]);
    assert!(storage.pause(&mailers, &second).await.unwrap());
    let again = [pause(&mailers, Some(&second)), pause(&other, None)];
    assert_eq!(pauses().await, again);
    for queue in [&mailers, &other] {
        assert!(storage.resume(queue).await.unwrap());
    }
    assert_eq!(harness.dump().await, before);
}

/// Very many pauses are listed with their notes.
pub async fn very_many_pauses_have_their_notes(harness: &dyn Harness) {
    let storage = harness.storage();
    let pauses = (0..250).map(|number| StoredPause {
        queue: queue_name(&format!("queue-{number:03}")),
        note: (number % 2 == 0).then(|| Bytes::from(number.to_string())),
    });
    let pauses: Vec<StoredPause> = pauses.collect();
    for pause in &pauses {
        let note = pause.note.clone().unwrap_or_default();
        assert!(storage.pause(&pause.queue, &note).await.unwrap());
    }
    assert_eq!(storage.pauses().await.unwrap(), pauses);
}

/// A job that a wait brings from a queue that was paused meanwhile can be handed back to its place.
pub async fn a_pause_during_a_wait_starts_no_job(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let queue = fixture.held.queue.clone();
    let storage = harness.storage();
    let interrupt = CancellationToken::new();
    let (answer, ()) = soon(async {
        tokio::join!(fixture.connection.dequeue(wait(&interrupt)), async {
            harness.dequeue_is_waiting().await;
            storage.pause(&queue, &NO_NOTE).await.unwrap();
            storage.enqueue(&queue, &bytes(&["a", "b"])).await.unwrap();
        })
    })
    .await;

    let Dequeued::Paused(jobs) = answer.unwrap() else {
        panic!("the queue is paused");
    };
    assert_eq!(fixture.in_progress().await, jobs);
    if !jobs.is_empty() {
        assert_eq!(jobs, bytes(&["a"]));
        assert_done(&fixture.settle(&["a"], Target::Requeue).await);
    }
    assert_eq!(fixture.queued().await, bytes(&["a", "b"]));
    assert_eq!(fixture.in_progress().await, bytes(&[]));
}

/// Every listener gets every pause and its end.
pub async fn pauses_are_announced(harness: &dyn Harness) {
    let storage = harness.storage();
    let mut listeners = Vec::new();
    for _ in 0..2 {
        let mut listener = storage.open_pause_listener().await.unwrap();
        assert_eq!(listener.paused().await.unwrap(), BTreeSet::new());
        listeners.push(listener);
    }
    let queue = queue_name("default");
    for paused in [true, false, true] {
        let changed = match paused {
            true => storage.pause(&queue, &NO_NOTE).await,
            false => storage.resume(&queue).await,
        };
        assert!(changed.unwrap());
        let expected = BTreeSet::from_iter(paused.then(|| queue.clone()));
        for listener in &mut listeners {
            until_read(&mut **listener, &expected).await;
        }
    }
}

/// An announcement while no listener waits, or before the set is read, is not missed.
pub async fn an_early_announcement_is_not_missed(harness: &dyn Harness) {
    let storage = harness.storage();
    let mut listener = storage.open_pause_listener().await.unwrap();
    let queue = queue_name("default");
    storage.pause(&queue, &NO_NOTE).await.unwrap();
    let paused = BTreeSet::from([queue.clone()]);
    assert_eq!(listener.paused().await.unwrap(), paused);
    storage.resume(&queue).await.unwrap();
    until_read(&mut *listener, &BTreeSet::new()).await;
}

/// Reads after each announcement until this is paused.
async fn until_read(listener: &mut dyn PauseListener, expected: &BTreeSet<QueueName>) {
    soon(async {
        loop {
            listener.changed().await.unwrap();
            if listener.paused().await.unwrap() == *expected {
                return;
            }
        }
    })
    .await;
}

/// A listener learns when announcements do not come any more, and can listen again.
pub async fn a_listener_learns_that_the_backend_went_away(harness: &dyn Harness) {
    let storage = harness.storage();
    let mut listener = storage.open_pause_listener().await.unwrap();
    listener.paused().await.unwrap();
    soon(async {
        let ended = async {
            // It may get another change before.
            while listener.changed().await.is_ok() {}
        };
        tokio::join!(ended, harness.disconnect());
    })
    .await;
    assert!(soon(listener.paused()).await.is_err());
    assert!(soon(storage.open_pause_listener()).await.is_err());

    harness.reconnect().await;
    let mut listener = soon(storage.open_pause_listener()).await.unwrap();
    let queue = queue_name("default");
    // A connection whose end was not seen yet may fail once more; sending it again does no harm.
    soon(async { while storage.pause(&queue, &NO_NOTE).await.is_err() {} }).await;
    assert_eq!(listener.paused().await.unwrap(), BTreeSet::from([queue]));
}

/// A backend that is full pauses and resumes.
pub async fn a_full_backend_pauses(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    harness.fill().await;
    let queue = fixture.held.queue.clone();
    let note = Bytes::from("a note");
    assert!(fixture.storage.pause(&queue, &note).await.unwrap());
    assert_eq!(fixture.storage.pauses().await.unwrap()[0].note, Some(note));
    let answer = fixture.connection.dequeue(look(1)).await.unwrap();
    assert_eq!(answer, Dequeued::Paused(Vec::new()));
    assert!(fixture.storage.resume(&queue).await.unwrap());
    assert_eq!(fixture.dequeue(1).await, bytes(&["a"]));
    harness.make_room().await;
}

/// While the paused queues cannot be read, nothing is fetched.
pub async fn a_broken_set_stops_fetching(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    let queue = fixture.held.queue.clone();
    harness.break_key(&Key::Paused).await;
    let before = harness.dump().await;
    assert_refused(
        fixture.connection.dequeue(look(1)).await,
        Applied::NotApplied,
    );
    let refused = fixture.storage.pause(&queue, &NO_NOTE).await;
    assert_refused(refused, Applied::NotApplied);
    assert_refused(fixture.storage.paused_queues().await, Applied::NotApplied);
    assert_refused(fixture.storage.pauses().await, Applied::NotApplied);
    assert_eq!(harness.dump().await, before);
    harness.mend_key(&Key::Paused).await;
    assert_eq!(fixture.dequeue(1).await, bytes(&["a"]));
}
