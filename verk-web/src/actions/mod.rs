//! What a visitor does, in a page or by the API: done, and then recorded.

#[cfg(feature = "cron")]
pub(crate) mod cron;

use std::sync::Arc;

use verk_core::{
    Enqueued,
    client::NewJob,
    log,
    manage::{Acted, AuditEntry, Entry, LockId, PauseNote, StoredLock},
    names::Jid,
    storage::ProcessSignal,
};

use crate::{
    access::Role,
    context::{Context, Params},
    failure::Failure,
    pages::{
        actions::{Verb, action},
        jobs::Filters,
    },
    place::Place,
    tasks::{Busy, Order, Task},
    text,
};

/// The signals to a process: the last part of the address, and the role that it needs.
pub(crate) const SIGNALS: [(&str, Role, ProcessSignal); 3] = [
    ("quiet", Role::Operate, ProcessSignal::Quiet),
    ("dump", Role::Operate, ProcessSignal::Dump),
    ("stop", Role::Admin, ProcessSignal::Stop),
];

/// What a visitor saw of a lock. What is left out may be anything.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) jid: Option<String>,
    pub(crate) revision: Option<u64>,
}

impl Seen {
    /// Whether the lock is still so.
    pub(crate) fn is(&self, lock: &StoredLock) -> bool {
        self.jid.as_ref().is_none_or(|jid| lock.jid.as_str() == jid)
            && self.revision.is_none_or(|seen| lock.revision == seen)
    }
}

impl Context {
    /// Pauses a queue on all nodes. Returns whether that changed anything.
    pub(crate) async fn pause(&self, queue: &str, reason: Option<&str>) -> Result<bool, Failure> {
        let place = Place::queue(queue)?;
        let note = self.note(reason);
        let changed = self.app.admin.pause_queue(queue, note).await?;
        let entry = AuditEntry::new("pause").on(place.phrase());
        self.audit(entry).await;
        Ok(changed)
    }

    /// Who pauses something, and why.
    fn note(&self, reason: Option<&str>) -> PauseNote {
        let mut note = PauseNote::new();
        if let Some(who) = &self.visitor.name {
            note = note.by(who);
        }
        match reason {
            Some(reason) => note.reason(text::short(reason, 200)),
            None => note,
        }
    }

    /// Resumes a queue on all nodes. Returns whether that changed anything.
    pub(crate) async fn resume(&self, queue: &str) -> Result<bool, Failure> {
        let place = Place::queue(queue)?;
        let changed = self.app.admin.resume_queue_everywhere(queue).await?;
        let entry = AuditEntry::new("resume").on(place.phrase());
        self.audit(entry).await;
        Ok(changed)
    }

    /// Removes all jobs of a queue. Returns how many they were.
    pub(crate) async fn clear(&self, place: &Place) -> Result<u64, Failure> {
        let removed = place.jobs(&self.app.admin)?.clear().await? as u64;
        let entry = AuditEntry::new("clear").on(place.phrase());
        self.audit(entry.count(removed)).await;
        Ok(removed)
    }

    /// Enqueues a job of a class, once if there is a key. Returns its id, and whether it was
    /// enqueued before.
    pub(crate) async fn enqueue(
        &self,
        class: &str,
        job: NewJob,
        key: Option<&str>,
    ) -> Result<(Jid, bool), Failure> {
        let admin = &self.app.admin;
        let jid = match key {
            None => admin.enqueue(job).await?,
            Some(key) => match admin.enqueue_once(key, job).await? {
                Enqueued::Seen(jid) => return Ok((jid, true)),
                stored => stored.jid().clone(),
            },
        };
        let entry = AuditEntry::new("enqueue").on(format!("{} {jid}", text::short(class, 200)));
        self.audit(entry).await;
        Ok((jid, false))
    }

    /// Sends a process the signal `name`.
    pub(crate) async fn signal(
        &self,
        identity: &str,
        name: &str,
        signal: ProcessSignal,
    ) -> Result<(), Failure> {
        if !self.app.admin.signal(identity, signal).await? {
            return Err(Failure::not_found(
                "This process does not report itself any more, or takes no signals.",
            ));
        }
        let entry = AuditEntry::new(name).on(format!("process {identity}"));
        self.audit(entry).await;
        Ok(())
    }

    /// Releases a lock, if it is still as it was seen. Returns whether it was.
    pub(crate) async fn release(&self, lock: LockId, seen: &Seen) -> Result<bool, Failure> {
        let admin = &self.app.admin;
        let Some(stored) = admin.lock(lock).await?.filter(|stored| seen.is(stored)) else {
            return Ok(false);
        };
        let released = admin.release_lock(&stored).await?;
        if released {
            let class = text::short(&stored.class, 200);
            let jid = text::short(stored.jid.as_str(), 200);
            let target = format!("lock {lock} of job {jid}, class {class}");
            self.audit(AuditEntry::new("release").on(target)).await;
        }
        Ok(released)
    }

    /// Changes the jobs that are still as they were read.
    pub(crate) async fn act_on(
        &self,
        place: &Place,
        entries: &[&Entry],
        verb: Verb,
        form: &Params,
    ) -> Result<Acted, Failure> {
        let admin = &self.app.admin;
        let action = action(verb, form, admin.now())?;
        let acted = place.jobs(admin)?.act_on(entries, action).await?;
        let entry = AuditEntry::new(verb.name()).on(place.phrase());
        self.audit(entry.count(acted.done as u64)).await;
        Ok(acted)
    }

    /// Starts a task that changes all jobs that match, unless one works on the same place.
    pub(crate) async fn start(
        &self,
        place: Place,
        filters: &Filters,
        verb: Verb,
        form: &Params,
    ) -> Result<Result<Arc<Task>, Busy>, Failure> {
        let app = &self.app;
        let jobs = place.jobs(&app.admin)?;
        let order = Order {
            total: jobs.count().await? as u64,
            place,
            verb,
            action: action(verb, form, app.admin.now())?,
            filter: filters.filter(),
            phrase: filters.phrase(),
            by: self.visitor.name.clone(),
        };
        let started = app.tasks.start(&app.admin, jobs, order);
        if let Ok(task) = &started {
            let entry = AuditEntry::new(verb.name()).on(task.order.place.phrase());
            self.audit(entry.filter(task.filter_phrase())).await;
        }
        Ok(started)
    }

    /// The task with the number of an address.
    pub(crate) fn task(&self, id: &str) -> Result<Arc<Task>, Failure> {
        let task = id.parse().ok().and_then(|id| self.app.tasks.find(id));
        task.ok_or_else(|| {
            Failure::not_found(
                "There is no such task in this process. Tasks end with their process.",
            )
        })
    }

    /// Asks a task to stop.
    pub(crate) async fn stop_task(&self, id: &str) -> Result<Arc<Task>, Failure> {
        let task = self.task(id)?;
        task.stop();
        let entry = AuditEntry::new("stop task").on(format!("task {}", task.id));
        self.audit(entry).await;
        Ok(task)
    }

    /// Records what the visitor did. The action is done, so an error of the record is only logged.
    async fn audit(&self, entry: AuditEntry) {
        self.app.poller.acted();
        let entry = match &self.visitor.name {
            Some(name) => entry.by(name),
            None => entry,
        };
        if let Err(error) = self.app.admin.record_action(entry).await {
            log::warn!(%error, "an action could not be recorded");
        }
    }
}
