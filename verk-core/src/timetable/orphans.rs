//! Entries that no live node declares any more.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{
    error::StorageError,
    events::event::EventKind,
    services::Services,
    storage::{StoredCron, read_cron},
    time::clock::unix_seconds,
    timetable::{
        declared::{declared_by_live_nodes, last_due},
        definition::{Definition, Origin},
    },
};

/// For how long an entry runs that no live node declares: a deploy may replace all nodes.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// The note of a pause that no operator made.
#[derive(Serialize, Deserialize)]
struct Note {
    since: f64,
    by: String,
    reason: String,
    orphan: bool,
}

/// Notes which entries no live node declares, and pauses those that have been so for long.
pub(crate) async fn look(services: &Services) -> Result<(), StorageError> {
    let mut declared = read_cron(&*services.storage, usize::MAX).await?;
    declared.retain(|entry| {
        let definition = Definition::decode(&entry.definition);
        entry.pause.is_none() && definition.is_ok_and(|it| it.origin == Origin::Static)
    });
    if declared.is_empty() {
        return Ok(());
    }
    let Some(live) = declared_by_live_nodes(&*services.storage).await? else {
        return Ok(());
    };
    let now = services.now();
    for entry in declared {
        // In another cell, a node may declare the same name for another queue.
        let hashes = live.get(&entry.name);
        let is_declared = hashes.is_some_and(|hashes| hashes.contains(&entry.hash));
        match entry.orphaned {
            Some(_) if is_declared => {
                services.storage.mark_cron(&entry.name, None).await?;
            }
            None if !is_declared => {
                services.storage.mark_cron(&entry.name, Some(now)).await?;
            }
            Some(since) if now.duration_since(since).unwrap_or_default() >= GRACE => {
                pause(services, &entry.name, since, now).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn pause(
    services: &Services,
    name: &str,
    orphaned: SystemTime,
    now: SystemTime,
) -> Result<(), StorageError> {
    let note = Note {
        since: unix_seconds(now),
        by: "verk".to_owned(),
        reason: "no node has declared it for a day".to_owned(),
        orphan: true,
    };
    // Texts and a finite number always have a JSON form.
    let note = serde_json::to_vec(&note).unwrap_or_default().into();
    if services.storage.pause_cron(name, &note).await? {
        services.publish(EventKind::CronOrphaned {
            name: name.to_owned(),
            since: orphaned,
        });
    }
    Ok(())
}

/// This node declares the entry: it is no orphan, and runs again if it was paused as one.
pub(crate) async fn adopt(
    services: &Services,
    entry: &StoredCron,
    definition: &Definition,
) -> Result<(), StorageError> {
    let note = entry.pause.as_ref();
    let note = note.and_then(|note| serde_json::from_slice::<Note>(note).ok());
    if note.is_some_and(|note| note.orphan) {
        let now = services.now();
        let after = last_due(entry).unwrap_or(now).max(now);
        let anchor = Definition::decode(&entry.definition).map_or(now, |stored| stored.anchor);
        let next = definition.schedule().ok();
        let next = next.and_then(|schedule| schedule.next(after, anchor));
        let seen = entry.seen();
        // Without an effect, an operator changed it meanwhile.
        (services.storage.resume_cron(&entry.name, &seen, next)).await?;
    }
    if entry.orphaned.is_some() {
        services.storage.mark_cron(&entry.name, None).await?;
    }
    Ok(())
}
