//! Failed jobs, counted by class and error: [`Groups`].

use tokio::sync::Mutex;
use verk_core::{
    StorageError,
    manage::{Admin, Breakdown, Group},
    storage::JobSet,
};

/// How many steps a request reads at most. The next request continues.
const STEPS: usize = 5;

/// The counts of the retry set and the dead set. Each page reads what is new since the last one.
#[derive(Debug)]
pub(crate) struct Groups {
    retries: Mutex<Breakdown>,
    dead: Mutex<Breakdown>,
}

/// The groups of one set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// The largest first.
    pub(crate) groups: Vec<Group>,
    /// How many jobs were counted, and how many the set has.
    pub(crate) covered: usize,
    pub(crate) total: usize,
}

impl Groups {
    pub(crate) fn new() -> Self {
        Self {
            retries: Mutex::new(Breakdown::new(JobSet::Retry)),
            dead: Mutex::new(Breakdown::new(JobSet::Dead)),
        }
    }

    /// Counts on, at most a few steps.
    pub(crate) async fn count(&self, admin: &Admin, set: JobSet) -> Result<Counted, StorageError> {
        let breakdown = match set {
            JobSet::Retry | JobSet::Schedule => &self.retries,
            JobSet::Dead => &self.dead,
        };
        let mut breakdown = breakdown.lock().await;
        for _ in 0..STEPS {
            if breakdown.update(admin).await? {
                break;
            }
        }
        Ok(Counted {
            groups: breakdown.groups(),
            covered: breakdown.covered(),
            total: breakdown.total(),
        })
    }
}
