//! Which task runs a job: one of its own, or one that runs short jobs in a row.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};

use crate::{client::Client, worker::workforce::Workforce};

/// How long short jobs take a task, one after the other, before the rest go on in tasks of their own: no longer than a task should run without an
/// await.
pub(crate) const IN_A_ROW: Duration = Duration::from_micros(200);

/// Runs jobs one after the other. One that waits for something goes on in a task of its own, and so do all that are left when the time is up.
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

/// Spawns what runs jobs, with the client at hand that they find.
pub(crate) fn spawn_in<T: Send + 'static>(
    client: &Client,
    run: impl Future<Output = T> + Send + 'static,
) {
    tokio::spawn(client.clone().scope(run));
}
