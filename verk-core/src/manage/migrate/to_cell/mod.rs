//! Moves one queue from its cell to another: [`QueueMove`].
//!
//! Jobs run where they are, and the nodes of all cells look for them there. So what has to change
//! in one moment is only where the steps happen that need one cell: enqueues that take a lock or
//! have a key, and the entries of the timetable. A record in each cell says where that is
//! (`Place`), and a gate in each cell keeps programs out that do not know it yet
//! ([`Gate`](crate::storage::Gate)).
//!
//! 1. [`begin`](Mover::begin): the old cell says that the queue moves, and to which cell. It pauses
//!    the queue, so that no node fetches a job that is about to be in both cells.
//! 2. Jobs without locks move, as in a migration, while the nodes of the old cell end those that
//!    they hold.
//! 3. [`close`](Mover::close): the old cell accepts no lock and no key of the queue any more, the
//!    new one does not yet. Jobs with locks move, then the locks whose jobs are done, then the
//!    entries of the timetable.
//! 4. [`open`](Mover::open): the new cell accepts them, and all cells say so.
//!
//! At any moment at most one cell accepts them. The next run continues one that did not end: it
//! finds the record.

mod known;
mod mover;

use std::fmt;

use self::{
    known::Known,
    mover::{Mover, resume},
};
use super::{
    Admin, Migration, MigrationReport, Run, mark,
    report::{MoveQueueError, QueueMoveReport},
};
use crate::{
    cells::moves::Place,
    error::StorageError,
    manage::MigrationProgress,
    names::{Jid, QueueName},
    time::clock::{from_unix_seconds, unix_seconds},
};

/// Moves one queue from its cell to another: see [`Admin::move_queue`].
#[must_use = "a move does nothing until it runs"]
pub struct QueueMove {
    admin: Admin,
    queue: QueueName,
    to: usize,
    by: Option<String>,
    progress: Option<Box<dyn Fn(MigrationProgress) + Send + Sync>>,
    ended: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

/// # Cells
impl Admin {
    /// Moves a queue to the cell with this number: its waiting, scheduled, retrying and dead jobs,
    /// its unique locks, and its periodic jobs. New jobs follow. It is for a queue whose cell has
    /// too much to do, or whose server is to be replaced.
    ///
    /// Nodes and clients continue meanwhile, and need no restart: they learn within `poll_interval`
    /// where the queue lies. Jobs that have arrived run at once. Those that have not wait for the
    /// move, which takes about as long as a [migration](Self::migrate_to) of the queue, and first
    /// waits for the jobs of the queue that run. At its end, while the jobs with locks move, it
    /// holds back enqueues of [unique](crate::Unique) jobs, and those with a key: they wait for up
    /// to 5 seconds, and then fail with the kind
    /// [`Moved`](crate::error::StorageErrorKind::Moved).
    ///
    /// Jobs keep their order, but those with a lock come after those without.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// # use verk_core::{Job, Verk, cells::Cells};
    /// # use verk_testing::MemoryStorage;
    /// # let storage = || Arc::new(MemoryStorage::default());
    /// # let cells = Cells::new(storage()).with(storage()).with(storage());
    /// let verk = Verk::builder().cells(cells.clone()).build().await?;
    /// let mailers = "mailers".parse()?;
    /// verk.client().enqueue(Job::new("Welcome", "mailers".parse()?, "[1]".to_owned())?).await?;
    /// assert_eq!(cells.of(&mailers), 1);
    ///
    /// let report = verk.admin().move_queue(mailers.clone(), 2).by("ada").run().await?;
    /// assert!(report.is_complete());
    /// assert_eq!((report.from, report.jobs.moved()), (1, 1));
    /// assert_eq!(cells.of(&mailers), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn move_queue(&self, queue: QueueName, to: usize) -> QueueMove {
        QueueMove {
            admin: self.clone(),
            queue,
            to,
            by: None,
            progress: None,
            ended: None,
        }
    }

    /// Reads which queues were moved to another cell than their name says, and which move now.
    ///
    /// # Errors
    ///
    /// When a cell fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn moved_queues(&self) -> Result<Vec<QueuePlace>, StorageError> {
        let mut all: Vec<QueuePlace> = Vec::new();
        for moved in self.storage().moved_queues().await? {
            if let Some(place) = Place::of(&moved) {
                all.push(QueuePlace {
                    queue: moved.queue,
                    cell: place.cell,
                    to: place.to,
                });
            }
        }
        Ok(all)
    }
}

/// Where a queue lies that was moved: see [`Admin::moved_queues`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuePlace {
    /// The queue.
    pub queue: QueueName,
    /// The cell in which it lies.
    pub cell: usize,
    /// The cell to which it moves, if it does, or if a move did not end.
    pub to: Option<usize>,
}

impl QueueMove {
    /// Says who moves the queue, for the note of the pause. Only the first 200 characters are
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

    /// Ends before the next step once `ended` returns `true`, and while it waits for running jobs.
    /// No job is in both cells then, and the report says
    /// [`stopped`](MigrationReport::stopped).
    pub fn until(mut self, ended: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.ended = Some(Box::new(ended));
        self
    }

    /// Moves the queue. Run it again after an error, and if it was stopped. Of a queue that lies in
    /// the cell already, it makes sure that all cells know it.
    ///
    /// Run one move of a queue at a time, and do not resume the queue meanwhile.
    ///
    /// # Errors
    ///
    /// [`MoveQueueError`]. After [`MoveQueueError::Storage`] or a crash, up to 100 jobs of one
    /// place are in both cells; the old one has paused the queue, so they do not run twice. The
    /// next run within 6 days completes the move. Until then, do not resume the queue.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, it is as after an error. Use [`until`](Self::until) to end it
    /// without that.
    pub async fn run(self) -> Result<QueueMoveReport, MoveQueueError> {
        let cells = &self.admin.client.essentials().cells;
        let count = cells.count();
        if self.to >= count {
            return Err(MoveQueueError::NoSuchCell { cells: count });
        }
        if cells.is_spread(&self.queue) {
            return Err(MoveQueueError::Spread);
        }
        let known = Known::read(cells, &self.queue).await;
        let known = known.map_err(failed_before)?;
        let from = known.place.as_ref().map_or_else(
            || cells.by_name(&self.queue),
            |place| place.cell.min(count - 1),
        );
        let moves_to = known.place.as_ref().and_then(|place| place.to);
        match moves_to {
            Some(to) if to != self.to => return Err(MoveQueueError::OtherCell { to }),
            None if from == self.to => return self.complete(known, from).await,
            _ => {}
        }
        let now = self.admin.now();
        let since = known.place.as_ref().filter(|place| place.to.is_some());
        let since = since.map(|place| from_unix_seconds(place.since));
        if since.is_some_and(|since| {
            now.duration_since(since)
                .is_ok_and(|age| age > super::MAX_GAP)
        }) {
            return Err(MoveQueueError::TooOld);
        }
        for cell in [from, self.to] {
            let pauses = cells.storages()[cell].pauses().await;
            if let Some((other, _)) = mark::unfinished(&pauses.map_err(failed_before)?) {
                return Err(MoveQueueError::Migrates { to: other.to });
            }
        }
        self.run_from(known, from, since.is_some()).await
    }

    async fn run_from(
        self,
        known: Known,
        from: usize,
        resumed: bool,
    ) -> Result<QueueMoveReport, MoveQueueError> {
        let admin_of = |cell: usize| self.admin.client.of_cell(cell).admin();
        let migration = Migration {
            source: admin_of(from),
            target: admin_of(self.to),
            by: self.by,
            progress: self.progress,
            ended: self.ended,
        };
        let place = known.place.clone().filter(|place| place.to.is_some());
        let place = place.unwrap_or_else(|| {
            let earlier = known.place.as_ref().map_or(&[][..], |place| &place.before);
            Place {
                cell: from,
                to: Some(self.to),
                closed: false,
                id: Jid::random().to_string(),
                before: earlier.to_vec(),
                since: unix_seconds(self.admin.now()),
            }
        });
        let mark = mark::Mark {
            id: place.id.clone(),
            to: format!("cell {}", self.to),
        };
        let mut run = Run::new(&migration, mark);
        run.only = Some(self.queue.clone());
        run.report.resumed = resumed;
        let mut mover = Mover::new(&self.admin, &self.queue, (from, self.to), known, place, run);
        let all = mover.all().await;
        let (locks, jobs) = (mover.locks, mover.run.report);
        match all {
            Ok(()) => Ok(QueueMoveReport {
                from,
                to: self.to,
                jobs,
                locks,
            }),
            Err(source) => Err(MoveQueueError::Storage {
                report: Box::new(jobs),
                source,
            }),
        }
    }

    /// Makes sure that all cells know where the queue lies.
    async fn complete(
        self,
        mut known: Known,
        at: usize,
    ) -> Result<QueueMoveReport, MoveQueueError> {
        let cells = &self.admin.client.essentials().cells;
        if let Some(place) = known.place.take() {
            let newest = known.newest;
            let all: Vec<usize> = (0..cells.count()).collect();
            let said = known.tell(cells, &self.queue, &place, &all, newest).await;
            said.map_err(failed_before)?;
            for before in &place.before {
                let resumed = resume(&*cells.storages()[*before], &self.queue, &place.id).await;
                resumed.map_err(failed_before)?;
            }
            cells.learn(&[place.kept_by(at, &self.queue, newest)]);
        }
        Ok(QueueMoveReport {
            from: at,
            to: at,
            jobs: MigrationReport::default(),
            locks: 0,
        })
    }
}

/// A storage failed before a job was moved.
fn failed_before(source: StorageError) -> MoveQueueError {
    MoveQueueError::Storage {
        report: Box::default(),
        source,
    }
}

impl fmt::Debug for QueueMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueMove")
            .field("queue", &self.queue)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}
