//! The peak memory of the worker of `drain`, and for verk whether it grows with the jobs that it
//! has run.

use std::{thread, time::Duration};

use anyhow::{Result, bail};
use benchmark_harness::Role;
use serde_json::json;

use super::drain;
use crate::{
    child::{Child, Load},
    lab::{self, Lab},
    report::{Measured, Outcome, Report},
    server::Server,
    systems::Contender,
};

/// How many portions the jobs have, so that Redis needs no room for all at once.
const PORTIONS: u64 = 10;
/// How often the tool checks whether a portion has been run.
const LOOK: Duration = Duration::from_millis(20);
/// After so many looks without a change the worker hangs.
const MOST_LOOKS: u32 = 3000;

/// The main figure is the peak of `drain`. The part `flat` has the resident size after the first
/// tenth of many jobs, and after all.
pub(crate) fn run(lab: &Lab, contenders: &[Contender]) -> Report {
    let load = Load::of(lab.settings.jobs(100_000));
    let outcomes = lab.measure("memory", contenders, |contender| {
        let server = Server::start();
        let mut measured = drain::measure(contender, &load, &server, &server.url())?;
        measured.retain(|(name, _)| *name == "peak_mib");
        Ok(measured)
    });
    report(lab, &load, outcomes)
}

/// With the peaks that `drain` has measured already.
pub(crate) fn after(lab: &Lab, drain: &Report) -> Report {
    let peaks = drain
        .systems()
        .map(|(name, outcome)| (name.to_owned(), outcome.only("peak_mib")))
        .collect();
    report(lab, &Load::of(lab.settings.jobs(100_000)), peaks)
}

fn report(lab: &Lab, load: &Load, outcomes: Vec<(String, Outcome)>) -> Report {
    let settings = [
        ("jobs", json!(load.jobs)),
        ("concurrency", json!(load.concurrency)),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("memory", "peak_mib", &settings, outcomes).with("flat", flat(lab))
}

/// One run: it is long.
fn flat(lab: &Lab) -> Report {
    let jobs = lab.settings.jobs(1_000_000);
    let verk = Contender::verk();
    let outcome = match grow(&verk, jobs) {
        Ok(measured) => Outcome::of(&[measured]),
        Err(error) => Outcome::Failed {
            error: format!("{error:#}"),
        },
    };
    let settings = [("jobs", json!(jobs)), ("runs", json!(1))];
    Report::new(
        "memory",
        "mib_after_all",
        &settings,
        vec![(verk.name, outcome)],
    )
}

fn grow(contender: &Contender, jobs: u64) -> Result<Measured> {
    let server = Server::start();
    let portion = Load::of(jobs / PORTIONS);
    let all = Load {
        jobs: None,
        ..Load::of(jobs)
    };
    let mut worker = Child::start(contender, Role::Work, &server.url(), &all)?;
    worker.go()?;
    let mut sizes = Vec::new();
    for _ in 0..PORTIONS {
        lab::fill(contender, &server.url(), &portion)?;
        wait_until_empty(&server)?;
        sizes.push(worker.usage()?);
    }
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else {
        bail!("no portions");
    };
    Ok(vec![
        ("mib_after_all", last.mib),
        ("mib_after_tenth", first.mib),
        ("peak_mib", last.peak_mib),
    ])
}

fn wait_until_empty(server: &Server) -> Result<()> {
    let (mut waiting, mut looks) = (i64::MAX, 0);
    while waiting > 0 {
        thread::sleep(LOOK);
        let now = server.list_len("queue:bench-0")?;
        looks = if now < waiting { 0 } else { looks + 1 };
        if looks > MOST_LOOKS {
            bail!("{now} jobs wait and nobody takes them");
        }
        waiting = now;
    }
    Ok(())
}
