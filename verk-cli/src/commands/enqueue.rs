//! Enqueues a job by the name of its class.

use std::io::Read as _;

use serde::Serialize;
use verk_core::{EnqueueExt as _, Enqueued as Stored, manage::AuditEntry};

use super::Session;
use crate::{
    args::EnqueueArgs,
    failure::{Exit, Failure},
};

/// What came of it, for programs.
#[derive(Serialize)]
struct Enqueued<'a> {
    jid: &'a str,
    /// Whether a worker of this program read the arguments.
    checked: bool,
    /// Whether an earlier enqueue with the same key has stored it.
    seen: bool,
}

impl Session<'_> {
    pub(crate) async fn enqueue(&mut self, args: &EnqueueArgs) -> Result<Exit, Failure> {
        let class = &args.class;
        let checked = self.admin.worker(class).is_some();
        let mut stdin = String::new();
        let arguments = if args.args == "-" {
            let read = std::io::stdin().read_to_string(&mut stdin);
            read.map_err(|error| Failure::usage(format!("the arguments cannot be read: {error}")))?;
            stdin.trim()
        } else {
            &args.args
        };
        let job = self.admin.job(class, arguments);
        let mut job = job.map_err(|error| {
            Failure::usage(format!(
                "the worker {class} cannot read the arguments: {error}"
            ))
        })?;
        if let Some(queue) = &args.queue {
            job = job.queue(queue);
        }
        if let Some(when) = args.at.or(args.after) {
            let at = when.time(self.now());
            job = job.schedule_at(at.ok_or_else(|| Failure::usage("no calendar has that time"))?);
        }
        self.output.begins_change();
        let (jid, seen) = match &args.once {
            None => (self.admin.enqueue(job).await?, false),
            Some(key) => {
                let stored = self.admin.enqueue_once(key, job).await?;
                (stored.jid().clone(), matches!(stored, Stored::Seen(_)))
            }
        };
        if !seen {
            let entry = AuditEntry::new("enqueue").on(format!("{class} {jid}"));
            self.record(entry).await;
        }
        let value = Enqueued {
            jid: jid.as_str(),
            checked,
            seen,
        };
        self.output.outcome(jid.as_str(), &value)?;
        Ok(Exit::DONE)
    }
}
