//! Poison pills: jobs that kill the process that runs them.

use std::{
    env,
    process::{self, Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use verk::{
    Event, EventKind, Job, Verk, VerkBuilder,
    events::Events,
    names::NodeId,
    prelude::*,
    storage::{
        DequeueRequest, DueSet, DueStore, Inprogress, JobSet, JobStore, Move, MoveTarget,
        NodeStore, Source, WaitingStore,
    },
    time::{Clock, SystemClock, from_unix_seconds, unix_seconds},
};
use verk_testing::{MemoryStorage, Operation, RedisServer, within};

use crate::support::{ALL, Logged, PATIENCE, States, payloads, queue_name, wait_for};

/// The name of all nodes here, so that each is known to be dead when the next has it.
const NAME: &str = "worker-0";

/// A node that restores what others of its name leave, and runs no job itself.
struct Heir {
    verk: Verk,
    events: Events,
    storage: MemoryStorage,
}

impl Heir {
    async fn new(configure: impl FnOnce(VerkBuilder) -> VerkBuilder) -> Self {
        let storage = MemoryStorage::default();
        let builder = Verk::builder()
            .storage(storage.clone())
            .queue("other", 1)
            .node_id(NAME.to_owned())
            .heartbeat(Duration::from_millis(500));
        let verk = States::new()
            .give(configure(builder))
            .build()
            .await
            .unwrap();
        let events = verk.events();
        verk.start().unwrap();
        Self {
            verk,
            events,
            storage,
        }
    }

    /// All jobs of the queue are fetched by a node, which dies. All but the newest `prefetched` had
    /// been started.
    async fn death_of_a_node(&mut self, prefetched: usize) {
        let held = Inprogress {
            queue: queue_name("default"),
            node: NodeId::register(NAME).unwrap(),
        };
        let ttl = Duration::from_secs(600);
        let queues = [held.queue.clone()];
        self.storage
            .register(&held.node, &queues, ttl, &Default::default())
            .await
            .unwrap();
        let mut connection = self.storage.open_queue(&held).await.unwrap();
        let max_jobs = self
            .storage
            .len(&Source::Queue(held.queue.clone()))
            .await
            .unwrap();
        let request = DequeueRequest {
            max_jobs,
            max_bytes: usize::MAX,
            prefetched,
            wait: Duration::ZERO,
            interrupt: CancellationToken::new(),
        };
        connection.dequeue(request).await.unwrap();
        self.storage.faults().expire_heartbeat(&held.node);
        let restored = async {
            while !self
                .storage
                .inprogress(&held, ALL)
                .await
                .unwrap()
                .is_empty()
            {
                tokio::task::yield_now().await;
            }
        };
        within(PATIENCE, restored).await;
    }

    /// So many of the jobs that were delayed are due, and move to their queue.
    async fn time_passes(&self, jobs: usize) {
        let far: SystemTime = from_unix_seconds(4_000_000_000.0);
        let page = self.storage.due(DueSet::Schedule, far, ALL).await.unwrap();
        let moves: Vec<_> = page
            .jobs
            .into_iter()
            .take(jobs)
            .map(|job| {
                Move::new(
                    job.clone(),
                    MoveTarget::Queue {
                        queue: queue_name("default"),
                        job,
                    },
                )
            })
            .collect();
        let from = Source::Set(JobSet::Schedule);
        self.storage.move_jobs(&from, &moves, Some(far)).await;
    }

    async fn enqueue(&self, jobs: &[&Job]) {
        let jobs: Vec<Bytes> = jobs.iter().map(|job| job.encode()).collect();
        let queue = queue_name("default");
        self.storage.enqueue(&queue, &jobs).await.unwrap();
    }

    async fn queued(&self) -> Vec<Bytes> {
        let queue = Source::Queue(queue_name("default"));
        payloads(self.storage.list(&queue, &ALL.into()).await.unwrap().jobs)
    }

    async fn members(&self, set: JobSet) -> Vec<Job> {
        let members = self
            .storage
            .list(&Source::Set(set), &ALL.into())
            .await
            .unwrap()
            .jobs;
        let jobs = members.into_iter().map(|member| Job::decode(member.job));
        jobs.map(Result::unwrap).collect()
    }
}

fn job(class: &str) -> Job {
    Job::new(class, queue_name("default"), "[]".to_owned()).unwrap()
}

#[tokio::test]
async fn with_its_third_process_a_pill_is_buried_and_says_so() {
    let (logged, _guard) = Logged::capture();
    let mut heir = Heir::new(|builder| builder).await;
    let pill = job("Pill");
    heir.enqueue(&[&pill]).await;

    heir.death_of_a_node(0).await;
    assert_eq!(heir.queued().await, [pill.encode()], "untouched");

    let before = unix_seconds(SystemClock.now());
    heir.death_of_a_node(0).await;
    let after = unix_seconds(SystemClock.now());
    let scheduled = heir
        .storage
        .list(&Source::Set(JobSet::Schedule), &ALL.into())
        .await
        .unwrap()
        .jobs;
    assert_eq!(scheduled.len(), 1);
    let score = scheduled[0].score.unwrap();
    let delay = (score - after)..=(score - before);
    assert!(delay.contains(&60.0), "{delay:?}");
    assert_eq!(heir.members(JobSet::Schedule).await[0].failures(), 0);

    heir.time_passes(1).await;
    heir.death_of_a_node(0).await;
    let buried = wait_for(&mut heir.events, |event| match event {
        Event {
            what: EventKind::PoisonPillBuried { deaths, node, .. },
            job: Some(job),
            ..
        } => Some((job, deaths, node)),
        _ => None,
    });
    let (buried, deaths, node) = buried.await;
    assert_eq!((buried.jid(), deaths), (pill.jid(), 3));
    let jid = pill.jid().as_str();
    assert_eq!(logged.lines_with(&["ERROR", "poison pill", jid]), 1);
    assert_eq!(logged.lines_with(&["WARN", "comes back later", jid]), 1);
    let dead = heir.members(JobSet::Dead).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].jid(), pill.jid());
    assert_eq!(dead[0].error_class().as_deref(), Some("PoisonPill"));
    let message = format!("3 processes died while they ran this job, the last one as node {node}");
    assert_eq!(dead[0].error_message().as_deref(), Some(&*message));
    heir.verk.shutdown().await;
}

#[tokio::test]
async fn of_several_that_may_be_to_blame_none_is_buried_until_one_is_alone() {
    let mut heir = Heir::new(|builder| builder).await;
    let (pill, neighbour) = (job("Pill"), job("Neighbour"));
    heir.enqueue(&[&pill, &neighbour]).await;
    for _ in 0..4 {
        heir.death_of_a_node(0).await;
        heir.time_passes(2).await;
    }
    assert_eq!(heir.queued().await.len(), 2);
    assert_eq!(heir.members(JobSet::Dead).await.len(), 0);

    // Now one comes back alone, with jobs that were not suspected.
    heir.death_of_a_node(0).await;
    heir.time_passes(1).await;
    let first = Job::decode(heir.queued().await.remove(0)).unwrap();
    heir.enqueue(&[&job("Another"), &job("Another")]).await;
    heir.death_of_a_node(0).await;
    let dead = heir.members(JobSet::Dead).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].jid(), first.jid());
    assert_eq!(heir.members(JobSet::Schedule).await.len(), 1);
    assert_eq!(heir.queued().await.len(), 2);
    heir.verk.shutdown().await;
}

#[tokio::test]
async fn each_of_several_large_jobs_has_a_death() {
    let mut heir = Heir::new(|builder| builder).await;
    // Two are more than a page.
    let args = format!("[{:?}]", "x".repeat(600_000));
    for _ in 0..3 {
        let large = Job::new("Large", queue_name("default"), args.clone()).unwrap();
        heir.enqueue(&[&large]).await;
    }
    for _ in 0..2 {
        heir.death_of_a_node(0).await;
    }
    let suspects = heir.storage.len(&Source::Set(JobSet::Schedule)).await;
    assert_eq!(suspects.unwrap(), 3, "all come back later");
    heir.verk.shutdown().await;
}

#[tokio::test]
async fn what_was_prefetched_or_is_no_job_never_counts() {
    let mut heir = Heir::new(|builder| builder).await;
    let malformed = Bytes::from_static(b"{not json");
    let queue = queue_name("default");
    heir.storage
        .enqueue(&queue, std::slice::from_ref(&malformed))
        .await
        .unwrap();
    let (pill, neighbour, late) = (job("Pill"), job("Neighbour"), job("Late"));
    heir.enqueue(&[&pill, &neighbour, &late]).await;
    let all = heir.queued().await;
    heir.death_of_a_node(2).await;
    assert_eq!(heir.queued().await, all);
    for _ in 0..3 {
        heir.death_of_a_node(2).await;
        let others = [malformed.clone(), neighbour.encode(), late.encode()];
        assert_eq!(heir.queued().await, others);
    }
    assert_eq!(heir.members(JobSet::Schedule).await[0].jid(), pill.jid());
    assert_eq!(heir.members(JobSet::Dead).await.len(), 0);
    heir.verk.shutdown().await;
}

#[tokio::test]
async fn a_suspect_names_the_queue_that_it_was_fetched_from() {
    let mut heir = Heir::new(|builder| builder).await;
    let mut moved = job("Pill");
    moved.set_queue(queue_name("renamed"));
    heir.enqueue(&[&moved]).await;
    heir.death_of_a_node(0).await;
    assert_eq!(heir.queued().await, [moved.encode()], "untouched");
    for set in [JobSet::Schedule, JobSet::Dead] {
        heir.death_of_a_node(0).await;
        let members = heir.members(set).await;
        assert_eq!(members[0].queue(), Some(&queue_name("default")), "{set:?}");
        heir.time_passes(1).await;
    }
    heir.verk.shutdown().await;
}

#[tokio::test]
async fn a_limit_of_zero_buries_nothing() {
    let mut heir = Heir::new(|builder| builder.poison_pill_after(0)).await;
    heir.enqueue(&[&job("Pill")]).await;
    for _ in 0..5 {
        heir.death_of_a_node(0).await;
        heir.time_passes(1).await;
    }
    assert_eq!(heir.queued().await.len(), 1);
    heir.verk.shutdown().await;
}

#[tokio::test]
async fn a_limit_of_one_buries_at_once() {
    let mut heir = Heir::new(|builder| builder.poison_pill_after(1)).await;
    heir.enqueue(&[&job("Pill")]).await;
    heir.death_of_a_node(0).await;
    assert_eq!(heir.members(JobSet::Dead).await.len(), 1);
    heir.verk.shutdown().await;
}

#[tokio::test]
async fn a_count_whose_reply_was_lost_counts_once() {
    let mut heir = Heir::new(|builder| builder.poison_pill_after(2)).await;
    heir.enqueue(&[&job("Innocent")]).await;
    heir.storage.faults().lose_reply(Operation::CountDeaths);
    heir.death_of_a_node(0).await;
    assert_eq!(heir.queued().await.len(), 1);
    heir.verk.shutdown().await;
}

// ---- a real pill ----

/// Set in the environment of a process that runs jobs, to the URL of its Redis.
const WORKER: &str = "VERK_TEST_POISONED_WORKER";

/// Kills its process.
#[verk::worker(queue = "poisoned")]
async fn pill() {
    process::abort();
}

/// Takes its time.
#[verk::worker(queue = "poisoned")]
async fn innocent(ctx: JobContext) {
    ctx.sleep(Duration::from_secs(2)).await;
}

/// No test, but the program of [`exactly_the_pill_is_buried_among_innocents`].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_process() {
    let Ok(url) = env::var(WORKER) else { return };
    let builder = Verk::builder()
        .redis(url)
        .queue("poisoned", 25)
        .node_id(NAME.to_owned())
        .poll_interval(Duration::from_millis(100))
        .heartbeat(Duration::from_millis(500));
    let verk = States::new().give(builder).build().await.unwrap();
    verk.run().await.unwrap();
}

/// That program in a process of its own.
struct WorkerProcess(Child);

impl WorkerProcess {
    fn start(redis: &RedisServer) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "poison::worker_process"])
            .env(WORKER, redis.url())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    async fn dies(mut self) {
        until(async || self.0.try_wait().unwrap().is_some()).await;
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(mut done: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !done().await {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, wait).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_pill_is_buried_among_innocents() {
    let redis = RedisServer::start();
    let verk = Verk::builder().redis(redis.url()).build().await.unwrap();
    let client = verk.client();
    let innocents = || (0..12).map(|_| Innocent::new());
    client.enqueue_all(innocents()).await.unwrap();
    let pill = verk.enqueue(Pill::new()).await.unwrap();
    client.enqueue_all(innocents()).await.unwrap();

    let members = async |set| {
        let members = verk
            .storage()
            .list(&Source::Set(set), &ALL.into())
            .await
            .unwrap()
            .jobs;
        let jobs = members.into_iter().map(|member| member.job);
        jobs.collect::<Vec<_>>()
    };
    let sizes = async || {
        let (delayed, dead) = (members(JobSet::Schedule), members(JobSet::Dead));
        (delayed.await.len(), dead.await.len())
    };
    let is_pill = |job: &Bytes| *Job::decode(job.clone()).unwrap().jid() == pill;
    // All in one step, so that whatever is due comes together.
    let due = |jobs: &[Bytes]| {
        let mut zadd = vec![Bytes::from_static(b"ZADD"), Bytes::from_static(b"schedule")];
        zadd.extend(
            jobs.iter()
                .flat_map(|job| [Bytes::from_static(b"0"), job.clone()]),
        );
        redis.command(&zadd);
    };

    // All of them run when two processes die.
    for _ in 0..2 {
        WorkerProcess::start(&redis).dies().await;
    }
    let third = WorkerProcess::start(&redis);
    until(async || sizes().await == (25, 0)).await;
    // Innocents that run for longer than the others stay away are there when the pill comes back:
    // nobody is buried.
    due(&members(JobSet::Schedule).await);
    third.dies().await;
    let fourth = WorkerProcess::start(&redis);
    until(async || sizes().await == (25, 0)).await;

    // Some come back before it, and run to their ends; then it comes back alone.
    let (pills, innocents): (Vec<_>, Vec<_>) = members(JobSet::Schedule)
        .await
        .into_iter()
        .partition(is_pill);
    let held = async || {
        let keys = ["EXISTS", "queue:poisoned"];
        let lists = redis.command(&["KEYS", "inprogress:*"]).into_array();
        redis.command(&keys).as_integer() == Some(1) || !lists.unwrap().is_empty()
    };
    due(&innocents[..5]);
    until(async || sizes().await == (20, 0) && !held().await).await;
    due(&pills);
    fourth.dies().await;
    let _fifth = WorkerProcess::start(&redis);
    until(async || sizes().await == (19, 1)).await;
    due(&innocents[5..]);
    until(async || sizes().await == (0, 1) && !held().await).await;

    let dead = members(JobSet::Dead).await;
    assert!(is_pill(&dead[0]));
    let dead = Job::decode(dead[0].clone()).unwrap();
    assert_eq!(dead.error_class().as_deref(), Some("PoisonPill"));
    let message = dead.error_message().unwrap().into_owned();
    assert!(message.starts_with("4 processes died"), "{message}");
}
