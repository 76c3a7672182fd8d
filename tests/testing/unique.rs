//! Unique jobs, in virtual time.

use std::time::Duration;

use verk::{
    EnqueueError, Enqueued, OnConflict, Unique, Until, job::HolderPlace, manage::Action, prelude::*,
};
use verk_testing::TestVerk;

use super::{DAY, HOUR, Log};

#[verk::worker(max_retry_count = 1)]
async fn refresh(
    user: u32,
    how: String,
    State(log): State<Log>,
    ctx: JobContext,
) -> Result<Outcome, String> {
    log.push(format!("{user} {how}"));
    match how.as_str() {
        "fails" => Err("no".into()),
        "fails once" if ctx.attempt() == 1 => Err("no".into()),
        "snoozes" if log.entries().len() == 1 => Ok(Outcome::Snooze(HOUR)),
        "discards" => Ok(Outcome::Discard("not needed".into())),
        "kills" => Ok(Outcome::Kill("broken".into())),
        "sleeps" => {
            ctx.sleep(HOUR).await;
            Ok(Outcome::Done)
        }
        "again" => {
            let again = Refresh::new(user, "done")
                .unique(BY_USER)
                .enqueue_unique()
                .await;
            log.push(format!(
                "{}",
                matches!(again, Ok(Enqueued::Duplicate { .. }))
            ));
            Ok(Outcome::Done)
        }
        _ => Ok(Outcome::Done),
    }
}

const BY_USER: Unique = Unique::new().by(&[0]);

fn test() -> (TestVerk, Log) {
    let log = Log::default();
    (TestVerk::builder().state(log.clone()).build(), log)
}

async fn send(how: &str, unique: Unique) -> Enqueued {
    let sent = Refresh::new(7, how).unique(unique).enqueue_unique().await;
    sent.unwrap()
}

#[track_caller]
fn assert_new(sent: &Enqueued) {
    assert!(matches!(sent, Enqueued::New(_)), "{sent:?}");
}

#[track_caller]
fn assert_duplicate(sent: &Enqueued, first: &Enqueued) {
    assert!(
        matches!(sent, Enqueued::Duplicate { jid, .. } if jid == first.jid()),
        "{sent:?}"
    );
}

/// Each end of a job frees its lock, and nothing before.
// matrix: unique × retry, unique × snooze, unique × dead
#[tokio::test]
async fn a_job_holds_its_lock_until_it_ends() {
    for (how, steps) in [
        ("done", vec![]),
        ("discards", vec![]),
        ("kills", vec![]),
        ("fails once", vec![DAY]),
        ("fails", vec![DAY]),
        ("snoozes", vec![HOUR]),
    ] {
        let (test, log) = test();
        let first = send(how, BY_USER).await;
        assert_new(&first);
        assert_duplicate(&send("done", BY_USER).await, &first);
        test.assert_locked::<Refresh>(|job| job.user == 7);
        test.drain().await;
        for step in steps {
            // It waits in a set.
            assert_duplicate(&send("done", BY_USER).await, &first);
            test.assert_locked::<Refresh>(|job| job.how == how);
            test.advance(step).await;
        }
        test.refute_locked::<Refresh>(|_| true);
        assert_new(&send("done", BY_USER).await);
        test.drain().await;
        assert_eq!(log.entries().last().unwrap(), "7 done", "{how}");
    }
}

/// The arguments that are compared, and the queue, make two jobs the same.
#[tokio::test]
async fn the_same_job_is_a_question_of_its_arguments() {
    let (_test, _) = test();
    let send = async |user: u32, how: &str, unique: Unique| {
        let sent = Refresh::new(user, how)
            .unique(unique)
            .enqueue_unique()
            .await;
        matches!(sent.unwrap(), Enqueued::New(_))
    };
    assert!(send(1, "a", Unique::new()).await);
    assert!(!send(1, "a", Unique::new()).await);
    assert!(send(1, "b", Unique::new()).await);
    assert!(send(2, "a", Unique::new()).await);
    assert!(
        send(1, "c", BY_USER).await,
        "another lock than of all arguments"
    );
    assert!(!send(1, "d", BY_USER).await);
    assert!(send(2, "d", BY_USER).await);
    let elsewhere = Refresh::new(1, "a").queue("aside").unique(Unique::new());
    assert_new(&elsewhere.enqueue_unique().await.unwrap());
    let across = Unique::new().across_queues();
    assert!(send(1, "a", across).await);
    let elsewhere = Refresh::new(1, "a").queue("aside").unique(across);
    let sent = elsewhere.enqueue_unique().await.unwrap();
    assert!(matches!(sent, Enqueued::Duplicate { .. }), "{sent:?}");
}

/// A plain enqueue returns the id of the job that holds the lock.
#[tokio::test]
async fn an_enqueue_returns_the_job_that_holds_the_lock() {
    let (test, log) = test();
    let refresh = |how| Refresh::new(7, how).unique(BY_USER);
    let first = refresh("done").enqueue().await.unwrap();
    assert_eq!(refresh("other").enqueue().await.unwrap(), first);
    let error = refresh("other")
        .unique(BY_USER.on_conflict(OnConflict::Error))
        .enqueue()
        .await
        .unwrap_err();
    let EnqueueError::Duplicate { holder, place, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*holder, first);
    assert!(matches!(place, HolderPlace::Waiting { .. }));
    assert!(!error.may_be_stored());
    test.drain().await;
    assert_eq!(log.entries(), ["7 done"]);
}

/// In bulk, each job has its own answer, and sees the jobs before it.
// matrix: unique × bulk
#[tokio::test]
async fn a_bulk_has_an_answer_for_each_job() {
    let (test, _) = test();
    let jobs = [1, 2, 1, 3, 2].map(|user| Refresh::new(user, "done").unique(BY_USER));
    let sent = test.client().enqueue_all_unique(jobs).await.unwrap();
    let new: Vec<bool> = sent
        .iter()
        .map(|sent| matches!(sent, Enqueued::New(_)))
        .collect();
    assert_eq!(new, [true, true, false, true, false]);
    assert_eq!(
        (sent[2].jid(), sent[4].jid()),
        (sent[0].jid(), sent[1].jid())
    );

    // Plain jobs between unique ones, and many of both.
    let jobs = (0..1200).map(|number| match number % 3 {
        0 => Refresh::new(number, "done").unique(BY_USER),
        1 => Refresh::new(0, "done").unique(BY_USER),
        _ => verk::client::IntoJob::into_job(Refresh::new(number, "plain")),
    });
    let jids = test.client().enqueue_all(jobs).await.unwrap();
    assert_eq!(jids.len(), 1200);
    assert!(jids.chunks(3).all(|three| three[1] == jids[0]));
    assert_eq!(test.drain().await.succeeded, 3 + 400 - 1 + 400);
}

/// A job that runs holds its lock, unless it is free from its start on.
#[tokio::test]
async fn a_running_job_holds_its_lock_or_not() {
    for (until, is_duplicate) in [(Until::Done, "true"), (Until::Start, "false")] {
        let (test, log) = test();
        assert_new(&send("again", BY_USER.until(until)).await);
        assert!(!matches!(send("done", BY_USER).await, Enqueued::New(_)));
        test.drain().await;
        assert_eq!(
            log.entries()[..2],
            ["7 again".to_owned(), is_duplicate.to_owned()]
        );
        test.refute_locked::<Refresh>(|_| true);
    }
}

/// A lock with a time ends with the time, and not with its job.
#[tokio::test]
async fn a_throttle_lets_one_job_through() {
    let throttle = BY_USER.throttle(HOUR);
    let (test, log) = test();
    assert_new(&send("first", throttle).await);
    test.drain().await;
    for _ in 0..59 {
        assert!(!matches!(
            send("too soon", throttle).await,
            Enqueued::New(_)
        ));
        test.advance(Duration::from_secs(60)).await;
    }
    test.advance(Duration::from_secs(60)).await;
    assert_new(&send("second", throttle).await);
    test.drain().await;
    assert_eq!(log.entries(), ["7 first", "7 second"]);
}

/// A lock that ends with the job ends with a time, too, if it says so.
#[tokio::test]
async fn a_lock_ends_with_its_job_or_with_time() {
    let unique = BY_USER.until(Until::DoneOr(HOUR));
    let (test, _) = test();
    assert_new(&send("done", unique).await);
    test.drain().await;
    assert_new(&send("sleeps", unique).await);
    test.drain().await;
    test.advance(HOUR / 2).await;
    assert!(!matches!(send("done", unique).await, Enqueued::New(_)));
    test.advance(HOUR / 2).await;
    assert_new(&send("done", unique).await);
}

/// Only the last of many enqueues runs, so long after it.
// matrix: debounce × schedule
#[tokio::test]
async fn a_debounced_job_runs_after_the_last_enqueue() {
    let minute = Duration::from_secs(60);
    let debounce = BY_USER.debounce(minute);
    let (test, log) = test();
    assert_new(&send("1", debounce).await);
    for number in 2..=100 {
        test.advance(minute / 2).await;
        let sent = send(&number.to_string(), debounce).await;
        assert!(matches!(sent, Enqueued::Replaced { .. }), "{sent:?}");
    }
    assert_eq!(log.entries(), [""; 0]);
    test.advance(minute).await;
    assert_eq!(log.entries(), ["7 100"]);
    test.refute_locked::<Refresh>(|_| true);

    // At the latest so long after the first, however many follow.
    let bounded = debounce.max_wait(minute * 10);
    for number in 0..60 {
        send(&number.to_string(), bounded).await;
        test.advance(minute / 2).await;
    }
    let runs = log.entries().len() - 1;
    assert!((2..=3).contains(&runs), "{runs}");
}

/// A worker's own options stay, but for the wait.
// matrix: debounce × unique
#[tokio::test]
async fn a_call_can_debounce() {
    let (test, log) = test();
    for how in ["a", "b"] {
        let job = Refresh::new(7, how).unique(BY_USER).debounce(HOUR);
        job.enqueue().await.unwrap();
    }
    test.advance(HOUR).await;
    assert_eq!(log.entries(), ["7 b"]);
}

/// The newest job always runs, after the one that runs now, however that ends.
#[tokio::test]
async fn the_last_job_runs_after_the_one_that_runs() {
    let keep_last = BY_USER.on_conflict(OnConflict::KeepLast);
    for (how, ended) in [("sleeps", 1), ("done", 1)] {
        let (test, log) = test();
        assert_new(&send(how, keep_last).await);
        if how == "sleeps" {
            test.drain().await;
        }
        assert_new(&send("b", keep_last).await);
        let sent = send("c", keep_last).await;
        assert!(matches!(sent, Enqueued::Replaced { .. }), "{sent:?}");
        test.advance(HOUR).await;
        assert_eq!(log.entries().len(), ended + 1);
        assert_eq!(log.entries()[1], "7 c");
        test.refute_locked::<Refresh>(|_| true);
    }
}

/// A job that failed is not tried again when a newer one waits.
#[tokio::test]
async fn a_newer_job_takes_the_place_of_a_retry() {
    let keep_last = BY_USER.on_conflict(OnConflict::KeepLast);
    let (test, log) = test();
    let mut events = test.events();
    send("fails", keep_last).await;
    send("new", keep_last).await;
    test.advance(DAY).await;
    assert_eq!(log.entries(), ["7 fails", "7 new"]);
    assert!(test.all_retrying::<Refresh>().is_empty());
    assert!(test.all_dead::<Refresh>().is_empty());
    loop {
        let event = events.recv().await.unwrap().unwrap();
        if let verk::EventKind::JobFailed { then, .. } = event.what {
            assert_eq!(then, verk::events::AfterFailure::Discarded);
            break;
        }
    }
}

/// A dead job frees its lock, or keeps it for a time.
// matrix: unique × dead
#[tokio::test]
async fn a_dead_job_may_keep_its_lock() {
    let (test, _) = test();
    let unique = BY_USER.hold_when_dead(DAY);
    let first = send("kills", unique).await;
    test.drain().await;
    let again = send("done", unique).await;
    assert!(
        matches!(&again, Enqueued::Duplicate { jid, place: HolderPlace::Dead(_) } if jid == first.jid()),
        "{again:?}"
    );
    test.advance(DAY).await;
    assert_new(&send("done", unique).await);
    test.drain().await;

    // Its deletion frees the lock at once.
    send("kills", unique).await;
    test.drain().await;
    let dead = test.verk().admin().dead_set();
    assert_eq!(dead.select().delete().await.unwrap(), 2);
    assert_new(&send("done", unique).await);
}

/// What an operator does to a job, it does to the lock.
// matrix: unique × operator
#[tokio::test]
async fn an_operator_moves_the_lock_with_the_job() {
    let (test, _) = test();
    let admin = test.verk().admin();
    let queue = admin.queue("default").unwrap();
    let later = test.clock().clone();
    let later = verk::time::Clock::now(&later) + DAY;
    for (action, is_free) in [
        (Action::Delete, true),
        (Action::Kill, true),
        (Action::Reschedule(later), false),
    ] {
        let first = send("done", BY_USER).await;
        assert_eq!(queue.select().act(action).await.unwrap(), 1);
        let second = send("done", BY_USER).await;
        assert_eq!(matches!(second, Enqueued::New(_)), is_free, "{action:?}");
        if !is_free {
            assert!(
                matches!(
                    &second,
                    Enqueued::Duplicate {
                        place: HolderPlace::Scheduled(_),
                        ..
                    }
                ),
                "{second:?}"
            );
            assert_duplicate(&second, &first);
        }
        test.advance(2 * DAY).await;
    }
    // A dead job cannot come back while another one holds its lock.
    let dead = admin.dead_set();
    let holder = send("done", BY_USER).await;
    let entry = dead.select().first().await.unwrap().unwrap();
    let error = entry.requeue().await.unwrap_err();
    assert!(error.to_string().contains(holder.jid().as_str()), "{error}");
    assert_eq!(dead.select().requeue().await.unwrap(), 0);
    let acted = dead.act_on(&[&entry], Action::Requeue).await.unwrap();
    assert_eq!((acted.done, acted.conflicts), (0, 1));
    test.drain().await;
    assert!(entry.requeue().await.unwrap());
    assert_duplicate(
        &send("done", BY_USER).await,
        &Enqueued::New(entry.job().unwrap().jid().clone()),
    );
    test.drain().await;
    test.refute_locked::<Refresh>(|_| true);
}

/// A queue that is cleared frees the locks of its jobs.
// matrix: unique × operator
#[tokio::test]
async fn a_clear_frees_the_locks() {
    let (test, log) = test();
    let queue = test.verk().admin().queue("default").unwrap();
    let jobs = (0..250).map(|user| Refresh::new(user, "done").unique(BY_USER));
    test.client().enqueue_all(jobs).await.unwrap();
    assert_eq!(queue.clear().await.unwrap(), 250);
    assert_eq!(queue.count().await.unwrap(), 0);
    test.refute_locked::<Refresh>(|_| true);
    assert_new(&send("done", BY_USER).await);
    assert_eq!(test.drain().await.succeeded, 1);
    assert_eq!(log.entries().len(), 1);
}

/// A job that expired before it ran is discarded, and frees its lock.
// matrix: unique × expiry
#[tokio::test]
async fn a_job_that_expires_frees_its_lock() {
    let (test, log) = test();
    let job = Refresh::new(7, "done")
        .unique(BY_USER)
        .set("expires_in", &60);
    job.schedule_in(HOUR).enqueue().await.unwrap();
    test.assert_locked::<Refresh>(|_| true);
    test.advance(HOUR + HOUR).await;
    assert!(log.entries().len() <= 1);
    test.refute_locked::<Refresh>(|_| true);
}

/// A run that takes too long is a failure as any other: the job waits for its retry, and holds its
/// lock.
// matrix: unique × timeout
#[tokio::test]
async fn a_job_that_runs_too_long_holds_its_lock() {
    let test = TestVerk::new();
    let first = Idle::new(7)
        .unique(Unique::new())
        .enqueue_unique()
        .await
        .unwrap();
    test.advance(Duration::from_secs(61)).await;
    assert_eq!(test.all_retrying::<Idle>().len(), 1);
    let again = Idle::new(7)
        .unique(Unique::new())
        .enqueue_unique()
        .await
        .unwrap();
    assert!(
        matches!(&again, Enqueued::Duplicate { jid, place: HolderPlace::Retrying(_) } if jid == first.jid()),
        "{again:?}"
    );
}

#[verk::worker(timeout = "1m", max_retry_count = 1)]
async fn idle(user: u32, ctx: JobContext) {
    let _ = user;
    ctx.sleep(HOUR).await;
}

/// A pause of the queue changes no lock.
// matrix: unique × pause
#[tokio::test]
async fn a_paused_queue_keeps_its_locks() {
    let (test, log) = test();
    let admin = test.verk().admin();
    admin.pause_queue_everywhere("default").await.unwrap();
    let first = send("done", BY_USER).await;
    assert_duplicate(&send("other", BY_USER).await, &first);
    assert_eq!(log.entries(), [""; 0]);
    admin.resume_queue_everywhere("default").await.unwrap();
    test.drain().await;
    assert_eq!(log.entries(), ["7 done"]);
    assert_new(&send("done", BY_USER).await);
}

/// A debounced job is as any other once it is due: it fails, and a newer one waits meanwhile.
// matrix: debounce × retry
#[tokio::test]
async fn a_debounced_job_that_fails_holds_no_lock() {
    let (test, log) = test();
    let debounce = BY_USER.debounce(HOUR);
    send("fails once", debounce).await;
    test.advance(HOUR).await;
    assert_eq!(test.all_retrying::<Refresh>().len(), 1);
    assert_new(&send("newer", debounce).await);
    test.advance(DAY).await;
    assert_eq!(log.entries().len(), 3);
    assert!(log.entries().contains(&"7 newer".to_owned()));
}

/// A dead job whose lock another job holds runs only without a lock, and frees none.
// matrix: unique × operator, unique × dead
#[tokio::test]
async fn a_dead_job_can_run_without_its_lock() {
    let (test, log) = test();
    send("kills", BY_USER).await;
    test.drain().await;
    let holder = send("done", BY_USER).await;
    assert_new(&holder);
    let dead = test.verk().admin().dead_set();
    let acted = dead.select().act(Action::Requeue).await;
    assert!(!matches!(acted, Ok(1)), "{acted:?}");
    assert_eq!(dead.count().await.unwrap(), 1);
    let forced = dead.select().act(Action::RequeueWithoutLock).await;
    assert_eq!(forced.unwrap(), 1);
    assert_duplicate(&send("other", BY_USER).await, &holder);
    test.assert_locked::<Refresh>(|job| job.how == "done");
    test.drain().await;
    assert_eq!(log.entries().len(), 3);
    test.refute_locked::<Refresh>(|_| true);
}

/// An operator deletes a debounced job, or runs it at once: the next one waits by itself.
// matrix: debounce × operator
#[tokio::test]
async fn an_operator_ends_the_wait() {
    let debounce = BY_USER.debounce(HOUR);
    for (action, runs) in [(Action::Delete, 0), (Action::Requeue, 1), (Action::Kill, 0)] {
        let (test, log) = test();
        send("a", debounce).await;
        let scheduled = test.verk().admin().scheduled_set();
        assert_eq!(scheduled.select().act(action).await.unwrap(), 1);
        test.drain().await;
        assert_eq!(log.entries().len(), runs, "{action:?}");
        assert_new(&send("b", debounce).await);
        test.advance(HOUR).await;
        assert_eq!(log.entries().last().unwrap(), "7 b");
    }
}

/// In bulk, the last of the same jobs stays.
// matrix: debounce × bulk
#[tokio::test]
async fn a_bulk_is_debounced() {
    let (test, log) = test();
    let jobs = (0..500).map(|n| Refresh::new(n % 2, n.to_string()).unique(BY_USER.debounce(HOUR)));
    let sent = test.client().enqueue_all_unique(jobs).await.unwrap();
    let replaced = sent
        .iter()
        .filter(|sent| matches!(sent, Enqueued::Replaced { .. }));
    assert_eq!(replaced.count(), 498);
    test.advance(HOUR).await;
    let mut ran = log.entries();
    ran.sort();
    assert_eq!(ran, ["0 498", "1 499"]);
}

/// A time of the call site is kept: only a job without one gets that of the debounce.
// matrix: debounce × schedule
#[tokio::test]
async fn a_debounced_job_may_have_its_own_time() {
    let (test, log) = test();
    let debounce = BY_USER.debounce(HOUR);
    let job = Refresh::new(7, "a").unique(debounce).schedule_in(DAY);
    job.enqueue().await.unwrap();
    test.advance(DAY - HOUR).await;
    assert_eq!(log.entries(), [""; 0]);
    test.advance(HOUR).await;
    assert_eq!(log.entries(), ["7 a"]);
}
