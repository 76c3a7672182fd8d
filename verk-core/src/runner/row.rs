//! Which task runs a job: one of its own, or one that runs short jobs one after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};

use crate::{client::Client, worker::workforce::Workforce};

/// How long one task runs short jobs one after the other. After that, each of the rest gets a task
/// of its own. A task should not run longer than this without an await.
pub(crate) const IN_A_ROW: Duration = Duration::from_micros(200);

/// Runs jobs one after the other. A job that waits for something continues in a task of its own. So
/// does each job that is left when the time is up.
pub(crate) async fn run_in_a_row(
    runs: Vec<BoxFuture<'static, Instant>>,
    workforce: Arc<Workforce>,
) {
    let until = workforce.services.clock.instant() + IN_A_ROW;
    let mut runs = runs.into_iter();
    for mut run in runs.by_ref() {
        // A run catches the panics of its job.
        match (&mut run).now_or_never() {
            Some(ended) if ended >= until => break,
            Some(_) => {}
            None => spawn_in(&workforce.client, run),
        }
    }
    for run in runs {
        spawn_in(&workforce.client, run);
    }
}

/// Spawns a future that runs jobs, with the client that these jobs find.
pub(crate) fn spawn_in<T: Send + 'static>(
    client: &Client,
    run: impl Future<Output = T> + Send + 'static,
) {
    tokio::spawn(client.clone().scope(run));
}
