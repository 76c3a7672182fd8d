//! The `dead` set and its caps.

use std::time::Duration;

use verk_core::storage::{DeadLimits, DueSet, JobSet, Promotion, PromotionTarget, Settled, Target};

use super::{
    Harness,
    fixture::{AT_0, Fixture, NO_LIMITS, assert_done, at, bytes, dead, due, job, settlement},
};

/// A dead job is in the set with its last payload and its time.
pub async fn dead_moves_the_job(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    assert_done(&fixture.settle(&["a"], dead(5, "a, dead")).await);
    assert_eq!(fixture.in_progress().await, bytes(&[]));
    assert_eq!(
        fixture.members(JobSet::Dead).await,
        [(AT_0 + 5.0, job("a, dead"))]
    );
}

/// Equal bytes are one member, and the caller is told.
pub async fn an_equal_member_is_merged(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "a"]).await;
    assert_done(&fixture.settle(&["a"], dead(1, "a")).await);
    let settled = fixture.settle(&["a"], dead(2, "a")).await;
    assert!(matches!(settled[..], [Settled::Merged]), "{settled:?}");
    assert_eq!(
        fixture.members(JobSet::Dead).await,
        [(AT_0 + 2.0, job("a"))]
    );
}

/// Beyond the greatest count, the oldest go.
pub async fn the_oldest_go_beyond_the_count(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b", "c", "d"]).await;
    let limits = DeadLimits {
        max_jobs: 2,
        ..NO_LIMITS
    };
    for (seconds, payload) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        let job = due(seconds, payload);
        let settled = fixture
            .settle(&[payload], Target::Dead { job, limits })
            .await;
        assert_done(&settled);
    }
    assert_eq!(
        fixture.members(JobSet::Dead).await,
        [(AT_0 + 3.0, job("c")), (AT_0 + 4.0, job("d"))]
    );
}

/// What is older than the time-out goes with the next burial.
pub async fn old_jobs_go(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["old", "young", "new"]).await;
    let settled = fixture
        .settle_each(&[
            settlement("old", dead(0, "old")),
            settlement("young", dead(500, "young")),
        ])
        .await;
    assert_done(&settled);
    let limits = DeadLimits {
        timeout: Duration::from_secs(600),
        ..NO_LIMITS
    };
    let job_at = due(1_000, "new");
    assert_done(
        &fixture
            .settle(
                &["new"],
                Target::Dead {
                    job: job_at,
                    limits,
                },
            )
            .await,
    );
    assert_eq!(
        fixture.members(JobSet::Dead).await,
        [(AT_0 + 500.0, job("young")), (AT_0 + 1_000.0, job("new"))]
    );
}

/// A time-out that reaches beyond 1970 removes nothing.
pub async fn a_very_long_timeout_keeps_all(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b"]).await;
    let limits = DeadLimits {
        max_jobs: usize::MAX,
        timeout: Duration::MAX,
    };
    for payload in ["a", "b"] {
        let job = due(1, payload);
        let settled = fixture
            .settle(&[payload], Target::Dead { job, limits })
            .await;
        assert_done(&settled);
    }
    assert_eq!(fixture.storage.set_len(JobSet::Dead).await.unwrap(), 2);
}

/// A batch that buries more than the cap leaves the cap.
pub async fn a_batch_is_capped(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b", "c"]).await;
    let limits = DeadLimits {
        max_jobs: 1,
        ..NO_LIMITS
    };
    let settlements = [(1, "a"), (2, "b"), (3, "c")].map(|(seconds, payload)| {
        let job = due(seconds, payload);
        settlement(payload, Target::Dead { job, limits })
    });
    assert_done(&fixture.settle_each(&settlements).await);
    assert_eq!(
        fixture.members(JobSet::Dead).await,
        [(AT_0 + 3.0, job("c"))]
    );
}

/// Jobs that are buried from a due set are capped too.
pub async fn promotion_to_dead_is_capped(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    assert_done(&fixture.settle(&["a"], dead(1, "a")).await);
    let bad = due(2, "no queue");
    fixture.storage.schedule(&[bad]).await.unwrap();
    let promotion = Promotion {
        held: job("no queue"),
        to: PromotionTarget::Dead {
            job: due(3, "no queue"),
            limits: DeadLimits {
                max_jobs: 1,
                ..NO_LIMITS
            },
        },
    };
    let settled = fixture
        .storage
        .promote(DueSet::Schedule, at(10), &[promotion])
        .await;
    assert_done(&settled);
    assert_eq!(
        fixture.members(JobSet::Dead).await,
        [(AT_0 + 3.0, job("no queue"))]
    );
}
