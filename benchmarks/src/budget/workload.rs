//! The counted work: a fixed number of jobs, enqueued or run by a node with its default settings,
//! on one thread.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Instant, SystemTime},
};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use tokio::sync::Semaphore;
use verk::{
    Client, Jid, QueueName,
    prelude::*,
    storage::{Conflict, LockRef, Locked, LockedJob, MAX_BATCH_JOBS, Source, Storage},
    time::{Clock, SystemClock},
};
use verk_testing::MemoryStorage;

/// The queue of [`Budgeted`].
const QUEUE: &str = "budget";
/// How many jobs run at once.
const CONCURRENCY: usize = 25;
/// How many jobs one call of [`Workload::Bulk`] has.
const BULK: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Workload {
    /// Jobs enqueued one by one, by one task.
    Enqueue,
    /// Jobs enqueued by calls of 1000.
    Bulk,
    /// Jobs that wait, run 25 at once.
    Drain,
    /// The same, where each hundredth job is unique: the others cost what they cost without it.
    DrainWithUnique,
}

impl Workload {
    pub(super) const ALL: [Self; 4] = [
        Self::Enqueue,
        Self::Bulk,
        Self::Drain,
        Self::DrainWithUnique,
    ];

    /// Its name, on the command line and in the file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Bulk => "bulk",
            Self::Drain => "drain",
            Self::DrainWithUnique => "drain_with_unique",
        }
    }

    /// All of it on a storage in memory.
    pub(super) async fn run_in_memory(self, jobs: usize) -> Result<()> {
        let storage = MemoryStorage::new(Arc::new(SystemClock));
        self.prepare(&storage, jobs).await?;
        self.run(storage, jobs).await
    }

    /// Does what is not counted.
    pub(super) async fn prepare(self, storage: &(impl Storage + Clone), jobs: usize) -> Result<()> {
        if matches!(self, Self::Enqueue | Self::Bulk) {
            return Ok(());
        }
        let queue: QueueName = QUEUE.parse()?;
        let numbers: Vec<usize> = (0..jobs).collect();
        for batch in numbers.chunks(MAX_BATCH_JOBS) {
            let plain = match batch {
                [first, rest @ ..] if self == Self::DrainWithUnique => {
                    let stored = storage.enqueue_locked(&[unique(&queue, *first)?]).await;
                    ensure!(matches!(stored[..], [Locked::New]), "{stored:?}");
                    rest
                }
                batch => batch,
            };
            let payloads = plain.iter().map(|number| payload(*number).into());
            storage
                .enqueue(&queue, &payloads.collect::<Vec<_>>())
                .await?;
        }
        Ok(())
    }

    /// Does what is counted.
    pub(super) async fn run(self, storage: impl Storage + Clone, jobs: usize) -> Result<()> {
        let numbers = 0..jobs as u64;
        match self {
            Self::Enqueue => {
                let client = Client::new(Arc::new(storage));
                for number in numbers {
                    client.enqueue(Budgeted::new(number)).await?;
                }
            }
            Self::Bulk => {
                let client = Client::new(Arc::new(storage));
                let jobs: Vec<Budgeted> = numbers.map(Budgeted::new).collect();
                for jobs in jobs.chunks(BULK) {
                    client.enqueue_all(jobs.iter().cloned()).await?;
                }
            }
            Self::Drain | Self::DrainWithUnique => drain(storage, jobs).await?,
        }
        Ok(())
    }
}

/// Runs all stored jobs, until the last is settled.
async fn drain(storage: impl Storage + Clone, jobs: usize) -> Result<()> {
    let verk = Verk::builder()
        .storage(storage.clone())
        .clock(Arc::new(SlowClock(SystemClock.instant())))
        .queue(QUEUE, CONCURRENCY)
        .build()
        .await?;
    verk.start()?;
    DONE.acquire_many(u32::try_from(jobs)?).await?.forget();
    verk.shutdown().await;
    let left = storage.len(&Source::Queue(QUEUE.parse()?)).await?;
    ensure!(left == 0, "{left} jobs were not run");
    Ok(())
}

/// Time passes about as slowly as the program runs under callgrind. A node decides by how long
/// steps take, so it decides in the same way however busy the machine is.
#[derive(Debug)]
struct SlowClock(Instant);

impl SlowClock {
    const TIMES: u32 = 100;
}

impl Clock for SlowClock {
    fn now(&self) -> SystemTime {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        self.0 + self.0.elapsed() / Self::TIMES
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        SystemClock.sleep_until(self.0 + (deadline - self.0) * Self::TIMES)
    }
}

/// The counted job: it has a number, and reports that it ran.
#[verk::worker(queue = "budget")]
async fn budgeted(_number: u64) -> Result<()> {
    DONE.add_permits(1);
    Ok(())
}

/// A permit for each job that ran.
static DONE: Semaphore = Semaphore::const_new(0);

/// A job as verk writes it.
fn payload(number: usize) -> String {
    format!(
        r#"{{"retry":true,"queue":"{QUEUE}","args":[{number}],"class":"Budgeted","jid":"{number:024x}","created_at":1732387200.5,"enqueued_at":1732387200.5}}"#
    )
}

/// The same with a lock of its own.
fn unique(queue: &QueueName, number: usize) -> Result<LockedJob> {
    let id = format!("{number:032x}");
    let payload = payload(number);
    let keys = payload.trim_end_matches('}');
    Ok(LockedJob {
        job: format!(r#"{keys},"verk":{{"u":{{"d":"{id}"}}}}}}"#).into(),
        lock: LockRef {
            id: id.parse()?,
            jid: Jid::from(format!("{number:024x}")),
            queue: queue.clone(),
        },
        at: None,
        class: "Budgeted".to_owned(),
        lasts: None,
        on_conflict: Conflict::Skip,
    })
}
