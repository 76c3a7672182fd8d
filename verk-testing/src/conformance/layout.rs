//! A storage keeps which cell it is:
//! [`CellStore::claim_layout`](verk_core::storage::CellStore::claim_layout).

use futures_util::future::join_all;
use verk_core::{cells::Layout, error::Applied, storage::Storage};

use super::Harness;

/// The first claim wins, however often and with whatever another one comes.
pub async fn a_layout_stays(harness: &dyn Harness) {
    let storage = harness.storage();
    let (first, other) = (Layout::new(3, 16), Layout::new(3, 8));
    assert_eq!(claim(&*storage, first).await, first.to_string());
    let before = harness.dump().await;
    for layout in [first, other, first] {
        assert_eq!(claim(&*storage, layout).await, first.to_string());
    }
    assert_eq!(
        harness.dump().await,
        before,
        "a later claim changes nothing"
    );
    // With other connections, too.
    harness.disconnect().await;
    let failed = storage.claim_layout(&other.to_string()).await.unwrap_err();
    assert_eq!(failed.applied(), Applied::NotApplied);
    harness.reconnect().await;
    assert_eq!(claim(&*harness.storage(), other).await, first.to_string());
}

/// Programs with other cells that start at once get one answer.
pub async fn claims_at_once_get_one_layout(harness: &dyn Harness) {
    let storage = harness.storage();
    let layouts: Vec<Layout> = (1..=10).map(|cells| Layout::new(0, cells)).collect();
    let claims = layouts.iter().map(|layout| claim(&*storage, *layout));
    let found = join_all(claims).await;
    let one = &found[0];
    assert!(found.iter().all(|other| other == one), "{found:?}");
    assert!(layouts.iter().any(|layout| layout.to_string() == *one));
    assert_eq!(claim(&*storage, Layout::new(5, 9)).await, *one);
}

/// A full backend keeps it, so that a program can start that runs its jobs.
pub async fn a_full_backend_keeps_a_layout(harness: &dyn Harness) {
    let storage = harness.storage();
    harness.fill().await;
    let layout = Layout::new(0, 2);
    for _ in 0..2 {
        assert_eq!(claim(&*storage, layout).await, layout.to_string());
    }
    harness.make_room().await;
    assert_eq!(
        claim(&*storage, Layout::new(1, 2)).await,
        layout.to_string()
    );
}

async fn claim(storage: &dyn Storage, layout: Layout) -> String {
    storage.claim_layout(&layout.to_string()).await.unwrap()
}
