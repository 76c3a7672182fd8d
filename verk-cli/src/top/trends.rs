//! Rates and delays of the last minutes, as far as this program saw them: [`Trends`].

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use verk_core::{QueueName, manage::Overview};
use verk_web::history::{History, Rates};

/// The time between two points of a line. Nodes report their counts as often.
pub(super) const STEP: Duration = Duration::from_secs(10);

/// The most points of a line.
const POINTS: usize = 16;

/// The points of the past, the oldest first. `None` where nothing is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(VecDeque<Option<f64>>);

impl Line {
    fn push(&mut self, value: Option<f64>) {
        if self.0.len() == POINTS {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// Sets the newest point.
    fn set(&mut self, value: Option<f64>) {
        if let Some(last) = self.0.back_mut() {
            *last = value;
        }
    }

    /// The newest points, at most so many.
    pub(super) fn last(&self, count: usize) -> impl ExactSizeIterator<Item = Option<f64>> {
        let skipped = self.0.len().saturating_sub(count);
        self.0.iter().skip(skipped).copied()
    }
}

/// The lines of a queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    pub(super) rate: Line,
    /// For how long the oldest job had waited, at most, in seconds.
    pub(super) latency: Line,
}

/// What is known of the past.
#[derive(Debug, Default)]
pub(super) struct Trends {
    history: History,
    rates: Rates,
    all: Line,
    queues: HashMap<QueueName, Lines>,
    /// When the newest points began.
    begun: Option<SystemTime>,
}

impl Trends {
    /// Adds what was read at `now`, by the time of the storage.
    pub(super) fn add(&mut self, now: SystemTime, overview: &Overview) {
        self.history.add(now, overview);
        self.rates = self.history.rates();
        // A time that was set back begins a point, too.
        let is_due = |begun: SystemTime| now.duration_since(begun).map_or(true, |age| age >= STEP);
        let begins = self.begun.is_none_or(is_due);
        if begins {
            self.begun = Some(now);
            self.all.push(None);
            // Queues that no program knows any more are forgotten.
            let known = overview.queues.iter().map(|queue| &queue.queue);
            let known: std::collections::HashSet<&QueueName> = known.collect();
            self.queues.retain(|queue, _| known.contains(queue));
        }
        self.all.set(self.rates.all);
        for queue in &overview.queues {
            let is_new = !self.queues.contains_key(&queue.queue);
            let lines = self.queues.entry(queue.queue.clone()).or_default();
            if begins || is_new {
                lines.rate.push(None);
                lines.latency.push(None);
            }
            lines.rate.set(self.rates.of(&queue.queue));
            let latency = queue.latency.as_secs_f64();
            let before = lines.latency.last(1).next().flatten();
            let highest = before.map_or(latency, |before| before.max(latency));
            lines.latency.set(Some(highest));
        }
    }

    pub(super) fn rates(&self) -> &Rates {
        &self.rates
    }

    /// The rate of all queues.
    pub(super) fn all(&self) -> &Line {
        &self.all
    }

    pub(super) fn of(&self, queue: &QueueName) -> Option<&Lines> {
        self.queues.get(queue)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use verk_core::Verk;
    use verk_testing::MemoryStorage;

    use super::*;

    /// An overview with an empty queue.
    async fn overview() -> Overview {
        let verk = Verk::builder().storage(MemoryStorage::default());
        let admin = verk.build().await.unwrap().admin();
        admin.pause_queue_everywhere("q").await.unwrap();
        admin.overview().await.unwrap()
    }

    #[tokio::test]
    async fn a_point_is_made_of_ten_seconds() {
        let mut overview = overview().await;
        let mut trends = Trends::default();
        for second in 0..35 {
            let queue = overview.queues.first_mut().unwrap();
            queue.processed = 2 * second;
            queue.latency = Duration::from_secs(if second == 4 { 9 } else { 1 });
            overview.stats.processed = 2 * second;
            trends.add(UNIX_EPOCH + Duration::from_secs(second), &overview);
        }
        let lines = trends.of(&"q".parse().unwrap()).unwrap();
        let rate: Vec<_> = lines.rate.last(9).collect();
        assert_eq!(rate, [None, Some(2.0), Some(2.0), Some(2.0)]);
        let latency: Vec<_> = lines.latency.last(9).flatten().collect();
        assert_eq!(latency, [9.0, 1.0, 1.0, 1.0]);
        assert_eq!(trends.all().last(2).len(), 2);
        assert_eq!(trends.rates().all, Some(2.0));
    }

    #[tokio::test]
    async fn the_past_is_bounded_and_queues_that_are_gone_are_forgotten() {
        let mut overview = overview().await;
        let mut trends = Trends::default();
        let at = |step| UNIX_EPOCH + step * STEP;
        for step in 0..100 {
            trends.add(at(step), &overview);
        }
        assert_eq!(trends.all().last(1_000).len(), POINTS);
        overview.queues.clear();
        trends.add(at(100), &overview);
        assert!(trends.queues.is_empty());
        // The clock is set back.
        trends.add(at(7), &overview);
        trends.add(at(8), &overview);
        assert_eq!(trends.all().last(1_000).len(), POINTS);
    }
}
