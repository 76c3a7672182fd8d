//! Checks a storage that several programs share: [`Doctor`].

mod convert;
mod finding;
mod fleet;
mod locks;
mod tally;
#[cfg(feature = "cron")]
mod timetable;

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use serde::{Serialize, Serializer};

pub use self::{
    convert::Conversion,
    finding::{Finding, JobGroup, Severity},
};

use self::{
    fleet::Fleet,
    tally::{Judge, Seen, Tally},
};
use crate::{
    error::StorageError,
    manage::{Admin, NodeStatus, Process},
    names::QueueName,
    node::foreign,
    storage::{
        Inprogress, JobSet, ListRequest, MAX_BATCH_JOBS, Node, Page, Position, ProcessReport,
        ScheduleKeys, Source, Storage,
    },
    time::server_time::{ClockReading, Measurement},
};

/// How many jobs of each queue and each set are checked unless [`Doctor::max_jobs`] sets another
/// number.
const MAX_JOBS: usize = 1_000;

/// How many parts of the storage an examination scans for lists of nodes that are not registered.
const FOREIGN_PAGES: usize = 1_000;

/// How many findings of one kind are listed.
const MAX_LISTED: usize = 100;

const ALL_SETS: [JobSet; 3] = [JobSet::Schedule, JobSet::Retry, JobSet::Dead];

/// Examines the storage, and can make one repair. Made by [`Admin::doctor`].
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use verk_core::{Verk, doctor::{Finding, Severity}};
/// # use verk_testing::MemoryStorage;
///
/// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
/// let admin = verk.admin();
/// admin.pause_queue_everywhere("mailers").await?;
///
/// let report = admin.doctor().examine().await?;
/// assert_eq!(report.worst(), Some(Severity::Notice));
/// assert!(matches!(&report.findings[..], [Finding::PausedQueue { jobs: 0, .. }]));
/// assert!(report.to_string().starts_with("notice: queue mailers is paused on all nodes"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "`examine()` looks"]
pub struct Doctor {
    admin: Admin,
    max_jobs: usize,
}

/// The findings of [`Doctor::examine`]. Its text has one line for each finding. Serialized, each
/// finding is an object with `severity`, `message`, `finding` (its name) and its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The findings, the worst first.
    #[serde(serialize_with = "with_messages")]
    pub findings: Vec<Finding>,
    /// How many jobs were checked.
    pub jobs: usize,
    /// Whether all waiting jobs, unique locks and entries of the timetable were checked, and all
    /// keys were scanned for lists of nodes that are not registered.
    pub complete: bool,
}

impl Doctor {
    /// Sets how many jobs of each queue and each set are checked, the next to run first. Of unique
    /// locks and of entries of the timetable it checks as many, in whole pages of 100. Defaults to
    /// 1 000.
    pub fn max_jobs(mut self, max_jobs: usize) -> Self {
        self.max_jobs = max_jobs;
        self
    }

    /// Checks the server, the fleet, the queues, the sets, the unique locks and the timetable.
    /// Changes nothing, and reads in pages. It may miss jobs that move meanwhile, or count them
    /// twice.
    ///
    /// The timetable is checked if the program has the feature `cron`.
    ///
    /// It uses the settings, queues and classes of the [`Verk`](crate::Verk) that the [`Admin`]
    /// comes from: run it in the program whose workers you ask about. Without a Verk it reports
    /// nothing about these.
    ///
    /// # Errors
    ///
    /// When the storage does not answer. If the storage answers, but a key cannot be read, that is
    /// a [finding](Finding::Unreadable).
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn examine(&self) -> Result<Report, StorageError> {
        let admin = &self.admin;
        let mut examination = Examination {
            admin,
            max_jobs: self.max_jobs,
            findings: Vec::new(),
            jobs: 0,
            complete: true,
        };
        examination.clock().await?;
        let nodes = examination.nodes().await;
        let reports = examination.processes().await;
        let fleet = examination.fleet(&reports, &nodes);
        let schedule_keys = examination.server(fleet).await;
        let mut seen = Seen {
            locks: examination.locks().await,
            ..Seen::default()
        };
        examination
            .places(&nodes, fleet, schedule_keys, &mut seen)
            .await;
        examination.dead_set().await;
        examination.pauses().await;
        examination.dead_nodes(&nodes).await;
        examination.foreign_lists().await;
        let programs = examination.programs(nodes, reports).await;
        examination.lost_locks(&mut seen.locks, &programs).await;
        examination.findings.extend(seen.locks.judge(&programs));
        #[cfg(feature = "cron")]
        examination.timetable(&programs).await;
        let Examination {
            mut findings,
            jobs,
            complete,
            ..
        } = examination;
        let unreadable = |finding: &Finding| matches!(finding, Finding::Unreadable { .. });
        if findings.iter().any(unreadable) {
            // Does the key have another type, or does the storage not answer any more?
            admin.storage().server_time().await?;
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
        Ok(Report {
            findings,
            jobs,
            complete,
        })
    }
}

impl Report {
    /// Returns the severity of the worst finding; `None` if nothing was found.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(Finding::severity).max()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{}: {finding}", finding.severity())?;
        }
        let (found, jobs) = (self.findings.len(), self.jobs);
        let all = if self.complete {
            "all that wait"
        } else {
            "a sample"
        };
        write!(f, "{found} findings; {jobs} jobs read, {all}")
    }
}

/// The programs that share the storage, as they said.
struct Programs {
    nodes: Vec<NodeStatus>,
    processes: Vec<Process>,
}

/// An examination in progress.
struct Examination<'a> {
    admin: &'a Admin,
    max_jobs: usize,
    findings: Vec<Finding>,
    jobs: usize,
    complete: bool,
}

impl Examination<'_> {
    fn storage(&self) -> &dyn Storage {
        self.admin.storage()
    }

    /// The answer, or a finding.
    fn or_unreadable<T>(
        &mut self,
        what: impl fmt::Display,
        answer: Result<T, StorageError>,
    ) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.findings.push(Finding::Unreadable {
                    what: what.to_string(),
                    problem: error.cause().to_string(),
                });
                None
            }
        }
    }

    /// How many locks or entries are read: whole pages.
    fn max_in_pages(&self) -> usize {
        self.max_jobs
            .div_ceil(MAX_BATCH_JOBS)
            .saturating_mul(MAX_BATCH_JOBS)
    }

    async fn clock(&mut self) -> Result<(), StorageError> {
        let clock = self.admin.clock();
        let asked = ClockReading::now(clock);
        let server = self.storage().server_time().await?;
        if let Some(ahead_ms) = Measurement::new(server, asked, clock).skew_ms() {
            self.findings.push(Finding::ClockSkew { ahead_ms });
        }
        Ok(())
    }

    async fn nodes(&mut self) -> Vec<Node> {
        let nodes = self.storage().nodes().await;
        self.or_unreadable("the list of nodes", nodes)
            .unwrap_or_default()
    }

    async fn processes(&mut self) -> Vec<ProcessReport> {
        let processes = self.storage().processes().await;
        self.or_unreadable("the list of processes", processes)
            .unwrap_or_default()
    }

    /// What the nodes and processes said about themselves.
    async fn programs(&mut self, nodes: Vec<Node>, reports: Vec<ProcessReport>) -> Programs {
        let processes = reports.into_iter();
        let processes = processes
            .map(|report| Process::of(report, &nodes))
            .collect();
        let nodes = self.admin.about(nodes, Vec::new()).await;
        let nodes = self.or_unreadable("what the nodes say about themselves", nodes);
        Programs {
            nodes: nodes.unwrap_or_default(),
            processes,
        }
    }

    fn fleet(&mut self, processes: &[ProcessReport], nodes: &[Node]) -> Fleet {
        let fleet = Fleet::of(processes, nodes);
        if let Some(node) = self.admin.node() {
            self.findings
                .extend(fleet.judge_config(&node.essentials.config));
        }
        fleet
    }

    /// Checks the server. Returns in which sets jobs wait for their time.
    async fn server(&mut self, fleet: Fleet) -> ScheduleKeys {
        let facts = self.storage().server_facts().await;
        let facts = self.or_unreadable("the facts of the server", facts);
        let facts = facts.unwrap_or_default();
        let schedule_keys = facts.schedule_keys;
        self.findings.extend(fleet.judge_server(facts));
        schedule_keys
    }

    /// Looks at the jobs that wait.
    async fn places(
        &mut self,
        nodes: &[Node],
        fleet: Fleet,
        schedule_keys: ScheduleKeys,
        seen: &mut Seen,
    ) {
        let admin = self.admin;
        let known = self.storage().queues().await;
        let known = self.or_unreadable("the list of queues", known);
        let running = admin.queues_of_node();
        let registry = admin.node().map(|node| &node.first().workforce.registry);
        let judge = Judge {
            fleet,
            schedule_keys,
            runs: &|queue| running.contains(queue),
            knows: &|class| registry.is_none_or(|registry| registry.of_class(class).is_some()),
        };
        for place in places(running.clone(), known.unwrap_or_default(), nodes) {
            let mut tally = Tally::of(place.clone());
            let mut pages = Pages::new(admin.storage(), &place, self.max_jobs);
            let read = async {
                loop {
                    let page = pages.next().await?;
                    if page.is_empty() {
                        return Ok(pages.is_complete());
                    }
                    for job in page {
                        tally.add(job, &judge, seen);
                    }
                }
            };
            let complete = read.await;
            self.jobs += pages.jobs;
            self.complete &= self.or_unreadable(&place, complete).unwrap_or(false);
            self.findings.extend(tally.findings());
        }
        let unknown = std::mem::take(&mut seen.unknown_classes)
            .into_iter()
            .map(|(class, jobs)| Finding::UnknownClass { class, jobs });
        self.findings.extend(unknown);
    }

    async fn dead_set(&mut self) {
        // An earlier finding already reports that it cannot be read.
        let dead = Source::Set(JobSet::Dead);
        let jobs = self.storage().len(&dead).await.unwrap_or(0);
        let max_dead_jobs = self.admin.max_dead_jobs();
        if jobs > 0 && jobs >= max_dead_jobs - max_dead_jobs / 10 {
            self.findings.push(Finding::DeadSetFull {
                jobs,
                max_dead_jobs,
            });
        }
    }

    async fn pauses(&mut self) {
        let paused = self.storage().paused_queues().await;
        let paused = self.or_unreadable("the set of paused queues", paused);
        for queue in paused.unwrap_or_default() {
            let source = Source::Queue(queue.clone());
            let jobs = self.storage().len(&source).await.unwrap_or(0);
            self.findings.push(Finding::PausedQueue { queue, jobs });
        }
    }

    /// Looks for jobs that registered nodes left.
    async fn dead_nodes(&mut self, nodes: &[Node]) {
        for node in nodes.iter().filter(|node| !node.alive) {
            let mut jobs = 0;
            for queue in &node.queues {
                let held = Inprogress {
                    queue: queue.clone(),
                    node: node.id.clone(),
                };
                let page = self.storage().inprogress(&held, FIRST_PAGE).await;
                let page = self.or_unreadable(
                    format_args!("what node {} holds of queue {queue}", node.id),
                    page,
                );
                jobs += page.map_or(0, |page| page.len());
            }
            if jobs > 0 {
                let node = node.id.clone();
                self.findings.push(Finding::DeadNode { node, jobs });
            }
        }
    }

    async fn foreign_lists(&mut self) {
        let found = foreign::read(self.storage(), FOREIGN_PAGES).await;
        let found = self.or_unreadable("the lists of jobs in progress", found);
        if let Some((lists, complete)) = found {
            self.complete &= complete;
            self.findings.extend(lists.into_iter().map(|list| {
                let (key, jobs) = (list.key, list.jobs);
                Finding::ForeignList { key, jobs }
            }));
        }
    }
}

/// The places where jobs wait: the known queues, those of this node and of all registered ones
/// (Elixir's Verk lists its queues in no other way), and the sets.
fn places(
    running: Vec<QueueName>,
    known: Vec<QueueName>,
    nodes: &[Node],
) -> impl Iterator<Item = Source> + use<> {
    let mut queues = BTreeSet::from_iter(known);
    queues.extend(running);
    queues.extend(nodes.iter().flat_map(|node| node.queues.iter().cloned()));
    let queues = queues.into_iter().map(Source::Queue);
    queues.chain(ALL_SETS.map(Source::Set))
}

/// The first jobs of one place, page after page.
struct Pages<'a> {
    storage: &'a dyn Storage,
    place: &'a Source,
    max_jobs: usize,
    /// How many were read.
    jobs: usize,
    /// Where the next page begins; `None` at the end.
    next: Option<Position>,
}

impl<'a> Pages<'a> {
    fn new(storage: &'a dyn Storage, place: &'a Source, max_jobs: usize) -> Self {
        Self {
            storage,
            place,
            max_jobs,
            jobs: 0,
            next: Some(Position::default()),
        }
    }

    /// The next page; an empty one at the end.
    async fn next(&mut self) -> Result<Vec<Bytes>, StorageError> {
        let limit = MAX_BATCH_JOBS.min(self.max_jobs - self.jobs);
        let Some(from) = self.next.filter(|_| limit > 0) else {
            return Ok(Vec::new());
        };
        let request = ListRequest {
            from,
            limit,
            ..ListRequest::default()
        };
        let listing = self.storage.list(self.place, &request).await?;
        self.jobs += listing.jobs.len();
        self.next = listing.next;
        let jobs = listing.jobs.into_iter();
        Ok(jobs.map(|waiting| waiting.job).collect())
    }

    /// Whether no job follows those that were read.
    fn is_complete(&self) -> bool {
        self.next.is_none()
    }
}

fn with_messages<S: Serializer>(findings: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct WithMessage<'a> {
        severity: Severity,
        message: String,
        #[serde(flatten)]
        finding: &'a Finding,
    }
    serializer.collect_seq(findings.iter().map(|finding| WithMessage {
        severity: finding.severity(),
        message: finding.to_string(),
        finding,
    }))
}

const FIRST_PAGE: Page = Page {
    offset: 0,
    limit: MAX_BATCH_JOBS,
};

impl Admin {
    /// Returns what checks the storage: for jobs that another program of the fleet cannot read,
    /// settings of the server that lose jobs, and jobs that no program moves or restores.
    pub fn doctor(&self) -> Doctor {
        Doctor {
            admin: self.clone(),
            max_jobs: MAX_JOBS,
        }
    }
}
