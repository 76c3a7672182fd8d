//! Metrics, through the crate `metrics`: what happens is counted, and the state of the queues is read again and again.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures_util::FutureExt;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tokio::task::unconstrained;

use crate::{
    events::{Events, event::Event},
    guard,
    job::Job,
    log,
    names::QueueName,
    stats::{self, Stats},
    verk::{Verk, parts::Parts},
};

impl Verk {
    /// Records metrics through the crate [`metrics`](https://docs.rs/metrics), from now on until this Verk is shut down: for
    /// `tokio::spawn`. The state of the queues is read from the storage every `every`, such as 15 s.
    ///
    /// Install a recorder first. Needs the feature `metrics`. The guide lists the metrics.
    ///
    /// # Cancel safety
    ///
    /// Records no more when the future is dropped. It keeps no Verk alive.
    pub fn record_metrics(
        &self,
        every: Duration,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        record(self.parts().clone(), self.events(), every, self.ended())
    }
}

/// Records until `ended` completes, and counts all of `events` that were told by then.
async fn record(
    parts: Parts,
    mut events: Events,
    every: Duration,
    ended: impl Future<Output = ()>,
) {
    guard::call(describe);
    tokio::select! {
        biased;
        () = count(&mut events) => {}
        () = watch(&parts, every) => {}
        () = ended => {}
    }
    // Counts what is there already, and does not wait for more.
    let _ = unconstrained(pin!(count(&mut events))).now_or_never();
    guard::call(|| record_node(&parts, &mut BTreeSet::new()));
}

/// Counts what is told, until the Verk is gone.
async fn count(events: &mut Events) {
    while let Some(event) = events.recv().await {
        guard::call(|| match event {
            Ok(event) => count_event(&event),
            Err(lagged) => counter!("verk_events_missed_total").increment(lagged.0),
        });
    }
}

fn count_event(event: &Event) {
    match event {
        Event::JobFinished {
            job, queue, took, ..
        } => count_run(job, queue, *took, "finished"),
        Event::JobFailed {
            job, queue, took, ..
        } => count_run(job, queue, *took, "failed"),
        Event::JobSnoozed {
            job, queue, took, ..
        } => count_run(job, queue, *took, "snoozed"),
        Event::JobDiscarded {
            job, queue, took, ..
        } => count_run(job, queue, *took, "discarded"),
        Event::JobMalformed { queue, .. } => count_one("verk_jobs_malformed_total", queue),
        Event::JobHandedBack { queue, .. } => count_one("verk_jobs_handed_back_total", queue),
        Event::JobLost { queue, .. } => count_one("verk_jobs_lost_total", queue),
        Event::JobMerged { .. } => counter!("verk_jobs_merged_total").increment(1),
        Event::ReplyLost { .. } => counter!("verk_replies_lost_total").increment(1),
        Event::JobsRestored { count, .. } => {
            counter!("verk_jobs_restored_total").increment(*count as u64);
        }
        Event::PoisonPillBuried { .. } => counter!("verk_poison_pills_total").increment(1),
        Event::NodeLost { .. } => counter!("verk_nodes_lost_total").increment(1),
        Event::BatchSettled {
            queue, jobs, took, ..
        } => {
            let queue = queue.to_string();
            histogram!("verk_settle_batch_jobs", "queue" => queue.clone()).record(*jobs as f64);
            histogram!("verk_settle_seconds", "queue" => queue).record(*took);
        }
        Event::JobStarted { .. }
        | Event::QueueRunning { .. }
        | Event::QueuePausing { .. }
        | Event::QueuePaused { .. }
        | Event::NodeRegistered { .. }
        | Event::ClockSkewed { .. } => {}
    }
}

fn count_run(job: &Job, queue: &QueueName, took: Duration, outcome: &'static str) {
    let (queue, class) = (queue.to_string(), job.class().to_owned());
    counter!("verk_jobs_total", "queue" => queue.clone(), "class" => class.clone(), "outcome" => outcome)
        .increment(1);
    histogram!("verk_job_seconds", "queue" => queue, "class" => class).record(took);
}

fn count_one(name: &'static str, queue: &QueueName) {
    counter!(name, "queue" => queue.to_string()).increment(1);
}

/// Reads the state of the queues again and again, for ever.
async fn watch(parts: &Parts, every: Duration) {
    let (mut here, mut known) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let next = parts.services.clock.instant_in(every);
        guard::call(|| record_node(parts, &mut here));
        match stats::read(&parts.services, &parts.queues).await {
            Ok(stats) => {
                guard::call(|| record_stats(&stats, &mut known));
            }
            Err(error) => {
                log::warn!(
                    error = %error,
                    "cannot read the statistics: the metrics of queues and sets stay as they are"
                );
            }
        }
        parts.services.clock.sleep_until(next).await;
    }
}

/// Records what this node does. `before` are the queues of the last time: those that are gone have nothing any more.
fn record_node(parts: &Parts, before: &mut BTreeSet<QueueName>) {
    let lost = parts.services.storage.lost_connections();
    counter!("verk_connections_lost_total").absolute(lost);
    let queues = parts.queues.statuses();
    let now = queues.iter().map(|queue| queue.name.clone()).collect();
    for gone in std::mem::replace(before, now).difference(before) {
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

/// Records what the storage holds. `before` are the queues of the last time: those that are gone have nothing any more.
fn record_stats(stats: &Stats, before: &mut BTreeSet<QueueName>) {
    let now = stats.queues.iter().map(|queue| queue.queue.clone());
    let now = now.collect();
    for gone in std::mem::replace(before, now).difference(before) {
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

fn describe() {
    use Unit::{Count, Seconds};
    describe_counter!(
        "verk_jobs_total",
        Count,
        "Runs that ended, by their outcome"
    );
    describe_histogram!("verk_job_seconds", Seconds, "How long runs took");
    describe_counter!(
        "verk_jobs_malformed_total",
        Count,
        "Payloads that are no jobs"
    );
    describe_counter!(
        "verk_jobs_handed_back_total",
        Count,
        "Jobs that went back to the front of their queue"
    );
    describe_counter!(
        "verk_jobs_lost_total",
        Count,
        "Outcomes without effect: the job was not this node's any more"
    );
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
