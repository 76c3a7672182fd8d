//! The faults that a fleet of worker processes survives. Each test prints its figures.

use std::time::Duration;

use verk_chaos::{
    Fault, Kind, Place, Plan, Production, Run, Size, Verdict,
    ledger::{Life, Record},
    run,
};

/// Three workers, and a load that lasts for `seconds`.
fn load(seconds: u64, plan: Plan) -> Run {
    const PRODUCERS: usize = 4;
    const PAUSE: Duration = Duration::from_millis(4);
    let jobs = u128::from(seconds) * 1000 / PAUSE.as_millis();
    Run {
        size: Size {
            program: env!("CARGO_BIN_EXE_verk-chaos").into(),
            workers: 3,
            place: Place::Server,
            concurrency: 25,
            heartbeat: Duration::from_millis(600),
        },
        plan,
        production: Production {
            jobs: usize::try_from(jobs).unwrap(),
            pause: PAUSE,
            kinds: vec![(Kind::Quick, 1), (Kind::Short, 8), (Kind::Slow, 1)],
        },
        producers: PRODUCERS,
        produce_until_over: false,
        seed: 1,
        rest: Duration::from_secs(60),
    }
}

async fn figures(what: Run) -> (Verdict, Vec<Record>) {
    let (verdict, records) = run(what).await.unwrap();
    println!("{verdict}");
    assert!(verdict.is_clean());
    (verdict, records)
}

/// The first life of the first worker, which gets the fault.
const FIRST: Life = Life {
    worker: 0,
    restarts: 0,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_runs_when_each_of_three_workers_is_killed_ten_times() {
    let length = Duration::from_secs(15);
    let plan = Plan::for_each_worker(1, length, 3, Fault::KillWorker, 10);
    let mut what = load(15, plan);
    what.production.jobs = 5_000;
    what.production.pause = length / 5_000;
    let (verdict, _) = figures(what).await;
    assert_eq!(verdict.stored, 20_000);
    assert_eq!(verdict.faults["kill_worker"], 30);
    assert!(verdict.restored > 0, "a kill met running jobs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stood_still_has_lost_its_jobs_says_so_and_goes_on() {
    // So long that the other nodes notice, with jobs so slow that the worker has some, even if
    // every process gets little of the processor.
    let length = Some(Duration::from_secs(8));
    let freeze = Plan::one(Duration::from_secs(2), Fault::FreezeWorker, length);
    let mut what = load(14, freeze);
    what.production = Production {
        jobs: 14 * 40,
        pause: Duration::from_millis(25),
        kinds: vec![(Kind::Slow, 1)],
    };
    let (verdict, records) = figures(what).await;
    assert!(verdict.restored > 0, "others ran its jobs");
    assert!(
        verdict.outcomes_without_effect > 0,
        "its outcomes came too late"
    );
    let frozen = records
        .iter()
        .position(|record| matches!(record, Record::Fault { .. }));
    let after = &records[frozen.unwrap()..];
    let lost = after
        .iter()
        .filter(|record| **record == Record::Lost(FIRST));
    assert_eq!(lost.count(), verdict.outcomes_without_effect);
    let new_id = after
        .iter()
        .position(|record| matches!(record, Record::Node(life, _) if *life == FIRST));
    let goes_on = after[new_id.expect("it takes a new id")..]
        .iter()
        .any(|record| matches!(record, Record::Settled(life, _) if *life == FIRST));
    assert!(goes_on, "it works under the new id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_dies_of_a_redis_that_is_down_for_half_a_minute() {
    let down = Some(Duration::from_secs(30));
    let mut plan = Plan::one(Duration::from_secs(2), Fault::KillRedis, down);
    // The producers continue for a while after that.
    plan.lanes
        .extend(Plan::one(Duration::from_secs(36), Fault::ScriptFlush, None).lanes);
    let mut what = load(40, plan);
    what.produce_until_over = true;
    let (verdict, _) = figures(what).await;
    assert!(verdict.not_stored > 0, "it was down");
    assert_nobody_was_declared_dead(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_dies_or_panics_costs_nothing() {
    for fault in [Fault::LogDies, Fault::SubscriberPanics] {
        let plan = Plan::one(Duration::from_secs(1), fault, Some(Duration::from_secs(3)));
        let (verdict, _) = figures(load(5, plan)).await;
        let started = verdict.started - verdict.ticks_due;
        assert_eq!(started, verdict.stored, "each job ran once");
        assert!(verdict.caught_panics > 0, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_dies_of_a_redis_that_stands_still() {
    let plan = Plan::one(Duration::from_secs(2), Fault::StallRedis, None);
    let (verdict, _) = figures(load(6, plan)).await;
    assert_nobody_was_declared_dead(&verdict);
}

/// No node gave the jobs of another back to their queues. If the heartbeat of a node expired on the
/// server meanwhile, the node registers under a new id by itself, and its jobs continue to run.
fn assert_nobody_was_declared_dead(verdict: &Verdict) {
    assert_eq!(verdict.restored, 0);
    assert_eq!(verdict.outcomes_without_effect, 0);
    assert!(verdict.duplicates.is_empty());
}
