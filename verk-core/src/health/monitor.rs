//! Where the parts of a node report their health: [`Monitor`].

use std::{
    collections::BTreeMap,
    fmt,
    sync::Weak,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    health::{Reason, failing, link::Link},
    time::clock::Clock,
};

/// How many times in a row a manager panics before the node counts as broken.
const TOO_MANY_PANICS: u32 = 5;

/// Within this time after a panic, another one counts as in a row.
const IN_A_ROW: Duration = Duration::from_secs(60);

/// A registration, for questions about its health.
pub(crate) trait Registered: fmt::Debug + Send + Sync {
    /// The reason why it is not healthy, on a node that runs queues.
    fn reason(&self, clock: &dyn Clock, heartbeat: Duration) -> Option<Reason>;
}

/// Where the parts of a node report their health. Each part sets its own entry. It sends nothing to
/// the storage.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    pub(crate) heartbeat: Link,
    pub(crate) schedule: Link,
    /// The registration that the node fetches under.
    node: Mutex<Option<Weak<dyn Registered>>>,
    /// How many times in a row a part panicked, and when it panicked last.
    panics: Mutex<BTreeMap<String, (u32, Instant)>>,
}

impl Monitor {
    pub(crate) fn registered(&self, registration: Weak<dyn Registered>) {
        *self.node.lock() = Some(registration);
    }

    /// A part panicked. Returns how many times in a row.
    pub(crate) fn panicked(&self, part: &str, now: Instant) -> u32 {
        let mut panics = self.panics.lock();
        let (count, last) = panics.entry(part.to_owned()).or_insert((0, now));
        if now.saturating_duration_since(*last) > IN_A_ROW {
            *count = 0;
        }
        *count = count.saturating_add(1);
        *last = now;
        *count
    }

    /// The reason why the registration of a node that runs queues is not healthy.
    pub(crate) fn of_node(&self, clock: &dyn Clock, heartbeat: Duration) -> Option<Reason> {
        let registration = self.node.lock().as_ref().and_then(Weak::upgrade);
        match registration {
            Some(registration) => registration.reason(clock, heartbeat),
            None => Some(Reason::RegistrationLost),
        }
    }

    /// What is wrong with the parts.
    pub(crate) fn of_parts(&self, now: Instant) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let links = [("heartbeat", &self.heartbeat), ("schedule", &self.schedule)];
        for (part, link) in links {
            reasons.extend(link.failure().map(|(error, _)| failing(part, error)));
        }
        for (part, (count, last)) in &*self.panics.lock() {
            if *count >= TOO_MANY_PANICS && now.saturating_duration_since(*last) <= IN_A_ROW {
                reasons.push(Reason::Panicking { part: part.clone() });
            }
        }
        reasons
    }
}

/// Why the last enqueue of this program failed. It expires after one heartbeat: a node that is not
/// ready may get no traffic, so no success would clear it.
pub(crate) fn of_enqueues(enqueues: &Link, now: Instant, heartbeat: Duration) -> Option<Reason> {
    let (error, at) = enqueues.failure()?;
    let is_recent = now.saturating_duration_since(at) < heartbeat;
    is_recent.then(|| failing("enqueue", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::StorageError, health::Health, time::clock::SystemClock};

    const HEARTBEAT: Duration = Duration::from_secs(30);

    #[test]
    fn a_part_that_keeps_panicking_is_fatal_until_it_stops() {
        let monitor = Monitor::default();
        let mut now = SystemClock.instant();
        for count in 1..TOO_MANY_PANICS {
            assert_eq!(monitor.panicked("queue default", now), count);
            now += Duration::from_secs(5);
            assert_eq!(monitor.of_parts(now), []);
        }
        monitor.panicked("queue default", now);
        let health = Health::new(Vec::new(), None, vec![monitor.of_parts(now)]);
        assert!(!health.live && !health.ready);
        assert_eq!(
            health.reasons[0].to_string(),
            "queue default keeps panicking"
        );
        now += IN_A_ROW + Duration::from_secs(1);
        assert_eq!(monitor.of_parts(now), []);
        assert_eq!(monitor.panicked("queue default", now), 1);
    }

    #[test]
    fn a_refused_enqueue_counts_until_one_works_or_for_a_heartbeat() {
        let monitor = Monitor::default();
        let now = SystemClock.instant();
        let error = StorageError::not_applied("enqueue jobs", "no memory");
        let enqueues = Link::default();
        enqueues.failed(&error, now);
        let reasons = Vec::from_iter(of_enqueues(&enqueues, now, HEARTBEAT));
        assert_eq!(
            reasons[0].to_string(),
            "enqueue: failed to enqueue jobs (not applied): no memory"
        );
        assert!(Health::new(reasons, None, Vec::new()).live);
        assert_eq!(of_enqueues(&enqueues, now + HEARTBEAT, HEARTBEAT), None);
        enqueues.well();
        assert_eq!(of_enqueues(&enqueues, now, HEARTBEAT), None);
        // The others try again by themselves.
        monitor.schedule.failed(&error, now);
        assert_eq!(monitor.of_parts(now + HEARTBEAT * 9).len(), 1);
    }
}
