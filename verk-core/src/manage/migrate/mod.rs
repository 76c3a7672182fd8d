//! Moves everything that waits from one storage to another: [`Migration`].
//!
//! No step crosses two storages, so a job is in both for a moment. What keeps it from being stored
//! twice, or lost:
//!
//! 1. The source is paused: no node fetches a job that is about to move ([`pause`](Run::pause)).
//! 2. The target stores a job under a key, once
//!    ([`enqueue_once`](crate::storage::EffectStore::enqueue_once)). The key is made of the id of
//!    the migration and that of the job.
//! 3. That step stores jobs only in queues and in the `schedule` set. A retry and a dead job go
//!    there first, the retry with its own time and the dead job in 100 years. A second step of the
//!    target takes them to their set ([`Carried::second`]).
//! 4. The source deletes the job, by its payload, when the target has acknowledged both steps.
//! 5. The id of the migration is in the source until a run ends without an error ([`mark`]). A run
//!    that finds one continues with it. So a job that is in both is known by its key, and the steps
//!    that are left are made up for.
//!
//! A run that ends has no job in both storages. The next one gets another id, because a job may
//! have come back meanwhile.

mod carry;
mod mark;
mod pass;
mod report;
#[cfg(feature = "cron")]
mod timetable;
mod to_cell;

use std::{
    collections::HashSet,
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::future::try_join;

pub use self::{
    report::{
        LeftBehind, LeftReason, MAX_LEFT_NAMED, MigrateError, Migrated, MigratedPlace,
        MigrationProgress, MigrationReport, MoveQueueError, QueueMoveReport,
    },
    to_cell::{QueueMove, QueuePlace},
};

use self::mark::Mark;
use super::{Admin, queues};
use crate::{
    error::StorageError,
    names::{Jid, QueueName},
    storage::{JobSet, Source, Storage},
};

/// How long after its start a run that did not end can be continued: 6 days. The target remembers
/// each job that it got for 7 days.
pub const MAX_GAP: Duration = Duration::from_secs(6 * 24 * 60 * 60);

/// The sets, in the order in which they move. Due jobs of the source that its nodes still move go
/// to queues, which come after.
const SETS: [JobSet; 3] = [JobSet::Schedule, JobSet::Retry, JobSet::Dead];

/// Moves everything that waits from one storage to another: see [`Admin::migrate_to`].
#[must_use = "a migration does nothing until it runs"]
pub struct Migration {
    source: Admin,
    target: Admin,
    by: Option<String>,
    progress: Option<Box<dyn Fn(MigrationProgress) + Send + Sync>>,
    ended: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

/// # Migration
impl Admin {
    /// Moves everything that waits from this storage, the source, to that of `target`: from one
    /// Redis to a cluster with [cells](crate::cells), back, or from one Redis to another.
    ///
    /// It moves the waiting jobs of all queues, in their order; the `schedule`, `retry` and `dead`
    /// sets, with their times; periodic jobs that a program or an operator stored, with their
    /// pauses; and the pauses of queues. A job that holds a unique lock holds it in the target. It
    /// does not move running jobs, statistics, metrics and the audit list, nor periodic jobs that
    /// workers declare.
    ///
    /// Clients and nodes may use the target already. Each queue of the source is paused for all
    /// nodes, and stays so. Programs that do not obey such pauses, such as Sidekiq without Pro,
    /// must not run on the source.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::sync::Arc;
    ///
    /// use verk_core::{Client, Job, cells::Cells};
    /// use verk_testing::MemoryStorage;
    ///
    /// let source = Client::new(Arc::new(MemoryStorage::default()));
    /// let cells = Cells::new(Arc::new(MemoryStorage::default()))
    ///     .with(Arc::new(MemoryStorage::default()));
    /// let target = Client::new(cells.view());
    /// source.enqueue(Job::new("Welcome", "mailers".parse()?, r#"["ada"]"#.to_owned())?).await?;
    ///
    /// let report = source.admin().migrate_to(&target.admin()).by("ada").run().await?;
    /// assert_eq!((report.moved(), report.left()), (1, 0));
    /// assert!(report.is_complete());
    /// assert_eq!(target.admin().queue("mailers")?.count().await?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn migrate_to(&self, target: &Admin) -> Migration {
        Migration {
            source: self.clone(),
            target: target.clone(),
            by: None,
            progress: None,
            ended: None,
        }
    }
}

impl Migration {
    /// Says who moves the jobs, for the notes of the pauses. Only the first 200 characters are
    /// stored.
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.by = Some(who.into());
        self
    }

    /// Calls `progress` after each step, of at most 100 jobs and 1 MiB.
    pub fn progress(
        mut self,
        progress: impl Fn(MigrationProgress) + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Ends before the next step once `ended` returns `true`. No job is in both storages then, and
    /// the report says [`stopped`](MigrationReport::stopped).
    pub fn until(mut self, ended: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.ended = Some(Box::new(ended));
        self
    }

    /// Counts what there is to move, and changes nothing. `moved` and `already` are 0.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// # use verk_core::{Client, Job};
    /// # use verk_testing::MemoryStorage;
    /// # let source = Client::new(Arc::new(MemoryStorage::default()));
    /// # let target = Client::new(Arc::new(MemoryStorage::default()));
    /// # source.enqueue(Job::new("Welcome", "mailers".parse()?, r#"["ada"]"#.to_owned())?).await?;
    /// let report = source.admin().migrate_to(&target.admin()).preview().await?;
    /// let queues = report.places.iter().filter(|place| place.found > 0);
    /// for place in queues.clone() {
    ///     println!("{}: {} jobs, and {} in the target", place.place, place.found, place.before);
    /// }
    /// assert_eq!((queues.count(), report.left()), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When one of the storages fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn preview(&self) -> Result<MigrationReport, StorageError> {
        let mark = Mark {
            id: String::new(),
            to: self.target.address(),
        };
        let mut run = Run::new(self, mark);
        run.report.resumed = mark::unfinished(&self.source.storage().pauses().await?).is_some();
        #[cfg(feature = "cron")]
        run.count_entries().await?;
        for place in run.places().await? {
            let at = run.begin(&place).await?;
            let found = run.source().len(&place).await? as u64;
            let counted = &mut run.report.places[at];
            (counted.found, counted.left, counted.after) = (found, found, counted.before);
        }
        run.report.running = run.held().await?;
        Ok(run.report)
    }

    /// Moves everything. Run it again if something was left, and after an error.
    ///
    /// Run one migration out of a storage at a time. Two at once may store the jobs of a queue in
    /// another order, and if one ends and the other crashes, the next run does not know which jobs
    /// are in both storages.
    ///
    /// # Errors
    ///
    /// [`MigrateError`]. After [`MigrateError::Storage`], a crash or a lost reply, up to 100 jobs
    /// of one place are in both storages, at most 100 dead jobs are in the `schedule` set of the
    /// target, due in 100 years, and one periodic job is in both and paused in the source. The
    /// queues of the source are paused. The next run within 6 days completes these jobs. Until
    /// then, resume no queue of the source, because it may have a job that the target has, too.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, it is as after an error. Use [`until`](Self::until) to end it
    /// without that.
    pub async fn run(&self) -> Result<MigrationReport, MigrateError> {
        let (mark, resumed) = self.mark().await?;
        let mut run = Run::new(self, mark);
        run.report.resumed = resumed;
        let all = match run.all().await {
            Ok(()) => run.end().await,
            Err(error) => Err(error),
        };
        match all {
            Ok(()) => Ok(run.report),
            Err(source) => Err(MigrateError::Storage {
                report: Box::new(run.report),
                source,
            }),
        }
    }

    /// Finds the migration that did not end, or begins one. Returns whether it found one.
    async fn mark(&self) -> Result<(Mark, bool), MigrateError> {
        let storages = (self.source.storage(), self.target.storage());
        let begun = self.find_or_begin(storages).await;
        begun.map_err(|source| MigrateError::Storage {
            report: Box::default(),
            source,
        })?
    }

    async fn find_or_begin(
        &self,
        (source, target): (&dyn Storage, &dyn Storage),
    ) -> Result<Result<(Mark, bool), MigrateError>, StorageError> {
        let now = self.source.now();
        let by = self.by.as_deref();
        let (at_source, at_target) = try_join(source.pauses(), target.pauses()).await?;
        let out_of_target = mark::unfinished(&at_target);
        if let Some((mark, since)) = mark::unfinished(&at_source) {
            let into = mark::into(&mark.id)?;
            if !at_target.iter().any(|pause| pause.queue == into) {
                return Ok(Err(MigrateError::OtherTarget { to: mark.to }));
            }
            if out_of_target.is_some_and(|(other, _)| other.id == mark.id) {
                return Ok(Err(MigrateError::SameStorage));
            }
            if now.duration_since(since).is_ok_and(|age| age > MAX_GAP) {
                return Ok(Err(MigrateError::TooOld));
            }
            return Ok(Ok((mark, true)));
        }
        if let Some((mark, _)) = out_of_target {
            return Ok(Err(MigrateError::TargetUnfinished { to: mark.to }));
        }
        let mark = Mark {
            id: Jid::random().to_string(),
            to: self.target.address(),
        };
        // First the target: a source that is marked has a target that is.
        let into = mark::into(&mark.id)?;
        target.pause(&into, &mark.note(now, by, None)).await?;
        if mark::has(source, &into).await? {
            target.resume(&into).await?;
            return Ok(Err(MigrateError::SameStorage));
        }
        let out = mark::out()?;
        source.pause(&out, &mark.note(now, by, None)).await?;
        // Of two that begin at once, the first counts.
        match mark::unfinished(&source.pauses().await?) {
            Some((kept, _)) if kept.id == mark.id => Ok(Ok((mark, false))),
            _ => {
                target.resume(&into).await?;
                let why = "another migration from this storage began at the same time";
                Err(StorageError::not_applied(mark::OP, why))
            }
        }
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("source", &self.source)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// A run of a migration.
struct Run<'a> {
    migration: &'a Migration,
    mark: Mark,
    /// The id of this run, which the target keeps with each job that it gets.
    run: String,
    /// The queue that moves, if not all of them do: to another cell of the same fleet.
    only: Option<QueueName>,
    /// The queues that this run paused in the source.
    paused: HashSet<QueueName>,
    /// The keys of jobs that were no more in their set when the source should delete them: its
    /// nodes moved them to their queues.
    gone: HashSet<String>,
    /// Jobs that waited for the lock of a job that was moved.
    waiting: HashSet<Jid>,
    report: MigrationReport,
}

impl<'a> Run<'a> {
    fn new(migration: &'a Migration, mark: Mark) -> Self {
        Self {
            migration,
            mark,
            run: Jid::random().to_string(),
            only: None,
            paused: HashSet::new(),
            gone: HashSet::new(),
            waiting: HashSet::new(),
            report: MigrationReport::default(),
        }
    }

    fn source(&self) -> &'a dyn Storage {
        self.migration.source.storage()
    }

    fn target(&self) -> &'a dyn Storage {
        self.migration.target.storage()
    }

    async fn all(&mut self) -> Result<(), StorageError> {
        self.move_pauses().await?;
        for queue in self.source().queues().await? {
            self.pause(&queue).await?;
        }
        #[cfg(feature = "cron")]
        self.move_entries().await?;
        let mut done = HashSet::new();
        // Again for queues that get their first job meanwhile, from a set.
        loop {
            let places = self.places().await?.into_iter();
            let new: Vec<Source> = places.filter(|place| !done.contains(place)).collect();
            if new.is_empty() || self.report.stopped {
                return Ok(());
            }
            for place in new {
                self.move_place(&place).await?;
                done.insert(place);
            }
        }
    }

    /// The places of the source, in the order in which they move.
    async fn places(&self) -> Result<Vec<Source>, StorageError> {
        let queues = self.source().queues().await?.into_iter();
        let sets = SETS.into_iter().map(Source::Set);
        Ok(sets.chain(queues.map(Source::Queue)).collect())
    }

    /// Pauses a queue of the source, so that no node fetches a job of it.
    async fn pause(&mut self, queue: &QueueName) -> Result<(), StorageError> {
        if !self.paused.contains(queue) {
            self.source().pause(queue, &self.note(None)).await?;
            self.paused.insert(queue.clone());
        }
        Ok(())
    }

    /// The note of a pause in the source; of a periodic job, with its next run.
    fn note(&self, next: Option<SystemTime>) -> Bytes {
        let by = self.migration.by.as_deref();
        self.mark.note(self.migration.source.now(), by, next)
    }

    /// Pauses in the target what an operator paused in the source, and resumes there what an
    /// earlier migration out of it paused.
    async fn move_pauses(&mut self) -> Result<(), StorageError> {
        for pause in self.target().pauses().await? {
            let is_of_migration = Mark::of(pause.note.as_ref()).is_some();
            if is_of_migration && !mark::is_mark(&pause.queue) {
                self.target().resume(&pause.queue).await?;
            }
        }
        for pause in self.source().pauses().await? {
            if Mark::of(pause.note.as_ref()).is_none() {
                let note = pause.note.unwrap_or_default();
                self.target().pause(&pause.queue, &note).await?;
                self.report.paused.push(pause.queue);
            }
        }
        Ok(())
    }

    /// Counts what both storages have, and removes the marks: no job is in both.
    async fn end(&mut self) -> Result<(), StorageError> {
        for at in 0..self.report.places.len() {
            if let Migrated::Jobs(place) = &self.report.places[at].place {
                let counts = try_join(self.source().len(place), self.target().len(place)).await?;
                let place = &mut self.report.places[at];
                (place.left, place.after) = (counts.0 as u64, counts.1 as u64);
            }
        }
        self.report.running = self.held().await?;
        self.source().resume(&mark::out()?).await?;
        self.target().resume(&mark::into(&self.mark.id)?).await?;
        Ok(())
    }

    /// How many jobs of what moves the nodes of the source hold.
    async fn held(&self) -> Result<u64, StorageError> {
        let mut lists = queues::lists(&self.source().nodes().await?);
        lists.retain(|list| self.only.as_ref().is_none_or(|queue| list.queue == *queue));
        let counts = self.source().held_counts(&lists).await?;
        Ok(counts.iter().map(|count| count.jobs as u64).sum())
    }

    fn is_ended(&mut self) -> bool {
        let ended = self.migration.ended.as_ref();
        self.report.stopped |= ended.is_some_and(|ended| ended());
        self.report.stopped
    }

    fn tell(&self, at: usize, of: u64) {
        if let Some(progress) = &self.migration.progress {
            let place = &self.report.places[at];
            progress(MigrationProgress {
                place: place.place.clone(),
                done: place.found,
                of: of.max(place.found),
            });
        }
    }

    fn leave(&mut self, place: Migrated, id: &str, reason: LeftReason) {
        if self.report.left.len() < MAX_LEFT_NAMED {
            self.report.left.push(LeftBehind {
                place,
                id: id.to_owned(),
                reason,
            });
        }
    }
}
