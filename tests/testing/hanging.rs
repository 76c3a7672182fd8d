//! Jobs that hang on something real, and what ran.

use verk::time::{Clock, SystemClock};

use super::*;

/// Waits in real time, for longer than any test.
#[verk::worker(timeout = "2s", max_retry_count = 0)]
async fn hangs_for_real(name: String, State(log): State<Log>) {
    let clock: &dyn Clock = &SystemClock;
    clock.sleep(DAY).await;
    log.push(name);
}

#[verk::worker(max_retry_count = 1)]
async fn picky(name: String) -> Result<(), String> {
    match name.as_str() {
        "ada" => Ok(()),
        _ => Err(format!("not {name}")),
    }
}

#[tokio::test]
async fn a_timeout_ends_a_job_that_hangs_in_real_time() {
    let (verk, log) = with_log();
    HangsForReal::enqueue("never").await.unwrap();
    // Its queue runs one job at a time.
    Greet::new("ada").queue("default").enqueue().await.unwrap();
    let done = verk.advance(Duration::from_secs(3)).await;
    assert_eq!((done.failed, done.dead, done.succeeded), (1, 1, 1));
    let error = "HangsForReal: ran longer than its timeout of 2s";
    assert_eq!(done.errors, [error]);
    assert_eq!(log.entries(), ["ada"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_hang_and_jobs_that_sleep_end_in_order() {
    let log = Log::default();
    let verk = TestVerk::builder()
        .state(log.clone())
        .concurrency(4)
        .build();
    HangsForReal::enqueue("never").await.unwrap();
    Sleeps::enqueue(1u64).await.unwrap();
    Sleeps::enqueue(HOUR.as_secs()).await.unwrap();
    let later = HangsForReal::new("never").schedule_in(HOUR);
    later.enqueue().await.unwrap();
    let done = verk.advance(Duration::from_secs(2)).await;
    assert_eq!((done.succeeded, done.failed, done.sleeping), (1, 1, 1));
    let done = verk.advance(2 * HOUR).await;
    assert_eq!((done.succeeded, done.failed, done.sleeping), (1, 1, 0));
    assert_eq!(log.entries(), ["slept 1", "slept 3600"]);
}

#[tokio::test]
async fn time_does_not_pass_a_hanging_job_whose_timeout_is_later() {
    let verk = TestVerk::builder()
        .state(Log::default())
        .hang_after(Duration::from_millis(1))
        .deadline(Duration::from_secs(1))
        .build();
    HangsForReal::enqueue("never").await.unwrap();
    let started = verk.clock().instant();
    let message = panic_message(verk.advance(Duration::from_secs(1))).await;
    assert!(message.contains("runs: HangsForReal"), "{message}");
    assert!(message.contains("ends at its `timeout`"), "{message}");
    assert_eq!(verk.clock().instant(), started);
}

#[tokio::test]
async fn what_ran_can_be_looked_at() {
    let (verk, _log) = with_log();
    for name in ["eve", "ada", "bob"] {
        Picky::enqueue(name).await.unwrap();
        Greet::enqueue(name).await.unwrap();
    }
    let wrong = Job::new("Picky", "default".parse().unwrap(), "[7]".to_owned());
    verk.client().enqueue(wrong.unwrap()).await.unwrap();
    assert!(verk.all_finished::<Picky>().is_empty());
    assert!(verk.all_failed::<Picky>().is_empty());

    let names =
        |jobs: Vec<Picky>| -> Vec<String> { jobs.into_iter().map(|job| job.name).collect() };
    assert_eq!(verk.drain().await.failed, 3);
    assert_eq!(names(verk.all_finished()), ["ada"]);
    // The job whose arguments do not decode is no `Picky`.
    assert_eq!(names(verk.all_failed()), ["eve", "bob"]);
    let greeted = verk.all_finished::<Greet>().into_iter();
    assert_eq!(
        greeted.map(|job| job.name).collect::<Vec<_>>(),
        ["eve", "ada", "bob"]
    );

    // Each has one more try.
    verk.advance(DAY).await;
    let mut failed = names(verk.all_failed());
    failed.sort();
    assert_eq!(failed, ["bob", "bob", "eve", "eve"]);
}
