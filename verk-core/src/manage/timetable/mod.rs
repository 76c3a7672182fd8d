//! Periodic jobs, for operators and programs: [`Timetable`].

pub(crate) mod entry;
pub(crate) mod new;

use thiserror::Error;
use verk_cron::InvalidSchedule;

use self::{
    entry::CronEntry,
    new::{Cron, Parts},
};
use super::{Admin, PauseNote};
use crate::{
    client::Client,
    error::{EnqueueError, StorageError},
    names::{InvalidName, Jid, check_entry_name},
    storage::{CronChange, MAX_BATCH_JOBS, Page, StoredCron, Ticked, read_cron_named},
    timetable::{
        self,
        decide::run_now,
        definition::{Damaged, Definition, Origin},
        next_after_last,
    },
    verk::Verk,
};

/// How often a change is tried that others keep from taking effect.
const TRIES: usize = 100;

/// The entries of the timetable: periodic jobs, of all programs that share the storage. Made by
/// [`Verk::cron`] and [`Admin::cron`].
///
/// Each run of an entry enqueues a job, once, whichever node is there. The nodes that run queues
/// take the runs, so a program without queues can store an entry, too. A worker can also declare
/// its entries itself: see [`Periodic`](crate::cron::Periodic).
///
/// The jobs of runs pass no client middleware. A run of a unique class takes the lock of its job;
/// if another job has the lock, the run does what [`OnConflict`](crate::OnConflict) says, and a
/// duplicate counts as skipped.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use verk_core::Verk;
/// # use verk_testing::MemoryStorage;
/// use verk_core::cron::Cron;
///
/// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
/// let timetable = verk.cron();
/// let sync = Cron::every("10m").class("Tenants::Sync", [7]).queue("sync");
/// assert!(timetable.upsert("tenant-7-sync", sync).await?);
///
/// let entry = timetable.get("tenant-7-sync").await?.expect("it was stored");
/// assert_eq!((entry.words.as_str(), entry.upcoming.len()), ("every 10 minutes", 5));
/// assert!(timetable.remove("tenant-7-sync").await?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Timetable {
    client: Client,
}

/// Why an entry cannot be stored or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CronError {
    /// The name is not valid.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The expression, the zone or the period is not valid.
    #[error(transparent)]
    Schedule(#[from] InvalidSchedule),
    /// The period is no duration.
    #[error("{text:?} is no period, such as \"10m\" or \"1h 30m\": {reason}")]
    Period {
        /// What it is.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The entry has no job.
    #[error("the entry has no job: call `.job(..)` or `.class(..)`")]
    NoJob,
    /// The job has a time of its own.
    #[error(
        "the job of an entry has no time of its own: leave out `schedule_at` and `schedule_in`"
    )]
    HasTime,
    /// The job could not be enqueued.
    #[error(transparent)]
    Job(#[from] EnqueueError),
    /// There is no entry of this name.
    #[error("the timetable has no entry {name:?}")]
    NoEntry {
        /// The name.
        name: String,
    },
    /// The stored entry cannot run. Replace or remove it.
    #[error("the entry {name:?} cannot run: {reason}")]
    Damaged {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Timetable {
    /// Stores an entry, or replaces the one of this name. Returns whether that changes anything.
    ///
    /// The time of the next run stays if the schedule stays, so that a program may call this at
    /// each start. The counts, the last runs and a pause stay in any case. Of many programs that
    /// store the same at once, one does.
    ///
    /// # Errors
    ///
    /// [`CronError`] if the entry is not valid, or the storage fails. After a lost reply the entry
    /// may be stored; you can safely call this again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the entry is stored or not.
    pub async fn upsert(&self, name: &str, entry: Cron) -> Result<bool, CronError> {
        check_entry_name(name)?;
        let Parts {
            schedule,
            job,
            unique,
            policies,
        } = entry.parts()?;
        let limit = self.client.essentials().config.max_payload_bytes;
        let size = job.encode().len();
        if size > limit {
            let jid = job.jid().clone();
            return Err(EnqueueError::TooLarge { jid, size, limit }.into());
        }
        let anchor = self.client.now();
        let (origin, unique) = (Origin::Dynamic, unique.as_deref());
        let definition = Definition::new(&schedule, policies, origin, anchor, job, unique);
        let definition = definition.map_err(|why| damaged(name, &why))?;
        let hash = definition.hash();
        for _ in 0..TRIES {
            let stored = self.read(name).await?;
            if stored.as_ref().is_some_and(|stored| stored.hash == hash) {
                return Ok(false);
            }
            let now = self.client.now();
            // It is what a caller wants now, whatever was there before.
            let upsert = timetable::upsert(&definition, stored.as_ref(), now, true);
            let upsert = upsert.map_err(|why| damaged(name, &why))?;
            let storage = self.client.storage();
            if storage.upsert_cron(name, &upsert).await? == CronChange::Done {
                if let Some(next) = upsert.next {
                    self.client.essentials().due_somewhere(next, now);
                }
                return Ok(true);
            }
        }
        Err(contended("store an entry of the timetable"))
    }

    /// Removes an entry, with its counts and its last runs. Returns whether there was one. Jobs
    /// that it has enqueued stay.
    ///
    /// If a worker declares the entry, the next start of a node of that program brings it back:
    /// [pause](Self::pause) it instead.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn remove(&self, name: &str) -> Result<bool, CronError> {
        Ok(self.client.storage().remove_cron(name).await?)
    }

    /// Pauses an entry: it does not run until it is resumed, also if it is replaced meanwhile.
    /// Returns whether that changes anything.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{cron::Cron, manage::PauseNote, Verk};
    /// # use verk_testing::MemoryStorage;
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// # let timetable = verk.cron();
    /// # timetable.upsert("report", Cron::new("@daily").class("Report", [0])).await?;
    /// assert!(timetable.pause("report", PauseNote::new().by("ada")).await?);
    /// let pause = timetable.get("report").await?.and_then(|entry| entry.pause);
    /// assert_eq!(pause.and_then(|pause| pause.by).as_deref(), Some("ada"));
    /// assert!(timetable.resume("report").await?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails. You can safely call this again.
    pub async fn pause(&self, name: &str, note: PauseNote) -> Result<bool, CronError> {
        let note = note.encode(self.client.now());
        Ok(self.client.storage().pause_cron(name, &note).await?)
    }

    /// Ends the pause of an entry. It runs at its next time from now on: what it has not run
    /// meanwhile is not made up for. Returns whether that changes anything.
    ///
    /// # Errors
    ///
    /// When the entry cannot run, or the storage fails. You can safely call this again.
    pub async fn resume(&self, name: &str) -> Result<bool, CronError> {
        for _ in 0..TRIES {
            let stored = self.read(name).await?;
            let Some(stored) = stored.filter(|stored| stored.pause.is_some()) else {
                return Ok(false);
            };
            let next = next_after_last(&stored, self.client.now());
            let next = next.map_err(|why| damaged(name, &why))?;
            let storage = self.client.storage();
            if storage.resume_cron(name, &stored.seen(), next).await? == CronChange::Done {
                if let Some(next) = next {
                    let now = self.client.now();
                    self.client.essentials().due_somewhere(next, now);
                }
                return Ok(true);
            }
        }
        Err(contended("resume an entry of the timetable"))
    }

    /// Enqueues the job of an entry once, now, whatever its [`Overlap`](crate::cron::Overlap) says.
    /// The time of its next run stays. A paused entry can be run, too.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{cron::Cron, Verk};
    /// # use verk_testing::MemoryStorage;
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// # let timetable = verk.cron();
    /// timetable.upsert("report", Cron::new("@daily").class("Report", [0])).await?;
    /// let jid = timetable.run_now("report").await?;
    /// assert!(verk.admin().queue("default")?.find(&jid).await?.is_some());
    /// assert_eq!(timetable.get("report").await?.map(|entry| entry.runs), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When there is no such entry, it cannot run, or the storage fails. After a lost reply the job
    /// may be enqueued; the last runs of the entry say so. [`EnqueueError::Duplicate`] if the class
    /// is unique and another job has the lock.
    pub async fn run_now(&self, name: &str) -> Result<Jid, CronError> {
        for _ in 0..TRIES {
            let Some(stored) = self.read(name).await? else {
                let name = name.to_owned();
                return Err(CronError::NoEntry { name });
            };
            let essentials = self.client.essentials();
            let step = run_now(&stored, self.client.now(), &essentials.config);
            let (tick, job) = step.map_err(|why| damaged(name, &why))?;
            let storage = self.client.storage();
            let jid = job.jid().clone();
            match storage.tick_cron(name, &tick).await? {
                Ticked::Done => {}
                Ticked::Skipped { jid: holder, place } => {
                    return Err(EnqueueError::Duplicate { jid, holder, place }.into());
                }
                Ticked::Differs => continue,
            }
            if let Some(queue) = job.queue() {
                essentials.tallies.enqueued.add(|| queue.clone(), 1);
            }
            self.client.tell_test(|| vec![jid.clone()]).await;
            return Ok(jid);
        }
        Err(contended("run an entry of the timetable"))
    }

    /// Reads a page of the entries: that which runs first comes first, those that are paused come
    /// last. At most 100 are read at once; an empty page is the end.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn list(&self, page: Page) -> Result<Vec<CronEntry>, CronError> {
        let limit = page.limit.min(MAX_BATCH_JOBS);
        let stored = self.client.storage().cron_entries(Page { limit, ..page });
        Ok(stored.await?.into_iter().map(CronEntry::of).collect())
    }

    /// Reads an entry.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn get(&self, name: &str) -> Result<Option<CronEntry>, CronError> {
        Ok(self.read(name).await?.map(CronEntry::of))
    }

    async fn read(&self, name: &str) -> Result<Option<StoredCron>, StorageError> {
        read_cron_named(self.client.storage(), name).await
    }
}

fn damaged(name: &str, why: &Damaged) -> CronError {
    CronError::Damaged {
        name: name.to_owned(),
        reason: why.to_string(),
    }
}

fn contended(op: &'static str) -> CronError {
    let why = "other programs change the entry all the time";
    StorageError::not_applied(op, why).into()
}

/// # Periodic jobs
impl Admin {
    /// Returns the timetable: see [`Timetable`].
    #[must_use]
    pub fn cron(&self) -> Timetable {
        Timetable {
            client: self.client.clone(),
        }
    }
}

impl Verk {
    /// Returns the timetable: see [`Timetable`].
    #[must_use]
    pub fn cron(&self) -> Timetable {
        self.admin().cron()
    }
}
