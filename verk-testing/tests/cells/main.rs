//! Clients and operators on fleets of one and of several cells, whose answers must not differ; and
//! what several cells have besides: strays, pauses that are not complete, cells that fail.

mod conformance;
mod fails;
mod lists;
mod moves;
mod nodes;
mod strays;
#[cfg(feature = "cron")]
mod timetable;
mod whole;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use verk_core::{
    Client, EnqueueExt as _, Job, JobContext, Outcome, QueueName, Worker, WorkerOptions,
    cells::Cells,
    client::NewJob,
    job::{ArgsError, ArgsReader},
    manage::{Admin, Entry},
    outcome::PerformError,
    storage::{JobStore as _, ListRequest, Source, Storage, WaitingStore as _},
};
use verk_testing::MemoryStorage;

const HOUR: Duration = Duration::from_secs(3_600);

/// Eight queues, which lie in all of three cells and in several of 16.
const QUEUES: [&str; 8] = [
    "default", "mailers", "critical", "a", "b", "reports", "images", "low",
];

/// A fleet, and what a client and an operator see of it.
struct Fleet {
    memories: Vec<MemoryStorage>,
    cells: Cells,
    view: Arc<dyn Storage>,
    client: Client,
    admin: Admin,
}

impl Fleet {
    fn of(count: usize) -> Self {
        let memories = std::iter::repeat_with(MemoryStorage::default).take(count);
        let memories: Vec<MemoryStorage> = memories.collect();
        let cells: Cells = memories.iter().cloned().collect();
        let view = cells.view();
        let client = Client::new(Arc::clone(&view));
        Self {
            memories,
            cells,
            view,
            admin: client.admin(),
            client,
        }
    }

    /// The cell of a queue.
    fn home(&self, queue: &str) -> &MemoryStorage {
        &self.memories[self.cells.of(&name(queue))]
    }

    /// A cell in which a queue does not lie, if there is another.
    fn elsewhere(&self, queue: &str) -> &MemoryStorage {
        let home = self.cells.of(&name(queue));
        &self.memories[(home + 1) % self.memories.len()]
    }

    /// Puts a job into a queue of one cell.
    async fn put(&self, cell: &MemoryStorage, queue: &str, jid: &str) {
        let job = payload(queue, jid);
        cell.enqueue(&name(queue), &[job]).await.unwrap();
    }

    /// The ids of the jobs that wait in a queue of one cell, the next to be fetched first.
    async fn queued(&self, cell: &MemoryStorage, queue: &str) -> Vec<String> {
        let source = Source::Queue(name(queue));
        let listing = cell.list(&source, &ListRequest::default()).await.unwrap();
        let jobs = listing.jobs.into_iter().map(|waiting| waiting.job);
        jobs.map(|job| Job::decode(job).unwrap().jid().to_string())
            .collect()
    }
}

/// Fleets of one cell, of three and of 16.
fn fleets() -> [Fleet; 3] {
    [1, 3, 16].map(Fleet::of)
}

fn name(queue: &str) -> QueueName {
    queue.parse().unwrap()
}

/// A worker that the macro would make. No test runs it.
#[derive(Debug)]
struct Welcome(u32);

impl Worker for Welcome {
    const CLASS: &'static str = "Welcome";
    const OPTIONS: WorkerOptions = WorkerOptions::DEFAULT.queue("default");

    fn encode_args(&self) -> Result<String, ArgsError> {
        Ok(format!("[{}]", self.0))
    }

    fn decode_args(args: &mut ArgsReader<'_>) -> Result<Self, ArgsError> {
        args.arg("number").map(Self)
    }

    async fn perform(self, _ctx: JobContext) -> Result<Outcome, PerformError> {
        Ok(Outcome::Done)
    }
}

fn job(queue: &str, number: u32) -> NewJob {
    Welcome(number).queue(queue)
}

fn payload(queue: &str, jid: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"class":"Welcome","jid":"{jid}","queue":"{queue}","args":[]}}"#
    ))
}

fn jids(entries: &[Entry]) -> Vec<String> {
    let jids = entries.iter().map(|entry| entry.job().unwrap().jid());
    jids.map(ToString::to_string).collect()
}

#[test]
fn the_queues_lie_in_several_cells() {
    let cells = |fleet: &Fleet| {
        let cells = QUEUES.map(|queue| fleet.cells.of(&name(queue)));
        std::collections::BTreeSet::from(cells).len()
    };
    let [one, three, many] = fleets().each_ref().map(cells);
    assert_eq!((one, three), (1, 3));
    assert!(many >= 5, "{many}");
}
