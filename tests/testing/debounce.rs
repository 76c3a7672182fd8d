//! Debounced jobs: once such a job is due, it is as any other, and the next enqueue begins a new
//! wait.

use std::time::Duration;

use verk::{Enqueued, Unique, manage::Action, prelude::*};
use verk_testing::TestVerk;

use super::{HOUR, Log};

#[verk::worker(max_retry_count = 0, timeout = "1h")]
async fn index(how: String, State(log): State<Log>, ctx: JobContext) -> Result<Outcome, String> {
    log.push(&how);
    match how.as_str() {
        "fails" => Err("no".into()),
        "snoozes" if log.entries().len() == 1 => Ok(Outcome::Snooze(HOUR)),
        "runs too long" => {
            ctx.sleep(2 * HOUR).await;
            Ok(Outcome::Done)
        }
        _ => Ok(Outcome::Done),
    }
}

const WAIT: Duration = Duration::from_secs(60);
const DEBOUNCE: Unique = Unique::new().by(&[]).debounce(WAIT);

fn test() -> (TestVerk, Log) {
    let log = Log::default();
    let test = TestVerk::builder().state(log.clone()).concurrency(10);
    (test.build(), log)
}

async fn send(how: &str) -> Enqueued {
    let job = Index::new(how).unique(DEBOUNCE);
    job.enqueue_unique().await.unwrap()
}

/// Whatever becomes of its run, the job keeps no later one from its own wait.
// matrix: debounce × snooze, debounce × timeout, debounce × dead
#[tokio::test]
async fn a_debounced_job_that_runs_holds_no_lock() {
    for how in ["runs", "fails", "snoozes", "runs too long"] {
        let (test, log) = test();
        send(how).await;
        test.advance(WAIT).await;
        assert_eq!(log.entries(), [how]);
        test.refute_locked::<Index>(|_| true);
        let next = send("next").await;
        assert!(matches!(next, Enqueued::New(_)), "{how}: {next:?}");
        test.advance(WAIT).await;
        assert_eq!(log.entries(), [how, "next"]);
    }
}

/// A dead job that comes back waits for nothing, and takes no lock.
// matrix: debounce × dead
#[tokio::test]
async fn a_dead_debounced_job_comes_back_at_once() {
    let (test, log) = test();
    send("fails").await;
    test.advance(WAIT).await;
    send("next").await;
    let dead = test.verk().admin().dead_set();
    assert_eq!(dead.select().act(Action::Requeue).await.unwrap(), 1);
    test.drain().await;
    assert_eq!(log.entries(), ["fails", "fails"]);
    test.advance(WAIT).await;
    assert_eq!(log.entries(), ["fails", "fails", "next"]);
}

/// While its queue is paused, a job that is due waits there, and the next one has its own wait.
// matrix: debounce × pause
#[tokio::test]
async fn a_debounced_job_waits_in_a_paused_queue() {
    let storage = verk_testing::MemoryStorage::default();
    let verk = Verk::builder().storage(storage).build().await.unwrap();
    let admin = verk.admin();
    admin.pause_queue_everywhere("default").await.unwrap();
    let send = async |how: &str| {
        let job = Index::new(how).unique(DEBOUNCE);
        verk.client().enqueue_unique(job).await.unwrap()
    };
    send("first").await;
    let scheduled = admin.scheduled_set();
    // An operator ends the wait, as its time would.
    assert_eq!(scheduled.select().act(Action::Requeue).await.unwrap(), 1);
    let next = send("next").await;
    assert!(matches!(next, Enqueued::New(_)), "{next:?}");
    assert_eq!(admin.queue("default").unwrap().count().await.unwrap(), 1);
    assert_eq!(scheduled.count().await.unwrap(), 1);
    verk.shutdown().await;
}
