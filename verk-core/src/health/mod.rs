//! How a node is: [`Health`], and what its parts tell of themselves.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    clock::Clock, config::file::duration, error::StorageError, guard, names::QueueName,
    node_manager::Registration,
};

/// How many times in a row a manager panics before the node counts as broken.
const TOO_MANY_PANICS: u32 = 5;

/// For how long after a panic another one is in a row with it.
const IN_A_ROW: Duration = Duration::from_secs(60);

/// How a node is: see [`Verk::health`](crate::Verk::health).
///
/// As JSON: `{"live":true,"ready":false,"reasons":[{"reason":"connecting","queue":"default"}],"caught_panics":0}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether the process is worth keeping. If not, only a new process helps.
    pub live: bool,
    /// Whether the node does all of its work now.
    pub ready: bool,
    /// Why it is not ready, or not live; empty when it is both.
    pub reasons: Vec<Reason>,
    /// How many panics of code that is not verk's were caught in this process, by all its nodes: of log subscribers,
    /// metrics recorders, event subscribers and `retry_at` functions. The node works on without what was called. Panics
    /// of jobs do not count. More than 0 says that logs or metrics are incomplete: see the panic hook's messages.
    pub caught_panics: u64,
}

impl Health {
    pub(crate) fn new(reasons: Vec<Reason>) -> Self {
        Self {
            live: !reasons.iter().any(Reason::is_fatal),
            ready: reasons.is_empty(),
            reasons,
            caught_panics: guard::caught(),
        }
    }
}

/// Why a node is not ready, or not live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It has queues, and was not told to run them.
    NotStarted,
    /// It shuts down, or has.
    Stopping,
    /// Every queue that it runs is paused, here or for all nodes, or it was told to be [quiet](crate::Verk::quiet).
    Quiet,
    /// It has not reached the storage for this queue yet.
    Connecting {
        /// The queue.
        queue: QueueName,
    },
    /// What it asked of the storage last failed: the storage cannot be reached, is full, or refuses.
    StorageFailing {
        /// What it was for: `heartbeat`, `schedule`, `enqueue` or `queue NAME`.
        part: String,
        /// The error with its sources. It holds no password.
        error: String,
    },
    /// Its last heartbeat that was acknowledged is older than `heartbeat`: it fetches nothing.
    HeartbeatStale {
        /// How old.
        #[serde(with = "duration")]
        age: Duration,
    },
    /// The storage does not know the node any more: it registers again.
    RegistrationLost,
    /// A part of the node panics each time it is started. Not live.
    Panicking {
        /// The part.
        part: String,
    },
    /// The thread of the heartbeat has ended. Not live.
    HeartbeatEnded,
    /// What runs the queues has ended. Not live.
    SupervisorEnded,
}

impl Reason {
    /// Whether only a new process helps: the node is not live.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Panicking { .. } | Self::HeartbeatEnded | Self::SupervisorEnded
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("not started"),
            Self::Stopping => f.write_str("shutting down"),
            Self::Quiet => f.write_str("all queues are paused"),
            Self::Connecting { queue } => write!(f, "queue {queue} is not connected yet"),
            Self::StorageFailing { part, error } => write!(f, "{part}: {error}"),
            Self::HeartbeatStale { age } => {
                write!(f, "the last acknowledged heartbeat is {age:.1?} old")
            }
            Self::RegistrationLost => f.write_str("the storage does not know this node any more"),
            Self::Panicking { part } => write!(f, "{part} keeps panicking"),
            Self::HeartbeatEnded => f.write_str("the heartbeat has ended"),
            Self::SupervisorEnded => f.write_str("what runs the queues has ended"),
        }
    }
}

/// Where the parts of a node tell how they are. Each looks after its own entry; nobody asks the storage.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    pub(crate) heartbeat: Link,
    pub(crate) schedule: Link,
    pub(crate) enqueue: Arc<Link>,
    /// The registration that the node fetches under.
    node: Mutex<Weak<Registration>>,
    /// How many times in a row a part panicked, and when it did last.
    panics: Mutex<BTreeMap<String, (u32, Instant)>>,
}

impl Monitor {
    pub(crate) fn registered(&self, registration: &Arc<Registration>) {
        *lock(&self.node) = Arc::downgrade(registration);
    }

    /// A part panicked. Returns how many times in a row.
    pub(crate) fn panicked(&self, part: &str, now: Instant) -> u32 {
        let mut panics = lock(&self.panics);
        let (count, last) = panics.entry(part.to_owned()).or_insert((0, now));
        if now.saturating_duration_since(*last) > IN_A_ROW {
            *count = 0;
        }
        *count = count.saturating_add(1);
        *last = now;
        *count
    }

    /// What is wrong with the registration of a node that runs queues.
    pub(crate) fn of_node(&self, clock: &dyn Clock, heartbeat: Duration) -> Option<Reason> {
        let registration = lock(&self.node).upgrade();
        let Some(registration) = registration.filter(|registration| !registration.is_lost()) else {
            return Some(Reason::RegistrationLost);
        };
        if registration.heartbeat_ended() {
            return Some(Reason::HeartbeatEnded);
        }
        let age = registration.heartbeat_age(clock);
        (age > heartbeat).then_some(Reason::HeartbeatStale { age })
    }

    /// What is wrong with the parts.
    pub(crate) fn of_parts(&self, now: Instant, heartbeat: Duration) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let links = [("heartbeat", &self.heartbeat), ("schedule", &self.schedule)];
        for (part, link) in links {
            reasons.extend(link.failure().map(|(error, _)| failing(part, error)));
        }
        // Nobody may enqueue on a node that is not ready, and then nothing would ever tell that it works again.
        let enqueue = self.enqueue.failure();
        let recent = enqueue.filter(|(_, at)| now.saturating_duration_since(*at) < heartbeat);
        reasons.extend(recent.map(|(error, _)| failing("enqueue", error)));
        for (part, (count, last)) in &*lock(&self.panics) {
            if *count >= TOO_MANY_PANICS && now.saturating_duration_since(*last) <= IN_A_ROW {
                reasons.push(Reason::Panicking { part: part.clone() });
            }
        }
        reasons
    }
}

pub(crate) fn failing(part: &str, error: String) -> Reason {
    Reason::StorageFailing {
        part: part.to_owned(),
        error,
    }
}

/// How the last operation of one kind went.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// So that success, the usual, takes no lock.
    is_failing: AtomicBool,
    failure: Mutex<Option<(String, Instant)>>,
}

impl Link {
    pub(crate) fn well(&self) {
        if self.is_failing.load(Ordering::Relaxed) {
            *lock(&self.failure) = None;
            self.is_failing.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self, error: &StorageError, now: Instant) {
        *lock(&self.failure) = Some((error.to_string(), now));
        self.is_failing.store(true, Ordering::Relaxed);
    }

    fn failure(&self) -> Option<(String, Instant)> {
        lock(&self.failure).clone()
    }
}

// Each change is one assignment: a panic leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    const HEARTBEAT: Duration = Duration::from_secs(30);

    #[test]
    fn a_part_that_keeps_panicking_is_fatal_until_it_stops() {
        let monitor = Monitor::default();
        let mut now = SystemClock.instant();
        for count in 1..TOO_MANY_PANICS {
            assert_eq!(monitor.panicked("queue default", now), count);
            now += Duration::from_secs(5);
            assert_eq!(monitor.of_parts(now, HEARTBEAT), []);
        }
        monitor.panicked("queue default", now);
        let health = Health::new(monitor.of_parts(now, HEARTBEAT));
        assert!(!health.live && !health.ready);
        assert_eq!(
            health.reasons[0].to_string(),
            "queue default keeps panicking"
        );
        now += IN_A_ROW + Duration::from_secs(1);
        assert_eq!(monitor.of_parts(now, HEARTBEAT), []);
        assert_eq!(monitor.panicked("queue default", now), 1);
    }

    #[test]
    fn a_refused_enqueue_counts_until_one_works_or_for_a_heartbeat() {
        let monitor = Monitor::default();
        let now = SystemClock.instant();
        let error = StorageError::not_applied("enqueue jobs", "no memory");
        monitor.enqueue.failed(&error, now);
        let reasons = monitor.of_parts(now, HEARTBEAT);
        assert_eq!(
            reasons[0].to_string(),
            "enqueue: failed to enqueue jobs (not applied): no memory"
        );
        assert!(Health::new(reasons).live);
        assert_eq!(monitor.of_parts(now + HEARTBEAT, HEARTBEAT), []);
        monitor.enqueue.well();
        assert_eq!(monitor.of_parts(now, HEARTBEAT), []);
        // The others try again by themselves.
        monitor.schedule.failed(&error, now);
        assert_eq!(monitor.of_parts(now + HEARTBEAT * 9, HEARTBEAT).len(), 1);
    }
}
