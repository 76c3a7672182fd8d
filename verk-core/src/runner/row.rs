//! Which task runs a job: one of its own, or one that runs short jobs one after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};

use crate::{client::Client, time::clock::Clock, worker::workforce::Workforce};

/// How long one task runs short jobs one after the other. After that, each of the rest gets a task
/// of its own. A task should not run longer than this without an await.
pub(crate) const IN_A_ROW: Duration = Duration::from_micros(200);

/// A run that has started: returns when it ended. It catches the panics of its job.
pub(crate) type StartedRun = BoxFuture<'static, Instant>;

/// Runs jobs that have started, each in a task of its own. If they are `short`, a task costs more
/// than a job: then one task runs them one after the other, as long as each ends at once.
pub(crate) fn spawn(started: &mut Vec<StartedRun>, short: bool, workforce: &Arc<Workforce>) {
    let client = &workforce.reach.client;
    if short && started.len() > 1 {
        let room = Vec::with_capacity(started.len());
        let (runs, workforce) = (std::mem::replace(started, room), Arc::clone(workforce));
        spawn_in(client, async move {
            let clock = &*workforce.services.clock;
            run_in_a_row(runs, clock, |run| spawn_in(&workforce.reach.client, run));
        });
    } else {
        for run in started.drain(..) {
            spawn_in(client, run);
        }
    }
}

/// Runs jobs one after the other. A job that waits for something continues in a task of its own. So
/// does each job that is left when the time is up.
fn run_in_a_row(runs: Vec<StartedRun>, clock: &dyn Clock, spawn: impl Fn(StartedRun)) {
    let until = clock.instant() + IN_A_ROW;
    let mut runs = runs.into_iter();
    for mut run in runs.by_ref() {
        match (&mut run).now_or_never() {
            Some(ended) if ended >= until => break,
            Some(_) => {}
            None => spawn(run),
        }
    }
    runs.for_each(spawn);
}

/// Spawns a future that runs jobs, with the client that these jobs find.
fn spawn_in<T: Send + 'static>(client: &Client, run: impl Future<Output = T> + Send + 'static) {
    tokio::spawn(client.clone().scope(run));
}

#[cfg(test)]
mod tests;
