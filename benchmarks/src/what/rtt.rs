//! Drain over a network with a millisecond each way.

use std::time::Duration;

use serde_json::json;

use super::drain;
use crate::{
    child::Load, lab::Lab, proxy::SlowProxy, report::Report, server::Server, systems::Contender,
};

/// The main figure is with a millisecond each way. The part `direct` is without a proxy, `proxy`
/// with one that does not delay.
pub(crate) fn run(lab: &Lab) -> Report {
    through(lab, Some(Duration::from_millis(1)))
        .with("proxy", through(lab, Some(Duration::ZERO)))
        .with("direct", through(lab, None))
}

fn through(lab: &Lab, delay: Option<Duration>) -> Report {
    let load = Load::of(lab.settings.jobs(100_000));
    let contenders = [Contender::verk(), lab.floor()];
    let what = format!("rtt, {delay:?} each way");
    let outcomes = lab.measure(&what, &contenders, |contender| {
        let server = Server::start();
        let url = match delay {
            Some(delay) => SlowProxy::start(server.address()?, delay)?.url().to_owned(),
            None => server.url(),
        };
        drain::measure(contender, &load, &server, &url)
    });
    let settings = [
        ("jobs", json!(load.jobs)),
        ("concurrency", json!(load.concurrency)),
        ("proxy", json!(delay.is_some())),
        (
            "delay_ms",
            json!(delay.unwrap_or_default().as_millis() as u64),
        ),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("rtt", "jobs_per_s", &settings, outcomes)
}
