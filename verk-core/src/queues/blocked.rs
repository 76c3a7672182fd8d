//! Finds jobs that keep their thread: such a job holds up whatever else waits for that thread.

use std::{sync::Arc, time::Duration};

use crate::{
    log,
    queues::{Queues, status::RunSnapshot},
    time::clock::{Clock, SystemClock},
};

/// How long a poll takes at least that is reported. One that takes less than twice as long may be
/// missed.
const TOO_LONG: Duration = Duration::from_secs(1);

/// Looks at what runs, again and again, and warns of each run that keeps its thread, once. Does not
/// end.
pub(crate) async fn watch(queues: Arc<Queues>) {
    // In real time, whatever the clock of a test says: so is the thread kept.
    let clock: &dyn Clock = &SystemClock;
    loop {
        clock.sleep(TOO_LONG).await;
        for RunSnapshot { job, queue, .. } in queues.blocked() {
            log::warn!(
                target: "verk::job",
                class = job.class(),
                jid = %job.jid(),
                %queue,
                attempt = job.failures().saturating_add(1),
                "a job keeps its thread for over a second without an `.await`, and holds up others: use `tokio::task::spawn_blocking`"
            );
        }
    }
}
