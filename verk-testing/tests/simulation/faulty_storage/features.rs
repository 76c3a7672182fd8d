//! The parts of the storage for periodic and unique jobs.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    Jid, StorageError,
    storage::{
        CronChange, CronPush, CronSeen, CronStore, CronTick, CronUpsert, Effect, EffectStore,
        Inprogress, LockId, LockPage, Locked, LockedJob, Once, OnceAnswer, OnceJob, Page, Settled,
        StoredCron, StoredLock, Ticked,
    },
};

use super::FaultyStorage;

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CronStore for FaultyStorage {
    async fn cron_entries(&self, page: Page) -> Result<Vec<StoredCron>, StorageError> {
        self.call("read", self.inner.cron_entries(page)).await
    }

    async fn cron_named(&self, names: &[String]) -> Result<Vec<Option<StoredCron>>, StorageError> {
        self.call("read", self.inner.cron_named(names)).await
    }

    async fn upsert_cron(
        &self,
        name: &str,
        upsert: &CronUpsert,
    ) -> Result<CronChange, StorageError> {
        self.call("upsert", self.inner.upsert_cron(name, upsert))
            .await
    }

    async fn tick_cron(&self, name: &str, tick: &CronTick) -> Result<Ticked, StorageError> {
        if let Some(first) = tick.pushes.first() {
            self.link.ledger().tries(name, tick.seen.next, first.job());
        }
        self.call("tick", async {
            let change = self.inner.tick_cron(name, tick).await?;
            if change == Ticked::Done {
                let locked = tick.locked.iter().map(|locked| &locked.job.job);
                let jobs = tick.pushes.iter().map(CronPush::job).chain(locked);
                self.link.ledger().ticked(jobs);
            }
            Ok(change)
        })
        .await
    }

    async fn pause_cron(&self, name: &str, note: &Bytes) -> Result<bool, StorageError> {
        self.call("pause", self.inner.pause_cron(name, note)).await
    }

    async fn resume_cron(
        &self,
        name: &str,
        seen: &CronSeen,
        next: Option<SystemTime>,
    ) -> Result<CronChange, StorageError> {
        self.call("resume", self.inner.resume_cron(name, seen, next))
            .await
    }

    async fn mark_cron(
        &self,
        name: &str,
        orphaned: Option<SystemTime>,
    ) -> Result<bool, StorageError> {
        self.call("mark", self.inner.mark_cron(name, orphaned))
            .await
    }

    async fn remove_cron(&self, name: &str) -> Result<bool, StorageError> {
        self.call("remove", self.inner.remove_cron(name)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl EffectStore for FaultyStorage {
    async fn enqueue_locked(&self, jobs: &[LockedJob]) -> Vec<Locked> {
        let work = async {
            let answers = self.inner.enqueue_locked(jobs).await;
            for (job, answer) in jobs.iter().zip(&answers) {
                self.link.ledger().locked(job, answer);
            }
            Ok(answers)
        };
        match self.call("enqueue", work).await {
            Ok(answers) => answers,
            Err(error) => vec![Locked::Failed(error); jobs.len()],
        }
    }

    async fn enqueue_once(&self, once: &Once, job: &OnceJob) -> OnceAnswer {
        self.inner.enqueue_once(once, job).await
    }

    async fn begin(&self, list: &Inprogress, held: &Bytes, effects: &[Effect]) -> Settled {
        let work = async { Ok(self.inner.begin(list, held, effects).await) };
        let begun = self.call("begin", work).await;
        begun.unwrap_or_else(Settled::Failed)
    }

    async fn locks(&self, page: Page) -> Result<LockPage, StorageError> {
        self.call("read", self.inner.locks(page)).await
    }

    async fn lock(&self, id: LockId) -> Result<Option<StoredLock>, StorageError> {
        self.call("read", self.inner.lock(id)).await
    }

    async fn free_lock(&self, lock: &StoredLock) -> Result<bool, StorageError> {
        self.call("free", self.inner.free_lock(lock)).await
    }

    async fn suspect(&self) -> Result<Option<StoredLock>, StorageError> {
        self.call("read", self.inner.suspect()).await
    }

    async fn clear_suspect(&self, id: LockId) -> Result<(), StorageError> {
        self.call("clear", self.inner.clear_suspect(id)).await
    }

    async fn adopt_lock(
        &self,
        lock: &StoredLock,
        lasts: Option<Duration>,
    ) -> Result<bool, StorageError> {
        self.call("adopt", self.inner.adopt_lock(lock, lasts)).await
    }

    async fn seen(&self, key: &str) -> Result<Option<(Jid, String)>, StorageError> {
        self.call("read", self.inner.seen(key)).await
    }
}
