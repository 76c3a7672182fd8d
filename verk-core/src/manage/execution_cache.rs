//! Execution metrics that are shown again and again: [`ExecutionCache`].

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::{Admin, ExecutionHistory, ExecutionRange};
use crate::{
    error::StorageError,
    storage::{ExecutionStep, StoredExecutions},
};

/// How long after its end a step may still grow: nodes report every 10 seconds, and a report may
/// have to be sent again.
const GROWS: Duration = Duration::from_secs(60);

/// How long a step is kept before it is read again. A node that did not reach the storage for
/// longer than [`GROWS`] reports what it ran late.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Reads the execution metrics of all classes as [`Admin::executions`] does, but each step that has
/// ended only once an hour: for a page that many people look at. Of 8 hours, it then reads two or
/// three minutes instead of 480.
///
/// It keeps what it read of at most 480 minutes and 432 times ten minutes, each with the classes
/// that ran in it. A cache is for one storage.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use verk_core::Verk;
/// # use verk_testing::MemoryStorage;
/// use verk_core::manage::{ExecutionCache, ExecutionRange};
///
/// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
/// let mut cache = ExecutionCache::default();
/// let hour = cache.read(&verk.admin(), &ExecutionRange::minutes(60)).await?;
/// assert_eq!(hour.times.len(), 60);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct ExecutionCache {
    minutes: Kept,
    ten_minutes: Kept,
}

/// The steps that have ended, by their begin.
type Kept = BTreeMap<SystemTime, Step>;

#[derive(Clone, Debug)]
struct Step {
    read_at: SystemTime,
    stored: StoredExecutions,
}

impl ExecutionCache {
    /// Reads a range. What has not ended, or was not read before, comes from the storage. A range
    /// of [one class](ExecutionRange::class) is read whole, because it costs little.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, what it read is forgotten.
    pub async fn read(
        &mut self,
        admin: &Admin,
        range: &ExecutionRange,
    ) -> Result<ExecutionHistory, StorageError> {
        if range.class.is_some() {
            return admin.executions(range).await;
        }
        let now = admin.now();
        let (step, times) = (range.step, range.times(now));
        let kept = match step {
            ExecutionStep::Minute => &mut self.minutes,
            ExecutionStep::TenMinutes => &mut self.ten_minutes,
        };
        kept.retain(|_, step| {
            // The storage's time may be set back.
            now.duration_since(step.read_at).is_ok_and(|age| age < KEPT)
        });
        let missing = times.iter().filter(|at| !kept.contains_key(at));
        let missing: Vec<SystemTime> = missing.copied().collect();
        let read = admin.read_steps(step, &missing, None).await?;
        let read = missing.into_iter().zip(read).map(|(at, stored)| {
            let read_at = now;
            (at, Step { read_at, stored })
        });
        kept.extend(read);
        let none = StoredExecutions::default();
        let all = times.iter().map(|at| kept.get(at).map(|step| &step.stored));
        let history = ExecutionHistory::of(
            step,
            times.clone(),
            all.map(|stored| stored.unwrap_or(&none)),
        );

        kept.retain(|at, _| {
            let age = now.duration_since(*at).unwrap_or_default();
            age >= step.length() + GROWS
        });
        while kept.len() > step.kept() {
            kept.pop_first();
        }
        Ok(history)
    }
}
