//! Entries whose jobs wait: no node runs their queue.

use std::time::Duration;

use verk_core::{
    Job, Verk,
    cron::Cron,
    manage::Action,
    storage::{Move, MoveTarget, Page, Source, WaitingStore as _},
};

use crate::fleet::Fleet;

const ALL: Page = Page {
    offset: 0,
    limit: 100,
};

/// Each 10 minutes, a job for a queue that nobody runs.
fn waits() -> Cron {
    let queue = "waits".parse().unwrap();
    Cron::every("10m").job(Job::new("A", queue, "[]".to_owned()).unwrap())
}

async fn waiting(verk: &Verk) -> usize {
    let queue = verk.admin().queue("waits").unwrap();
    queue.count().await.unwrap()
}

/// Lets so many runs be taken.
async fn take(fleet: &Fleet, verk: &Verk, runs: u64) {
    let entry = verk.cron().get("a").await.unwrap().unwrap();
    let taken = entry.runs + entry.skipped + runs;
    let step = Duration::from_secs(20);
    fleet
        .until_in_steps(verk, "a", step, |entry| entry.runs + entry.skipped == taken)
        .await;
}

async fn assert_runs(verk: &Verk, runs: u64, skipped: u64) {
    let entry = verk.cron().get("a").await.unwrap().unwrap();
    assert_eq!((entry.runs, entry.skipped), (runs, skipped));
}

/// While a job waits in its queue, which is paused, the runs after it are skipped.
// matrix: cron × pause
#[tokio::test]
async fn a_run_is_skipped_while_the_last_job_waits() {
    let fleet = Fleet::new();
    let (verk, _) = fleet.other().await;
    verk.admin().pause_queue_everywhere("waits").await.unwrap();
    verk.cron().upsert("a", waits()).await.unwrap();
    take(&fleet, &verk, 6).await;
    assert_eq!(waiting(&verk).await, 1);
    assert_runs(&verk, 1, 5).await;
    verk.shutdown().await;
}

/// A job that an operator deletes or buries, or clears with its queue, does not count any more.
// matrix: cron × operator
#[tokio::test]
async fn an_operator_ends_the_job_of_a_run() {
    for action in [Some(Action::Delete), Some(Action::Kill), None] {
        let fleet = Fleet::new();
        let (verk, _) = fleet.other().await;
        verk.cron().upsert("a", waits()).await.unwrap();
        take(&fleet, &verk, 2).await;
        let queue = verk.admin().queue("waits").unwrap();
        let ended = match action {
            Some(action) => queue.select().act(action).await.unwrap(),
            None => queue.clear().await.unwrap(),
        };
        assert_eq!(ended, 1);
        take(&fleet, &verk, 2).await;
        assert_runs(&verk, 2, 2).await;
        assert_eq!(waiting(&verk).await, 1, "{action:?}");
        verk.shutdown().await;
    }
}

/// A dead job is requeued beside the job of a later run: it needs no lock.
// matrix: cron × dead
#[tokio::test]
async fn a_dead_job_of_a_run_comes_back() {
    let fleet = Fleet::new();
    let (verk, _) = fleet.other().await;
    verk.cron().upsert("a", waits()).await.unwrap();
    take(&fleet, &verk, 1).await;
    let queue = verk.admin().queue("waits").unwrap();
    assert_eq!(queue.select().act(Action::Kill).await.unwrap(), 1);
    take(&fleet, &verk, 1).await;
    let dead = verk.admin().dead_set();
    assert_eq!(dead.select().act(Action::Requeue).await.unwrap(), 1);
    assert_eq!(waiting(&verk).await, 2);
    take(&fleet, &verk, 1).await;
    assert_runs(&verk, 2, 1).await;
    verk.shutdown().await;
}

/// A class of another program, which frees no lock, has none.
// matrix: cron × mixed fleet
#[tokio::test]
async fn a_class_of_another_program_skips_no_run() {
    let fleet = Fleet::new();
    let (verk, _) = fleet.other().await;
    let ruby = Cron::every("10m").class("Ruby::Export", ["runs"]);
    verk.cron().upsert("a", ruby.queue("waits")).await.unwrap();
    take(&fleet, &verk, 6).await;
    assert_eq!(waiting(&verk).await, 6);
    assert_runs(&verk, 6, 0).await;
    verk.shutdown().await;
}

/// If another program loses the job of a run, its lock is freed after some skipped runs, and the
/// runs continue.
// matrix: cron × mixed fleet
#[tokio::test]
async fn a_job_that_another_program_deletes_stops_no_entry() {
    let fleet = Fleet::new();
    let (verk, _) = fleet.other().await;
    verk.cron().upsert("a", waits()).await.unwrap();
    take(&fleet, &verk, 1).await;
    let queue = Source::Queue("waits".parse().unwrap());
    let jobs = fleet.storage.list(&queue, &ALL.into()).await.unwrap().jobs;
    let without_effects = Move::new(jobs[0].job.clone(), MoveTarget::Delete);
    let storage = &fleet.storage;
    storage.move_jobs(&queue, &[without_effects], None).await;
    assert_eq!(waiting(&verk).await, 0);
    take(&fleet, &verk, 6).await;
    let entry = verk.cron().get("a").await.unwrap().unwrap();
    assert!(entry.runs >= 2 && entry.skipped >= 1, "{entry:?}");
    verk.shutdown().await;
}
