//! Takes over the periodic jobs of sidekiq-cron.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use verk_core::{
    cron::{Cron, Schedule as CronSchedule},
    manage::{AuditEntry, PauseNote},
};

use super::Session;
use crate::{
    args::ImportCommand,
    failure::{Exit, Failure},
    text::clean,
};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// An entry of a schedule of sidekiq-cron, as far as verk takes it over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    name: Option<String>,
    cron: Option<String>,
    class: Option<String>,
    klass: Option<String>,
    queue: Option<String>,
    args: Option<Value>,
    status: Option<String>,
    active_job: Option<Value>,
    date_as_argument: Option<Value>,
}

/// The file: entries by their names, or a list of entries with names.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Schedule {
    Named(BTreeMap<String, Entry>),
    Listed(Vec<Entry>),
}

/// What is taken over of one entry.
#[derive(Debug, PartialEq)]
struct Import {
    class: String,
    expression: String,
    zone: Option<String>,
    queue: Option<String>,
    args: Value,
    disabled: bool,
}

#[derive(Serialize)]
struct Imported<'a> {
    name: &'a str,
    imported: bool,
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Session<'_> {
    pub(crate) async fn import(&mut self, command: &ImportCommand) -> Result<Exit, Failure> {
        let ImportCommand::SidekiqCron { file, dry_run } = command;
        let entries = read(file)?;
        if !dry_run {
            self.output.begins_change();
        }
        let (mut done, mut refused) = (0, 0);
        for (name, entry) in &entries {
            let outcome = match take(entry) {
                Ok(import) if *dry_run => Ok((import, false)),
                Ok(import) => match self.store(name, &import).await {
                    Ok(changed) => Ok((import, changed)),
                    Err(error) => Err(error.to_string()),
                },
                Err(reason) => Err(reason),
            };
            let shown = clean(name);
            let (line, value) = match &outcome {
                Ok((import, changed)) => {
                    done += 1;
                    let verb = match (dry_run, changed) {
                        (true, _) => "would import",
                        (false, true) => "imported",
                        (false, false) => "unchanged:",
                    };
                    let disabled = if import.disabled { ", paused" } else { "" };
                    let line = format!(
                        "{verb} {shown}: {} at {}{disabled}",
                        clean(&import.class),
                        clean(&import.expression)
                    );
                    let value = Imported {
                        name,
                        imported: true,
                        changed: *changed,
                        reason: None,
                    };
                    (line, value)
                }
                Err(reason) => {
                    refused += 1;
                    let value = Imported {
                        name,
                        imported: false,
                        changed: false,
                        reason: Some(reason),
                    };
                    (format!("left out {shown}: {}", clean(reason)), value)
                }
            };
            self.output.outcome(&line, &value)?;
        }
        if refused > 0 || done == 0 {
            return Ok(Exit::NOTHING);
        }
        Ok(Exit::DONE)
    }

    /// Returns whether it changed something.
    async fn store(&mut self, name: &str, import: &Import) -> Result<bool, verk_core::BoxError> {
        let mut entry = Cron::new(&import.expression).class(&import.class, &import.args);
        if let Some(zone) = &import.zone {
            entry = entry.tz(zone);
        }
        if let Some(queue) = &import.queue {
            entry = entry.queue(queue);
        }
        let timetable = self.admin.cron();
        let mut changed = timetable.upsert(name, entry).await?;
        if import.disabled {
            let note = PauseNote::new().reason("disabled in sidekiq-cron");
            changed |= timetable.pause(name, note).await?;
        }
        if changed {
            self.record(AuditEntry::new("import periodic job").on(name))
                .await;
        }
        Ok(changed)
    }
}

fn read(file: &Path) -> Result<Vec<(String, Entry)>, Failure> {
    let shown = clean(&file.display().to_string());
    let unread = |error: std::io::Error| Failure::usage(format!("cannot read {shown}: {error}"));
    if fs::metadata(file).map_err(unread)?.len() > MAX_FILE {
        return Err(Failure::usage(format!(
            "{shown} has more than {MAX_FILE} bytes"
        )));
    }
    let text = fs::read_to_string(file).map_err(unread)?;
    parse(&text).map_err(|error| Failure::usage(format!("{shown}: {error}")))
}

fn parse(text: &str) -> Result<Vec<(String, Entry)>, String> {
    // The error of an untagged form has no place. The document itself has one.
    let document: Value =
        serde_saphyr::from_str(text).map_err(|error| clean(&error.to_string()))?;
    let schedule: Schedule = serde_json::from_value(document).map_err(|_| {
        "no schedule of sidekiq-cron: entries by name, or a list of entries".to_owned()
    })?;
    match schedule {
        Schedule::Named(entries) => Ok(entries.into_iter().collect()),
        Schedule::Listed(entries) => entries
            .into_iter()
            .map(|entry| {
                let name = entry.name.clone().ok_or("an entry has no name")?;
                Ok((name, entry))
            })
            .collect(),
    }
}

/// What to take over of an entry, or why nothing.
fn take(entry: &Entry) -> Result<Import, String> {
    let is_on = |value: &Option<Value>| {
        value
            .as_ref()
            .is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)))
    };
    if is_on(&entry.active_job) {
        return Err("it is an ActiveJob, whose jobs only Rails can write".to_owned());
    }
    if is_on(&entry.date_as_argument) {
        return Err(
            "date_as_argument is not supported: the job has its due time in `verk.c.d`".to_owned(),
        );
    }
    let class = entry.class.as_ref().or(entry.klass.as_ref());
    let class = class.ok_or("it has no class")?.clone();
    let cron = entry.cron.as_ref().ok_or("it has no cron")?;
    let (expression, zone) = split_zone(cron);
    CronSchedule::cron(&expression, zone.as_deref().unwrap_or("UTC"))
        .map_err(|error| error.to_string())?;
    // As sidekiq-cron: anything that is no array is the one argument.
    let args = match &entry.args {
        None | Some(Value::Null) => Value::Array(Vec::new()),
        Some(Value::Array(args)) => Value::Array(args.clone()),
        Some(other) => Value::Array(vec![other.clone()]),
    };
    Ok(Import {
        class,
        expression,
        zone,
        queue: entry.queue.clone(),
        args,
        disabled: entry.status.as_deref() == Some("disabled"),
    })
}

/// sidekiq-cron has the zone as the last word of the expression.
fn split_zone(cron: &str) -> (String, Option<String>) {
    let words: Vec<&str> = cron.split_whitespace().collect();
    match words.split_last() {
        Some((last, rest))
            if !rest.is_empty()
                && last.contains('/')
                && last.starts_with(|first: char| first.is_ascii_uppercase()) =>
        {
            (rest.join(" "), Some((*last).to_owned()))
        }
        Some((&"UTC", rest)) if !rest.is_empty() => (rest.join(" "), Some("UTC".to_owned())),
        _ => (words.join(" "), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(text: &str) -> Vec<(String, Result<Import, String>)> {
        let entries = parse(text).unwrap().into_iter();
        entries.map(|(name, entry)| (name, take(&entry))).collect()
    }

    #[test]
    fn entries_are_read_by_name_and_as_a_list() {
        let named = "
report:
  cron: '0 7 * * MON-FRI Europe/Berlin'
  class: 'Reports::Daily'
  queue: reports
  args: [1, \"x\"]
sweep:
  cron: '*/5 * * * *'
  class: Sweep
  args:
    folder: /tmp
  status: disabled
";
        let imports = imports(named);
        let report = imports[0].1.as_ref().unwrap();
        assert_eq!(imports[0].0, "report");
        assert_eq!(report.expression, "0 7 * * MON-FRI");
        assert_eq!(report.zone.as_deref(), Some("Europe/Berlin"));
        assert_eq!(report.queue.as_deref(), Some("reports"));
        assert_eq!(report.args, serde_json::json!([1, "x"]));
        let sweep = imports[1].1.as_ref().unwrap();
        assert_eq!(sweep.args, serde_json::json!([{ "folder": "/tmp" }]));
        assert!(sweep.disabled && sweep.zone.is_none());

        let listed =
            "- {name: a, cron: '@daily', class: A}\n- {name: b, klass: B, cron: '0 0 * * * UTC'}";
        let imports = self::imports(listed);
        assert_eq!(imports[0].1.as_ref().unwrap().expression, "@daily");
        assert_eq!(imports[1].1.as_ref().unwrap().zone.as_deref(), Some("UTC"));
    }

    #[test]
    fn what_cannot_be_imported_says_why() {
        let text = "
a: {cron: '* * * * *'}
b: {class: B}
c: {cron: '* * * * *', class: C, active_job: true}
d: {cron: '* * * * *', class: D, date_as_argument: true}
";
        let reasons = imports(text)
            .into_iter()
            .map(|(_, import)| import.unwrap_err());
        let reasons: Vec<String> = reasons.collect();
        for (reason, part) in reasons
            .iter()
            .zip(["no class", "no cron", "ActiveJob", "date_as"])
        {
            assert!(reason.contains(part), "{reason}");
        }
        assert!(parse("- 7").is_err());
        assert!(parse("a: [").is_err());
        assert!(parse("- {cron: '* * * * *', class: A}").is_err());
    }
}
