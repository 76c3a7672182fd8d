//! Finds jobs that keep their thread: such a job blocks everything else that waits for that thread.

use std::{sync::Arc, time::Duration};

use crate::{
    log,
    queues::{Queues, row, status::RunSnapshot},
    time::clock::{Clock, SystemClock},
};

/// The shortest poll that is reported. A poll of less than twice this time may be missed.
const TOO_LONG: Duration = Duration::from_secs(1);

/// Does both: warns of jobs that keep their thread, and parts the rows that they block. Does not
/// end.
pub(crate) async fn watch(queues: Arc<Queues>) {
    tokio::join!(warn(Arc::clone(&queues)), row::watch(queues));
}

/// Checks the running jobs, again and again, and warns of each run that keeps its thread, once.
/// Does not end.
async fn warn(queues: Arc<Queues>) {
    // In real time, also with the clock of a test, because the thread is kept in real time.
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
                "a job keeps its thread for over a second without an `.await`, and blocks others: use `tokio::task::spawn_blocking`"
            );
        }
    }
}
