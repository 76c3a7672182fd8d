//! The locks of unique jobs.

use verk_core::{
    manage::{AuditEntry, LockId, StoredLock},
    storage::{MAX_BATCH_JOBS, Page},
};
use verk_web::{text::relative, values::LockValue};

use super::Session;
use crate::{
    args::{Consent, LocksCommand},
    confirm::agree,
    failure::{Exit, Failure},
    output::{Cell, Column, Table},
    text::{self, clean},
};

impl Session<'_> {
    pub(crate) async fn locks(&mut self, command: &LocksCommand) -> Result<Exit, Failure> {
        match command {
            LocksCommand::Ls { limit } => self.list_locks(*limit).await,
            LocksCommand::Release { lock, consent } => self.release_lock(lock, consent).await,
        }
    }

    async fn list_locks(&mut self, limit: usize) -> Result<Exit, Failure> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut locks: Vec<StoredLock> = Vec::new();
        let mut read = 0;
        while locks.len() < limit {
            let page = Page {
                offset: read,
                limit: (limit - locks.len()).min(MAX_BATCH_JOBS),
            };
            let page = self.admin.locks(page).await?;
            if page.looked_at == 0 {
                break;
            }
            read += page.looked_at;
            locks.extend(page.locks);
        }
        if self.output.is_json() {
            for lock in &locks {
                self.output.json(&LockValue::new(lock))?;
            }
            return Ok(Exit::DONE);
        }
        if locks.is_empty() {
            self.output.note("no unique job holds a lock")?;
            return Ok(Exit::DONE);
        }
        let now = self.now();
        let mut table = Table::new([
            Column::text("LOCK"),
            Column::text("CLASS"),
            Column::text("HOLDER"),
            Column::text("SINCE"),
            Column::text("ENDS").optional(),
            Column::number("CONFLICTS").optional(),
            Column::text("NEXT").optional(),
            Column::long("PLACE"),
        ]);
        for lock in &locks {
            let class = (!lock.class.is_empty()).then_some(&lock.class);
            let next = lock.next.as_ref().map(|(jid, _)| jid.as_str());
            table.row([
                Cell::new(lock.id.to_string()),
                Cell::or_none(class),
                Cell::new(lock.jid.as_str()),
                Cell::new(relative(lock.since, now)),
                Cell::or_none(lock.until.map(|until| relative(until, now))),
                Cell::new(text::count(lock.conflicts)),
                Cell::or_none(next),
                Cell::new(lock.place.to_string()),
            ]);
        }
        self.output.table(table)?;
        Ok(Exit::DONE)
    }

    async fn release_lock(&mut self, lock: &str, consent: &Consent) -> Result<Exit, Failure> {
        let id: LockId = lock
            .parse()
            .map_err(|error| Failure::usage(format!("{}: {error}", clean(lock))))?;
        let Some(found) = self.admin.lock(id).await? else {
            return Err(Failure::not_found(format!("lock {id} is free")));
        };
        let holder = clean(&format!("job {}, {}", found.jid, found.place));
        if consent.dry_run {
            let line = format!("would release lock {id} of {holder}");
            self.output.outcome(&line, &LockValue::new(&found))?;
            return Ok(Exit::DONE);
        }
        let question =
            format!("Release lock {id} of {holder}? A second job may then be stored beside it.");
        agree(self.output, consent, &question)?;
        self.output.begins_change();
        if !self.admin.release_lock(&found).await? {
            return Err(Failure::not_found(format!(
                "lock {id} changed meanwhile, and was not released"
            )));
        }
        let entry = AuditEntry::new("release lock").on(format!("{id} of job {}", found.jid));
        self.record(entry).await;
        let line = format!("released lock {id} of {holder}");
        self.output.outcome(&line, &LockValue::new(&found))?;
        Ok(Exit::DONE)
    }
}
