//! Queues that are paused for all nodes.

use serde::Serialize;
use verk_core::{
    QueueName,
    manage::{AuditEntry, PauseNote},
};

use super::Session;
use crate::{
    failure::{Exit, Failure},
    text::clean,
};

/// What came of it, for programs.
#[derive(Serialize)]
struct Changed<'a> {
    queue: &'a str,
    paused: bool,
    changed: bool,
}

impl Session<'_> {
    pub(crate) async fn pause(
        &mut self,
        queues: &[String],
        reason: Option<&str>,
    ) -> Result<Exit, Failure> {
        let mut note = PauseNote::new();
        if let Some(user) = &self.user {
            note = note.by(user);
        }
        if let Some(reason) = reason {
            note = note.reason(reason);
        }
        check(queues)?;
        self.output.begins_change();
        let mut done = 0;
        for queue in queues {
            let paused = self.admin.pause_queue(queue, note.clone()).await;
            let changed = paused.map_err(|error| Failure::from(error).after(done, "paused"))?;
            self.report_pause("pause", queue, true, changed).await?;
            done += u64::from(changed);
        }
        Ok(if done > 0 { Exit::DONE } else { Exit::NOTHING })
    }

    pub(crate) async fn resume(&mut self, queues: &[String]) -> Result<Exit, Failure> {
        check(queues)?;
        self.output.begins_change();
        let mut done = 0;
        for queue in queues {
            let resumed = self.admin.resume_queue_everywhere(queue).await;
            let changed = resumed.map_err(|error| Failure::from(error).after(done, "resumed"))?;
            self.report_pause("resume", queue, false, changed).await?;
            done += u64::from(changed);
        }
        Ok(if done > 0 { Exit::DONE } else { Exit::NOTHING })
    }

    async fn report_pause(
        &mut self,
        action: &str,
        queue: &str,
        paused: bool,
        changed: bool,
    ) -> Result<(), Failure> {
        if changed {
            let place = format!("in queue {queue}");
            self.record(AuditEntry::new(action).on(place)).await;
        }
        let shown = clean(queue);
        let line = match (paused, changed) {
            (true, true) => format!("paused queue {shown} on all nodes; running jobs continue"),
            (true, false) => format!("queue {shown} was paused already"),
            (false, true) => format!("resumed queue {shown}"),
            (false, false) => format!("queue {shown} was not paused"),
        };
        let value = Changed {
            queue,
            paused,
            changed,
        };
        self.output.outcome(&line, &value)
    }
}

/// Refuses a name before any queue is changed.
fn check(queues: &[String]) -> Result<(), Failure> {
    for queue in queues {
        QueueName::new(queue)?;
    }
    Ok(())
}
