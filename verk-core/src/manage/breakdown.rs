//! How many jobs of a set have which class and which error: [`Breakdown`].

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Admin, Entry, Jobs};
use crate::{
    error::StorageError,
    job::{Job, first_chars},
    storage::{JobSet, ListRequest, Order, Position, Source, WaitingJob},
};

/// Counts the jobs of a set by class and error class: the newest 10 000, a bounded step at a time.
///
/// [`update`](Self::update) makes one step. The first steps read the set from its newest member
/// down. Then a step reads only members with a later time. If the size of the set shows that other
/// members came or left, the next steps read it again, and the counts of before stay until then.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use std::time::{Duration, SystemTime};
/// # use verk_core::{Job, Verk};
/// # use verk_testing::MemoryStorage;
/// use verk_core::{manage::Breakdown, storage::JobSet};
///
/// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
/// # let at = SystemTime::now() + Duration::from_secs(60);
/// # for number in 0..3 {
/// #     verk.enqueue(Job::new("Welcome", "mailers".parse()?, format!("[{number}]"))?).await?;
/// # }
/// # verk.admin().queue("mailers")?.select().reschedule(at).await?;
/// let mut breakdown = Breakdown::new(JobSet::Schedule);
/// while !breakdown.update(&verk.admin()).await? {}
///
/// let groups = breakdown.groups();
/// assert_eq!((groups[0].class.as_deref(), groups[0].count), (Some("Welcome"), 3));
/// assert_eq!((breakdown.covered(), breakdown.total()), (3, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Breakdown {
    set: JobSet,
    counted: Counted,
    /// A set that is being read from its newest member down.
    pass: Option<Pass>,
    /// Whether `counted` is of a whole pass.
    is_complete: bool,
    /// How many members the set had.
    total: usize,
    /// How many it has if nothing left, and nothing came that is not newer.
    expected: usize,
}

/// Jobs of one class that failed with one class of errors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// The class, at most 200 characters of it. `None`: payloads that are no job.
    pub class: Option<String>,
    /// The class of the last error, at most 200 characters of it. `None`: no error.
    pub error_class: Option<String>,
    /// How many jobs.
    pub count: usize,
    /// The latest time of them: see [`Entry::at`].
    pub newest: SystemTime,
}

/// The most members that are counted.
const MAX_MEMBERS: usize = 10_000;

/// The most characters that are kept of the name of a class.
const MAX_CHARS: usize = 200;

type Key = (Option<String>, Option<String>);

#[derive(Clone, Debug, Default)]
struct Counted {
    groups: HashMap<Key, (usize, SystemTime)>,
    members: usize,
    /// The highest score.
    newest: Option<f64>,
}

#[derive(Clone, Debug, Default)]
struct Pass {
    counted: Counted,
    next: Position,
    /// How many members the set had at the first step.
    len: Option<usize>,
}

impl Breakdown {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(set: JobSet) -> Self {
        Self {
            set,
            counted: Counted::default(),
            pass: Some(Pass::default()),
            is_complete: false,
            total: 0,
            expected: 0,
        }
    }

    /// Reads the next step: at most 100 jobs and 1 MiB, but at least one. Returns whether the
    /// counts are up to date.
    ///
    /// # Errors
    ///
    /// When the storage fails: the counts stay as they were.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the counts stay as they were.
    pub async fn update(&mut self, admin: &Admin) -> Result<bool, StorageError> {
        let jobs = Jobs::new(&admin.client, Source::Set(self.set));
        match &self.pass {
            Some(pass) => {
                let request = ListRequest {
                    from: pass.next,
                    order: Order::NewestFirst,
                    ..ListRequest::default()
                };
                let listing = jobs.client.storage().list(&jobs.source, &request).await?;
                self.read_pass(&jobs, listing.jobs, listing.len, listing.next);
                Ok(self.pass.is_none())
            }
            None => {
                let request = ListRequest {
                    from: (self.counted.newest).map_or(Position::default(), just_after),
                    ..ListRequest::default()
                };
                let listing = jobs.client.storage().list(&jobs.source, &request).await?;
                let is_end = listing.next.is_none();
                self.read_newer(&jobs, listing.jobs, listing.len, is_end);
                Ok(is_end && self.pass.is_none())
            }
        }
    }

    /// The groups, the largest first. Until the first pass is done, they are of the jobs that were
    /// read so far.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let groups = self.shown().groups.iter();
        let groups = groups.map(|((class, error_class), (count, newest))| Group {
            class: class.clone(),
            error_class: error_class.clone(),
            count: *count,
            newest: *newest,
        });
        let mut groups: Vec<Group> = groups.collect();
        groups.sort_by(|one, other| {
            let order = other.count.cmp(&one.count);
            let order = order.then_with(|| other.newest.cmp(&one.newest));
            order.then_with(|| {
                (&one.class, &one.error_class).cmp(&(&other.class, &other.error_class))
            })
        });
        groups
    }

    /// How many jobs the groups have.
    #[must_use]
    pub fn covered(&self) -> usize {
        self.shown().members
    }

    /// How many jobs the set had at the last step.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    fn shown(&self) -> &Counted {
        match &self.pass {
            Some(pass) if !self.is_complete => &pass.counted,
            _ => &self.counted,
        }
    }

    fn read_pass(
        &mut self,
        jobs: &Jobs,
        members: Vec<WaitingJob>,
        len: usize,
        next: Option<Position>,
    ) {
        self.total = len;
        let Some(pass) = &mut self.pass else { return };
        let room = MAX_MEMBERS - pass.counted.members;
        pass.counted.add(jobs, members.into_iter().take(room));
        let len = *pass.len.get_or_insert(len);
        if let Some(next) = next.filter(|_| pass.counted.members < MAX_MEMBERS) {
            pass.next = next;
            return;
        }
        self.counted = std::mem::take(&mut pass.counted);
        self.is_complete = true;
        self.expected = len;
        self.pass = None;
    }

    fn read_newer(&mut self, jobs: &Jobs, members: Vec<WaitingJob>, len: usize, is_end: bool) {
        self.total = len;
        self.expected += members.len();
        self.counted.add(jobs, members.into_iter());
        // After many newer ones the oldest count no more.
        let is_too_many = self.counted.members > MAX_MEMBERS + MAX_MEMBERS / 10;
        if is_end && self.expected != len || is_too_many {
            self.pass = Some(Pass::default());
        }
    }
}

/// After all members with this score.
fn just_after(score: f64) -> Position {
    Position::Score {
        score,
        skip: u64::MAX,
    }
}

impl Counted {
    fn add(&mut self, jobs: &Jobs, members: impl Iterator<Item = WaitingJob>) {
        for member in members {
            let score = member.score.unwrap_or_default();
            let entry = Entry::waiting(jobs, member);
            let (count, newest) = (self.groups.entry(key(&entry))).or_insert((0, UNIX_EPOCH));
            *count += 1;
            *newest = entry.at().unwrap_or(UNIX_EPOCH).max(*newest);
            self.members += 1;
            self.newest = Some(self.newest.map_or(score, |newest| newest.max(score)));
        }
    }
}

fn key(entry: &Entry) -> Key {
    let short = |text: &str| first_chars(text, MAX_CHARS).to_owned();
    let job = entry.job.as_ref().ok();
    (
        job.map(|job| short(job.class())),
        job.and_then(Job::error_class).map(|class| short(&class)),
    )
}
