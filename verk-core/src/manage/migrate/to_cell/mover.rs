//! The steps of a move: [`Mover`].

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;

use super::known::Known;
use crate::{
    cells::{Cells, moves::Place},
    error::StorageError,
    job::Job,
    manage::{
        Admin,
        migrate::{Run, SETS, carry::Carried, mark::Mark},
    },
    names::QueueName,
    storage::{HolderPlace, ListRequest, MAX_BATCH_JOBS, Page, Position, Source, Storage},
};

/// How often it looks whether the nodes of the old cell still hold jobs.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Ends the pause that a move made; that of an operator stays.
pub(super) async fn resume(
    storage: &dyn Storage,
    queue: &QueueName,
    id: &str,
) -> Result<(), StorageError> {
    let pauses = storage.pauses().await?;
    let ours = pauses.into_iter().find(|pause| pause.queue == *queue);
    let mark = ours.and_then(|pause| Mark::of(pause.note.as_ref()));
    if mark.is_some_and(|(mark, _)| mark.id == id) {
        storage.resume(queue).await?;
    }
    Ok(())
}

/// A move under way.
pub(super) struct Mover<'a> {
    admin: &'a Admin,
    queue: &'a QueueName,
    from: usize,
    to: usize,
    known: Known,
    place: Place,
    pub(super) run: Run<'a>,
    /// Of each place, where the report counts it.
    indexes: [Option<usize>; SETS.len() + 1],
    /// Jobs that cannot be moved.
    left: HashSet<Bytes>,
    pub(super) locks: u64,
}

impl<'a> Mover<'a> {
    pub(super) fn new(
        admin: &'a Admin,
        queue: &'a QueueName,
        (from, to): (usize, usize),
        known: Known,
        place: Place,
        run: Run<'a>,
    ) -> Self {
        Self {
            admin,
            queue,
            from,
            to,
            known,
            place,
            run,
            indexes: [None; SETS.len() + 1],
            left: HashSet::new(),
            locks: 0,
        }
    }
}

impl Mover<'_> {
    fn cells(&self) -> &Cells {
        &self.admin.client.essentials().cells
    }

    pub(super) async fn all(&mut self) -> Result<(), StorageError> {
        self.begin().await?;
        if !self.place.closed {
            self.pass(false).await?;
            self.wait_until_none_runs().await?;
            if self.run.report.stopped {
                return self.resume().await;
            }
            self.close().await?;
        }
        loop {
            let moved = match self.pass(true).await? {
                // Of a lock whose job waits, the job moves first.
                0 => self.move_locks().await?,
                moved => moved,
            };
            if self.run.is_ended() {
                return Ok(());
            }
            if moved == 0 {
                break;
            }
        }
        #[cfg(feature = "cron")]
        self.run.move_entries().await?;
        self.open().await?;
        self.resume().await?;
        self.count().await
    }

    /// Says to these cells, one after another, where the queue lies.
    async fn tell(&mut self, numbers: &[usize], revision: u64) -> Result<(), StorageError> {
        let cells = self.cells().clone();
        let (known, place) = (&mut self.known, &self.place);
        known
            .tell(&cells, self.queue, place, numbers, revision)
            .await?;
        known.newest = revision;
        Ok(())
    }

    /// The queue moves from now on.
    async fn begin(&mut self) -> Result<(), StorageError> {
        let revision = match self.run.report.resumed {
            true => self.known.newest,
            false => self.known.newest + 1,
        };
        self.tell(&[self.from, self.to], revision).await?;
        self.run.pause(self.queue).await
    }

    /// From now on, no cell accepts locks and keys of the queue.
    async fn close(&mut self) -> Result<(), StorageError> {
        self.place.closed = true;
        self.tell(&[self.from, self.to], self.known.newest + 1)
            .await
    }

    /// The new cell accepts them, and all know it.
    async fn open(&mut self) -> Result<(), StorageError> {
        let mut before: Vec<usize> = self.place.before.clone();
        before.push(self.from);
        before.retain(|cell| *cell != self.to);
        before.sort_unstable();
        before.dedup();
        self.place = Place {
            cell: self.to,
            to: None,
            closed: false,
            before,
            ..self.place.clone()
        };
        let mut numbers = vec![self.to, self.from];
        numbers.extend(0..self.cells().count());
        let revision = self.known.newest + 1;
        self.tell(&numbers, revision).await?;
        let kept = self.place.kept_by(self.to, self.queue, revision);
        self.cells().learn(&[kept]);
        Ok(())
    }

    async fn resume(&self) -> Result<(), StorageError> {
        resume(self.run.source(), self.queue, &self.place.id).await
    }

    async fn wait_until_none_runs(&mut self) -> Result<(), StorageError> {
        let clock = Arc::clone(&self.admin.client.essentials().clock);
        loop {
            self.run.report.running = self.run.held().await?;
            if self.run.report.running == 0 || self.run.is_ended() {
                return Ok(());
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }

    /// The places of the queue's jobs.
    fn places(&self) -> Vec<Source> {
        let sets = SETS.into_iter().map(Source::Set);
        sets.chain([Source::Queue(self.queue.clone())]).collect()
    }

    /// Moves the jobs of the queue that each place has now; without locks, or all. Returns how many
    /// of them have locks.
    async fn pass(&mut self, with_locks: bool) -> Result<u64, StorageError> {
        let mut locked = 0;
        for (number, place) in self.places().iter().enumerate() {
            let at = match self.indexes[number] {
                Some(at) => at,
                None => self.begin_to_count(number, place).await?,
            };
            locked += self.move_from(at, place, with_locks).await?;
        }
        Ok(locked)
    }

    async fn begin_to_count(
        &mut self,
        number: usize,
        place: &Source,
    ) -> Result<usize, StorageError> {
        let before = count(self.run.target(), place, self.queue).await?;
        let at = self.run.begin_with(place, before);
        self.indexes[number] = Some(at);
        Ok(at)
    }

    async fn move_from(
        &mut self,
        at: usize,
        place: &Source,
        with_locks: bool,
    ) -> Result<u64, StorageError> {
        let of = self.run.source().len(place).await?;
        // In a queue, jobs that come meanwhile come after those.
        let (mut looks, mut locked) = (of, 0);
        let mut next = Some(Position::default());
        // The jobs that stay, of those that the next page would have again.
        let mut stay = HashSet::new();
        while let Some(from) = next
            && looks > 0
            && !self.run.is_ended()
        {
            let request = ListRequest {
                from,
                limit: ListRequest::default().limit.min(looks),
                ..ListRequest::default()
            };
            let page = self.run.source().list(place, &request).await?;
            let mut jobs = Vec::new();
            for job in page.jobs {
                let payload = job.job.clone();
                let job = Carried::new(place, job, &self.place.id);
                let is_ours = job.queue() == Some(self.queue)
                    && !stay.contains(&payload)
                    && !self.left.contains(&payload);
                let has_lock = job.claim().is_some();
                if is_ours && (with_locks || !has_lock) {
                    locked += u64::from(has_lock);
                    jobs.push(job);
                } else {
                    stay.insert(payload);
                }
            }
            let moved = self.run.move_page(at, place, jobs).await?;
            self.run.tell(at, of as u64);
            self.left.extend(moved.left);
            let deleted = moved.deleted;
            if deleted > 0 && !matches!(place, Source::Queue(_)) {
                // Those that were deleted made room: the same page has others now.
                continue;
            }
            stay.clear();
            let deleted = usize::try_from(deleted).unwrap_or(usize::MAX);
            looks = looks.saturating_sub(page.looked_at);
            next = match from {
                Position::Index(index) if matches!(place, Source::Queue(_)) => {
                    let kept = page.looked_at.saturating_sub(deleted);
                    Some(Position::Index(index + kept as u64))
                }
                _ => page.next,
            };
        }
        Ok(locked)
    }

    /// Moves the locks of the queue whose jobs are done. Returns how many it moved.
    async fn move_locks(&mut self) -> Result<u64, StorageError> {
        let waiting = HolderPlace::Waiting {
            queue: self.queue.clone(),
        };
        let (mut offset, mut moved) = (0, 0);
        loop {
            let page = Page {
                offset,
                limit: MAX_BATCH_JOBS,
            };
            let page = self.run.source().locks(page).await?;
            if page.looked_at == 0 {
                self.locks += moved;
                return Ok(moved);
            }
            let mut freed = 0;
            for lock in page.locks.iter().filter(|lock| lock.place == waiting) {
                let left = lock.until.map(|until| {
                    let left = until.duration_since(self.run.migration.source.now());
                    left.unwrap_or_default().max(Duration::from_millis(1))
                });
                if lock.next.is_none() {
                    self.run.target().adopt_lock(lock, left).await?;
                }
                // A job that waits for it comes to the queue, and moves with the next pass.
                freed += usize::from(self.run.source().free_lock(lock).await?);
            }
            moved += freed as u64;
            offset += page.looked_at - freed.min(page.looked_at);
        }
    }

    /// Counts what both cells have now.
    async fn count(&mut self) -> Result<(), StorageError> {
        for (number, place) in self.places().iter().enumerate() {
            let Some(at) = self.indexes[number] else {
                continue;
            };
            let left = count(self.run.source(), place, self.queue).await?;
            let after = count(self.run.target(), place, self.queue).await?;
            let counted = &mut self.run.report.places[at];
            (counted.left, counted.after) = (left, after);
        }
        Ok(())
    }
}

/// How many jobs of a queue a place has.
async fn count(
    storage: &dyn Storage,
    place: &Source,
    queue: &QueueName,
) -> Result<u64, StorageError> {
    if let Source::Queue(_) = place {
        return Ok(storage.len(place).await? as u64);
    }
    let (mut found, mut next) = (0, Some(Position::default()));
    while let Some(from) = next {
        let request = ListRequest {
            from,
            ..ListRequest::default()
        };
        let page = storage.list(place, &request).await?;
        let jobs = page.jobs.into_iter();
        let jobs = jobs.filter_map(|waiting| Job::decode(waiting.job).ok());
        found += jobs.filter(|job| job.queue() == Some(queue)).count() as u64;
        next = page.next;
    }
    Ok(found)
}
