//! Why a job is not running: [`Why`].

mod besides;
mod decide;
mod display;
mod find;
mod place;

use std::time::{Duration, SystemTime};

pub use self::place::{InvalidRefPlace, RefPlace, SearchPlace};

pub(crate) use self::decide::Runner;

use self::{decide::Facts, find::Answer};
use super::{Admin, Entry, NodeStatus, Pause, Process};
use crate::{
    error::StorageError,
    names::{Jid, NodeId, QueueName},
    storage::{HolderPlace, JobSet, LockId, Source, StoredLock},
};

/// # Why a job is not running
impl Admin {
    /// Explains why a job is not running; or that it runs, where, and since when.
    ///
    /// With the place where the caller saw the job, such as from a [list](super::Jobs::list), one
    /// bounded read finds it there. Otherwise, or if it is there no more, a search begins: first
    /// the jobs that nodes hold, then the sets and the queues, then the dead set, and last the
    /// unique locks, for which a job may wait. A call looks at no more than about 10 000 jobs. If
    /// these are not all, the answer is [`Why::Searching`]: call again with its `next`, and rest
    /// between calls, because the search costs the server time. The search may miss a job that
    /// moves meanwhile.
    ///
    /// The explanation is what the storage shows at this moment. Processes report themselves every
    /// 10 seconds.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Job, Verk};
    /// # use verk_testing::MemoryStorage;
    /// use verk_core::manage::{JobRef, PauseNote, Reason, Why};
    ///
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// # let job = || Job::new("Welcome", "mailers".parse().unwrap(), r#"["ada"]"#.to_owned());
    /// # verk.enqueue(job()?).await?;
    /// let jid = verk.enqueue(job()?).await?;
    /// let admin = verk.admin();
    /// admin.pause_queue("mailers", PauseNote::new().by("ada")).await?;
    ///
    /// let mut job = JobRef::new(jid);
    /// let explanation = loop {
    ///     match admin.why(&job).await? {
    ///         Why::Known(explanation) => break explanation,
    ///         Why::Searching { next, .. } => job = next,
    ///     }
    /// };
    /// // Such as: Welcome 4cea318993b40a256edfeb68 waits in queue mailers: the queue is paused on
    /// // all nodes since 2026-11-29T14:00:00Z by ada; no live process runs queue mailers; 1 job is
    /// // before it
    /// println!("{explanation}");
    /// assert!(matches!(explanation.reasons[0], Reason::Paused(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn why(&self, job: &JobRef) -> Result<Why, StorageError> {
        let sighting = match find::find(self, job).await? {
            Answer::Found(sighting) => sighting,
            Answer::WaitsFor(lock) => {
                return Ok(Why::Known(Explanation::of_waiting(job.jid.clone(), *lock)));
            }
            Answer::Nowhere => {
                let run = find::run_of_timetable(self, &job.jid).await?;
                return Ok(Why::Known(Explanation {
                    jid: job.jid.clone(),
                    class: None,
                    place: JobPlace::Nowhere,
                    reasons: [Reason::Gone].into_iter().chain(run).collect(),
                }));
            }
            Answer::Searching {
                looked_at,
                of,
                next,
            } => {
                let next = JobRef::new(job.jid.clone()).at(RefPlace::Search(next));
                return Ok(Why::Searching {
                    looked_at,
                    of,
                    next,
                });
            }
        };
        let pauses = self.pauses().await?;
        // Not what they hold: with many queues on many nodes, that is most of what they cost.
        let nodes = self.storage().nodes().await?;
        let processes = self.processes_among(&nodes).await?;
        let nodes = self.about(nodes, Vec::new()).await?;
        let holder = find::holder(self, &sighting, &nodes, &processes).await?;
        let lock = match besides::lock_of(&sighting.job) {
            Some(lock) => self.storage().lock(lock).await?,
            None => None,
        };
        let facts = Facts {
            now: self.now(),
            pauses,
            runners: Runner::all(&nodes, &processes),
            holder,
        };
        let mut explanation = decide::explain(&sighting, &facts);
        let set = match explanation.place {
            JobPlace::Set(set) => Some(set),
            _ => None,
        };
        (explanation.reasons).extend(besides::of(&sighting.job, set, lock));
        Ok(Why::Known(explanation))
    }
}

impl Explanation {
    /// Of a job that waits for this lock.
    fn of_waiting(jid: Jid, lock: StoredLock) -> Self {
        // Only jobs of one class wait for each other.
        let class = Some(lock.class).filter(|class| !class.is_empty());
        let waits = Reason::WaitsForLock {
            holder: lock.jid,
            place: lock.place,
            since: lock.since,
            queue: lock.next.map(|(_, queue)| queue),
        };
        Self {
            jid,
            class,
            place: JobPlace::Lock(lock.id),
            reasons: vec![waits],
        }
    }
}

/// A job by its id, and where the caller saw it last, if anywhere: see [`Admin::why`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobRef {
    /// The id of the job. If several jobs have it, one of them is explained.
    pub jid: Jid,
    /// Where the job was seen, or how far the search for it got.
    pub place: Option<RefPlace>,
}

impl JobRef {
    /// A job that may be anywhere.
    #[must_use]
    pub fn new(jid: impl Into<Jid>) -> Self {
        Self {
            jid: jid.into(),
            place: None,
        }
    }

    /// The same job, which was seen there; or the place where a search continues.
    #[must_use]
    pub fn at(mut self, place: RefPlace) -> Self {
        self.place = Some(place);
        self
    }

    /// The job of an entry; `None` if its payload is no job.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let job = Self::new(entry.job().ok()?.jid().clone());
        let place = match entry.source() {
            Source::Set(set) => entry
                .score()
                .map(|score| RefPlace::Set { set: *set, score }),
            Source::Queue(queue) => entry.index().map(|index| RefPlace::Queue {
                queue: queue.clone(),
                index,
            }),
        };
        Some(Self { place, ..job })
    }
}

/// The answer to [`Admin::why`].
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// The job was found; or it is nowhere.
    Known(Explanation),
    /// The search read as many jobs as one call may, and has not found the job yet.
    Searching {
        /// How many waiting jobs it read so far, in all calls.
        looked_at: u64,
        /// How many jobs wait in all sets and queues.
        of: u64,
        /// The same job, with the place where the search continues.
        next: JobRef,
    },
}

/// Where a job is, and why it does not run; or that it runs. `Display` shows it in one line,
/// without the arguments.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The job.
    pub jid: Jid,
    /// Its class; `None` if the job was not found.
    pub class: Option<String>,
    /// Where it is.
    pub place: JobPlace,
    /// All reasons, the most decisive first. There is at least one.
    pub reasons: Vec<Reason>,
}

/// Where a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobPlace {
    /// It waits in a queue.
    Queue(QueueName),
    /// It is in a set.
    Set(JobSet),
    /// A node holds it, as its [`in_progress`](Admin::in_progress) shows.
    Node {
        /// The node.
        node: NodeId,
        /// The queue that the job was fetched from.
        queue: QueueName,
    },
    /// A process of Sidekiq runs it, as the process reports.
    Process {
        /// The [identity](super::Process::identity) of the process.
        process: String,
        /// The queue that the job was fetched from, if the process says so.
        queue: Option<QueueName>,
    },
    /// It is in no queue and in no set: it waits for this unique lock, as
    /// [`KeepLast`](crate::OnConflict::KeepLast) says.
    Lock(LockId),
    /// It was found nowhere.
    Nowhere,
}

/// A reason why a job does not run; or that it runs. `Display` shows it as a part of a sentence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// It runs.
    Running {
        /// The node that runs it; `None` if Sidekiq does.
        node: Option<NodeId>,
        /// The [identity](super::Process::identity) of the process, if that is known.
        process: Option<String>,
        /// When the run began, by the clock of the process, if the process says so.
        since: Option<SystemTime>,
    },
    /// A node has fetched it, and starts it when one of its running jobs ends.
    Prefetched {
        /// The node.
        node: NodeId,
    },
    /// The node that holds it has no heartbeat. Other nodes put its jobs back once it stays away.
    NodeSilent {
        /// The node.
        node: NodeId,
        /// For how long its process has not reported itself, if that is known.
        silent_for: Option<Duration>,
    },
    /// Its queue is paused on all nodes.
    Paused(Pause),
    /// No live process runs its queue.
    NoProcess {
        /// The queue.
        queue: QueueName,
    },
    /// Every process that runs its queue fetches no more jobs: it was quieted, or it stops.
    AllQuiet {
        /// The queue.
        queue: QueueName,
    },
    /// No process that runs its queue has a worker for its class. It is not reported if one of them
    /// is of Sidekiq or Elixir's Verk, whose classes are not known.
    NoWorker {
        /// The queue.
        queue: QueueName,
        /// The class.
        class: String,
    },
    /// Other jobs of its queue are fetched before it.
    Behind {
        /// The queue.
        queue: QueueName,
        /// How many. 0: it is the next.
        jobs: u64,
        /// Whether these are all. Beyond 10 000, `jobs` is 10 000, and there are at least as many.
        exact: bool,
    },
    /// It was enqueued for a later time.
    Due {
        /// When it is due.
        at: SystemTime,
        /// In how much time that is.
        due_in: Duration,
    },
    /// It failed, and waits for its next try.
    Retry {
        /// The number of that try among the retries: 1 for the first.
        number: u32,
        /// When it is due.
        at: SystemTime,
        /// In how much time that is.
        due_in: Duration,
        /// The class of the last error.
        error_class: Option<String>,
        /// The message of the last error, at most 1 000 characters.
        error_message: Option<String>,
    },
    /// It is due, and no node has moved it to its queue yet.
    Overdue {
        /// When it was due.
        at: SystemTime,
        /// How long ago that is.
        due_since: Duration,
    },
    /// No live node or process moves due jobs to their queues.
    NobodyMoves,
    /// It died: it does not run again by itself.
    Dead {
        /// When it died.
        at: SystemTime,
        /// How often it failed.
        failures: u32,
        /// The class of the last error.
        error_class: Option<String>,
        /// The message of the last error, at most 1 000 characters.
        error_message: Option<String>,
    },
    /// Another job holds the unique lock that it waits for. When that job ends, this one goes to
    /// its queue.
    WaitsForLock {
        /// The job that holds the lock.
        holder: Jid,
        /// The place of that job after its last step.
        place: HolderPlace,
        /// When that job took the lock.
        since: SystemTime,
        /// The queue that this job goes to.
        queue: Option<QueueName>,
    },
    /// It holds its unique lock. That is no reason why it does not run, but why others do not.
    HoldsLock {
        /// The lock.
        lock: LockId,
        /// When it took the lock.
        since: SystemTime,
        /// When the lock is free in any case; `None` for never.
        until: Option<SystemTime>,
        /// The job that waits for the lock.
        next: Option<Jid>,
    },
    /// It is dead, and another job has its unique lock by now. So it cannot leave the dead set.
    LockTaken {
        /// The lock.
        lock: LockId,
        /// The job that holds it.
        holder: Jid,
    },
    /// It is the job of a run of the timetable. That is no reason why it does not run. For a job
    /// that is nowhere any more, it is known only if the run is among the last 10 of its entry, and
    /// the entry among the first 1 000.
    Periodic {
        /// The name of the entry.
        name: String,
        /// The time that the run is for.
        due: SystemTime,
        /// How many runs before it were missed.
        missed: u64,
    },
    /// It was found nowhere: it succeeded, was discarded or deleted, or never existed.
    Gone,
}
