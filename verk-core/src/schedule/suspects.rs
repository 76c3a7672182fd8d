//! Looks for the job that holds a suspect lock, and frees the lock if the job is nowhere.
//!
//! No step of verk leaves a lock without its job. Other programs that share the storage do: they
//! delete a job, or run it, and do not know the lock. An enqueue that meets a lock that nothing has
//! touched for a while only notes it. The node that has the lease looks for its job here, for one
//! lock at a time, one small read after the other.

use bytes::Bytes;

use crate::{
    error::StorageError,
    job::Job,
    names::Jid,
    storage::{Inprogress, JobSet, MAX_BATCH_JOBS, Page, Source, Storage, StoredLock},
};

/// Why a search of one lock ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ended {
    /// Its job is stored, or the lock changed meanwhile.
    Held,
    /// Its job was nowhere: the lock is free.
    Freed(StoredLock),
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The job is stored.
    Job,
    /// The job was nowhere. The lock may have changed meanwhile: every step of its job changes it.
    Nothing,
}

/// The search for the job of a lock.
#[derive(Debug)]
pub(crate) struct Search {
    lock: StoredLock,
    /// The places to read, the next one last.
    places: Vec<Spot>,
    /// How far the next place was read.
    read: u64,
    /// How often all places were read. Jobs move while they are searched, always in the
    /// direction in which the places are read, but for retries.
    rounds: u8,
}

#[derive(Clone, Debug)]
enum Spot {
    Waiting(Source),
    Held(Inprogress),
}

/// How often all places are read.
const ROUNDS: u8 = 2;

impl Search {
    pub(crate) fn new(lock: StoredLock) -> Self {
        Self {
            lock,
            places: Vec::new(),
            read: 0,
            rounds: 0,
        }
    }

    /// Makes one step of the search, and frees the lock at its end. If the future is dropped, the
    /// step is made again.
    pub(super) async fn step(
        &mut self,
        storage: &dyn Storage,
    ) -> Result<Option<Ended>, StorageError> {
        Ok(match self.look(storage).await? {
            None => None,
            Some(Found::Job) => {
                storage.clear_suspect(self.lock.id).await?;
                Some(Ended::Held)
            }
            Some(Found::Nothing) => Some(self.end(storage).await?),
        })
    }

    /// Makes one step of the search: one small read. Changes nothing. If the future is dropped, the
    /// step is made again.
    pub(crate) async fn look(
        &mut self,
        storage: &dyn Storage,
    ) -> Result<Option<Found>, StorageError> {
        let Some(place) = self.places.last() else {
            if self.rounds == ROUNDS {
                return Ok(Some(Found::Nothing));
            }
            self.places = places(storage).await?;
            self.rounds += 1;
            return Ok(None);
        };
        let (jobs, next) = match place {
            Spot::Waiting(source) => {
                let texts = [self.lock.jid.to_string()];
                let scan = storage.scan(source, self.read, &texts).await?;
                let jobs = scan.jobs.into_iter().map(|waiting| waiting.job);
                (jobs.collect(), scan.next)
            }
            Spot::Held(list) => {
                let page = Page {
                    offset: usize::try_from(self.read).unwrap_or(usize::MAX),
                    limit: MAX_BATCH_JOBS,
                };
                let jobs = storage.inprogress(list, page).await?;
                let next = (!jobs.is_empty()).then_some(self.read + jobs.len() as u64);
                (jobs, next)
            }
        };
        if has(jobs, &self.lock.jid) {
            return Ok(Some(Found::Job));
        }
        self.read = next.unwrap_or_default();
        if next.is_none() {
            self.places.pop();
        }
        Ok(None)
    }

    async fn end(&mut self, storage: &dyn Storage) -> Result<Ended, StorageError> {
        // Only as it was read before the search: every step of its job changes the lock.
        let freed = storage.free_lock(&self.lock).await?;
        storage.clear_suspect(self.lock.id).await?;
        Ok(match freed {
            true => Ended::Freed(self.lock.clone()),
            false => Ended::Held,
        })
    }
}

fn has(jobs: Vec<Bytes>, jid: &Jid) -> bool {
    let mut jobs = jobs.into_iter().filter_map(|job| Job::decode(job).ok());
    jobs.any(|job| job.jid() == jid)
}

/// All places, in the order in which jobs move without a step on their lock, the first one last.
async fn places(storage: &dyn Storage) -> Result<Vec<Spot>, StorageError> {
    let mut places: Vec<Spot> = Vec::new();
    for node in storage.nodes().await? {
        let lists = node.queues.into_iter().map(|queue| Inprogress {
            queue,
            node: node.id.clone(),
        });
        places.extend(lists.map(Spot::Held));
    }
    let queues = storage.queues().await?.into_iter().map(Source::Queue);
    let sets = [JobSet::Dead, JobSet::Retry, JobSet::Schedule].map(Source::Set);
    let waiting = queues.chain(sets).map(Spot::Waiting);
    places.extend(waiting);
    Ok(places)
}
