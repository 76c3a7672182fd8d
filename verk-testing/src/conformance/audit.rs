//! The list of what operators did.

use bytes::Bytes;
use futures_util::future::try_join_all;
use verk_core::storage::{MAX_AUDIT_ENTRIES, Page, Storage};

use super::{Harness, fixture::bytes};

/// The newest entry comes first, and a page continues where the one before it ended.
pub async fn actions_are_read_from_the_newest_on(harness: &dyn Harness) {
    let storage = harness.storage();
    assert_eq!(read(&*storage, 0, 10).await, bytes(&[]));
    for entry in ["a", "b", "b", "c"] {
        storage.record_action(&entry.into()).await.unwrap();
    }
    let before = harness.dump().await;
    assert_eq!(read(&*storage, 0, 10).await, bytes(&["c", "b", "b", "a"]));
    assert_eq!(read(&*storage, 0, 2).await, bytes(&["c", "b"]));
    assert_eq!(read(&*storage, 2, 2).await, bytes(&["b", "a"]));
    assert_eq!(read(&*storage, 4, 2).await, bytes(&[]));
    assert_eq!(harness.dump().await, before, "looking changes nothing");
}

/// The list has at most so many entries: the oldest leave it.
pub async fn the_list_of_actions_is_cut(harness: &dyn Harness) {
    let storage = harness.storage();
    let old = Bytes::from_static(b"old");
    for _ in 0..MAX_AUDIT_ENTRIES / 100 {
        let entries = (0..100).map(|_| storage.record_action(&old));
        try_join_all(entries).await.unwrap();
    }
    let last = MAX_AUDIT_ENTRIES - 1;
    assert_eq!(read(&*storage, last, 10).await, bytes(&["old"]));
    for entry in ["a", "b"] {
        storage.record_action(&entry.into()).await.unwrap();
    }
    assert_eq!(read(&*storage, 0, 3).await, bytes(&["b", "a", "old"]));
    assert_eq!(read(&*storage, last, 10).await, bytes(&["old"]));
}

/// A full backend takes an action too: operators act on it.
pub async fn a_full_backend_takes_actions(harness: &dyn Harness) {
    let storage = harness.storage();
    harness.fill().await;
    for entry in ["a", "b"] {
        storage.record_action(&entry.into()).await.unwrap();
    }
    assert_eq!(read(&*storage, 0, 10).await, bytes(&["b", "a"]));
}

async fn read(storage: &dyn Storage, offset: usize, limit: usize) -> Vec<Bytes> {
    storage.actions(Page { offset, limit }).await.unwrap()
}
