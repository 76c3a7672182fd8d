//! Enqueues with a lock or a key, and the locks.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;

use super::{Fleet, Patience, by_cell, picked, step_of_a_node};
use crate::{
    error::{StorageError, StorageErrorKind},
    names::Jid,
    storage::{
        Effect, EffectStore, Inprogress, LockId, LockPage, Locked, LockedJob, Once, OnceAnswer,
        OnceJob, Page, Settled, StoredLock,
    },
};

/// A lock lies in the cell of the queue of the job that took it.
#[async_trait]
impl EffectStore for Fleet {
    /// All cells at once, each with its jobs in their order. Jobs whose queue moves follow it.
    async fn enqueue_locked(&self, jobs: &[LockedJob]) -> Vec<Locked> {
        self.cells.ask_now_and_then().await;
        let mut patience = Patience::new(self);
        let mut all = self.lock_each(jobs).await;
        loop {
            let moved: Vec<usize> = (0..jobs.len()).filter(|at| is_moved(&all[*at])).collect();
            if moved.is_empty() || !patience.look(self).await {
                return all;
            }
            let answers = self.lock_each(&picked(jobs, &moved)).await;
            for (at, answer) in moved.into_iter().zip(answers) {
                all[at] = answer;
            }
        }
    }

    /// The key is known in the cell of the job's queue: with a job for another queue, it may be
    /// another key. After a move, the cells in which the queue lay are asked before: they accept no
    /// key any more, so what they do not know by then they will never know.
    async fn enqueue_once(&self, once: &Once, job: &OnceJob) -> OnceAnswer {
        self.cells.ask_now_and_then().await;
        let mut patience = Patience::new(self);
        loop {
            let answer = self.once(once, job).await;
            let is_moved = matches!(&answer, OnceAnswer::First(locked) if is_moved(locked));
            if !is_moved || !patience.look(self).await {
                return answer;
            }
        }
    }

    async fn begin(&self, _inprogress: &Inprogress, _held: &Bytes, _effects: &[Effect]) -> Settled {
        Settled::Failed(step_of_a_node("begin a job"))
    }

    /// The locks of one cell after those of another. Locks that come and go shift those after them.
    async fn locks(&self, page: Page) -> Result<LockPage, StorageError> {
        const FIRST: Page = Page {
            offset: 0,
            limit: 1,
        };
        let lens = self.all(|cell| cell.locks(FIRST)).await?;
        let mut all = LockPage {
            len: lens.iter().map(|page| page.len).sum(),
            ..LockPage::default()
        };
        let Page { mut offset, limit } = page;
        for (cell, len) in lens.into_iter().map(|page| page.len).enumerate() {
            if offset >= len {
                offset -= len;
                continue;
            }
            let expected = limit.saturating_sub(all.looked_at).min(len - offset);
            if expected == 0 {
                break;
            }
            let page = Page {
                offset: std::mem::take(&mut offset),
                limit: expected,
            };
            let read = self.at(cell, |cell| cell.locks(page)).await?;
            all.locks.extend(read.locks);
            // Of a cell whose locks went meanwhile, the next page starts behind their places.
            let looked_at = match read.looked_at {
                0 => expected,
                looked_at => looked_at,
            };
            all.looked_at += looked_at;
            if looked_at < expected {
                break;
            }
        }
        Ok(all)
    }

    async fn lock(&self, id: LockId) -> Result<Option<StoredLock>, StorageError> {
        let all = self.all(|cell| cell.lock(id)).await?;
        Ok(all.into_iter().flatten().next())
    }

    /// The cells one after another, until one frees it: no other has the lock at this revision.
    async fn free_lock(&self, lock: &StoredLock) -> Result<bool, StorageError> {
        for cell in 0..self.count() {
            if self.at(cell, |cell| cell.free_lock(lock)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn suspect(&self) -> Result<Option<StoredLock>, StorageError> {
        let all = self.all(|cell| cell.suspect()).await?;
        Ok(all.into_iter().flatten().next())
    }

    async fn clear_suspect(&self, id: LockId) -> Result<(), StorageError> {
        self.change_all(|cell| cell.clear_suspect(id)).await?;
        Ok(())
    }

    async fn adopt_lock(
        &self,
        _lock: &StoredLock,
        _lasts: Option<Duration>,
    ) -> Result<bool, StorageError> {
        Err(step_of_a_node("adopt a lock"))
    }

    async fn seen(&self, key: &str) -> Result<Option<(Jid, String)>, StorageError> {
        let all = self.all(|cell| cell.seen(key)).await?;
        Ok(all.into_iter().flatten().next())
    }
}

impl Fleet {
    async fn lock_each(&self, jobs: &[LockedJob]) -> Vec<Locked> {
        let cells = jobs.iter().map(|job| self.of_lock(&job.lock));
        let by_cell = by_cell(cells.zip(0..)).into_iter();
        let locked = by_cell.map(async |(cell, numbers): (usize, Vec<usize>)| {
            let some = picked(jobs, &numbers);
            let locked = self.cell(cell).enqueue_locked(&some).await.into_iter();
            let locked = locked.map(|locked| self.named(cell, locked));
            numbers.into_iter().zip(locked).collect::<Vec<_>>()
        });
        let mut all: Vec<(usize, Locked)> = join_all(locked).await.into_iter().flatten().collect();
        all.sort_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, locked)| locked).collect()
    }

    async fn once(&self, once: &Once, job: &OnceJob) -> OnceAnswer {
        let queue = once.queue.as_ref();
        let cell = match job {
            OnceJob::Locked(job) => self.of_lock(&job.lock),
            OnceJob::Free(_) => queue.map_or(0, |queue| self.cells.of_partition(queue, &once.key)),
        };
        for before in queue.map_or_else(Vec::new, |queue| self.cells.before(queue)) {
            match self.at(before, |cell| cell.seen(&once.key)).await {
                Ok(None) => {}
                Ok(Some((jid, request))) => return OnceAnswer::Seen { jid, request },
                Err(error) => return OnceAnswer::First(Locked::Failed(error.never_applied())),
            }
        }
        match self.cell(cell).enqueue_once(once, job).await {
            OnceAnswer::First(locked) => OnceAnswer::First(self.named(cell, locked)),
            seen @ OnceAnswer::Seen { .. } => seen,
        }
    }

    fn named(&self, cell: usize, locked: Locked) -> Locked {
        match locked {
            Locked::Failed(error) => Locked::Failed(self.name(cell, error)),
            locked => locked,
        }
    }
}

/// Whether the cell refused it because the queue moves.
fn is_moved(locked: &Locked) -> bool {
    matches!(locked, Locked::Failed(error) if error.kind() == StorageErrorKind::Moved)
}
