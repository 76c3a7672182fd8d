//! The `dead` set and its caps.

use std::time::Duration;

use verk_core::{
    error::Applied,
    storage::{
        DeadLimits, DueSet, JobSet, MAX_BATCH_JOBS, MAX_CUT_BY_DEATH, MAX_CUT_BY_TRIM, Move,
        MoveTarget, Settled, Source, Target,
    },
};

use super::{
    Harness, ScoredJob,
    fixture::{
        AT_0, Fixture, NO_LIMITS, assert_done, assert_refused, at, bytes, dead, due, job, members,
        promote, settlement,
    },
};
use crate::Key;

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

/// Equal bytes are one member, and the answer says so.
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

/// Jobs older than the time-out are deleted with the next death.
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
    assert_eq!(fixture.set_len(JobSet::Dead).await, 2);
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

/// One death does not wait until a set that is far over its limits is cut.
pub async fn a_death_cuts_a_bounded_number(harness: &dyn Harness) {
    let over = MAX_CUT_BY_DEATH + 50;
    let fixture = Fixture::holding(harness, &["a", "b"]).await;
    add_dead(harness, 10 + over).await;
    let limits = DeadLimits {
        max_jobs: 10,
        ..NO_LIMITS
    };
    let mut expected = 10 + over;
    for payload in ["a", "b"] {
        let job = due(1_000_000, payload);
        let target = Target::Dead { job, limits };
        assert_done(&fixture.settle(&[payload], target).await);
        expected = (expected + 1).saturating_sub(MAX_CUT_BY_DEATH).max(10);
        let members = fixture.members(JobSet::Dead).await;
        assert_eq!(members.len(), expected);
        assert_eq!(members.last().unwrap().1, payload);
    }
}

/// Nor does a batch of deaths.
pub async fn a_batch_of_deaths_cuts_a_bounded_number(harness: &dyn Harness) {
    let payloads: Vec<String> = (0..MAX_BATCH_JOBS).map(|job| format!("j{job}")).collect();
    let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
    let fixture = Fixture::holding(harness, &payloads).await;
    let before = 2 * MAX_CUT_BY_TRIM;
    add_dead(harness, before).await;
    let limits = DeadLimits {
        max_jobs: 10,
        ..NO_LIMITS
    };
    let deaths: Vec<_> = payloads
        .iter()
        .map(|payload| {
            let job = due(1_000_000, payload);
            settlement(payload, Target::Dead { job, limits })
        })
        .collect();
    assert_done(&fixture.settle_each(&deaths).await);
    let after = fixture.set_len(JobSet::Dead).await;
    let cut = before + MAX_BATCH_JOBS - after;
    assert!(cut <= MAX_CUT_BY_TRIM, "{cut} jobs were cut in one step");
    assert!(after < before, "deaths make the set no larger: {after}");
}

/// A set that is over its limits is cut in steps, the oldest first.
pub async fn trimming_goes_in_steps(harness: &dyn Harness) {
    let storage = harness.storage();
    let limits = DeadLimits {
        max_jobs: 50,
        ..NO_LIMITS
    };
    assert!(!storage.trim_dead(at(0), limits).await.unwrap());
    add_dead(harness, 2 * MAX_CUT_BY_TRIM + 60).await;
    for (more, left) in [
        (true, MAX_CUT_BY_TRIM + 60),
        (true, 60),
        (false, 50),
        (false, 50),
    ] {
        let trimmed = storage.trim_dead(at(0), limits).await.unwrap();
        let found = storage.len(&Source::Set(JobSet::Dead)).await.unwrap();
        assert_eq!((trimmed, found), (more, left));
    }
    let kept = members(&*storage, JobSet::Dead).await;
    assert_eq!(
        kept[0].1,
        job(&format!("dead {}", 2 * MAX_CUT_BY_TRIM + 10))
    );
}

/// Jobs that are too old are deleted, and those that are too many; a job that is both is deleted
/// once.
pub async fn trimming_goes_by_age_and_by_count(harness: &dyn Harness) {
    let storage = harness.storage();
    // They died 10, 9, ... 1 seconds ago.
    for (max_jobs, seconds, left) in [(7, 9, 7), (100, 5, 5), (4, 5, 4), (4, 5, 4), (4, 0, 0)] {
        add_dead(harness, 10).await;
        let limits = DeadLimits {
            max_jobs,
            timeout: Duration::from_secs(seconds),
        };
        assert!(!storage.trim_dead(at(10), limits).await.unwrap());
        assert_eq!(storage.len(&Source::Set(JobSet::Dead)).await.unwrap(), left);
    }
}

/// A backend without room is trimmed as well; a key of another type is refused.
pub async fn a_full_or_broken_set_is_trimmed_or_refused(harness: &dyn Harness) {
    let storage = harness.storage();
    let limits = DeadLimits {
        max_jobs: 1,
        ..NO_LIMITS
    };
    add_dead(harness, 3).await;
    harness.break_key(&Key::Set(JobSet::Dead)).await;
    assert_refused(storage.trim_dead(at(0), limits).await, Applied::NotApplied);
    harness.mend_key(&Key::Set(JobSet::Dead)).await;
    harness.fill().await;
    assert!(!storage.trim_dead(at(0), limits).await.unwrap());
    harness.make_room().await;
    assert_eq!(storage.len(&Source::Set(JobSet::Dead)).await.unwrap(), 1);
}

/// Jobs that died a second after each other, from the fixed time on.
async fn add_dead(harness: &dyn Harness, count: usize) {
    for number in 0..count {
        let score = AT_0 + number as f64;
        let job = job(&format!("dead {number}"));
        let member = ScoredJob { score, job };
        harness.add_member(JobSet::Dead, member).await;
    }
}

/// Jobs that are buried from a due set are capped too.
pub async fn promotion_to_dead_is_capped(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    assert_done(&fixture.settle(&["a"], dead(1, "a")).await);
    let bad = due(2, "no queue");
    fixture.storage.schedule(&[bad]).await.unwrap();
    let promotion = Move::new(
        job("no queue"),
        MoveTarget::Dead {
            job: due(3, "no queue"),
            limits: DeadLimits {
                max_jobs: 1,
                ..NO_LIMITS
            },
        },
    );
    let settled = promote(&*fixture.storage, DueSet::Schedule, at(10), &[promotion]).await;
    assert_done(&settled);
    assert_eq!(
        fixture.members(JobSet::Dead).await,
        [(AT_0 + 3.0, job("no queue"))]
    );
}
