//! How fast verk is, compared with what Redis allows and with its peers. `docs/performance.md` says
//! what is measured and how.

mod budget;
mod child;
mod lab;
mod machine;
mod markdown;
#[cfg(feature = "peers")]
mod peers;
mod plot;
mod proxy;
mod report;
mod server;
mod settings;
mod systems;
mod topology;
mod what;

use std::{env, fs::File, io::BufReader};

use anyhow::{Context as _, Result, ensure};
use benchmark_harness::Options;
use clap::Parser as _;

use self::{
    lab::Lab,
    report::Report,
    settings::{Settings, What},
    systems::Contender,
};

fn main() -> Result<()> {
    // This program is also the programs that it measures: `system NAME` and the options of the
    // harness.
    if env::args().nth(1).as_deref() == Some("system") {
        let name = env::args().nth(2).context("no name of a system")?;
        return systems::run(&name, Options::parse_from(env::args_os().skip(2)));
    }
    if env::args().nth(1).as_deref() == Some(budget::WORKLOAD) {
        return budget::run_workload(&env::args().skip(2).collect::<Vec<_>>());
    }
    let settings = Settings::parse();
    if settings.what == What::Budget {
        return budget::run(settings.record);
    }
    let report = match &settings.from {
        Some(file) => serde_json::from_reader(BufReader::new(File::open(file)?))?,
        None => measure(settings.clone())?,
    };
    if let Some(directory) = &settings.plots {
        plot::write(&report, directory)?;
    }
    if settings.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", markdown::render(&report));
    }
    if matches!(settings.what, What::Web | What::Locks | What::Nodes) && !settings.quick {
        let missed = report.targets.iter().filter(|target| !target.met);
        let missed: Vec<&str> = missed.map(|target| &*target.name).collect();
        ensure!(missed.is_empty(), "above its bound: {}", missed.join("; "));
    }
    Ok(())
}

fn measure(settings: Settings) -> Result<Report> {
    let machine = machine::describe()?;
    let peers = peers(&settings)?;
    let mut report = what::run(&Lab::new(settings, peers))?;
    report.machine = machine;
    Ok(report)
}

#[cfg(feature = "peers")]
fn peers(settings: &Settings) -> Result<Vec<Contender>> {
    peers::build(settings.peers.as_deref())
}

#[cfg(not(feature = "peers"))]
fn peers(settings: &Settings) -> Result<Vec<Contender>> {
    anyhow::ensure!(settings.peers.is_none(), "peers need `--features peers`");
    Ok(Vec::new())
}
