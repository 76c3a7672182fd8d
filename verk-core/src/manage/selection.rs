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

use super::{Entry, Jobs, entry::Action};
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
    filters: Vec<Predicate>,
}

type Predicate = Box<dyn Fn(&Entry) -> bool + Send + Sync>;

impl Selection {
    pub(super) fn new(jobs: Jobs) -> Self {
        Self {
            jobs,
            texts: Vec::new(),
            filters: Vec::new(),
        }
    }

    /// Keeps the jobs of this class.
    pub fn class(self, class: impl Into<String>) -> Self {
        let class = class.into();
        self.filter(move |entry| entry.job().is_ok_and(|job| job.class() == class))
    }

    /// Keeps the jobs with this id.
    pub fn jid(mut self, jid: impl Into<Jid>) -> Self {
        let jid = jid.into();
        // Other ids can be written in several ways.
        if jid
            .as_str()
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric())
        {
            self = self.text(jid.as_str());
        }
        self.filter(move |entry| entry.job().is_ok_and(|job| *job.jid() == jid))
    }

    /// Keeps the jobs whose payload has this text, in its stored form: JSON, in which a quote is
    /// `\"`. In a set, the storage itself does it.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.texts.push(text.into());
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
        stream::try_unfold(Scan::new(self), async |mut scan| {
            Ok(scan.step().await?.map(|entries| (entries, scan)))
        })
        .map_ok(|entries| stream::iter(entries).map(Ok))
        .try_flatten()
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

    async fn act(self, action: Action) -> Result<usize, SelectionError> {
        let mut scan = Scan::new(self);
        let (mut done, mut failed) = (0, None);
        loop {
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
            for settled in action.apply(&scan.selection.jobs, &entries).await {
                match settled {
                    Settled::Done | Settled::Merged => done += 1,
                    Settled::NotHeld => {}
                    Settled::Failed(error) => {
                        unknown |= error.applied() == Applied::Unknown;
                        failed.get_or_insert(error);
                    }
                }
            }
            if unknown {
                break;
            }
        }
        match failed {
            None => Ok(done),
            Some(source) => Err(SelectionError { done, source }),
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
}

impl Scan {
    fn new(selection: Selection) -> Self {
        Self {
            selection,
            next: Some(0),
            gone: Arc::default(),
        }
    }

    /// The selected ones of the next jobs, often none; `None` at the end.
    async fn step(&mut self) -> Result<Option<Vec<Entry>>, StorageError> {
        let Some(passed) = self.next.take() else {
            return Ok(None);
        };
        let Selection { jobs, texts, .. } = &self.selection;
        let gone = self.gone.swap(0, Ordering::Relaxed);
        let cursor = match jobs.source() {
            Source::Queue(_) => passed.saturating_sub(gone),
            Source::Set(_) => passed,
        };
        let text = texts.first().map_or("", String::as_str);
        let step = jobs
            .client
            .storage()
            .scan(&jobs.source, cursor, text)
            .await?;
        self.next = step.next;
        let entries = step.jobs.into_iter();
        let entries = entries.map(|waiting| Entry::scanned(jobs, waiting, Arc::clone(&self.gone)));
        let matches = |entry: &Entry| self.selection.matches(entry);
        Ok(Some(entries.filter(matches).collect()))
    }
}
