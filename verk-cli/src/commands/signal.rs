//! Signals to processes.

use serde::Serialize;
use verk_core::{
    manage::{AuditEntry, Process},
    storage::ProcessSignal,
};

use super::Session;
use crate::{
    args::SignalArgs,
    confirm::agree,
    failure::{Exit, Failure},
    text::clean,
};

/// What came of it, for programs.
#[derive(Serialize)]
struct Sent<'a> {
    process: &'a str,
    signal: &'static str,
    sent: bool,
}

impl Session<'_> {
    pub(crate) async fn signal(
        &mut self,
        args: &SignalArgs,
        signal: ProcessSignal,
    ) -> Result<Exit, Failure> {
        let all = self.admin.processes().await?;
        let mut chosen: Vec<&Process> = Vec::new();
        if args.all {
            chosen.extend(&all);
        }
        for name in &args.processes {
            chosen.push(find(&all, name)?);
        }
        if chosen.is_empty() {
            return Err(Failure::not_found(
                "no process has reported itself within the last minute",
            ));
        }
        let name = name(signal);
        if args.consent.dry_run {
            for process in chosen {
                self.report_signal(process, name, false, "would be sent to")?;
            }
            return Ok(Exit::DONE);
        }
        if chosen.len() > 1 {
            let question = format!("Send {name} to {} processes?", chosen.len());
            agree(self.output, &args.consent, &question)?;
        }
        self.output.begins_change();
        let mut done = 0;
        for process in chosen {
            let sent = self.admin.signal(&process.identity, signal).await;
            let sent = sent.map_err(|error| Failure::from(error).after(done, "sent signals"))?;
            if sent {
                done += 1;
                let target = format!("process {}", process.identity);
                self.record(AuditEntry::new(name).on(target)).await;
            }
            let line = if sent {
                "is sent; it is obeyed within about 10 seconds, by"
            } else {
                "is not sent: not shown any more, or embedded in another program:"
            };
            self.report_signal(process, name, sent, line)?;
        }
        Ok(if done > 0 { Exit::DONE } else { Exit::NOTHING })
    }

    fn report_signal(
        &mut self,
        process: &Process,
        signal: &'static str,
        sent: bool,
        how: &str,
    ) -> Result<(), Failure> {
        let value = Sent {
            process: &process.identity,
            signal,
            sent,
        };
        let line = format!("{signal} {how} {}", clean(&process.identity));
        self.output.outcome(&line, &value)
    }
}

pub(crate) fn name(signal: ProcessSignal) -> &'static str {
    match signal {
        ProcessSignal::Quiet => "quiet",
        ProcessSignal::Stop => "stop",
        ProcessSignal::Dump => "dump",
    }
}

/// The process with this name, or the only one whose name begins so.
fn find<'a>(all: &'a [Process], name: &str) -> Result<&'a Process, Failure> {
    if let Some(exact) = all.iter().find(|process| process.identity == name) {
        return Ok(exact);
    }
    let mut alike = all
        .iter()
        .filter(|process| process.identity.starts_with(name));
    match (alike.next(), alike.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Failure::usage(format!(
            "the names of several processes begin with {name}: give more of the name"
        ))),
        _ => Err(Failure::not_found(format!(
            "no process {name} has reported itself within the last minute: see `verk processes`"
        ))),
    }
}
