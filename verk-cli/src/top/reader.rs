//! What is read from the storage, and when: [`Reader`].

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use verk_core::{
    StorageError,
    manage::{
        Admin, Breakdown, Group, JobRef, Listed, Overview, Query, RunningJob, SEARCH_BUDGET, Why,
    },
    storage::{JobSet, MAX_BATCH_JOBS},
};

use crate::args::PlaceArg;

/// The time between two reads of the figures.
const EVERY: Duration = Duration::from_secs(1);

/// The time between two reads of the rest. Processes report their jobs every 10 seconds, and a list
/// that jumps each second cannot be read.
const EVERY_PART: Duration = Duration::from_secs(5);

/// The same for a list with a filter: the storage searches for it.
const EVERY_SEARCH: Duration = Duration::from_secs(30);

/// The most running jobs that are read.
pub(super) const MAX_RUNNING: usize = 300;

/// The most pages of running jobs. Some have few jobs, or none.
const MAX_PAGES: usize = 10;

/// How many steps of a [`Breakdown`] are made in a second.
const STEPS: usize = 5;

/// What the screen needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    /// Besides the figures, which it always needs.
    pub(super) part: Option<Part>,
    /// If it changes, everything is read again at once.
    pub(super) turn: u64,
}

/// What is read for one screen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Running,
    List {
        place: PlaceArg,
        query: Query,
        is_search: bool,
    },
    Groups(JobSet),
    Why(JobRef),
}

/// The answer to a [`Part`].
#[derive(Debug)]
pub(super) enum Data {
    Running {
        jobs: Vec<RunningJob>,
        /// Whether there are more.
        more: bool,
    },
    List(Listed),
    Groups(Counted),
    Why(Why),
}

/// The groups of a set.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) groups: Vec<Group>,
    /// How many jobs were counted, and how many the set has.
    pub(super) covered: usize,
    pub(super) total: usize,
}

/// Something that was read, or an error.
#[derive(Debug)]
pub(super) enum Reading {
    Overview {
        at: Instant,
        now: SystemTime,
        overview: Result<Box<Overview>, StorageError>,
    },
    Part {
        part: Box<Part>,
        data: Result<Data, StorageError>,
    },
}

/// Reads the figures once a second, and what else the screen needs. One read at a time.
pub(super) struct Reader<'a> {
    admin: &'a Admin,
    retries: Breakdown,
    dead: Breakdown,
    /// Where the search for a job continues.
    search: Option<JobRef>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(admin: &'a Admin) -> Self {
        Self {
            admin,
            retries: Breakdown::new(JobSet::Retry),
            dead: Breakdown::new(JobSet::Dead),
            search: None,
        }
    }

    /// Reads until nobody listens.
    pub(super) async fn run(
        mut self,
        mut wanted: watch::Receiver<Wanted>,
        readings: mpsc::Sender<Reading>,
    ) {
        let clock = self.admin.clock();
        let mut shown = wanted.borrow_and_update().clone();
        let (mut figures_due, mut part_due) = (clock.instant(), clock.instant());
        loop {
            if clock.instant() >= figures_due {
                figures_due = clock.instant_in(EVERY);
                let overview = self.admin.overview().await.map(Box::new);
                let (at, now) = (clock.instant(), self.admin.now());
                let reading = Reading::Overview { at, now, overview };
                if readings.send(reading).await.is_err() {
                    return;
                }
            }
            if let Some(part) = shown.part.clone().filter(|_| clock.instant() >= part_due) {
                let data = self.read(&part).await;
                part_due = clock.instant_in(self.pause(&part, &data));
                let part = Box::new(part);
                if readings.send(Reading::Part { part, data }).await.is_err() {
                    return;
                }
            }
            let due = match shown.part {
                None => figures_due,
                Some(_) => figures_due.min(part_due),
            };
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let newly = wanted.borrow_and_update().clone();
                    part_due = clock.instant();
                    if newly.turn != shown.turn {
                        figures_due = part_due;
                    }
                    if newly.part != shown.part {
                        self.search = None;
                    }
                    shown = newly;
                }
                () = clock.sleep_until(due) => {}
            }
        }
    }

    async fn read(&mut self, part: &Part) -> Result<Data, StorageError> {
        match part {
            Part::Running => self.running().await,
            Part::List { place, query, .. } => {
                let jobs = place.jobs(self.admin);
                let jobs = jobs.map_err(|error| StorageError::not_applied("list jobs", error))?;
                jobs.search(query, SEARCH_BUDGET).await.map(Data::List)
            }
            Part::Groups(set) => self.groups(*set).await,
            Part::Why(job) => {
                let why = self.admin.why(self.search.as_ref().unwrap_or(job)).await?;
                self.search = match &why {
                    Why::Searching { next, .. } => Some(next.clone()),
                    Why::Known(_) => None,
                };
                Ok(Data::Why(why))
            }
        }
    }

    async fn running(&self) -> Result<Data, StorageError> {
        let (mut jobs, mut from) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let left = MAX_RUNNING.saturating_sub(jobs.len());
            let page = self.admin.running(from, left.min(MAX_BATCH_JOBS)).await?;
            jobs.extend(page.jobs);
            from = page.next;
            if from.is_none() || jobs.len() >= MAX_RUNNING {
                break;
            }
        }
        // A job that moved on between two pages is read twice.
        let id = |job: &RunningJob| (job.process.clone(), job.thread.clone());
        let mut seen = std::collections::HashSet::new();
        jobs.retain(|job| seen.insert(id(job)));
        // Those that run the longest may hang.
        jobs.sort_by_key(|job| (job.since.is_none(), job.since, id(job)));
        let more = from.is_some();
        Ok(Data::Running { jobs, more })
    }

    async fn groups(&mut self, set: JobSet) -> Result<Data, StorageError> {
        let breakdown = match set {
            JobSet::Dead => &mut self.dead,
            JobSet::Retry | JobSet::Schedule => &mut self.retries,
        };
        for _ in 0..STEPS {
            if breakdown.update(self.admin).await? {
                break;
            }
        }
        Ok(Data::Groups(Counted {
            groups: breakdown.groups(),
            covered: breakdown.covered(),
            total: breakdown.total(),
        }))
    }

    /// How long to wait before the same part is read again.
    fn pause(&self, part: &Part, data: &Result<Data, StorageError>) -> Duration {
        match (part, data) {
            (Part::Groups(_), Ok(Data::Groups(counted))) if counted.covered < counted.total => {
                EVERY
            }
            (Part::Why(_), Ok(_)) if self.search.is_some() => EVERY,
            (
                Part::List {
                    is_search: true, ..
                },
                _,
            ) => EVERY_SEARCH,
            _ => EVERY_PART,
        }
    }
}
