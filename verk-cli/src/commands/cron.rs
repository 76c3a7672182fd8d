//! Periodic jobs.

use serde::Serialize;
use verk_core::{
    cron::{CronEntry, CronError},
    manage::{AuditEntry, PauseNote},
    storage::{MAX_BATCH_JOBS, Page},
};
use verk_web::{Payloads, text::relative, values::CronValue};

use super::Session;
use crate::{
    args::{Consent, CronCommand},
    confirm::agree,
    failure::{Exit, Failure},
    output::{Cell, Column, Table, Tone},
    text::{self, clean},
    times,
};

/// The outcome of a change, for programs.
#[derive(Serialize)]
struct Changed<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    jid: Option<&'a str>,
    changed: bool,
}

impl Session<'_> {
    pub(crate) async fn cron(&mut self, command: &CronCommand) -> Result<Exit, Failure> {
        match command {
            CronCommand::Ls { limit } => self.list_cron(*limit).await,
            CronCommand::Next { name } => self.next_of_cron(name).await,
            CronCommand::Run { name } => self.run_cron(name).await,
            CronCommand::Pause { names, reason } => self.pause_cron(names, reason.as_deref()).await,
            CronCommand::Resume { names } => self.resume_cron(names).await,
            CronCommand::Rm { name, consent } => self.remove_cron(name, consent).await,
        }
    }

    async fn list_cron(&mut self, limit: usize) -> Result<Exit, Failure> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut entries: Vec<CronEntry> = Vec::new();
        while entries.len() < limit {
            let page = Page {
                offset: entries.len(),
                limit: (limit - entries.len()).min(MAX_BATCH_JOBS),
            };
            let page = self.admin.cron().list(page).await.map_err(failure)?;
            if page.is_empty() {
                break;
            }
            entries.extend(page);
        }
        if self.output.is_json() {
            for entry in &entries {
                self.output.json(&CronValue::new(entry, &Payloads::Shown))?;
            }
            return Ok(Exit::DONE);
        }
        if entries.is_empty() {
            self.output
                .note("no periodic job: no worker declares one, and no program made one")?;
            return Ok(Exit::DONE);
        }
        let now = self.now();
        let mut table = Table::new([
            Column::text("NAME"),
            Column::text("NEXT"),
            Column::text("LAST").optional(),
            Column::number("RUNS").optional(),
            Column::number("MISSED").optional(),
            Column::number("SKIPPED").optional(),
            Column::text("CLASS"),
            Column::text("QUEUE").optional(),
            Column::text("STATE"),
            Column::long("WHEN"),
        ]);
        for entry in &entries {
            let last = entry.last.first().map(|run| relative(run.at, now));
            table.row([
                Cell::new(&entry.name),
                Cell::or_none(entry.next.map(|next| relative(next, now))),
                Cell::or_none(last),
                Cell::new(text::count(entry.runs)),
                Cell::new(text::count(entry.missed)),
                Cell::new(text::count(entry.skipped)),
                Cell::new(&entry.class),
                Cell::or_none(entry.queue.as_ref().map(|queue| queue.as_str())),
                state(entry),
                Cell::new(&entry.words),
            ]);
        }
        self.output.table(table)?;
        Ok(Exit::DONE)
    }

    async fn next_of_cron(&mut self, name: &str) -> Result<Exit, Failure> {
        let entry = self.admin.cron().get(name).await.map_err(failure)?;
        let entry = entry.ok_or_else(|| no_entry(name))?;
        if self.output.is_json() {
            self.output
                .json(&CronValue::new(&entry, &Payloads::Shown))?;
            return Ok(Exit::DONE);
        }
        if entry.upcoming.is_empty() {
            let why = match (&entry.damaged, &entry.pause) {
                (Some(why), _) => why.clone(),
                (None, Some(_)) => "it is paused".to_owned(),
                (None, None) => "its schedule has no time any more".to_owned(),
            };
            let line = clean(&format!("{name} does not run: {why}"));
            self.output.note(&line)?;
            return Ok(Exit::NOTHING);
        }
        let now = self.now();
        let mut table = Table::new([
            Column::text("IN"),
            Column::text("HERE"),
            Column::long("ZONE"),
        ]);
        let zone = entry.schedule.as_ref().and_then(|schedule| schedule.zone());
        let zone = zone.unwrap_or("UTC");
        let there = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
        for time in &entry.upcoming {
            table.row([
                Cell::new(relative(*time, now)),
                Cell::new(self.output.time(*time)),
                Cell::new(format!("{} {zone}", times::local(*time, &there))),
            ]);
        }
        self.output.table(table)?;
        Ok(Exit::DONE)
    }

    async fn run_cron(&mut self, name: &str) -> Result<Exit, Failure> {
        self.output.begins_change();
        let jid = self.admin.cron().run_now(name).await.map_err(failure)?;
        self.record(AuditEntry::new("run periodic job").on(name))
            .await;
        let line = format!("enqueued job {jid} of {}", clean(name));
        let value = Changed {
            name,
            jid: Some(jid.as_str()),
            changed: true,
        };
        self.output.outcome(&line, &value)?;
        Ok(Exit::DONE)
    }

    async fn pause_cron(
        &mut self,
        names: &[String],
        reason: Option<&str>,
    ) -> Result<Exit, Failure> {
        let mut note = PauseNote::new();
        if let Some(user) = &self.user {
            note = note.by(user);
        }
        if let Some(reason) = reason {
            note = note.reason(reason);
        }
        self.output.begins_change();
        let mut done = 0;
        for name in names {
            let paused = self.admin.cron().pause(name, note.clone()).await;
            let changed = paused.map_err(|error| failure(error).after(done, "paused"))?;
            let words = ["paused", "does not exist, or was paused already"];
            done += self
                .report_cron("pause periodic job", name, changed, words)
                .await?;
        }
        Ok(if done > 0 { Exit::DONE } else { Exit::NOTHING })
    }

    async fn resume_cron(&mut self, names: &[String]) -> Result<Exit, Failure> {
        self.output.begins_change();
        let mut done = 0;
        for name in names {
            let resumed = self.admin.cron().resume(name).await;
            let changed = resumed.map_err(|error| failure(error).after(done, "resumed"))?;
            let words = ["resumed", "does not exist, or was not paused"];
            done += self
                .report_cron("resume periodic job", name, changed, words)
                .await?;
        }
        Ok(if done > 0 { Exit::DONE } else { Exit::NOTHING })
    }

    async fn remove_cron(&mut self, name: &str, consent: &Consent) -> Result<Exit, Failure> {
        let entry = self.admin.cron().get(name).await.map_err(failure)?;
        if entry.is_none() {
            return Err(no_entry(name));
        }
        if consent.dry_run {
            let value = Changed {
                name,
                jid: None,
                changed: false,
            };
            let line = format!("would remove {}", clean(name));
            self.output.outcome(&line, &value)?;
            return Ok(Exit::DONE);
        }
        let question = format!("Remove the periodic job {} and its history?", clean(name));
        agree(self.output, consent, &question)?;
        self.output.begins_change();
        let removed = self.admin.cron().remove(name).await.map_err(failure)?;
        let words = ["removed", "does not exist"];
        let done = self
            .report_cron("remove periodic job", name, removed, words)
            .await?;
        Ok(if done > 0 { Exit::DONE } else { Exit::NOTHING })
    }

    async fn report_cron(
        &mut self,
        action: &str,
        name: &str,
        changed: bool,
        [done, not_done]: [&str; 2],
    ) -> Result<u64, Failure> {
        if changed {
            self.record(AuditEntry::new(action).on(name)).await;
        }
        let shown = clean(name);
        let line = match changed {
            true => format!("{done} {shown}"),
            false => format!("{shown} {not_done}"),
        };
        let value = Changed {
            name,
            jid: None,
            changed,
        };
        self.output.outcome(&line, &value)?;
        Ok(u64::from(changed))
    }
}

fn state(entry: &CronEntry) -> Cell {
    if entry.damaged.is_some() {
        return Cell::new("cannot run").tone(Tone::Bad);
    }
    if let Some(pause) = &entry.pause {
        let by = pause.by.as_deref().map(|by| format!(" by {by}"));
        return Cell::new(format!("paused{}", by.unwrap_or_default())).tone(Tone::Warning);
    }
    if entry.orphaned.is_some() {
        return Cell::new("orphaned").tone(Tone::Warning);
    }
    Cell::new("runs").tone(Tone::Good)
}

fn no_entry(name: &str) -> Failure {
    Failure::not_found(format!("there is no periodic job {}", clean(name)))
}

fn failure(error: CronError) -> Failure {
    match error {
        CronError::Storage(error) => error.into(),
        CronError::Job(error) => error.into(),
        CronError::NoEntry { name } => no_entry(&name),
        other => Failure::usage(clean(&other.to_string())),
    }
}
