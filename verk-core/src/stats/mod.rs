//! What was processed so far, and what waits: [`Stats`], [`QueueStats`] and [`DayStats`].

pub(crate) mod counters;
pub(crate) mod reporter;

pub use crate::{
    storage::DayStats,
    time::calendar::{Day, InvalidDay},
};

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use crate::{
    error::StorageError,
    job::Job,
    names::QueueName,
    queues::all::AllQueues,
    stats::counters::LiveCounters,
    storage::{Storage, StoredQueueStats},
};

/// The state of all queues and sets, and the counts of all programs that share the storage.
///
/// A run counts once its outcome is stored: as *processed* whether it succeeded or failed, and also
/// as *failed* if it failed, whatever comes next (a retry, the `dead` set or neither). A job that
/// its worker discarded is a run that succeeded. These do not count: a job that its worker snoozed,
/// that was handed back at shutdown or lost to another node, and a payload that is no job, which
/// Sidekiq does not count either.
///
/// Every node adds its counts every 10 seconds, and at shutdown. If a process is killed, the counts
/// that it had not added are lost.
///
/// `Display` and `Debug` show it in one line, with the queues in which jobs wait.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many runs ended, those that failed included.
    pub processed: u64,
    /// How many runs failed.
    pub failed: u64,
    /// How many jobs wait for their time in the `schedule` set.
    pub scheduled: usize,
    /// How many jobs failed and wait for their next try.
    pub retry: usize,
    /// How many jobs are in the `dead` set.
    pub dead: usize,
    /// Every known queue, by name.
    ///
    /// That is every queue that ever had a job from verk or from Sidekiq, and those that this node
    /// runs (if its [`Admin`](crate::manage::Admin) comes from a [`Verk`](crate::Verk)).
    pub queues: Vec<QueueStats>,
}

impl Stats {
    /// How many jobs wait in all queues.
    #[must_use]
    pub fn enqueued(&self) -> usize {
        self.queues.iter().map(|queue| queue.enqueued).sum()
    }

    /// The numbers of one queue.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&QueueStats> {
        self.queues
            .iter()
            .find(|stats| stats.queue.as_str() == name)
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            processed,
            failed,
            scheduled,
            retry,
            dead,
            queues,
        } = self;
        write!(
            f,
            "processed {processed}, failed {failed}, enqueued {}, scheduled {scheduled}, retry {retry}, dead {dead}",
            self.enqueued()
        )?;
        for stats in queues.iter().filter(|stats| stats.enqueued > 0) {
            let (queue, enqueued) = (&stats.queue, stats.enqueued);
            // Whole seconds, because people look for minutes and hours.
            let latency = Duration::from_secs(stats.latency.as_secs());
            let latency = humantime::format_duration(latency);
            write!(f, "; queue {queue}: {enqueued} for up to {latency}")?;
        }
        Ok(())
    }
}

/// The line of its `Display`.
impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stats({self})")
    }
}

/// The state of one queue, and the counts of its runs.
///
/// These counters are Verk's. Sidekiq has none for each queue, so they do not have the runs of
/// Ruby. A queue whose name is a day (`2025-01-01`) has no counters, because their keys are those
/// of that day.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// The queue.
    pub queue: QueueName,
    /// How many runs ended, those that failed included.
    pub processed: u64,
    /// How many runs failed.
    pub failed: u64,
    /// How many jobs wait in the queue.
    pub enqueued: usize,
    /// For how long the oldest of them has waited; zero if there is none, or if it has no time.
    pub latency: Duration,
}

/// The counts of one node since it was built, and its running jobs: see
/// [`Verk::live_stats`](crate::Verk::live_stats).
///
/// A run counts as in [`Stats`], at once. It does not have the counts of other nodes and of earlier
/// processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveStats {
    /// How many runs ended, those that failed included.
    pub processed: u64,
    /// How many runs failed.
    pub failed: u64,
    /// How many jobs run now.
    pub running: usize,
    /// Every queue that the node runs or ran a job of, by name.
    pub queues: Vec<LiveQueueStats>,
}

/// The counts of one node for a queue since the node was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveQueueStats {
    /// The queue.
    pub queue: QueueName,
    /// How many runs ended, those that failed included.
    pub processed: u64,
    /// How many runs failed.
    pub failed: u64,
    /// How many jobs run now.
    pub running: usize,
}

/// Whether a queue has counters of its own. If its name is a day, they would be those of the day.
pub(crate) fn has_counters(queue: &QueueName) -> bool {
    queue.as_str().parse::<Day>().is_err()
}

/// The queues that the storage knows, and `more` of them.
pub(crate) async fn read(
    storage: &dyn Storage,
    now: SystemTime,
    more: Vec<QueueName>,
) -> Result<Stats, StorageError> {
    let mut names = storage.queues().await?;
    names.extend(more);
    names.sort();
    names.dedup();
    let stored = storage.stats(&names).await?;
    let queues = names.into_iter().zip(stored.queues);
    Ok(Stats {
        processed: stored.processed,
        failed: stored.failed,
        scheduled: stored.scheduled,
        retry: stored.retry,
        dead: stored.dead,
        queues: queues
            .map(|(queue, stored)| of_queue(queue, stored, now))
            .collect(),
    })
}

pub(crate) fn live(counted: &LiveCounters, queues: &AllQueues) -> LiveStats {
    let counted = counted.by_queue();
    let mut running: BTreeMap<QueueName, usize> = BTreeMap::new();
    for queue in queues.names() {
        running.entry(queue).or_default();
    }
    for job in queues.running_jobs() {
        *running.entry(job.queue).or_default() += 1;
    }
    for queue in counted.keys() {
        running.entry(queue.clone()).or_default();
    }
    let mut stats = LiveStats::default();
    for (queue, running) in running {
        let counts = counted.get(&queue).copied().unwrap_or_default();
        let of_queue = LiveQueueStats {
            queue,
            processed: counts.processed(),
            failed: counts.failed,
            running,
        };
        stats.processed += of_queue.processed;
        stats.failed += of_queue.failed;
        stats.running += of_queue.running;
        stats.queues.push(of_queue);
    }
    stats
}

/// The last `days` days, today first.
pub(crate) async fn history(
    storage: &dyn Storage,
    now: SystemTime,
    days: usize,
) -> Result<Vec<DayStats>, StorageError> {
    let today = Day::of(now);
    let days: Vec<Day> = std::iter::successors(Some(today), |day| Some(day.previous()))
        .take(days)
        .collect();
    storage.day_stats(&days).await
}

fn of_queue(queue: QueueName, stored: StoredQueueStats, now: SystemTime) -> QueueStats {
    let counts = if has_counters(&queue) {
        stored.counts
    } else {
        Default::default()
    };
    QueueStats {
        queue,
        processed: counts.succeeded.saturating_add(counts.failed),
        failed: counts.failed,
        enqueued: stored.enqueued,
        latency: stored
            .oldest
            .and_then(|payload| Job::decode(payload).ok())
            .and_then(|job| job.enqueued_at().or_else(|| job.created_at()))
            .and_then(|since| now.duration_since(since).ok())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;

    use super::*;
    use crate::storage::Counts;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn latency(payload: &'static str) -> Duration {
        let stored = StoredQueueStats {
            counts: Counts::default(),
            enqueued: 1,
            oldest: Some(Bytes::from_static(payload.as_bytes())),
        };
        of_queue(QueueName::new("q").unwrap(), stored, at(1_700_000_100)).latency
    }

    #[test]
    fn latency_is_the_age_of_the_oldest() {
        let of = |second| Duration::from_secs(second);
        let seconds =
            r#"{"class":"A","jid":"1","args":[],"created_at":1.5,"enqueued_at":1700000090.0}"#;
        assert_eq!(latency(seconds), of(10));
        let milliseconds = r#"{"class":"A","jid":"1","args":[],"enqueued_at":1700000040000}"#;
        assert_eq!(latency(milliseconds), of(60));
        let created = r#"{"class":"A","jid":"1","args":[],"created_at":1700000099}"#;
        assert_eq!(latency(created), of(1));
        for unknown in [
            "not a job",
            r#"{"class":"A","jid":"1","args":[]}"#,
            r#"{"class":"A","jid":"1","args":[],"enqueued_at":1800000000.0}"#,
        ] {
            assert_eq!(latency(unknown), Duration::ZERO, "{unknown}");
        }
    }

    #[test]
    fn stats_are_shown_in_one_line() {
        let queue = |name: &str, enqueued, seconds: u64| {
            let queue = QueueName::new(name).unwrap();
            let stored = StoredQueueStats {
                counts: Counts::default(),
                enqueued,
                oldest: None,
            };
            QueueStats {
                latency: Duration::from_millis(seconds * 1000 + 999),
                ..of_queue(queue, stored, at(0))
            }
        };
        let stats = Stats {
            processed: 10,
            failed: 3,
            scheduled: 4,
            retry: 1,
            dead: 2,
            queues: vec![queue("default", 5, 3661), queue("idle", 0, 0)],
        };
        let line = "processed 10, failed 3, enqueued 5, scheduled 4, retry 1, dead 2; queue default: 5 for up to 1h 1m 1s";
        assert_eq!(stats.to_string(), line);
        assert_eq!(format!("{stats:?}"), format!("Stats({line})"));
        assert!(!format!("{stats:#?}").contains('\n'));
    }

    #[test]
    fn a_queue_that_is_called_like_a_day_has_no_counters() {
        let stored = StoredQueueStats {
            counts: Counts {
                succeeded: 7,
                failed: 3,
            },
            enqueued: 2,
            oldest: None,
        };
        let of = |name| of_queue(QueueName::new(name).unwrap(), stored.clone(), at(0));
        assert_eq!((of("q").processed, of("q").failed), (10, 3));
        let day = of("2025-01-01");
        assert_eq!((day.processed, day.failed, day.enqueued), (0, 0, 2));
    }
}
