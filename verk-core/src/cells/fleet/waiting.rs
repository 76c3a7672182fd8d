//! Waiting jobs: listed, searched, moved, cleared.

use std::{collections::BTreeSet, time::SystemTime};

use async_trait::async_trait;
use futures_util::future::{join_all, try_join};

use super::{Fleet, by_cell, cursor, joined, picked};
use crate::{
    cells::clear,
    error::StorageError,
    names::QueueName,
    storage::{
        Cleared, ListRequest, Listing, Move, Order, Position, Scan, Settled, Source, WaitingStore,
    },
};

const SCAN: &str = "search the jobs of a set";

#[async_trait]
impl WaitingStore for Fleet {
    async fn queues(&self) -> Result<Vec<QueueName>, StorageError> {
        let all = self.all(|cell| cell.queues()).await?;
        let names: BTreeSet<QueueName> = all.into_iter().flatten().collect();
        Ok(names.into_iter().collect())
    }

    async fn len(&self, source: &Source) -> Result<usize, StorageError> {
        Ok(self.lens(source).await?.into_iter().sum())
    }

    /// A queue is read in its own cell first, and then in the others, which have jobs of it after
    /// some moves and after a change of the layout. A set is merged by score.
    ///
    /// With texts each cell examines as many jobs as one storage does. Those that come after the
    /// end of the answer are examined again for the next one, and counted again in its `looked_at`.
    async fn list(&self, source: &Source, request: &ListRequest) -> Result<Listing, StorageError> {
        match source {
            Source::Queue(queue) => self.list_queue(queue, source, request).await,
            Source::Set(_) => self.list_set(source, request).await,
        }
    }

    /// One cell after another. A cursor is only for [`WaitingStore::scan`], and to subtract from
    /// one of a queue how many jobs were taken out of it.
    async fn scan(
        &self,
        source: &Source,
        cursor: u64,
        texts: &[String],
    ) -> Result<Scan, StorageError> {
        if let Source::Queue(queue) = source {
            return self.scan_queue(queue, source, cursor, texts).await;
        }
        let (cell, cursor) = cursor::cell_of(cursor);
        if cell >= self.count() {
            return Ok(Scan::default());
        }
        let scan = self.at(cell, |cell| cell.scan(source, cursor, texts));
        let scan = scan.await?;
        Ok(Scan {
            next: cursor::next(SCAN, cell, scan.next, self.count())?,
            ..scan
        })
    }

    /// Each job is moved within its cell. A job that is not in the cell of its queue is looked for
    /// in the others, one after another, so that of equal jobs in several cells one is moved. A
    /// failure ends the search: the job may be moved.
    async fn move_jobs(
        &self,
        from: &Source,
        moves: &[Move],
        due_by: Option<SystemTime>,
    ) -> Vec<Settled> {
        let homes: Vec<usize> = match from {
            Source::Queue(queue) => vec![self.cells.of(queue); moves.len()],
            Source::Set(_) => (moves.iter().map(|one| self.of_payload(&one.held))).collect(),
        };
        let by_home = by_cell(homes.iter().copied().zip(0..)).into_iter();
        let moved = by_home.map(async |(cell, numbers): (usize, Vec<usize>)| {
            let settled = self.move_in(cell, from, moves, &numbers, due_by).await;
            numbers.into_iter().zip(settled).collect::<Vec<_>>()
        });
        let mut all = vec![Settled::NotHeld; moves.len()];
        for (number, settled) in join_all(moved).await.into_iter().flatten() {
            all[number] = settled;
        }
        for cell in 0..self.count() {
            let is_left =
                |number: &usize| matches!(all[*number], Settled::NotHeld) && homes[*number] != cell;
            let left: Vec<usize> = (0..moves.len()).filter(is_left).collect();
            if left.is_empty() {
                continue;
            }
            let settled = self.move_in(cell, from, moves, &left, due_by).await;
            for (number, settled) in left.into_iter().zip(settled) {
                all[number] = settled;
            }
        }
        all
    }

    /// Each cell is cleared in one step, and all at once. Jobs with effects are deleted one by one
    /// here, so the answer is never [`Cleared::HasEffects`].
    async fn clear(&self, source: &Source) -> Result<Cleared, StorageError> {
        let clear = async |cell| match self.at(cell, |cell| cell.clear(source)).await? {
            Cleared::Jobs(jobs) => Ok(jobs),
            Cleared::HasEffects => clear::one_by_one(self.cell(cell), source)
                .await
                .map_err(|error| self.name(cell, error)),
        };
        let cleared = joined(join_all((0..self.count()).map(clear)).await)?;
        Ok(Cleared::Jobs(cleared.into_iter().sum()))
    }
}

impl Fleet {
    /// How many jobs wait in a place of each cell.
    async fn lens(&self, source: &Source) -> Result<Vec<usize>, StorageError> {
        self.all(|cell| cell.len(source)).await
    }

    /// Moves some of the jobs, by their numbers, in one cell.
    async fn move_in(
        &self,
        cell: usize,
        from: &Source,
        moves: &[Move],
        numbers: &[usize],
        due_by: Option<SystemTime>,
    ) -> Vec<Settled> {
        let storage = self.cell(cell);
        let settled = if numbers.len() == moves.len() {
            storage.move_jobs(from, moves, due_by).await
        } else {
            storage
                .move_jobs(from, &picked(moves, numbers), due_by)
                .await
        };
        let named = settled.into_iter().map(|settled| match settled {
            Settled::Failed(error) => Settled::Failed(self.name(cell, error)),
            settled => settled,
        });
        named.collect()
    }

    async fn list_queue(
        &self,
        queue: &QueueName,
        source: &Source,
        request: &ListRequest,
    ) -> Result<Listing, StorageError> {
        let home = self.cells.of(queue);
        let listing = self.at(home, |cell| cell.list(source, request));
        let (listing, lens) = try_join(listing, self.lens(source)).await?;
        let of_others = (0..).zip(&lens).filter(|(cell, _)| *cell != home);
        if of_others.map(|(_, len)| len).sum::<usize>() == 0 {
            return Ok(listing);
        }

        // The jobs to fetch before those of each cell, the next one first.
        let mut segments: Vec<(usize, usize)> = Vec::with_capacity(lens.len());
        let mut total = 0_usize;
        for cell in self.from(home) {
            segments.push((cell, total));
            total = total.saturating_add(lens[cell]);
        }
        if request.order == Order::NewestFirst {
            segments.reverse();
        }
        let start = match request.from {
            Position::Index(index) => usize::try_from(index).unwrap_or(usize::MAX).min(total),
            Position::Score { .. } => 0,
        };
        let index = |passed: usize| Position::Index(passed as u64);
        let mut all = Listing {
            len: total,
            previous: (start > 0).then(|| index(total - start)),
            ..Listing::default()
        };
        let (mut skip, mut bytes) = (start, 0);
        for (cell, before) in segments {
            if skip > 0 && skip >= lens[cell] {
                skip -= lens[cell];
                continue;
            }
            let limit = request.limit.saturating_sub(all.jobs.len());
            let part = ListRequest {
                from: index(std::mem::take(&mut skip)),
                limit,
                max_bytes: request.max_bytes.saturating_sub(bytes),
                ..request.clone()
            };
            let part = self.at(cell, |cell| cell.list(source, &part)).await?;
            let mut jobs = part.jobs;
            if all.looked_at > 0
                && jobs
                    .first()
                    .is_some_and(|job| job.job.len() > request.max_bytes.saturating_sub(bytes))
            {
                break;
            }
            bytes += jobs.iter().map(|job| job.job.len()).sum::<usize>();
            for job in &mut jobs {
                job.index = job.index.map(|index| index.saturating_add(before as u64));
            }
            all.jobs.extend(jobs);
            all.looked_at += part.looked_at;
            // Texts end it after one cell, which may have examined as many as one call may.
            let is_end = !request.texts.is_empty() && part.looked_at > 0;
            if is_end || part.next.is_some() || all.jobs.len() >= request.limit {
                break;
            }
        }
        let end = start.saturating_add(all.looked_at);
        all.next = (end < total).then(|| index(end));
        Ok(all)
    }

    async fn scan_queue(
        &self,
        queue: &QueueName,
        source: &Source,
        cursor: u64,
        texts: &[String],
    ) -> Result<Scan, StorageError> {
        let cells: Vec<usize> = self.from(self.cells.of(queue)).collect();
        let (stage, passed) = cursor::stage_of(cursor);
        let Some(cell) = cells.get(stage) else {
            return Ok(Scan::default());
        };
        let scan = self.at(*cell, |cell| cell.scan(source, passed, texts));
        let scan = scan.await?;
        let next = match scan.next {
            Some(passed) => Some(cursor::of_stage(stage, passed)),
            None if stage + 1 == cells.len() => None,
            None => {
                let lens = self.lens(source).await?;
                let later = (stage + 1..cells.len()).find(|stage| lens[cells[*stage]] > 0);
                later.map(|stage| cursor::of_stage(stage, 0))
            }
        };
        Ok(Scan { next, ..scan })
    }
}
