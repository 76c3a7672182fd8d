//! What a visitor does to periodic jobs.

use axum::http::StatusCode;
use verk_core::{
    cron::{CronEntry, CronError, Origin},
    manage::AuditEntry,
    names::Jid,
};

use crate::{context::Context, failure::Failure};

impl Context {
    /// The entry of the timetable with this name.
    pub(crate) async fn entry(&self, name: &str) -> Result<CronEntry, Failure> {
        let entry = self.app.admin.cron().get(name).await?;
        entry.ok_or_else(|| Failure::not_found("The timetable has no entry of this name."))
    }

    /// Enqueues the job of an entry now.
    pub(crate) async fn run_entry(&self, name: &str) -> Result<Jid, Failure> {
        let jid = self.app.admin.cron().run_now(name).await?;
        self.audit(AuditEntry::new("run").on(phrase(name))).await;
        Ok(jid)
    }

    /// Pauses an entry. Returns whether that changed anything.
    pub(crate) async fn pause_entry(
        &self,
        name: &str,
        reason: Option<&str>,
    ) -> Result<bool, Failure> {
        self.entry(name).await?;
        let note = self.note(reason);
        let changed = self.app.admin.cron().pause(name, note).await?;
        self.audit(AuditEntry::new("pause").on(phrase(name))).await;
        Ok(changed)
    }

    /// Resumes an entry. Returns whether that changed anything.
    pub(crate) async fn resume_entry(&self, name: &str) -> Result<bool, Failure> {
        self.entry(name).await?;
        let changed = self.app.admin.cron().resume(name).await?;
        self.audit(AuditEntry::new("resume").on(phrase(name))).await;
        Ok(changed)
    }

    /// Removes an entry that does not come back by itself. Returns whether there was one.
    pub(crate) async fn remove_entry(&self, name: &str) -> Result<bool, Failure> {
        if !is_removable(&self.entry(name).await?) {
            return Err(declared());
        }
        let removed = self.app.admin.cron().remove(name).await?;
        self.audit(AuditEntry::new("remove").on(phrase(name))).await;
        Ok(removed)
    }
}

/// Whether no live node declares the entry.
pub(crate) fn is_removable(entry: &CronEntry) -> bool {
    entry.origin == Origin::Dynamic || entry.orphaned.is_some() || entry.damaged.is_some()
}

/// Why an entry is not removed.
pub(crate) fn declared() -> Failure {
    Failure::new(
        StatusCode::CONFLICT,
        "A worker declares this entry, so the next start of a node would bring it back. Pause it \
         instead.",
    )
}

fn phrase(name: &str) -> String {
    format!("the periodic job {name}")
}

impl From<CronError> for Failure {
    fn from(error: CronError) -> Self {
        match error {
            CronError::Storage(error) => error.into(),
            CronError::Job(error) => error.into(),
            CronError::NoEntry { .. } => Self::not_found(error.to_string()),
            CronError::Damaged { .. } => Self::new(StatusCode::CONFLICT, error.to_string()),
            _ => Self::bad(error.to_string()),
        }
    }
}
