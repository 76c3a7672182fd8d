//! Moves the jobs of one place, a page at a time.

use bytes::Bytes;
use futures_util::{
    future::{BoxFuture, FutureExt as _},
    stream::{self, StreamExt as _},
};

use super::{
    LeftReason, Migrated, MigratedPlace, Run,
    carry::{Carried, Stored},
};
use crate::{
    error::StorageError,
    storage::{ListRequest, Locked, Move, OnceAnswer, Position, Settled, Source, StoredLock},
};

/// How many jobs of a set are copied at once. Those of a queue are copied one after another, in
/// their order.
const AT_ONCE: usize = 16;

/// How many pages of which no job is deleted or left are read, because others take the jobs.
const IDLE_PAGES: usize = 10;

/// What the target did with a job.
#[derive(Debug)]
enum Copied {
    New,
    Already,
    Left(LeftReason),
}

/// What became of a page.
pub(super) struct PageMoved {
    /// How many jobs were deleted in the source.
    pub(super) deleted: u64,
    /// The payloads of those that were left.
    pub(super) left: Vec<Bytes>,
}

impl Run<'_> {
    /// Begins to count a place. Returns its index in the report.
    pub(super) async fn begin(&mut self, place: &Source) -> Result<usize, StorageError> {
        let before = self.target().len(place).await? as u64;
        Ok(self.begin_with(place, before))
    }

    /// The same, if the target has so many jobs there.
    pub(super) fn begin_with(&mut self, place: &Source, before: u64) -> usize {
        self.report.places.push(MigratedPlace {
            before,
            ..MigratedPlace::new(Migrated::Jobs(place.clone()))
        });
        self.report.places.len() - 1
    }

    /// Moves all jobs of a place.
    pub(super) async fn move_place(&mut self, place: &Source) -> Result<(), StorageError> {
        let of = self.source().len(place).await? as u64;
        let at = self.begin(place).await?;
        if let Source::Queue(queue) = place {
            self.pause(queue).await?;
        }
        // Those that are left stay before the jobs that follow.
        let (mut left, mut idle) = (0, 0);
        while idle < IDLE_PAGES && !self.is_ended() {
            let request = ListRequest {
                from: Position::Index(left),
                ..ListRequest::default()
            };
            let jobs = self.source().list(place, &request).await?.jobs;
            if jobs.is_empty() {
                break;
            }
            let jobs = jobs.into_iter();
            let jobs = jobs.map(|job| Carried::new(place, job, &self.mark.id));
            let moved = self.move_page(at, place, jobs.collect()).await?;
            let more = moved.left.len() as u64;
            left += more;
            idle = if moved.deleted + more == 0 {
                idle + 1
            } else {
                0
            };
            self.tell(at, of);
        }
        Ok(())
    }

    /// Moves a page of a place.
    pub(super) async fn move_page(
        &mut self,
        at: usize,
        place: &Source,
        mut jobs: Vec<Carried>,
    ) -> Result<PageMoved, StorageError> {
        self.report.places[at].found += jobs.len() as u64;
        for job in &jobs {
            // A node of the source may move a due job to its queue at any moment.
            if let Some(queue) = job.queue().cloned() {
                self.pause(&queue).await?;
            }
        }
        for job in &mut jobs {
            self.look_at_lock(job).await?;
        }

        let is_queue = matches!(place, Source::Queue(_));
        // Without types, so that a task may run the migration.
        let copies: Vec<BoxFuture<'_, _>> = jobs.iter().map(|job| self.copy(job).boxed()).collect();
        let copied: Vec<Result<Copied, StorageError>> = stream::iter(copies)
            .buffered(if is_queue { 1 } else { AT_ONCE })
            .collect()
            .await;
        let mut arrived: Vec<(Carried, bool)> = Vec::with_capacity(jobs.len());
        let mut left = Vec::new();
        for (job, copied) in jobs.into_iter().zip(copied) {
            match copied? {
                Copied::New => arrived.push((job, true)),
                Copied::Already => arrived.push((job, false)),
                Copied::Left(reason) => {
                    self.leave(Migrated::Jobs(place.clone()), job.id(), reason);
                    left.push(job.payload().clone());
                }
            }
        }
        self.complete(&arrived).await?;
        let deleted = self.forget(at, place, arrived).await?;
        Ok(PageMoved { deleted, left })
    }

    /// Finds out whether the job holds the lock that it names, and who waits for it.
    async fn look_at_lock(&mut self, job: &mut Carried) -> Result<(), StorageError> {
        let Some(claim) = job.claim() else {
            return Ok(());
        };
        if let Some(stored) = self.source().lock(claim.lock()).await? {
            job.holds(claim, &stored, self.migration.source.now());
            if let (Some(_), Some((next, _))) = (job.lock(), stored.next) {
                self.waiting.insert(next);
            }
        }
        Ok(())
    }

    /// Stores a job in the target, once.
    async fn copy(&self, job: &Carried) -> Result<Copied, StorageError> {
        let now = self.migration.target.now();
        let once = job.once(&self.run);
        let is_named = |stored: StoredLock| {
            let next = stored.next.as_ref().map(|(jid, _)| jid);
            Some(&stored.jid) == job.jid() || next.is_some() && next == job.jid()
        };
        let names_it = match job.lock() {
            Some(lock) => (self.target().lock(lock.id).await?).is_some_and(is_named),
            None => false,
        };
        let first = if names_it {
            job.probe(now)
        } else {
            // Only jobs of the old cell have locks of a queue in the new one. So the job waited for
            // that one, maybe in a run that did not end.
            let waited = job.jid().is_some_and(|jid| self.waiting.contains(jid));
            let waits = waited || self.only.is_some();
            job.first(now, waits)
        };
        Ok(match self.target().enqueue_once(&once, &first).await {
            OnceAnswer::First(Locked::New | Locked::Replaced { .. }) => Copied::New,
            OnceAnswer::First(Locked::Duplicate { .. }) if names_it => {
                Copied::Left(LeftReason::LockIsTaken)
            }
            OnceAnswer::First(Locked::Duplicate { jid, .. }) => {
                Copied::Left(LeftReason::LockHeld(jid))
            }
            OnceAnswer::First(Locked::Failed(error)) => return Err(error),
            OnceAnswer::Seen { request, .. } => match job.stored(&request, &self.run) {
                Stored::Before => Copied::Already,
                Stored::Now if self.gone.contains(&job.key) => Copied::Already,
                Stored::Now => Copied::Left(LeftReason::Equal),
                Stored::Other => Copied::Left(LeftReason::SameId),
            },
        })
    }

    /// Takes the jobs of the target to their own places. Those that its nodes have fetched since
    /// are where they should be.
    async fn complete(&self, arrived: &[(Carried, bool)]) -> Result<(), StorageError> {
        let now = self.migration.target.now();
        let steps = arrived.iter().filter_map(|(job, _)| job.second(now));
        let mut by_place: Vec<(Source, Vec<Move>)> = Vec::new();
        for (from, step) in steps {
            match by_place.iter_mut().find(|(place, _)| *place == from) {
                Some((_, steps)) => steps.push(step),
                None => by_place.push((from, vec![step])),
            }
        }
        for (from, steps) in by_place {
            for settled in self.target().move_jobs(&from, &steps, None).await {
                if let Settled::Failed(error) = settled {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Deletes jobs in the source that the target has. Returns how many were deleted.
    async fn forget(
        &mut self,
        at: usize,
        place: &Source,
        arrived: Vec<(Carried, bool)>,
    ) -> Result<u64, StorageError> {
        let steps: Vec<Move> = arrived.iter().map(|(job, _)| job.deletion()).collect();
        let settled = self.source().move_jobs(place, &steps, None).await;
        let (mut deleted, mut failed) = (0, None);
        for ((job, is_new), settled) in arrived.into_iter().zip(settled) {
            match settled {
                Settled::Done | Settled::Merged | Settled::Superseded => deleted += 1,
                Settled::Failed(error) => {
                    failed.get_or_insert(error);
                    continue;
                }
                // Another job holds no lock of a deletion.
                Settled::NotHeld | Settled::Conflict { .. } => {
                    if let Source::Queue(_) = place {
                        let place = Migrated::Jobs(place.clone());
                        self.leave(place, job.id(), LeftReason::Taken);
                    }
                    self.gone.insert(job.key);
                }
            }
            let counts = &mut self.report.places[at];
            match is_new {
                true => counts.moved += 1,
                false => counts.already += 1,
            }
        }
        failed.map_or(Ok(deleted), Err)
    }
}
