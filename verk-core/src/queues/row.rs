//! Short runs that one task polls one after the other: [`Row`].
//!
//! A run that blocks its thread would block the runs behind it, and the manager, which takes the
//! outcomes of a row when the row is done. No task of the runtime can help: it may wait for the
//! same thread. So a thread that no job can block looks at the rows, and parts one that is still in
//! the same poll: the rest of it gets tasks.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
    vec,
};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    queues::Queues,
    time::clock::{Clock, SystemClock},
    worker::polls::{PollTime, Polls, Seen},
};

/// A run that has started: its future returns when it ended, and catches the panics of its job.
pub(crate) struct StartedRun {
    pub(crate) run: BoxFuture<'static, Instant>,
    /// How long the runs of its class keep their thread.
    pub(crate) recent: Arc<PollTime>,
}

/// Runs that one task polls, oldest first.
pub(crate) struct Row {
    rest: Mutex<vec::IntoIter<StartedRun>>,
    polls: Polls,
    seen: Mutex<Seen>,
    part: Part,
}

/// What becomes of the rest of a row that is blocked. It is called on another thread.
pub(crate) type Part = Arc<dyn Fn(Vec<StartedRun>) + Send + Sync>;

impl Row {
    pub(crate) fn new(runs: Vec<StartedRun>, part: Part) -> Self {
        Self {
            rest: Mutex::new(runs.into_iter()),
            polls: Polls::default(),
            seen: Mutex::default(),
            part,
        }
    }

    /// Polls each run once, as long as there is time. A run that waits for something gets a task,
    /// and so does each run that is left then.
    pub(crate) fn run(&self, clock: &dyn Clock, most: Duration, spawn: impl Fn(StartedRun)) {
        let mut begun = clock.instant();
        let until = begun + most;
        while let Some(mut started) = self.next() {
            match self.polls.during(|| (&mut started.run).now_or_never()) {
                None => spawn(started),
                Some(ended) => {
                    started.recent.took(ended.saturating_duration_since(begun));
                    begun = ended;
                    if ended >= until {
                        break;
                    }
                }
            }
        }
        self.take_rest().into_iter().for_each(spawn);
    }

    fn next(&self) -> Option<StartedRun> {
        self.rest.lock().next()
    }

    fn take_rest(&self) -> Vec<StartedRun> {
        self.rest.lock().by_ref().collect()
    }

    /// Parts the row if it is in the same poll as at the last call.
    pub(crate) fn part_if_blocked(&self) {
        if self.seen.lock().look(&self.polls) {
            (self.part)(self.take_rest());
        }
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.rest.lock().len();
        f.debug_struct("Row")
            .field("left", &left)
            .finish_non_exhaustive()
    }
}

/// How many rows began, for the thread that watches them. It sleeps while none does.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    begun: AtomicU64,
    are_watched: AtomicBool,
    watch: Notify,
}

impl Rows {
    /// A row begins.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if !self.are_watched.load(Ordering::SeqCst) {
            self.watch.notify_one();
        }
    }

    /// Waits until more than `seen` rows have begun.
    async fn until_more_than(&self, seen: u64) {
        self.are_watched.store(false, Ordering::SeqCst);
        // One that begins now calls, and one that began before that is counted.
        while self.begun() == seen {
            self.watch.notified().await;
        }
        self.are_watched.store(true, Ordering::SeqCst);
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }
}

/// How often the rows are checked. A row is blocked for no longer than twice this time.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// After so many looks without a new row, none is watched until one begins.
const QUIET_LOOKS: u32 = 100;

/// Parts rows that are blocked. Does not end.
pub(crate) async fn watch(queues: Arc<Queues>) {
    // In real time, also with the clock of a test, because a thread is kept in real time.
    let clock: &dyn Clock = &SystemClock;
    let mut seen = 0;
    loop {
        queues.rows.until_more_than(seen).await;
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            clock.sleep(LOOK_EVERY).await;
            queues.part_rows_blocked();
            let begun = queues.rows.begun();
            quiet = if begun == seen { quiet + 1 } else { 0 };
            seen = begun;
        }
    }
}

#[cfg(test)]
mod tests;
