//! The figures of the last minutes, as far as somebody looked: [`History`].

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use verk_core::{QueueName, manage::QueueOverview, stats::Stats};

/// How many samples are kept: an hour, if somebody looks every second.
const MAX_SAMPLES: usize = 3_600;

/// Nodes report their counts every 10 seconds, so a rate over less time would jump.
const RATE_OVER: Duration = Duration::from_secs(30);

/// How many points a small line has.
const POINTS: usize = 40;

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

/// Samples of the past, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    /// The counts by queue: at most [`RATE_OVER`] and one poll.
    queues: VecDeque<(SystemTime, ByQueue)>,
}

impl History {
    /// The history with one more sample.
    pub(crate) fn with(mut self, at: SystemTime, stats: &Stats, queues: &[QueueOverview]) -> Self {
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
            waiting: queues.iter().map(|queue| queue.enqueued).sum(),
            running: queues.iter().map(|queue| queue.running).sum(),
            oldest: oldest(queues).map_or(Duration::ZERO, |(_, oldest)| oldest),
        });
        let counts = queues.iter();
        let counts = counts.map(|queue| (queue.queue.clone(), queue.processed));
        self.queues.push_back((at, counts.collect()));
        // The second one is old enough too.
        while self
            .queues
            .get(1)
            .is_some_and(|(second, _)| since(at, *second) >= RATE_OVER)
        {
            self.queues.pop_front();
        }
        self
    }

    /// How many runs ended in a second; `None` until two samples are far enough apart.
    pub(crate) fn rate(&self) -> Option<f64> {
        let (first, last, seconds) = self.window()?;
        Some(per_second(first.processed, last.processed, seconds))
    }

    /// The share of the runs that failed, from 0 to 1; `None` if nothing ran.
    pub(crate) fn failed_share(&self) -> Option<f64> {
        let (first, last, _) = self.window()?;
        let processed = last.processed.saturating_sub(first.processed);
        let failed = last.failed.saturating_sub(first.failed);
        (processed > 0).then(|| to_f64(failed) / to_f64(processed))
    }

    /// How many runs of a queue ended in a second.
    pub(crate) fn rate_of(&self, queue: &QueueName) -> Option<f64> {
        let ((start, first), (end, last)) = (self.queues.front()?, self.queues.back()?);
        let seconds = since(*end, *start).as_secs_f64();
        let count = *last.get(queue)?;
        (seconds >= 10.0)
            .then(|| per_second(first.get(queue).copied().unwrap_or(0), count, seconds))
    }

    /// The rates of the past, for a small line.
    pub(crate) fn rates(&self) -> Vec<f64> {
        let picked = self.picked();
        let pairs = picked.iter().zip(picked.iter().skip(1));
        pairs
            .map(|(first, last)| {
                let seconds = since(last.at, first.at).as_secs_f64();
                per_second(first.processed, last.processed, seconds)
            })
            .collect()
    }

    /// The shares of failures in the past.
    pub(crate) fn failures(&self) -> Vec<f64> {
        let picked = self.picked();
        let pairs = picked.iter().zip(picked.iter().skip(1));
        pairs
            .map(|(first, last)| {
                let processed = last.processed.saturating_sub(first.processed);
                let failed = last.failed.saturating_sub(first.failed);
                to_f64(failed) / to_f64(processed.max(1))
            })
            .collect()
    }

    pub(crate) fn waiting(&self) -> Vec<f64> {
        let picked = self.picked().into_iter();
        picked
            .map(|sample| crate::svg::to_f64(sample.waiting))
            .collect()
    }

    pub(crate) fn running(&self) -> Vec<f64> {
        let picked = self.picked().into_iter();
        picked
            .map(|sample| crate::svg::to_f64(sample.running))
            .collect()
    }

    pub(crate) fn oldest(&self) -> Vec<f64> {
        let picked = self.picked().into_iter();
        picked.map(|sample| sample.oldest.as_secs_f64()).collect()
    }

    /// The last sample, and the newest one that is at least 30 seconds older, else the oldest;
    /// `None` if that is less than 10 seconds older.
    fn window(&self) -> Option<(&Sample, &Sample, f64)> {
        let last = self.samples.back()?;
        let is_old = |sample: &&Sample| since(last.at, sample.at) >= RATE_OVER;
        let first = self.samples.iter().rev().find(is_old);
        let first = first.or_else(|| self.samples.front())?;
        let seconds = since(last.at, first.at).as_secs_f64();
        (seconds >= 10.0).then_some((first, last, seconds))
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
pub(crate) fn oldest(queues: &[QueueOverview]) -> Option<(&QueueName, Duration)> {
    let waiting = queues.iter().filter(|queue| queue.enqueued > 0);
    let oldest = waiting.max_by_key(|queue| queue.latency)?;
    Some((&oldest.queue, oldest.latency))
}

fn since(end: SystemTime, start: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

fn per_second(first: u64, last: u64, seconds: f64) -> f64 {
    to_f64(last.saturating_sub(first)) / seconds.max(0.001)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// Samples at these seconds, with one run in each second, of which each tenth failed.
    fn history(seconds: &[u64]) -> History {
        let mut history = History::default();
        for &second in seconds {
            let mut stats = Stats::default();
            (stats.processed, stats.failed) = (second, second / 10);
            history = history.with(UNIX_EPOCH + Duration::from_secs(second), &stats, &[]);
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
            assert_eq!(history(seconds).rate(), rate, "{seconds:?}");
        }
        let each: Vec<u64> = (100..200).collect();
        let (first, last, seconds) = history(&each)
            .window()
            .map(|(a, b, c)| (a.at, b.at, c))
            .unwrap();
        assert_eq!((since(last, first), seconds), (RATE_OVER, 30.0));
        assert_eq!(history(&[100, 120]).failed_share(), Some(0.1));
    }

    #[test]
    fn time_that_is_set_back_starts_again() {
        let history = history(&[100, 110, 50]);
        assert_eq!(history.samples.len(), 1);
        assert_eq!(history.rate(), None);
    }
}
