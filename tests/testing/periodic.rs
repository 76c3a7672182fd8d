//! Periodic jobs, in virtual time: what happens to the job of a run, and to the runs after it.

use std::time::Duration;

use futures_util::FutureExt as _;
use verk::{
    EnqueueError, Enqueued, EventKind, OnConflict, Unique,
    cron::{CatchUp, Cron, CronEntry, CronError, Overlap},
    events::Events,
    prelude::*,
};
use verk_testing::TestVerk;

use super::{HOUR, Log};

const MINUTE: Duration = Duration::from_secs(60);

#[verk::worker(max_retry_count = 1, timeout = "2h")]
async fn export(how: String, State(log): State<Log>, ctx: JobContext) -> Result<Outcome, String> {
    log.push(&how);
    match how.as_str() {
        "is slow" => {
            ctx.sleep(24 * MINUTE).await;
            Ok(Outcome::Done)
        }
        "never ends" => {
            ctx.sleep(100 * HOUR).await;
            Ok(Outcome::Done)
        }
        "fails" => Err("no".into()),
        "snoozes" if log.entries().len() == 1 => Ok(Outcome::Snooze(HOUR)),
        "kills" => Ok(Outcome::Kill("broken".into())),
        _ => Ok(Outcome::Done),
    }
}

fn test() -> (TestVerk, Log) {
    let log = Log::default();
    let test = TestVerk::builder().state(log.clone()).concurrency(10);
    (test.build(), log)
}

/// Each 10 minutes, from now on.
fn often(how: &str) -> Cron {
    Cron::every("10m").job(Export::new(how))
}

async fn upsert(test: &TestVerk, entry: Cron) {
    assert!(test.verk().cron().upsert("export", entry).await.unwrap());
}

async fn read(test: &TestVerk) -> CronEntry {
    let entry = test.verk().cron().get("export").await.unwrap();
    entry.expect("an entry")
}

fn skips(test: &TestVerk) -> Events {
    test.events()
        .only(|what| matches!(what, EventKind::CronSkipped { .. }))
}

/// A job that takes 24 minutes lets two runs out of three be skipped, or one wait, or three run at
/// once.
#[tokio::test]
async fn a_slow_job_and_the_runs_after_it() {
    for (overlap, started, skipped) in [
        (Overlap::Skip, 2, 4),
        (Overlap::QueueOne, 3, 2),
        (Overlap::Allow, 6, 0),
    ] {
        let (test, log) = test();
        upsert(&test, often("is slow").overlap(overlap)).await;
        test.advance(HOUR).await;
        let entry = read(&test).await;
        assert_eq!(log.entries().len(), started, "{overlap:?}");
        assert_eq!(entry.skipped, skipped, "{overlap:?}");
        assert_eq!(entry.runs + entry.skipped, 6, "{overlap:?}");
    }
}

/// A job that waits for a retry, that snoozed or is dead keeps no later run from its job.
// matrix: cron × retry, cron × snooze, cron × dead
#[tokio::test]
async fn a_job_that_did_not_succeed_skips_no_run() {
    for (how, overlap) in [
        ("fails", Overlap::Skip),
        ("snoozes", Overlap::Skip),
        ("kills", Overlap::Skip),
        ("fails", Overlap::QueueOne),
        ("snoozes", Overlap::QueueOne),
        ("kills", Overlap::QueueOne),
    ] {
        let (test, _) = test();
        upsert(&test, often(how).overlap(overlap)).await;
        for run in 1..=3 {
            test.advance(10 * MINUTE).await;
            let entry = read(&test).await;
            assert_eq!((entry.runs, entry.skipped), (run, 0), "{how}");
        }
        // A snoozed job or a retry runs without the lock.
        test.advance(50 * MINUTE).await;
        assert_eq!(read(&test).await.skipped, 0, "{how}");
        test.refute_locked::<Export>(|_| true);
    }
}

/// A job that runs too long ends, and the next run comes.
// matrix: cron × timeout
#[tokio::test]
async fn a_job_that_runs_too_long_skips_runs_until_it_ends() {
    let (test, log) = test();
    upsert(&test, often("never ends")).await;
    test.advance(10 * MINUTE + 2 * HOUR).await;
    let entry = read(&test).await;
    assert_eq!((entry.runs, log.entries().len()), (1, 1));
    assert!(entry.skipped >= 11, "{}", entry.skipped);
    test.advance(10 * MINUTE).await;
    assert_eq!(read(&test).await.runs, 2);
}

/// A debounced class runs after the last of its runs and enqueues.
// matrix: cron × debounce
#[tokio::test]
async fn a_run_of_a_debounced_class_waits() {
    let (test, log) = test();
    let debounced = |how: &str| Export::new(how).unique(Unique::new().by(&[]).debounce(5 * MINUTE));
    upsert(&test, Cron::every("10m").job(debounced("runs"))).await;
    test.advance(10 * MINUTE).await;
    assert_eq!(log.entries(), [""; 0]);
    test.advance(4 * MINUTE).await;
    debounced("by hand").enqueue().await.unwrap();
    test.advance(4 * MINUTE).await;
    assert_eq!(log.entries(), [""; 0]);
    test.advance(MINUTE).await;
    assert_eq!(log.entries(), ["by hand"]);
}

/// The jobs that are made up for come at once, so each run has its job.
// matrix: cron × bulk
#[tokio::test]
async fn a_catch_up_of_all_skips_none() {
    let (test, _) = test();
    let all = || often("is slow").catch_up(CatchUp::All);
    let timetable = test.verk().cron();
    for overlap in [Overlap::Skip, Overlap::QueueOne] {
        let refused = timetable.upsert("export", all().overlap(overlap)).await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("catch_up"), "{error}");
    }
    let unique = Export::new("runs").unique(Unique::new());
    let unique = Cron::every("10m").job(unique).catch_up(CatchUp::All);
    assert!(timetable.upsert("export", unique).await.is_err());

    upsert(&test, all()).await;
    assert_eq!(read(&test).await.overlap, Overlap::Allow);
    let mut skipped = skips(&test);
    test.advance(HOUR).await;
    assert_eq!(read(&test).await.runs, 6);
    assert!(skipped.recv().now_or_never().is_none());
}

/// While a job runs, the runs after it are skipped, counted, and published. The next run after its
/// end enqueues one.
#[tokio::test]
async fn a_run_is_skipped_while_the_last_job_runs() {
    let (test, log) = test();
    let mut skipped = skips(&test);
    upsert(&test, often("is slow")).await;
    test.advance(30 * MINUTE).await;
    let entry = read(&test).await;
    assert_eq!((entry.runs, entry.skipped, entry.missed), (1, 2, 0));
    assert!(entry.last[0].skipped && entry.last[0].jid.is_none());
    let first = entry.last[2].jid.clone().unwrap();
    let event = skipped.recv().await.unwrap().unwrap();
    let EventKind::CronSkipped { name, holder, .. } = event.what else {
        panic!("{event:?}");
    };
    assert_eq!((name.as_str(), holder), ("export", first));
    test.assert_locked::<Export>(|job| job.how == "is slow");
    test.advance(10 * MINUTE).await;
    assert_eq!(read(&test).await.runs, 2);
    assert_eq!(log.entries().len(), 2);
}

/// A job that waits for its splay counts.
// matrix: cron × schedule
#[tokio::test]
async fn a_job_that_waits_for_its_splay_counts() {
    let (test, log) = test();
    upsert(&test, often("runs").splay(40 * MINUTE)).await;
    let scheduled = test.verk().admin().scheduled_set();
    for _ in 0..24 {
        test.advance(5 * MINUTE).await;
        assert!(scheduled.count().await.unwrap() <= 1);
    }
    let entry = read(&test).await;
    assert!(entry.skipped > 2, "{entry:?}");
    assert!(log.entries().len() > 2, "{entry:?}");
    assert_eq!(entry.runs + entry.skipped, 12);
}

/// A run of a unique job takes the lock of its class, so one that was enqueued by hand counts, too.
// matrix: cron × unique
#[tokio::test]
async fn a_unique_job_has_one_lock() {
    let (test, log) = test();
    let slow = || Export::new("is slow").unique(Unique::new());
    let by_hand = slow().enqueue_unique().await.unwrap();
    assert!(matches!(by_hand, Enqueued::New(_)));
    upsert(&test, Cron::every("10m").job(slow())).await;
    test.advance(10 * MINUTE).await;
    let entry = read(&test).await;
    assert!(entry.is_unique);
    assert_eq!((entry.runs, entry.skipped), (0, 1));
    let asked = test.verk().cron().run_now("export").await.unwrap_err();
    let CronError::Job(EnqueueError::Duplicate { holder, .. }) = asked else {
        panic!("{asked}");
    };
    assert_eq!(&holder, by_hand.jid());
    test.advance(20 * MINUTE).await;
    assert_eq!((read(&test).await.runs, log.entries().len()), (1, 2));
    let again = slow().enqueue_unique().await.unwrap();
    assert!(matches!(again, Enqueued::Duplicate { .. }), "{again:?}");
}

/// A run replaces the unique job that has the lock, if its class says so.
// matrix: cron × unique
#[tokio::test]
async fn a_run_replaces_a_unique_job() {
    let (test, log) = test();
    let unique = Unique::new().by(&[]).on_conflict(OnConflict::Replace);
    let by_hand = Export::new("by hand").unique(unique).schedule_in(HOUR);
    by_hand.enqueue().await.unwrap();
    let entry = Cron::every("10m").job(Export::new("runs").unique(unique));
    upsert(&test, entry).await;
    test.advance(10 * MINUTE).await;
    assert_eq!(read(&test).await.skipped, 0);
    test.advance(5 * MINUTE).await;
    assert_eq!(log.entries(), ["runs"]);
    assert_eq!(
        test.verk().admin().scheduled_set().count().await.unwrap(),
        0
    );
}

/// An operator runs an entry at once, whatever its overlap says.
// matrix: cron × operator
#[tokio::test]
async fn a_run_that_is_asked_for_is_not_skipped() {
    let (test, log) = test();
    upsert(&test, often("is slow")).await;
    test.advance(10 * MINUTE).await;
    let asked = test.verk().cron().run_now("export").await.unwrap();
    test.advance(MINUTE).await;
    assert_eq!(log.entries().len(), 2);
    assert_eq!(read(&test).await.last[0].jid, Some(asked));
}
