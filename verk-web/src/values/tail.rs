//! What happens in the fleet.

use std::time::SystemTime;

use serde::Serialize;
use verk_core::{
    manage::{Skipped, TailEvent},
    stats::Stats,
};

use super::{EntryValue, PauseValue, ProcessValue, RunningValue, time};
use crate::payloads::Payloads;

/// Something that happened: see [`verk_core::manage::Tail`].
#[derive(Debug, Serialize)]
pub struct TailValue<'a> {
    /// When it was seen.
    time: String,
    event: &'static str,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What<'a> {
    Counts(CountsValue),
    Entry(Box<EntryValue>),
    Running(Box<RunningValue>),
    Pause {
        queue: &'a str,
        #[serde(flatten)]
        note: PauseValue<'a>,
    },
    Resumed {
        queue: &'a str,
    },
    Process(ProcessValue<'a>),
    Skipped {
        place: &'static str,
    },
    Unknown {},
}

/// The counts of the fleet.
#[derive(Debug, Serialize)]
pub struct CountsValue {
    processed: u64,
    failed: u64,
    waiting: usize,
    scheduled: usize,
    retries: usize,
    dead: usize,
}

impl CountsValue {
    /// The counts.
    #[must_use]
    pub fn new(stats: &Stats) -> Self {
        Self {
            processed: stats.processed,
            failed: stats.failed,
            waiting: stats.enqueued(),
            scheduled: stats.scheduled,
            retries: stats.retry,
            dead: stats.dead,
        }
    }
}

impl<'a> TailValue<'a> {
    /// The event, seen at `at`, with payloads where they may be shown.
    #[must_use]
    pub fn new(event: &'a TailEvent, at: SystemTime, payloads: &Payloads) -> Self {
        let what = match event {
            TailEvent::Counts(stats) => What::Counts(CountsValue::new(stats)),
            TailEvent::Failed(entry) | TailEvent::Died(entry) => {
                What::Entry(Box::new(EntryValue::new(entry, payloads)))
            }
            TailEvent::Started(running) | TailEvent::Ended(running) => {
                What::Running(Box::new(RunningValue::new(running, payloads)))
            }
            TailEvent::Paused(pause) => What::Pause {
                queue: pause.queue.as_str(),
                note: PauseValue::new(pause),
            },
            TailEvent::Resumed(queue) => What::Resumed {
                queue: queue.as_str(),
            },
            TailEvent::Joined(process) | TailEvent::Left(process) => {
                What::Process(ProcessValue::new(process))
            }
            TailEvent::Skipped(skipped) => What::Skipped {
                place: match skipped {
                    Skipped::Retries => "retries",
                    Skipped::Dead => "dead",
                    Skipped::Running => "running",
                    _ => "unknown",
                },
            },
            _ => What::Unknown {},
        };
        Self {
            time: time(at),
            event: name(event),
            what,
        }
    }

    /// The name of the event: `failed`, `died`, `started` and so on.
    #[must_use]
    pub fn event(&self) -> &'static str {
        self.event
    }
}

fn name(event: &TailEvent) -> &'static str {
    match event {
        TailEvent::Counts(_) => "counts",
        TailEvent::Failed(_) => "failed",
        TailEvent::Died(_) => "died",
        TailEvent::Started(_) => "started",
        TailEvent::Ended(_) => "ended",
        TailEvent::Paused(_) => "paused",
        TailEvent::Resumed(_) => "resumed",
        TailEvent::Joined(_) => "joined",
        TailEvent::Left(_) => "left",
        TailEvent::Skipped(_) => "skipped",
        _ => "unknown",
    }
}
