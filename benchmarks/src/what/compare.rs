//! All measurements in one run, so that its ratios hold on a machine whose speed changes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::json;

use super::{bulk, drain, enqueue, growth, idle, latency, memory, payloads, queues, rtt, targets};
use crate::{
    lab::Lab,
    report::{Outcome, Report},
    systems::Contender,
};

/// The summary of a system: the names of its figures here, their source (a part of a part after a
/// slash), and their names there.
const SUMMARY: [(&str, &str, &str); 10] = [
    ("enqueue_per_s", "enqueue", "jobs_per_s"),
    ("enqueue_50_tasks_per_s", "enqueue/tasks_50", "jobs_per_s"),
    ("bulk_per_s", "bulk", "jobs_per_s"),
    ("drain_per_s", "drain", "jobs_per_s"),
    ("latency_p50_ms", "latency", "p50_ms"),
    ("latency_p99_ms", "latency", "p99_ms"),
    ("idle_commands_per_s", "idle", "commands_per_s"),
    ("idle_sent_per_s", "idle", "sent_per_s"),
    ("idle_cpu_percent", "idle", "cpu_percent"),
    ("peak_mib", "memory", "peak_mib"),
];

/// The figures of each system are its main ones; every measurement is a part.
pub(crate) fn run(lab: &Lab, contenders: &[Contender]) -> Result<Report> {
    let drain = drain::run(lab, contenders)?;
    let memory = memory::after(lab, &drain);
    let parts: BTreeMap<String, Report> = [
        drain,
        memory,
        enqueue::run(lab, contenders),
        bulk::run(lab, contenders),
        latency::run(lab, contenders),
        idle::run(lab, contenders),
        rtt::run(lab),
        growth::run(lab),
        payloads::run(lab),
        queues::run(lab),
    ]
    .into_iter()
    .map(|report| (report.what.clone(), report))
    .collect();
    let settings = [("runs", json!(lab.settings.runs()))];
    let mut report = Report::new("compare", "drain_per_s", &settings, summary(&parts));
    report.parts = parts;
    report.targets = targets::of(&report);
    Ok(report)
}

fn summary(parts: &BTreeMap<String, Report>) -> Vec<(String, Outcome)> {
    let names: BTreeSet<&str> = parts
        .values()
        .flat_map(Report::systems)
        .map(|(name, _)| name)
        .collect();
    names
        .into_iter()
        .map(|name| {
            let mut figures = BTreeMap::new();
            for (ours, part, theirs) in SUMMARY {
                let outcome = targets::part(parts, part)
                    .and_then(|report| report.systems().find(|(system, _)| *system == name));
                for suffix in ["", "_min", "_max"] {
                    let figure = outcome
                        .and_then(|(_, outcome)| outcome.figure(&format!("{theirs}{suffix}")));
                    if let Some(figure) = figure {
                        figures.insert(format!("{ours}{suffix}"), figure);
                    }
                }
            }
            (name.to_owned(), Outcome::Figures(figures))
        })
        .collect()
}
