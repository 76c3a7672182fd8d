//! One node with 500 queues: what it costs when idle, and how fast it is when all of them have
//! jobs.

use serde_json::json;

use super::{drain, idle};
use crate::{child::Load, lab::Lab, report::Report, server::Server, systems::Contender};

/// The main figure is how many commands Redis gets in a second when all are empty; the part `drain`
/// has the rate.
pub(crate) fn run(lab: &Lab) -> Report {
    let queues = lab.settings.scaled(500);
    let verk = [Contender::verk()];
    let outcomes = lab.measure("queues, idle", &verk, |contender| {
        idle::measure(lab, contender, queues, &Server::start())
    });
    let settings = [
        ("queues", json!(queues)),
        ("seconds", json!(lab.settings.watch().as_secs())),
        ("runs", json!(lab.settings.runs())),
    ];
    let idle = Report::new("queues", "commands_per_s", &settings, outcomes);

    let load = Load {
        queues,
        ..Load::of(lab.settings.jobs(100_000))
    };
    let outcomes = lab.measure("queues, drain", &verk, |contender| {
        let server = Server::start();
        drain::measure(contender, &load, &server, &server.url())
    });
    let settings = [
        ("queues", json!(queues)),
        ("jobs", json!(load.jobs)),
        ("concurrency", json!(load.concurrency)),
        ("runs", json!(lab.settings.runs())),
    ];
    idle.with(
        "drain",
        Report::new("queues", "jobs_per_s", &settings, outcomes),
    )
}
