//! Reads what all pages show, at most once a second: [`Poller`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, watch};
use verk_core::{
    StorageError,
    manage::{Admin, Process, QueueOverview},
    stats::Stats,
};

use super::history::History;

/// How old figures may be.
const EVERY: Duration = Duration::from_secs(1);

/// How many browsers get figures pushed. Further ones show those of the time when they loaded.
const MAX_VIEWERS: usize = 100;

/// The figures of one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// When they were read, by the storage's time of day.
    pub(crate) at: Option<SystemTime>,
    pub(crate) stats: Stats,
    /// Every queue, by name.
    pub(crate) queues: Vec<QueueOverview>,
    pub(crate) processes: Vec<Process>,
    /// What came before.
    pub(crate) history: Arc<History>,
}

/// Reads the figures of one storage.
#[derive(Debug)]
pub(crate) struct Poller {
    admin: Admin,
    /// The newest figures, and when they were read, by the clock of this process.
    newest: Mutex<Option<(std::time::Instant, Arc<Snapshot>)>>,
    /// Who reads; the others wait for the result.
    turn: Turn<()>,
    viewers: AtomicUsize,
    pushed: watch::Sender<Arc<Snapshot>>,
}

impl Poller {
    pub(crate) fn new(admin: Admin) -> Self {
        Self {
            admin,
            newest: Mutex::default(),
            turn: Turn::default(),
            viewers: AtomicUsize::new(0),
            pushed: watch::Sender::default(),
        }
    }

    /// The figures, at most a second old.
    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>, StorageError> {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let _turn = self.turn.lock().await;
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let (stats, queues, processes) = tokio::try_join!(
            self.admin.stats(),
            self.admin.queues(),
            self.admin.processes()
        )?;
        let at = self.admin.now();
        let before = self.newest.lock().clone();
        let history = before.map_or_else(History::default, |(_, before)| {
            History::clone(&before.history)
        });
        let snapshot = Arc::new(Snapshot {
            at: Some(at),
            history: Arc::new(history.with(at, &stats, &queues)),
            stats,
            queues,
            processes,
        });
        let read = self.admin.clock().instant();
        *self.newest.lock() = Some((read, Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    fn fresh(&self) -> Option<Arc<Snapshot>> {
        let newest = self.newest.lock();
        let (read, snapshot) = newest.as_ref()?;
        let age = self
            .admin
            .clock()
            .instant()
            .saturating_duration_since(*read);
        (age < EVERY).then(|| Arc::clone(snapshot))
    }

    /// Pushes figures to a browser as long as it keeps the result; `None` if too many look.
    pub(crate) fn watch(self: &Arc<Self>) -> Option<Viewer> {
        let more = |viewers| (viewers < MAX_VIEWERS).then_some(viewers + 1);
        let order = Ordering::AcqRel;
        let before = self
            .viewers
            .fetch_update(order, Ordering::Acquire, more)
            .ok()?;
        let viewer = Viewer {
            poller: Arc::clone(self),
            figures: self.pushed.subscribe(),
        };
        if before == 0 {
            tokio::spawn(Arc::clone(self).run());
        }
        Some(viewer)
    }

    /// Reads until nobody looks. An error is shown by the pages; here, the next second tries again.
    async fn run(self: Arc<Self>) {
        while self.viewers.load(Ordering::Acquire) > 0 {
            if let Ok(snapshot) = self.snapshot().await {
                self.pushed.send_replace(snapshot);
            }
            self.admin.clock().sleep(EVERY).await;
        }
    }
}

/// A browser that gets figures pushed.
#[derive(Debug)]
pub(crate) struct Viewer {
    poller: Arc<Poller>,
    pub(crate) figures: watch::Receiver<Arc<Snapshot>>,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.poller.viewers.fetch_sub(1, Ordering::AcqRel);
    }
}
