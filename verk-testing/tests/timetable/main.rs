//! Periodic jobs: in the tests of a program, and in fleets whose nodes come, go and fail.
#![cfg(feature = "cron")]

mod fleet;
mod in_a_test;
mod moves;
mod waiting;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use verk_core::{
    Job, JobContext, Outcome, Worker, WorkerOptions,
    cron::{CatchUp, Overlap, Periodic, Tick},
    job::{ArgsError, ArgsReader},
    outcome::PerformError,
    storage::{Page, Source, WaitingJob, WaitingStore as _},
};
use verk_testing::MemoryStorage;

const DAY: Duration = Duration::from_secs(86_400);

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The ticks of the jobs that wait in a queue, in order.
async fn ticks(storage: &MemoryStorage, queue: &str) -> Vec<Tick> {
    let queue = Source::Queue(queue.parse().unwrap());
    let all = Page {
        offset: 0,
        limit: 1000,
    };
    let jobs = storage.list(&queue, &all.into()).await.unwrap().jobs;
    let tick = |waiting: WaitingJob| Tick::of(&Job::decode(waiting.job).unwrap()).unwrap();
    jobs.into_iter().map(tick).collect()
}

/// Makes a worker without arguments, as the macro does.
macro_rules! worker {
    ($name:ident, $class:literal, $options:expr, $perform:expr) => {
        #[derive(Debug)]
        struct $name;

        impl Worker for $name {
            const CLASS: &'static str = $class;
            const OPTIONS: WorkerOptions = $options;

            fn encode_args(&self) -> Result<String, ArgsError> {
                Ok("[]".to_owned())
            }

            fn decode_args(_: &mut ArgsReader<'_>) -> Result<Self, ArgsError> {
                Ok(Self)
            }

            async fn perform(self, ctx: JobContext) -> Result<Outcome, PerformError> {
                let perform: fn(Option<Tick>) -> Result<Outcome, PerformError> = $perform;
                perform(Tick::of(ctx.job()))
            }
        }
    };
}

const fn berlin(expression: &'static str) -> Periodic {
    Periodic::cron(
        "report",
        expression,
        "Europe/Berlin",
        || Ok("[]".to_owned()),
    )
    .overlap(Overlap::Allow)
}

worker!(
    Report,
    "Report",
    WorkerOptions::DEFAULT.cron(&[berlin("30 2 * * *")]),
    |tick| {
        let tick = tick.expect("a tick made it");
        assert_eq!((tick.name(), tick.missed()), ("report", 0));
        Ok(Outcome::Done)
    }
);
// The same worker in later versions of the program.
worker!(
    Later,
    "Report",
    WorkerOptions::DEFAULT.cron(&[berlin("45 3 * * *")]),
    |_| Ok(Outcome::Done)
);
worker!(
    OtherPolicy,
    "Report",
    WorkerOptions::DEFAULT.cron(&[berlin("30 2 * * *").catch_up(CatchUp::All)]),
    |_| Ok(Outcome::Done)
);
worker!(
    Fails,
    "Fails",
    WorkerOptions::DEFAULT
        .max_retry_count(0)
        .cron(&[Periodic::every("fails", DAY, || Ok("[]".to_owned()))]),
    |_| Err(PerformError::new("always"))
);
worker!(
    Wrong,
    "Wrong",
    WorkerOptions::DEFAULT.cron(&[Periodic::cron("wrong", "99 * * * *", "UTC", || Ok(
        "[]".to_owned()
    ))]),
    |_| Ok(Outcome::Done)
);
