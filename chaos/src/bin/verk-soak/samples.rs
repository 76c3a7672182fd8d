//! What is measured, and whether it grows: [`Report`].

use std::{fs, io, time::Duration};

use serde::Serialize;
use verk_testing::RedisServer;

use crate::worker::Figures;

/// One look at the worker.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    seconds: f64,
    ran: u64,
    rss_kib: u64,
    fds: usize,
    threads: u64,
    tasks: usize,
    /// Of all who are connected to the server.
    connections: u64,
    /// Jobs in the queue.
    queued: i64,
    latency_p50_ms: f64,
    latency_p99_ms: f64,
}

impl Sample {
    pub(crate) fn take(
        at: Duration,
        server: &RedisServer,
        pid: u32,
        figures: Figures,
    ) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let info = server.command(&["INFO", "clients"]).into_bytes();
        let info = String::from_utf8_lossy(&info.unwrap_or_default()).into_owned();
        Ok(Self {
            seconds: at.as_secs_f64(),
            ran: figures.ran,
            rss_kib: number_after(&status, "VmRSS:"),
            fds: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            threads: number_after(&status, "Threads:"),
            tasks: figures.tasks,
            connections: number_after(&info, "connected_clients:"),
            queued: server
                .command(&["LLEN", "queue:default"])
                .as_integer()
                .unwrap_or_default(),
            latency_p50_ms: figures.latency_p50_ms,
            latency_p99_ms: figures.latency_p99_ms,
        })
    }
}

fn number_after(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// How many jobs are not done.
pub(crate) fn waiting(server: &RedisServer) -> i64 {
    let count = |command: &[&str]| server.command(command).as_integer().unwrap_or_default();
    count(&["LLEN", "queue:default"])
        + count(&["ZCARD", "retry"])
        + count(&["ZCARD", "schedule"])
        + count(&["ZCARD", "dead"])
}

/// The keys that a worker should not leave after it has deregistered.
pub(crate) fn keys_left(server: &RedisServer) -> Vec<String> {
    let keys = server.command(&["KEYS", "*"]).into_array();
    let keys = keys.unwrap_or_default().into_iter();
    keys.filter_map(|key| Some(String::from_utf8_lossy(&key.into_bytes()?).into_owned()))
        .filter(|key| !(key == "queues" || key.starts_with("stat:") || key == "process_cleanup"))
        .collect()
}

/// What is compared between the beginning and the end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Growth {
    what: &'static str,
    /// The median of the first third, after the first tenth.
    first: f64,
    /// The median of the last third.
    last: f64,
    flat: bool,
}

/// What a soak came to.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    top_rate: f64,
    rate: f64,
    sent: u64,
    ran: u64,
    all_done: bool,
    keys_left: Vec<String>,
    growth: Vec<Growth>,
    samples: Vec<Sample>,
}

/// A sampled figure, and how much it may grow until the end: by which factor, and at least by how
/// much.
type Series = (&'static str, fn(&Sample) -> f64, f64, f64);

const SERIES: [Series; 7] = [
    ("rss_kib", |it| float(it.rss_kib), 1.05, 1024.0),
    ("fds", |it| float(it.fds as u64), 1.0, 2.0),
    ("threads", |it| float(it.threads), 1.0, 1.0),
    ("tasks", |it| float(it.tasks as u64), 1.1, 10.0),
    ("connections", |it| float(it.connections), 1.0, 2.0),
    ("latency_p50_ms", |it| it.latency_p50_ms, 1.5, 1.0),
    ("latency_p99_ms", |it| it.latency_p99_ms, 2.0, 10.0),
];

impl Report {
    pub(crate) fn new(
        top_rate: f64,
        rate: f64,
        (sent, ran): (u64, u64),
        all_done: bool,
        samples: Vec<Sample>,
        keys_left: Vec<String>,
    ) -> Self {
        Self {
            top_rate,
            rate,
            sent,
            ran,
            all_done,
            keys_left,
            growth: growth(&samples),
            samples,
        }
    }

    /// Whether nothing grew, and nothing is left.
    pub(crate) fn is_flat(&self) -> bool {
        self.all_done
            && self.sent == self.ran
            && self.keys_left.is_empty()
            && self.growth.iter().all(|growth| growth.flat)
    }
}

fn growth(samples: &[Sample]) -> Vec<Growth> {
    let (tenth, third) = (samples.len() / 10, samples.len() / 3);
    let series = SERIES.iter();
    series
        .map(|&(what, value, factor, more)| {
            let median = |samples: &[Sample]| {
                let mut values: Vec<f64> = samples.iter().map(value).collect();
                values.sort_by(f64::total_cmp);
                values.get(values.len() / 2).copied().unwrap_or_default()
            };
            let first = median(&samples[tenth..third.max(tenth)]);
            let last = median(&samples[samples.len() - third..]);
            Growth {
                what,
                first,
                last,
                flat: last <= (first * factor).max(first + more),
            }
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rss_kib: u64) -> Sample {
        Sample {
            seconds: 0.0,
            ran: 0,
            rss_kib,
            fds: 20,
            threads: 4,
            tasks: 30,
            connections: 8,
            queued: 0,
            latency_p50_ms: 1.0,
            latency_p99_ms: 2.0,
        }
    }

    #[test]
    fn what_grows_is_told() {
        let flat: Vec<_> = (0..60).map(|number| sample(9000 + number % 7)).collect();
        assert!(growth(&flat).iter().all(|growth| growth.flat));
        let leaking: Vec<_> = (0..60).map(|number| sample(9000 + number * 50)).collect();
        let grown = growth(&leaking).into_iter().filter(|growth| !growth.flat);
        assert_eq!(grown.map(|it| it.what).collect::<Vec<_>>(), ["rss_kib"]);
    }
}
