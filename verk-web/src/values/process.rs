//! Processes.

use serde::Serialize;
use verk_core::manage::Process;

use super::{seconds, time};

/// A process.
#[derive(Debug, Serialize)]
pub struct ProcessValue<'a> {
    identity: &'a str,
    host: &'a str,
    pid: Option<u32>,
    tag: &'a str,
    labels: &'a [String],
    version: Option<&'a str>,
    queues: Vec<ProcessQueueValue<'a>>,
    concurrency: usize,
    busy: usize,
    quiet: bool,
    beat: String,
    started_at: Option<String>,
    /// In KiB.
    rss: Option<u64>,
    /// The round trip to the storage, in seconds.
    rtt: f64,
    node: Option<&'a str>,
    embedded: bool,
}

#[derive(Debug, Serialize)]
struct ProcessQueueValue<'a> {
    queue: &'a str,
    concurrency: usize,
    shared: bool,
}

impl<'a> ProcessValue<'a> {
    /// The process.
    #[must_use]
    pub fn new(process: &'a Process) -> Self {
        let queues = process.queues.iter().map(|queue| ProcessQueueValue {
            queue: queue.name.as_str(),
            concurrency: queue.concurrency,
            shared: queue.shared,
        });
        Self {
            identity: &process.identity,
            host: &process.host,
            pid: process.pid,
            tag: &process.tag,
            labels: &process.labels,
            version: process.version.as_deref(),
            queues: queues.collect(),
            concurrency: process.concurrency,
            busy: process.busy,
            quiet: process.quiet,
            beat: time(process.beat),
            started_at: process.started_at.map(time),
            rss: process.rss_kib,
            rtt: seconds(process.rtt),
            node: process.node.as_ref().map(verk_core::names::NodeId::as_str),
            embedded: process.embedded,
        }
    }
}
