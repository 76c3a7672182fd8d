//! Migrations between fleets in memory: what moves, what stays, and crashes at every step.

mod crash;
mod locks;
mod places;
#[cfg(feature = "cron")]
mod timetable;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use verk_core::{
    Client, Job, QueueName,
    cells::Cells,
    manage::{Admin, MigrateError, MigrationReport},
    storage::{JobSet, ListRequest, Move, MoveTarget, Position, Settled, Source, Storage},
};
use verk_testing::{
    MemoryStorage,
    conformance::{Harness as _, ScoredJob},
};

/// Queues that lie in all of three cells.
const QUEUES: [&str; 4] = ["default", "mailers", "critical", "low"];

const SETS: [JobSet; 3] = [JobSet::Schedule, JobSet::Retry, JobSet::Dead];

/// A storage of one cell or several, and what programs see of it.
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
        Self::of_memories(memories.collect())
    }

    fn of_memories(memories: Vec<MemoryStorage>) -> Self {
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

    async fn push(&self, queue: &str, jid: &str) {
        let queue = name(queue);
        let job = payload(queue.as_str(), jid);
        self.view.enqueue(&queue, &[job]).await.unwrap();
    }

    async fn add(&self, set: JobSet, score: f64, queue: &str, jid: &str) {
        let cell = self.cells.of(&name(queue));
        let job = payload(queue, jid);
        let member = ScoredJob { score, job };
        self.memories[cell].add_member(set, member).await;
    }

    /// Some jobs in each place.
    async fn fill(&self) {
        for (number, queue) in QUEUES.into_iter().enumerate() {
            for job in 0..3 {
                self.push(queue, &format!("{queue}-{job}")).await;
            }
            for (place, set) in SETS.into_iter().enumerate() {
                for job in 0..2 {
                    let score = 1.5 + (1_000 * place + 10 * number + job) as f64;
                    let jid = format!("{queue}-{place}-{job}");
                    self.add(set, score, queue, &jid).await;
                }
            }
        }
    }

    /// The jobs of each place in their order, with their times.
    async fn jobs(&self) -> BTreeMap<String, Vec<(Option<u64>, Bytes)>> {
        let mut all = BTreeMap::new();
        let queues = self.view.queues().await.unwrap().into_iter();
        let sets = SETS.into_iter().map(Source::Set);
        for place in sets.chain(queues.map(Source::Queue)) {
            let (mut jobs, mut next) = (Vec::new(), Some(Position::default()));
            while let Some(from) = next {
                let request = ListRequest {
                    from,
                    ..ListRequest::default()
                };
                let page = self.view.list(&place, &request).await.unwrap();
                let page_jobs = page.jobs.into_iter();
                jobs.extend(page_jobs.map(|job| (job.score.map(f64::to_bits), job.job)));
                next = page.next;
            }
            if !jobs.is_empty() {
                all.insert(place.to_string(), jobs);
            }
        }
        all
    }

    /// How many jobs wait.
    async fn count(&self) -> usize {
        self.jobs().await.values().map(Vec::len).sum()
    }

    /// Takes all jobs out of the queues, as nodes do. Returns their ids.
    async fn run_queues(&self) -> Vec<String> {
        let mut ids = Vec::new();
        for queue in self.view.queues().await.unwrap() {
            let place = Source::Queue(queue);
            let page = self.view.list(&place, &ListRequest::default()).await;
            let jobs = page.unwrap().jobs.into_iter();
            let steps: Vec<Move> = jobs
                .map(|job| Move::new(job.job, MoveTarget::Delete))
                .collect();
            for (step, settled) in steps
                .iter()
                .zip(self.view.move_jobs(&place, &steps, None).await)
            {
                assert!(matches!(settled, Settled::Done), "{settled:?}");
                ids.push(jid(&step.held));
            }
        }
        ids
    }

    /// The queues that are paused.
    async fn paused(&self) -> Vec<String> {
        let paused = self.view.paused_queues().await.unwrap();
        paused.iter().map(ToString::to_string).collect()
    }

    async fn migrate(&self, target: &Self) -> Result<MigrationReport, MigrateError> {
        self.admin.migrate_to(&target.admin).by("ada").run().await
    }
}

fn name(queue: &str) -> QueueName {
    queue.parse().unwrap()
}

fn payload(queue: &str, jid: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"class":"Welcome","jid":"{jid}","queue":"{queue}","args":[ 1.50 ]}}"#
    ))
}

fn jid(payload: &Bytes) -> String {
    Job::decode(payload.clone()).unwrap().jid().to_string()
}
