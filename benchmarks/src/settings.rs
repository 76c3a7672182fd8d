//! The command line: what is measured, and how much of it.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

/// Measures verk and the floor, the fastest reliable program that Redis allows, and with
/// `--features peers` its peers. Starts its own redis-server for every measurement. Prints Markdown
/// by default.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Settings {
    /// What to measure.
    pub(crate) what: What,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Measures nothing: shows the output that an earlier run with `--json` printed into this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Writes plots of the figures, as SVG, into this directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) plots: Option<PathBuf>,
    /// How often each measurement is repeated, all systems in turn.
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,
    /// How many jobs, instead of what suits the measurement.
    #[arg(long)]
    pub(crate) jobs: Option<u64>,
    /// For how many seconds a worker is watched that is idle, or of `nodes` busy.
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// How many jobs the floor may hold in addition to those that run; without it, as many as verk
    /// may: four times its concurrency, at most 256.
    #[arg(long)]
    pub(crate) floor_ahead: Option<u64>,
    /// Only tests whether everything works: one run with few jobs. The figures mean nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Of `budget`: records what was counted.
    #[arg(long)]
    pub(crate) record: bool,
    /// Only these peers, such as `oxana`; with `_tuned`, with its fastest settings.
    #[arg(long, value_delimiter = ',')]
    pub(crate) peers: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// The floor by itself.
    Floor,
    /// Jobs enqueued one by one, by 1 task and by 50.
    Enqueue,
    /// Jobs enqueued by calls of 1000.
    Bulk,
    /// No-op jobs run until none is left.
    Drain,
    /// From enqueue to the first line of the job, on an idle node.
    Latency,
    /// What a node without jobs costs.
    Idle,
    /// What a worker takes, and that it does not grow.
    Memory,
    /// Drain with a millisecond of network each way.
    Rtt,
    /// Drain and idle with a million other jobs, and with 100 other nodes.
    Growth,
    /// One node with 500 queues.
    Queues,
    /// Drain of payloads of five sizes.
    Payloads,
    /// All of the above.
    Compare,
    /// What the dashboard costs the server beside a million jobs of each kind. Fails if a page, a
    /// search, the doctor or open browsers cost more than they may.
    Web,
    /// How long the server takes for an enqueue that meets the lock of a unique job, beside a
    /// million jobs and 100 000 locks. Fails if 99 of 100 take longer than a millisecond.
    Locks,
    /// What each of up to 100 nodes on one Redis costs, idle and busy. Fails if a node of 100 costs
    /// more than one of 10.
    Nodes,
    /// What a job and an idle process cost the servers of a cluster, in one slot and in 16 cells.
    Cluster,
    /// How large a small program is, and how long it compiles.
    Footprint,
    /// Counts what a job costs, in instructions and commands, and compares that with the record.
    Budget,
}

impl Settings {
    pub(crate) fn runs(&self) -> usize {
        if self.quick { 1 } else { self.runs.max(1) }
    }

    /// How many jobs, where `usual` are enough.
    pub(crate) fn jobs(&self, usual: u64) -> u64 {
        let usual = if self.quick {
            (usual / 100).max(200)
        } else {
            usual
        };
        self.jobs.unwrap_or(usual)
    }

    /// A number that is part of the measurement, such as that of queues: `--jobs` does not change
    /// it.
    pub(crate) fn scaled(&self, usual: u64) -> u64 {
        if self.quick { usual / 50 } else { usual }
    }

    /// For how long something is watched.
    pub(crate) fn watch(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { self.seconds })
    }
}
