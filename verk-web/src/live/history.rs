//! The figures of the last minutes, as far as somebody looked: [`History`].

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use verk_core::{
    QueueName,
    manage::{Overview, QueueOverview},
};

use crate::svg::to_f64;

/// How many samples are kept: an hour, if somebody looks every second.
const MAX_SAMPLES: usize = 3_600;

/// Nodes report their counts every 10 seconds, so a rate over less time would jump.
const RATE_OVER: Duration = Duration::from_secs(30);

/// The least time for a rate.
const RATE_FROM: Duration = Duration::from_secs(10);

/// How many points a small line has.
const POINTS: usize = 40;

/// The line of a queue has a point every so many seconds, and so many of them: 5 minutes.
const SLOT: u64 = 10;
const SLOTS: u64 = 30;

/// How many queues have a line, so that what is kept has a bound: first those in which jobs wait.
const MAX_LINES: usize = 1_000;

/// What is kept of one moment.
#[derive(Clone, Debug)]
struct Sample {
    at: SystemTime,
    processed: u64,
    failed: u64,
    waiting: usize,
    running: usize,
    oldest: Duration,
}

/// The counts of each queue at one moment.
type ByQueue = HashMap<QueueName, u64>;

/// How much runs in a second, over about 30 seconds.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// How many runs ended; `None` until two samples are far enough apart.
    pub all: Option<f64>,
    /// The share of the runs that failed, from 0 to 1; `None` if nothing ran.
    pub failed_share: Option<f64>,
    queues: HashMap<QueueName, f64>,
}

impl Rates {
    /// How many runs of a queue ended; `None` until two samples are far enough apart.
    #[must_use]
    pub fn of(&self, queue: &QueueName) -> Option<f64> {
        self.queues.get(queue).copied()
    }
}

/// Samples of the past, the oldest first.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    /// The counts by queue: at most [`RATE_OVER`] and one poll.
    queues: VecDeque<(SystemTime, ByQueue)>,
    lines: Lines,
}

/// How many jobs waited in each queue in the last minutes.
#[derive(Debug, Default)]
struct Lines {
    /// The last slot of time that has points.
    last: u64,
    /// The slot and the number of jobs, the oldest first.
    queues: HashMap<QueueName, VecDeque<(u64, usize)>>,
}

impl Lines {
    /// Adds a point to each line, if the time for one has come.
    fn add<'a>(
        &mut self,
        at: SystemTime,
        queues: impl Iterator<Item = (&'a QueueName, usize)> + Clone,
    ) {
        let slot = since(at, UNIX_EPOCH).as_secs() / SLOT;
        if slot < self.last {
            // The storage's time was set back.
            self.queues.clear();
        } else if slot == self.last {
            return;
        }
        self.last = slot;
        let waiting = queues.clone().filter(|(_, waiting)| *waiting > 0);
        let idle = queues.filter(|(_, waiting)| *waiting == 0);
        let mut before = std::mem::take(&mut self.queues);
        for (queue, waiting) in waiting.chain(idle).take(MAX_LINES) {
            let mut line = before.remove(queue).unwrap_or_default();
            line.push_back((slot, waiting));
            while line.front().is_some_and(|(first, _)| first + SLOTS <= slot) {
                line.pop_front();
            }
            self.queues.insert(queue.clone(), line);
        }
    }

    /// The points of a queue: the place of each, from 0 to 1, and its value.
    fn of(&self, queue: &QueueName) -> impl Iterator<Item = (f64, f64)> {
        let line = self.queues.get(queue).into_iter().flatten();
        let first = (self.last + 1).saturating_sub(SLOTS);
        line.map(move |(slot, waiting)| {
            let place = to_f64(slot - first) / to_f64(SLOTS - 1);
            (place, to_f64(*waiting))
        })
    }
}

impl History {
    /// Adds what was read now.
    pub fn add(&mut self, at: SystemTime, overview: &Overview) {
        let Overview { stats, queues, .. } = overview;
        // The storage's time may be set back: what is later than now says nothing.
        while self.samples.back().is_some_and(|last| last.at >= at) {
            self.samples.pop_back();
        }
        while self.queues.back().is_some_and(|(last, _)| *last >= at) {
            self.queues.pop_back();
        }
        if self.samples.len() == MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at,
            processed: stats.processed,
            failed: stats.failed,
            waiting: stats.enqueued(),
            running: overview.running().0,
            oldest: oldest(queues).map_or(Duration::ZERO, |(_, oldest)| oldest),
        });
        let counts = queues.iter();
        let counts = counts.map(|queue| (queue.queue.clone(), queue.processed));
        self.queues.push_back((at, counts.collect()));
        let waiting = queues.iter().map(|queue| (&queue.queue, queue.enqueued));
        self.lines.add(at, waiting);
        // The second one is old enough too.
        while self
            .queues
            .get(1)
            .is_some_and(|(second, _)| since(at, *second) >= RATE_OVER)
        {
            self.queues.pop_front();
        }
    }

    /// The rates at the last sample.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let mut rates = Rates {
            queues: self.rates_of_queues().unwrap_or_default(),
            ..Rates::default()
        };
        if let Some((first, last)) = self.window() {
            rates.all = Some(per_second(first, last));
            rates.failed_share = (last.processed > first.processed).then(|| failed(first, last));
        }
        rates
    }

    fn rates_of_queues(&self) -> Option<HashMap<QueueName, f64>> {
        let ((start, first), (end, last)) = (self.queues.front()?, self.queues.back()?);
        let time = since(*end, *start);
        let seconds = time.as_secs_f64();
        let rate = |(queue, count): (&QueueName, &u64)| {
            let before = first.get(queue).copied().unwrap_or(0);
            let runs = to_f64(count.saturating_sub(before));
            (queue.clone(), runs / seconds)
        };
        (time >= RATE_FROM).then(|| last.iter().map(rate).collect())
    }

    /// The values of the past, for small lines, by their names.
    pub(crate) fn lines(&self) -> [(&'static str, Vec<f64>); 5] {
        let picked = self.picked();
        let each = |value: fn(&Sample) -> f64| picked.iter().map(|sample| value(sample)).collect();
        let between = |value: fn(&Sample, &Sample) -> f64| {
            let pairs = picked.iter().zip(picked.iter().skip(1));
            pairs.map(|(first, last)| value(first, last)).collect()
        };
        [
            ("line:rate", between(per_second)),
            ("line:failed", between(failed)),
            ("line:waiting", each(|sample| to_f64(sample.waiting))),
            ("line:running", each(|sample| to_f64(sample.running))),
            ("line:oldest", each(|sample| sample.oldest.as_secs_f64())),
        ]
    }

    /// How many jobs waited in a queue in the last 5 minutes: the place of each point, from 0 to 1,
    /// and its value.
    pub(crate) fn line(&self, queue: &QueueName) -> impl Iterator<Item = (f64, f64)> {
        self.lines.of(queue)
    }

    /// The last sample, and the newest one that is at least 30 seconds older, else the oldest;
    /// `None` if that is less than 10 seconds older.
    fn window(&self) -> Option<(&Sample, &Sample)> {
        let last = self.samples.back()?;
        let is_old = |sample: &&Sample| since(last.at, sample.at) >= RATE_OVER;
        let first = self.samples.iter().rev().find(is_old);
        let first = first.or_else(|| self.samples.front())?;
        (since(last.at, first.at) >= RATE_FROM).then_some((first, last))
    }

    /// Some samples, evenly among all, the last one included.
    fn picked(&self) -> Vec<&Sample> {
        let step = self.samples.len().div_ceil(POINTS).max(1);
        let mut picked: Vec<&Sample> = self.samples.iter().rev().step_by(step).collect();
        picked.reverse();
        picked
    }
}

/// The queue whose oldest job waits the longest, if one waits.
#[must_use]
pub fn oldest(queues: &[QueueOverview]) -> Option<(&QueueName, Duration)> {
    let waiting = queues.iter().filter(|queue| queue.enqueued > 0);
    let oldest = waiting.max_by_key(|queue| queue.latency)?;
    Some((&oldest.queue, oldest.latency))
}

fn since(end: SystemTime, start: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

/// How many runs ended in a second between two samples.
fn per_second(first: &Sample, last: &Sample) -> f64 {
    let seconds = since(last.at, first.at).as_secs_f64();
    to_f64(last.processed.saturating_sub(first.processed)) / seconds.max(0.001)
}

/// The share of the runs between two samples that failed.
fn failed(first: &Sample, last: &Sample) -> f64 {
    let processed = last.processed.saturating_sub(first.processed);
    to_f64(last.failed.saturating_sub(first.failed)) / to_f64(processed.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples at these seconds, with one run in each second, of which each tenth failed.
    fn history(seconds: &[u64]) -> History {
        let mut history = History::default();
        for &second in seconds {
            let mut overview = Overview::default();
            (overview.stats.processed, overview.stats.failed) = (second, second / 10);
            history.add(UNIX_EPOCH + Duration::from_secs(second), &overview);
        }
        history
    }

    #[test]
    fn a_rate_needs_ten_seconds_and_takes_thirty() {
        for (seconds, rate) in [
            (&[100][..], None),
            (&[100, 109], None),
            (&[100, 110], Some(1.0)),
            // Between visits that are far apart, the rate is that since the last one.
            (&[100, 200, 204], Some(1.0)),
        ] {
            assert_eq!(history(seconds).rates().all, rate, "{seconds:?}");
        }
        let each: Vec<u64> = (100..200).collect();
        let history_of_each = history(&each);
        let (first, last) = history_of_each.window().unwrap();
        let time = since(last.at, first.at);
        assert_eq!((time, time.as_secs_f64()), (RATE_OVER, 30.0));
        assert_eq!(history(&[100, 120]).rates().failed_share, Some(0.1));
    }

    #[test]
    fn time_that_is_set_back_starts_again() {
        let history = history(&[100, 110, 50]);
        assert_eq!(history.samples.len(), 1);
        assert_eq!(history.rates().all, None);
    }

    /// The line of a queue in which so many jobs waited at these seconds.
    fn line(samples: &[(u64, usize)]) -> Vec<(f64, f64)> {
        let (mut lines, queue) = (Lines::default(), "q".parse().unwrap());
        for &(second, waiting) in samples {
            let at = UNIX_EPOCH + Duration::from_secs(second);
            lines.add(at, [(&queue, waiting)].into_iter());
        }
        lines.of(&queue).collect()
    }

    #[test]
    fn the_line_of_a_queue_has_a_point_every_ten_seconds_of_five_minutes() {
        let at = |slot: f64| slot / 29.0;
        for (samples, points) in [
            (&[(1_000, 7)][..], &[(at(29.0), 7.0)][..]),
            // The first of each slot.
            (
                &[(1_000, 7), (1_009, 8), (1_010, 9)],
                &[(at(28.0), 7.0), (at(29.0), 9.0)],
            ),
            // While nobody looks, there are no points.
            (
                &[(1_000, 7), (1_290, 8), (1_295, 9)],
                &[(at(0.0), 7.0), (at(29.0), 8.0)],
            ),
            (&[(1_000, 7), (1_300, 8)], &[(at(29.0), 8.0)]),
            // The time was set back.
            (&[(1_000, 7), (900, 8)], &[(at(29.0), 8.0)]),
        ] {
            assert_eq!(line(samples), points, "{samples:?}");
        }
    }

    #[test]
    fn a_queue_that_is_gone_and_queues_beyond_the_bound_have_no_line() {
        let mut lines = Lines::default();
        let names: Vec<QueueName> = (0..MAX_LINES + 10)
            .map(|number| format!("q{number}").parse().unwrap())
            .collect();
        // Jobs wait in the last one.
        let waiting = |queue| usize::from(Some(queue) == names.last());
        let queues = names.iter().map(|queue| (queue, waiting(queue)));
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        lines.add(at(1_000), queues.clone());
        assert_eq!(lines.queues.len(), MAX_LINES);
        assert_eq!(lines.of(names.last().unwrap()).count(), 1);
        lines.add(at(1_010), queues.take(1));
        assert_eq!(lines.queues.len(), 1);
    }
}
