//! What happens, line by line.

use std::time::Duration;

use verk_core::manage::{Entry, RunningJob, Skipped, TailEvent};
use verk_web::{Payloads, values::TailValue};

use super::{Session, fleet::paused, list::error};
use crate::{
    failure::{Exit, Failure},
    text::{self, clean},
};

/// The time between two steps.
const EVERY: Duration = Duration::from_secs(1);

impl Session<'_> {
    pub(crate) async fn tail(&mut self, limit: Option<usize>) -> Result<Exit, Failure> {
        let mut tail = self.admin.tail();
        let mut left = limit.unwrap_or(usize::MAX);
        if !self.output.is_json() {
            self.output.note(
                "reading once a second; a job that succeeds is only seen in the counts, and one that runs for less than about 10 seconds mostly not",
            )?;
        }
        let interrupt = self.output.interrupt.clone();
        loop {
            let step = tokio::select! {
                step = tail.step() => step?,
                () = interrupt.wait() => return Ok(Exit::DONE),
            };
            for event in step {
                if left == 0 {
                    return Ok(Exit::DONE);
                }
                left -= 1;
                self.print_event(&event)?;
            }
            self.output.raw().flush()?;
            if left == 0 {
                return Ok(Exit::DONE);
            }
            tokio::select! {
                () = self.admin.clock().sleep(EVERY) => {}
                () = interrupt.wait() => return Ok(Exit::DONE),
            }
        }
    }

    fn print_event(&mut self, event: &TailEvent) -> Result<(), Failure> {
        let now = self.now();
        if self.output.is_json() {
            let value = TailValue::new(event, now, &Payloads::Shown);
            return self.output.json(&value);
        }
        let what = match event {
            TailEvent::Counts(stats) => format!(
                "counts    {} waiting, {} scheduled, {} retries, {} dead; {} processed, {} failed",
                text::count(stats.enqueued()),
                text::count(stats.scheduled),
                text::count(stats.retry),
                text::count(stats.dead),
                text::count(stats.processed),
                text::count(stats.failed),
            ),
            TailEvent::Failed(entry) => format!("failed    {}", of_entry(entry)),
            TailEvent::Died(entry) => format!("died      {}", of_entry(entry)),
            TailEvent::Started(running) => format!("started   {}", of_running(running)),
            TailEvent::Ended(running) => format!("ended     {}", of_running(running)),
            TailEvent::Paused(pause) => {
                format!("paused    queue {}: {}", pause.queue, paused(pause, now))
            }
            TailEvent::Resumed(queue) => format!("resumed   queue {queue}"),
            TailEvent::Joined(process) => format!("joined    process {}", process.identity),
            TailEvent::Left(process) => format!("left      process {}", process.identity),
            TailEvent::Skipped(skipped) => {
                let what = match skipped {
                    Skipped::Retries => "retries",
                    Skipped::Dead => "dead jobs",
                    _ => "running jobs",
                };
                format!("skipped   more {what} than a step reads: these are not shown")
            }
            _ => return Ok(()),
        };
        let line = format!("{}  {}", self.output.time(now), clean(&what));
        self.output.line(&line)
    }
}

fn of_entry(entry: &Entry) -> String {
    match entry.job() {
        Ok(job) => format!("{} {} {}", job.class(), job.jid(), error(job)),
        Err(error) => format!("not a job: {error}"),
    }
}

fn of_running(running: &RunningJob) -> String {
    match &running.job {
        Ok(job) => format!("{} {} on {}", job.class(), job.jid(), running.process),
        Err(error) => format!("not a job on {}: {error}", running.process),
    }
}
