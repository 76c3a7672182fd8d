//! Jobs enqueued by calls of 1000, one after the other.

use serde_json::json;

use super::enqueue;
use crate::{child::Load, lab::Lab, report::Report, systems::Contender};

/// Leaves out who has no such call.
pub(crate) fn run(lab: &Lab, contenders: &[Contender]) -> Report {
    let load = Load {
        batch: 1000,
        ..Load::of(lab.settings.jobs(100_000))
    };
    let able: Vec<_> = contenders
        .iter()
        .filter(|contender| contender.has_bulk)
        .cloned()
        .collect();
    let outcomes = lab.measure("bulk", &able, |contender| {
        enqueue::measure(contender, &load)
    });
    let settings = [
        ("jobs_per_call", json!(load.batch)),
        ("jobs", json!(load.jobs)),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("bulk", "jobs_per_s", &settings, outcomes)
}
