//! What a migration did, and why it ends: [`MigrationReport`], [`MigrateError`].

use std::fmt;

use thiserror::Error;

use crate::{
    error::StorageError,
    names::{Jid, QueueName},
    storage::Source,
};

/// The most jobs that a report names that were left.
pub const MAX_LEFT_NAMED: usize = 100;

/// What a migration moves: the jobs of a queue or a set, or the periodic jobs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Migrated {
    /// The jobs of one place.
    Jobs(Source),
    /// The entries of the timetable that a program or an operator stored.
    PeriodicJobs,
}

impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs(source) => source.fmt(f),
            Self::PeriodicJobs => f.write_str("periodic jobs"),
        }
    }
}

/// The counts of one place: see [`MigrationReport::places`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigratedPlace {
    /// What this is about.
    pub place: Migrated,
    /// How many the source had. Of a run, how many it examined, those that came meanwhile included.
    pub found: u64,
    /// How many this run stored in the target and then deleted in the source.
    pub moved: u64,
    /// How many the target had already from a run that did not end. They were deleted in the
    /// source.
    pub already: u64,
    /// How many the source has after the run.
    pub left: u64,
    /// How many the target had before the run.
    pub before: u64,
    /// How many the target has after the run. Its nodes may have run some already.
    pub after: u64,
}

impl MigratedPlace {
    pub(super) fn new(place: Migrated) -> Self {
        Self {
            place,
            found: 0,
            moved: 0,
            already: 0,
            left: 0,
            before: 0,
            after: 0,
        }
    }
}

/// A job or an entry that a run did not move.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftBehind {
    /// Where it is in the source.
    pub place: Migrated,
    /// The id of the job, or the name of the entry. Empty if the payload is no job.
    pub id: String,
    /// Why.
    pub reason: LeftReason,
}

/// Why a job or an entry is left in the source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LeftReason {
    /// Another job holds its unique lock in the target.
    #[error("job {0} holds its unique lock in the target")]
    LockHeld(Jid),
    /// The lock in the target names this job, but no run of this migration stored it there.
    #[error("its unique lock in the target is held already, in its own name")]
    LockIsTaken,
    /// This run moved a job that was equal to it. The next run moves this one.
    #[error("an equal job was moved: run the migration again for this one")]
    Equal,
    /// This run, or one that did not end, moved another job with this id. The next run moves this
    /// one.
    #[error("another job with this id was moved: run the migration again for this one")]
    SameId,
    /// A program took it from its queue after it was copied. The target has it, too.
    #[error("a program took it from the source while it moved, so it may run twice")]
    Taken,
    /// The target has another entry of this name.
    #[error("the target has another periodic job of this name")]
    OtherEntry,
    /// The entry cannot run: it can only be removed.
    #[error("its definition is not readable")]
    Damaged,
    /// A worker declares it, no program of the target has done so yet, and it is paused.
    #[error("a worker declares it, and it is paused: pause it in the target once it is there")]
    PausedStatic,
    /// Another program changed the entry again and again.
    #[error("other programs change it all the time")]
    Contended,
}

/// What a migration did: see [`Migration::run`](super::Migration::run).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// The counts: first the periodic jobs, then the sets and the queues that have or had a job.
    pub places: Vec<MigratedPlace>,
    /// Jobs that were not moved, and why: the first [`MAX_LEFT_NAMED`].
    pub left: Vec<LeftBehind>,
    /// The queues that are paused in the target now because an operator had paused them in the
    /// source.
    pub paused: Vec<QueueName>,
    /// How many jobs the nodes of the source hold: they run, or run next. They are not moved.
    pub running: u64,
    /// Whether it continued a run that did not end.
    pub resumed: bool,
    /// Whether [`Migration::until`](super::Migration::until) ended it.
    pub stopped: bool,
}

impl MigrationReport {
    /// How many jobs and entries were moved, and how many the target had already.
    #[must_use]
    pub fn moved(&self) -> u64 {
        let places = self.places.iter();
        places.map(|place| place.moved + place.already).sum()
    }

    /// How many jobs and entries the source still has that wait.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.places.iter().map(|place| place.left).sum()
    }

    /// Whether nothing is left in the source, nothing needs a check, and no node of the source
    /// holds a job.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.stopped && self.left() == 0 && self.running == 0 && self.left.is_empty()
    }
}

/// How far a migration is: see [`Migration::progress`](super::Migration::progress).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationProgress {
    /// The place that it moves.
    pub place: Migrated,
    /// How many jobs of it were examined.
    pub done: u64,
    /// How many jobs it had at the start.
    pub of: u64,
}

/// Why a migration did not run to its end.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The source and the target have a storage in common. Nothing was moved.
    #[error("the source and the target have a storage in common")]
    SameStorage,
    /// A run that did not end went to another target. Nothing was changed. Run that one to its end
    /// first.
    #[error("an earlier migration did not end, and went to {to}: run that one again first")]
    OtherTarget {
        /// The address of that target.
        to: String,
    },
    /// A migration out of the target did not end. Nothing was changed. Run that one to its end
    /// first.
    #[error("a migration from the target to {to} did not end: run that one again first")]
    TargetUnfinished {
        /// The address to which it went.
        to: String,
    },
    /// The run that did not end began more than [`MAX_GAP`](super::MAX_GAP) ago, so the target may
    /// have forgotten which jobs it has. Nothing was changed.
    #[error(
        "a run that did not end began more than 6 days ago, so the target may not know any more \
         which jobs it has: see the guide of the command line"
    )]
    TooOld,
    /// A storage failed. Each job is in the source, or in the target, or in both; run the migration
    /// again, which finds out.
    #[error("the migration stopped after {} jobs: {source}", report.moved())]
    Storage {
        /// What was done until then. Without the counts after the run.
        report: Box<MigrationReport>,
        /// What failed.
        source: StorageError,
    },
}

/// What a move of a queue did: see [`QueueMove::run`](super::QueueMove::run).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueMoveReport {
    /// The cell in which the queue lay; that in which it lies if there was nothing to do.
    pub from: usize,
    /// The cell in which it lies.
    pub to: usize,
    /// The counts of its jobs and its periodic jobs. Of a set, only the jobs of this queue count.
    /// Jobs that came while it moved may be left in the old cell, and run there.
    pub jobs: MigrationReport,
    /// How many locks were moved whose jobs are done.
    pub locks: u64,
}

impl QueueMoveReport {
    /// Whether the queue lies in the new cell, and each job that it had was moved.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.jobs.stopped && self.jobs.left.is_empty()
    }
}

/// Why a queue did not move to another cell.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum MoveQueueError {
    /// There is no cell of this number. Nothing was changed.
    #[error(
        "there is no such cell: {}",
        if *cells == 1 {
            "the fleet has one cell, 0".to_owned()
        } else {
            format!("the cells have numbers from 0 to {}", cells - 1)
        }
    )]
    NoSuchCell {
        /// How many cells there are.
        cells: usize,
    },
    /// The queue lies in several cells. Nothing was changed.
    #[error("the queue is spread over several cells")]
    Spread,
    /// A move that did not end went to another cell. Nothing was changed. Run that one to its end
    /// first.
    #[error("an earlier move of the queue to cell {to} did not end: run that one again first")]
    OtherCell {
        /// That cell.
        to: usize,
    },
    /// A migration to another storage did not end. Nothing was changed. Run it to its end first.
    #[error("a migration to {to} did not end: run that one again first")]
    Migrates {
        /// Where its target is.
        to: String,
    },
    /// A run that did not end began more than [`MAX_GAP`](super::MAX_GAP) ago, so the new cell may
    /// have forgotten which jobs it has. Nothing was changed.
    #[error(
        "a move that did not end began more than 6 days ago, so the new cell may not know any more \
         which jobs it has: see the guide of the command line"
    )]
    TooOld,
    /// A storage failed, or another program moves the queue, too. Each job is in one of the two
    /// cells, or in both; run the move again, which finds out.
    #[error("the move stopped after {} jobs: {source}", report.moved())]
    Storage {
        /// What was done until then. Without the counts after the run.
        report: Box<MigrationReport>,
        /// What failed.
        source: StorageError,
    },
}
