//! Which task runs a job: one of its own, or one that runs short jobs one after the other.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use crate::{
    client::Client,
    queues::{
        handle::ManagerHandle,
        row::{Part, Row, StartedRun},
    },
    runner::ends::Ends,
    worker::workforce::Workforce,
};

/// How long one task runs short jobs one after the other. After that, each of the rest gets a task
/// of its own. A task should not run longer than this without an await.
const IN_A_ROW: Duration = Duration::from_micros(200);

/// Gives tasks to the jobs that have started.
pub(super) struct Tasks {
    workforce: Arc<Workforce>,
    handle: Arc<ManagerHandle>,
    ends: Arc<Ends>,
    /// What becomes of a row that is blocked; `None` before the first row.
    part: Option<Part>,
}

impl Tasks {
    pub(super) fn new(
        workforce: Arc<Workforce>,
        handle: Arc<ManagerHandle>,
        ends: Arc<Ends>,
    ) -> Self {
        Self {
            workforce,
            handle,
            ends,
            part: None,
        }
    }

    /// Runs jobs that have started, each in a task of its own. If the queue is `busy` with short
    /// jobs, a task costs more than a job: then one task runs those whose class ends at once, one
    /// after the other.
    ///
    /// Returns whether another thread must be woken. The runtime wakes one for two tasks, but not
    /// for one: the thread of the caller runs that next. If it is long, nobody reads the sockets
    /// meanwhile.
    #[must_use]
    pub(super) fn spawn(&mut self, started: &mut Vec<StartedRun>, busy: bool) -> bool {
        if !busy || started.len() == 1 || self.ends.in_a_row() {
            let is_alone = started.len() == 1 && !started[0].recent.is_short();
            for run in started.drain(..) {
                spawn(&self.workforce, run);
            }
            return is_alone;
        }
        let mut row = Vec::with_capacity(started.len());
        for run in started.drain(..) {
            if run.recent.is_short() {
                row.push(run);
            } else {
                spawn(&self.workforce, run);
            }
        }
        if !row.is_empty() {
            self.spawn_row(row);
        }
        false
    }

    /// Runs jobs that have started in one task, one after the other. The manager is woken when the
    /// last has ended or waits.
    pub(super) fn spawn_row(&mut self, runs: Vec<StartedRun>) {
        let part = self.part.get_or_insert_with(|| {
            let (workforce, ends) = (Arc::clone(&self.workforce), Arc::clone(&self.ends));
            let runtime = Handle::current();
            Arc::new(move |rest| {
                let _runtime = runtime.enter();
                for run in rest {
                    spawn(&workforce, run);
                }
                ends.end_row();
            })
        });
        let row = Arc::new(Row::new(runs, Arc::clone(part)));
        self.handle.begin_row(Arc::clone(&row));
        self.ends.begin_row();
        let (end, workforce) = (
            EndOfRow(Arc::clone(&self.ends)),
            Arc::clone(&self.workforce),
        );
        spawn_in(&self.workforce.reach.client, async move {
            let _end = end;
            let clock = &*workforce.services.clock;
            row.run(clock, IN_A_ROW, |run| spawn(&workforce, run));
        });
    }
}

/// Lets the manager take the ends of a row when it is dropped.
struct EndOfRow(Arc<Ends>);

impl Drop for EndOfRow {
    fn drop(&mut self) {
        self.0.end_row();
    }
}

/// Gives a job a task of its own.
fn spawn(workforce: &Arc<Workforce>, StartedRun { run, recent }: StartedRun) {
    let services = Arc::clone(&workforce.services);
    spawn_in(&workforce.reach.client, async move {
        let began = services.clock.instant();
        let ended = run.await;
        recent.took(ended.saturating_duration_since(began));
    });
}

/// Spawns a future that runs jobs, with the client that these jobs find.
fn spawn_in<T: Send + 'static>(client: &Client, run: impl Future<Output = T> + Send + 'static) {
    tokio::spawn(client.clone().scope(run));
}
