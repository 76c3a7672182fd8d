//! Queues, processes, nodes and running jobs.

use std::time::SystemTime;

use verk_core::{
    manage::{Pause, QueueOverview},
    storage::MAX_BATCH_JOBS,
};
use verk_web::{
    Payloads,
    text::{bytes, duration, relative},
    values::{NodeValue, ProcessValue, QueueValue, RunningValue},
};

use super::Session;
use crate::{
    failure::{Exit, Failure},
    output::{Cell, Column, Table, Tone},
    text,
};

impl Session<'_> {
    pub(crate) async fn queues(&mut self) -> Result<Exit, Failure> {
        let queues = self.admin.queues().await?;
        if self.output.is_json() {
            for queue in &queues {
                self.output.json(&QueueValue::new(queue, None))?;
            }
            return Ok(Exit::DONE);
        }
        let mut table = Table::new([
            Column::text("QUEUE"),
            Column::number("WAITING"),
            Column::number("OLDEST"),
            Column::number("RUNNING"),
            Column::number("PROCESSES").optional(),
            Column::number("PROCESSED").optional(),
            Column::number("FAILED").optional(),
            Column::long("STATE"),
        ]);
        let now = self.now();
        for queue in &queues {
            table.row(queue_cells(queue, now));
        }
        if queues.is_empty() {
            self.output
                .note("no queue: no program has enqueued a job, and no node runs one")?;
            return Ok(Exit::DONE);
        }
        self.output.table(table)?;
        Ok(Exit::DONE)
    }

    pub(crate) async fn processes(&mut self) -> Result<Exit, Failure> {
        let processes = self.admin.processes().await?;
        if self.output.is_json() {
            for process in &processes {
                self.output.json(&ProcessValue::new(process))?;
            }
            return Ok(Exit::DONE);
        }
        let mut table = Table::new([
            Column::text("PROCESS"),
            Column::text("VERSION").optional(),
            Column::number("BUSY"),
            Column::number("MEMORY").optional(),
            Column::text("BEAT"),
            Column::text("STATE"),
            Column::long("QUEUES"),
        ]);
        let now = self.now();
        for process in &processes {
            let queues = process.queues.iter().map(|queue| queue.name.as_str());
            let memory = process.rss_kib.map(|kib| bytes(kib.saturating_mul(1_024)));
            table.row([
                Cell::new(&process.identity),
                Cell::or_none(process.version.as_deref()),
                Cell::new(format!("{}/{}", process.busy, process.concurrency)),
                Cell::or_none(memory),
                Cell::new(relative(process.beat, now)),
                if process.quiet {
                    Cell::new("quiet").tone(Tone::Warning)
                } else {
                    Cell::new("runs").tone(Tone::Good)
                },
                Cell::new(queues.collect::<Vec<_>>().join(" ")),
            ]);
        }
        if processes.is_empty() {
            self.output
                .note("no process has reported itself within the last minute")?;
            return Ok(Exit::DONE);
        }
        self.output.table(table)?;
        Ok(Exit::DONE)
    }

    pub(crate) async fn nodes(&mut self) -> Result<Exit, Failure> {
        let nodes = self.admin.nodes().await?;
        if self.output.is_json() {
            for node in &nodes {
                self.output.json(&NodeValue::new(node))?;
            }
            return Ok(Exit::DONE);
        }
        let mut table = Table::new([
            Column::text("NODE"),
            Column::text("STATE"),
            Column::number("HOLDS"),
            Column::text("VERSION").optional(),
            Column::number("CLASSES").optional(),
            Column::long("QUEUES"),
        ]);
        for node in &nodes {
            let held: usize = node.queues.iter().map(|queue| queue.held).sum();
            let queues = node.queues.iter().map(|queue| queue.name.as_str());
            let info = node.info.as_ref();
            table.row([
                Cell::new(node.id.as_str()),
                if node.alive {
                    Cell::new("alive").tone(Tone::Good)
                } else {
                    Cell::new("silent").tone(Tone::Bad)
                },
                Cell::new(text::count(held)),
                Cell::or_none(info.map(|info| &*info.version)),
                Cell::or_none(info.map(|info| text::count(info.class_count))),
                Cell::new(queues.collect::<Vec<_>>().join(" ")),
            ]);
        }
        if nodes.is_empty() {
            self.output.note("no node of verk is registered")?;
            return Ok(Exit::DONE);
        }
        self.output.table(table)?;
        Ok(Exit::DONE)
    }

    pub(crate) async fn running(&mut self, limit: usize) -> Result<Exit, Failure> {
        let now = self.now();
        let mut table = Table::new([
            Column::text("JID"),
            Column::long("CLASS"),
            Column::text("QUEUE"),
            Column::text("SINCE"),
            Column::text("TIME").optional(),
            Column::text("PROCESS"),
        ]);
        let limit = if limit == 0 { usize::MAX } else { limit };
        let (mut shown, mut from) = (0, None);
        while shown < limit {
            let page = self
                .admin
                .running(from, (limit - shown).min(MAX_BATCH_JOBS))
                .await?;
            for running in page.jobs.iter().take(limit - shown) {
                shown += 1;
                if self.output.is_json() {
                    self.output
                        .json(&RunningValue::new(running, &Payloads::Shown))?;
                    continue;
                }
                let job = running.job.as_ref().ok();
                table.row([
                    Cell::or_none(job.map(|job| job.jid().as_str())),
                    match job {
                        Some(job) => Cell::new(job.class()),
                        None => Cell::new("not a job").tone(Tone::Bad),
                    },
                    Cell::or_none(running.queue.as_ref().map(|queue| queue.as_str())),
                    Cell::or_none(running.since.map(|since| relative(since, now))),
                    Cell::or_none(running.since.map(|since| self.output.time(since))),
                    Cell::new(&running.process),
                ]);
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        if self.output.is_json() {
            return Ok(Exit::DONE);
        }
        if shown > 0 {
            self.output.table(table)?;
        }
        self.output.note(if from.is_some() {
            "there are more: see --limit"
        } else if shown == 0 {
            "no process reports a running job; processes report every 10 seconds"
        } else {
            "processes report their jobs every 10 seconds"
        })?;
        Ok(Exit::DONE)
    }
}

fn queue_cells(queue: &QueueOverview, now: SystemTime) -> Vec<Cell> {
    let oldest = (queue.enqueued > 0).then(|| duration(queue.latency));
    vec![
        Cell::new(queue.queue.as_str()),
        Cell::new(text::count(queue.enqueued)),
        Cell::or_none(oldest),
        Cell::new(format!(
            "{}/{}",
            text::count(queue.running),
            text::count(queue.concurrency)
        )),
        Cell::new(text::count(queue.processes)),
        Cell::new(text::count(queue.processed)),
        Cell::new(text::count(queue.failed)),
        match &queue.paused {
            Some(pause) => Cell::new(paused(pause, now)).tone(Tone::Warning),
            None if queue.processes == 0 && queue.enqueued > 0 => {
                Cell::new("no process runs it").tone(Tone::Bad)
            }
            None => Cell::new("runs").tone(Tone::Good),
        },
    ]
}

/// `paused 4 min ago by ada: the mail server is down`.
pub(crate) fn paused(pause: &Pause, now: SystemTime) -> String {
    let mut text = "paused".to_owned();
    if let Some(since) = pause.since {
        text.push_str(&format!(" {}", relative(since, now)));
    }
    if let Some(by) = &pause.by {
        text.push_str(&format!(" by {by}"));
    }
    if let Some(reason) = &pause.reason {
        text.push_str(&format!(": {reason}"));
    }
    text
}
