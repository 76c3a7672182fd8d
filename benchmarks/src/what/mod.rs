//! One file for each thing that is measured.

mod bulk;
mod cluster;
mod compare;
mod drain;
mod enqueue;
mod footprint;
mod growth;
mod idle;
mod latency;
mod locks;
mod memory;
mod nodes;
mod payloads;
mod queues;
mod rtt;
mod targets;
mod web;

use anyhow::{Result, bail};

use crate::{lab::Lab, report::Report, settings::What};

/// Measures what was asked for.
pub(crate) fn run(lab: &Lab) -> Result<Report> {
    let all = lab.all();
    match lab.settings.what {
        What::Floor => Ok(floor(lab)),
        What::Enqueue => Ok(enqueue::run(lab, &all)),
        What::Bulk => Ok(bulk::run(lab, &all)),
        What::Drain => drain::run(lab, &all),
        What::Latency => Ok(latency::run(lab, &all)),
        What::Idle => Ok(idle::run(lab, &all)),
        What::Memory => Ok(memory::run(lab, &all)),
        What::Rtt => Ok(rtt::run(lab)),
        What::Growth => Ok(growth::run(lab)),
        What::Payloads => Ok(payloads::run(lab)),
        What::Footprint => Ok(footprint::run(lab)),
        What::Nodes => Ok(nodes::run(lab)),
        What::Cluster => cluster::run(lab),
        What::Queues => Ok(queues::run(lab)),
        What::Locks => locks::run(lab),
        What::Web => web::run(lab),
        What::Compare => compare::run(lab, &all),
        What::Budget => bail!("a budget is counted, and not measured in a lab"),
    }
}

/// The floor by itself.
fn floor(lab: &Lab) -> Report {
    let floor = [lab.floor()];
    Report::new("floor", "jobs_per_s", &[], Vec::new())
        .with("enqueue", enqueue::run(lab, &floor))
        .with("bulk", bulk::run(lab, &floor))
        .with("drain", drain::plain(lab, &floor))
        .with("latency", latency::run(lab, &floor))
}
