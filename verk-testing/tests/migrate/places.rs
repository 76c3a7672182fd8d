//! What moves, and the counts.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use verk_core::{
    manage::{LeftReason, MigrateError, Migrated, PauseNote},
    storage::{JobSet, Move, MoveTarget, Source},
};

use crate::{Fleet, QUEUES, name, payload};

#[tokio::test]
async fn all_that_waits_moves_as_it_is() {
    for (from, to) in [(1, 1), (1, 3), (3, 1), (3, 4)] {
        let (source, target) = (Fleet::of(from), Fleet::of(to));
        source.fill().await;
        // More than a page, and payloads that are no jobs.
        for number in 0..250 {
            source.push("mailers", &format!("more-{number}")).await;
            let score = f64::from(number) / 4.0;
            let jid = format!("late-{number}");
            source.add(JobSet::Dead, score, "low", &jid).await;
        }
        let broken = [Bytes::from("not a job"), Bytes::from(vec![b'x'; 700_000])];
        let (queue, view) = (name("low"), &source.view);
        view.enqueue(&queue, &broken).await.unwrap();
        let before = source.jobs().await;
        let all = source.count().await as u64;

        let preview = source.admin.migrate_to(&target.admin).preview().await;
        assert_eq!(preview.unwrap().left(), all);
        assert_eq!(
            (target.count().await, source.count().await as u64),
            (0, all)
        );

        let report = source.migrate(&target).await.unwrap();
        assert_eq!((report.moved(), report.left()), (all, 0));
        assert!(report.is_complete() && !report.resumed, "{report:?}");
        for place in &report.places {
            assert_eq!((place.found, place.before), (place.moved, 0), "{place:?}");
            assert_eq!(place.after, place.moved, "{place:?}");
        }
        assert_eq!(source.count().await, 0);
        assert_eq!(target.jobs().await, before, "{from} to {to}");
        // The source stays paused, and no mark is left.
        let mut paused = QUEUES.map(ToOwned::to_owned);
        paused.sort();
        assert_eq!(source.paused().await, paused);
        assert_eq!(target.paused().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_migration_and_the_way_back_and_again() {
    let (one, other) = (Fleet::of(1), Fleet::of(3));
    one.fill().await;
    let before = one.jobs().await;
    for _ in 0..2 {
        assert!(one.migrate(&other).await.unwrap().is_complete());
        assert_eq!((one.count().await, other.jobs().await), (0, before.clone()));
        assert!(other.migrate(&one).await.unwrap().is_complete());
        assert_eq!((one.jobs().await, other.count().await), (before.clone(), 0));
        assert_eq!(one.paused().await, [""; 0], "its jobs run again");
    }
}

#[tokio::test]
async fn the_pauses_of_operators_move() {
    let (source, target) = (Fleet::of(1), Fleet::of(3));
    source.fill().await;
    let note = PauseNote::new().by("bea").reason("it fails");
    source.admin.pause_queue("low", note).await.unwrap();
    let report = source.migrate(&target).await.unwrap();
    assert_eq!(report.paused, [name("low")]);
    assert_eq!(target.paused().await, ["low"]);
    let pauses = target.admin.pauses().await.unwrap();
    assert_eq!(pauses[0].by.as_deref(), Some("bea"));
    let of_source = source.admin.pauses().await.unwrap();
    let reason = |queue: &str| {
        let pause = of_source.iter().find(|pause| pause.queue.as_str() == queue);
        pause.unwrap().reason.clone().unwrap()
    };
    assert_eq!(reason("low"), "it fails");
    assert!(reason("default").starts_with("its jobs move to "));
}

#[tokio::test]
async fn a_storage_does_not_migrate_to_itself() {
    let source = Fleet::of(3);
    source.fill().await;
    let before = source.jobs().await;
    let error = source.migrate(&source).await.unwrap_err();
    assert!(matches!(error, MigrateError::SameStorage), "{error}");
    // A part of it is the target.
    let part = Fleet::of_memories(vec![source.memories[1].clone()]);
    let error = source.migrate(&part).await.unwrap_err();
    assert!(matches!(error, MigrateError::SameStorage), "{error}");
    assert_eq!(source.jobs().await, before);
    assert_eq!(source.paused().await, [""; 0]);
}

#[tokio::test]
async fn equal_jobs_move_one_in_each_run() {
    let (source, target) = (Fleet::of(1), Fleet::of(3));
    for _ in 0..3 {
        source.push("default", "twice").await;
    }
    source.add(JobSet::Dead, 7.0, "default", "twice").await;
    let (queue, job) = (name("default"), payload("default", "twice"));
    let other = Bytes::from(
        String::from_utf8(job.to_vec())
            .unwrap()
            .replace("Welcome", "Bye"),
    );
    source.view.enqueue(&queue, &[other]).await.unwrap();
    let mut left = vec![5];
    while left.last() != Some(&0) {
        let report = source.migrate(&target).await.unwrap();
        assert_eq!(report.left.len() as u64, report.left());
        for job in &report.left {
            assert!(matches!(job.reason, LeftReason::Equal | LeftReason::SameId));
            assert_eq!(job.id, "twice");
        }
        left.push(report.left());
        assert_eq!(source.count().await + target.count().await, 5);
    }
    assert_eq!(left, [5, 4, 3, 2, 1, 0]);
}

#[tokio::test]
async fn a_due_job_that_the_source_still_moves_is_not_doubled() {
    let (source, target) = (Fleet::of(1), Fleet::of(3));
    source.add(JobSet::Schedule, 5.0, "default", "due").await;
    source.add(JobSet::Retry, 6.0, "default", "again").await;
    // A node moves a due job while its page is copied: before the first report of progress.
    let move_due = |set: JobSet, jid: &'static str| {
        let storage = source.memories[0].clone();
        async move {
            let queued = format!(
                r#"{{"class":"Welcome","jid":"{jid}","queue":"default","args":[1.5],"enqueued_at":9}}"#
            );
            let to = MoveTarget::Queue {
                queue: name("default"),
                job: Bytes::from(queued),
            };
            let step = Move::new(payload("default", jid), to);
            use verk_core::storage::WaitingStore as _;
            storage.move_jobs(&Source::Set(set), &[step], None).await
        }
    };
    // The copy is made, and the run fails before the deletion.
    source.memories[0].faults().refuse_after(2);
    source.migrate(&target).await.unwrap_err();
    source.memories[0].faults().set_refusing(false);
    assert_eq!((source.count().await, target.count().await), (2, 1));
    move_due(JobSet::Schedule, "due").await;
    move_due(JobSet::Retry, "again").await;
    let report = source.migrate(&target).await.unwrap();
    assert!(report.is_complete() && report.resumed, "{report:?}");
    assert_eq!((source.count().await, target.count().await), (0, 2));
}

#[tokio::test]
async fn it_reports_its_progress_and_ends_when_asked_to() {
    let (source, target) = (Fleet::of(1), Fleet::of(3));
    for number in 0..350 {
        source.push("default", &format!("{number}")).await;
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let pages = Arc::new(AtomicUsize::new(0));
    let (sink, counted) = (Arc::clone(&seen), Arc::clone(&pages));
    let migration = source.admin.migrate_to(&target.admin);
    let migration = migration.progress(move |progress| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert_eq!(progress.of, 350);
        sink.lock().unwrap().push(progress.done);
    });
    let migration = migration.until(move || pages.load(Ordering::Relaxed) == 2);
    let report = migration.run().await.unwrap();
    assert_eq!((report.moved(), report.left()), (200, 150));
    assert!(report.stopped && !report.is_complete());
    assert_eq!(*seen.lock().unwrap(), [100, 200]);
    assert_eq!((source.count().await, target.count().await), (150, 200));
    let report = source.migrate(&target).await.unwrap();
    assert!(report.is_complete() && !report.resumed);
    let place = Migrated::Jobs(Source::Queue(name("default")));
    let counts = report.places.iter().find(|it| it.place == place).unwrap();
    assert_eq!((counts.before, counts.moved, counts.after), (200, 150, 350));
    let ids = target.run_queues().await;
    let expected: Vec<String> = (0..350).map(|number| number.to_string()).collect();
    let mut all = ids;
    while all.len() < 350 {
        all.extend(target.run_queues().await);
    }
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_task_may_run_a_migration() {
    let (source, target) = (Fleet::of(1), Fleet::of(3));
    source.fill().await;
    let (from, to) = (source.admin.clone(), target.admin.clone());
    let task = tokio::spawn(async move { from.migrate_to(&to).run().await });
    let report = task.await.unwrap().unwrap();
    assert!(report.is_complete(), "{report:?}");
}
