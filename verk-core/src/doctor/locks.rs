//! The unique locks: those whose job is nowhere, and programs that do not free them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Examination, FIRST_PAGE, Finding, MAX_LISTED, Programs, fleet::is_elixir};
use crate::{
    effects::Claim,
    job::Job,
    names::{Jid, QueueName},
    node::about::LEVEL_OF_EFFECTS,
    schedule::suspects::{Found, Search},
    storage::{HolderPlace, Inprogress, MAX_BATCH_JOBS, Page, SUSPECT_AFTER, StoredLock},
};

/// The jobs of how many locks are searched.
const MAX_SEARCHES: usize = 10;

/// How many small reads all searches make together, at least, and how many lists of nodes are read
/// before them.
const MIN_STEPS: usize = 100;

/// The unique locks, and what the jobs that were read show of them.
#[derive(Debug, Default)]
pub(super) struct Locks {
    /// The locks that no time frees, by their job. The job was not seen yet.
    missing: HashMap<Jid, StoredLock>,
    /// The queues and classes whose jobs have locks, and whether there is a lock that no time
    /// frees.
    unique: BTreeMap<(QueueName, String), bool>,
}

impl Locks {
    fn add(&mut self, lock: StoredLock) {
        let is_lasting = lock.until.is_none();
        if let HolderPlace::Waiting { queue } = &lock.place {
            self.note(queue, &lock.class, is_lasting);
        }
        if is_lasting {
            self.missing.insert(lock.jid.clone(), lock);
        }
    }

    /// Notes that a job is stored. `queue` is the queue that it runs in; `None` for a dead job.
    pub(super) fn see(&mut self, job: &Job, queue: Option<&QueueName>) {
        self.missing.remove(job.jid());
        if let (Some(queue), Some(claim)) = (queue, Claim::of(job)) {
            self.note(queue, job.class(), claim.lasts().is_none());
        }
    }

    fn note(&mut self, queue: &QueueName, class: &str, is_lasting: bool) {
        let key = (queue.clone(), class.to_owned());
        *self.unique.entry(key).or_default() |= is_lasting;
    }

    /// The findings about programs that do not free locks.
    pub(super) fn judge(&self, programs: &Programs) -> Vec<Finding> {
        let lasting = self.unique.iter().filter(|(_, is_lasting)| **is_lasting);
        let bypassed = lasting.filter_map(|((queue, class), _)| {
            let mut others = (programs.processes.iter()).filter(|process| !process.is_of_verk());
            let sidekiq =
                others.any(|process| (process.queues.iter()).any(|other| other.name == *queue));
            let mut others = programs.nodes.iter().filter(|node| is_elixir(&node.id));
            let elixir = others.any(|node| node.queues.iter().any(|other| other.name == *queue));
            (sidekiq || elixir).then(|| Finding::LocksBypassed {
                class: class.clone(),
                queue: queue.clone(),
                sidekiq,
                elixir,
            })
        });
        let queues: BTreeSet<_> = self.unique.keys().map(|(queue, _)| queue).collect();
        let of_verk = (programs.nodes.iter()).filter(|node| node.alive && !is_elixir(&node.id));
        let old = of_verk.filter_map(|node| {
            let info = node.info.as_ref();
            let level = info.map_or(0, |info| info.level);
            let queue = (node.queues.iter()).find(|queue| queues.contains(&queue.name))?;
            (level < LEVEL_OF_EFFECTS).then(|| Finding::OldNode {
                node: node.id.clone(),
                version: info.map_or_else(String::new, |info| info.version.clone()),
                queue: queue.name.clone(),
            })
        });
        let bypassed = bypassed.take(MAX_LISTED);
        bypassed.chain(old.take(MAX_LISTED)).collect()
    }
}

impl Examination<'_> {
    /// Reads the locks; if there are too many, those that no time frees, which come last.
    pub(super) async fn locks(&mut self) -> Locks {
        let mut locks = Locks::default();
        let most = self.max_in_pages();
        let mut read = None;
        while read.is_none_or(|(_, left)| left > 0) {
            let (offset, limit) = match read {
                None => (0, 1),
                Some((offset, left)) => (offset, MAX_BATCH_JOBS.min(left)),
            };
            let page = self.storage().locks(Page { offset, limit }).await;
            let Some(page) = self.or_unreadable("the list of unique locks", page) else {
                break;
            };
            read = match read {
                None => {
                    self.complete &= page.len <= most;
                    Some((page.len.saturating_sub(most), most.min(page.len)))
                }
                Some(_) if page.looked_at == 0 => break,
                Some((offset, left)) => {
                    page.locks.into_iter().for_each(|lock| locks.add(lock));
                    Some((offset + page.looked_at, left.saturating_sub(page.looked_at)))
                }
            };
        }
        locks
    }

    /// Searches the jobs of locks that were not seen among those that wait: first of the locks that
    /// an enqueue has met, the oldest first.
    pub(super) async fn lost_locks(&mut self, locks: &mut Locks, programs: &Programs) {
        let now = self.admin.now();
        let age = |lock: &StoredLock| now.duration_since(lock.since).unwrap_or_default();
        locks.missing.retain(|_, lock| age(lock) >= SUSPECT_AFTER);
        let mut steps = self.max_jobs.max(MIN_STEPS);
        self.see_held(locks, programs, steps).await;
        let mut missing: Vec<StoredLock> = locks.missing.drain().map(|(_, lock)| lock).collect();
        missing.sort_by_key(|lock| (lock.conflicts == 0, lock.since, lock.id));
        self.complete &= missing.len() <= MAX_SEARCHES;
        for lock in missing.into_iter().take(MAX_SEARCHES) {
            let mut search = Search::new(lock.clone());
            let found = loop {
                if steps == 0 {
                    self.complete = false;
                    return;
                }
                steps -= 1;
                match search.look(self.storage()).await {
                    Ok(None) => {}
                    Ok(Some(found)) => break found,
                    Err(error) => {
                        let what = format_args!("the place of job {}", lock.jid);
                        self.or_unreadable::<()>(what, Err(error));
                        return;
                    }
                }
            };
            if found == Found::Job {
                continue;
            }
            let read = self.storage().lock(lock.id).await;
            let read = self.or_unreadable(format_args!("unique lock {}", lock.id), read);
            let same =
                |read: StoredLock| (read.jid, read.revision) == (lock.jid.clone(), lock.revision);
            if read.flatten().is_some_and(same) {
                self.findings.push(Finding::LockWithoutJob {
                    age_s: age(&lock).as_secs(),
                    lock: lock.id,
                    class: lock.class,
                    jid: lock.jid,
                });
            }
        }
    }

    /// Looks at the newest jobs that nodes hold of the queues of these locks: most jobs with a lock
    /// that do not wait are there. It reads at most so many lists.
    async fn see_held(&mut self, locks: &mut Locks, programs: &Programs, most: usize) {
        let queue = |lock: &StoredLock| match &lock.place {
            HolderPlace::Waiting { queue } => Some(queue.clone()),
            _ => None,
        };
        let queues: BTreeSet<QueueName> = locks.missing.values().filter_map(queue).collect();
        let lists = programs.nodes.iter().flat_map(|node| {
            let names = node.queues.iter().map(|queue| &queue.name);
            names
                .filter(|name| queues.contains(*name))
                .map(|name| Inprogress {
                    queue: name.clone(),
                    node: node.id.clone(),
                })
        });
        let lists: Vec<Inprogress> = lists.take(most).collect();
        for list in lists {
            let jobs = self.storage().inprogress(&list, FIRST_PAGE).await;
            let what = format_args!("what node {} holds of queue {}", list.node, list.queue);
            for job in self.or_unreadable(what, jobs).unwrap_or_default() {
                if let Ok(job) = Job::decode(job) {
                    locks.see(&job, Some(&list.queue));
                }
            }
        }
    }
}
