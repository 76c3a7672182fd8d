//! Jobs that are replaced where they wait.

use bytes::Bytes;
use verk_core::storage::{JobSet, Move, MoveTarget, Settled, Source};

use super::{
    Harness, ScoredJob,
    fixture::{Fixture, assert_done, bytes, job, numbered},
};
use crate::Key;

/// A new payload is fetched when the old one would have been.
pub async fn a_replacement_has_the_place_in_the_queue(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a", "b", "c"]).await;
    assert_done(&replace(&fixture, &queue(&fixture), &[("b", "B")]).await);
    assert_eq!(fixture.dequeue_all().await, bytes(&["a", "B", "c"]));
}

/// Of equal jobs, the next to be fetched is replaced, and only that one.
pub async fn of_equal_jobs_the_next_is_replaced(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a", "b", "a"]).await;
    let at = queue(&fixture);
    assert_done(&replace(&fixture, &at, &[("a", "A")]).await);
    assert_eq!(fixture.queued().await, bytes(&["A", "b", "a"]));
    assert_done(&replace(&fixture, &at, &[("a", "A")]).await);
    assert_eq!(fixture.queued().await, bytes(&["A", "b", "A"]));
}

/// In a set, the new payload has the score of the old one, whatever number that is.
pub async fn a_replacement_has_the_score(harness: &dyn Harness) {
    for set in SETS {
        let fixture = Fixture::new(harness).await;
        add(harness, set, -2.5, "a").await;
        add(harness, set, 1_732_387_200.123_456, "b").await;
        let replaced = replace(&fixture, &Source::Set(set), &[("a", "A"), ("b", "B")]).await;
        assert_done(&replaced);
        assert_eq!(
            fixture.members(set).await,
            [(-2.5, job("A")), (1_732_387_200.123_456, job("B"))]
        );
    }
}

/// A payload that is in the set already is stored once, and the answer says so. A job that is
/// replaced by itself stays.
pub async fn a_replacement_may_be_merged(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    add(harness, JobSet::Retry, 1.0, "a").await;
    add(harness, JobSet::Retry, 2.0, "b").await;
    let at = Source::Set(JobSet::Retry);
    assert_done(&replace(&fixture, &at, &[("a", "a")]).await);
    let replaced = replace(&fixture, &at, &[("a", "b")]).await;
    assert!(matches!(replaced[..], [Settled::Merged]), "{replaced:?}");
    assert_eq!(fixture.members(JobSet::Retry).await, [(1.0, job("b"))]);
}

/// What somebody took meanwhile is not stored again.
pub async fn a_job_that_is_gone_is_not_replaced(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    add(harness, JobSet::Schedule, 1.0, "a").await;
    for at in [queue(&fixture), Source::Set(JobSet::Schedule)] {
        let replaced = replace(&fixture, &at, &[("gone", "b"), ("a", "A"), ("a", "A")]).await;
        assert!(
            matches!(
                replaced[..],
                [Settled::NotHeld, Settled::Done, Settled::NotHeld]
            ),
            "{replaced:?}"
        );
    }
    let nowhere = Source::Set(JobSet::Dead);
    let replaced = replace(&fixture, &nowhere, &[("a", "A")]).await;
    assert!(matches!(replaced[..], [Settled::NotHeld]), "{replaced:?}");
    assert_eq!(fixture.queued().await, bytes(&["A"]));
}

/// Any number of jobs can be replaced at once, in their order.
pub async fn many_jobs_are_replaced(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let jobs = numbered(250);
    fixture.enqueue_bytes(&jobs).await;
    let new: Vec<Bytes> = jobs
        .iter()
        .map(|job| [b"new ", &job[..]].concat().into())
        .collect();
    let moves: Vec<Move> = (jobs.into_iter().zip(new.iter().cloned()))
        .map(|(held, job)| replacement(held, job))
        .collect();
    assert_done(
        &fixture
            .storage
            .move_jobs(&queue(&fixture), &moves, None)
            .await,
    );
    assert_eq!(fixture.queued().await, new);
}

/// A backend without room for new jobs replaces those that it has.
pub async fn a_full_backend_replaces(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    add(harness, JobSet::Dead, 1.0, "a").await;
    harness.fill().await;
    for at in [queue(&fixture), Source::Set(JobSet::Dead)] {
        assert_done(&replace(&fixture, &at, &[("a", "something longer")]).await);
    }
    harness.make_room().await;
}

/// Where something else is, nothing is replaced.
pub async fn a_broken_place_fails_its_replacements(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    add(harness, JobSet::Retry, 1.0, "a").await;
    for (at, key) in [
        (queue(&fixture), Key::Queue(fixture.held.queue.clone())),
        (Source::Set(JobSet::Retry), Key::Set(JobSet::Retry)),
    ] {
        harness.break_key(&key).await;
        let replaced = replace(&fixture, &at, &[("a", "A")]).await;
        assert!(matches!(replaced[..], [Settled::Failed(_)]), "{replaced:?}");
        harness.mend_key(&key).await;
    }
    assert_eq!(fixture.queued().await, bytes(&["a"]));
    assert_eq!(fixture.members(JobSet::Retry).await, [(1.0, job("a"))]);
}

const SETS: [JobSet; 3] = [JobSet::Schedule, JobSet::Retry, JobSet::Dead];

fn queue(fixture: &Fixture<'_>) -> Source {
    Source::Queue(fixture.held.queue.clone())
}

async fn add(harness: &dyn Harness, set: JobSet, score: f64, payload: &str) {
    let job = job(payload);
    harness.add_member(set, ScoredJob { score, job }).await;
}

fn replacement(held: Bytes, job: Bytes) -> Move {
    let to = MoveTarget::Replace { job };
    Move::new(held, to)
}

async fn replace(fixture: &Fixture<'_>, at: &Source, jobs: &[(&str, &str)]) -> Vec<Settled> {
    let moves: Vec<Move> = jobs
        .iter()
        .map(|(held, new)| replacement(job(held), job(new)))
        .collect();
    fixture.storage.move_jobs(at, &moves, None).await
}
