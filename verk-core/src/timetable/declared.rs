//! What the program declares, and how it gets into the storage: [`Declared`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::SystemTime,
};

use bytes::Bytes;

use crate::{
    cells::Cells,
    error::{StorageError, StorageErrorKind},
    events::event::EventKind,
    names::NodeId,
    services::Services,
    storage::{CronChange, CronUpsert, MAX_BATCH_BYTES, Storage, StoredCron},
    time::clock::from_unix_seconds,
    timetable::{
        decide::Record,
        definition::{Damaged, Definition},
        orphans,
    },
};

/// The entries that the workers of this program declare.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    by_name: BTreeMap<String, Definition>,
    /// The cell for which this is, of several: an entry lies in the cell of its queue.
    cell: Option<(Cells, usize)>,
}

/// The most entries that a node says it declares, and the most bytes of that.
const MAX_TOLD: usize = 1000;
const MAX_TOLD_BYTES: usize = 32 * 1024;

/// How often an upsert is tried that others keep from taking effect.
const TRIES: usize = 100;

impl Declared {
    pub(crate) fn new(entries: impl IntoIterator<Item = (String, Definition)>) -> Self {
        Self {
            by_name: entries.into_iter().collect(),
            cell: None,
        }
    }

    /// The same for one of several cells.
    pub(crate) fn for_cell(&self, cells: &Cells, cell: usize) -> Self {
        Self {
            cell: Some((cells.clone(), cell)),
            ..self.clone()
        }
    }

    /// The names of those that lie in this cell now.
    pub(crate) fn names_here(&self) -> Vec<String> {
        let is_here = |entry: &Definition| match &self.cell {
            None => true,
            Some((cells, cell)) => entry.queue().is_some_and(|queue| cells.of(&queue) == *cell),
        };
        let here = self.by_name.iter().filter(|(_, entry)| is_here(entry));
        here.map(|(name, _)| name.clone()).collect()
    }

    /// How many times the program learned that a queue moved to another cell.
    pub(crate) fn moves(&self) -> u64 {
        self.cell.as_ref().map_or(0, |(cells, _)| cells.moves())
    }

    /// Stores what lies in this cell, as far as other nodes let it, and no queue moves.
    pub(crate) async fn declare(&self, services: &Services) -> Result<(), StorageError> {
        let names = self.names_here();
        if names.is_empty() {
            return Ok(());
        }
        match declare(services, self, &names).await {
            Err(error) if error.kind() == StorageErrorKind::Moved => Ok(()),
            declared => declared.map(drop),
        }
    }

    /// What the node says about it in each cell: the hash of each entry by its name, as JSON. If
    /// these are too many, an entry without a name stands for the rest.
    pub(crate) fn to_json(&self) -> Bytes {
        if self.by_name.is_empty() {
            return Bytes::new();
        }
        let (mut told, mut bytes) = (BTreeMap::new(), 0);
        for (name, definition) in &self.by_name {
            bytes += name.len();
            if told.len() == MAX_TOLD || bytes > MAX_TOLD_BYTES {
                told.insert("", String::new());
                break;
            }
            told.insert(name.as_str(), definition.hash());
        }
        // Texts always have a JSON form.
        serde_json::to_vec(&told).unwrap_or_default().into()
    }
}

/// Stores what is declared, of these names. Returns the names whose entries another live node
/// declares differently.
pub(crate) async fn declare(
    services: &Services,
    declared: &Declared,
    names: &[String],
) -> Result<Vec<String>, StorageError> {
    let mut disagreed = Vec::new();
    let stored = services.storage.cron_named(names).await?;
    for (name, entry) in names.iter().zip(stored) {
        let Some(definition) = declared.by_name.get(name) else {
            continue;
        };
        match declare_one(services, name, definition, entry).await? {
            true => {}
            false => disagreed.push(name.clone()),
        }
    }
    Ok(disagreed)
}

/// Publishes that another version of the program is in charge of an entry.
pub(crate) fn tell_disagreement(services: &Services, name: &str) {
    services.publish(EventKind::CronDisagrees {
        name: name.to_owned(),
    });
}

/// Returns whether the entry is as it is declared.
async fn declare_one(
    services: &Services,
    name: &str,
    definition: &Definition,
    mut entry: Option<StoredCron>,
) -> Result<bool, StorageError> {
    let storage = &*services.storage;
    let hash = definition.hash();
    let mut is_rollback = false;
    for _ in 0..TRIES {
        if let Some(entry) = entry.as_ref().filter(|entry| entry.hash == hash) {
            return orphans::adopt(services, entry, definition)
                .await
                .map(|()| true);
        }
        let now = services.now();
        let Ok(upsert) = upsert(definition, entry.as_ref(), now, is_rollback) else {
            // `build()` has checked it.
            return Ok(true);
        };
        match storage.upsert_cron(name, &upsert).await? {
            CronChange::Done => {
                if let Some(next) = upsert.next {
                    services.due_somewhere(next, now);
                }
            }
            CronChange::Differs => {}
            CronChange::Superseded => {
                let is_declared = declared_by_live_nodes(storage).await?.is_none_or(|live| {
                    let stored = entry.as_ref().map(|entry| entry.hash.as_str());
                    let hashes = live.get(name);
                    stored.is_some_and(|stored| hashes.is_some_and(|all| all.contains(stored)))
                });
                if is_declared {
                    return Ok(false);
                }
                is_rollback = true;
            }
        }
        let mut read = storage.cron_named(&[name.to_owned()]).await?;
        entry = read.pop().flatten();
    }
    Ok(false)
}

/// The step that makes an entry what it is defined as: it keeps the time of its next run while its
/// schedule is the same.
pub(crate) fn upsert(
    definition: &Definition,
    entry: Option<&StoredCron>,
    now: SystemTime,
    even_if_superseded: bool,
) -> Result<CronUpsert, Damaged> {
    let mut definition = definition.clone();
    definition.count_from(now);
    let before = entry.and_then(|entry| Definition::decode(&entry.definition).ok());
    let same = before.filter(|before| before.has_schedule_of(&definition));
    let kept = entry.and_then(|entry| entry.next);
    let next = match (same, kept) {
        (Some(before), Some(next)) => {
            definition.anchor = before.anchor;
            Some(next)
        }
        (same, _) => {
            if let Some(before) = same {
                definition.anchor = before.anchor;
            }
            // Clock skew does not repeat a run.
            let last = entry.and_then(last_due).unwrap_or(now);
            definition
                .schedule()?
                .next(now.max(last), definition.anchor)
        }
    };
    Ok(CronUpsert {
        seen: entry.map(StoredCron::seen),
        queue: definition.queue(),
        definition: definition.encode(),
        hash: definition.hash(),
        next,
        even_if_superseded,
    })
}

/// The time that the last run was for.
pub(crate) fn last_due(entry: &StoredCron) -> Option<SystemTime> {
    let records = entry.last.iter();
    let mut due = records.filter_map(|record| {
        let record: Record = serde_json::from_slice(record).ok()?;
        (!record.asked).then(|| from_unix_seconds(record.due))
    });
    due.next()
}

/// When an entry that is not due now runs next: after its last run, and after `now`.
pub(crate) fn next_after_last(
    entry: &StoredCron,
    now: SystemTime,
) -> Result<Option<SystemTime>, Damaged> {
    let definition = Definition::decode(&entry.definition)?;
    let after = last_due(entry).map_or(now, |last| last.max(now));
    Ok(definition.schedule()?.next(after, definition.anchor))
}

/// The hashes that live nodes declare, by name. `None` if one declares more than it says.
pub(crate) async fn declared_by_live_nodes(
    storage: &dyn Storage,
) -> Result<Option<HashMap<String, HashSet<String>>>, StorageError> {
    let nodes = storage.nodes().await?.into_iter();
    let live: Vec<NodeId> = nodes
        .filter(|node| node.alive)
        .map(|node| node.id)
        .collect();
    let mut declared: HashMap<String, HashSet<String>> = HashMap::new();
    for info in storage.node_infos(&live).await?.into_iter().flatten() {
        let told = Some(info.cron).filter(|told| told.len() <= MAX_BATCH_BYTES);
        let told = told.and_then(|told| serde_json::from_slice(&told).ok());
        let told: HashMap<String, String> = told.unwrap_or_default();
        if told.contains_key("") {
            return Ok(None);
        }
        for (name, hash) in told {
            declared.entry(name).or_default().insert(hash);
        }
    }
    Ok(Some(declared))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use verk_cron::Schedule;

    use super::*;
    use crate::{
        job::Job,
        timetable::{
            definition::{Origin, Policies},
            periodic::{CatchUp, Overlap},
        },
    };

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn definition(schedule: &Schedule, catch_up: CatchUp) -> Definition {
        let job = Job::new("A", "default".parse().unwrap(), "[]".to_owned()).unwrap();
        let policies = Policies {
            overlap: Overlap::Allow,
            catch_up,
            within: Duration::ZERO,
            splay: Duration::ZERO,
        };
        Definition::new(schedule, policies, Origin::Static, at(0), job, None).unwrap()
    }

    fn every(seconds: u64) -> Schedule {
        Schedule::every(Duration::from_secs(seconds)).unwrap()
    }

    /// An entry as it is after an upsert.
    fn stored(upsert: &CronUpsert) -> StoredCron {
        StoredCron {
            definition: upsert.definition.clone(),
            hash: upsert.hash.clone(),
            next: upsert.next,
            revision: 1,
            ..StoredCron::default()
        }
    }

    #[test]
    fn a_period_counts_from_its_first_declaration() {
        let last = definition(&every(100), CatchUp::Last);
        let first = upsert(&last, None, at(1_000), false).unwrap();
        assert_eq!(first.next, Some(at(1_100)));
        let entry = stored(&first);

        let all = definition(&every(100), CatchUp::All);
        let again = upsert(&all, Some(&entry), at(1_050), false).unwrap();
        assert_eq!(again.next, Some(at(1_100)), "the schedule is the same");
        let anchor = |upsert: &CronUpsert| Definition::decode(&upsert.definition).unwrap().anchor;
        assert_eq!(anchor(&again), at(1_000));

        let other = definition(&every(70), CatchUp::Last);
        let other = upsert(&other, Some(&entry), at(1_050), false).unwrap();
        assert_eq!((other.next, anchor(&other)), (Some(at(1_120)), at(1_050)));
    }

    #[test]
    fn a_late_clock_repeats_no_run() {
        let hourly = Schedule::cron("@hourly", "UTC").unwrap();
        let daily = Schedule::cron("0 1 * * *", "UTC").unwrap();
        let before = definition(&hourly, CatchUp::Last);
        let mut entry = stored(&upsert(&before, None, at(0), false).unwrap());
        // The run at 01:00 was taken. For this node it is not 01:00 yet.
        entry.last = vec![r#"{"due":3600,"at":3601,"jid":"x","jobs":1}"#.into()];
        let after = definition(&daily, CatchUp::Last);
        let upsert = upsert(&after, Some(&entry), at(3_400), false).unwrap();
        assert_eq!(upsert.next, Some(at(86_400 + 3_600)));
    }

    #[test]
    fn a_node_says_what_it_declares_up_to_a_bound() {
        let definition = definition(&every(100), CatchUp::Last);
        let told = |names: &mut dyn Iterator<Item = String>| {
            let declared = Declared::new(names.map(|name| (name, definition.clone())));
            let told = declared.to_json();
            assert!(told.len() < 128 * 1024);
            told
        };
        assert_eq!(told(&mut std::iter::empty()), "");
        let one = told(&mut ["a".to_owned()].into_iter());
        assert_eq!(one, format!(r#"{{"a":"{}"}}"#, definition.hash()));
        let many = told(&mut (0..1_500).map(|number| number.to_string()));
        let many: HashMap<String, String> = serde_json::from_slice(&many).unwrap();
        assert_eq!(many.len(), 1_001);
        assert!(many.contains_key(""));
    }
}
