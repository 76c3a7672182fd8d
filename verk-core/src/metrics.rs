//! Metrics, through the crate `metrics`: counts of what happens, and the state of the queues, which
//! is read again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    pin::pin,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tokio::task::unconstrained;

use crate::{
    error::StorageError,
    events::{
        Events,
        event::{Event, EventKind},
        tally::Tallies,
    },
    guard, log,
    names::QueueName,
    outcome::Ending,
    queues::status::QueueStatus,
    stats::{self, Stats},
    storage::{LockPage, Page, StoredCron},
    verk::{Verk, parts::Parts},
};

/// How many entries of the timetable have a time series of their own.
const MAX_ENTRIES: usize = 100;

impl Verk {
    /// Records metrics through the crate [`metrics`](https://docs.rs/metrics), from now on until
    /// this Verk is shut down. Pass the future to `tokio::spawn`. It reads the state of the queues
    /// from the storage every `every`, such as 15 s.
    ///
    /// Install a recorder first. Needs the feature `metrics`. The guide lists the metrics.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, it stops recording. It keeps no Verk alive.
    pub fn record_metrics(
        &self,
        every: Duration,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        record(
            self.parts().clone(),
            self.events(),
            every,
            Totals::begin(self.parts()),
            self.ended(),
        )
    }
}

/// Records until `ended` completes, and counts all `events` that were published by then.
async fn record(
    parts: Parts,
    mut events: Events,
    every: Duration,
    mut counted: Totals,
    ended: impl Future<Output = ()>,
) {
    guard::call(|| {
        describe();
        begin_timetable();
    });
    tokio::select! {
        biased;
        () = count(&mut events) => {}
        () = watch(&parts, every, &mut counted) => {}
        () = ended => {}
    }
    // Counts the events so far, and does not wait for more.
    let _ = unconstrained(pin!(count(&mut events))).now_or_never();
    guard::call(|| counted.record(&parts));
    guard::call(|| record_node(&parts, &mut BTreeSet::new()));
}

/// The numbers of jobs that the recorder has got so far.
struct Totals {
    ended: BTreeMap<(QueueName, String, Ending), u64>,
    enqueued: BTreeMap<QueueName, u64>,
    duplicates: BTreeMap<String, u64>,
}

impl Totals {
    /// Lets the node count from now on.
    ///
    /// The counters for alerts exist from the start, because a counter that is first seen as 1 did
    /// not increase.
    fn begin(parts: &Parts) -> Self {
        let Tallies {
            ended,
            enqueued,
            duplicates,
        } = &*parts.essentials.tallies;
        ended.begin();
        enqueued.begin();
        duplicates.begin();
        let counted = Self {
            ended: ended.read(),
            enqueued: enqueued.read(),
            duplicates: duplicates.read(),
        };
        for QueueStatus { name, .. } in parts.queues.statuses() {
            let workers = parts.first().workforce.registry.workers();
            for worker in workers.filter(|worker| worker.options().queue == name.as_str()) {
                for ending in Ending::OF_WORKERS {
                    ended.add(|| (name.clone(), worker.class().to_owned(), ending), 0);
                }
            }
            ended.add(|| (name.clone(), String::new(), Ending::Malformed), 0);
            enqueued.add(|| name.clone(), 0);
        }
        counted
    }

    /// Adds the counts since the last time.
    fn record(&mut self, parts: &Parts) {
        let Tallies {
            ended,
            enqueued,
            duplicates,
        } = &*parts.essentials.tallies;
        let before = mem::replace(&mut self.ended, ended.read());
        for (key, n) in &self.ended {
            let (queue, class, ending) = key;
            let new = n - before.get(key).unwrap_or(&0);
            let (queue, class) = (queue.to_string(), class.clone());
            counter!("verk_jobs_total", "queue" => queue, "class" => class, "outcome" => ending.label())
                .increment(new);
        }
        let before = mem::replace(&mut self.enqueued, enqueued.read());
        for (queue, n) in &self.enqueued {
            let new = n - before.get(queue).unwrap_or(&0);
            counter!("verk_jobs_enqueued_total", "queue" => queue.to_string()).increment(new);
        }
        let before = mem::replace(&mut self.duplicates, duplicates.read());
        for (class, n) in &self.duplicates {
            let new = n - before.get(class).unwrap_or(&0);
            counter!("verk_unique_conflicts_total", "class" => class.clone()).increment(new);
        }
    }
}

/// Counts events, until the Verk is gone.
async fn count(events: &mut Events) {
    while let Some(event) = events.recv().await {
        guard::call(|| match event {
            Ok(event) => count_event(&event),
            Err(lagged) => counter!("verk_events_missed_total").increment(lagged.0),
        });
    }
}

fn count_event(event: &Event) {
    let queue = || {
        let queue = event.queue.as_ref();
        queue.map_or_else(String::new, ToString::to_string)
    };
    match &event.what {
        EventKind::JobFinished { took, .. }
        | EventKind::JobFailed { took, .. }
        | EventKind::JobSnoozed { took, .. }
        | EventKind::JobDiscarded { took, .. } => {
            let class = event.job.as_ref().map_or("", |job| job.class()).to_owned();
            histogram!("verk_job_seconds", "queue" => queue(), "class" => class).record(*took);
        }
        EventKind::CronTicked { .. } => counter!("verk_cron_runs_total").increment(1),
        EventKind::CronMissed { missed, .. } => {
            counter!("verk_cron_missed_total").increment(*missed);
        }
        EventKind::CronSkipped { .. } => counter!("verk_cron_skipped_total").increment(1),
        EventKind::JobMerged => counter!("verk_jobs_merged_total").increment(1),
        EventKind::ReplyLost { .. } => counter!("verk_replies_lost_total").increment(1),
        EventKind::JobsRestored { count, .. } => {
            counter!("verk_jobs_restored_total").increment(*count as u64);
        }
        EventKind::NodeLost { .. } => counter!("verk_nodes_lost_total").increment(1),
        EventKind::BatchSettled { jobs, took } => {
            histogram!("verk_settle_batch_jobs", "queue" => queue()).record(*jobs as f64);
            histogram!("verk_settle_seconds", "queue" => queue()).record(*took);
        }
        // Ended jobs are counted from their outcomes.
        _ => {}
    }
}

/// Reads the state of the queues again and again, forever.
async fn watch(parts: &Parts, every: Duration, counted: &mut Totals) {
    let essentials = &parts.essentials;
    let (mut here, mut known) = (BTreeSet::new(), BTreeSet::new());
    let mut entries = BTreeSet::new();
    loop {
        let next = essentials.clock.instant_in(every);
        guard::call(|| counted.record(parts));
        guard::call(|| record_node(parts, &mut here));
        let storage = &*essentials.storage;
        let first = |limit| Page { offset: 0, limit };
        let read = async {
            let stats = stats::read(storage, essentials.now(), parts.queues.names()).await?;
            let due = storage.cron_entries(first(MAX_ENTRIES)).await?;
            let locks = storage.locks(first(1)).await?;
            Ok::<_, StorageError>((stats, due, locks))
        };
        match read.await {
            Ok((stats, due, locks)) => {
                guard::call(|| {
                    record_stats(&stats, &mut known);
                    record_timetable(&due, essentials.now(), &mut entries);
                    record_locks(&locks);
                });
            }
            Err(error) => {
                log::warn!(
                    error = %error,
                    "cannot read the statistics: the metrics of queues and sets stay as they are"
                );
            }
        }
        essentials.clock.sleep_until(next).await;
    }
}

/// Records the metrics of this node. `before` are the queues of the last time: those that the node
/// does not run any more are set to 0.
fn record_node(parts: &Parts, before: &mut BTreeSet<QueueName>) {
    let lost = parts.essentials.storage.lost_connections();
    counter!("verk_connections_lost_total").absolute(lost);
    let queues = parts.queues.statuses();
    let now = queues.iter().map(|queue| queue.name.clone()).collect();
    for gone in mem::replace(before, now).difference(before) {
        set_node(gone, 0, 0);
    }
    for queue in queues {
        set_node(&queue.name, queue.running, queue.concurrency);
    }
}

fn set_node(queue: &QueueName, running: usize, concurrency: usize) {
    gauge!("verk_jobs_running", "queue" => queue.to_string()).set(running as f64);
    gauge!("verk_queue_concurrency", "queue" => queue.to_string()).set(concurrency as f64);
}

/// Records the metrics of the storage. `before` are the queues of the last time: those that do not
/// exist any more are set to 0.
fn record_stats(stats: &Stats, before: &mut BTreeSet<QueueName>) {
    let now = stats.queues.iter().map(|queue| queue.queue.clone());
    let now = now.collect();
    for gone in mem::replace(before, now).difference(before) {
        set_queue(gone, 0, Duration::ZERO);
    }
    for queue in &stats.queues {
        set_queue(&queue.queue, queue.enqueued, queue.latency);
    }
    for (set, size) in [
        ("schedule", stats.scheduled),
        ("retry", stats.retry),
        ("dead", stats.dead),
    ] {
        gauge!("verk_set_jobs", "set" => set).set(size as f64);
    }
}

fn set_queue(queue: &QueueName, enqueued: usize, latency: Duration) {
    gauge!("verk_queue_jobs", "queue" => queue.to_string()).set(enqueued as f64);
    gauge!("verk_queue_latency_seconds", "queue" => queue.to_string()).set(latency.as_secs_f64());
}

/// The counters for alerts exist from the start.
fn begin_timetable() {
    counter!("verk_cron_runs_total").increment(0);
    counter!("verk_cron_missed_total").increment(0);
    counter!("verk_cron_skipped_total").increment(0);
}

/// Records how late the entries are that are `due` first. `names` are those that have a time series
/// of their own: the first ones that were seen. All others have one together.
fn record_timetable(due: &[StoredCron], now: SystemTime, names: &mut BTreeSet<String>) {
    let mut others = None;
    let mut late = BTreeMap::new();
    for entry in due {
        let next = entry.next.and_then(|next| now.duration_since(next).ok());
        let lag = next.unwrap_or_default();
        if names.len() < MAX_ENTRIES {
            names.insert(entry.name.clone());
        }
        if names.contains(&entry.name) {
            late.insert(&*entry.name, lag);
        } else {
            others = others.max(Some(lag));
        }
    }
    // Those that are not among the first are not due, or gone.
    for name in names.iter() {
        set_lag(name, late.get(&**name).copied().unwrap_or_default());
    }
    if names.len() >= MAX_ENTRIES {
        set_lag("", others.unwrap_or_default());
    }
}

fn set_lag(name: &str, lag: Duration) {
    gauge!("verk_cron_lag_seconds", "name" => name.to_owned()).set(lag.as_secs_f64());
}

fn record_locks(locks: &LockPage) {
    gauge!("verk_unique_locks").set(locks.len as f64);
}

fn describe() {
    use Unit::{Count, Seconds};
    describe_counter!(
        "verk_jobs_total",
        Count,
        "Jobs that ended here, by their outcome"
    );
    describe_counter!(
        "verk_jobs_enqueued_total",
        Count,
        "Jobs that this program enqueued"
    );
    describe_counter!(
        "verk_unique_conflicts_total",
        Count,
        "Jobs that were not stored because another one held their unique lock"
    );
    describe_counter!(
        "verk_cron_runs_total",
        Count,
        "Runs of the timetable that this node enqueued"
    );
    describe_counter!(
        "verk_cron_missed_total",
        Count,
        "Runs of the timetable that no node took in time, found by this node"
    );
    describe_counter!(
        "verk_cron_skipped_total",
        Count,
        "Runs of the timetable that enqueued nothing, because another job had their lock"
    );
    describe_gauge!(
        "verk_cron_lag_seconds",
        Seconds,
        "For how long the next run of the entry is due, and nobody took it"
    );
    describe_gauge!("verk_unique_locks", Count, "Locks of unique jobs");
    describe_histogram!("verk_job_seconds", Seconds, "How long runs took");
    describe_counter!(
        "verk_jobs_merged_total",
        Count,
        "Jobs that equalled a member of the set that they went to"
    );
    describe_counter!(
        "verk_jobs_restored_total",
        Count,
        "Jobs of dead nodes that this node put back"
    );
    describe_counter!(
        "verk_replies_lost_total",
        Count,
        "Changes of which nobody knew whether they were made"
    );
    describe_histogram!(
        "verk_settle_batch_jobs",
        Count,
        "How many outcomes were stored at once"
    );
    describe_histogram!(
        "verk_settle_seconds",
        Seconds,
        "How long storing outcomes took"
    );
    describe_counter!(
        "verk_events_missed_total",
        Count,
        "Events that these metrics missed"
    );
    describe_counter!(
        "verk_connections_lost_total",
        Count,
        "Connections to the storage that ended"
    );
    describe_gauge!("verk_jobs_running", Count, "Jobs that run on this node");
    describe_gauge!(
        "verk_queue_concurrency",
        Count,
        "How many jobs may run at once on this node"
    );
    describe_gauge!("verk_queue_jobs", Count, "Jobs that wait in the queue");
    describe_gauge!(
        "verk_queue_latency_seconds",
        Seconds,
        "How long the oldest job of the queue has waited"
    );
    describe_gauge!(
        "verk_set_jobs",
        Count,
        "Jobs in the schedule, retry or dead set"
    );
}
