//! Reads what all pages show, at most once a second: [`Poller`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, watch};
use verk_core::{
    StorageError,
    manage::{Admin, Overview, QueueOverview},
};

use super::{
    figures::Figures,
    history::{History, Rates},
};

/// How old figures may be.
const EVERY: Duration = Duration::from_secs(1);

/// How many browsers get figures pushed. Further ones show those of the time when they loaded.
const MAX_VIEWERS: usize = 100;

/// The figures of one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// When they were read, by the storage's time of day.
    pub(crate) at: Option<SystemTime>,
    pub(crate) overview: Overview,
    pub(crate) rates: Rates,
    /// The same as texts.
    pub(crate) figures: Figures,
}

impl Snapshot {
    /// A queue that some program knows.
    pub(crate) fn queue(&self, name: &str) -> Option<&QueueOverview> {
        let mut queues = self.overview.queues.iter();
        queues.find(|queue| queue.queue.as_str() == name)
    }
}

/// Reads the figures of one storage.
#[derive(Debug)]
pub(crate) struct Poller {
    admin: Admin,
    newest: Mutex<Option<Newest>>,
    /// How many actions there were: figures from before an action are old.
    actions: AtomicU64,
    /// What was read before. Who holds it reads; the others wait for the result.
    history: Turn<History>,
    viewers: AtomicUsize,
    pushed: watch::Sender<Arc<Snapshot>>,
}

/// The newest figures.
#[derive(Clone, Debug)]
struct Newest {
    /// When they were read, by the clock of this process.
    read: Instant,
    /// How many actions there were when the read began.
    actions: u64,
    snapshot: Arc<Snapshot>,
}

impl Poller {
    pub(crate) fn new(admin: Admin) -> Self {
        Self {
            admin,
            newest: Mutex::default(),
            actions: AtomicU64::new(0),
            history: Turn::default(),
            viewers: AtomicUsize::new(0),
            pushed: watch::Sender::default(),
        }
    }

    /// The figures, at most a second old.
    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>, StorageError> {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let mut history = self.history.lock().await;
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let actions = self.actions.load(Ordering::Acquire);
        let overview = self.admin.overview().await?;
        let at = self.admin.now();
        history.add(at, &overview);
        let rates = history.rates();
        let snapshot = Arc::new(Snapshot {
            at: Some(at),
            figures: Figures::of(at, &overview, &rates, &history),
            overview,
            rates,
        });
        let read = self.admin.clock().instant();
        *self.newest.lock() = Some(Newest {
            read,
            actions,
            snapshot: Arc::clone(&snapshot),
        });
        Ok(snapshot)
    }

    fn fresh(&self) -> Option<Arc<Snapshot>> {
        let newest = self.newest.lock();
        let newest = newest.as_ref()?;
        let now = self.admin.clock().instant();
        let is_new = now.saturating_duration_since(newest.read) < EVERY;
        let is_current = newest.actions == self.actions.load(Ordering::Acquire);
        (is_new && is_current).then(|| Arc::clone(&newest.snapshot))
    }

    /// Notes that a visitor changed something: the next page shows what came of it.
    pub(crate) fn acted(&self) {
        self.actions.fetch_add(1, Ordering::AcqRel);
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
