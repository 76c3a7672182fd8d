//! Takes the runs that are due.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Applied, StorageError},
    events::event::{Event, EventKind},
    log,
    names::Jid,
    services::Services,
    storage::{CronPush, CronTick, MAX_BATCH_JOBS, Page, StoredCron, Ticked},
    timetable::{
        decide::{Decision, decide},
        definition::Damaged,
    },
};

/// How many entries are taken at once.
const AT_ONCE: usize = 16;

/// How many entries that cannot run one look passes over.
const MAX_STUCK: usize = 100 * MAX_BATCH_JOBS;

/// The entries that cannot run and were reported, by name and revision.
#[derive(Debug, Default)]
pub(crate) struct Reported(Mutex<HashSet<(String, u64)>>);

impl Reported {
    /// Whether this is the first report.
    fn is_new(&self, entry: &StoredCron) -> bool {
        let mut reported = self.0.lock();
        if reported.len() >= MAX_STUCK {
            reported.clear();
        }
        reported.insert((entry.name.clone(), entry.revision))
    }
}

/// Takes all runs that are due, or those until `until`. Returns when the next is due.
pub(crate) async fn take(
    services: &Services,
    reported: &Reported,
    until: SystemTime,
    stop: &CancellationToken,
) -> Result<Option<SystemTime>, StorageError> {
    // Entries that cannot run stay at the front, and are passed over.
    let mut stuck = 0;
    loop {
        let now = services.now();
        if now >= until || stop.is_cancelled() {
            return Ok(Some(now));
        }
        let page = Page {
            offset: stuck,
            limit: MAX_BATCH_JOBS,
        };
        let page = services.storage.cron_entries(page).await?;
        let is_due = |entry: &&StoredCron| entry.next.is_some_and(|next| next <= now);
        let due = page.iter().take_while(is_due).count();
        if due == 0 || stuck >= MAX_STUCK {
            return Ok(page.get(due).and_then(|entry| entry.next));
        }
        for entries in page[..due].chunks(AT_ONCE) {
            let taken = join_all(entries.iter().map(|entry| take_one(services, entry, now))).await;
            for (entry, taken) in entries.iter().zip(taken) {
                match taken {
                    Ok(()) => continue,
                    Err(NotTaken::Unknown(error)) => return Err(error),
                    Err(NotTaken::Refused(error)) => log::warn!(
                        entry = %entry.name,
                        error = %error,
                        "the storage refuses a run of the timetable, trying again later"
                    ),
                    Err(NotTaken::Damaged(why)) if reported.is_new(entry) => log::error!(
                        entry = %entry.name,
                        reason = %why,
                        "an entry of the timetable cannot run: replace or remove it"
                    ),
                    Err(NotTaken::Damaged(_)) => {}
                }
                stuck += 1;
            }
        }
    }
}

/// Why a run was not taken.
enum NotTaken {
    /// The storage may have taken it.
    Unknown(StorageError),
    Refused(StorageError),
    Damaged(Damaged),
}

async fn take_one(
    services: &Services,
    entry: &StoredCron,
    now: SystemTime,
) -> Result<(), NotTaken> {
    let decision = decide(entry, now, &services.config).map_err(NotTaken::Damaged)?;
    let Some(decision) = decision else {
        return Ok(());
    };
    let ticked = services.storage.tick_cron(&entry.name, &decision.tick);
    match ticked.await {
        Ok(Ticked::Done) => {
            tell(services, &entry.name, decision, None);
            Ok(())
        }
        Ok(Ticked::Skipped { jid, .. }) => {
            tell(services, &entry.name, decision, Some(jid));
            Ok(())
        }
        // Another node was faster, or an operator changed it: the next look knows.
        Ok(Ticked::Differs) => Ok(()),
        Err(error) if error.applied() == Applied::Unknown => {
            services.publish(EventKind::ReplyLost {
                error: error.clone(),
            });
            Err(NotTaken::Unknown(error))
        }
        Err(error) => Err(NotTaken::Refused(error)),
    }
}

/// Publishes what was enqueued, and what was missed. `holder` has the lock for which the only job
/// was skipped.
fn tell(services: &Services, name: &str, decision: Decision, holder: Option<Jid>) {
    let at = services.now();
    if decision.missed > 0 {
        log::warn!(
            entry = name,
            missed = decision.missed,
            "runs of the timetable were missed: no node was there in time"
        );
        services.events.send(Event {
            at,
            queue: None,
            job: None,
            what: EventKind::CronMissed {
                name: name.to_owned(),
                missed: decision.missed,
                since: decision.since,
            },
        });
    }
    if let Some(holder) = holder {
        for (tick, _) in decision.jobs {
            services.publish(EventKind::CronSkipped {
                name: name.to_owned(),
                due: tick.due(),
                holder: holder.clone(),
            });
        }
        return;
    }
    let CronTick { pushes, locked, .. } = &decision.tick;
    let later = pushes.iter().filter_map(|push| match push {
        CronPush::Later(due) => Some(due.at),
        CronPush::Queue { .. } => None,
    });
    for due in later.chain(locked.as_ref().and_then(|locked| locked.job.at)) {
        services.due_somewhere(due, at);
    }
    for (tick, job) in decision.jobs {
        let queue = job.queue().cloned();
        if let Some(queue) = &queue {
            services.tallies.enqueued.add(|| queue.clone(), 1);
        }
        services.events.send(Event {
            at,
            queue,
            job: Some(Arc::new(job)),
            what: EventKind::CronTicked {
                name: name.to_owned(),
                due: tick.due(),
                missed: tick.missed(),
            },
        });
    }
}
