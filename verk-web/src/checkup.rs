//! The doctor's findings, for its page, the banners of the overview and the API: [`Checkups`].

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use tokio::sync::watch;
use verk_core::{doctor::Report, manage::Admin};

/// How old findings may be before a visitor's request asks for new ones.
const EVERY: Duration = Duration::from_secs(60);

/// How long a request waits for the findings that it asked for.
const PATIENCE: Duration = Duration::from_millis(300);

/// How many jobs of each place are checked: with 500 queues, more would cost the server tens of
/// milliseconds.
const JOBS: usize = 10;

/// What the doctor found, and when.
#[derive(Clone, Debug)]
pub(crate) struct Checkup {
    pub(crate) report: Arc<Report>,
    pub(crate) at: SystemTime,
}

/// Examines one storage, at most once a minute, and only while somebody looks.
#[derive(Debug)]
pub(crate) struct Checkups {
    admin: Admin,
    /// When the last examination began.
    began: Mutex<Option<Instant>>,
    newest: watch::Sender<Option<Checkup>>,
}

impl Checkups {
    pub(crate) fn new(admin: Admin) -> Self {
        Self {
            admin,
            began: Mutex::default(),
            newest: watch::Sender::default(),
        }
    }

    /// The last findings. Starts an examination if they are old, and waits for it, but not for
    /// long.
    pub(crate) async fn newest(self: &Arc<Self>) -> Option<Checkup> {
        let clock = self.admin.clock();
        let now = clock.instant();
        let due = {
            let mut began = self.began.lock();
            let fresh = |began: Instant| now.saturating_duration_since(began) < EVERY;
            let due = !began.is_some_and(fresh);
            if due {
                *began = Some(now);
            }
            due
        };
        let mut newest = self.newest.subscribe();
        if due {
            tokio::spawn(Arc::clone(self).examine());
        }
        let mut wait = async || {
            if due {
                // Nothing is lost if the sender is gone.
                let _ = newest.changed().await;
            }
        };
        clock.timeout(PATIENCE, wait()).await;
        self.newest.borrow().clone()
    }

    /// A failure is shown by the pages, which cannot read the storage either. After one, the next
    /// visitor starts another examination.
    async fn examine(self: Arc<Self>) {
        match self.admin.doctor().max_jobs(JOBS).examine().await {
            Ok(report) => {
                self.newest.send_replace(Some(Checkup {
                    report: Arc::new(report),
                    at: self.admin.now(),
                }));
            }
            Err(_) => *self.began.lock() = None,
        }
    }
}
