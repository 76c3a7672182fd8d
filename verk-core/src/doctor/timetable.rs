//! The timetable: entries that cannot run, are late, or are not as live nodes declare them.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime},
};

use super::{Examination, Finding, MAX_LISTED, Programs};
use crate::{
    job::Job,
    manage::{NodeStatus, Runner},
    storage::{MAX_BATCH_JOBS, Page, StoredCron},
    timetable::{
        declared_by_live_nodes,
        definition::{Damaged, Definition, Origin},
    },
};

/// An entry that is due for more poll intervals than this is late.
const LATE_POLLS: u32 = 6;

/// What an entry is judged by.
struct Judge<'a> {
    now: SystemTime,
    /// For how long an entry may be due.
    on_time: Duration,
    runners: &'a [Runner],
    /// The hashes that live nodes declare, by name. `None` if that is not known, or no node lives.
    declared: Option<&'a HashMap<String, HashSet<String>>>,
}

impl Examination<'_> {
    pub(super) async fn timetable(&mut self, programs: &Programs) {
        let entries = self.entries().await;
        if entries.is_empty() {
            return;
        }
        let declared = declared_by_live_nodes(self.storage()).await;
        let declared = self.or_unreadable("what the nodes say about themselves", declared);
        let declared = declared.flatten();
        let runs_verk = |node: &NodeStatus| node.alive && node.info.is_some();
        let has_nodes = programs.nodes.iter().any(runs_verk);
        let runners = Runner::all(&programs.nodes, &programs.processes);
        let judge = Judge {
            now: self.admin.now(),
            on_time: self.admin.config().poll_interval.saturating_mul(LATE_POLLS),
            runners: &runners,
            declared: declared.as_ref().filter(|_| has_nodes),
        };
        self.findings.extend(judge.all(&entries));
    }

    /// The entries, the next due first.
    async fn entries(&mut self) -> Vec<StoredCron> {
        let most = self.max_in_pages();
        let mut entries = Vec::new();
        loop {
            let page = Page {
                offset: entries.len(),
                limit: MAX_BATCH_JOBS,
            };
            let page = self.storage().cron_entries(page).await;
            let page = self.or_unreadable("the timetable", page);
            let page = page.unwrap_or_default();
            if page.is_empty() {
                return entries;
            }
            if entries.len() >= most {
                self.complete = false;
                return entries;
            }
            entries.extend(page);
        }
    }
}

impl Judge<'_> {
    fn all(&self, entries: &[StoredCron]) -> Vec<Finding> {
        let (mut damaged, mut of_entries, mut late) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            match read(entry) {
                Err(why) => damaged.push(Finding::CronDamaged {
                    name: entry.name.clone(),
                    problem: why.to_string(),
                }),
                Ok((origin, job)) => {
                    late.extend(self.late(entry).map(|late| (&entry.name, late)));
                    of_entries.extend(self.nobody_runs(entry, &job));
                    of_entries.extend(self.declared(entry, origin));
                }
            }
        }
        let entries = late.len();
        let longest = late.into_iter().max_by_key(|(_, late)| *late);
        let late = longest.map(|(example, late)| Finding::CronLate {
            entries,
            example: example.clone(),
            late_s: late.as_secs(),
        });
        damaged.truncate(MAX_LISTED);
        of_entries.truncate(MAX_LISTED);
        damaged.into_iter().chain(late).chain(of_entries).collect()
    }

    /// For how long an entry is due, if that is too long.
    fn late(&self, entry: &StoredCron) -> Option<Duration> {
        let late = self.now.duration_since(entry.next?).ok()?;
        (late > self.on_time).then_some(late)
    }

    fn nobody_runs(&self, entry: &StoredCron, job: &Job) -> Option<Finding> {
        entry.next?;
        let queue = job.queue()?;
        let runs = |runner: &Runner| runner.runs(queue) && runner.may_have(job.class());
        let nobody = !self.runners.is_empty() && !self.runners.iter().any(runs);
        nobody.then(|| Finding::CronNobodyRuns {
            name: entry.name.clone(),
            queue: queue.clone(),
            class: job.class().to_owned(),
        })
    }

    fn declared(&self, entry: &StoredCron, origin: Origin) -> Option<Finding> {
        let name = entry.name.clone();
        match self.declared?.get(&name) {
            Some(hashes) => {
                let stored = hashes.contains(&entry.hash);
                let agree = stored && hashes.len() == 1;
                (!agree).then_some(Finding::CronDisagrees { name, stored })
            }
            // One that an operator paused need not run.
            None if origin == Origin::Static
                && (entry.pause.is_none() || entry.orphaned.is_some()) =>
            {
                let paused = entry.pause.is_some();
                Some(Finding::CronOrphaned { name, paused })
            }
            None => None,
        }
    }
}

/// What an entry enqueues; or why it cannot run.
fn read(entry: &StoredCron) -> Result<(Origin, Job), Damaged> {
    let definition = Definition::decode(&entry.definition)?;
    definition.schedule()?;
    Ok((definition.origin, definition.job()?))
}
