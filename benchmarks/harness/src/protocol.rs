//! How the tool and the programs that it measures talk.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

/// The command line of a program.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// What to do.
    pub role: Role,
    /// Where Redis is.
    #[arg(long)]
    pub url: String,
    /// What comes before the keys, for a system that has such a setting.
    #[arg(long)]
    pub prefix: Option<String>,
    /// How many jobs to enqueue, or after how many to report that they are done; without it, never.
    #[arg(long)]
    pub jobs: Option<u64>,
    /// How many queues the jobs are in: `bench-0`, `bench-1` and so on.
    #[arg(long, default_value_t = 1)]
    pub queues: usize,
    /// How many jobs of each queue run at once.
    #[arg(long, default_value_t = 25)]
    pub concurrency: usize,
    /// How many tasks enqueue at once.
    #[arg(long, default_value_t = 1)]
    pub tasks: u64,
    /// How many jobs are enqueued by one call.
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// How long to wait between two jobs, on average, in microseconds; they then carry the time at
    /// which they were sent.
    #[arg(long)]
    pub every: Option<u64>,
    /// How many jobs are enqueued in a second, by all tasks together: each at its time. Without it,
    /// as many as possible.
    #[arg(long)]
    pub rate: Option<u64>,
    /// How long a job sleeps, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub sleep: u64,
    /// Of a worker: how long each job computes, in microseconds of CPU.
    #[arg(long, default_value_t = 0)]
    pub spin: u64,
    /// Writes the log of the worker, at level info, into this file.
    #[arg(long)]
    pub log: Option<PathBuf>,
    /// How many jobs the floor may hold in addition to those that run; without it, as many as verk
    /// may: four times its concurrency, at most 256.
    #[arg(long)]
    pub ahead: Option<usize>,
    /// Uses the fastest settings instead of those that its documentation recommends.
    #[arg(long)]
    pub tuned: bool,
}

impl Options {
    /// The names of the queues.
    pub fn queue_names(&self) -> Vec<String> {
        (0..self.queues)
            .map(|number| format!("bench-{number}"))
            .collect()
    }
}

/// The two sides of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Enqueue,
    Work,
}

/// What a program says, one JSON object a line.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Said {
    /// It is connected, and waits for a line.
    Ready,
    /// All jobs are enqueued, or were run.
    Done(Done),
}

/// What came of the jobs.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Done {
    pub jobs: u64,
    /// From the first job to the last.
    pub seconds: f64,
    /// From when a job was sent to its first line, for jobs that carry a time.
    pub latency: Option<Latency>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}
