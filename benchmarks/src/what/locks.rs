//! How long the server takes for an enqueue that meets the lock of a unique job, beside a million
//! jobs that wait and 100 000 locks.

use std::{ops::Range, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::runtime;
use verk::{
    Client, Enqueued, Job, OnConflict, QueueName, Unique,
    client::{IntoJob as _, NewJob},
    prelude::*,
    redis::RedisStorage,
};

use super::targets::at_most;
use crate::{
    lab::Lab,
    report::{Measured, Outcome, Report},
    server::Server,
};

/// How many milliseconds of the server 99 of 100 enqueues that meet a lock may take.
const MOST_MS: f64 = 1.0;

/// How many jobs one call enqueues.
const BULK: usize = 1_000;

/// Unique jobs that differ only in their arguments.
struct Kind {
    name: &'static str,
    unique: Unique,
    /// Whether an enqueue that meets a lock stores the job beside the one that holds it.
    is_new: bool,
}

/// Their jobs are the oldest of the queue.
const OLDEST: [Kind; 3] = [
    Kind {
        name: "skip",
        unique: Unique::new(),
        is_new: false,
    },
    // The server searches the newest 10 000 jobs of the queue, and does not find it.
    Kind {
        name: "replace_not_found",
        unique: REPLACE,
        is_new: false,
    },
    Kind {
        name: "keep_last",
        unique: Unique::new().on_conflict(OnConflict::KeepLast),
        is_new: true,
    },
];

/// Their jobs are the newest of the queue, or scheduled.
const NEWEST: [Kind; 2] = [
    Kind {
        name: "debounce",
        unique: Unique::new().debounce(Duration::from_secs(3600)),
        is_new: false,
    },
    Kind {
        name: "replace",
        unique: REPLACE,
        is_new: false,
    },
];

/// The row of enqueues that meet no lock.
const FREE: &str = "free";

const REPLACE: Unique = Unique::new().on_conflict(OnConflict::Replace);

/// How much the server has, and how many enqueues are measured.
#[derive(Clone, Copy)]
struct Size {
    waiting: u64,
    locks: u64,
    conflicts: u64,
}

/// The rows are the ways in which an enqueue meets a lock, and one that takes a free lock. The part
/// is the same with no more jobs than locks that are met.
pub(crate) fn run(lab: &Lab) -> Result<Report> {
    let conflicts = lab.settings.scaled(10_000);
    let kinds = (OLDEST.len() + NEWEST.len()) as u64;
    let waiting = lab.settings.jobs(1_000_000);
    let full = Size {
        waiting,
        locks: (waiting / 10).max(conflicts * kinds),
        conflicts,
    };
    let small = Size {
        waiting: 0,
        locks: conflicts * kinds,
        conflicts,
    };
    let mut report = measured(full)?;
    let meet = report.rows.iter().filter(|(name, _)| *name != FREE);
    let targets = meet.map(|(name, row)| {
        let p99 = row.figure("server_us_p99");
        let name = format!("{name}, 99 of 100, ms of the server");
        at_most(&name, MOST_MS, p99.map(|us| us / 1e3))
    });
    report.targets = targets.collect();
    Ok(report.with("few_jobs", measured(small)?))
}

fn measured(size: Size) -> Result<Report> {
    let server = Server::start();
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let rows = runtime.block_on(async {
        let storage = RedisStorage::connect(server.url().as_str()).await?;
        let client = Client::new(Arc::new(storage));
        eprintln!("locks: fills the server");
        fill(&client, size).await?;
        let mut rows = Vec::new();
        let kind_locks = size.locks / (OLDEST.len() + NEWEST.len()) as u64;
        for kind in OLDEST.iter().chain(&NEWEST) {
            let met = kind_locks - size.conflicts..kind_locks;
            let took = enqueue(&client, &server, kind, met).await?;
            rows.push((kind.name.to_owned(), took));
        }
        let free = Kind {
            name: FREE,
            unique: Unique::new(),
            is_new: true,
        };
        let took = enqueue(&client, &server, &free, 0..size.conflicts).await?;
        rows.push((free.name.to_owned(), took));
        anyhow::Ok(rows)
    })?;
    let settings = [
        ("waiting", json!(size.waiting)),
        ("locks", json!(size.locks)),
        ("enqueues", json!(size.conflicts)),
        ("threads", json!(1)),
    ];
    Ok(Report::new("locks", "", &settings, Vec::new()).rows(rows))
}

/// Stores the jobs that hold the locks, and others until so many wait.
async fn fill(client: &Client, size: Size) -> Result<()> {
    let kind_locks = size.locks / (OLDEST.len() + NEWEST.len()) as u64;
    // The jobs of one kind are scheduled.
    let others = size.waiting.saturating_sub(kind_locks * 4);
    for kind in &OLDEST {
        enqueue_all(client, (0..kind_locks).map(|number| job(kind, number))).await?;
    }
    enqueue_all(client, (0..others).map(plain)).await?;
    for kind in &NEWEST {
        enqueue_all(client, (0..kind_locks).map(|number| job(kind, number))).await?;
    }
    Ok(())
}

async fn enqueue_all(client: &Client, jobs: impl Iterator<Item = Result<NewJob>>) -> Result<()> {
    let mut jobs = jobs.peekable();
    while jobs.peek().is_some() {
        let bulk: Result<Vec<NewJob>> = jobs.by_ref().take(BULK).collect();
        client.enqueue_all(bulk?).await?;
    }
    Ok(())
}

/// How long the server takes for each of these jobs.
async fn enqueue(
    client: &Client,
    server: &Server,
    kind: &Kind,
    numbers: Range<u64>,
) -> Result<Outcome> {
    let mut took = Vec::new();
    let mut before = server.scripts_ms()?;
    for number in numbers {
        let enqueued = client.enqueue_unique(job(kind, number)?).await?;
        let is_new = matches!(enqueued, Enqueued::New(_));
        ensure!(is_new == kind.is_new, "{}: {enqueued:?}", kind.name);
        let after = server.scripts_ms()?;
        took.push(((after - before) * 1e3).round());
        before = after;
    }
    took.sort_by(f64::total_cmp);
    let percentile = |percent: usize| took[(took.len() * percent).div_ceil(100) - 1];
    let measured: Measured = vec![
        ("server_us_p50", percentile(50)),
        ("server_us_p99", percentile(99)),
        ("server_us_longest", percentile(100)),
    ];
    eprintln!("locks {}: server_us_p50 {}", kind.name, percentile(50));
    Ok(Outcome::of(&[measured]))
}

fn job(kind: &Kind, number: u64) -> Result<NewJob> {
    Ok(Job::new(kind.name, queue()?, args(number))?
        .into_job()
        .unique(kind.unique))
}

fn plain(number: u64) -> Result<NewJob> {
    Ok(Job::new("plain", queue()?, args(number))?.into_job())
}

fn queue() -> Result<QueueName> {
    Ok("bench-0".parse()?)
}

fn args(number: u64) -> String {
    format!("[{number},\"customer{number}@example.com\"]")
}
