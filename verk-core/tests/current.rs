//! The current client, of those of several Verks in several runtimes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};
use verk_core::{
    Client, EnqueueError, Job, RunError, Verk,
    storage::{Source, WaitingStore},
};
use verk_testing::MemoryStorage;

/// The current clients are those of the process, so one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A Verk that only enqueues, and where its jobs are.
struct Built {
    verk: Verk,
    storage: MemoryStorage,
}

async fn build() -> Built {
    let storage = MemoryStorage::default();
    let verk = Verk::builder().storage(storage.clone()).build().await;
    Built {
        verk: verk.unwrap(),
        storage,
    }
}

impl Built {
    async fn jobs(&self) -> usize {
        let queue = Source::Queue("default".parse().unwrap());
        self.storage.len(&queue).await.unwrap()
    }

    /// Whether the current client is that of this Verk.
    async fn is_at_hand(&self) -> bool {
        let before = self.jobs().await;
        let queue = "default".parse().unwrap();
        let job = Job::new("Nothing", queue, "[]".to_owned()).unwrap();
        let client = Client::current().unwrap();
        client.enqueue(job).await.unwrap();
        self.jobs().await > before
    }
}

/// As [`Built::is_at_hand`], on a thread without a runtime.
fn is_at_hand_outside(built: &Built) -> bool {
    built.is_at_hand().now_or_never().unwrap()
}

fn nobody_is_at_hand() -> bool {
    matches!(Client::current(), Err(EnqueueError::NoClient))
}

#[test]
fn each_runtime_uses_the_newest_verk_of_its_own() {
    let _alone = alone();
    let (one, other, third) = (runtime(), runtime(), runtime());
    let a = one.block_on(build());
    assert!(other.block_on(a.is_at_hand()), "the only one");
    assert!(is_at_hand_outside(&a));

    let b = other.block_on(build());
    assert!(one.block_on(a.is_at_hand()));
    assert!(other.block_on(b.is_at_hand()));
    assert!(third.block_on(b.is_at_hand()), "the newest of all");
    assert!(is_at_hand_outside(&b));

    let newer = one.block_on(build());
    assert!(one.block_on(newer.is_at_hand()));
    assert!(other.block_on(b.is_at_hand()));
    assert!(third.block_on(newer.is_at_hand()));
}

#[test]
fn a_default_holds_where_it_was_made_and_where_nothing_was() {
    let _alone = alone();
    let (one, other, third) = (runtime(), runtime(), runtime());
    let (a, newer) = one.block_on(async { (build().await, build().await) });
    let b = other.block_on(build());
    a.verk.set_default();
    assert!(one.block_on(a.is_at_hand()), "not the newer one");
    assert!(other.block_on(b.is_at_hand()), "its own");
    assert!(third.block_on(a.is_at_hand()));
    assert!(is_at_hand_outside(&a));

    // A client without a Verk can be the default, too.
    let storage = MemoryStorage::default();
    let client = {
        let _inside = third.enter();
        Client::new(std::sync::Arc::new(storage.clone()))
    };
    client.set_default();
    let c = Built {
        verk: a.verk.clone(),
        storage,
    };
    assert!(third.block_on(c.is_at_hand()));
    assert!(one.block_on(newer.is_at_hand()));
    b.verk.set_default();
    assert!(third.block_on(b.is_at_hand()), "the last to say so");
}

#[test]
fn a_verk_that_was_shut_down_or_dropped_is_at_nobodys_hand() {
    let _alone = alone();
    assert!(nobody_is_at_hand());
    let runtime = runtime();
    runtime.block_on(async {
        let (a, b, c) = (build().await, build().await, build().await);
        b.verk.set_default();
        drop(c);
        b.verk.shutdown().await;
        assert!(a.is_at_hand().await);
        b.verk.set_default();
        assert!(a.is_at_hand().await, "it stays shut down");

        // Its client works on, for those who have it.
        let job = Job::new("Nothing", "default".parse().unwrap(), "[]".to_owned());
        b.verk.enqueue(job.unwrap()).await.unwrap();
        assert_eq!(b.jobs().await, 1);

        let clone = a.verk.clone();
        drop(a);
        assert!(!nobody_is_at_hand(), "a clone of it lives");
        drop(clone);
        assert!(nobody_is_at_hand());
    });
}

#[test]
fn a_node_outside_of_a_runtime_says_what_is_missing() {
    let builder = Verk::builder().storage(MemoryStorage::default());
    let built = builder.queue("default", 1).build().now_or_never();
    let verk = built.unwrap().unwrap();
    let results = [
        verk.start(),
        verk.run().now_or_never().unwrap(),
        verk.run_until(std::future::pending())
            .now_or_never()
            .unwrap(),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert!(matches!(error, RunError::NoRuntime), "{error}");
        assert!(error.to_string().contains("tokio"), "{error}");
    }
    verk.shutdown().now_or_never().unwrap();
}
