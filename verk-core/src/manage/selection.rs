//! Many jobs at once: [`Selection`].

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Action, Entry, Filter, Jobs, filter::plain_name};
use crate::{
    error::{Applied, SelectionError, StorageError},
    names::Jid,
    storage::{Settled, Source, contains},
};

/// Some of the jobs of one place: see [`Jobs::select`]. All, until it is narrowed.
///
/// It reads and acts in bounded steps, while other programs add and take jobs. It reaches every job
/// that stays there the whole time. It may or may not reach a job that comes or goes meanwhile. It
/// may read a job twice, but changes it, and counts it, once. If another operator deletes from the
/// queue at the same time, it may miss jobs.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use std::time::{Duration, SystemTime};
/// # use verk_core::{Job, Verk};
/// # use verk_testing::MemoryStorage;
/// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
/// use futures_util::TryStreamExt;
///
/// let night = SystemTime::now() + Duration::from_secs(3600);
/// let admin = verk.admin();
/// admin.retry_set().select().class("Report").reschedule(night).await?;
/// admin.dead_set().select().text("ada@example.com").delete().await?;
/// admin.dead_set().select().filter(|entry| entry.job().is_err()).delete().await?;
///
/// let mut jobs = admin.queue("mailers")?.select().entries();
/// while let Some(entry) = jobs.try_next().await? {
///     println!("{entry:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[must_use = "a selection does nothing until it is read or acted on"]
pub struct Selection {
    jobs: Jobs,
    /// Texts that the payload must have, all of them.
    texts: Vec<String>,
    /// Texts that the payload of each job has that matches the filters.
    hints: Vec<String>,
    filters: Vec<Predicate>,
    /// The most jobs.
    limit: usize,
    progress: Option<Box<dyn Fn(Progress) + Send + Sync>>,
    ended: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

/// How far an operation on a [`Selection`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many jobs were examined.
    pub looked_at: u64,
    /// How many jobs were changed or, by [`Selection::count`], counted.
    pub done: usize,
}

type Predicate = Box<dyn Fn(&Entry) -> bool + Send + Sync>;

impl Selection {
    pub(super) fn new(jobs: Jobs) -> Self {
        Self {
            jobs,
            texts: Vec::new(),
            hints: Vec::new(),
            filters: Vec::new(),
            limit: usize::MAX,
            progress: None,
            ended: None,
        }
    }

    /// Keeps the jobs of this class.
    pub fn class(mut self, class: impl Into<String>) -> Self {
        let class = class.into();
        self.hint(plain_name(&class));
        self.filter(move |entry| entry.job().is_ok_and(|job| job.class() == class))
    }

    /// Keeps the jobs with this id.
    pub fn jid(mut self, jid: impl Into<Jid>) -> Self {
        let jid = jid.into();
        self.hint(plain_name(jid.as_str()));
        self.filter(move |entry| entry.job().is_ok_and(|job| *job.jid() == jid))
    }

    /// Keeps the jobs whose payload has this text, in its stored form: JSON, in which a quote is
    /// `\"`. The storage itself does it.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.texts.push(text.into());
        self
    }

    /// Keeps the jobs that match a [`Filter`]: exactly those that a list with it shows.
    pub fn matching(mut self, filter: Filter) -> Self {
        for text in filter.texts(&self.jobs.source) {
            self.hint(text);
        }
        self.filter(move |entry| filter.matches(entry))
    }

    /// Ends when so many jobs were read or changed.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = self.limit.min(limit);
        self
    }

    /// Calls `progress` after each step of an operation, or of a [count](Self::count).
    pub fn progress(mut self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Ends before the next step once `ended` returns `true`, as if there were no more jobs. An
    /// operation then returns exactly how many it changed; if its future is dropped, up to [a
    /// batch](crate::storage::MAX_BATCH_JOBS) more may be changed.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Job, Verk};
    /// # use verk_testing::MemoryStorage;
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// # verk.enqueue(Job::new("Welcome", "mailers".parse()?, "[]".to_owned())?).await?;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// static STOP: AtomicBool = AtomicBool::new(false); // set by a signal, say
    /// let all = verk.admin().queue("mailers")?.select().until(|| STOP.load(Ordering::Relaxed));
    /// assert_eq!(all.delete().await?, 1);
    ///
    /// STOP.store(true, Ordering::Relaxed);
    /// let none = verk.admin().queue("mailers")?.select().until(|| STOP.load(Ordering::Relaxed));
    /// assert_eq!(none.delete().await?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn until(mut self, ended: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.ended = Some(Box::new(ended));
        self
    }

    /// Keeps the jobs for which `matches` returns `true`.
    pub fn filter(mut self, matches: impl Fn(&Entry) -> bool + Send + Sync + 'static) -> Self {
        self.filters.push(Box::new(matches));
        self
    }

    /// Reads the jobs as the stream is polled: in a queue the newest first, in a set in no order.
    ///
    /// You may move and delete jobs while you read. It ends at the first error.
    #[must_use]
    pub fn entries(self) -> BoxStream<'static, Result<Entry, StorageError>> {
        let limit = self.limit;
        stream::try_unfold(Scan::new(self), async |mut scan| {
            Ok(scan.step().await?.map(|entries| (entries, scan)))
        })
        .map_ok(|entries| stream::iter(entries).map(Ok))
        .try_flatten()
        .take(limit)
        .boxed()
    }

    /// Reads until there is one.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn first(self) -> Result<Option<Entry>, StorageError> {
        self.entries().try_next().await
    }

    /// Counts the jobs, and changes nothing: how many an operation would reach. A job that is read
    /// twice, because the set grows or shrinks meanwhile, is counted twice.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Job, Verk};
    /// # use verk_testing::MemoryStorage;
    /// # use verk_core::manage::Filter;
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// # for number in 0..5 {
    /// #     verk.enqueue(Job::new("Welcome", "mailers".parse()?, format!("[{number}]"))?).await?;
    /// # }
    /// let mailers = verk.admin().queue("mailers")?;
    /// let welcome = || mailers.select().matching(Filter::new().class("Welcome"));
    /// assert_eq!(welcome().count().await?, 5);
    ///
    /// let log = |progress: verk_core::manage::Progress| println!("{} deleted", progress.done);
    /// assert_eq!(welcome().limit(2).progress(log).delete().await?, 2);
    /// assert_eq!(welcome().count().await?, 3);
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
    pub async fn count(self) -> Result<usize, StorageError> {
        let mut scan = Scan::new(self);
        let mut count = 0_usize;
        while count < scan.selection.limit
            && let Some(entries) = scan.step().await?
        {
            count = count
                .saturating_add(entries.len())
                .min(scan.selection.limit);
            scan.report(count);
        }
        Ok(count)
    }

    /// Deletes the jobs: see [`Entry::delete`]. Returns how many it deleted.
    ///
    /// # Errors
    ///
    /// [`SelectionError`], after all that could be reached was.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some jobs are deleted and others are not. You can call it again.
    pub async fn delete(self) -> Result<usize, SelectionError> {
        self.act(Action::Delete).await
    }

    /// Runs the jobs now: see [`Entry::requeue`]. Returns how many it moved.
    ///
    /// # Errors
    ///
    /// [`SelectionError`], after every job that could be reached was changed.
    ///
    /// # Cancel safety
    ///
    /// As [`delete`](Self::delete).
    pub async fn requeue(self) -> Result<usize, SelectionError> {
        self.act(Action::Requeue).await
    }

    /// Moves the jobs to the `dead` set: see [`Entry::kill`]. Returns how many it moved.
    ///
    /// # Errors
    ///
    /// [`SelectionError`], after every job that could be reached was changed.
    ///
    /// # Cancel safety
    ///
    /// As [`delete`](Self::delete).
    pub async fn kill(self) -> Result<usize, SelectionError> {
        self.act(Action::Kill).await
    }

    /// Gives the jobs another time: see [`Entry::reschedule`]. Returns how many jobs it changed.
    ///
    /// # Errors
    ///
    /// [`SelectionError`], after every job that could be reached was changed.
    ///
    /// # Cancel safety
    ///
    /// As [`delete`](Self::delete).
    pub async fn reschedule(self, at: SystemTime) -> Result<usize, SelectionError> {
        self.act(Action::Reschedule(at)).await
    }

    /// Does one thing to the jobs. Returns how many it changed.
    ///
    /// # Errors
    ///
    /// [`SelectionError`], after every job that could be reached was changed.
    ///
    /// # Cancel safety
    ///
    /// As [`delete`](Self::delete).
    pub async fn act(self, action: Action) -> Result<usize, SelectionError> {
        let mut scan = Scan::new(self);
        let (mut done, mut failed) = (0, None);
        while done < scan.selection.limit {
            let entries = match scan.step().await {
                Ok(Some(entries)) => entries,
                Ok(None) => break,
                Err(source) => {
                    failed.get_or_insert(source);
                    break;
                }
            };
            let entries: Vec<&Entry> = entries.iter().collect();
            let mut unknown = false;
            let mut left = &entries[..];
            // Again for as many as were gone: a limit counts only those that were changed.
            while !left.is_empty() && done < scan.selection.limit && !unknown {
                let room = (scan.selection.limit - done).min(left.len());
                let (now, later) = left.split_at(room);
                left = later;
                for settled in action.apply(&scan.selection.jobs, now).await {
                    match settled {
                        Settled::Done | Settled::Merged | Settled::Superseded => done += 1,
                        Settled::NotHeld | Settled::Conflict { .. } => {}
                        Settled::Failed(error) => {
                            unknown |= error.applied() == Applied::Unknown;
                            failed.get_or_insert(error);
                        }
                    }
                }
            }
            scan.report(done);
            if unknown {
                break;
            }
        }
        match failed {
            None => Ok(done),
            Some(source) => Err(SelectionError { done, source }),
        }
    }

    /// Adds a text for the storage to search, unless it is in each payload.
    fn hint(&mut self, text: String) {
        if !text.is_empty() {
            self.hints.push(text);
        }
    }

    fn matches(&self, entry: &Entry) -> bool {
        let holds = |text: &String| contains(entry.payload(), text);
        self.texts.iter().all(holds) && self.filters.iter().all(|matches| matches(entry))
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection")
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

/// A scan through all jobs of one place.
struct Scan {
    selection: Selection,
    /// Where the scan continues; `None` at the end.
    next: Option<u64>,
    /// How many of the jobs that were read are gone since: in a queue, the next jobs moved up by as
    /// many.
    gone: Arc<AtomicU64>,
    looked_at: u64,
}

impl Scan {
    fn new(selection: Selection) -> Self {
        Self {
            selection,
            next: Some(0),
            gone: Arc::default(),
            looked_at: 0,
        }
    }

    /// The selected ones of the next jobs, often none; `None` at the end.
    async fn step(&mut self) -> Result<Option<Vec<Entry>>, StorageError> {
        let Some(passed) = self.next.take() else {
            return Ok(None);
        };
        let Selection {
            jobs,
            texts,
            hints,
            ended,
            ..
        } = &self.selection;
        if ended.as_ref().is_some_and(|ended| ended()) {
            return Ok(None);
        }
        let gone = self.gone.swap(0, Ordering::Relaxed);
        let cursor = match jobs.source() {
            Source::Queue(_) => passed.saturating_sub(gone),
            Source::Set(_) => passed,
        };
        let texts: Vec<String> = texts.iter().chain(hints).cloned().collect();
        let step = jobs
            .client
            .storage()
            .scan(&jobs.source, cursor, &texts)
            .await?;
        self.next = step.next;
        self.looked_at += step.looked_at as u64;
        let entries = step.jobs.into_iter();
        let entries = entries.map(|waiting| Entry::scanned(jobs, waiting, Arc::clone(&self.gone)));
        let matches = |entry: &Entry| self.selection.matches(entry);
        Ok(Some(entries.filter(matches).collect()))
    }
    fn report(&self, done: usize) {
        let looked_at = self.looked_at;
        if let Some(progress) = &self.selection.progress {
            progress(Progress { looked_at, done });
        }
    }
}
