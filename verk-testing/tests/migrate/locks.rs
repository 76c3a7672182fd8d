//! Jobs that hold unique locks.

use std::time::Duration;

use verk_core::{
    EnqueueError, EnqueueExt as _, Jid, Job, OnConflict, Unique, Until,
    client::{IntoJob as _, NewJob},
    manage::{Admin, LeftReason},
    storage::{Conflict, HolderPlace, LockRef, LockedJob, Page, StoredLock},
};

use crate::{Fleet, name};

const HOUR: Duration = Duration::from_secs(3_600);

fn job(args: u32, unique: Unique) -> NewJob {
    let job = Job::new("Sync", name("default"), format!("[{args}]")).unwrap();
    job.into_job().unique(unique)
}

async fn locks(admin: &Admin) -> Vec<StoredLock> {
    let page = Page {
        offset: 0,
        limit: 100,
    };
    admin.locks(page).await.unwrap().locks
}

async fn holder(admin: &Admin, jid: &Jid) -> StoredLock {
    let locks = locks(admin).await.into_iter();
    let mut of_job = locks.filter(|lock| lock.jid == *jid);
    of_job.next().unwrap()
}

#[tokio::test]
async fn a_job_takes_its_lock_along() {
    for (from, to) in [(1, 3), (3, 1)] {
        let (source, target) = (Fleet::of(from), Fleet::of(to));
        let admin = &source.admin;
        let enqueue = async |job: NewJob| source.client.enqueue(job).await.unwrap();
        let waits = enqueue(job(1, Unique::new())).await;
        let later = enqueue(job(2, Unique::new()).schedule_in(HOUR)).await;
        let timed = enqueue(job(3, Unique::new().until(Until::Time(HOUR)))).await;
        let replaced = Unique::new().on_conflict(OnConflict::Replace);
        let replaced = enqueue(job(4, replaced)).await;
        let retried = enqueue(job(5, Unique::new().hold_when_dead(HOUR)).schedule_in(HOUR)).await;
        let dead = enqueue(job(6, Unique::new().hold_when_dead(HOUR))).await;
        let queue = admin.queue("default").unwrap();
        queue
            .find(&dead)
            .await
            .unwrap()
            .unwrap()
            .kill()
            .await
            .unwrap();
        // By way of the dead set, the only way to `retry` of an operator.
        let scheduled = admin.scheduled_set().find(&retried).await.unwrap().unwrap();
        scheduled.kill().await.unwrap();
        let entry = admin.dead_set().find(&retried).await.unwrap().unwrap();
        entry.reschedule(admin.now() + HOUR).await.unwrap();
        assert_eq!(locks(admin).await.len(), 6);
        let before = source.jobs().await;

        let report = source.migrate(&target).await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(target.jobs().await, before);
        assert_eq!(locks(admin).await, []);
        let admin = &target.admin;
        assert_eq!(locks(admin).await.len(), 6);
        let in_queue = HolderPlace::Waiting {
            queue: name("default"),
        };
        assert_eq!(holder(admin, &waits).await.place, in_queue);
        let place = holder(admin, &later).await.place;
        assert!(matches!(place, HolderPlace::Scheduled(_)), "{place:?}");
        let place = holder(admin, &retried).await.place;
        assert!(matches!(place, HolderPlace::Retrying(_)), "{place:?}");
        for jid in [&timed, &dead] {
            let until = holder(admin, jid).await.until.unwrap();
            assert!(until <= admin.now() + HOUR);
        }
        let place = holder(admin, &dead).await.place;
        assert!(matches!(place, HolderPlace::Dead(_)), "{place:?}");

        // They are unique there, and the lock ends with its job.
        for args in [1, 2, 3, 5, 6] {
            let unique = Unique::new().on_conflict(OnConflict::Error);
            let again = target.client.enqueue(job(args, unique)).await;
            assert!(
                matches!(again, Err(EnqueueError::Duplicate { .. })),
                "{args}: {again:?}"
            );
        }
        let newer = Unique::new().on_conflict(OnConflict::Replace);
        let newer = target.client.enqueue(job(4, newer)).await.unwrap();
        let queue = admin.queue("default").unwrap();
        assert!(queue.find(&replaced).await.unwrap().is_none());
        assert!(queue.find(&newer).await.unwrap().is_some());
        queue
            .find(&waits)
            .await
            .unwrap()
            .unwrap()
            .delete()
            .await
            .unwrap();
        assert_eq!(locks(admin).await.len(), 5);
    }
}

#[tokio::test]
async fn a_job_whose_lock_is_taken_stays() {
    for (from, to) in [(1, 3), (3, 1)] {
        let (source, target) = (Fleet::of(from), Fleet::of(to));
        let ours = source.client.enqueue(job(1, Unique::new())).await.unwrap();
        let plain = source.client.enqueue(job(2, Unique::new())).await.unwrap();
        let theirs = target.client.enqueue(job(1, Unique::new())).await.unwrap();

        let report = source.migrate(&target).await.unwrap();
        assert!(!report.is_complete());
        assert_eq!((report.moved(), report.left()), (1, 1));
        assert_eq!(report.left.len(), 1);
        assert_eq!(report.left[0].id, ours.as_str());
        assert_eq!(report.left[0].reason, LeftReason::LockHeld(theirs.clone()));
        assert_eq!(source.count().await, 1);
        assert_eq!(holder(&source.admin, &ours).await.conflicts, 0);
        let queue = target.admin.queue("default").unwrap();
        assert!(queue.find(&plain).await.unwrap().is_some());

        // The other one is done.
        let entry = queue.find(&theirs).await.unwrap().unwrap();
        assert!(entry.delete().await.unwrap());
        let report = source.migrate(&target).await.unwrap();
        assert!(report.is_complete() && !report.resumed, "{report:?}");
        assert_eq!(holder(&target.admin, &ours).await.jid, ours);
    }
}

#[tokio::test]
async fn a_job_that_waits_for_its_lock_waits_for_it_in_the_target() {
    let (source, target) = (Fleet::of(1), Fleet::of(3));
    let unique = Unique::new().on_conflict(OnConflict::KeepLast);
    let first = source.client.enqueue(job(1, unique)).await.unwrap();
    let second = source.client.enqueue(job(1, unique)).await.unwrap();
    assert_eq!(source.count().await, 1, "the second is only in the lock");

    let report = source.migrate(&target).await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.moved(), 2);
    assert_eq!(target.count().await, 1);
    let lock = holder(&target.admin, &first).await;
    assert_eq!(lock.next.map(|(jid, _)| jid), Some(second.clone()));
    let queue = target.admin.queue("default").unwrap();
    queue
        .find(&first)
        .await
        .unwrap()
        .unwrap()
        .delete()
        .await
        .unwrap();
    assert!(queue.find(&second).await.unwrap().is_some());
}

/// The lock names the job in the target, but no run of this migration stored it there.
#[tokio::test]
async fn a_job_whose_lock_is_there_already_stays() {
    let (source, target) = (Fleet::of(1), Fleet::of(3));
    let ours = source.client.enqueue(job(1, Unique::new())).await.unwrap();
    let stored = LockedJob {
        lock: LockRef {
            id: holder(&source.admin, &ours).await.id,
            jid: ours.clone(),
            queue: name("default"),
        },
        job: source.jobs().await["queue default"][0].1.clone(),
        at: None,
        class: "Sync".to_owned(),
        lasts: None,
        on_conflict: Conflict::Skip,
    };
    target.view.enqueue_locked(&[stored]).await;
    for _ in 0..2 {
        let report = source.migrate(&target).await.unwrap();
        assert_eq!((report.moved(), report.left()), (0, 1));
        assert_eq!(report.left[0].reason, LeftReason::LockIsTaken);
        assert_eq!((source.count().await, target.count().await), (1, 1));
    }
}

#[tokio::test]
async fn a_lock_is_taken_along_after_a_crash_at_each_step() {
    for replies in [true, false] {
        for in_source in [true, false] {
            for after in 0.. {
                let (source, target) = (Fleet::of(1), Fleet::of(1));
                let unique = Unique::new().on_conflict(OnConflict::Replace);
                let first = source.client.enqueue(job(1, unique)).await.unwrap();
                let later = job(2, unique).schedule_in(HOUR);
                let second = source.client.enqueue(later).await.unwrap();
                let before = source.jobs().await;
                let fleet = if in_source { &source } else { &target };
                let faults = fleet.memories[0].faults();
                match replies {
                    true => faults.refuse_after(after),
                    false => faults.lose_after(after),
                }
                let run = source.migrate(&target).await;
                faults.set_refusing(false);
                let report = source.migrate(&target).await.unwrap();
                assert!(report.is_complete(), "{after}: {report:?}");
                assert_eq!(target.jobs().await, before);
                assert_eq!(locks(&source.admin).await, []);
                for jid in [&first, &second] {
                    holder(&target.admin, jid).await;
                }
                for (args, old) in [(1, &first), (2, &second)] {
                    target.client.enqueue(job(args, unique)).await.unwrap();
                    assert!(target.admin.find_job(old).await.unwrap().is_none());
                }
                if run.is_ok() {
                    break;
                }
            }
        }
    }
}
