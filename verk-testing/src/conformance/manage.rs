//! An operator's work on waiting jobs: searches, moves, clears.

use std::time::Duration;

use bytes::Bytes;
use verk_core::{
    error::Applied,
    storage::{Cleared, DeadLimits, Due, DueSet, JobSet, Move, MoveTarget, Settled, Source},
};

use super::{
    Harness, ScoredJob,
    fixture::{
        ALL, AT_0, Fixture, NO_LIMITS, assert_done, assert_failed, assert_not_held, assert_refused,
        at, bytes, dequeue_while, due, job, members, numbered, queue_name, queue_page,
    },
};
use crate::{Key, Operation};

const RETRY: Source = Source::Set(JobSet::Retry);

fn default_queue() -> Source {
    Source::Queue(queue_name("default"))
}

fn step(held: &str, to: MoveTarget) -> Move {
    Move::new(job(held), to)
}

fn delete(held: &str) -> Move {
    step(held, MoveTarget::Delete)
}

fn to_queue(queue: &str, payload: &str) -> MoveTarget {
    MoveTarget::Queue {
        queue: queue_name(queue),
        job: job(payload),
    }
}

fn to_set(set: DueSet, seconds: u64, payload: &str) -> MoveTarget {
    MoveTarget::Set {
        set,
        job: due(seconds, payload),
    }
}

fn to_dead(seconds: u64, payload: &str) -> MoveTarget {
    MoveTarget::Dead {
        job: due(seconds, payload),
        limits: NO_LIMITS,
    }
}

/// Every target, for a job that becomes `payload`.
fn every_target(payload: &str) -> [MoveTarget; 5] {
    [
        MoveTarget::Delete,
        to_queue("low", payload),
        to_set(DueSet::Retry, 1, payload),
        to_set(DueSet::Schedule, 1, payload),
        to_dead(1, payload),
    ]
}

async fn add(harness: &dyn Harness, set: JobSet, jobs: &[&str]) {
    for payload in jobs {
        let (score, job) = (AT_0, job(payload));
        harness.add_member(set, ScoredJob { score, job }).await;
    }
}

/// From each set and from a queue, a job goes to each target.
pub async fn jobs_move_from_everywhere_to_everywhere(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let sets = [JobSet::Schedule, JobSet::Retry, JobSet::Dead];
    let sources = sets
        .map(Source::Set)
        .into_iter()
        .chain([Source::Queue(queue_name("default"))]);
    for source in sources {
        for (number, target) in every_target("new").into_iter().enumerate() {
            match &source {
                Source::Queue(_) => fixture.enqueue(&["old"]).await,
                Source::Set(set) => add(harness, *set, &["old"]).await,
            }
            let moves = [step("old", target)];
            assert_done(&fixture.storage.move_jobs(&source, &moves, None).await);
            let low = queue_page(&*fixture.storage, &queue_name("low"), ALL).await;
            let mut expected = vec![bytes(&[]); 4];
            if number > 0 {
                expected[number - 1] = bytes(&["new"]);
            }
            let mut found = vec![low];
            for (set, score) in [
                (JobSet::Retry, AT_0 + 1.0),
                (JobSet::Schedule, AT_0 + 1.0),
                (JobSet::Dead, AT_0 + 1.0),
            ] {
                let members = fixture.members(set).await;
                assert!(members.iter().all(|member| member.0 == score));
                found.push(members.into_iter().map(|member| member.1).collect());
            }
            assert_eq!(found, expected, "{source:?} {number}");
            assert_eq!(fixture.queued().await, bytes(&[]), "{source:?} {number}");
            for source in [
                Source::Queue(queue_name("low")),
                Source::Set(JobSet::Retry),
                Source::Set(JobSet::Schedule),
                Source::Set(JobSet::Dead),
            ] {
                fixture.storage.clear(&source).await.unwrap();
            }
        }
    }
}

/// Answers are in the order of the moves, and a move of a missing job has no effect.
pub async fn what_is_gone_is_not_moved(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    add(harness, JobSet::Retry, &["a", "c"]).await;
    let moves = [
        step("a", to_queue("default", "a, again")),
        step("b", to_queue("default", "b, again")),
        step("a", to_dead(1, "a")),
        step("c", to_dead(1, "c")),
    ];
    let moved = fixture.storage.move_jobs(&RETRY, &moves, None).await;
    assert!(
        matches!(
            moved[..],
            [
                Settled::Done,
                Settled::NotHeld,
                Settled::NotHeld,
                Settled::Done
            ]
        ),
        "{moved:?}"
    );
    assert_eq!(fixture.queued().await, bytes(&["a, again"]));
    assert_eq!(
        fixture.members(JobSet::Dead).await,
        [(AT_0 + 1.0, job("c"))]
    );

    let before = harness.dump().await;
    assert_not_held(&fixture.storage.move_jobs(&RETRY, &moves, None).await);
    assert_eq!(harness.dump().await, before);
    assert!(
        fixture
            .storage
            .move_jobs(&RETRY, &[], None)
            .await
            .is_empty()
    );
    assert_eq!(harness.dump().await, before);
}

/// A move that two callers ask for at once happens once.
pub async fn moving_at_once_is_done_once(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let jobs: Vec<String> = (0..300).map(|number| format!("job {number}")).collect();
    let names: Vec<&str> = jobs.iter().map(String::as_str).collect();
    add(harness, JobSet::Retry, &names).await;
    let moves: Vec<Move> = names
        .iter()
        .map(|name| step(name, to_queue("default", name)))
        .collect();
    let (one, other) = tokio::join!(
        fixture.storage.move_jobs(&RETRY, &moves, None),
        fixture.storage.move_jobs(&RETRY, &moves, None),
    );
    for (one, other) in one.iter().zip(&other) {
        assert!(
            matches!(
                (one, other),
                (Settled::Done, Settled::NotHeld) | (Settled::NotHeld, Settled::Done)
            ),
            "{one:?} {other:?}"
        );
    }
    assert_eq!(fixture.queued().await.len(), 300);
    assert_eq!(fixture.members(JobSet::Retry).await, []);
}

/// Of equal jobs in a queue, one is moved at a time: the next to be fetched, if it is one of them,
/// else the newest.
pub async fn equal_jobs_of_a_queue_are_moved_one_by_one(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a", "b", "a", "c", "a", "d"]).await;
    let queue = default_queue();
    assert_done(
        &fixture
            .storage
            .move_jobs(&queue, &[delete("a")], None)
            .await,
    );
    let left = bytes(&["b", "a", "c", "a", "d"]);
    assert_eq!(fixture.queued().await, left);
    let newest = [delete("a")];
    assert_done(&fixture.storage.move_jobs(&queue, &newest, None).await);
    assert_eq!(fixture.queued().await, bytes(&["b", "a", "c", "d"]));
    fixture.enqueue(&["a"]).await;
    let moves = [delete("a"), step("a", to_dead(1, "a")), delete("a")];
    let moved = fixture.storage.move_jobs(&queue, &moves, None).await;
    assert_done(&moved[..2]);
    assert_not_held(&moved[2..]);
    assert_eq!(fixture.queued().await, bytes(&["b", "c", "d"]));
}

/// With a time, only members that are due by then move, wherever to; a job in a queue always does.
pub async fn only_what_is_due_moves(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &fixture.storage;
    let before = at(0) - Duration::from_secs(1);
    let replace = MoveTarget::Replace { job: job("new") };
    for target in every_target("new").into_iter().chain([replace]) {
        add(harness, JobSet::Dead, &["old"]).await;
        let dead = Source::Set(JobSet::Dead);
        let moves = [step("old", target)];
        assert_not_held(&storage.move_jobs(&dead, &moves, Some(before)).await);
        assert_eq!(fixture.members(JobSet::Dead).await, [(AT_0, job("old"))]);
        assert_done(&storage.move_jobs(&dead, &moves, Some(at(0))).await);
        for source in [dead, RETRY, Source::Set(JobSet::Schedule)] {
            storage.clear(&source).await.unwrap();
        }
    }
    fixture.enqueue(&["a"]).await;
    let moves = [delete("a")];
    let queue = default_queue();
    assert_done(&storage.move_jobs(&queue, &moves, Some(before)).await);
}

/// A member that stays in its set gets the new time, once.
pub async fn a_member_gets_another_time(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    add(harness, JobSet::Retry, &["a", "b"]).await;
    let later = [step("a", to_set(DueSet::Retry, 60, "a"))];
    assert_done(&fixture.storage.move_jobs(&RETRY, &later, None).await);
    let expected = [(AT_0, job("b")), (AT_0 + 60.0, job("a"))];
    assert_eq!(fixture.members(JobSet::Retry).await, expected);
    assert_not_held(&fixture.storage.move_jobs(&RETRY, &later, None).await);
    assert_eq!(fixture.members(JobSet::Retry).await, expected);

    let gone = [step("c", to_set(DueSet::Retry, 60, "c"))];
    assert_not_held(&fixture.storage.move_jobs(&RETRY, &gone, None).await);
    assert_eq!(fixture.members(JobSet::Retry).await, expected);

    // With other bytes it replaces the old one.
    let changed = [step("b", to_set(DueSet::Retry, 60, "b, changed"))];
    assert_done(&fixture.storage.move_jobs(&RETRY, &changed, None).await);
    assert_eq!(
        fixture.members(JobSet::Retry).await,
        [(AT_0 + 60.0, job("a")), (AT_0 + 60.0, job("b, changed"))]
    );

    let dead = Source::Set(JobSet::Dead);
    add(harness, JobSet::Dead, &["d"]).await;
    let again = [step("d", to_dead(60, "d"))];
    assert_done(&fixture.storage.move_jobs(&dead, &again, None).await);
    assert_not_held(&fixture.storage.move_jobs(&dead, &again, None).await);
    assert_eq!(
        fixture.members(JobSet::Dead).await,
        [(AT_0 + 60.0, job("d"))]
    );
}

/// Equal bytes are one member, and the answer says so.
pub async fn an_equal_member_is_merged(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    add(harness, JobSet::Retry, &["a"]).await;
    add(harness, JobSet::Dead, &["a"]).await;
    let moves = [step("a", to_dead(5, "a"))];
    let moved = fixture.storage.move_jobs(&RETRY, &moves, None).await;
    assert!(matches!(moved[..], [Settled::Merged]), "{moved:?}");
    assert_eq!(fixture.members(JobSet::Retry).await, []);
    assert_eq!(
        fixture.members(JobSet::Dead).await,
        [(AT_0 + 5.0, job("a"))]
    );
}

/// Jobs that an operator buries are capped too.
pub async fn burials_are_capped(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    add(harness, JobSet::Dead, &["old"]).await;
    fixture.enqueue(&["a", "b"]).await;
    let limits = DeadLimits {
        max_jobs: 2,
        ..NO_LIMITS
    };
    let moves = [(1, "a"), (2, "b")].map(|(seconds, payload)| {
        let job = due(seconds, payload);
        step(payload, MoveTarget::Dead { job, limits })
    });
    assert_done(
        &fixture
            .storage
            .move_jobs(&default_queue(), &moves, None)
            .await,
    );
    assert_eq!(
        fixture.members(JobSet::Dead).await,
        [(AT_0 + 1.0, job("a")), (AT_0 + 2.0, job("b"))]
    );
}

/// If a dead job is buried again, with the same bytes or others, no other job is deleted.
pub async fn a_second_burial_drops_no_other(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let dead = Source::Set(JobSet::Dead);
    for (seconds, payload) in [(1.0, "a"), (2.0, "b")] {
        let member = ScoredJob {
            score: AT_0 + seconds,
            job: job(payload),
        };
        harness.add_member(JobSet::Dead, member).await;
    }
    for payload in ["b", "changed"] {
        let to = MoveTarget::Dead {
            job: due(3, payload),
            limits: DeadLimits {
                max_jobs: 2,
                ..NO_LIMITS
            },
        };
        let moved = fixture
            .storage
            .move_jobs(&dead, &[step("b", to)], None)
            .await;
        assert_done(&moved);
        let expected = [(AT_0 + 1.0, job("a")), (AT_0 + 3.0, job(payload))];
        assert_eq!(fixture.members(JobSet::Dead).await, expected);
    }
}

/// A job that an operator puts into a queue makes the queue known, and is fetched at once.
pub async fn a_moved_job_wakes_a_dequeue(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    add(harness, JobSet::Dead, &["a"]).await;
    let fetched = dequeue_while(&mut fixture, async |storage| {
        let moves = [step("a", to_queue("default", "a, again"))];
        let dead = Source::Set(JobSet::Dead);
        assert_done(&storage.move_jobs(&dead, &moves, None).await);
    })
    .await;
    assert_eq!(fetched, bytes(&["a, again"]));
    let queues = fixture.storage.queues().await.unwrap();
    assert_eq!(queues, [queue_name("default")]);
}

/// A call of any size is done, whatever the bytes are.
pub async fn ten_thousand_moves(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let mut jobs = numbered(10_000);
    jobs[7] = Bytes::new();
    jobs[8] = Bytes::from_static(b"123");
    jobs[9] = Bytes::from_static(b"\xff\x00\r\n");
    let all: Vec<Due> = jobs
        .iter()
        .map(|job| Due {
            at: at(0),
            job: job.clone(),
        })
        .collect();
    fixture.storage.schedule(&all).await.unwrap();
    let moves: Vec<Move> = jobs
        .iter()
        .map(|job| {
            Move::new(
                job.clone(),
                MoveTarget::Queue {
                    queue: fixture.held.queue.clone(),
                    job: job.clone(),
                },
            )
        })
        .collect();
    let schedule = Source::Set(JobSet::Schedule);
    assert_done(&fixture.storage.move_jobs(&schedule, &moves, None).await);
    assert_eq!(fixture.queued().await, jobs);

    let deletions: Vec<Move> = jobs
        .into_iter()
        .rev()
        .map(|held| Move::new(held, MoveTarget::Delete))
        .collect();
    assert_done(
        &fixture
            .storage
            .move_jobs(&default_queue(), &deletions, None)
            .await,
    );
    assert_eq!(fixture.queued().await, bytes(&[]));
}

/// Clears one place, and nothing else.
pub async fn clear_removes_all_of_one_place(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let other = queue_name("other");
    fixture.enqueue(&["a", "b", "a"]).await;
    fixture
        .storage
        .enqueue(&other, &bytes(&["c"]))
        .await
        .unwrap();
    add(harness, JobSet::Retry, &["a", "b"]).await;
    add(harness, JobSet::Dead, &["a"]).await;

    let storage = &fixture.storage;
    assert_eq!(
        storage.clear(&default_queue()).await.unwrap(),
        Cleared::Jobs(3)
    );
    assert_eq!(
        storage.queues().await.unwrap(),
        std::slice::from_ref(&other)
    );
    assert_eq!(fixture.queued().await, bytes(&[]));
    assert_eq!(storage.len(&Source::Queue(other.clone())).await.unwrap(), 1);
    assert_eq!(storage.clear(&RETRY).await.unwrap(), Cleared::Jobs(2));
    assert_eq!(members(&**storage, JobSet::Retry).await, []);
    assert_eq!(storage.len(&Source::Set(JobSet::Dead)).await.unwrap(), 1);
    assert_eq!(
        storage.clear(&default_queue()).await.unwrap(),
        Cleared::Jobs(0)
    );
    assert_eq!(storage.clear(&RETRY).await.unwrap(), Cleared::Jobs(0));

    fixture.enqueue(&["again"]).await;
    let queues = [queue_name("default"), other];
    assert_eq!(storage.queues().await.unwrap(), queues);
}

/// Jobs whose target is broken stay where they are; the others of the batch go.
pub async fn a_broken_target_fails_only_its_moves(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    add(harness, JobSet::Retry, &["a", "b", "c", "d"]).await;
    let broken = [
        Key::Queue(queue_name("low")),
        Key::Set(JobSet::Dead),
        Key::Set(JobSet::Schedule),
    ];
    for key in &broken {
        harness.break_key(key).await;
    }
    let moves = [
        step("a", to_queue("low", "a")),
        step("b", to_dead(1, "b")),
        step("c", to_set(DueSet::Schedule, 1, "c")),
        step("d", to_queue("default", "d")),
    ];
    let moved = fixture.storage.move_jobs(&RETRY, &moves, None).await;
    for failed in &moved[..3] {
        assert_failed(failed, Applied::NotApplied);
    }
    assert_done(&moved[3..]);
    for key in &broken {
        harness.mend_key(key).await;
    }
    assert_eq!(fixture.set_len(JobSet::Retry).await, 3);
    assert_eq!(fixture.queued().await, bytes(&["d"]));
    assert_done(&fixture.storage.move_jobs(&RETRY, &moves[..3], None).await);
}

/// A key of another type is refused, and does not change.
pub async fn a_broken_source_refuses(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    add(harness, JobSet::Retry, &["a"]).await;
    fixture.enqueue(&["a"]).await;
    let queue = fixture.held.queue.clone();
    let sources = [
        (Key::Set(JobSet::Retry), RETRY),
        (Key::Queue(queue.clone()), default_queue()),
    ];
    for (key, source) in sources {
        harness.break_key(&key).await;
        let moved = fixture
            .storage
            .move_jobs(&source, &[delete("a")], None)
            .await;
        assert_failed(&moved[0], Applied::NotApplied);
        let cleared = fixture.storage.clear(&source).await;
        assert_refused(cleared, Applied::NotApplied);
        let storage = &fixture.storage;
        assert_refused(storage.len(&source).await, Applied::NotApplied);
        assert_refused(
            storage.list(&source, &ALL.into()).await,
            Applied::NotApplied,
        );
        assert_refused(storage.scan(&source, 0, &[]).await, Applied::NotApplied);
        harness.mend_key(&key).await;
        assert_done(
            &fixture
                .storage
                .move_jobs(&source, &[delete("a")], None)
                .await,
        );
    }
}

/// An operator can empty a backend that is full.
pub async fn a_full_backend_moves(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let jobs = ["a", "b", "c", "d", "e"];
    add(harness, JobSet::Dead, &jobs).await;
    fixture.enqueue(&jobs).await;
    harness.fill().await;
    for source in [Source::Set(JobSet::Dead), default_queue()] {
        let moves: Vec<Move> = jobs
            .iter()
            .zip(every_target("moved"))
            .map(|(held, to)| step(held, to))
            .collect();
        for settled in fixture.storage.move_jobs(&source, &moves, None).await {
            assert!(
                matches!(settled, Settled::Done | Settled::Merged),
                "{settled:?}"
            );
        }
        fixture.storage.clear(&source).await.unwrap();
    }
    harness.make_room().await;
}

/// After a lost reply the moves are done, and a second call does nothing.
pub async fn a_lost_reply_to_a_move_is_done_once(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    add(harness, JobSet::Retry, &["a", "b"]).await;
    // Prepares what is prepared at first use.
    assert_done(
        &fixture
            .storage
            .move_jobs(&RETRY, &[delete("a")], None)
            .await,
    );
    harness.lose_reply(Operation::MoveJobs).await;
    let moves = [step("b", to_queue("default", "b"))];
    let lost = fixture.storage.move_jobs(&RETRY, &moves, None).await;
    assert_failed(&lost[0], Applied::Unknown);
    assert_not_held(&fixture.storage.move_jobs(&RETRY, &moves, None).await);
    assert_eq!(fixture.queued().await, bytes(&["b"]));
}
