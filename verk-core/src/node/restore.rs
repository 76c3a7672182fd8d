//! What happens to the jobs that a dead node had in progress.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    effects,
    error::{Applied, StorageError},
    events::event::{Event, EventKind},
    job::{Failure, Job},
    log,
    names::Jid,
    node::poison::{self, Verdict},
    outcome::Ending,
    services::Services,
    storage::{
        Due, Inprogress, MAX_BATCH_JOBS, Node, Page, Settled, Settlement, Target, read_from,
    },
    time::clock::{rfc3339, time_after},
};

/// What is known about the jobs that a dead node had started.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    deaths: HashMap<Jid, u32>,
    verdicts: HashMap<Jid, Verdict>,
}

impl Verdicts {
    /// Counts that `node` died while it ran its jobs, and judges each of them, before any is moved.
    /// A prefetched job, or a payload that is not a job, does not count. Neither does a job that a
    /// fetch still pending on the server moves after this.
    pub(crate) async fn reach(services: &Services, node: &Node) -> Result<Self, StorageError> {
        let storage = &services.storage;
        let mut started = Vec::new();
        for queue in &node.queues {
            let inprogress = Inprogress {
                queue: queue.clone(),
                node: node.id.clone(),
            };
            let first_started = storage.prefetched(&inprogress).await?;
            let jobs = read_from(&**storage, &inprogress, first_started).await?;
            let jobs = jobs.into_iter().filter_map(|job| Job::decode(job).ok());
            started.extend(jobs.map(|job| job.jid().clone()));
        }
        let deaths = storage.count_deaths(&node.id, &started).await?;
        let verdicts = poison::judge(&deaths, services.config.poison_pill_after);
        Ok(Self { deaths, verdicts })
    }
}

/// How many jobs left the lists of a dead node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RestoreCounts {
    /// They run again.
    pub(crate) restored: usize,
    /// They went to the `dead` set.
    pub(crate) buried: usize,
}

/// A job that is about to leave the list of a dead node.
#[derive(Debug)]
struct Departure {
    settlement: Settlement,
    /// Present unless the job just goes back to its queue.
    suspect: Option<Suspect>,
}

#[derive(Debug)]
struct Suspect {
    job: Job,
    deaths: u32,
}

/// Moves the jobs in `inprogress` to the front of their queue, in order: page by page, from the job
/// that was fetched last, so that the oldest ends up in front. Suspects come back later, and a
/// poison pill is buried. Adds to `moved` how many jobs left the list.
pub(crate) async fn restore(
    services: &Services,
    inprogress: &Inprogress,
    verdicts: &Verdicts,
    stop: &CancellationToken,
    moved: &mut RestoreCounts,
) -> Result<(), StorageError> {
    let storage = &services.storage;
    let mut stuck = 0;
    let mut outcome = Ok(());
    while !stop.is_cancelled() {
        let page = Page {
            offset: stuck,
            limit: MAX_BATCH_JOBS,
        };
        let mut jobs = storage.inprogress(inprogress, page).await?;
        if jobs.is_empty() {
            break;
        }
        jobs.reverse();
        let now = services.now();
        let leaving: Vec<_> = jobs
            .into_iter()
            .map(|held| leave(held, inprogress, verdicts, &services.config, now))
            .collect();
        let settlements: Vec<_> = leaving.iter().map(|job| job.settlement.clone()).collect();
        let results = storage.restore(inprogress, &settlements).await;
        for (job, result) in leaving.into_iter().zip(results) {
            match result {
                // A superseded job is discarded, and the one that waited for its lock came.
                Settled::Superseded => moved.restored += 1,
                Settled::Conflict { .. } => stuck += 1,
                Settled::Done | Settled::Merged => {
                    if matches!(job.settlement.to, Target::Dead { .. }) {
                        moved.buried += 1;
                    } else {
                        moved.restored += 1;
                    }
                    report(job, inprogress, services);
                }
                Settled::NotHeld => stuck += 1,
                // It stays in the list, and delays no other job.
                Settled::Failed(error) if error.applied() == Applied::NotApplied => {
                    stuck += 1;
                    outcome = Err(error);
                }
                Settled::Failed(error) => return Err(error),
            }
        }
    }
    outcome
}

/// Decides where a job goes: a suspect comes back later, a poison pill is buried, all others go
/// back to their queue.
fn leave(
    held: Bytes,
    inprogress: &Inprogress,
    verdicts: &Verdicts,
    config: &Config,
    now: SystemTime,
) -> Departure {
    let job = Job::decode(held.clone()).ok();
    let judged = job.and_then(|job| {
        let verdict = *verdicts.verdicts.get(job.jid())?;
        let deaths = *verdicts.deaths.get(job.jid())?;
        Some((verdict, Suspect { job, deaths }))
    });
    let (to, suspect) = match judged {
        None | Some((Verdict::Requeue, _)) => (Target::Requeue, None),
        Some((Verdict::Delay(delay), mut suspect)) => {
            // No attempt is counted.
            suspect.job.set_enqueued_at(None);
            suspect.job.set_queue(inprogress.queue.clone());
            let due = Due {
                at: time_after(now, delay),
                job: suspect.job.encode(),
            };
            (Target::Schedule(due), Some(suspect))
        }
        Some((Verdict::Bury, mut suspect)) => {
            let failure = Failure {
                error_class: "PoisonPill".to_owned(),
                error_message: format!(
                    "{} processes died while they ran this job, the last one as node {}",
                    suspect.deaths, inprogress.node
                ),
                error_backtrace: Vec::new(),
            };
            suspect.job.write_as(config.form());
            suspect.job.record_failure(&failure, now, &inprogress.queue);
            let to = Target::Dead {
                job: Due {
                    at: now,
                    job: suspect.job.encode(),
                },
                limits: config.dead_limits(),
            };
            (to, Some(suspect))
        }
    };
    let effects = suspect
        .as_ref()
        .map(|suspect: &Suspect| effects::of_settlement(&suspect.job, &inprogress.queue, &to));
    let effects = effects.unwrap_or_default();
    Departure {
        settlement: Settlement { held, to, effects },
        suspect,
    }
}

fn report(departure: Departure, inprogress: &Inprogress, services: &Services) {
    let node = &inprogress.node;
    let Some(Suspect { job, deaths }) = departure.suspect else {
        return;
    };
    let (class, jid) = (job.class(), job.jid());
    match &departure.settlement.to {
        Target::Schedule(due) => {
            services.due_somewhere(due.at, services.now());
            log::warn!(class, %jid, deaths, %node, retry_at = %rfc3339(due.at), "processes died while they ran this job: it comes back later, alone");
        }
        Target::Dead { .. } => {
            log::error!(class, %jid, deaths, %node, outcome = "dead", "poison pill: processes died while they ran this job; moved to the dead set");
            let (queue, ending) = (&inprogress.queue, Ending::PoisonPill);
            services.tallies.ended(queue, Some(&job), ending);
            services.events.send(Event {
                at: services.now(),
                queue: Some(queue.clone()),
                job: Some(Arc::new(job)),
                what: EventKind::PoisonPillBuried {
                    node: node.clone(),
                    deaths,
                },
            });
        }
        Target::Ack | Target::Requeue | Target::Retry(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{job::HolderPlace, names::NodeId, storage::Effect};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;
    const DELAY: Duration = Duration::from_secs(60);

    fn inprogress() -> Inprogress {
        Inprogress {
            queue: "mailers".parse().unwrap(),
            node: NodeId::register("dead").unwrap(),
        }
    }

    fn job() -> Job {
        Job::new("Welcome", "elsewhere".parse().unwrap(), "[]".to_owned()).unwrap()
    }

    /// Where `job` goes, if it had 3 deaths and this verdict.
    fn departure(job: &Job, verdict: Option<Verdict>) -> Departure {
        let jid = job.jid().clone();
        let verdicts = Verdicts {
            deaths: HashMap::from([(jid.clone(), 3)]),
            verdicts: verdict.map(|verdict| (jid, verdict)).into_iter().collect(),
        };
        let held = job.clone().encode();
        leave(held, &inprogress(), &verdicts, &Config::default(), NOW)
    }

    #[test]
    fn a_job_that_nobody_suspects_goes_back_as_it_is() {
        let job = job();
        for verdict in [None, Some(Verdict::Requeue)] {
            let Departure {
                settlement,
                suspect,
            } = departure(&job, verdict);
            assert_eq!(settlement.to, Target::Requeue);
            assert_eq!(settlement.held, job.clone().encode());
            assert!(suspect.is_none());
        }
        let verdicts = Verdicts::default();
        let held = Bytes::from_static(b"no job");
        let departure = leave(held, &inprogress(), &verdicts, &Config::default(), NOW);
        assert_eq!(departure.settlement.to, Target::Requeue);
    }

    #[test]
    fn a_suspect_comes_back_later_without_an_attempt() {
        let departure = departure(&job(), Some(Verdict::Delay(DELAY)));
        let Target::Schedule(due) = departure.settlement.to else {
            panic!("{departure:?}");
        };
        let later = Job::decode(due.job).unwrap();
        assert_eq!(due.at, NOW + DELAY);
        assert_eq!(later.failures(), 0);
        assert_eq!(later.queue(), Some(&inprogress().queue));
        assert_eq!(departure.suspect.map(|suspect| suspect.deaths), Some(3));
    }

    // matrix: unique × poison
    #[test]
    fn a_unique_job_leaves_with_its_lock() {
        let mut job = job();
        job.set_verk(r#"{"u":{"d":"0000000000000000000000000000000a"}}"#);
        let effect = |verdict| departure(&job, verdict).settlement.effects.first().cloned();
        // In its queue, it has the place that its lock says.
        assert_eq!(effect(Some(Verdict::Requeue)), None);
        let moved = effect(Some(Verdict::Delay(DELAY)));
        let place = Some(HolderPlace::Scheduled(NOW + DELAY));
        assert!(
            matches!(&moved, Some(Effect::Relock { place: new, .. }) if *new == place),
            "{moved:?}"
        );
        let freed = effect(Some(Verdict::Bury));
        assert!(matches!(freed, Some(Effect::Unlock(_))), "{freed:?}");
    }

    #[test]
    fn a_poison_pill_is_buried_with_its_reason() {
        let departure = departure(&job(), Some(Verdict::Bury));
        let Target::Dead { job, limits } = departure.settlement.to else {
            panic!("{departure:?}");
        };
        let buried = Job::decode(job.job).unwrap();
        assert_eq!(job.at, NOW);
        assert_eq!(limits, Config::default().dead_limits());
        assert_eq!(buried.get("error_class"), Some(r#""PoisonPill""#));
        let message = buried.get("error_message").unwrap();
        assert!(message.contains("3 processes died"), "{message}");
    }
}
