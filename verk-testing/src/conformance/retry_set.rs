//! The `retry` set: members ordered by time, equal bytes once.

use verk_core::storage::{JobSet, Page, Settled, Source, Target};

use super::{
    Harness, ScoredJob,
    fixture::{
        AT_0, Fixture, assert_done, bytes, due, job, of_many_sizes, read_in_pages, settlement,
    },
};

/// A failed job is in the set with its new payload and its time.
pub async fn retry_moves_the_job(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let settled = fixture.settle(&["a"], Target::Retry(due(5, "a 1"))).await;
    assert_done(&settled);
    assert_eq!(fixture.in_progress().await, bytes(&[]));
    assert_eq!(
        fixture.members(JobSet::Retry).await,
        [(AT_0 + 5.0, job("a 1"))]
    );
}

/// Times keep their fraction.
pub async fn a_score_keeps_its_fraction(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let mut later = due(5, "a");
    later.at += std::time::Duration::from_millis(250);
    assert_done(&fixture.settle(&["a"], Target::Retry(later)).await);
    assert_eq!(
        fixture.members(JobSet::Retry).await,
        [(AT_0 + 5.25, job("a"))]
    );
}

/// Members are ordered by time, and by bytes at the same time.
pub async fn members_are_ordered_by_score(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b", "c", "d"]).await;
    let settled = fixture
        .settle_each(&[
            settlement("a", Target::Retry(due(3, "a"))),
            settlement("b", Target::Retry(due(1, "b"))),
            settlement("d", Target::Retry(due(2, "d"))),
            settlement("c", Target::Retry(due(2, "c"))),
        ])
        .await;
    assert_done(&settled);
    let order: Vec<_> = fixture
        .members(JobSet::Retry)
        .await
        .into_iter()
        .map(|(_, job)| job)
        .collect();
    assert_eq!(order, bytes(&["b", "c", "d", "a"]));
}

/// A member with equal bytes is replaced, and the answer says so.
pub async fn an_equal_member_is_merged(harness: &dyn Harness) {
    for (set, target) in [
        (JobSet::Retry, Target::Retry as fn(_) -> _),
        (JobSet::Schedule, Target::Schedule as fn(_) -> _),
    ] {
        let fixture = Fixture::holding(harness, &["a", "a"]).await;
        assert_done(&fixture.settle(&["a"], target(due(1, "a"))).await);
        let settled = fixture.settle(&["a"], target(due(2, "a"))).await;
        assert!(matches!(settled[..], [Settled::Merged]), "{settled:?}");
        assert_eq!(fixture.members(set).await, [(AT_0 + 2.0, job("a"))]);
        assert_eq!(fixture.in_progress().await, bytes(&[]));
    }
}

/// Equal members within one batch are merged as well.
pub async fn equal_members_in_one_batch_are_merged(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b"]).await;
    let settled = fixture
        .settle(&["a", "b"], Target::Retry(due(1, "same")))
        .await;
    assert!(
        matches!(settled[..], [Settled::Done, Settled::Merged]),
        "{settled:?}"
    );
    assert_eq!(fixture.set_len(JobSet::Retry).await, 1);
    assert_eq!(fixture.in_progress().await, bytes(&[]));
}

/// A set has a size and is read in pages, the lowest score first.
pub async fn a_set_is_read_in_pages(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b", "c"]).await;
    for (seconds, payload) in [(1, "a"), (2, "b"), (3, "c")] {
        let settled = fixture
            .settle(&[payload], Target::Retry(due(seconds, payload)))
            .await;
        assert_done(&settled);
    }
    assert_eq!(fixture.set_len(JobSet::Retry).await, 3);
    for (offset, limit, expected) in [
        (0, 2, &["a", "b"][..]),
        (2, 2, &["c"]),
        (3, 2, &[]),
        (0, 0, &[]),
        (1, 0, &[]),
        (usize::MAX, usize::MAX, &[]),
    ] {
        let page = Page { offset, limit };
        let read = fixture
            .storage
            .list(&Source::Set(JobSet::Retry), &page.into())
            .await;
        let read: Vec<_> = read
            .unwrap()
            .jobs
            .into_iter()
            .map(|member| member.job)
            .collect();
        assert_eq!(read, bytes(expected), "{page:?}");
    }
}

/// The three sets are three.
pub async fn sets_are_apart(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    assert_done(&fixture.settle(&["a"], Target::Retry(due(1, "a"))).await);
    for (set, len) in [(JobSet::Retry, 1), (JobSet::Schedule, 0), (JobSet::Dead, 0)] {
        assert_eq!(fixture.set_len(set).await, len);
        assert_eq!(fixture.members(set).await.len(), len);
    }
}

/// A page has at most 1 MiB, and at least one job; the rest is in the pages after it.
pub async fn a_page_is_bounded_by_bytes(harness: &dyn Harness) {
    let storage = harness.storage();
    let all = of_many_sizes();
    for (second, job) in (0_u32..).zip(&all) {
        let (score, job) = (f64::from(second), job.clone());
        harness
            .add_member(JobSet::Retry, ScoredJob { score, job })
            .await;
    }
    let read = read_in_pages(async |page| {
        let members = storage
            .list(&Source::Set(JobSet::Retry), &page.into())
            .await
            .unwrap()
            .jobs;
        members.into_iter().map(|member| member.job).collect()
    });
    assert_eq!(read.await, all);
}
